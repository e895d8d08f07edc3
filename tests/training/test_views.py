from __future__ import annotations

import colorsys
import json

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from assaymark.errors import ConfigError, InputError, UnknownName  # noqa: E402
from assaymark.training.augmentation_spec import AUGMENTATIONS, AugmentationSpec, augmentation  # noqa: E402
from assaymark.training.keyed_draws import KeyedDraws, item_keys  # noqa: E402
from assaymark.training.picture_transforms import contrasted, cropped, greyed, hue_turned, rolled, saturated  # noqa: E402
from assaymark.training.views import Views, views  # noqa: E402

IDS = [f"item {i}" for i in range(40)]


def mixed(state: int) -> int:
    """splitmix64's finaliser in Python's whole numbers."""
    mask = (1 << 64) - 1
    state = (state ^ (state >> 30)) * 0xBF58476D1CE4E5B9 & mask
    state = (state ^ (state >> 27)) * 0x94D049BB133111EB & mask
    return state ^ (state >> 31)


def test_draws_are_the_hash_that_is_named() -> None:
    golden, mask = 0x9E3779B97F4A7C15, (1 << 64) - 1
    keys = [5, -7, 2**62]
    drawn = KeyedDraws(torch.tensor(keys), draw=3, seed=11).uniform(first=20, count=4).numpy()
    for row, key in enumerate(keys):
        state = mixed((key + golden) & mask)
        state = mixed((state + 12 * golden) & mask)
        state = mixed((state + 4 * golden) & mask)
        expected = [(mixed((state + (21 + slot) * golden) & mask) >> 40) / 2**24 for slot in range(4)]
        np.testing.assert_array_equal(drawn[row], np.float32(expected))


def test_draws_are_even_normal_and_unrelated() -> None:
    draws = KeyedDraws(torch.arange(4_000), draw=0, seed=0)
    even = draws.uniform(first=0, count=16).double().numpy()
    assert even.min() >= 0 and even.max() < 1
    assert np.abs(even.mean(axis=0) - 0.5).max() < 4.5 * np.sqrt(1 / 12 / 4_000)
    assert np.abs(np.corrcoef(even.T) - np.eye(16)).max() < 0.08
    normal = draws.normal(first=0, count=9).double().numpy()
    assert normal.shape == (4_000, 9)
    assert np.abs(normal.mean(axis=0)).max() < 0.07 and np.abs(normal.std(axis=0) - 1).max() < 0.05
    assert np.abs(np.corrcoef(normal.T) - np.eye(9)).max() < 0.08
    others = [
        KeyedDraws(torch.arange(4_000), draw=d, seed=s).uniform(first=0, count=1)[:, 0] for d, s in [(0, 0), (1, 0), (0, 1)]
    ]
    assert np.abs(np.corrcoef(np.stack(others)) - np.eye(3)).max() < 0.08


@pytest.mark.parametrize("name", sorted(AUGMENTATIONS))
def test_a_view_depends_on_its_item_alone(name: str) -> None:
    spec = AUGMENTATIONS[name]
    pixels = torch.rand(40, 3, 12, 12)
    whole = views(pixels, ids=IDS, draw=2, seed=5, spec=spec)
    assert whole.shape == pixels.shape and whole.dtype == torch.float32
    order = np.random.default_rng(0).permutation(40)
    shuffled = views(pixels[order], ids=[IDS[i] for i in order], draw=2, seed=5, spec=spec)
    torch.testing.assert_close(shuffled, whole[order], rtol=0, atol=2e-6)
    single = torch.cat([views(pixels[i : i + 1], ids=[IDS[i]], draw=2, seed=5, spec=spec) for i in range(40)])
    torch.testing.assert_close(single, whole, rtol=0, atol=2e-6)
    assert torch.equal(views(pixels, ids=item_keys(IDS), draw=2, seed=5, spec=spec), whole)
    if name != "none":
        assert all(float(w.min()) >= 0 and float(w.max()) <= 1 for w in whole) or name == "vector"
        for draw, seed in [(3, 5), (2, 6)]:
            assert (views(pixels, ids=IDS, draw=draw, seed=seed, spec=spec) != whole).flatten(1).any(dim=1).sum() > 35
    else:
        assert torch.equal(whole, pixels)


def test_crops_are_boxes_resampled() -> None:
    ramp = torch.arange(8.0).expand(1, 1, 8, 8)
    whole = torch.tensor([[0.0, 0.0, 8.0, 8.0]])
    torch.testing.assert_close(cropped(ramp, whole), ramp)
    torch.testing.assert_close(cropped(ramp, whole, mirrored=torch.tensor([True])), ramp.flip(3))
    half = cropped(ramp, torch.tensor([[0.0, 2.0, 8.0, 4.0]]))[0, 0, 0]
    torch.testing.assert_close(half, 2.0 + (torch.arange(8) + 0.5) / 2 - 0.5)
    aligned = torch.nn.functional.interpolate(ramp.mT[:, :, 2:6, 2:6], size=(8, 8), mode="bilinear")
    torch.testing.assert_close(
        cropped(ramp.mT, torch.tensor([[2.0, 2.0, 4.0, 4.0]]))[:, :, 1:-1, 1:-1], aligned[:, :, 1:-1, 1:-1]
    )


def test_crops_have_the_areas_and_shapes_that_were_asked_for() -> None:
    from assaymark.training.views import _crop_boxes

    u = KeyedDraws(torch.arange(4_000), draw=0, seed=0).uniform(first=0, count=31)
    boxes = _crop_boxes(u, AUGMENTATIONS["simclr"], height=32, width=32).double()
    top, left, tall, wide = boxes.unbind(dim=1)
    assert float(top.min()) >= 0 and float((top + tall).max()) <= 32 + 1e-4
    assert float(left.min()) >= 0 and float((left + wide).max()) <= 32 + 1e-4
    area, ratio = (tall * wide / 1024).numpy(), (wide / tall).numpy()
    assert 0.079 < area.min() < 0.09 and 0.45 < area.mean() < 0.54
    assert 0.749 < ratio.min() < 0.76 and 1.32 < ratio.max() < 1.334 and abs(np.log(ratio).mean()) < 0.02
    # 1 x 20 pixels: no box of these shapes holds 95 % of it, so it stays whole.
    long = _crop_boxes(u, AugmentationSpec(crop_scale=(0.95, 1.0)), height=1, width=20)
    assert long.unique(dim=0).tolist() == [[0.0, 0.0, 1.0, 20.0]]


def test_hue_is_that_of_hsv() -> None:
    pixels = torch.rand(50, 3, 1, 1)
    pixels[:3] = torch.tensor([0.0, 0.4, 1.0])[:, None, None, None]  # greys have none
    turns = torch.linspace(-0.5, 0.5, 50)
    turned = hue_turned(pixels, turns)[:, :, 0, 0]
    for given, turn, found in zip(pixels[:, :, 0, 0].tolist(), turns.tolist(), turned.tolist(), strict=True):
        hue, saturation, value = colorsys.rgb_to_hsv(*given)
        np.testing.assert_allclose(found, colorsys.hsv_to_rgb((hue + turn) % 1.0, saturation, value), atol=2e-6)


def test_colours_are_those_of_pillow() -> None:
    from PIL import Image, ImageEnhance

    picture = np.random.default_rng(0).integers(0, 256, (12, 12, 3), dtype=np.uint8)
    image = torch.from_numpy(picture.transpose(2, 0, 1)[None].astype(np.float32) / 255)
    for factor in (0.3, 1.0, 1.7):
        one = torch.tensor([factor])
        for ours, theirs in ((contrasted, ImageEnhance.Contrast), (saturated, ImageEnhance.Color)):
            expected = np.asarray(theirs(Image.fromarray(picture)).enhance(factor), dtype=np.float32).transpose(2, 0, 1) / 255
            np.testing.assert_allclose(ours(image, one)[0].numpy(), expected, atol=3 / 255)
    grey = greyed(image.repeat(2, 1, 1, 1), torch.tensor([True, False]))
    expected = np.asarray(Image.fromarray(picture).convert("L"), dtype=np.float32) / 255
    np.testing.assert_allclose(grey[0, 2].numpy(), expected, atol=1 / 255)
    assert torch.equal(grey[1], image[0])


def test_rolls_are_those_of_numpy() -> None:
    images, down, right = torch.rand(5, 2, 4, 6), torch.tensor([-1, 0, 1, 2, -5]), torch.tensor([1, 0, -2, 7, 3])
    for i, moved in enumerate(rolled(images, down, right).numpy()):
        np.testing.assert_array_equal(moved, np.roll(images[i].numpy(), (int(down[i]), int(right[i])), axis=(1, 2)))


def test_vectors_lose_coordinates_and_gain_noise() -> None:
    points = torch.full((500, 64), 10.0)
    seen = views(points, ids=np.arange(500), draw=0, seed=1, spec=AUGMENTATIONS["vector"])
    kept = seen > 5
    assert abs(float(kept.float().mean()) - 0.6) < 0.01
    assert abs(float(seen[kept].std()) - 0.3) < 0.01 and abs(float(seen[~kept].std()) - 0.3) < 0.01
    with pytest.raises(InputError, match="simclr is one of pictures"):
        views(points, ids=np.arange(500), draw=0, seed=1, spec=AUGMENTATIONS["simclr"])


def test_training_sees_fresh_views_of_each_row() -> None:
    labels = torch.arange(6)
    augment = Views(AUGMENTATIONS["simclr"])
    first, second, same = augment((torch.randint(0, 256, (6, 3, 8, 8), dtype=torch.uint8), labels), np.random.default_rng(0))
    assert first.shape == second.shape == (6, 3, 8, 8) and not torch.equal(first, second) and same is labels
    (bare,) = Views(AUGMENTATIONS["none"], count=1)(
        (torch.full((2, 3, 4, 4), 255, dtype=torch.uint8),), np.random.default_rng(0)
    )
    assert bool((bare == 1).all())


def test_augmentations_are_values() -> None:
    spec = AUGMENTATIONS["simclr"]
    assert augmentation(json.loads(json.dumps(spec.as_dict()))) == spec
    assert augmentation({**spec.as_dict(), "name": "other"}).digest == spec.digest
    assert augmentation({**spec.as_dict(), "grey": 0.3}).digest != spec.digest
    with pytest.raises(UnknownName, match="simclr"):
        augmentation("simclir")
    with pytest.raises(UnknownName, match="contrast"):
        augmentation({"contrasts": 1})
    with pytest.raises(ConfigError, match="hue"):
        AugmentationSpec(hue=0.7)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("name", ["simclr", "shift", "vector"])
def test_a_gpu_sees_the_same_views(name: str) -> None:
    pixels = torch.rand(40, 3, 12, 12)
    there = views(pixels.cuda(), ids=IDS, draw=1, seed=2, spec=AUGMENTATIONS[name]).cpu()
    torch.testing.assert_close(there, views(pixels, ids=IDS, draw=1, seed=2, spec=AUGMENTATIONS[name]), rtol=0, atol=1e-4)
