"""Private generation of demonstrations: sensitivity, noise, groups, guarantees."""

from __future__ import annotations

import importlib.util
import math
import sys
from collections import Counter
from dataclasses import replace
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from scipy.special import softmax
from scipy.stats import chisquare, norm

from assaymark.audits.icl_membership.method.defences.accountant import (
    Generation,
    Noise,
    generation_guarantee,
    l2_sensitivity,
    max_sensitivity,
    noise_multiplier_for,
)
from assaymark.audits.icl_membership.method.defences.synthetic import (
    aggregate,
    draw_groups,
    noisy_choice,
    public_tokens,
    synthetic,
    synthetic_prompts,
)
from assaymark.errors import MissingExtra

needs_library = pytest.mark.skipif(
    importlib.util.find_spec("dp_accounting") is None, reason="the extra `privacy` is not installed"
)
VOCABULARY = [" who", " where", " wrote", " is", " secret", " it", "\n"]
ALL = np.arange(len(VOCABULARY))


class BigramModel:
    """Next token by what followed the last word in the examples of the prefix, over a floor for each token."""

    def __init__(self, floor: float = 0.01) -> None:
        self.floor = floor
        self.prefixes: list[list[str]] = []

    def __call__(self, prefixes: list[str]) -> tuple[npt.NDArray[np.float64], list[str]]:
        self.prefixes.append(prefixes)
        return np.stack([self._row(prefix) for prefix in prefixes]), VOCABULARY

    def _row(self, prefix: str) -> npt.NDArray[np.float64]:
        *examples, current = [line[len("Text:") :] for line in prefix.split("\n") if line.startswith("Text:")]
        last = current.split()[-1] if current.split() else "<start>"
        row = np.full(len(VOCABULARY), self.floor)
        for text in examples:
            words = ["<start>", *text.split(), "\n"]
            for before, after in pairwise(words):
                if before == last:
                    row[[token.strip(" ") for token in VOCABULARY].index(after)] += 1.0
        return row / row.sum()


PRIVATE = [("who wrote it", "Person")] * 8 + [("who is secret", "Person")] + [("where is it", "Location")] * 6


def simplex_rows(rows: int, columns: int) -> st.SearchStrategy[npt.NDArray[np.float64]]:
    cells = st.lists(st.floats(0, 1).map(lambda x: x**8), min_size=rows * columns, max_size=rows * columns)
    return cells.map(lambda values: _normalised(np.array(values).reshape(rows, columns)))


def _normalised(rows: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    total = rows.sum(axis=1, keepdims=True)
    return np.divide(rows, total, out=np.zeros_like(rows), where=total > 0)


# --- sensitivity -----------------------------------------------------------------------------------------------------------


@hypothesis_settings(max_examples=40)
@given(simplex_rows(4, 6), simplex_rows(1, 6), st.integers(0, 3))
def test_one_group_moves_the_mean_within_the_sensitivity(
    rows: npt.NDArray[np.float64], other: npt.NDArray[np.float64], group: int
) -> None:
    changed = rows.copy()
    changed[group] = other[0]
    tokens = np.array([4, 0, 2])
    euclidean = aggregate(rows, tokens, noise="gaussian") - aggregate(changed, tokens, noise="gaussian")
    assert np.linalg.norm(euclidean) <= l2_sensitivity(4) + 1e-12
    largest = aggregate(rows, tokens, noise="gumbel") - aggregate(changed, tokens, noise="gumbel")
    assert np.abs(largest).max() <= max_sensitivity(4) + 1e-12


def test_the_sensitivities_are_reached() -> None:
    """Two groups that are sure of different tokens: no smaller bound would hold."""
    one, other = np.eye(3)[[0, 0]], np.eye(3)[[0, 1]]
    moved = aggregate(one, np.arange(3), noise="gaussian") - aggregate(other, np.arange(3), noise="gaussian")
    assert np.linalg.norm(moved) == pytest.approx(l2_sensitivity(2)) == pytest.approx(math.sqrt(2) / 2)
    moved = aggregate(one, np.arange(3), noise="exponential") - aggregate(other, np.arange(3), noise="exponential")
    assert np.abs(moved).max() == pytest.approx(max_sensitivity(2)) == 0.5


def test_aggregate_by_hand() -> None:
    rows = [[0.2, 0.6, 0.2], [0.0, 0.0, 1.0]]
    # the second group gives neither public token any probability, and does not care which it is
    assert aggregate(rows, np.array([0, 1]), noise="gaussian") == pytest.approx([(0.25 + 0.5) / 2, (0.75 + 0.5) / 2])
    assert aggregate(rows, np.array([0, 1]), noise="gumbel") == pytest.approx([(1 / 3 + 1) / 2, 1.0])


@pytest.mark.parametrize("rows", [[[0.7, 0.7]], [[-0.1, 1.0]], [[math.nan, 1.0]], [0.5, 0.5]])
def test_what_is_no_distribution_is_refused(rows: list[list[float]]) -> None:
    with pytest.raises(ValueError, match="next-token probabilities"):
        aggregate(rows, np.array([0, 1]), noise="gaussian")


def test_public_tokens_in_order() -> None:
    assert public_tokens([0.1, 0.4, 0.1, 0.4], top_k=3).tolist() == [1, 3, 0]


def test_public_tokens_are_those_of_a_stable_sort() -> None:
    rng = np.random.default_rng(0)
    for top_k in (1, 7, 40, 60):
        row = rng.integers(0, 9, 40) / 200  # many ties, also at the last place
        assert public_tokens(row, top_k=top_k).tolist() == np.argsort(-row, kind="stable")[:top_k].tolist()


# --- noise -----------------------------------------------------------------------------------------------------------------


def frequencies(scores: list[float], noise: Noise, scale: float, draws: int = 20_000) -> npt.NDArray[np.int64]:
    rng = np.random.default_rng(5)
    array = np.array(scores)
    return np.bincount([noisy_choice(array, noise=noise, scale=scale, rng=rng) for _ in range(draws)], minlength=len(scores))


def test_gumbel_noise_is_the_exponential_mechanism() -> None:
    scores = [0.9, 0.5, 0.1]
    counts = frequencies(scores, "gumbel", 0.3)
    assert chisquare(counts, softmax(np.array(scores) / 0.3) * counts.sum()).pvalue > 1e-3


def test_exponential_noise_of_two_tokens() -> None:
    # the lower of two scores wins with probability exp(-gap / scale) / 2
    counts = frequencies([0.8, 0.2], "exponential", 0.5)
    lower = 0.5 * math.exp(-0.6 / 0.5)
    assert chisquare(counts, np.array([1 - lower, lower]) * counts.sum()).pvalue > 1e-3


def test_gaussian_noise_of_two_tokens() -> None:
    counts = frequencies([0.8, 0.2], "gaussian", 0.5)
    higher = norm.cdf(0.6 / (0.5 * math.sqrt(2)))
    assert chisquare(counts, np.array([higher, 1 - higher]) * counts.sum()).pvalue > 1e-3


def test_noisy_maximum_of_neighbours_is_within_its_epsilon_and_near_it() -> None:
    """The worst case: one group sure of token 0, or of every token but 0."""
    scale, tokens = 1.0, 1_000
    one, other = np.eye(tokens)[:1], np.full((1, tokens), 1 / (tokens - 1))
    other[0, 0] = 0.0
    with_, without = (softmax(aggregate(rows, np.arange(tokens), noise="gumbel") / scale) for rows in (one, other))
    epsilon = generation_guarantee(Generation(scale, noise="gumbel", groups=1, longest=1), examples_per_label=1).epsilon
    assert epsilon is not None
    assert 0.99 * epsilon < np.abs(np.log(with_ / without)).max() <= epsilon


@needs_library
@pytest.mark.parametrize(("multiplier", "rate"), [(1.0, 1.0), (2.0, 1.0), (0.5, 0.4)])
def test_first_token_of_neighbours_is_within_the_guarantee(multiplier: float, rate: float) -> None:
    """One example that settles a group of one against none: every event of the outputs obeys (epsilon, delta)."""

    def model(prefixes: list[str]) -> tuple[npt.NDArray[np.float64], list[str]]:
        return np.array([[1.0, 0.0] if "target" in prefix else [0.0, 1.0] for prefix in prefixes]), ["a", "b"]

    settings = Generation(multiplier, groups=1, top_k=2, longest=1, delta=0.2, sampling_rate=rate)
    rng, draws = np.random.default_rng(3), 4_000
    chosen = []
    for private in ([("target", "A")], []):
        wanted = ["A"] * draws
        # the guarantee of one text; the many draws estimate its distribution
        quick = replace(settings, accountant="rdp")
        done = synthetic(private, wanted=wanted, next_token=model, settings=quick, rng=rng)
        chosen.append(sum(text == "a" for text, _ in done.demonstrations) / draws)
    guarantee = generation_guarantee(settings, examples_per_label=1)
    with_, without = chosen
    taken, left = norm.cdf(0.5 / multiplier), norm.cdf(-0.5 / multiplier)
    assert with_ == pytest.approx(rate * taken + (1 - rate) * left, abs=0.03)
    assert without == pytest.approx(left, abs=0.03)
    assert guarantee.epsilon is not None
    for p, p_other in ((with_, without), (without, with_), (1 - with_, 1 - without), (1 - without, 1 - with_)):
        assert p <= math.exp(guarantee.epsilon) * p_other + 0.2 + 0.03


# --- groups ----------------------------------------------------------------------------------------------------------------


def test_groups_are_uniform_and_independent_of_one_another() -> None:
    rng = np.random.default_rng(0)
    drawn = np.stack([draw_groups(5, groups=3, sampling_rate=0.4, rng=rng) for _ in range(4_000)])
    expected = np.array([0.6, *[0.4 / 3] * 3]) * 4_000
    for example in range(5):
        assert chisquare(np.bincount(drawn[:, example] + 1, minlength=4), expected).pvalue > 1e-3
    pairs = np.bincount((drawn[:, 0] + 1) * 4 + drawn[:, 1] + 1, minlength=16)
    assert chisquare(pairs, np.outer(expected, expected).ravel() / 4_000).pvalue > 1e-3


def test_each_private_text_is_in_one_prompt_at_most_and_never_in_the_public_one() -> None:
    private = [(f"who wrote{i}", "Person") for i in range(30)]
    settings = Generation(0.0, groups=4, sampling_rate=0.7, longest=3)
    prefixes: list[list[str]] = []

    def watched(given: list[str]) -> tuple[npt.NDArray[np.float64], list[str]]:
        prefixes.append(given)
        return np.full((len(given), len(VOCABULARY)), 1 / len(VOCABULARY)), VOCABULARY

    synthetic(private, wanted=["Person"], next_token=watched, settings=settings, rng=np.random.default_rng(0))
    assert [len(given) for given in prefixes] == [5, 5, 5]
    for public, *groups in prefixes:
        assert not any(text in public for text, _ in private)
        counts = Counter(i for i in range(30) for group in groups if f"who wrote{i}\n" in group)
        assert set(counts.values()) == {1}
        assert 8 < len(counts) < 30
    assert len({tuple(given) for given in prefixes}) == 3  # drawn afresh for each token


def test_other_labels_are_not_shown() -> None:
    model = BigramModel()
    settings = Generation(0.0, groups=2, longest=2)
    synthetic(PRIVATE, wanted=["Location"], next_token=model, settings=settings, rng=np.random.default_rng(0))
    assert not any("who" in prefix for given in model.prefixes for prefix in given)


# --- generation ------------------------------------------------------------------------------------------------------------


def test_without_noise_the_majority_speaks_and_the_single_text_does_not() -> None:
    done = synthetic(
        PRIVATE,
        wanted=["Person", "Location"],
        next_token=BigramModel(),
        settings=Generation(0.0, groups=3, top_k=7, longest=9),
        rng=np.random.default_rng(1),
    )
    assert done.demonstrations == (("who wrote it", "Person"), ("where is it", "Location"))
    assert [(change.source, change.action, change.measure) for change in done.changes] == [(-1, "generated", 4.0)] * 2
    assert not done.guarantee.formal
    assert str(done.guarantee) == "no formal guarantee"


def test_texts_written_side_by_side_are_those_written_alone() -> None:
    settings = Generation(3.0, noise="gumbel", groups=2, top_k=7, longest=9)
    prompts, wanted = [PRIVATE, PRIVATE[:5], PRIVATE[3:]], [["Person", "Location"], ["Person"], ["Location", "Person"]]
    alone = [
        synthetic(shown, wanted=labels, next_token=BigramModel(), settings=settings, rng=np.random.default_rng(seed))
        for seed, (shown, labels) in enumerate(zip(prompts, wanted, strict=True))
    ]
    model = BigramModel()
    rngs = [np.random.default_rng(seed) for seed in range(3)]
    together = synthetic_prompts(prompts, wanted=wanted, next_token=model, settings=settings, rngs=rngs)
    assert together == alone
    assert len({found.demonstrations for found in alone}) == 3
    drawn = [change.measure for found in alone for change in found.changes]
    assert len(model.prefixes) == max(measure for measure in drawn if measure is not None), (
        "a call for each token of the longest"
    )
    assert all(len(set(asked)) == len(asked) for asked in model.prefixes)


def test_only_public_tokens_are_generated() -> None:
    def model(prefixes: list[str]) -> tuple[npt.NDArray[np.float64], list[str]]:
        public = np.array([[0.5, 0.3, 0.2, 0.0]])
        private = np.array([[0.0, 0.0, 0.1, 0.9]] * (len(prefixes) - 1))
        return np.concatenate([public, private]), ["a", "b", "c", "secret"]

    settings = Generation(0.5, noise="gumbel", groups=2, top_k=3, longest=40)
    done = synthetic([("secret", "L")], wanted=["L"], next_token=model, settings=settings, rng=np.random.default_rng(0))
    assert set(done.demonstrations[0][0]) == {"a", "b", "c"}


def test_text_stops_within_a_token_that_holds_the_end() -> None:
    def model(prefixes: list[str]) -> tuple[npt.NDArray[np.float64], list[str]]:
        done = prefixes[0].endswith("yes")
        return np.tile([0.0, 1.0] if done else [1.0, 0.0], (len(prefixes), 1)), ["yes", "!\nno"]

    done = synthetic([], wanted=["L"], next_token=model, settings=Generation(0.0, groups=1), rng=np.random.default_rng(0))
    assert done.demonstrations == (("yes!", "L"),)
    assert done.changes[0].measure == 2.0


def test_empty_texts_are_left_out_with_the_reason() -> None:
    def model(prefixes: list[str]) -> tuple[npt.NDArray[np.float64], list[str]]:
        return np.tile([0.0, 1.0], (len(prefixes), 1)), ["yes", "\n"]

    done = synthetic([], wanted=["L"], next_token=model, settings=Generation(0.0, groups=1), rng=np.random.default_rng(0))
    assert (done.demonstrations, done.undefined) == ((), "every generated text is empty")
    assert done.changes[0].reason == "empty text"


def test_a_model_of_the_wrong_shape_is_refused() -> None:
    with pytest.raises(ValueError, match="expected"):
        synthetic(
            [("x", "L")],
            wanted=["L"],
            next_token=lambda prefixes: (np.ones((1, 1)), ["a"]),
            settings=Generation(0.0, groups=2),
            rng=np.random.default_rng(0),
        )


# --- guarantees ------------------------------------------------------------------------------------------------------------


def test_nothing_is_generated_where_it_cannot_be_accounted_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dp_accounting", None)
    model = BigramModel()
    with pytest.raises(MissingExtra, match="privacy"):
        synthetic(PRIVATE, wanted=["Person"], next_token=model, settings=Generation(1.0), rng=np.random.default_rng(0))
    assert model.prefixes == []


def test_pure_guarantee_of_labels_in_parallel() -> None:
    settings = Generation(50.0, noise="exponential", groups=3, top_k=7, longest=5)
    done = synthetic(
        PRIVATE,
        wanted=["Person", "Location", "Person"],
        next_token=BigramModel(),
        settings=settings,
        rng=np.random.default_rng(0),
    )
    # five tokens of two texts of one label, each token 2 / 50
    assert done.guarantee.epsilon == pytest.approx(2 * 5 * 2 / 50)
    assert done.guarantee.delta == 0.0
    assert "replaced" in done.guarantee.relation
    sampled = generation_guarantee(Generation(50.0, noise="gumbel", sampling_rate=0.1), examples_per_label=1)
    assert "replaced" not in sampled.relation


@needs_library
def test_gaussian_guarantee_and_its_text() -> None:
    guarantee = generation_guarantee(Generation(6.0, longest=50, sampling_rate=0.05), examples_per_label=1)
    from assaymark.stats import gaussian_epsilon

    assert guarantee.epsilon == gaussian_epsilon(6.0, steps=50, delta=1e-5, sampling_rate=0.05)
    assert guarantee.formal
    assert str(guarantee).endswith("-differential privacy, for one example added or removed")


@needs_library
def test_noise_for_a_wanted_guarantee() -> None:
    for noise in ("gaussian", "gumbel", "exponential"):
        rate = 1.0 if noise == "gaussian" else 0.2
        settings = Generation(1.0, noise=noise, longest=20, sampling_rate=rate)
        multiplier = noise_multiplier_for(4.0, settings=settings, examples_per_label=2)
        kept = Generation(multiplier, noise=noise, longest=20, sampling_rate=rate)
        epsilon = generation_guarantee(kept, examples_per_label=2).epsilon
        assert epsilon is not None
        assert 3.95 <= epsilon <= 4.0 + 1e-9


def test_scale_of_the_noise() -> None:
    # noise of variance 2 sigma^2 on the sum of 10 groups, of which the mean is taken
    assert Generation(0.39, groups=10).noise_scale == pytest.approx(math.sqrt(2 * 0.39**2) / 10)
    assert Generation(3.0, noise="gumbel", groups=10).noise_scale == pytest.approx(0.3)


@pytest.mark.parametrize(
    "wrong",
    [{"noise": "laplace"}, {"groups": 0}, {"top_k": 0}, {"longest": 0}, {"end": ""}, {"sampling_rate": 0.0}, {"delta": 0.0}],
)
def test_settings_out_of_range_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        Generation(1.0, **wrong)  # type: ignore[arg-type]
    with pytest.raises(ValueError):
        Generation(-1.0)
