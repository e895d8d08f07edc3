"""Roles that take several models, each under a name of its own: declared, checked, handed over, described."""

from __future__ import annotations

import pytest

from assaymark.audit import AuditInfo, Context, InputSpec, ModelRole
from assaymark.errors import ModelError, UnknownName
from assaymark.preconditions import check_roles

ONE = ModelRole("encoder", "embeds pictures", any_of=("embeds-images",))
MANY = ModelRole("scorer", "scores pictures", any_of=("scores-images",), many=True, required=True)
INFO = AuditInfo("toy", "Toy", "?", "-", (InputSpec("rows", "table", "rows"),), (ONE, MANY))


def test_a_member_fills_the_role_under_its_name() -> None:
    role = INFO.role("scorer.skin.rule")
    assert (role.name, role.any_of, role.many) == ("scorer.skin.rule", MANY.any_of, True)
    assert INFO.role("encoder") == ONE
    assert (ONE.shown, MANY.shown) == ("encoder", "scorer.NAME")


@pytest.mark.parametrize(
    ("name", "error", "says"),
    [
        ("scorer", ModelError, "takes several models: give each a name, scorer.NAME=SPEC"),
        ("scorer.", UnknownName, "unknown model role"),
        ("scorers.a", UnknownName, r"did you mean 'scorer.NAME'"),
        ("encoder.a", UnknownName, "did you mean 'encoder'"),
    ],
)
def test_what_is_no_member_is_refused_with_the_mend(name: str, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        INFO.role(name)


def test_a_required_role_wants_at_least_one() -> None:
    with pytest.raises(ModelError, match=r"needs a model in the role 'scorer\.NAME'"):
        check_roles(INFO, {"encoder": "fake:dual-encoder"})
    check_roles(INFO, {"scorer.a": "fake:image-scorer"})


def test_the_context_hands_them_over_in_order() -> None:
    context = Context(models={"scorer.b": 1, "encoder": 2, "scorer.a": 3})
    assert list(context.models_of("scorer").items()) == [("b", 1), ("a", 3)]
    assert context.models_of("encoder") == {}
