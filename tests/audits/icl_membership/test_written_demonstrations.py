"""Demonstrations that models write: private generation and paraphrases, from the settings to the table of defences."""

from __future__ import annotations

import importlib.util
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import assaymark
from assaymark.audit import Context, ModelRole, Progress
from assaymark.audits.icl_membership.config import DefenceConfig
from assaymark.audits.icl_membership.measures.shields import Armoury
from assaymark.audits.icl_membership.measures.written import drawn_labels, generated, paraphrased, private_generation
from assaymark.audits.icl_membership.method.defences.accountant import generation_guarantee
from assaymark.audits.icl_membership.method.defences.combinations import Defence
from assaymark.audits.icl_membership.planning import Each, Writing, announce
from assaymark.audits.icl_membership.planted import LABELS, ScriptedService, planted_pool
from assaymark.audits.icl_membership.reading import Pool
from assaymark.audits.icl_membership.wording import wording
from assaymark.budget import Budget
from assaymark.errors import MissingExtra
from assaymark.models import open_role
from assaymark.models.protocols import NextTokens, Prompt
from assaymark.result import Flow
from tests.models.tiny_language_models import save_model

needs_library = pytest.mark.skipif(
    importlib.util.find_spec("dp_accounting") is None, reason="the extra `privacy` is not installed"
)
WRITER = ModelRole("writer", "", any_of=("predicts-tokens",))
PARAPHRASER = ModelRole("paraphraser", "", any_of=("generates-text",))
PLANTED = planted_pool(3, 300)
PROMPTS = [tuple(zip(PLANTED.texts[at : at + 3], PLANTED.labels[at : at + 3], strict=True)) for at in range(0, 15, 3)]
QUICK = {"synthetic_tokens": 5, "synthetic_groups": 2, "synthetic_noise": "gumbel"}


@pytest.fixture(scope="module")
def writer(tmp_path_factory: pytest.TempPathFactory) -> str:
    pytest.importorskip("transformers")
    return f"hf:{save_model(tmp_path_factory.mktemp('models') / 'gpt2', 'gpt2')}?task=generate"


def armoury(models: dict[str, Any], **settings: Any) -> Armoury:
    config = DefenceConfig.build({**QUICK, **settings})
    return Armoury(wording(LABELS, config), config, Context(models=models, batch_size=settings.pop("batch", 64)), None)


class Watched:
    """Says " word" for sure, and then ends. Keeps what it was asked about."""

    spec, fingerprint = "test:watched", "watched-1"

    def __init__(self) -> None:
        self.asked: list[Sequence[Prompt]] = []

    def next_tokens(self, prompts: Sequence[Prompt]) -> NextTokens:
        self.asked.append(prompts)
        ending = np.array([str(prompt).endswith(" word") for prompt in prompts], dtype=np.float32)
        return NextTokens(np.column_stack([1 - ending, ending]), (" word", "\n"))


# --- from the settings to the table ----------------------------------------------------------------------------------------


def cured(tmp_path: Path, models: dict[str, str], **settings: Any) -> Any:
    path = tmp_path / "pool.parquet"
    pq.write_table(pa.table({"text": PLANTED.texts, "label": PLANTED.labels}), path)
    fixed = {"trials": 40, "shadow_trials": 20, "demonstrations": 3, "resamples": 100, "utility_queries": 40}
    fixed |= {"recipes": ["synthetic", "paraphrase"], "data": "none", "transforms": False, "attacks": ["repeat", "gap"]}
    models = {"service": f"py:{ScriptedService.__module__}:ScriptedService", **models}
    result = assaymark.mitigate("icl-membership", path, models=models, **{**fixed, **QUICK, **settings})
    rows = result.tables["defences"].to_pandas().set_index("defence")
    return result, rows


def test_both_are_defined_with_their_guarantee_and_stop_what_they_should(tmp_path: Path, writer: str) -> None:
    replies = "reply=one thing|another thing|a third one"
    models = {"writer": writer, "paraphraser": f"fake:generator?{replies}"}
    quick = {"trials": 25, "shadow_trials": 12, "demonstrations": 2, "synthetic_tokens": 4}
    result, rows = cured(tmp_path, models, epsilon=3.0, **quick)
    assert rows.guarantee["synthetic"].startswith("(3, 0)-differential privacy, for one example added, removed or replaced")
    assert set(rows.guarantee[["none", "paraphrase"]]) == {"no formal guarantee"}
    assert list(rows.reason) == ["", "", ""]
    for name in ("synthetic", "paraphrase"):
        assert result[f"advantage.{name}"].defined and result[f"accuracy.{name}"].n == 40
        # what is in the prompt is no longer the member, so that the scripted service cannot tell it from others
        assert result[f"advantage.{name}"].value < 0.35 < 0.6 < result["advantage.none"].value
    assert rows.shown["synthetic"] == pytest.approx(2, abs=0.4) and rows.shown["paraphrase"] == 2
    assert list(rows.setup) == [0, 2 * 4 * (2 + 1), 2]


def test_paraphrases_that_are_copies_leave_nothing_in_the_prompt(tmp_path: Path) -> None:
    _, rows = cured(tmp_path, {"paraphraser": "fake:generator?echo=true"}, attacks=["gap"])
    assert (rows.shown["paraphrase"], rows.reason["paraphrase"]) == (0, "")
    assert "needs a model in the role 'writer'" in rows.reason["synthetic"]
    assert np.isnan(rows.advantage["synthetic"])


def test_without_models_there_are_reasons_in_place_of_figures(tmp_path: Path) -> None:
    result, rows = cured(tmp_path, {}, attacks=["gap"])
    for name, role in (("synthetic", "writer"), ("paraphrase", "paraphraser")):
        assert f"--model {role}=SPEC" in rows.reason[name] and not result[f"advantage.{name}"].defined
        assert result[f"accuracy.{name}"].reason == rows.reason[name]


def test_a_service_can_be_audited_behind_generated_demonstrations(tmp_path: Path) -> None:
    path = tmp_path / "pool.parquet"
    pq.write_table(pa.table({"text": PLANTED.texts, "label": PLANTED.labels}), path)
    models = {"service": f"py:{ScriptedService.__module__}:ScriptedService", "writer": "fake:generator"}
    settings = {**QUICK, "trials": 40, "shadow_trials": 20, "demonstrations": [2, 4], "resamples": 100, "attacks": ["repeat"]}
    settings |= {"hard_negatives": False, "control": False}
    open_one = assaymark.audit("icl-membership", path, models=models, **settings)
    shielded = assaymark.audit("icl-membership", path, models=models, data="synthetic", **settings)
    assert open_one["advantage.repeat"].value > 0.6 > 0.35 > shielded["advantage.repeat"].value


# --- the budget ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("noise", ["gumbel", "exponential", pytest.param("gaussian", marks=needs_library)])
@pytest.mark.parametrize(("places", "labels"), [(6, 6), (6, 4), (2, 6)])
def test_epsilon_is_respected_and_used(noise: str, places: int, labels: int) -> None:
    config = DefenceConfig.build({"epsilon": 2.5, "synthetic_tokens": 12, "synthetic_noise": noise})
    settings = private_generation(config, demonstrations=places, labels=labels)
    counts = Counter(drawn_labels([str(n) for n in range(labels)], count=places, rng=np.random.default_rng(0)))
    guarantee = generation_guarantee(settings, examples_per_label=max(counts.values()))
    assert guarantee.epsilon is not None and 2.45 < guarantee.epsilon <= 2.5 + 1e-9
    assert (settings.longest, settings.groups, settings.top_k) == (12, 10, 100)


def test_gaussian_noise_without_its_library_stops_before_the_first_question(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dp_accounting", None)
    models = {"writer": open_role(WRITER, "fake:generator")}
    with pytest.raises(MissingExtra, match=r"assaymark\[privacy\]"):
        armoury(models, synthetic_noise="gaussian").ready(["synthetic"], sizes=[6])
    assert armoury(models).ready(["synthetic", "paraphrase", None, "redact"], sizes=[6]) == ("synthetic",)
    assert armoury({}, synthetic_noise="gaussian").ready(["synthetic"], sizes=[6]) == (), "nobody writes, so nothing is needed"


def test_labels_are_drawn_without_the_private_ones() -> None:
    rng = np.random.default_rng(0)
    drawn = [drawn_labels(LABELS, count=8, rng=rng) for _ in range(50)]
    assert all(set(labels[:6]) == set(LABELS) and labels[6:] == labels[:2] for labels in drawn)
    assert len({labels[0] for labels in drawn}) == 6, "none is left out of short prompts for good"


# --- what is asked ---------------------------------------------------------------------------------------------------------


def written(shown: Any, *, spec: Any, batch: int = 64) -> Any:
    found = armoury({"writer": open_role(WRITER, spec, batch_size=batch)})
    context = Context(models=found.context.models, batch_size=batch)
    return generated(shown, found.wording, context, settings=found.generation)


def test_prompts_speak_the_words_of_the_service_and_hold_private_texts_of_one_label() -> None:
    model = Watched()
    made = written(PROMPTS[:1], spec=model)[0]
    assert {text for text, _ in made.demonstrations} == {"word"} and len(made.demonstrations) == 3
    public, private = set(), Counter()
    for prompt in (str(prompt) for asked in model.asked for prompt in asked):
        shown = [(text, label) for text, label in PROMPTS[0] if text in prompt]
        assert prompt.startswith("Given the label, write a text of it.\n\nLabel: ")
        for text, label in shown:
            assert f"Label: {label}\nText: {text}\n\nLabel: {label}\nText:" in prompt
        private.update(text for text, _ in shown)
        public |= set() if shown else {prompt}
    assert public
    wanted = {label for _, label in made.demonstrations}
    assert set(private) == {text for text, label in PROMPTS[0] if label in wanted}
    assert all(len(set(asked)) == len(asked) for asked in model.asked), "no prompt twice for one token"
    assert len(model.asked) == 2, "three texts of two tokens side by side"


def test_texts_depend_on_their_prompt_alone(writer: str) -> None:
    together = written(PROMPTS, spec=writer)
    assert len({found.demonstrations for found in together}) == len(PROMPTS)
    assert written(PROMPTS[::-1], spec=writer, batch=7)[::-1] == together
    assert written([PROMPTS[2]], spec=writer) == [together[2]]
    assert all(text == " ".join(text.split()) for found in together for text, _ in found.demonstrations)


def test_what_is_written_for_a_prompt_is_written_once_for_all_defences() -> None:
    model = Watched()
    found = armoury({"writer": open_role(WRITER, model)})
    asked = []
    for output in (None, "label_only"):
        shield = found.shield(Defence("synthetic", output=output))
        assert shield.prepare is not None and shield.data is not None
        shield.prepare(PROMPTS)
        shield.prepare([*PROMPTS, PROMPTS[0]])
        assert {text for text, _ in shield.data(0, PROMPTS[0], ({"role": "user", "content": "x"},))} == {"word"}
        asked.append(len(model.asked))
    assert asked[0] == asked[1] > 0
    assert found.guarantees["synthetic"].startswith("(8, 0)-differential privacy")


def test_paraphrases_of_all_prompts_are_asked_for_together() -> None:
    asked: list[int] = []

    class Writer:
        spec, fingerprint = "test:writer", "writer-1"

        def generate_text(self, prompts: Sequence[Any], **parameters: Any) -> list[list[str]]:
            asked.append(len(prompts))
            return [[f"said  otherwise {prompt[-1]['content'].split()[-1]}"] for prompt in prompts]

    model = open_role(PARAPHRASER, Writer())
    made = paraphrased([*PROMPTS, PROMPTS[1]], Context(models={"paraphraser": model}))
    assert made[1] == made[-1] and model.calls == 15 and max(asked) > 3
    for shown, found in zip(PROMPTS, made, strict=False):
        assert found.demonstrations == tuple((f"said otherwise {text.split()[-1]}", label) for text, label in shown)


def test_the_plan_holds_paraphrases_and_says_predictions() -> None:
    said: list[str] = []

    class Heard(Progress):
        def note(self, text: str) -> None:
            said.append(text)

    plans: list[str] = []
    config = DefenceConfig.build(QUICK)
    context = Context(progress=Heard(), budget=Budget(say=plans.append))
    nothing = np.zeros(0, dtype=np.int64)
    keys, labels = np.zeros(300, dtype=np.uint64), np.zeros(300, dtype=np.int64)
    pool = Pool(keys, PLANTED.texts, labels, LABELS, nothing, nothing, Flow("pool", 300, 300), ())
    asked = {"targets": 10, "demonstrations": 3, "further": Each(0, 0)}
    announce(pool, config, context, **asked, writing=Writing(("paraphrase", "synthetic"), 20, (3,)))
    assert "membership attacks and 60 paraphrases" in plans[0]
    assert "60, at most 900 predictions" in said[0]
    announce(pool, config, context, **asked, writing=Writing(("paraphrase",), 2_000, (3,)))
    assert "and 300 paraphrases" in plans[1] and len(said) == 1, "no text twice"
