from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from assaymark.errors import ConfigError, ModelError, UnknownName
from assaymark.models.spec import ADAPTERS, parse_spec


@pytest.mark.parametrize(
    ("text", "scheme", "target", "revision", "options"),
    [
        ("hf:unitary/toxic-bert", "hf", "unitary/toxic-bert", None, {}),
        ("hf:gpt2", "hf", "gpt2", None, {}),
        ("hf:org/name@refs/pr/1", "hf", "org/name", "refs/pr/1", {}),
        ("hf:org/name@v1?multi_label=true", "hf", "org/name", "v1", {"multi_label": "true"}),
        ("openclip:ViT-B-32/laion2b_s34b_b79k", "openclip", "ViT-B-32/laion2b_s34b_b79k", None, {}),
        ("onnx:nets/head.onnx?labels=a,b&size=224", "onnx", "nets/head.onnx", None, {"labels": "a,b", "size": "224"}),
        ("column:hateful,targeted", "column", "hateful,targeted", None, {}),
        ("py:my.module:build", "py", "my.module:build", None, {}),
        ("fake:text-keywords?hateful=bad%20word&x=", "fake", "text-keywords", None, {"hateful": "bad word", "x": ""}),
        ("openai:a/b:c@http://localhost:1/v1?n=false", "openai", "a/b:c@http://localhost:1/v1", None, {"n": "false"}),
        ("api:https://host/p?field=a", "api", "https://host/p", None, {"field": "a"}),
        ("api:https://host/p?v=2?field=a%3Fb", "api", "https://host/p?v=2", None, {"field": "a?b"}),
        ("api:https://host/p?v=2?", "api", "https://host/p?v=2", None, {}),
        (" FAKE:dual-encoder ", "fake", "dual-encoder", None, {}),
    ],
)
def test_parse(text: str, scheme: str, target: str, revision: str | None, options: dict[str, str]) -> None:
    spec = parse_spec(text)
    assert (spec.scheme, spec.target, spec.revision, spec.options) == (scheme, target, revision, options)
    assert spec.text == text.strip()


def test_folders_are_seen_from_the_base(tmp_path: Path) -> None:
    folder = tmp_path / "org" / "name@2"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    for text in ("org/name@2", "./org/name@2", "hf:./org/name@2", "hf:org/name@2", str(folder), f"hf:{folder}"):
        spec = parse_spec(text, base=tmp_path)
        assert (spec.scheme, spec.target, spec.revision) == ("hf", str(folder), None), text
    assert parse_spec("hf:org/other@2", base=tmp_path).target == "org/other"
    assert parse_spec("onnx:head.onnx", base=tmp_path).path() == tmp_path / "head.onnx"


def test_a_url_stays_whole_when_a_spec_is_made_absolute(tmp_path: Path) -> None:
    for text in ("openai:m@http://h:1/v1?n=false", "api:https://h/p?v=2?", "api:https://h/p?v=2?score=a.*.b&field=x%3F"):
        spec = parse_spec(text, base=tmp_path)
        again = parse_spec(spec.absolute())
        assert (again.target, again.options) == (spec.target, spec.options), text


def test_an_unknown_scheme_names_the_nearest_and_all() -> None:
    with pytest.raises(
        ModelError, match=r"unknown model scheme 'opneclip' - did you mean 'openclip'.*column, .*fake, hf"
    ) as caught:
        parse_spec("opneclip:ViT-B-32/openai")
    assert isinstance(caught.value, UnknownName)
    with pytest.raises(ModelError, match="unknown model scheme 'remote'"):
        parse_spec("remote:model@http://localhost")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("org/name", "no scheme and is neither a model folder.*write hf:org/name"),
        ("", "no scheme"),
        ("hf:", "nothing after the colon; write for example hf:org/name"),
        ("hf:a/b/c", "neither a hub id"),
        ("hf:org/name@", "neither a hub id"),
        ("fake:x?seed", "options are written"),
        ("fake:x?seed=1&seed=2", "an option twice"),
    ],
)
def test_malformed_specs_say_how_to_write_them(text: str, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        parse_spec(text)


def test_typed_options_name_the_model_and_the_key() -> None:
    spec = parse_spec("fake:x?size=wide&half=0.5&sure=perhaps&names=a, b,")
    assert spec.names("names") == ("a", "b")
    assert spec.names("absent") == ()
    for read in (lambda: spec.number("size", 1), lambda: spec.integer("half", 1), lambda: spec.flag("sure", True)):
        with pytest.raises(ConfigError, match="model fake:x"):
            read()


def test_every_scheme_has_its_adapter() -> None:
    for place in ADAPTERS.values():
        module, _, factory = place.partition(":")
        assert callable(getattr(import_module(module), factory))


def test_models_import_nothing_heavy() -> None:
    script = (
        "import sys, assaymark.models, assaymark.store.cache\n"
        "for place in assaymark.models.spec.ADAPTERS.values(): __import__(place.partition(':')[0])\n"
        "import assaymark.models.text_classifier, assaymark.models.dual_encoder\n"
        "heavy = {'torch', 'transformers', 'onnxruntime', 'open_clip', 'PIL', 'huggingface_hub', 'scipy', 'daft'}\n"
        "heavy |= {'openai', 'httpx2'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
