"""Downstream probe (planted experiment E), label space, and looking for data subjects."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import softmax

from assaymark.audits.image_text_dataset.method import downstream, find_me, label_space
from assaymark.audits.image_text_dataset.planted import planted_downstream


def test_probabilities_are_a_softmax_of_scaled_cosines() -> None:
    scores = np.random.default_rng(0).normal(0.2, 0.05, (5, 8))
    assert downstream.class_probabilities(scores) == pytest.approx(softmax(100 * scores, axis=1))


def test_experiment_e_gap_and_paired_difference() -> None:
    planted = planted_downstream(0)
    rng = np.random.default_rng(0)
    first, second = (downstream.class_probabilities(s) for s in (planted.scores_a, planted.scores_b))
    for probabilities, name in ((first, "gap_a"), (second, "gap_b")):
        gap = downstream.compare_groups(
            probabilities, planted.race == "r1", planted.race == "r2", class_index=0, rng=rng, resamples=300
        )
        assert gap.mean.value == pytest.approx(planted.truth[name], abs=0.05)
        assert gap.mean.low - 0.005 <= planted.truth[name] <= gap.mean.high + 0.005
    answers = downstream.group_answers(second, planted.race, planted.gender, rng=rng, resamples=200)
    assert [a.group for a in answers] == [("r1", "f"), ("r1", "m"), ("r2", "f"), ("r2", "m")]
    assert sum(a.n for a in answers) == 600 and sum(x.value for x in answers[0].mean) == pytest.approx(1)
    change = {d.group[0]: d for d in downstream.compare_encoders(first, second, planted.race, rng=rng, resamples=300)}
    assert change["r1"].mean[0].high < 0 and change["r2"].mean[0].low <= 0 <= change["r2"].mean[0].high


def test_experiment_e_gap_within_two_points_of_the_planted_one() -> None:
    gaps = []
    for seed in range(6):
        planted = planted_downstream(seed, faces=4000)
        human = downstream.class_probabilities(planted.scores_b)[:, 0]
        gaps.append(human[planted.race == "r1"].mean() - human[planted.race == "r2"].mean() - planted.truth["gap_b"])
    assert np.abs(gaps).max() < 0.02
    assert planted_downstream(0, null=True).truth["gap_b"] == pytest.approx(0, abs=0.003)


def test_faces_without_scores_leave_and_encoders_must_fit() -> None:
    scores = np.full((4, 2), 0.2)
    scores[:, 0] += 0.1
    scores[0] = np.nan
    answer = downstream.group_answers(downstream.class_probabilities(scores), rng=np.random.default_rng(0))
    assert answer[0].group == () and answer[0].n == 3 and answer[0].predicted[0].value == 1
    with pytest.raises(ValueError, match="same faces"):
        downstream.compare_encoders(scores, scores[1:], rng=np.random.default_rng(0))


def test_label_space_counts_classes_and_images_once() -> None:
    flags = [[True, True], [False, False], [False, True], [False, False]]
    answer = label_space.label_space(flags, [10, 60, 20, 10])
    assert answer.classes.value == 0.5 and answer.images == 30 and answer.image_share == 0.3
    assert [r.images for r in answer.by_reason] == [10, 30] and answer.worst.tolist() == [2, 0]
    with pytest.raises(ValueError, match="do not fit"):
        label_space.label_space(flags, [1, 2])


def test_every_kind_of_evidence_is_found_and_joined() -> None:
    urls = np.array(["https://a.example/1", "https://b.example/2", "https://a.example/1"])
    by_url = find_me.match_exact(urls, ["https://a.example/1", "https://x.example"], reason="url")
    assert by_url.row.tolist() == [0, 2] and by_url.query.tolist() == [0, 0]
    names = find_me.match_name(["A portrait of ADA  Lovelace, 1840", "Adalovelace", None], ["Ada Lovelace", " "])
    assert names.row.tolist() == [0] and names.query.tolist() == [0]
    hashes = np.array([0b1011, 0, 0xFF00], np.uint64)
    near = find_me.match_phash(hashes, [0b0011], distance=2)
    assert near.row.tolist() == [0, 1] and near.score == pytest.approx([1 - 1 / 64, 1 - 2 / 64])
    rows = np.eye(3)
    same = find_me.match_embedding(rows[1:2], rows)
    table = find_me.join_matches([same, near, by_url, names, by_url])
    assert list(zip(table.row.tolist(), table.reason.tolist(), strict=True)) == [
        (0, "name"), (0, "phash"), (0, "url"), (1, "embedding"), (1, "phash"), (2, "url"),
    ]  # fmt: skip
    assert len(find_me.join_matches([]).row) == 0


def test_manifest_is_held_against_a_release_with_drift() -> None:
    rng = np.random.default_rng(0)
    phash = rng.integers(1, 2**63, size=6, dtype=np.uint64)
    vectors = rng.standard_normal((6, 16))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    manifest = find_me.Release(np.array(["h0", "h1", "h2", "h3", "", "h5"]), phash, vectors)
    release = find_me.Release(
        np.array(["h0", "changed", "", "", ""]),
        np.array([phash[0], phash[1] ^ np.uint64(3), 0, 12345, phash[4]], np.uint64),
        np.vstack([vectors[:3], -vectors[3], vectors[4]]),
    )
    found = find_me.verify_manifest(manifest, release)
    assert found.found_by.tolist() == ["sha256", "phash", "embedding", "", "phash", ""]
    assert found.row.tolist() == [0, 1, 2, -1, 4, -1]
    assert found.removed.value == pytest.approx(2 / 6) and found.drifted.value == pytest.approx(1 / 2)
    assert found.drifted.n == 2  # what was never hashed has not changed its bytes
    twice = find_me.verify_manifest(find_me.Release(np.array(["h0", "h0"])), find_me.Release(np.array(["h0"])))
    assert twice.removed.value == 0  # both entries are still there
    with pytest.raises(ValueError, match="no kind of evidence"):
        find_me.verify_manifest(find_me.Release(sha256=np.array(["a"])), find_me.Release(phash=phash))
