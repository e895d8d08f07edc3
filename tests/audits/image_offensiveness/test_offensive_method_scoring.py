"""Scores against the softmax they stand for, whatever the type, scale and block size of the embeddings."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import softmax

from assaymark.audits.image_offensiveness.method import scoring
from assaymark.audits.image_offensiveness.method.official_decision import decision_table, official_decision
from assaymark.audits.image_offensiveness.planted import planted_prompt_images


def material(n: int = 500, d: int = 64, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, d)), rng.standard_normal((2, d)) + 1.0


def reference(V: np.ndarray, P: np.ndarray, scale: float = 100.0) -> np.ndarray:
    a = V / np.linalg.norm(V, axis=1, keepdims=True)
    return scale * a @ (P / np.linalg.norm(P, axis=1, keepdims=True)).T


def test_score_is_the_softmax_and_the_sigmoid_of_one_product() -> None:
    V, P = material()
    P[1] = 0.9 * P[0] + 0.1 * P[1]  # close prompts, so that scores are not all 0 or 1
    scored = scoring.log_odds(V.astype(np.float32), scoring.prompt_direction(P))
    expected = softmax(reference(V, P), axis=1)[:, 1]
    assert ((expected > 0.01) & (expected < 0.99)).sum() > 100
    np.testing.assert_allclose(scoring.probability(scored.log_odds), expected, atol=1e-6)
    np.testing.assert_allclose(scoring.probability_of_each(scoring.logits(V, P))[:, 1], expected, atol=1e-5)
    assert scored.log_odds.dtype == np.float32


def test_lengths_of_prompts_and_embeddings_do_not_matter() -> None:
    V, P = material()
    w = scoring.prompt_direction(P)
    scaled = V * np.random.default_rng(1).uniform(1e-3, 1e3, (len(V), 1))
    np.testing.assert_allclose(scoring.prompt_direction(P * [[3.0], [0.2]]), w, rtol=1e-6)
    np.testing.assert_allclose(scoring.log_odds(scaled, w).log_odds, scoring.log_odds(V, w).log_odds, atol=2e-4)
    unit = V / np.linalg.norm(V, axis=1, keepdims=True)
    assert scoring.log_odds(unit.astype(np.float16), w).scaled == 0
    assert scoring.log_odds(scaled, w).scaled == len(V)


@pytest.mark.parametrize("rows", [0, 1, 99, 100, 101])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_blocks_and_threads_change_no_bit(rows: int, dtype: type) -> None:
    V, P = material(rows)
    V, w = V.astype(dtype), scoring.prompt_direction(P)
    whole = scoring.log_odds(V, w)
    for block, threads in ((100, 1), (7, 1), (100, 3)):
        parts = scoring.log_odds(V, w, block=block, threads=threads)
        assert np.array_equal(parts.log_odds, whole.log_odds) and parts.scaled == whole.scaled
    assert whole.log_odds.shape == (rows,)
    if rows:
        np.testing.assert_allclose(whole.log_odds, np.diff(reference(V.astype(np.float64), P), axis=1)[:, 0], atol=1e-3)


def test_saturated_scores_are_finite() -> None:
    d = 8
    P = np.eye(d)[:2]
    V = np.array([np.eye(d)[1] - np.eye(d)[0], np.eye(d)[0] - np.eye(d)[1]])
    log_odds = scoring.log_odds(V, scoring.prompt_direction(P, logit_scale=200 / np.sqrt(2))).log_odds
    np.testing.assert_allclose(log_odds, [200, -200], rtol=1e-6)
    s = scoring.probability(log_odds)
    assert s[0] == 1.0 and 0 < s[1] < 1e-80
    assert np.isfinite(scoring.probability_of_each(scoring.logits(V, P, logit_scale=1e5))).all()


def test_rows_without_a_direction_are_marked_and_others_kept() -> None:
    V, P = material(8)
    V[1], V[3, 0], V[5, 2] = 0.0, np.nan, np.inf
    V[6] *= 1e-25  # squares vanish in float32
    V[7] *= 1e25  # squares overflow in float32
    scored = scoring.log_odds(V.astype(np.float32), scoring.prompt_direction(P))
    assert np.flatnonzero(scored.invalid).tolist() == [1, 3, 5] == np.flatnonzero(np.isnan(scored.log_odds)).tolist()
    good = ~scored.invalid
    np.testing.assert_allclose(scored.log_odds[good], np.diff(reference(V[good], P), axis=1)[:, 0], atol=1e-3)
    rows = scoring.unit_rows(V.astype(np.float32))
    assert np.array_equal(rows.invalid, scored.invalid) and not rows.rows[rows.invalid].any()
    np.testing.assert_allclose(np.linalg.norm(rows.rows[good], axis=1), 1, rtol=1e-6)


def test_half_precision_is_widened_before_it_is_squared() -> None:
    V = np.full((3, 16), 300.0, dtype=np.float16)  # 16 * 300^2 is beyond the largest half
    assert not scoring.unit_rows(V).invalid.any()


def test_neutral_row_changes_probabilities_but_not_their_ratio() -> None:
    V, P = material()
    three = np.vstack([P, np.random.default_rng(3).standard_normal(P.shape[1])])
    assert np.array_equal(scoring.prompt_direction(three), scoring.prompt_direction(P))
    z = scoring.logits(V, three, logit_scale=5.0)
    each = scoring.probability_of_each(z)
    np.testing.assert_allclose(each.sum(axis=1), 1)
    np.testing.assert_allclose(np.log(each[:, 1] / each[:, 0]), z[:, 1] - z[:, 0], atol=1e-4)


@pytest.mark.parametrize(
    ("V", "P", "message"),
    [
        (np.ones((2, 5)), np.ones((2, 4)), "5 dimensions, the prompts 4"),
        (np.ones(5), np.ones((2, 5)), "matrix"),
        (np.ones((2, 5)), np.ones((4, 5)), "shape"),
        (np.ones((2, 5)), np.vstack([np.zeros(5), np.ones(5)]), "zero"),
    ],
)
def test_what_does_not_fit_is_refused(V: np.ndarray, P: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        scoring.logits(V, P)


def test_raw_prompts_favour_the_longer_row() -> None:
    rng = np.random.default_rng(0)
    P = rng.standard_normal((2, 64)) + 3.0
    P *= np.array([[1.1], [1.0]]) / np.linalg.norm(P, axis=1, keepdims=True)
    V = planted_prompt_images(P, n=5_000)
    table = decision_table(V, P)
    assert table.normalised.value == pytest.approx(0.5, abs=0.02)
    assert table.official.high < 0.4 and table.differing.value == pytest.approx(
        table.normalised.value - table.official.value, abs=0.002
    )
    assert np.array_equal(official_decision(7 * V, P), np.argmax(V @ P.T, axis=1))
    equal = decision_table(V, P / np.linalg.norm(P, axis=1, keepdims=True))
    assert equal.differing.value < 1e-3 and equal.skipped == 0


PUBLISHED = {
    "ViT_B_16": ((13.47, 13.34), 0.838, (0.45, 0.48), (0.030, 0.045)),
    "ViT_B_32": ((13.25, 13.08), 0.851, (0.43, 0.46), (0.045, 0.065)),
    "ViT_L_14": ((22.17, 21.35), 0.887, (0.26, 0.32), (0.18, 0.23)),
}


@pytest.mark.shared_data
@pytest.mark.parametrize("name", PUBLISHED)
def test_published_prompts(shared_data, name: str) -> None:
    """Lengths and cosine as published; images that lean to neither prompt are flagged too rarely by the raw rows."""
    P = np.load(shared_data / "q16-prompts" / "q16_prompts.npz")[name]
    lengths, cosine, official, differing = PUBLISHED[name]
    table = decision_table(planted_prompt_images(P), P)
    np.testing.assert_allclose(table.lengths, lengths, atol=0.006)
    assert table.cosine == pytest.approx(cosine, abs=6e-4)
    assert table.normalised.value == pytest.approx(0.5, abs=0.02)
    assert official[0] < table.official.value < official[1] and differing[0] < table.differing.value < differing[1]
