"""The part of the contract that a mitigation keeps: a paired result like any other, honest, repeatable, safe to show.

A mitigation has no planted truth of its own - what it changes is measured by the audit - so inputs are handed in.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from assaymark.audit import Mitigation, Planting
from assaymark.testing.contract import (
    Case,
    batch_size_is_irrelevant,
    counts_add_up,
    inputs_are_not_modified,
    intervals_everywhere,
    missing_input_is_named,
    no_socket_is_opened,
    only_declared_capabilities,
    report_leaks_nothing,
    row_order_is_irrelevant,
    run_checks,
    same_seed_same_fingerprint,
    second_run_calls_no_model,
    settings_round_trip,
    shares_have_intervals,
    undescribed_settings,
    wrong_columns_are_named,
)

__all__ = ["MITIGATION_CHECKS", "MitigationCase", "check_mitigation"]


@dataclass
class MitigationCase(Case):
    """One mitigation with the inputs, settings and models that were handed in."""

    given: Planting | None = None

    @cached_property
    def planting(self) -> Planting:
        assert self.given is not None, "a mitigation is checked on inputs that are handed in"
        self.remember(self.given)
        return self.given


def says_what_it_bought(case: Case) -> None:
    """Something is measured before and after, and their difference has an interval of its own."""
    names = list(case.result.estimates)
    paired = [name for name in names if name.startswith("gain.") or name.endswith(".difference")]
    assert paired, f"no difference of before and after among {names[:12]}"
    assert any(case.result[name].defined for name in paired), "every difference of before and after is undefined"


MITIGATION_CHECKS: Mapping[str, Callable[[Case], None]] = {
    check.__name__: check
    for check in (
        settings_round_trip,
        undescribed_settings,
        wrong_columns_are_named,
        missing_input_is_named,
        inputs_are_not_modified,
        same_seed_same_fingerprint,
        row_order_is_irrelevant,
        batch_size_is_irrelevant,
        intervals_everywhere,
        shares_have_intervals,
        counts_add_up,
        second_run_calls_no_model,
        report_leaks_nothing,
        only_declared_capabilities,
        no_socket_is_opened,
        says_what_it_bought,
    )
}


def check_mitigation(
    mitigation: type[Mitigation],
    folder: str | Path,
    *,
    inputs: Mapping[str, Any],
    settings: Mapping[str, Any] | None = None,
    models: Mapping[str, str] | None = None,
    seed: int = 0,
) -> dict[str, str]:
    """Run the contract of mitigations on one, with the inputs that it is to work on.

    Parameters
    ----------
    mitigation : any `Mitigation` subclass
    folder : scratch folder
    inputs : what `run` takes, by name; the first required one is a Parquet file, a folder of them, or an Arrow table
    settings, models : as in a plan

    Returns
    -------
    dict of check name to "passed".

    Raises
    ------
    AssertionError
        Listing every promise that is broken.
    """
    given = Planting(dict(inputs), {}, dict(settings or {}), dict(models or {}))
    case = MitigationCase(mitigation, Path(folder), seed, given=given)  # type: ignore[arg-type]
    return run_checks(case, MITIGATION_CHECKS)
