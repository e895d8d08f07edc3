"""Whether a text may be about a minor: pictures of such rows are never shown, blurred or not, in any room."""

from __future__ import annotations

import re
import unicodedata

__all__ = ["MINOR_WORDS", "names_a_minor"]

MINOR_WORDS = (
    *("child", "children", "kid", "kids", "kiddo", "baby", "babies", "infant", "infants", "newborn", "toddler", "toddlers"),
    *("boy", "boys", "girl", "girls", "schoolboy", "schoolboys", "schoolgirl", "schoolgirls", "school boy", "school boys"),
    *("school girl", "school girls", "schoolchild", "schoolchildren", "kindergarten", "preschool", "preschooler", "pupil"),
    *("pupils", "teen", "teens", "teenage", "teenager", "teenagers", "preteen", "preteens", "tween", "tweens", "adolescent"),
    *("adolescents", "youngster", "youngsters", "juvenile", "juveniles", "minor", "minors", "underage", "underaged"),
    *("under age", "daughter", "daughters", "son", "sons", "loli", "lolita", "shota", "jailbait"),
    *("niña", "niñas", "niño", "niños", "menina", "meninas", "menino", "meninos", "criança", "crianças", "enfant", "enfants"),
    *("fille", "filles", "fillette", "garçon", "bébé", "mädchen", "junge", "kinder", "bambina", "bambino", "bambini"),
    *("девочка", "девочки", "мальчик", "мальчики", "ребенок", "ребёнок", "дети", "подросток"),
    *(
        "女孩",
        "男孩",
        "儿童",
        "兒童",
        "孩子",
        "少女",
        "少年",
        "未成年",
        "子供",
        "女の子",
        "男の子",
        "女子高生",
        "소녀",
        "소년",
        "아이",
    ),
)
"""Words that may stand for a minor: neutral, and wide on purpose, since a picture too few on a sheet harms nobody."""
_LEET = str.maketrans("013457@$", "oieastas")
# Sought in the text as written alone: with digits read as letters, "19 years" would hold a "9 years".
_AGE = re.compile(r"(?:age[ds]? ?(?:[1-9]|1[0-7])(?!\d)|(?<!\d)(?:[1-9]|1[0-7]) ?(?:yo|y o|yrs? old|years? old)(?![^\W\d_]))")


def _plain(text: str) -> str:
    """Folded, without invisible characters, everything but letters and digits as one space."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    seen = "".join(c for c in folded if unicodedata.category(c) != "Cf")
    return re.sub(r"(?:[^\w@$]|_)+", " ", seen)


def _pattern() -> re.Pattern[str]:
    """Words bounded by anything but letters, so that `girl_2.jpg` counts; scripts without spaces need no bounds."""
    bounded = "|".join(re.escape(_plain(word)) for word in MINOR_WORDS if word[0] < "\u3000")
    free = "|".join(re.escape(_plain(word)) for word in MINOR_WORDS if word[0] >= "\u3000")
    return re.compile(rf"(?<![^\W\d_])(?:{bounded})(?![^\W\d_])|{free}")


_MINOR = _pattern()


def names_a_minor(*texts: str | None) -> bool:
    """Whether a text or address holds a word or an age that may stand for a minor, digits in the place of letters included."""
    plain = [_plain(text) for text in texts if text]
    return any(_MINOR.search(text) or _MINOR.search(text.translate(_LEET)) or _AGE.search(text) for text in plain)
