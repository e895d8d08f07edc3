from __future__ import annotations

import pickle
import sys
from pathlib import Path

import numpy as np
import pytest

from assaymark.errors import ModelError
from assaymark.models import capabilities_of, open_model

SOURCE = """
import numpy as np

class Shout:
    labels = ("loud",)
    multi_label = True
    def score_texts(self, texts):
        return np.array([[float(text.isupper())] for text in texts], dtype=np.float32)

READY = Shout()
NUMBER = 3

def build():
    return Shout()

class Labelled(Shout):
    fingerprint = "labelled-7"
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    name = "shouting_models"
    (tmp_path / f"{name}.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, name, raising=False)
    return name


def test_columns_are_labels_unless_named() -> None:
    model = open_model("column:p_hate, p_target?labels=hateful,targeted")
    assert capabilities_of(model) == ("reads-columns",)
    assert (model.columns, model.labels, model.multi_label) == (("p_hate", "p_target"), ("hateful", "targeted"), True)
    plain = open_model("column:score?multi_label=no")
    assert (plain.labels, plain.multi_label) == (("score",), False)
    assert len({model.fingerprint, plain.fingerprint, open_model("column:score").fingerprint}) == 3


@pytest.mark.parametrize(("spec", "message"), [("column:a,,b", "given, and each once"), ("column:a,a", "each once")])
def test_column_mistakes(spec: str, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        open_model(spec)
    with pytest.raises(ModelError, match="2 columns but 1 labels"):
        open_model("column:a,b?labels=x")


@pytest.mark.parametrize("name", ["READY", "build", "Shout", "Labelled"])
def test_objects_factories_and_classes(module: str, name: str) -> None:
    model = open_model(f"py:{module}:{name}")
    assert capabilities_of(model) == ("scores-texts",)
    assert model.score_texts(["HEY", "hey"])[:, 0].tolist() == [1.0, 0.0]
    copy = pickle.loads(pickle.dumps(model))
    assert copy.fingerprint == model.fingerprint
    np.testing.assert_array_equal(copy.score_texts(["HEY"]), [[1.0]])


def test_fingerprint_is_the_objects_own_or_the_source(module: str, tmp_path: Path) -> None:
    assert open_model(f"py:{module}:Labelled").fingerprint == "labelled-7"
    before = open_model(f"py:{module}:build").fingerprint
    (tmp_path / f"{module}.py").write_text(SOURCE + "# another version\n")
    assert open_model(f"py:{module}:build").fingerprint != before


def test_python_mistakes_name_the_module(module: str) -> None:
    for spec, message in [
        ("py:no.such.module:x", "module 'no.such.module' cannot be imported"),
        (f"py:{module}:biuld", f"module '{module}' has no 'biuld' - did you mean 'build'"),
        (f"py:{module}", "write py:module:name"),
        (f"py:{module}:NUMBER", "int has no capability in full; there are: score_texts"),
    ]:
        with pytest.raises(ModelError, match=message):
            open_model(spec)
