"""How much of a stream of posts is machine-written, since when, and how do those posts differ from the others?

Answers with a curve of the share by platform and month, counted by a detector and corrected for the detector's own errors, with
intervals that hold both; with those errors, by generator, platform and length; and with tables of how the two kinds differ.

Z. Sun, Z. Zhang, X. Shen, Z. Zhang, Y. Liu, M. Backes, Y. Zhang, X. He. Are We in the AI-Generated Text World Already?
Quantifying and Monitoring AIGT on Social Media. ACL 2025; arXiv:2412.18148.
"""

from __future__ import annotations

from typing import Any

__all__ = ["GeneratedTextPrevalence"]


def __getattr__(name: str) -> Any:
    if name == "GeneratedTextPrevalence":
        from assaymark.audits.generated_text_prevalence.audit import GeneratedTextPrevalence

        return GeneratedTextPrevalence
    raise AttributeError(name)
