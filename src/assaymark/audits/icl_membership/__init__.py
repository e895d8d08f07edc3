"""Can an outsider tell from the replies of a language model which examples its operator put in the prompt?

Answers, for each attack that reads text alone (the label of a query, a direct question, a continuation, the number of wrong
statements that a label withstands, all of them together), with its advantage over guessing at a threshold fitted on other
prompts, its true positives at few false ones and its cost in queries; and with what each defence changes in these.

R. Wen, Z. Li, M. Backes, Y. Zhang. Membership Inference Attacks Against In-Context Learning. ACM CCS 2024; arXiv:2409.01380.
"""

from __future__ import annotations

from typing import Any

__all__ = ["IclMembership"]


def __getattr__(name: str) -> Any:
    if name == "IclMembership":
        from assaymark.audits.icl_membership.audit import IclMembership

        return IclMembership
    raise AttributeError(name)
