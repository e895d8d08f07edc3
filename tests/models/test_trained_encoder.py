from __future__ import annotations

import json
import pickle
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from assaymark.errors import ConfigError, MissingExtra, ModelError, UnsafeFile
from assaymark.models import capabilities_of, open_model

MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.25, 0.3)
SMALL: dict[str, dict[str, Any]] = {
    "resnet9": {"width": 2, "input_size": 16},
    "vit": {"width": 12, "depth": 2, "heads": 3, "patch": 4, "input_size": 8},
    "mlp": {"widths": (10, 6), "input_size": 4},
}


@pytest.fixture
def library(torch: Any) -> Any:
    from assaymark.models import encoder_architectures

    return encoder_architectures


def saved(path: Path, architecture: str, *, seed: int = 0, **options: Any) -> Any:
    from assaymark.models.encoder_architectures import new_encoder
    from assaymark.models.trained_encoder import save_encoder

    network = new_encoder(architecture, seed=seed, **{**SMALL[architecture], **options})
    save_encoder(path, network, mean=MEAN, std=STD, facts={"objective": "none", "seed": seed})
    return network.eval()


def by_hand(network: Any, images: list[Image.Image]) -> np.ndarray:
    """One picture at a time, normalised in double precision."""
    import torch

    size, rows = network.layout.input_size, []
    for image in images:
        pixels = np.asarray(image.convert("RGB").resize((size, size), Image.Resampling.BICUBIC), dtype=np.float64) / 255
        with torch.no_grad():
            rows.append(network(torch.from_numpy((pixels - MEAN) / STD).permute(2, 0, 1)[None].float())[0].numpy())
    found = np.array(rows)
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def test_resnet9_is_the_published_one(torch: Any, library: Any) -> None:
    network = library.new_encoder("resnet9", seed=0)
    convolutions = [part for part in network.modules() if isinstance(part, torch.nn.Conv2d)]
    widths = [(part.in_channels, part.out_channels) for part in convolutions]
    assert widths == [(3, 32), (32, 64), (64, 64), (64, 64), (64, 128), (128, 256), (256, 256), (256, 256)]
    assert all((part.kernel_size, part.padding) == ((3, 3), (1, 1)) for part in convolutions)
    with torch.no_grad():
        assert network.eval().body(torch.rand(2, 3, 32, 32)).shape == (2, 256, 2, 2)
        assert network(torch.rand(2, 3, 32, 32)).shape == (2, 256)


def test_vit_defaults_are_the_tiny_one_of_the_paper(torch: Any, library: Any) -> None:
    with torch.device("meta"):
        network = library.build_encoder(library.encoder_layout("vit", {}))
        encoded = network.encode(network.embed(torch.empty(1, 3, 32, 32)))
    assert encoded.shape == (1, 257, 192)


def test_a_vision_transformer_reads_a_part_of_its_tokens(torch: Any, library: Any) -> None:
    network = library.new_encoder("vit", seed=0, **SMALL["vit"]).eval()
    pixels = torch.rand(3, 3, 8, 8)
    with torch.no_grad():
        tokens = network.embed(pixels)
        assert tokens.shape == (3, 4, 12)
        torch.testing.assert_close(network(pixels), network.represent(network.encode(tokens)))
        # Positions travel with their tokens, so that their order does not matter to the class token.
        torch.testing.assert_close(network(pixels), network.encode(tokens[:, [2, 0, 3, 1]])[:, 0], atol=1e-5, rtol=1e-5)
        assert network.encode(tokens[:, :1]).shape == (3, 2, 12)
    mean = library.new_encoder("vit", seed=0, **SMALL["vit"], pooling="mean").eval()
    with torch.no_grad():
        torch.testing.assert_close(mean(pixels), network.encode(tokens)[:, 1:].mean(1))


@pytest.mark.parametrize("architecture", list(SMALL))
def test_equal_seeds_give_equal_weights_and_the_global_generator_stays(torch: Any, library: Any, architecture: str) -> None:
    state = torch.random.get_rng_state()
    a, b, c = (library.new_encoder(architecture, seed=seed, **SMALL[architecture]) for seed in (1, 1, 2))
    torch.testing.assert_close(torch.random.get_rng_state(), state)
    names = list(a.state_dict())
    assert all(torch.equal(a.state_dict()[name], b.state_dict()[name]) for name in names)
    assert any(not torch.equal(a.state_dict()[name], c.state_dict()[name]) for name in names)
    assert a.dimension == a.layout.dimension


@pytest.mark.parametrize("architecture", list(SMALL))
def test_features_equal_the_saved_network_one_by_one(
    tmp_path: Path, torch: Any, pictures: list[Image.Image], architecture: str
) -> None:
    network = saved(tmp_path / "net.safetensors", architecture)
    model = open_model("encoder:net.safetensors", base=tmp_path, batch_size=2)
    assert {"embeds-images", "trains-images"} <= set(capabilities_of(model))
    assert (model.dimension, model.layout, model.facts["objective"]) == (network.dimension, network.layout, "none")
    np.testing.assert_allclose(model.embed_images(pictures), by_hand(network, pictures), atol=1e-5)
    assert model.embed_images([]).shape == (0, network.dimension)
    assert model.notes == ()


def test_a_path_alone_is_a_spec_and_pickles_without_weights(tmp_path: Path, torch: Any, pictures: list[Image.Image]) -> None:
    for name, seed in (("a", 0), ("b", 1)):
        saved(tmp_path / f"{name}.safetensors", "resnet9", seed=seed)
    model, other = (open_model(str(tmp_path / f"{name}.safetensors")) for name in "ab")
    expected = model.embed_images(pictures)
    twin = pickle.loads(pickle.dumps(model))
    assert twin._network is None and len(pickle.dumps(model)) < 20_000
    np.testing.assert_array_equal(twin.embed_images(pictures), expected)
    assert twin.fingerprint == model.fingerprint != other.fingerprint


def test_training_goes_on_from_the_file(tmp_path: Path, torch: Any, pictures: list[Image.Image]) -> None:
    network = saved(tmp_path / "net.safetensors", "mlp")
    model = open_model(str(tmp_path / "net.safetensors"))
    module = model.feature_module()
    features = module(model.prepare_images(pictures))
    features.sum().backward()
    assert all(part.grad is not None for part in module.parameters())
    np.testing.assert_allclose(torch.nn.functional.normalize(features).detach(), by_hand(network, pictures), atol=1e-5)


WRAPPERS = {
    "bare": lambda w: w,
    "dino": lambda w: {
        "student": {},
        "teacher": {f"module.backbone.{k}": v for k, v in w.items()} | {"module.head.w": w["norm.weight"]},
    },
    "mae": lambda w: {"model": {**w, "decoder_pred.weight": w["norm.weight"]}, "epoch": 3},
    "lightning": lambda w: {
        "state_dict": {f"backbone.{k}": v for k, v in w.items()} | {"projector.0.weight": w["norm.weight"]},
        "epoch": 3,
    },
    "encoder": lambda w: {f"module.encoder.{k}": v for k, v in w.items()},
}


@pytest.mark.parametrize("wrapper", list(WRAPPERS))
def test_weights_of_others_are_freed_of_what_trained_them(
    tmp_path: Path, torch: Any, pictures: list[Image.Image], wrapper: str
) -> None:
    network = saved(tmp_path / "net.safetensors", "vit")
    torch.save(WRAPPERS[wrapper](network.state_dict()), tmp_path / "weights.pth")
    options = "architecture=vit&width=12&depth=2&heads=3&patch=4&input_size=8"
    channels = "mean=0.5,0.4,0.3&std=0.2,0.25,0.3"
    model = open_model(f"encoder:{tmp_path}/weights.pth?{options}&{channels}")
    np.testing.assert_allclose(model.embed_images(pictures), by_hand(network, pictures), atol=1e-5)
    assert bool(model.notes) == (wrapper == "mae")  # what stands inside of the same wrapper and is not used
    assert not model.notes or "decoder_pred.weight" in model.notes[0]
    unstated = open_model(f"encoder:{tmp_path}/weights.pth?{options}")
    assert "does not say how pixels are normalised" in unstated.notes[0]
    assert unstated.fingerprint != model.fingerprint


def test_a_prefix_or_a_key_picks_one_of_several_encoders(tmp_path: Path, torch: Any, pictures: list[Image.Image]) -> None:
    from safetensors.torch import save_file

    network, other = (saved(tmp_path / f"{seed}.safetensors", "mlp", seed=seed) for seed in (0, 1))
    one, two = ({f"{name}.{k}": v for k, v in part.state_dict().items()} for name, part in (("q", network), ("k", other)))
    save_file(one | two, tmp_path / "both.safetensors")
    torch.save({"best": network.state_dict(), "model": other.state_dict()}, tmp_path / "both.pt")
    rest = "architecture=mlp&widths=10,6&input_size=4&mean=0.5,0.4,0.3&std=0.2,0.25,0.3"
    for spec in (f"both.safetensors?prefix=q.&{rest}", f"both.pt?key=best&{rest}"):
        vectors = open_model(f"encoder:{spec}", base=tmp_path).embed_images(pictures)
        np.testing.assert_allclose(vectors, by_hand(network, pictures), atol=1e-5)


class Planted:
    def __reduce__(self) -> tuple[Any, ...]:
        return (exec, ("raise SystemExit('ran')",))


def test_files_that_would_run_code_are_refused(tmp_path: Path, torch: Any, pictures: list[Image.Image]) -> None:
    torch.save({"model": Planted()}, tmp_path / "evil.pth")
    torch.save(torch.nn.Linear(2, 2), tmp_path / "module.pth")
    for name in ("evil", "module"):
        with pytest.raises(UnsafeFile, match=f"{name}.pth holds more than tensors and would run code"):
            open_model(f"encoder:{tmp_path}/{name}.pth?architecture=resnet9").embed_images(pictures)


def test_a_checkpoint_with_its_arguments_is_refused_with_a_mend_that_names_its_entry(tmp_path: Path, torch: Any) -> None:
    from argparse import Namespace

    torch.save({"student": {}, "teacher": {"w": torch.ones(2)}, "args": Namespace(lr=0.1), "epoch": 3}, tmp_path / "dino.pth")
    with pytest.raises(UnsafeFile, match=r'\[ENTRY\].*"teacher"'):
        open_model(f"encoder:{tmp_path}/dino.pth?architecture=resnet9").embed_images([Image.new("RGB", (8, 8))])


def test_what_does_not_fit_is_named(tmp_path: Path, torch: Any, pictures: list[Image.Image]) -> None:
    weights = saved(tmp_path / "net.safetensors", "mlp").state_dict()
    rest = "architecture=mlp&widths=10,6&input_size=4"
    torch.save(
        {k: v for k, v in weights.items() if k != "body.linear1.bias"} | {"head.weight": torch.ones(1)}, tmp_path / "w.pt"
    )
    with pytest.raises(ModelError, match=r"lack body\.linear1\.bias; it holds head\.weight instead"):
        open_model(f"encoder:{tmp_path}/w.pt?{rest}").embed_images(pictures)
    torch.save(weights, tmp_path / "w.pt")
    with pytest.raises(ModelError, match=r"body\.linear0\.weight: \(10, 48\) in the file, \(10, 27\) in the architecture"):
        open_model(f"encoder:{tmp_path}/w.pt?{rest.replace('size=4', 'size=3')}").embed_images(pictures)
    (tmp_path / "w.pt").write_bytes(b"nothing")
    with pytest.raises((ModelError, UnsafeFile), match=r"w\.pt"):
        open_model(f"encoder:{tmp_path}/w.pt?{rest}").embed_images(pictures)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("none.safetensors", "no file"),
        ("w.pt", "holds weights without a layout of ours; say what they belong to: ?architecture=resnet9|vit|mlp|timm"),
        ("w.pt?architecture=resnet8", "did you mean 'resnet9'"),
        ("w.pt?architecture=resnet9&witdh=3", "did you mean 'width'"),
        ("w.pt?architecture=resnet9&width=x", "option width of an encoder is 'x'"),
        ("w.pt?architecture=resnet9&input_size=8", "16 pixels or more"),
        ("w.pt?architecture=vit&heads=5", "heads must divide"),
        ("w.pt?architecture=vit&pooling=max", "must be cls or mean"),
        ("w.pt?architecture=resnet9&mean=0.1,0.2", "must be one number or three"),
        ("w.pt?architecture=resnet9&std=0", "std must be above 0"),
        ("net.safetensors?width=3", "unknown option 'width'"),
    ],
)
def test_mistakes_in_a_spec_are_named(tmp_path: Path, torch: Any, spec: str, message: str) -> None:
    saved(tmp_path / "net.safetensors", "mlp")
    torch.save({}, tmp_path / "w.pt")
    with pytest.raises((ModelError, ConfigError), match=re.escape(message)):
        open_model(f"encoder:{spec}", base=tmp_path)


@pytest.mark.parametrize("change", ["architecture", "std", "facts", "format"])
def test_damaged_metadata_are_refused_before_weights_are_read(tmp_path: Path, torch: Any, change: str) -> None:
    from safetensors import safe_open
    from safetensors.torch import save_file

    saved(tmp_path / "net.safetensors", "mlp")
    with safe_open(tmp_path / "net.safetensors", framework="pt") as file:
        metadata = file.metadata()
    facts = json.loads(metadata["facts"])
    if change == "architecture":
        facts["layout"]["architecture"] = "resnet8"
    elif change == "std":
        facts["std"] = [0, 1, 1]
    elif change == "facts":
        facts["facts"] = 3
    form = "assaymark-encoder 9" if change == "format" else metadata["format"]
    save_file({}, tmp_path / "bad.safetensors", metadata={"assaymark": "encoder", "format": form, "facts": json.dumps(facts)})
    with pytest.raises(ModelError, match=r"metadata of bad\.safetensors|is of the format"):
        open_model(f"encoder:{tmp_path}/bad.safetensors")


def test_weights_that_are_no_numbers_are_counted(tmp_path: Path, torch: Any, pictures: list[Image.Image]) -> None:
    from assaymark.models.encoder_architectures import new_encoder
    from assaymark.models.trained_encoder import save_encoder

    network = new_encoder("mlp", seed=0, **SMALL["mlp"])
    with torch.no_grad():
        network.body.linear1.bias[:2] = float("nan")
    save_encoder(tmp_path / "net.safetensors", network, mean=MEAN, std=STD)
    model = open_model(str(tmp_path / "net.safetensors"))
    assert np.isnan(model.embed_images(pictures)).all()
    assert model.notes == ("2 of 556 weights are not finite, in body.linear1.bias: its outputs are undefined",)


def test_an_encoder_of_vectors_takes_no_pictures(tmp_path: Path, torch: Any, pictures: list[Image.Image]) -> None:
    network = saved(tmp_path / "net.safetensors", "mlp", inputs=7)
    assert network(torch.rand(2, 7)).shape == (2, 6)
    with pytest.raises(ModelError, match="takes vectors of 7 numbers, no pictures"):
        open_model(str(tmp_path / "net.safetensors")).embed_images(pictures)


def test_a_network_of_timm_with_a_table_of_positions_is_built_for_its_size(tmp_path: Path, torch: Any) -> None:
    pytest.importorskip("timm")
    from assaymark.models.encoder_architectures import new_encoder
    from assaymark.models.trained_encoder import save_encoder

    network = new_encoder("timm", seed=0, name="vit_tiny_patch16_224", input_size=64)
    save_encoder(tmp_path / "vit.safetensors", network, mean=MEAN, std=STD)
    model = open_model(str(tmp_path / "vit.safetensors"))
    assert model.embed_images([Image.new("RGB", (90, 70))]).shape == (1, 192) and len(model.layers) > 20


def test_an_architecture_of_timm_needs_that_library(tmp_path: Path, torch: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.save({}, tmp_path / "w.pt")
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(MissingExtra, match=r"the architecture resnet50 needs .* pip install 'assaymark\[openclip\]'"):
        open_model(f"encoder:{tmp_path}/w.pt?architecture=timm&name=resnet50")
