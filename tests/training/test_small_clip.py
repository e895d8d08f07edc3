from __future__ import annotations

import json
import runpy
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("accelerate")

from assaymark.errors import ConfigError, UnknownName  # noqa: E402
from assaymark.models import capabilities_of, open_model  # noqa: E402
from assaymark.models.small_clip import SmallClip, new_clip, save_clip, tokens_of, uint8_pixels  # noqa: E402
from assaymark.training.dual_encoder import fit_dual_encoder  # noqa: E402
from assaymark.training.pair_batches import PairBatches  # noqa: E402

REPOSITORY = Path(__file__).resolve().parents[2]
COLOURS = {"red": (220, 30, 30), "green": (30, 170, 40), "blue": (30, 60, 220), "grey": (120, 120, 120)}


def coloured(n: int, *, seed: int = 0, side: int = 16) -> tuple[list[Image.Image], list[list[str]]]:
    """Noisy squares; captions: the colour, alone and in a phrase, and a word that all share."""
    rng = np.random.default_rng(seed)
    names = [list(COLOURS)[i % 4] for i in range(n)]
    pictures = [np.clip(np.array(COLOURS[name]) + rng.normal(0, 25, (side, side, 3)), 0, 255) for name in names]
    captions = [[name, f"A {name} square", "shape"] for name in names]
    return [Image.fromarray(picture.astype(np.uint8)) for picture in pictures], captions


def pairs(clip: SmallClip, pixels: Any, captions: list[list[str]], **options: Any) -> PairBatches:
    return PairBatches(pixels, captions, tokens=partial(tokens_of, clip), **options)


def test_batches_hold_distinct_pictures_and_all_that_fits() -> None:
    pictures, captions = coloured(12)
    clip = new_clip([c for own in captions for c in own], side=16, seed=0)
    known = uint8_pixels(clip, pictures)
    batches = pairs(clip, known, captions, size=5, seed=3)
    assert batches.steps_per_epoch == 2
    seen: set[str] = set()
    for step in range(30):
        pixels, ids, _, matches = batches.at(step)
        texts = clip.tokenizer.batch_decode(ids, skip_special_tokens=True)
        seen.update(texts)
        rows = [next(i for i, p in enumerate(known) if torch.equal(p, own)) for own in pixels]
        assert len(set(rows)) == 5
        lowered = [{caption.lower() for caption in captions[row]} for row in rows]
        expected = [[text in own for text in texts] for own in lowered]
        assert matches.tolist() == expected and all(matches.diagonal())
        again = batches.at(step)
        assert all(torch.equal(a, b) for a, b in zip(again, (pixels, ids, batches.at(step)[2], matches), strict=True))
    assert seen == {caption.lower() for own in captions for caption in own}
    with pytest.raises(ConfigError, match="none of them empty"):
        pairs(clip, uint8_pixels(clip, pictures), [*captions[:-1], []], size=5, seed=3)


def test_captions_are_taken_in_turn_and_variants_too() -> None:
    _, captions = coloured(6)
    captions[0] = captions[0][:1]
    clip = new_clip([c for own in captions for c in own], side=16, seed=0)
    pixels = torch.arange(12, dtype=torch.uint8)[:, None, None, None].expand(12, 3, 16, 16).reshape(6, 2, 3, 16, 16)
    batches = pairs(clip, pixels, captions, size=3, seed=0, choice="round-robin")
    for epoch in range(5):
        for step in (0, 1):
            seen, ids, *_ = batches.at(2 * epoch + step)
            rows, variants = np.divmod(seen[:, 0, 0, 0].numpy(), 2)
            assert set(variants) == {epoch % 2}
            wanted = [captions[row][epoch % len(captions[row])].lower() for row in rows]
            assert clip.tokenizer.batch_decode(ids, skip_special_tokens=True) == wanted
    one = pairs(clip, pixels, captions, size=3, seed=0, choice="one")
    assert {t for s in range(8) for t in clip.tokenizer.batch_decode(one.at(s)[1], skip_special_tokens=True)} == set(COLOURS)
    with pytest.raises(UnknownName, match="round-robin"):
        pairs(clip, pixels, captions, size=3, seed=0, choice="round robin")


def test_training_pixels_are_those_of_use() -> None:
    pictures = [Image.fromarray(np.random.default_rng(0).integers(0, 256, (20, 33, 3), dtype=np.uint8))]
    clip = new_clip(["a"], side=16, seed=0)
    mean, std = (np.array(values)[:, None, None] for values in (clip.images.image_mean, clip.images.image_std))
    ours = (uint8_pixels(clip, pictures).numpy() / 255 - mean) / std
    np.testing.assert_allclose(ours, clip.images(pictures, return_tensors="pt").pixel_values.numpy(), atol=0.02)


def test_a_saved_encoder_finds_colours(tmp_path: Path) -> None:
    pictures, captions = coloured(48)
    clip = new_clip([c for own in captions for c in own], side=16, seed=0, hidden=16, dimension=16, heads=2, layers=1)
    batches = pairs(clip, uint8_pixels(clip, pictures), captions, size=16, seed=0)
    scale = {"mean": clip.images.image_mean, "std": clip.images.image_std}
    outcome = fit_dual_encoder(clip.model, batches, **scale, steps=120, lr=5e-3, seed=0)
    assert outcome.losses[-10:].mean() < outcome.losses[:10].mean() - 0.3
    save_clip(clip, tmp_path / "encoder")
    model = open_model(f"hf:{tmp_path / 'encoder'}")
    assert {"embeds-images", "embeds-texts"} <= set(capabilities_of(model))
    new, truth = coloured(40, seed=9)
    cosines = (
        model.embed_images(new) @ model.embed_texts(["a RED square", "a green square", "a blue square", "a grey square"]).T
    )
    found = [list(COLOURS)[i] for i in cosines.argmax(axis=1)]
    assert np.mean([name == own[0] for name, own in zip(found, truth, strict=True)]) > 0.9


def test_unknown_words_are_marked_and_long_captions_cut() -> None:
    clip = new_clip(["red square :)"], side=16, seed=0, text_length=6)
    ids, mask = tokens_of(clip, ["Red zorvian", ":) " * 30])
    assert ids.shape == mask.shape == (2, 6)
    assert clip.tokenizer.convert_ids_to_tokens(ids[0])[:4] == ["<start>", "red", "<unk>", "<end>"]
    assert clip.tokenizer.unk_token_id not in ids[1].tolist()


def test_the_example_trains_on_made_up_pictograms(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(0)
    pictures, _ = coloured(40, side=32)
    np.savez(tmp_path / "images_32.npz", images=np.stack([np.asarray(picture) for picture in pictures]))
    rows: list[dict[str, Any]] = []
    for i in range(40):
        colour = list(COLOURS)[i % 4]
        rows.append({"name": f"{colour} square {i}", "keywords": [colour, "square", str(rng.choice(["calm", "loud"]))]})
    (tmp_path / "captions.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["train_pictogram_encoder.py", ".", "encoder", "--steps", "6"])
    runpy.run_path(str(REPOSITORY / "examples" / "train_pictogram_encoder.py"), run_name="__main__")
    printed = capsys.readouterr().out
    assert printed.count("in the first  1") == 7 and "n = 4" in printed
    assert open_model(f"hf:{tmp_path / 'encoder'}").dimension == 64
