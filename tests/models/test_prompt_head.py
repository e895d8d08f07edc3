"""Tuned prompts as a model: the score is that of the two unit prompts, and other encoders are refused."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import save_file

from assaymark.audit import ModelRole
from assaymark.errors import ConfigError, InputError, ModelError, UnsafeFile
from assaymark.models import capabilities_of, open_model, open_role
from assaymark.models.prompt_files import PromptSet, load_prompts
from assaymark.models.spec import parse_spec

ENCODER = "fake:dual-encoder?dimension=16"
ROLE = ModelRole("image_unsafe", "scores images", any_of=("scores-images", "scores-embeddings"))


def prompts(seed: int = 0, rows: int = 2, **facts: object) -> PromptSet:
    matrix = np.random.default_rng(seed).normal(size=(rows, 16)).astype(np.float32) * np.array([[13.0], [9.0], [4.0]])[:rows]
    return PromptSet(matrix, **facts)  # type: ignore[arg-type]


def unit(seed: int, n: int) -> np.ndarray:
    rows = np.random.default_rng(seed).normal(size=(n, 16)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.mark.parametrize("rows", [2, 3])
def test_score_is_the_softmax_of_the_unit_prompts(tmp_path: Path, rows: int) -> None:
    kept = prompts(rows=rows)
    kept.save(tmp_path / "p.safetensors")
    head = open_model(f"prompt:{tmp_path / 'p.safetensors'}")
    images = unit(1, 40)
    p = kept.prompts.astype(np.float64) / np.linalg.norm(kept.prompts.astype(np.float64), axis=1, keepdims=True)
    logits = 100 * images.astype(np.float64) @ p.T
    expected = np.exp(logits - logits.max(axis=1, keepdims=True))
    expected /= expected.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(head.score_embeddings(images)[:, 0], expected[:, 1], atol=2e-5)
    assert head.score_embeddings(images[:0]).shape == (0, 1)


def test_a_file_says_everything_again(tmp_path: Path) -> None:
    facts = {
        "template": "about {}",
        "words": ("good", "bad"),
        "threshold": 0.7,
        "logit_scale": 50.0,
        "training": {"images": 12},
    }
    kept = prompts(encoder=ENCODER, encoder_fingerprint="abc", **facts)
    kept.save(tmp_path / "p.safetensors")
    read = load_prompts(tmp_path / "p.safetensors")
    np.testing.assert_array_equal(read.prompts, kept.prompts)
    for name in ("encoder", "encoder_fingerprint", "template", "words", "labels", "threshold", "logit_scale", "training"):
        assert getattr(read, name) == getattr(kept, name)
    assert read.fingerprint == kept.fingerprint != prompts(seed=1).fingerprint


def test_a_bare_path_is_a_spec(tmp_path: Path) -> None:
    prompts().save(tmp_path / "p.safetensors")
    spec = parse_spec("p.safetensors?threshold=0.5", base=tmp_path)
    assert (spec.scheme, spec.options) == ("prompt", {"threshold": "0.5"})
    save_file({"a": np.zeros(2, np.float32)}, str(tmp_path / "other.safetensors"))
    with pytest.raises(ModelError, match="neither a model folder nor a model file"):
        parse_spec("other.safetensors", base=tmp_path)


def test_with_its_encoder_it_scores_pictures(tmp_path: Path) -> None:
    encoder = open_model(ENCODER)
    prompts(encoder=ENCODER, encoder_fingerprint=encoder.fingerprint).save(tmp_path / "p.safetensors")
    head = open_model(str(tmp_path / "p.safetensors"))
    pictures = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    assert {"scores-images", "scores-embeddings"} <= set(capabilities_of(head))
    np.testing.assert_array_equal(head.score_images(pictures), head.score_embeddings(encoder.embed_images(pictures)))
    assert head.notes == ()


@pytest.mark.parametrize(
    ("other", "says"),
    [
        ("fake:dual-encoder?dimension=16%26seed=1", "were made for fake:dual-encoder"),
        ("fake:dual-encoder?dimension=24", "have 24"),
    ],
)
def test_another_encoder_is_refused(tmp_path: Path, other: str, says: str) -> None:
    prompts(encoder=ENCODER, encoder_fingerprint=open_model(ENCODER).fingerprint).save(tmp_path / "p.safetensors")
    with pytest.raises(ModelError, match=says):
        open_model(f"prompt:{tmp_path / 'p.safetensors'}?encoder={other.replace('?', '%3F').replace('=', '%3D')}")


def test_unknown_origin_is_noted_and_a_lost_encoder_leaves_the_head(tmp_path: Path) -> None:
    prompts().save(tmp_path / "p.safetensors")
    head = open_model(f"prompt:{tmp_path / 'p.safetensors'}?encoder=fake:dual-encoder%3Fdimension%3D16")
    assert "do not say which encoder" in head.notes[0]
    prompts(encoder="hf:./gone", encoder_fingerprint="x").save(tmp_path / "q.safetensors")
    lost = open_model(str(tmp_path / "q.safetensors"))
    assert "score stored embeddings only" in lost.notes[0]
    assert capabilities_of(lost) == ("scores-embeddings",)


def test_wrong_width_names_both(tmp_path: Path) -> None:
    prompts().save(tmp_path / "p.safetensors")
    with pytest.raises(ModelError, match="embeddings of 8 numbers, but the prompts have 16"):
        open_model(str(tmp_path / "p.safetensors")).score_embeddings(np.ones((2, 8), np.float32))


def test_decisions_are_those_of_at_least_the_threshold(tmp_path: Path) -> None:
    prompts(threshold=0.9).save(tmp_path / "p.safetensors")
    decision = open_model(str(tmp_path / "p.safetensors")).decision
    assert np.float32(0.9) > decision.threshold > np.float32(0.9) - 1e-6
    with pytest.raises(ConfigError, match="not between 0 and 1"):
        open_model(f"prompt:{tmp_path / 'p.safetensors'}?threshold=9")


class NoCache:
    def get_many(self, *_: object) -> None:
        raise AssertionError("looked up")

    put_many = get_many


def test_what_costs_less_than_a_lookup_is_not_cached(tmp_path: Path) -> None:
    prompts().save(tmp_path / "p.safetensors")
    role = open_role(ROLE, str(tmp_path / "p.safetensors"), cache=NoCache())  # type: ignore[arg-type]
    assert role.score_embeddings(unit(2, 5)).shape == (5, 1)
    assert role.calls == 0
    assert role.decision is not None
    assert pickle.loads(pickle.dumps(role)).score_embeddings(unit(2, 5)).shape == (5, 1)


def test_other_forms_and_bad_files(tmp_path: Path) -> None:
    matrix = prompts().prompts.astype(np.float16)
    np.save(tmp_path / "p.npy", matrix)
    np.savez(tmp_path / "p.npz", a=matrix, b=matrix[:, :8])
    with (tmp_path / "p.p").open("wb") as file:
        pickle.dump(matrix, file)
    for path, key in (("p.npy", ""), ("p.npz", "a"), ("p.p", "")):
        np.testing.assert_array_equal(load_prompts(tmp_path / path, key=key).prompts, matrix.astype(np.float32))
    with pytest.raises(ModelError, match="add key=NAME"):
        load_prompts(tmp_path / "p.npz")
    with pytest.raises(ModelError, match=r"'a' would choose an array of an \.npz"):
        load_prompts(tmp_path / "p.npy", key="a")
    with pytest.raises(InputError, match="no such file"):
        load_prompts(tmp_path / "gone.npy")
    np.save(tmp_path / "o.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(UnsafeFile, match="can run code"):
        load_prompts(tmp_path / "o.npy")
    np.save(tmp_path / "z.npy", np.zeros((2, 4), np.float32))
    with pytest.raises(ModelError, match="row of zeros"):
        load_prompts(tmp_path / "z.npy")
    (tmp_path / "p.txt").write_text("x")
    with pytest.raises(InputError, match=r"give a \.safetensors"):
        load_prompts(tmp_path / "p.txt")
    (tmp_path / "broken.safetensors").write_bytes(b"\x08\0\0\0\0\0\0\0{broken}")
    with pytest.raises(ModelError, match="damaged"):
        load_prompts(tmp_path / "broken.safetensors")


@pytest.mark.shared_data
def test_published_prompts_have_the_known_norms_and_cosines(shared_data: Path) -> None:
    known = {"ViT_B_16": (13.47, 13.34, 0.838), "ViT_B_32": (13.25, 13.08, 0.851), "ViT_L_14": (22.17, 21.35, 0.887)}
    for key, (first, second, cosine) in known.items():
        read = load_prompts(shared_data / "q16-prompts" / "q16_prompts.npz", key=key)
        np.testing.assert_allclose(read.norms, (first, second), atol=0.006)
        assert read.cosine == pytest.approx(cosine, abs=6e-4)
