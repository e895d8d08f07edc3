"""What a mitigation says it will ask, and what it asks."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from assaymark.audits.icl_membership.mitigate import PromptDefence
from assaymark.audits.icl_membership.planted import ScriptedService, planted_pool
from assaymark.errors import BudgetExceeded
from assaymark.execution import execute

SETTINGS = {"trials": 6, "shadow_trials": 10, "utility_queries": 20, "recipes": ["ensemble"], "instruct": "none"}


class Counting(ScriptedService):
    """Counts the prompts that it was asked."""

    asked = 0

    def generate_text(self, prompts: Any, **settings: Any) -> list[list[str]]:
        self.asked += len(prompts)
        return super().generate_text(prompts, **settings)


@pytest.mark.parametrize("transforms", [True, False])
def test_encoded_replies_prompts_of_an_ensemble_and_customers_are_announced(transforms: bool) -> None:
    drawn = planted_pool(1, 120)
    pool = pa.table({"text": drawn.texts, "label": drawn.labels})
    service = Counting()
    settings = {**SETTINGS, "transforms": transforms}
    with pytest.raises(BudgetExceeded) as refused:
        execute(PromptDefence, inputs={"pool": pool}, models={"service": service}, settings=settings, budget=1)
    assert service.asked == 0
    execute(PromptDefence, inputs={"pool": pool}, models={"service": service}, settings=settings)
    assert refused.value.needed * 0.6 < service.asked <= refused.value.needed
