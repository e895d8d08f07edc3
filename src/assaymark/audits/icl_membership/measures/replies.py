"""What replies are, apart from what they say: empty, declined, with one label, with several, with none."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from assaymark.audits.icl_membership.method.inquiry import UNDECIDED
from assaymark.audits.icl_membership.method.labels import SEVERAL_LABELS
from assaymark.audits.icl_membership.method.outcomes import reply_reasons

__all__ = ["OUTCOMES", "Replies"]

OUTCOMES = {
    "answered": "answered",
    "empty": "empty",
    "refusal": "declined",
    "several": "several labels",
    "unparsed": "no label, or neither yes nor no",
}
"""Outcome of a reply to what it means. A reply has the first that applies of: empty, refusal, several, unparsed, answered."""


@dataclass
class Replies:
    """Counts of outcomes, by attack; they grow."""

    counts: dict[str, Counter[str]] = field(default_factory=dict)

    def told(self, attack: str, said: Sequence[str]) -> None:
        """Replies that are taken as they are, as continuations."""
        self._add(attack, said, np.full(len(said), "answered"))

    def labelled(self, attack: str, said: Sequence[str], named: npt.NDArray[np.int64]) -> None:
        """Replies that ought to name a label, and what the parser read off them."""
        self._add(attack, said, np.select([named >= 0, named == SEVERAL_LABELS], ["answered", "several"], "unparsed"))

    def decided(self, attack: str, said: Sequence[str], outcomes: npt.NDArray[np.float64]) -> None:
        """Replies that ought to say yes or no, and which of them they said."""
        self._add(attack, said, np.where(outcomes == UNDECIDED, "unparsed", "answered"))

    def _add(self, attack: str, said: Sequence[str], otherwise: npt.NDArray[np.str_]) -> None:
        reasons = reply_reasons(said)
        found = np.where(reasons == "", otherwise, reasons)
        self.counts.setdefault(attack, Counter()).update(found.tolist())
