from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from assaymark.errors import ModelError
from assaymark.models import capabilities_of, open_model
from assaymark.models.safety_checker import Concepts, safety_margins, unsafe_scores

Saver = Callable[..., Path]


@pytest.fixture
def checker(tmp_path: Path, torch: Any) -> Saver:
    """Save a tiny safety checker the way the published one is: prefixes twice, position ids, settings of old releases."""

    def save(*, seed: int = 0, level: float = 0.1, leave_out: str = "") -> Path:
        import transformers
        from safetensors.torch import save_file

        torch.manual_seed(seed)
        vision = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
        vision |= {"image_size": 16, "patch_size": 8, "initializer_range": 0.5}
        config = transformers.CLIPConfig(vision_config=vision, projection_dim=8)
        tower = transformers.CLIPVisionModel(config.vision_config)
        weights = {f"vision_model.vision_model.{name}": tensor for name, tensor in tower.state_dict().items()}
        weights["vision_model.vision_model.embeddings.position_ids"] = torch.arange(5)[None]
        weights |= {"visual_projection.weight": torch.randn(8, 16), "concept_embeds": torch.randn(17, 8) * 3}
        weights |= {"special_care_embeds": torch.randn(3, 8) * 2, "concept_embeds_weights": torch.full((17,), level)}
        weights["special_care_embeds_weights"] = torch.full((3,), 0.3)
        weights = {name: tensor.contiguous() for name, tensor in weights.items() if not leave_out or leave_out not in name}
        folder = tmp_path / f"checker{seed}{level}{leave_out}"
        folder.mkdir()
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
        stated = {**config.to_dict(), "architectures": ["StableDiffusionSafetyChecker"], "model_type": "clip"}
        (folder / "config.json").write_text(json.dumps(stated))
        (folder / "preprocessor_config.json").write_text(
            json.dumps(
                {
                    **{
                        "crop_size": 16,
                        "do_center_crop": True,
                        "do_normalize": True,
                        "do_resize": True,
                        "resample": 3,
                        "size": 16,
                    },
                    "feature_extractor_type": "CLIPFeatureExtractor",
                    "image_mean": [0.48145466, 0.4578275, 0.40821073],
                    "image_std": [0.26862954, 0.26130258, 0.27577711],
                }
            )
        )
        return folder

    return save


def published(embedding: np.ndarray, concepts: Concepts) -> tuple[bool, float]:
    """One image as the released checker treats it, concept by concept; whether it flags, and the largest score."""

    def cosine(a: np.ndarray, b: np.ndarray) -> float:
        return float(a @ b / np.sqrt(a @ a) / np.sqrt(b @ b))

    adjustment = 0.0
    for direction, threshold in zip(concepts.special, concepts.special_thresholds, strict=True):
        if round(cosine(embedding, direction) - threshold + adjustment, 3) > 0:
            adjustment = 0.01
    scores = [
        round(cosine(embedding, direction) - threshold + adjustment, 3)
        for direction, threshold in zip(concepts.directions, concepts.thresholds, strict=True)
    ]
    return any(score > 0 for score in scores), max(scores)


def random_concepts(rng: np.random.Generator, d: int = 8) -> Concepts:
    directions, special = rng.normal(size=(17, d)), rng.normal(size=(3, d))
    unit = [rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (directions, special)]
    return Concepts(unit[0], rng.uniform(0.3, 0.9, 17), unit[1], rng.uniform(0.3, 0.6, 3))


def test_margins_equal_the_published_loop() -> None:
    rng = np.random.default_rng(0)
    concepts = random_concepts(rng)
    embeddings = rng.normal(size=(500, 8)) * 7
    margins = safety_margins(embeddings, concepts)
    reference = [published(row, concepts) for row in embeddings]
    np.testing.assert_allclose(margins, [score for _, score in reference], atol=1e-9)
    flagged = np.array([flag for flag, _ in reference])
    assert 0.1 < flagged.mean() < 0.9
    np.testing.assert_array_equal(unsafe_scores(margins)[:, 0] > 0.5, flagged)
    plain = safety_margins(embeddings, concepts._replace(special_thresholds=np.full(3, 2.0)))
    np.testing.assert_allclose(np.unique(np.round(margins - plain, 3)), [0.0, 0.01], atol=1e-9)


@pytest.mark.parametrize(
    ("excess", "flagged"), [(0.0, False), (0.0004, False), (0.0006, True), (-0.0004, False), (0.001, True), (-0.3, False)]
)
def test_the_edge_is_where_the_rounded_margin_is_zero(excess: float, flagged: bool) -> None:
    concepts = Concepts(np.eye(2)[:1], np.array([1.0 - excess]), np.eye(2)[1:], np.array([0.5]))
    score = unsafe_scores(safety_margins([[1.0, 0.0]], concepts))[0, 0]
    assert (score > 0.5) == (score >= 0.5) == flagged == published(np.array([1.0, 0.0]), concepts)[0]


def test_scores_stay_in_range() -> None:
    scores = unsafe_scores(np.array([-3.0, -0.5, 0.0, 0.5, 3.0]))
    np.testing.assert_allclose(scores[:, 0], [0.0, 0.25, 0.5, 0.75, 1.0], atol=1e-6)


def test_a_checkpoint_scores_as_its_parts_say(checker: Saver, pictures: list[Image.Image], torch: Any) -> None:
    import transformers
    from safetensors.torch import load_file

    folder = checker()
    model = open_model(str(folder), batch_size=2)
    assert capabilities_of(model) == ("scores-images",)
    assert (model.labels, model.multi_label) == (("unsafe",), True)
    assert "no probability" in model.notes[0]
    weights = load_file(folder / "model.safetensors")
    config = transformers.CLIPConfig.from_pretrained(folder)
    tower = transformers.CLIPVisionModelWithProjection(
        transformers.CLIPVisionConfig(**{**config.vision_config.to_dict(), "projection_dim": 8})
    ).eval()
    own = {name.removeprefix("vision_model."): name for name in tower.state_dict()}
    tower.load_state_dict(
        {
            own[name.replace("vision_model.vision_model.", "")]: tensor
            for name, tensor in weights.items()
            if "embeds" not in name and "position_ids" not in name
        }
    )
    processor = transformers.CLIPImageProcessorPil(size={"shortest_edge": 16}, crop_size={"height": 16, "width": 16})
    with torch.no_grad():
        pixels = processor(pictures, return_tensors="pt")["pixel_values"]
        embeddings = tower(pixel_values=pixels).image_embeds.double().numpy()
    names = ("concept_embeds", "concept_embeds_weights", "special_care_embeds", "special_care_embeds_weights")
    concepts = Concepts(*(weights[name].double().numpy() for name in names))
    reference = [published(row, concepts) for row in embeddings]
    assert len({score for _, score in reference}) == 5
    scores = model.score_images(pictures)[:, 0]
    np.testing.assert_allclose(scores, [0.5 + score / 2 for _, score in reference], atol=6e-4)
    np.testing.assert_array_equal(scores > 0.5, [flag for flag, _ in reference])
    assert model.score_images([]).shape == (0, 1)

    head = open_model(f"hf:{folder}?input=embeddings")
    assert capabilities_of(head) == ("scores-embeddings",)
    assert head.dimension == 8
    np.testing.assert_allclose(head.score_embeddings(embeddings)[:, 0], scores, atol=6e-4)
    with pytest.raises(ModelError, match="embeddings of width 8"):
        head.score_embeddings(np.ones((2, 7), np.float32))
    for adapter in (model, head):
        copy = pickle.loads(pickle.dumps(adapter))
        assert (copy.fingerprint, copy._parts) == (adapter.fingerprint, None)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(model)).score_images(pictures)[:, 0], scores)
    others = {open_model(str(checker(level=0.2))).fingerprint, open_model(str(checker(seed=1))).fingerprint}
    assert len({model.fingerprint, head.fingerprint} | others) == 4


def test_incomplete_checkpoints_are_refused(checker: Saver, pictures: list[Image.Image]) -> None:
    with pytest.raises(ModelError, match="lack special_care_embeds"):
        open_model(str(checker(leave_out="special_care"))).score_images(pictures)
    with pytest.raises(ModelError, match="its weights cannot be loaded"):
        open_model(str(checker(leave_out="post_layernorm"))).score_images(pictures)
    with pytest.raises(ModelError, match="did you mean 'input'"):
        open_model(f"hf:{checker(seed=2)}?inputs=embeddings")
