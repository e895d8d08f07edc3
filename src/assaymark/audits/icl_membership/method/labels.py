"""Which label a reply names."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from assaymark.audits.icl_membership.method.words import EAST_ASIAN, folded

__all__ = ["NO_LABEL", "SEVERAL_LABELS", "SYNONYMS", "LabelParser"]

Ints = npt.NDArray[np.int64]

NO_LABEL, SEVERAL_LABELS = -1, -2
"""What stands for a label where a reply names none, or several; any negative number is "no answer"."""

SYNONYMS: dict[str, dict[str, tuple[str, ...]]] = {
    "trec": {
        "Number": ("Numeric", "Numeric value", "Quantity", "NUM"),
        "Location": ("Place", "LOC"),
        "Person": ("Human", "Human being", "Individual", "HUM"),
        "Description": ("Description and abstract concept", "DESC"),
        "Entity": ("ENTY",),
        "Abbreviation": ("Acronym", "ABBR"),
    },
    "ag_news": {
        "Sports": ("Sport",),
        "Technology": ("Sci/Tech", "Science/Tech", "Science and Technology", "Science & Technology", "Tech"),
    },
    "dbpedia": {
        "School": ("Educational Institution", "EducationalInstitution"),
        "Politician": ("Office Holder", "OfficeHolder"),
        "Transportation": ("Mean of Transportation", "MeanOfTransportation"),
        "Nature": ("Natural Place", "NaturalPlace"),
        "Book": ("Written Work", "WrittenWork"),
    },
}
"""Further names of the labels of the paper's tasks: those of the data sets, and common ones."""


class LabelParser:
    """Reads labels out of replies.

    Names are matched as whole words without regard to case, width and breaks of lines, the longest first, so that "Natural
    Place" is not also "Place". A name in a script without blanks is matched wherever it stands.

    Parameters
    ----------
    labels : sequence of str
        Names as they stand in demonstrations; their order gives the numbers that `parse` returns.
    synonyms : mapping, optional
        Label to its further names. Each reply that names one counts as naming the label.

    Raises
    ------
    ValueError
        A name is empty or stands for two labels, or synonyms are given for a label that does not exist.
    """

    def __init__(self, labels: Sequence[str], synonyms: Mapping[str, Sequence[str]] | None = None) -> None:
        self.labels = tuple(labels)
        unknown = set(synonyms or {}) - set(self.labels)
        if unknown:
            raise ValueError(f"synonyms for {sorted(unknown)}, which are no labels; labels: {', '.join(self.labels)}")
        self._number: dict[str, int] = {}
        for number, label in enumerate(self.labels):
            for name in map(folded, (label, *(synonyms or {}).get(label, ()))):
                if not name:
                    raise ValueError(f"label {label!r} has an empty name")
                if self._number.setdefault(name, number) != number:
                    raise ValueError(f"{name!r} stands for both {self.labels[self._number[name]]!r} and {label!r}")
        longest_first = sorted(self._number, key=lambda name: (-len(name), name))
        self._names = re.compile("|".join(map(_whole, longest_first)) or r"(?!)")

    def parse(self, replies: Sequence[str | None]) -> Ints:
        """Number of the label that each reply names, shape (n,); `NO_LABEL`, or `SEVERAL_LABELS` where there are two or more.

        Examples
        --------
        >>> LabelParser(("World", "Sports", "Business")).parse(["Topic: sports.", "a sports business", "?", "Worldwide"])
        array([ 1, -2, -1, -1])
        """
        return np.array([self._one(self.named(reply or "")) for reply in replies], dtype=np.int64)

    def named(self, reply: str) -> frozenset[int]:
        """Numbers of all labels that a reply names."""
        return frozenset(self._number[name] for name in self._names.findall(folded(reply)))

    @staticmethod
    def _one(named: frozenset[int]) -> int:
        return next(iter(named)) if len(named) == 1 else SEVERAL_LABELS if named else NO_LABEL


def _whole(name: str) -> str:
    """Pattern of a name that is not part of a longer word."""
    before = "" if re.match(rf"[{EAST_ASIAN}\W]", name) else r"(?<!\w)"
    after = "" if re.search(rf"[{EAST_ASIAN}\W]$", name) else r"(?!\w)"
    return before + re.escape(name) + after
