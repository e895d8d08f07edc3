"""Every audit of the catalog keeps the contract, check by check; and each check catches the audit that breaks it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from broken_audits import BROKEN, PhonesHome, ToyShare

from assaymark.catalog import AUDITS, load_audit
from assaymark.models.guard import METHODS, declared_capabilities
from assaymark.testing import CHECKS, Case, check_audit


@pytest.fixture(scope="module", params=sorted(AUDITS))
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
    return Case(load_audit(request.param), tmp_path_factory.mktemp(request.param))


@pytest.mark.parametrize("name", list(CHECKS))
def test_audit_keeps_its_promise(case: Case, name: str) -> None:
    CHECKS[name](case)


def test_some_model_is_called_so_that_caching_is_tested(case: Case) -> None:
    asked = {capability for role in case.audit.info.models for capability in declared_capabilities(role)}
    fresh = case.run(case.planting, cache=None)
    calls = sum(facts["calls"] for facts in fresh.provenance.models.values())
    if not asked or asked & set(METHODS):
        assert calls > 0
        return
    # Its models are looked into: what they put out is neither cached nor counted. That they are used shows when they change.
    assert set(fresh.provenance.models) == set(case.planting.models) and calls == 0
    names = sorted(case.planting.models)
    exchanged = dict(zip(names, (case.planting.models[name] for name in reversed(names)), strict=True))
    other = case.run(replace(case.planting, models=exchanged), cache=None)
    assert {name: found.value for name, found in other.estimates.items()} != {
        name: found.value for name, found in fresh.estimates.items()
    }


def test_a_sound_audit_passes_the_whole_contract(tmp_path: Path) -> None:
    assert check_audit(ToyShare, tmp_path) == dict.fromkeys(CHECKS, "passed")


@pytest.mark.parametrize("name", list(BROKEN))
def test_check_catches_the_audit_that_breaks_it(name: str, tmp_path: Path) -> None:
    for audit in BROKEN[name]:
        with pytest.raises(AssertionError) as broken:
            check_audit(audit, tmp_path / audit.__name__)
        named = [line.partition(":")[0] for line in str(broken.value).splitlines()]
        assert name in named, f"{audit.__name__} breaks {named}"


def test_a_swallowed_connection_is_noticed(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match=r"connection to 203\.0\.113\.1"):
        CHECKS["no_socket_is_opened"](Case(PhonesHome, tmp_path))


def test_every_check_has_an_audit_that_breaks_it() -> None:
    # A missing required input is refused before any audit runs, so no audit can break that promise.
    assert {*BROKEN, "no_socket_is_opened", "missing_input_is_named"} == set(CHECKS)
