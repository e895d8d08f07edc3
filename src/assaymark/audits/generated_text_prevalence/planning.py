"""What remote models will be asked, stated before the first question: each may cost money."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from assaymark.audit import Context
from assaymark.audits.generated_text_prevalence.config import GeneratedTextPrevalenceConfig
from assaymark.audits.generated_text_prevalence.detectors import Family
from assaymark.budget import QueryPlan

__all__ = ["announce"]


def announce(inputs: Mapping[str, Any], family: Family, config: GeneratedTextPrevalenceConfig, context: Context) -> None:
    """State the questions to remote detectors and generators, and get leave; nothing where all models are here.

    All detectors read the labelled texts and the twins, one of them the posts and what people said of posts. A text that is
    rewritten is asked about once more for each rewriting. Texts that are too short, or in the cache, are asked for nothing: the
    number is an upper bound, but for inputs whose rows are not counted before they are read.

    Raises
    ------
    BudgetExceeded
    """
    asked = [member for member in family.members if member.kind != "columns" and getattr(member.model, "remote", False)]
    writers = [model for model in context.models_of("generator").values() if model.remote]
    if not asked and not writers:
        return
    rows = {name: inputs[name].rows for name in ("posts", "labelled", "annotated") if name in inputs}
    twins = config.twins * len(config.prompt_styles)
    every = (rows.get("labelled") or 0) + twins * len(context.models_of("generator"))
    filler = context.model("span_filler") is not None
    each = [1 + config.perturbations * (filler and member.kind == "tokens") for member in asked]
    chosen = (rows.get("posts") or 0) + (rows.get("annotated") or 0)
    queries = every * sum(each) + chosen * max(each, default=0) + twins * len(writers)
    unknown = [name for name, count in rows.items() if count is None]
    without = f", without {' and '.join(unknown)}, whose rows are not known" if unknown else ""
    what = f"texts for remote detectors and generators{without}"
    context.budget.plan(QueryPlan(queries, what=what, at_most=not unknown, remote=True))
