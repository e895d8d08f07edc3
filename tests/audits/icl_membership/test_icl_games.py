"""Who is in which prompt, and who is attacked."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.feature_extraction.text import TfidfVectorizer

from assaymark.audits.icl_membership.method.games import draw_games, hard_neighbours
from assaymark.audits.icl_membership.method.words import words_of
from assaymark.audits.icl_membership.planted import planted_pool


@given(st.integers(1, 12), st.integers(0, 20), st.integers(1, 30), st.integers(0, 2**32))
def test_invariants(k: int, spare: int, trials: int, seed: int) -> None:
    rows = np.random.default_rng(seed).permutation(100)[: k + 1 + spare]
    games = draw_games(rows, k=k, trials=trials, rng=np.random.default_rng(seed))
    assert games.demonstrations.shape == (trials, k)
    assert np.isin(games.demonstrations, rows).all() and np.isin(games.nonmember, rows).all()
    assert all(len(set(row)) == k for row in games.demonstrations.tolist())
    assert not (games.demonstrations == games.nonmember[:, None]).any()
    assert (games.position >= 0).all() and (games.position < k).all() and not games.hard.any()
    np.testing.assert_array_equal(games.member, games.demonstrations[np.arange(trials), games.position])
    again = draw_games(rows, k=k, trials=trials, rng=np.random.default_rng(seed))
    assert all(np.array_equal(a, b) for a, b in zip(games, again, strict=True))


def test_draws_are_uniform() -> None:
    games = draw_games(np.arange(6), k=3, trials=60_000, rng=np.random.default_rng(1))
    for drawn in (games.nonmember, games.member, *games.demonstrations.T):
        assert np.abs(np.bincount(drawn, minlength=6) - 10_000).max() < 5 * np.sqrt(60_000 * 5 / 36)
    assert np.abs(np.bincount(games.position) - 20_000).max() < 5 * np.sqrt(60_000 * 2 / 9)
    pairs = np.bincount(games.demonstrations[:, 0] * 6 + games.demonstrations[:, 1], minlength=36)
    assert np.abs(pairs[pairs > 0] - 2_000).max() < 5 * np.sqrt(2_000) and (pairs > 0).sum() == 30


@pytest.mark.parametrize(("position", "place"), [(0, 0), (2, 2), (-1, 3), (-4, 0)])
def test_fixed_position(position: int, place: int) -> None:
    games = draw_games(np.arange(9), k=4, trials=20, rng=np.random.default_rng(0), position=position)
    assert (games.position == place).all()


def test_duplicates_stay_out_of_a_prompt() -> None:
    texts = np.repeat(np.arange(8), [1, 5, 2, 1, 3, 1, 1, 4])
    games = draw_games(np.arange(18) + 50, k=6, trials=500, rng=np.random.default_rng(2), duplicates=texts)
    of = np.r_[np.full(50, -1), texts]
    together = np.column_stack([of[games.demonstrations], of[games.nonmember]])
    assert all(len(set(row)) == 7 for row in together.tolist())
    assert set(games.nonmember.tolist()) == set(range(50, 68))


def test_copies_of_the_member() -> None:
    games = draw_games(np.arange(30), k=6, trials=200, rng=np.random.default_rng(3), copies=3)
    same = games.demonstrations == games.member[:, None]
    assert (same.sum(axis=1) == 3).all() and not (games.demonstrations == games.nonmember[:, None]).any()
    assert same[np.arange(200), games.position].all() and same.any(axis=0).all()


def test_a_small_pool_is_refused_with_both_numbers() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="holds 3 distinct texts, and a prompt of 3 with a non-member needs 4"):
        draw_games([4, 5, 6], k=3, trials=1, rng=rng)
    with pytest.raises(ValueError, match="holds 2 distinct texts in 4 rows"):
        draw_games([1, 2, 3, 4], k=3, trials=1, rng=rng, duplicates=["a", "b", "a", "b"])
    with pytest.raises(ValueError, match="must be distinct"):
        draw_games([1, 1, 2], k=1, trials=1, rng=rng)
    with pytest.raises(ValueError, match="outside a prompt of 2"):
        draw_games([1, 2, 3], k=2, trials=1, rng=rng, position=2)
    with pytest.raises(ValueError, match="neighbours of all 3 rows"):
        draw_games([1, 2, 3], k=2, trials=1, rng=rng, nonmembers="hard")


def test_hard_nonmembers_are_the_nearest_outside_the_prompt() -> None:
    rng = np.random.default_rng(4)
    rows = np.arange(20) + 7
    neighbours = np.array([rng.permutation(np.delete(np.arange(20), i))[:4] for i in range(20)])
    neighbours[::3, 2:] = -1
    neighbours[5] = -1
    games = draw_games(rows, k=8, trials=400, rng=rng, nonmembers="hard", neighbours=neighbours)
    for trial in range(400):
        prompt = set(games.demonstrations[trial].tolist())
        near = [rows[j] for j in neighbours[games.member[trial] - 7] if j >= 0 and rows[j] not in prompt]
        assert games.hard[trial] == bool(near)
        assert games.nonmember[trial] == near[0] if near else games.nonmember[trial] not in prompt
    assert 0 < games.hard.mean() < 1


def test_hard_nonmembers_are_no_duplicates_of_the_prompt() -> None:
    rows, texts = np.arange(10), np.arange(10) // 2
    neighbours = (np.arange(10)[:, None] + np.array([1, 2, 3, 4, 5])) % 10
    games = draw_games(
        rows, k=3, trials=300, rng=np.random.default_rng(0), nonmembers="hard", neighbours=neighbours, duplicates=texts
    )
    assert not (texts[games.demonstrations] == texts[games.nonmember][:, None]).any()


def test_neighbours_are_those_of_a_plain_loop() -> None:
    texts = planted_pool(0, 120, shared_openings=0.6).texts
    found = hard_neighbours(texts, most=7)
    vectors = TfidfVectorizer(analyzer=words_of).fit_transform(texts).toarray()
    for i, text in enumerate(texts):
        cosines = np.round(vectors @ vectors[i], 9)
        same = [words_of(other)[:3] == words_of(text)[:3] for other in texts]
        others = [j for j in range(len(texts)) if j != i and (same[j] or cosines[j] > 0)]
        expected = sorted(others, key=lambda j: (-round(2.0 * same[j] + cosines[j], 9), j))[:7]
        assert found[i].tolist() == expected + [-1] * (7 - len(expected))


def test_neighbours_do_not_depend_on_the_block(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = planted_pool(1, 80, shared_openings=0.5).texts
    whole = hard_neighbours(texts, most=5)
    monkeypatch.setattr("assaymark.audits.icl_membership.method.games._CELLS", 80 * 7)
    np.testing.assert_array_equal(hard_neighbours(texts, most=5), whole)


def test_neighbours_of_few_texts() -> None:
    assert hard_neighbours(["a b c d", "a b c e", "x y z"]).tolist() == [[1, -1], [0, -1], [-1, -1]]
    assert hard_neighbours(["only one"]).shape == (1, 0)
    assert hard_neighbours(["?", "!"]).tolist() == [[-1], [-1]]
