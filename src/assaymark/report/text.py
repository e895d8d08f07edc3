"""Text that comes from data, made fit to be shown: nothing invisible, nothing endless, nothing that reorders its neighbours."""

from __future__ import annotations

import re

from assaymark.result import Estimate, format_number

__all__ = ["format_p_value", "humanise", "interval_text", "shorten", "visible"]

# Control characters, bidirectional embeddings and overrides (which make text read as what it is not), zero-width space and
# joiners of words, byte order mark, lone surrogates (not encodable), interlinear and tag characters. The zero-width joiner
# and the left-to-right and right-to-left marks stay: emoji and honest right-to-left text need them.
_HIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ufffe\uffff\ud800-\udfff"
    "\U000e0000-\U000e007f]"
)

_ACRONYMS = {
    word.casefold(): word
    for word in (
        *("AUC", "AUROC", "CLIP", "ECE", "F1", "FPR", "HCR", "ID", "KS", "NSFW", "OLS", "PPV", "PR", "PSI", "RGB", "ROC"),
        *("TPR", "URL", "VIF", "YCbCr"),
    )
} | {"r2": "R²"}
_PERCENT = re.compile(r"(?<=\d)pct\b")


def visible(text: str) -> str:
    """`text` with every hidden or reordering character written out as ``⟨U+202E⟩``."""
    return _HIDDEN.sub(lambda match: f"⟨U+{ord(match.group()):04X}⟩", text)


def shorten(text: str, limit: int, *, counted: bool = True) -> str:
    """The first `limit` characters, and visibly how many were cut (an ellipsis alone when not `counted`)."""
    if len(text) <= limit:
        return text
    cut = text[:limit].rstrip()
    return f"{cut}… ({len(text) - limit:,} more characters)" if counted else f"{cut}…"


_DOT = re.compile(r"(?<!\d)\.|\.(?!\d)")  # a dot between digits belongs to a number


def humanise(name: str) -> str:
    """`hate_content_rate.any` as `Hate content rate · any`, `roc_auc` as `ROC AUC`, `10pct` as `10 %`."""
    parts = (part.replace("_", " ").split() for part in _DOT.split(name))
    words = " · ".join(" ".join(_ACRONYMS.get(word, _PERCENT.sub(" %", word)) for word in part) for part in parts if part)
    return words[:1].upper() + words[1:] if words else name


def format_p_value(value: float) -> str:
    """`< 0.001`, or three decimals; four for a p-value below 0.01."""
    if value < 0.001:
        return "< 0.001"
    return f"{value:.4f}" if value < 0.01 else f"{value:.3f}"


def interval_text(estimate: Estimate) -> str:
    """The limits alone: `0.29 % to 0.30 %`; empty when undefined."""
    if estimate.low is None or estimate.high is None:
        return ""
    return f"{format_number(estimate.low, estimate.unit)} to {format_number(estimate.high, estimate.unit)}"
