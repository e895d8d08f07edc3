"""What is done to a text before terms are sought in it, and where a word begins and ends in UTF-8 bytes."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from assaymark.errors import SchemaError

__all__ = ["Normalisation", "StringBuffer", "is_word_after", "is_word_before", "string_buffer", "to_strings"]

_ZERO_WIDTH = "[\u00ad\u034f\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufe00-\ufe0f\ufeff]"
_LEETSPEAK = dict(zip("013457@$", "oieastas", strict=True))


class StringBuffer:
    """UTF-8 bytes of a string array, uint8 (n_bytes,), and the edges of its rows in them, int64 (n_rows + 1,)."""

    __slots__ = ("data", "edges")

    def __init__(self, data: npt.NDArray[np.uint8], edges: npt.NDArray[np.int64]) -> None:
        self.data, self.edges = data, edges


@dataclass(frozen=True, slots=True)
class Normalisation:
    """Switches that bring different spellings of a term together. Texts and terms pass through the same ones.

    Parameters
    ----------
    case_fold : full Unicode case folding (`str.casefold`: `ß` becomes `ss`, final sigma becomes sigma).
    nfkc : Unicode NFKC: full-width, styled and composed letters become their plain form.
    zero_width : drop soft hyphens, zero-width and direction characters and variation selectors, which are invisible.
    leetspeak : read `0 1 3 4 5 7 @ $` as `o i e a s t a s`. Not `!`, which ends sentences far more often than it replaces an i.
    """

    case_fold: bool = True
    nfkc: bool = True
    zero_width: bool = True
    leetspeak: bool = False

    def apply(self, texts: pa.Array) -> pa.LargeStringArray:
        """Normalised texts, one per row; null becomes "". Only rows with non-ASCII characters pay for the Unicode steps.

        Complexity: linear in the bytes; ASCII letters are folded by one kernel over the whole Arrow buffer.
        """
        texts = to_strings(texts)
        foreign = pc.invert(pc.string_is_ascii(texts))
        if pc.any(foreign).as_py():
            texts = pc.replace_with_mask(texts, foreign, self._unicode(_valid(texts.filter(foreign))))
        if self.case_fold and not self.leetspeak:
            return pc.ascii_lower(_from_zero(texts))  # Unicode letters were folded above
        table = self._byte_table()
        if table is None:
            return texts
        buffer = string_buffer(texts)
        return pa.LargeStringArray.from_buffers(len(texts), pa.py_buffer(buffer.edges), pa.py_buffer(table[buffer.data]))

    def one(self, text: str) -> str:
        """The normalised form of a single text."""
        return str(self.apply(pa.array([text], pa.large_string()))[0].as_py())

    def _unicode(self, texts: pa.LargeStringArray) -> pa.LargeStringArray:
        if self.zero_width:  # first: an invisible character between a letter and its accent would block the composition
            texts = pc.replace_substring_regex(texts, _ZERO_WIDTH, "")
        if not (self.nfkc or self.case_fold):
            return texts
        # Row by row, 2 us each and for non-ASCII rows alone: Arrow only lower-cases, and pyarrow 25's utf8_normalize leaves
        # letters decomposed for NFKC (apache/arrow 51225).
        return pa.array([self._fold(text) for text in texts.to_pylist()], pa.large_string())

    def _fold(self, text: str) -> str:
        if self.nfkc:
            text = unicodedata.normalize("NFKC", text)
        if self.case_fold:
            text = text.casefold()
            if self.nfkc:  # folding can leave a decomposed letter behind
                text = unicodedata.normalize("NFKC", text)
        return text

    def _byte_table(self) -> npt.NDArray[np.uint8] | None:
        """What each byte becomes. Safe on UTF-8: bytes below 128 never occur inside a longer sequence."""
        table = np.arange(256, dtype=np.uint8)
        if self.case_fold:
            table[ord("A") : ord("Z") + 1] += 32
        if self.leetspeak:
            for sign, letter in _LEETSPEAK.items():
                table[ord(sign)] = ord(letter)
        return table if self.case_fold or self.leetspeak else None


def _valid(texts: pa.LargeStringArray) -> pa.LargeStringArray:
    """The same texts with broken UTF-8 (Parquet files may hold it unchecked) replaced by U+FFFD, so that decoding is safe."""
    try:
        texts.validate(full=True)
    except pa.ArrowInvalid:
        raw = texts.cast(pa.large_binary()).to_pylist()
        return pa.array([text.decode("utf-8", "replace") for text in raw], pa.large_string())
    return texts


def to_strings(texts: pa.Array | pa.ChunkedArray) -> pa.LargeStringArray:
    """One contiguous large_string array without nulls (null becomes "").

    Raises
    ------
    SchemaError : if the values are not strings.
    """
    kind = texts.type.value_type if pa.types.is_dictionary(texts.type) else texts.type
    known = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view, pa.types.is_null)
    if not any(test(kind) for test in known):
        raise SchemaError(
            f"terms are sought in text, but the column holds {texts.type}: cast it to string or map another column"
        )
    strings = texts.cast(pa.large_string())
    if isinstance(strings, pa.ChunkedArray):
        strings = strings.combine_chunks() if strings.num_chunks != 1 else strings.chunk(0)
    return pc.fill_null(strings, "") if strings.null_count else strings


def _from_zero(texts: pa.LargeStringArray) -> pa.LargeStringArray:
    """The same strings with offsets that start at 0, without a copy of the bytes.

    Arrays that were cut inside another engine arrive with offset 0 and a first string that starts later; pyarrow 25's case
    kernels then size the result for the cut and keep the old offsets, which point past its end.
    """
    _, offsets, data = texts.buffers()
    if not len(texts) or data is None or texts.offset or not np.frombuffer(offsets, np.int64, count=1)[0]:
        return texts
    buffer = string_buffer(texts)
    return pa.LargeStringArray.from_buffers(len(texts), pa.py_buffer(buffer.edges), pa.py_buffer(buffer.data))


def string_buffer(texts: pa.LargeStringArray) -> StringBuffer:
    """Zero-copy view of the bytes of the rows of an array without nulls, slices included."""
    _, offsets, data = texts.buffers()
    if not len(texts) or data is None:
        return StringBuffer(np.zeros(0, np.uint8), np.zeros(len(texts) + 1, np.int64))
    edges = np.frombuffer(offsets, np.int64, count=len(texts) + 1, offset=8 * texts.offset)
    first, last = int(edges[0]), int(edges[-1])
    return StringBuffer(np.frombuffer(data, np.uint8, count=last - first, offset=first), edges - first)


@cache
def _word_table() -> npt.NDArray[np.bool_]:
    r"""For each code point, whether Python's `re` counts it among `\w`; asked of `re` itself, so the two cannot disagree."""
    points = np.arange(0x110000, dtype="<u4").tobytes().decode("utf-32-le", "surrogatepass")
    table = np.zeros(0x110000, dtype=np.bool_)
    for run in re.finditer(r"\w+", points):
        table[run.start() : run.end()] = True
    return table


def is_word_after(data: npt.NDArray[np.uint8], at: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """Whether a word character begins at each byte position; positions must be the first byte of a character."""
    lead = data[at]
    word = _word_table()[lead]  # right below 128; longer sequences are decoded
    longer = np.flatnonzero(lead >= 0x80)
    if longer.size:
        word[longer] = _word_table()[_code_points(data, at[longer])]
    return word


def is_word_before(data: npt.NDArray[np.uint8], at: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """Whether a word character ends just before each byte position (> 0)."""
    start = at - 1
    for _ in range(3):  # step back over continuation bytes, 0b10xxxxxx
        start = start - ((data[start] & 0xC0) == 0x80)
    return is_word_after(data, start)


def _code_points(data: npt.NDArray[np.uint8], at: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Code points of the 2 to 4 byte sequences that begin at the given positions of valid UTF-8."""
    lead = data[at].astype(np.int64)
    extra = (lead >= 0xC0).astype(np.int64) + (lead >= 0xE0) + (lead >= 0xF0)
    points = lead & (0x3F >> extra)
    for step in (1, 2, 3):
        more = extra >= step
        points[more] = (points[more] << 6) | (data[at[more] + step] & 0x3F)
    return points
