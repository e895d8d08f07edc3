"""The model that copies: its continuations, its votes, its likelihoods, and the published table of it on TREC."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assaymark.audits.icl_membership.asked import read_prompt
from assaymark.audits.icl_membership.induction import COPIED, InductionModel
from assaymark.audits.icl_membership.method.games import draw_games, hard_neighbours
from assaymark.audits.icl_membership.method.prompts import (
    TREC,
    Templates,
    brainwash_conversation,
    gap_conversation,
    joined,
    operator_prompt,
    repeat_conversation,
)
from assaymark.audits.icl_membership.planted import LABELS, TEMPLATES, planted_pool
from assaymark.models import open_model
from assaymark.models.protocols import capabilities_of
from tests.audits.icl_membership.attacking import Scores, advantage, attack, auc, best_threshold

NAMES = ("Number", "Location", "Person", "Description", "Entity", "Abbreviation")
CODES = dict(zip(("NUM", "LOC", "HUM", "DESC", "ENTY", "ABBR"), NAMES, strict=True))
FLAT = TREC.flat()
SHOWN = [("Who was the first man on the moon ?", "Person"), ("Who was the last king ?", "Person"), ("Why ?", "Description")]


def knows_nothing(text: str) -> str | None:
    return None


def model(templates: Templates = FLAT) -> InductionModel:
    return InductionModel(NAMES, knows_nothing, templates=templates)


def continued(prompt: str, **settings: int) -> str:
    return model().generate_text([prompt], **settings)[0][0]


def plain_continuation(prompt: str, most: int) -> str:
    """Looks for the longest earlier match anew for each token."""
    tokens, said = prompt.split(), []
    while len(said) < most:
        following = None
        for length in range(min(4, len(tokens)), 0, -1):
            ends = [i for i in range(length, len(tokens)) if tokens[i - length : i] == tokens[-length:]]
            if ends:
                following = tokens[ends[-1]]
                break
        if following in (None, "Question:", "Type:"):
            break
        said.append(following)
        tokens.append(following)
    return " ".join(said)


@settings(max_examples=80, deadline=None)
@given(
    st.lists(st.lists(st.sampled_from("abcd"), min_size=1, max_size=7), max_size=5),
    st.lists(st.sampled_from("abcde"), max_size=5),
)
def test_continuations_are_those_of_a_plain_search(shown: list[list[str]], own: list[str]) -> None:
    prefix = operator_prompt(FLAT, [(" ".join(text), "Entity") for text in shown])
    assert isinstance(prefix, str)
    prompt = prefix + " ".join(["Question:", *own])
    assert continued(prompt, max_tokens=12) == plain_continuation(prompt, 12)


def test_demonstrations_are_repeated() -> None:
    prefix = operator_prompt(FLAT, SHOWN)
    for text, rest in (("Who was the first x", "man on the moon ?"), ("Who was the last x", "king ?")):
        prompt = joined(prefix, repeat_conversation(FLAT, text, w=4))
        assert continued(prompt) == rest  # type: ignore[arg-type]
    # of equally long matches the latest
    assert continued(joined(prefix, repeat_conversation(FLAT, "Who was the x", w=3))) == "last king ?"  # type: ignore[arg-type]
    assert continued(joined(prefix, repeat_conversation(FLAT, "Quite another thing altogether", w=3))) == ""  # type: ignore[arg-type]
    chat = joined(operator_prompt(TREC, SHOWN), repeat_conversation(TREC, "Who was the first x", w=4))
    assert model(TREC).generate_text([chat]) == [["man on the moon ?"]]


def asked_label(x: str, wrong: str = "Location", j: int = 0, *, single: bool = False, chat: bool = False) -> str:
    templates = TREC if chat else FLAT
    prompt = joined(operator_prompt(templates, SHOWN), brainwash_conversation(templates, x, wrong, j, single_message=single))
    return model(templates).generate_text([prompt])[0][0].removeprefix("Type:").strip()


@pytest.mark.parametrize("single", [False, True])
@pytest.mark.parametrize("chat", [False, True])
def test_a_demonstration_holds_against_as_many_statements(single: bool, chat: bool) -> None:
    x = SHOWN[0][0]
    votes = model().votes(read_prompt(joined(operator_prompt(FLAT, SHOWN), gap_conversation(FLAT, x)), templates=FLAT))
    believed = NAMES[int(np.argmax(votes - np.eye(6)[2]))]
    wrong = next(name for name in NAMES if name not in (believed, "Person"))
    # 1 for the demonstration itself, a little for the other one about a person, and 0.8 where it believed so before
    needed = int(np.floor(votes[2])) + 1
    assert votes[2] > 1 and asked_label(x, chat=chat) == "Person"
    said = [asked_label(x, wrong, j, single=single, chat=chat) for j in range(4)]
    assert said == ["Person"] * needed + [wrong] * (4 - needed)
    assert asked_label("Where does nobody live now", wrong, 1, single=single, chat=chat) == wrong


def test_equal_votes_go_to_the_label_shown_first() -> None:
    prefix = operator_prompt(FLAT, [("one two", "Entity")])
    for wrong in NAMES:
        prompt = joined(prefix, brainwash_conversation(FLAT, "one two", wrong, 1))
        votes = model().votes(read_prompt(prompt, templates=FLAT))
        said = model().generate_text([prompt])[0][0].strip()
        first = "Entity" if votes[4] >= votes.max() - 1e-9 else NAMES[int(votes.argmax())]
        assert said == first


def test_prior_knowledge_is_right_as_often_as_it_says() -> None:
    pool = planted_pool(0, 4_000)
    prefix = operator_prompt(TEMPLATES, [])
    said = InductionModel().generate_text([joined(prefix, gap_conversation(TEMPLATES, x)) for x in pool.texts])
    right = np.mean([reply == f"Label: {label}" for (reply,), label in zip(said, pool.labels, strict=True)])
    expected = 0.6 + 0.4 / 6
    assert abs(right - expected) < 3.5 * np.sqrt(expected * (1 - expected) / 4_000)


def test_label_likelihoods_are_a_softmax_of_the_votes() -> None:
    prefix = operator_prompt(FLAT, SHOWN)
    prompt = joined(prefix, gap_conversation(FLAT, SHOWN[0][0]))
    scored = model().score_continuations([(prompt, f" {name}") for name in NAMES])
    assert scored.shape == (6, 2) and scored.dtype == np.float32
    assert np.exp(scored[:, 0]).sum() == pytest.approx(1, abs=1e-5) and (scored[:, 1] == 1).all()
    assert NAMES[scored[:, 0].argmax()] == "Person"
    votes = model().votes(read_prompt(prompt, templates=FLAT))
    np.testing.assert_allclose(np.diff(scored[:, 0]), 4 * np.diff(votes), atol=1e-5)
    chat = joined(operator_prompt(TREC, SHOWN), gap_conversation(TREC, SHOWN[0][0]))
    np.testing.assert_allclose(model(TREC).score_continuations([(chat, "Type: Person")])[0], [scored[2, 0], 2])


def test_text_likelihoods_follow_what_is_copied() -> None:
    prompt = joined(operator_prompt(FLAT, SHOWN), repeat_conversation(FLAT, "Who was the first x", w=4))
    copied, stops, strange = model().score_continuations([(prompt, t) for t in (" man on the moon ?", " woman", " man in the")])
    assert copied == pytest.approx([5 * np.log(COPIED), 5], rel=1e-6)
    assert stops[0] < np.log(1 - COPIED) and strange[1] == 3
    assert np.isnan(model().score_continuations([(prompt, "  ")])).all()
    assert model().score_continuations([]).shape == (0, 2)


def test_opens_by_name() -> None:
    opened = open_model("py:assaymark.audits.icl_membership.induction:InductionModel")
    assert "generates-text" in capabilities_of(opened)
    assert opened.fingerprint == InductionModel().fingerprint != InductionModel(seed=1).fingerprint


def test_planted_sentences_leak() -> None:
    pool = planted_pool(0, 1_000, shared_openings=0.3)
    games = draw_games(np.arange(1_000), k=6, trials=150, rng=np.random.default_rng(0))
    found = attack(InductionModel(), games, pool.texts, pool.labels, LABELS, TEMPLATES, rng=np.random.default_rng(1))
    assert auc(found.repeat) > 0.97 and auc(found.brainwash) > 0.97 and 0.6 < auc(found.gap) < 0.75
    assert (found.inquiry == 0.5).all()  # it neither says yes nor no


TABLE = {
    1: (0.33, 1.000, 1.00, 1.000, 1.00, 1.92, 0.93),
    3: (0.32, 0.996, 0.99, 1.000, 1.00, 1.85, 0.95),
    6: (0.34, 0.995, 0.97, 0.992, 0.98, 1.87, 0.93),
    12: (0.32, 0.984, 0.95, 0.987, 0.97, 1.86, 0.93),
}
"""k to: GAP advantage; AUC and advantage of Repeat, and of Brainwash; mean repetitions of members and of others."""


class Trec:
    """The distinct questions of the training file, with their coarse labels."""

    def __init__(self, folder: Path, most: int | None = None) -> None:
        lines = (folder / "text-classification" / "trec_train.txt").read_text(encoding="latin-1").splitlines()[:most]
        coded = (line.split(" ", 1) for line in lines)
        self.label = {text: CODES[code.partition(":")[0]] for code, text in coded}
        self.texts, self.labels = list(self.label), list(self.label.values())

    def attacked(self, k: int, trials: int, *, hard: np.ndarray | None = None) -> Scores:
        service = InductionModel(NAMES, self.label.get, templates=FLAT)
        rows = np.arange(len(self.texts))
        rng = np.random.default_rng([k, 1])
        games = draw_games(rows, k=k, trials=trials, rng=rng, nonmembers="random" if hard is None else "hard", neighbours=hard)
        return attack(service, games, self.texts, self.labels, NAMES, FLAT, rng=rng)


def summary(found: Scores) -> list[float]:
    pairs = [(auc(s), advantage(s, best_threshold(s))) for s in (found.repeat, found.brainwash)]
    return [advantage(found.gap, 0.5), *pairs[0], *pairs[1], *found.brainwash.mean(axis=0).tolist()]


@pytest.mark.shared_data
def test_published_table_on_trec(shared_data: Path) -> None:
    trec = Trec(shared_data)
    # three standard errors of the difference of two runs of 150 trials, from 16 runs at k = 12, where they are largest
    tolerance = np.array([0.16, 0.036, 0.08, 0.038, 0.095, 0.13, 0.06])
    rows = {k: summary(trec.attacked(k, 150)) for k in TABLE}
    for k, row in rows.items():
        print(f"k = {k:2d}  " + "  ".join(f"{value:.3f}" for value in row))
    for k, row in rows.items():
        assert (np.abs(np.array(row) - TABLE[k]) <= tolerance).all(), (k, row)
        assert min(row[2], row[4]) > row[0] + 0.3  # Repeat and Brainwash lie far above GAP
    assert rows[12][1] < rows[1][1]  # common openings collide in longer prompts


@pytest.mark.shared_data
def test_a_fixed_threshold_of_five_finds_nothing(shared_data: Path) -> None:
    found = Trec(shared_data).attacked(3, 60)
    assert advantage(found.brainwash, 5) == 0 and advantage(found.brainwash, best_threshold(found.brainwash)) > 0.9


@pytest.mark.shared_data
def test_hard_nonmembers_on_trec(shared_data: Path) -> None:
    trec = Trec(shared_data, 2_500)
    near = hard_neighbours(trec.texts)
    random, hard = (summary(trec.attacked(6, 150, hard=neighbours)) for neighbours in (None, near))
    print("random  " + "  ".join(f"{value:.3f}" for value in random))
    print("hard    " + "  ".join(f"{value:.3f}" for value in hard))
    assert hard[4] < random[4] - 0.03 and abs(hard[2] - random[2]) < 0.05
