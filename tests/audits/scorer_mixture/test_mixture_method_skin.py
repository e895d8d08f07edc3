"""Pixel rules against a loop and Pillow; learned classifiers against Bayes' formula; the real table of labelled pixels."""

from __future__ import annotations

import gzip
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from assaymark.audits.scorer_mixture.method.skin import (
    fit_gaussian,
    fit_histogram,
    gaussian_skin,
    histogram_skin,
    pixels_of_table,
    rgb_rule,
    skin_score,
    ycbcr_box,
)


def _reference_rgb(r: int, g: int, b: int) -> bool:
    return r > 95 and g > 40 and b > 20 and max(r, g, b) - min(r, g, b) > 15 and abs(r - g) > 15 and r > g and r > b


def test_rules_pixel_by_pixel() -> None:
    rng = np.random.default_rng(0)
    pixels = np.vstack([rng.integers(0, 256, (6000, 3)), rng.integers(80, 130, (4000, 3))]).astype(np.uint8)
    pixels[-3000:, 0] += 60
    assert rgb_rule(pixels).tolist() == [_reference_rgb(*map(int, p)) for p in pixels]
    assert 0.05 < rgb_rule(pixels).mean() < 0.95
    expected = []
    for r, g, b in pixels.astype(float):
        cb, cr = 128 - 0.168736 * r - 0.331264 * g + 0.5 * b, 128 + 0.5 * r - 0.418688 * g - 0.081312 * b
        expected.append(77 <= np.floor(cb + 0.5) <= 127 and 133 <= np.floor(cr + 0.5) <= 173)
    assert ycbcr_box(pixels).tolist() == expected
    converted = np.asarray(Image.fromarray(pixels[None]).convert("YCbCr"))[0].astype(int)
    box = (converted[:, 1] >= 77) & (converted[:, 1] <= 127) & (converted[:, 2] >= 133) & (converted[:, 2] <= 173)
    assert np.mean(box == ycbcr_box(pixels)) > 0.98  # Pillow's integer tables round some values the other way


def test_a_megapixel_takes_milliseconds() -> None:
    image = np.random.default_rng(0).integers(0, 256, (1000, 1000, 3), dtype=np.uint8)
    for rule in (rgb_rule, ycbcr_box):
        times = []
        for _ in range(3):
            start = time.perf_counter()
            rule(image)
            times.append(time.perf_counter() - start)
        assert min(times) < 0.05


def test_image_score_counts_skin_and_its_largest_piece() -> None:
    image = np.zeros((10, 10, 3), dtype=np.uint8)
    skin = (200, 120, 90)
    image[1:4, 1:5] = skin  # 12 pixels
    image[6:8, 6:8] = skin  # 4
    image[4, 5] = skin  # touches the first piece at a corner only
    found = skin_score(image)
    assert found.fraction == pytest.approx(0.17) and found.largest == pytest.approx(0.12)
    assert found.score == pytest.approx(0.29) and found.probability == pytest.approx(0.145)
    assert skin_score(np.zeros((2, 2, 3), dtype=np.uint8)).score == 0
    assert skin_score(np.full((1, 1, 3), skin, dtype=np.uint8)).score == 2
    with pytest.raises(ValueError, match="8-bit"):
        skin_score(image / 255.0)
    with pytest.raises(ValueError, match="one image"):
        skin_score(image[:0])


def test_table_is_blue_first() -> None:
    rgb, skin = pixels_of_table([[10, 20, 200, 1], [1, 2, 3, 2]])
    assert rgb.tolist() == [[200, 20, 10], [3, 2, 1]] and skin.tolist() == [True, False]
    with pytest.raises(ValueError, match="class"):
        pixels_of_table([[1, 2, 3, 0]])
    with pytest.raises(ValueError, match="255"):
        pixels_of_table([[1, 2, 300, 1]])


def test_gaussian_classifier_is_bayes_formula() -> None:
    from scipy.stats import multivariate_normal

    rng = np.random.default_rng(0)
    skin = np.clip(rng.normal((200, 140, 110), (20, 15, 15), (3000, 3)), 0, 255).astype(np.uint8)
    other = np.clip(rng.normal((120, 120, 120), (60, 60, 60), (5000, 3)), 0, 255).astype(np.uint8)
    rgb, label = np.vstack([skin, other]), np.r_[np.ones(3000, bool), np.zeros(5000, bool)]
    for prior in (None, 0.05):
        model = fit_gaussian(rgb, label, prior=prior)
        share = 3000 / 8000 if prior is None else prior
        logs = [
            multivariate_normal(g.mean(axis=0), np.cov(g.T.astype(float)) + 1e-3 * np.eye(3)).logpdf(rgb.astype(float))
            for g in (skin, other)
        ]
        expected = logs[0] - logs[1] + np.log(share / (1 - share)) > 0
        assert np.array_equal(gaussian_skin(rgb, model), expected)
    assert gaussian_skin(rgb.reshape(80, 100, 3), fit_gaussian(rgb, label)).shape == (80, 100)
    with pytest.raises(ValueError, match="both classes"):
        fit_gaussian(rgb, np.ones(8000, bool))


def test_histogram_classifier_is_a_table_of_odds() -> None:
    rgb = np.array([[200, 100, 50]] * 6 + [[201, 101, 51]] * 2 + [[10, 10, 10]] * 8, dtype=np.uint8)
    skin = np.r_[np.ones(6, bool), np.zeros(10, bool)]
    model = fit_histogram(rgb, skin, bins=16)
    # cell of the first colour: 6 of 6 skin pixels and 2 of 10 others, one pixel spread as 8/16 over it
    expected = np.log((6 + 0.5) / 7) - np.log((2 + 0.5) / 11) + np.log(6 / 10)
    assert model.log_odds[12, 6, 3] == pytest.approx(expected)
    assert model.log_odds[15, 15, 15] == pytest.approx(np.log(6 / 10))
    assert histogram_skin(np.array([[[205, 105, 55], [0, 0, 0]]], dtype=np.uint8), model).tolist() == [[True, False]]
    with pytest.raises(ValueError, match="divide"):
        fit_histogram(rgb, skin, bins=10)


@pytest.mark.shared_data
def test_learned_classifiers_beat_the_fixed_rules_on_real_pixels(shared_data: Path) -> None:
    with gzip.open(shared_data / "skin-nonskin" / "Skin_NonSkin.txt.gz", "rt") as file:
        table = np.loadtxt(file, skiprows=1, dtype=np.int64)
    rgb, skin = pixels_of_table(table)
    # pixels of one patch stand side by side: every tenth block of 100 rows is held out
    test = (np.arange(len(rgb)) // 100) % 10 == 0
    models = {
        "histogram": histogram_skin(rgb[test], fit_histogram(rgb[~test], skin[~test])),
        "gaussian": gaussian_skin(rgb[test], fit_gaussian(rgb[~test], skin[~test])),
        "rgb": rgb_rule(rgb[test]),
        "ycbcr": ycbcr_box(rgb[test]),
    }
    accuracy = {name: float(np.mean(mask == skin[test])) for name, mask in models.items()}
    assert accuracy["histogram"] > max(accuracy["rgb"], accuracy["ycbcr"]) + 0.01
    assert accuracy["gaussian"] > accuracy["rgb"]
    assert accuracy["histogram"] > 0.99
