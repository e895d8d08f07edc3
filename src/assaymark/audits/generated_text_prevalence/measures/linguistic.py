"""How a text is written: readability, sentence length, vocabulary, parts of speech, feeling. For English texts.

Well-kept libraries do the reading, all with data of their own, so that nothing is fetched: textblob (the pattern tokeniser,
tagger and sentiment lexicon), lexicalrichness (MTLD, moving-average type-token ratio), pyphen (hyphenation, for syllables),
py3langid.

References
----------
.. [1] Flesch, R. (1948). A new readability yardstick. Journal of Applied Psychology 32, 221-233.
.. [2] Kincaid, J. P. et al. (1975). Derivation of new readability formulas for Navy enlisted personnel. Report 8-75.
.. [3] McCarthy, P. M. and Jarvis, S. (2010). MTLD, vocd-D, and HD-D. Behavior Research Methods 42, 381-392.
.. [4] Covington, M. A. and McFall, J. D. (2010). Cutting the Gordian knot: the moving-average type-token ratio (MATTR).
   Journal of Quantitative Linguistics 17, 94-100.
.. [5] De Smedt, T. and Daelemans, W. (2012). Pattern for Python. JMLR 13, 2063-2067.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cache, lru_cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from assaymark.errors import MissingExtra
from assaymark.result import Unit

__all__ = ["LANGUAGES", "MOST_WORDS", "STYLE_MEASURES", "StyleMeasure", "languages_of", "style_measures"]

Floats = npt.NDArray[np.float64]

MOST_WORDS = 2_000
"""Words of a text that are looked at: style shows long before, and a post of 100,000 words would cost as much as a thousand."""
MOST_CHARACTERS = 20_000
LANGUAGE_CHARACTERS = 1_000
LONGEST_WORD = 50
"""Letters of a word whose syllables are counted: longer ones are no words, and would fill the memory of the counts."""
FEWEST_WORDS_FOR_VOCABULARY = 50
"""Below it MTLD is unstable ([3]); it is also the window of the moving average."""
MTLD_THRESHOLD = 0.72

LANGUAGES = ("ar", "de", "en", "es", "fr", "hi", "id", "it", "ja", "ko", "nl", "pl", "pt", "ru", "sv", "tr", "vi", "zh")
"""Candidates of the guess: short posts drift to rare languages when all 97 of the model are allowed."""

_WORD = re.compile(r"[^\W_]+(?:['’\-][^\W_]+)*")
_LETTER = re.compile(r"[^\W\d_]")
# the Unicode categories P* that occur in posts; emoji and mathematical signs are none
_PUNCTUATION = re.compile(r"[!-#%-*,-/:;?@\[-\]_{}¡§«¶·»¿\u2010-\u2027\u2030-\u205e\u3001-\u3003]")


class StyleMeasure(NamedTuple):
    """Name of a measure as a key, as people read it, and its unit."""

    name: str
    title: str
    unit: Unit = "number"


_PARTS_OF_SPEECH: dict[str, tuple[str, ...]] = {
    "nouns": ("NN", "NNS", "NNP", "NNPS"),
    "verbs": ("VB", "VBD", "VBG", "VBN", "VBP", "VBZ", "MD"),
    "adjectives": ("JJ", "JJR", "JJS"),
    "adverbs": ("RB", "RBR", "RBS", "WRB"),
    "pronouns": ("PRP", "PRP$", "WP", "WP$"),
    "conjunctions": ("CC",),
    "prepositions": ("IN", "TO"),
    "determiners": ("DT", "PDT", "WDT"),
    "numerals": ("CD",),
    "interjections": ("UH",),
}
"""Penn tags of each part of speech. IN is also the tag of subordinating conjunctions: "conjunctions" are coordinating ones."""
_PART_OF = {tag: position for position, tags in enumerate(_PARTS_OF_SPEECH.values()) for tag in tags}

STYLE_MEASURES: tuple[StyleMeasure, ...] = (
    StyleMeasure("words", "Words (of those looked at)"),
    StyleMeasure("flesch_reading_ease", "Flesch reading ease"),
    StyleMeasure("flesch_kincaid_grade", "Flesch-Kincaid grade"),
    StyleMeasure("words_per_sentence", "Words per sentence"),
    StyleMeasure("characters_per_word", "Characters per word"),
    StyleMeasure("punctuation", "Punctuation marks per 100 characters"),
    StyleMeasure("mtld", "MTLD (lexical diversity)"),
    StyleMeasure("mattr", f"Type-token ratio in windows of {FEWEST_WORDS_FOR_VOCABULARY} words", "share"),
    StyleMeasure("polarity", "Polarity, -1 to 1"),
    StyleMeasure("subjectivity", "Subjectivity, 0 to 1"),
    *(StyleMeasure(name, f"{name.capitalize()}, share of words", "share") for name in _PARTS_OF_SPEECH),
)


class _Tools(NamedTuple):
    parser: Any
    sentiment: Any
    richness: Any


@cache
def _tools() -> _Tools:
    try:
        from lexicalrichness import LexicalRichness
        from textblob import en
    except ImportError as error:
        raise MissingExtra("language", "measuring the style of texts") from error
    return _Tools(en.parser, en.sentiment, LexicalRichness)


@cache
def _hyphens() -> Any:
    try:
        from pyphen import Pyphen
    except ImportError as error:
        raise MissingExtra("language", "measuring the style of texts") from error
    return Pyphen(lang="en_US")


@lru_cache(maxsize=100_000)
def _syllables(word: str) -> int:
    return len(_hyphens().positions(word)) + 1


@cache
def _identifier() -> Any:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    model = LanguageIdentifier.from_model_file(MODEL_FILE)
    model.set_languages(LANGUAGES)
    return model.classify


def languages_of(texts: Sequence[str | None]) -> npt.NDArray[np.str_]:
    """Guessed language of each text, one of `LANGUAGES`; "" for a text without letters.

    A weak label for short texts. The first 1,000 characters are looked at.
    """
    heads = [(text or "")[:LANGUAGE_CHARACTERS] for text in texts]
    return np.array([_identifier()(head)[0] if _LETTER.search(head) else "" for head in heads], dtype="U2")


def style_measures(texts: Sequence[str | None], *, english: Any = None) -> dict[str, Floats]:
    """The measures of `STYLE_MEASURES` for each text.

    Parameters
    ----------
    texts : sequence of str, None for a missing one
        Of each the first 2,000 words (20,000 characters) are looked at.
    english : array_like of bool, shape (n,), optional
        Which texts are English; by default those that `languages_of` calls so. Others have no measures, because tagger, lexicon
        and formulas are for English.

    Returns
    -------
    dict of name -> array, shape (n,), float64
        NaN for texts that are not English or hold no words; `mtld` and `mattr` also below 50 words. Polarity and subjectivity
        are 0 where no word is in the lexicon, as textblob has it.

    Raises
    ------
    MissingExtra
        The extra "language" is not installed.

    Notes
    -----
    Flesch reading ease = 206.835 - 1.015 words / sentence - 84.6 syllables / word ([1]); Flesch-Kincaid grade = 0.39 words /
    sentence + 11.8 syllables / word - 15.59 ([2]). Syllables are hyphenation points + 1: a word is not broken after a single
    letter, so that "area" has one, and all counts are a little low. That shifts both levels, and cancels where texts are
    compared with texts. About 400 posts of 130 words a second on one core, and
    2,000 for the language.
    """
    mask = languages_of(texts) == "en" if english is None else np.asarray(english, dtype=np.bool_)
    if mask.shape != (len(texts),):
        raise ValueError(f"{len(texts)} texts but a mask of shape {mask.shape}")
    values = np.full((len(texts), len(STYLE_MEASURES)), np.nan)
    for row in np.flatnonzero(mask).tolist():
        text = _beginning(texts[row] or "")
        words = _WORD.findall(text)
        if words:
            values[row] = [*_measures(text, words)]
    return {measure.name: values[:, i].copy() for i, measure in enumerate(STYLE_MEASURES)}


def _beginning(text: str) -> str:
    """The part that is looked at."""
    text = text[:MOST_CHARACTERS]
    parts = text.split(None, MOST_WORDS)
    return text[: len(text) - len(parts[-1])] if len(parts) > MOST_WORDS else text


def _measures(text: str, words: list[str]) -> Iterator[float]:
    """In the order of `STYLE_MEASURES`."""
    tools = _tools()
    sentences = [sentence.split() for sentence in tools.parser.find_tokens(text)]
    lowered = [word.lower() for word in words]
    said = max(sum(any(_WORD.search(token) for token in sentence) for sentence in sentences), 1)
    per_sentence = len(words) / said
    per_word = sum(_syllables(word[:LONGEST_WORD]) for word in lowered) / len(words)
    yield len(words)
    yield 206.835 - 1.015 * per_sentence - 84.6 * per_word
    yield 0.39 * per_sentence + 11.8 * per_word - 15.59
    yield per_sentence
    yield sum(map(len, words)) / len(words)
    yield 100.0 * len(_PUNCTUATION.findall(text)) / len(text)
    yield from _vocabulary(lowered, tools)
    # a list is read word by word, a string would be tokenised once more
    feeling = tools.sentiment([token.lower() for sentence in sentences for token in sentence])
    yield float(feeling[0])
    yield float(feeling[1])
    yield from _parts_of_speech(sentences, tools)


def _vocabulary(lowered: list[str], tools: _Tools) -> tuple[float, float]:
    """MTLD and MATTR."""
    if len(lowered) < FEWEST_WORDS_FOR_VOCABULARY:
        return np.nan, np.nan
    found = tools.richness(lowered, preprocessor=None, tokenizer=None)
    return found.mtld(threshold=MTLD_THRESHOLD), found.mattr(window_size=FEWEST_WORDS_FOR_VOCABULARY)


def _parts_of_speech(sentences: list[list[str]], tools: _Tools) -> Floats:
    """Share of each part of speech among the tokens that hold a letter or digit."""
    counts, tokens = np.zeros(len(_PARTS_OF_SPEECH)), 0
    for sentence in sentences:
        for token, tag in tools.parser.find_tags(sentence):
            if _WORD.search(token):
                tokens += 1
                if (part := _PART_OF.get(tag)) is not None:
                    counts[part] += 1
    return counts / tokens if tokens else np.full(counts.size, np.nan)
