"""The scripted service against its closed forms, and what it keeps of the contract of text generators."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from scipy.stats import poisson

from assaymark.audits.icl_membership.method.exact import ScriptedRates, brainwash_rates, exact_advantages
from assaymark.audits.icl_membership.method.games import Games, draw_games
from assaymark.audits.icl_membership.method.hybrid import fit_hybrid
from assaymark.audits.icl_membership.method.prompts import (
    brainwash_conversation,
    gap_conversation,
    inquiry_conversations,
    joined,
    operator_prompt,
)
from assaymark.audits.icl_membership.planted import (
    LABELS,
    TEMPLATES,
    NullService,
    ScriptedService,
    planted_label,
    planted_pool,
)
from assaymark.models import open_model
from assaymark.models.protocols import capabilities_of
from tests.audits.icl_membership.attacking import Scores, advantage, attack, best_threshold

POOL = planted_pool(0, 3_000)
ATTACKS = ("gap", "inquiry", "repeat", "brainwash")


def played(seed: int, trials: int, *, k: int = 6, rows: slice = slice(None)) -> Games:
    return draw_games(np.arange(3_000)[rows], k=k, trials=trials, rng=np.random.default_rng(seed))


def scores(service: ScriptedService, games: Games, *, chat: bool = True, search: str = "bisect") -> Scores:
    templates = TEMPLATES if chat else TEMPLATES.flat()
    rng = np.random.default_rng(1)
    return attack(service, games, POOL.texts, POOL.labels, LABELS, templates, rng=rng, search=search, single_message=not chat)


@cache
def shadow_and_target(service: type[ScriptedService], chat: bool = True) -> tuple[Scores, Scores]:
    """100 shadow games and 500 target games on disjoint parts of the pool."""
    shadow, target = played(1, 100, rows=slice(0, 1_000)), played(2, 500, rows=slice(1_000, 3_000))
    return scores(service(), shadow, chat=chat), scores(service(), target, chat=chat)


@pytest.mark.parametrize("chat", [True, False])
def test_advantages_are_those_in_closed_form(chat: bool) -> None:
    shadow, target = shadow_and_target(ScriptedService, chat)
    rates, truth = ScriptedRates(), exact_advantages()
    spread = {
        name: np.sqrt(sum(p * (1 - p) for p in pair) / 500)
        for name, pair in {"gap": rates.gap, "inquiry": rates.inquiry, "repeat": (rates.repeat, 0.02)}.items()
    }
    spread["brainwash"] = np.sqrt(0.09 * 0.91 / 500)
    for name in ATTACKS:
        found = advantage(getattr(target, name), best_threshold(getattr(shadow, name)))
        assert abs(found - getattr(truth, name)) < 3.5 * spread[name], name
    tpr, fpr = brainwash_rates(rates, 3)
    assert (target.brainwash[:, 0] >= 3).mean() == tpr == 1
    assert abs((target.brainwash[:, 1] >= 3).mean() - fpr) < 3.5 * spread["brainwash"]


def test_nothing_is_found_where_members_are_like_others() -> None:
    shadow, target = shadow_and_target(NullService)
    assert exact_advantages(ScriptedRates().null()) == (0, 0, 0, 0)
    for name in ATTACKS:
        found = advantage(getattr(target, name), best_threshold(getattr(shadow, name)))
        assert abs(found) < 3.5 * np.sqrt(2 * 0.21 / 500), name


def test_the_hybrid_is_no_worse_than_its_parts() -> None:
    shadow, target = shadow_and_target(ScriptedService, True)
    columns = ("repeat", "brainwash")
    features, targets = (np.stack([getattr(s, c) for c in columns], axis=-1) for s in (shadow, target))  # (T, 2, d)
    hybrid = fit_hybrid(features.reshape(-1, 2), np.tile([True, False], len(features)), rng=np.random.default_rng(0))
    of_shadow, of_target = (hybrid.score(f.reshape(-1, 2)).reshape(-1, 2) for f in (features, targets))
    parts = [advantage(getattr(target, c), best_threshold(getattr(shadow, c))) for c in columns]
    assert advantage(of_target, best_threshold(of_shadow)) > max(parts) - 0.01


def test_linear_and_bisecting_search_agree() -> None:
    linear, bisect = (scores(ScriptedService(), played(5, 60), search=search) for search in ("linear", "bisect"))
    np.testing.assert_array_equal(linear.brainwash, bisect.brainwash)
    assert bisect.questions.max() == 15


def test_closed_forms() -> None:
    truth = exact_advantages()
    assert truth.gap == pytest.approx(0.25) and truth.inquiry == pytest.approx(0.5) and truth.repeat == 0.9
    assert truth.brainwash == pytest.approx(1.5 * np.exp(-0.5))
    rng = np.random.default_rng(0)
    member, other = (np.minimum(least + rng.poisson(rate, 200_000), 10) for least, rate in ((3, 1.0), (1, 0.5)))
    cuts = np.array([0, 1, 2, 2.5, 3, 4, 5, 10, 11])
    tpr, fpr = brainwash_rates(ScriptedRates(), cuts)
    np.testing.assert_allclose(tpr, [(member >= cut).mean() for cut in cuts], atol=0.005)
    np.testing.assert_allclose(fpr, [(other >= cut).mean() for cut in cuts], atol=0.005)
    assert tpr[-2] == pytest.approx(poisson.sf(6, 1.0)) and tpr[-1] == fpr[-1] == 0


def test_answers_depend_on_content_alone() -> None:
    games = played(3, 40)
    prompts = [
        joined(operator_prompt(TEMPLATES, [(POOL.texts[i], POOL.labels[i]) for i in row]), said)
        for row, x in zip(games.demonstrations.tolist(), games.member.tolist(), strict=True)
        for said in (*inquiry_conversations(TEMPLATES, POOL.texts[x]), gap_conversation(TEMPLATES, POOL.texts[x]))
    ]
    service = ScriptedService()
    said = service.generate_text(prompts, samples=2, seed=5)
    assert said == [[one] * 2 for (one,) in ScriptedService().generate_text(prompts, temperature=0)]
    assert service.generate_text(prompts[::-1])[::-1] == [texts[:1] for texts in said]
    assert ScriptedService(seed=1).generate_text(prompts) != [texts[:1] for texts in said]
    by_wording = np.array([texts[0] for texts in said]).reshape(-1, 4)[:, :3]
    assert (by_wording != by_wording[:, :1]).any()


def test_repetitions_rise_to_a_step() -> None:
    games = played(4, 30)
    service = ScriptedService()
    for row, x in zip(games.demonstrations.tolist(), games.member.tolist(), strict=True):
        prefix = operator_prompt(TEMPLATES, [(POOL.texts[i], POOL.labels[i]) for i in row])
        steps = []
        for wrong in LABELS:
            if wrong == POOL.labels[x]:
                continue
            said = [brainwash_conversation(TEMPLATES, POOL.texts[x], wrong, j) for j in range(11)]
            replies = [texts[0] for texts in service.generate_text([joined(prefix, one) for one in said])]
            won = np.array([reply == f"Label: {wrong}" for reply in replies])
            assert (np.diff(won.astype(int)) >= 0).all()
            steps.append(int(won.argmax()) if won.any() else 11)
        assert len(set(steps)) == 1 and 3 <= steps[0] <= 10


def test_without_demonstrations_nobody_is_a_member() -> None:
    prefix = operator_prompt(TEMPLATES, [])
    prompts = [joined(prefix, inquiry_conversations(TEMPLATES, x)[0]) for x in POOL.texts[:1_000]]
    yes = np.mean([texts[0] == "Yes." for texts in ScriptedService().generate_text(prompts)])
    assert abs(yes - 0.1) < 3.5 * np.sqrt(0.09 / 1_000)


def test_other_requests_and_texts() -> None:
    service = ScriptedService()
    prefix = operator_prompt(TEMPLATES, [("a b c d", "Plant")])
    prompts = [joined(prefix, said) for said in (({"role": "user", "content": "Hello"},), gap_conversation(TEMPLATES, "a b"))]
    assert service.generate_text(prompts) == [["I cannot help with that."], ["Label: I cannot tell."]]
    assert service.generate_text(prompts[:1], max_tokens=2) == [["I cannot"]]
    assert service.generate_text(prompts[:1], stop=[" help"]) == [["I cannot"]]


@pytest.mark.parametrize("name", ["ScriptedService", "NullService"])
def test_opens_by_name(name: str) -> None:
    model = open_model(f"py:assaymark.audits.icl_membership.planted:{name}")
    assert capabilities_of(model) == ("generates-text",)
    assert model.spec == f"py:assaymark.audits.icl_membership.planted:{name}"
    assert model.generate_text([[{"role": "user", "content": "Hello"}]]) == [["I cannot help with that."]]


def test_fingerprints_tell_services_apart() -> None:
    services = (ScriptedService(), NullService(), ScriptedService(seed=1), ScriptedService(templates=TEMPLATES.flat()))
    assert len({service.fingerprint for service in services}) == 4


def test_pool() -> None:
    assert len(set(POOL.texts)) == len(POOL.labels) == 3_000
    assert [planted_label(text) for text in POOL.texts] == POOL.labels
    assert planted_label("no marker here") is None
    lengths = np.array([len(text.split()) for text in POOL.texts])
    assert (lengths.min(), lengths.max()) == (8, 14)
    assert np.abs(np.bincount([LABELS.index(label) for label in POOL.labels]) - 500).max() < 5 * np.sqrt(500)
    assert planted_pool(0, 50) == planted_pool(0, 50)
    assert planted_pool(1, 50).texts != planted_pool(0, 50).texts
    shares = [colliding(planted_pool(2, 2_000, shared_openings=share).texts) for share in (0.0, 0.1, 0.5)]
    assert shares[0] < 0.01 and abs(shares[1] - 0.1) < 0.03 and abs(shares[2] - 0.5) < 0.04


def colliding(texts: list[str]) -> float:
    """Share of the texts whose first three words some other text has as well."""
    openings = np.array([" ".join(text.split()[:3]) for text in texts])
    _, place, count = np.unique(openings, return_inverse=True, return_counts=True)
    return float((count[place] > 1).mean())
