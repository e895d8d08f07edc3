"""A saved mixture is one scorer: of columns, of pictures, of embeddings; its decisions are those it was fitted for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from assaymark.errors import InputError, ModelError, UnsafeFile
from assaymark.models import capabilities_of, open_model
from assaymark.models.mixture_file import Member, Mixture, load_mixture
from assaymark.models.protocols import Decision
from assaymark.models.spec import parse_spec
from assaymark.stats.combination import Transform

COLUMNS = (Member("a"), Member("b", transform=Transform("logit")), Member("c", cost=3.0))


def linear(**changes: object) -> Mixture:
    facts: dict[str, object] = {
        "members": COLUMNS,
        "method": "ols_intercept",
        "rule": "linear",
        "weights": (0.7, -0.1, 0.4),
        "intercept": 0.05,
        "threshold": 0.45,
        "slope": 6.0,
        "offset": -2.0,
        "patterns": {"0,2": ((0.6, 0.5), 0.1)},
        "measured": Decision(0.5, (90, 100), (980, 1000), "held-out rows"),
        "fit": {"rows": 400},
    }
    return Mixture(**{**facts, **changes})  # type: ignore[arg-type]


def test_scores_follow_the_formula_and_the_pattern_of_what_is_missing(tmp_path: Path) -> None:
    linear().save(tmp_path / "m")
    mixture = load_mixture(tmp_path / "m")
    assert mixture == mixture
    assert mixture.to_json() == linear().to_json()
    rows = np.array([[0.2, 0.9, 0.4], [0.2, np.nan, 0.4], [np.nan, 0.9, 0.4]])
    scores = mixture.score(rows)
    assert scores[0] == pytest.approx(0.7 * 0.2 - 0.1 * np.log(9) + 0.4 * 0.4 + 0.05)
    assert scores[1] == pytest.approx(0.6 * 0.2 + 0.5 * 0.4 + 0.1)
    assert np.isnan(scores[2])


def test_decisions_survive_the_calibration_and_single_precision(tmp_path: Path) -> None:
    linear().save(tmp_path / "m")
    model = open_model(str(tmp_path / "m"))
    assert capabilities_of(model) == ("combines-columns",)
    assert model.member_columns == ("a", "b", "c")
    rows = np.random.default_rng(0).uniform(0.01, 0.99, size=(20_000, 3))
    scores = model.mixture.score(rows)
    flagged = model.combine_columns(rows)[:, 0] > model.decision.threshold
    clear = np.abs(scores - 0.45) > 1e-6
    np.testing.assert_array_equal(flagged[clear], scores[clear] >= 0.45)
    assert model.decision.sensitivity == (90, 100) and model.decision.specificity == (980, 1000)
    at = np.array([[0.45, 0.5, 0.0]])
    exact = Mixture(COLUMNS, "ols", "linear", (1.0, 0.0, 0.0), threshold=0.45)
    exact.save(tmp_path / "e")
    again = open_model(str(tmp_path / "e"))
    assert again.combine_columns(at)[0, 0] > again.decision.threshold, "a score that equals the threshold is positive"


def test_members_that_are_models_see_the_same_pictures(tmp_path: Path) -> None:
    members = (Member("red", "fake:image-scorer?unsafe=red"), Member("blue", "fake:image-scorer?unsafe=blue"))
    Mixture(members, "max", "max").save(tmp_path / "m")
    model = open_model(f"mixture:{tmp_path / 'm'}")
    assert capabilities_of(model) == ("scores-images",)
    scores = model.score_images([Image.new("RGB", (8, 8), c) for c in ((220, 30, 30), (40, 60, 220), (30, 170, 50))])
    assert (scores[:, 0] > model.decision.threshold).tolist() == [True, True, False]
    assert model.score_images([]).shape == (0, 1)


def test_members_that_read_embeddings(tmp_path: Path) -> None:
    members = (Member("red", "fake:embedding-scorer?unsafe=red"), Member("blue", "fake:embedding-scorer?unsafe=blue"))
    Mixture(members, "average", "average").save(tmp_path / "m")
    model = open_model(str(tmp_path / "m"))
    assert capabilities_of(model) == ("scores-embeddings",)
    vectors = open_model("fake:dual-encoder").embed_texts(["red", "green"])
    assert model.score_embeddings(vectors)[0, 0] > model.score_embeddings(vectors)[1, 0]


@pytest.mark.parametrize(
    ("members", "says"),
    [
        ((Member("a"), Member("b", "fake:image-scorer")), "members a are columns and the others models"),
        (
            (Member("a", "fake:image-scorer?x=red&y=blue"), Member("b", "fake:image-scorer")),
            "has the labels x, y; one",
        ),
        ((Member("a", "fake:embedding-scorer"), Member("b", "fake:image-scorer")), "do not all score pictures"),
    ],
)
def test_members_that_do_not_go_together(tmp_path: Path, members: tuple[Member, ...], says: str) -> None:
    Mixture(members, "average", "average").save(tmp_path / "m")
    with pytest.raises(ModelError, match=says):
        open_model(str(tmp_path / "m"))


def test_relative_members_start_from_the_folder(tmp_path: Path) -> None:
    from assaymark.models.prompt_files import PromptSet

    folder = tmp_path / "m"
    Mixture((Member("p", "prompt:prompts.safetensors"),), "single", "average").save(folder)
    PromptSet(np.eye(2, 16, dtype=np.float32)).save(folder / "prompts.safetensors")
    assert open_model(str(folder)).dimension == 16
    assert parse_spec("m", base=tmp_path).scheme == "mixture"


def test_damaged_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        load_mixture(tmp_path / "gone")
    mark = '"format": "assaymark-mixture"'
    bad = (
        ("{", "not JSON"),
        ("{}", "is no mixture"),
        (f'{{{mark}, "version": 9}}', "version 9"),
        (f'{{{mark}, "version": 1}}', "damaged"),
    )
    for content, says in bad:
        (tmp_path / "mixture.json").write_text(content)
        with pytest.raises(ModelError, match=says):
            load_mixture(tmp_path)
    with pytest.raises(ModelError, match="has 1 weights"):
        linear(weights=(1.0,))
    with pytest.raises(ModelError, match="one of linear"):
        linear(rule="vote")
    with pytest.raises(ModelError, match="slope is -1"):
        linear(slope=-1.0)


def test_code_inside_a_mixture_runs_only_when_its_user_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "planted_scorer.py").write_text(
        "import pathlib, numpy\npathlib.Path('ran').touch()\n"
        "class S:\n    labels, multi_label = ('unsafe',), True\n"
        "    def score_images(self, images): return numpy.full((len(images), 1), 0.5, 'f4')\nscorer = S()\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    Mixture((Member("mine", "py:planted_scorer:scorer"),), "average", "average").save(tmp_path / "m")
    with pytest.raises(UnsafeFile, match=r"member 'mine' is Python code.*python=true"):
        open_model(str(tmp_path / "m"))
    assert not (tmp_path / "ran").exists()
    assert capabilities_of(open_model(f"mixture:{tmp_path / 'm'}?python=true")) == ("scores-images",)
