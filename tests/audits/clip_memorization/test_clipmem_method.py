"""CLIPMem on arrays: exact against plain loops over views and held-out items, and against planted memory."""

from __future__ import annotations

import numpy as np
import pytest

from assaymark.audits.clip_memorization.method.alignment import (
    BOUND,
    Alignment,
    HeldOutMeans,
    alignment,
    clip_memorization,
    held_out_means,
    joined_alignments,
)
from assaymark.audits.clip_memorization.method.towers import procrustes, tower_swap, view_distance


def unit(rng: np.random.Generator, *shape: int) -> np.ndarray:
    x = rng.standard_normal(shape)
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def test_mean_embedding_stands_for_all_held_out_items() -> None:
    rng = np.random.default_rng(10)
    u, v, tests_i, tests_t = unit(rng, 7, 4, 16), unit(rng, 7, 4, 16), unit(rng, 50, 16), unit(rng, 60, 16)
    found = alignment(u, v, means=held_out_means(tests_i, tests_t))
    for n in range(7):
        per_view = [
            u[n, k] @ v[n, k] - np.mean([u[n, k] @ t for t in tests_t]) - np.mean([i @ v[n, k] for i in tests_i])
            for k in range(4)
        ]
        assert found.total[n] == pytest.approx(np.mean(per_view), abs=1e-6)
        assert found.view_sd[n] == pytest.approx(np.std(per_view, ddof=1), abs=1e-9)


def test_planted_delta_is_recovered_exactly() -> None:
    """Listed pairs have a pair term that is higher by a known delta under f: raw is that delta, and 0 elsewhere."""
    rng = np.random.default_rng(11)
    d, n = 64, 400
    u = unit(rng, n, d)
    means = HeldOutMeans(np.zeros(d), np.zeros(d))
    across = unit(rng, n, d)
    across -= (across * u).sum(1, keepdims=True) * u
    across /= np.linalg.norm(across, axis=1, keepdims=True)
    base, delta = rng.uniform(-0.3, 0.3, n), np.where(np.arange(n) < 60, rng.uniform(0.1, 0.6, n), 0.0)

    def caption(cosine: np.ndarray) -> np.ndarray:
        return cosine[:, None] * u + np.sqrt(1 - cosine**2)[:, None] * across

    f = alignment(u[:, None], caption(base + delta)[:, None], means=means)
    g = alignment(u[:, None], caption(base)[:, None], means=means)
    sets = np.where(np.arange(n) < 60, "C", "E")
    found = clip_memorization(f, g, sets=sets, views=1)
    assert np.abs(found.raw - delta).max() < 1e-6
    assert np.abs(found.normalised - delta / delta.max()).max() < 1e-6
    assert np.abs(found.calibrated - delta).max() < 1e-6


def test_terms_add_up_and_pull_in_their_direction() -> None:
    rng = np.random.default_rng(12)
    make = lambda: (unit(rng, 9, 3, 8), unit(rng, 9, 1, 8), held_out_means(unit(rng, 20, 8), unit(rng, 20, 8)))  # noqa: E731
    (u, v, m), (w, x, o) = make(), make()
    f, g = alignment(u, v, means=m), alignment(w, x, means=o)
    found = clip_memorization(f, g, sets=["C"] * 5 + ["E"] * 4, views=3, normalisation="bound")
    assert np.allclose(found.pair + found.image + found.text, found.raw)
    assert np.allclose(found.raw, f.total - g.total)
    assert np.allclose(found.normalised, found.raw / BOUND)
    moved = Alignment(f.pair, f.image_to_tests + 0.2, f.text_to_tests, f.view_sd)
    again = clip_memorization(moved, g, sets=["C"] * 5 + ["E"] * 4, views=3)
    assert np.allclose(again.image, found.image - 0.2), "a picture that came near to everything is not remembered"


def test_one_caption_view_meets_all_image_views() -> None:
    rng = np.random.default_rng(13)
    u, v, means = unit(rng, 6, 5, 8), unit(rng, 6, 1, 8), held_out_means(unit(rng, 9, 8), unit(rng, 9, 8))
    whole = alignment(u, np.repeat(v, 5, axis=1), means=means)
    assert np.allclose(alignment(u, v, means=means).total, whole.total)


def test_batches_do_not_matter() -> None:
    rng = np.random.default_rng(14)
    u, v, means = unit(rng, 11, 3, 8), unit(rng, 11, 3, 8), held_out_means(unit(rng, 9, 8), unit(rng, 9, 8))
    parts = [alignment(u[i : i + 4], v[i : i + 4], means=means) for i in range(0, 11, 4)]
    assert np.allclose(joined_alignments(parts).total, alignment(u, v, means=means).total)


def test_half_precision_is_summed_in_double() -> None:
    rng = np.random.default_rng(15)
    u, v = unit(rng, 5, 2, 512), unit(rng, 5, 2, 512)
    means = held_out_means(unit(rng, 2000, 512).astype(np.float16), unit(rng, 2000, 512).astype(np.float16))
    found = alignment(u.astype(np.float16), v.astype(np.float16), means=means)
    assert found.total.dtype == np.float64
    assert np.abs(found.pair - (u * v).sum(-1).mean(1)).max() < 1e-3


def test_pair_without_embedding_has_no_score_and_no_say() -> None:
    rng = np.random.default_rng(16)
    u, v, means = unit(rng, 6, 2, 8), unit(rng, 6, 2, 8), held_out_means(unit(rng, 9, 8), unit(rng, 9, 8))
    v[2] = np.nan
    f = alignment(u, v, means=means)
    g = alignment(unit(rng, 6, 2, 8), unit(rng, 6, 2, 8), means=means)
    found = clip_memorization(f, g, sets=list("CCCEEE"), views=2)
    assert np.isnan(found.raw[2]) and np.isfinite(np.delete(found.raw, 2)).all()
    assert np.nanmax(np.abs(found.normalised)) == pytest.approx(1.0)


def test_held_out_caption_that_holds_nothing_is_left_out() -> None:
    rng = np.random.default_rng(17)
    texts = unit(rng, 10, 8)
    holed = texts.copy()
    holed[3] = np.nan
    assert np.allclose(held_out_means(texts, holed).texts, np.delete(texts, 3, axis=0).mean(0))


def test_view_distance_is_a_loop_over_pairs() -> None:
    x = unit(np.random.default_rng(18), 5, 4, 8)
    for n in range(5):
        pairs = [np.linalg.norm(x[n, a] - x[n, b]) for a in range(4) for b in range(a)]
        assert view_distance(x)[n] == pytest.approx(np.mean(pairs))
    assert np.isnan(view_distance(x[:, :1])).all()


def test_near_views_keep_their_digits() -> None:
    base = unit(np.random.default_rng(19), 1, 1, 64)
    step = np.zeros(64)
    step[0] = 1e-9
    views = np.concatenate([base, base + step], axis=1)
    assert view_distance(views)[0] == pytest.approx(1e-9, rel=1e-6)


def test_rotation_between_spaces_is_found() -> None:
    rng = np.random.default_rng(20)
    x = unit(rng, 200, 12)
    turn = np.linalg.qr(rng.standard_normal((12, 12)))[0]
    found = procrustes(x, x @ turn)
    assert np.allclose(found.rotation, turn) and found.residual < 1e-12
    assert procrustes(x, unit(rng, 200, 12)).residual > 0.5


def test_swap_shows_the_tower_that_remembers() -> None:
    """g is f turned, but for the captions of some pairs: only the text tower has a contribution, and only there."""
    rng = np.random.default_rng(21)
    turn = np.linalg.qr(rng.standard_normal((16, 16)))[0]
    images, texts, shared = unit(rng, 40, 2, 16), unit(rng, 40, 2, 16), unit(rng, 300, 16)
    texts[:10] = images[:10]
    forgetful = texts.copy()
    forgetful[:10] = unit(rng, 10, 2, 16)
    means = HeldOutMeans(np.zeros(16), np.zeros(16))
    back = procrustes(shared @ turn, shared)
    found = tower_swap((images, texts), (images @ turn, forgetful @ turn), means=means, maps=(back, back))
    assert found.text[:10].mean() > 0.7 and np.abs(found.text[10:]).max() < 1e-9
    assert np.abs(found.image).max() < 1e-9 and max(found.residual) < 1e-12
