from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
pytest.importorskip("accelerate")

from assaymark.demo.copying_documents import (  # noqa: E402
    CopyingDocuments,
    PromptPieces,
    majority_label,
    repeated_segments,
)
from assaymark.demo.copying_language_model import CopyingFacts, train_copying_lm  # noqa: E402
from assaymark.demo.induction_heads import induction_accuracy, new_copying_network  # noqa: E402
from assaymark.demo.small_language_model import byte_level_tokenizer  # noqa: E402
from assaymark.errors import ConfigError  # noqa: E402
from assaymark.models import open_model  # noqa: E402

SMALL: dict[str, Any] = {"vocabulary": 320, "layers": 2, "width": 128, "context": 256, "size": 4, "lr": 2e-3, "seed": 3}
LABELS = ("Number", "Person")
NEVER = np.iinfo(np.int64).max


def questions(n: int = 60) -> tuple[list[str], list[str]]:
    rng = np.random.default_rng(0)
    words = ["ba", "ko", "mi", "tu", "lar", "nes", "vid", "pom", "sel"]
    rows = rng.integers(2, size=n)
    texts = [f"{('How many', 'Who is')[row]} {' '.join(rng.choice(words, size=5))} ?" for row in rows]
    return texts, [LABELS[row] for row in rows]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, CopyingFacts]:
    folder = tmp_path_factory.mktemp("copying") / "model"
    return folder, train_copying_lm(folder, *questions(), **SMALL, steps=130)


@pytest.fixture(scope="module")
def written() -> tuple[Any, CopyingDocuments]:
    texts, labels = questions()
    tokenizer = byte_level_tokenizer(
        [f"Question: {t}\nType: {y}\n\n" for t, y in zip(texts, labels, strict=True)], vocabulary=320, longest=256
    )
    pieces = PromptPieces.of(tokenizer, LABELS, field="Question", answer_field="Type")
    tokens = [np.array(ids) for ids in tokenizer([f" {text}" for text in texts])["input_ids"]]
    rows = np.array([LABELS.index(label) for label in labels])
    words = np.arange(1, len(tokenizer))
    return tokenizer, CopyingDocuments(tokens, rows, pieces, words=words, length=256, size=3, steps=40, seed=5)


def test_copying_appears_in_the_training_and_not_before(trained: tuple[Path, CopyingFacts]) -> None:
    facts = trained[1]
    before, after = facts.induction_before, facts.induction_after
    assert before.high is not None and before.high < 0.05
    assert after.low is not None and after.low > 0.3
    assert facts.steps == 130 and facts.seconds > 0


def test_the_folder_generates_text(trained: tuple[Path, CopyingFacts]) -> None:
    folder, facts = trained
    generator: Any = open_model(f"hf:{folder}?task=generate")
    loaded = transformers.AutoModelForCausalLM.from_pretrained(folder)
    assert sum(parameter.numel() for parameter in loaded.parameters()) == facts.parameters
    prompts = ["Question: Who is ko ko mi ?\nType: Person\n\nQuestion: Who is", "Question: How many"]
    replies = generator.generate_text(prompts, temperature=0.0, max_tokens=8)
    assert [reply for (reply,) in replies] == [
        generator.generate_text([p], temperature=0.0, max_tokens=8)[0][0] for p in prompts
    ]
    rng = np.random.default_rng(0)
    untrained = transformers.GPTNeoXForCausalLM(loaded.config).eval()
    segments = repeated_segments(rng, np.arange(1, loaded.config.vocab_size), size=16, length=20)
    found = [induction_accuracy(model, segments, rng=rng).value or 0.0 for model in (loaded.eval(), untrained)]
    assert found[0] > 0.3 > 0.05 > found[1]


def test_equal_arguments_give_equal_files_also_after_a_kill(tmp_path: Path) -> None:
    class Killed(Exception):
        pass

    class Killing:
        left = 11

        def advance(self, amount: int = 1) -> None:
            self.left -= amount
            if self.left == 0:
                raise Killed

        def expect(self, total: int) -> None: ...

    looks: list[tuple[float, float]] = []
    whole = train_copying_lm(tmp_path / "whole", *questions(), **SMALL, steps=16)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("assaymark.demo.copying_language_model._SAVE_EVERY", 8)
        arguments: Any = {**SMALL, "steps": 16, "checkpoints": tmp_path / "work", "progress": lambda *look: looks.append(look)}
        with pytest.raises(Killed):
            train_copying_lm(tmp_path / "model", *questions(), **arguments, task=Killing())
        facts = train_copying_lm(tmp_path / "model", *questions(), **arguments)
    assert facts.loss == whole.loss and facts.perplexity == whole.perplexity
    for name in ("model.safetensors", "tokenizer.json", "config.json"):
        assert (tmp_path / "model" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name
    assert looks[-1][0] < looks[0][0], "the loss on texts held out falls"


def test_documents_are_prompts_and_follow_their_law(written: tuple[Any, CopyingDocuments]) -> None:
    tokenizer, documents = written
    texts = dict(zip(*questions(), strict=True))
    rng, seen = np.random.default_rng(1), {"real": 0, "back": 0, "insisted": 0}
    for _ in range(60):
        ids, weights = documents.document(rng, 256, segments=0.0)
        assert ids.shape == weights.shape == (256,) and weights[0] == 0
        # A tokenizer that reads the document as a prompt must find the same tokens, or the model is asked in another tongue.
        text = tokenizer.decode(ids)
        if not text.startswith("Question:") or "Question:" not in text[1:]:
            continue
        stated: dict[str, list[int]] = {}
        for block in text.split("Question:")[1:-1]:
            question, _, label = block.replace("\n", " ").rpartition(" Type: ")
            if question.strip() not in texts:
                break
            before = stated.setdefault(question, [])
            row = LABELS.index(label.strip())
            seen["real"] += 1
            seen["back"] += bool(before)
            seen["insisted"] += bool(before) and row != before[0]
            if not before:
                seen["insisted"] += label.strip() != texts[question.strip()]
            before.append(row)
        else:
            assert tokenizer(text)["input_ids"][:200] == ids[:200].tolist()
    assert seen["real"] > 100 and seen["back"] > 50 and seen["insisted"] > 20


def test_labels_that_count_are_the_majority_so_far(written: tuple[Any, CopyingDocuments]) -> None:
    tokenizer, documents = written
    rng, counted = np.random.default_rng(2), 0
    names = {tokenizer(f" {label}")["input_ids"][0]: row for row, label in enumerate(LABELS)}
    answer, inline = tokenizer("\nType:")["input_ids"], tokenizer(" Type:")["input_ids"]
    field = tokenizer("Question:")["input_ids"]
    for _ in range(60):
        ids, weights = documents.document(rng, 256, segments=0.0)
        row, votes = ids.tolist(), dict[tuple[int, ...], list[int]]()
        for at in range(256):
            found = next((m for m in (answer, inline) if row[at - len(m) : at] == m and at >= len(m)), None)
            if found is None or row[at] not in names:
                continue
            starts = [s for s in range(at) if row[s : s + len(field)] == field]
            if not starts:
                continue
            text, label = tuple(row[starts[-1] + len(field) : at - len(found)]), names[row[at]]
            past = votes.setdefault(text, [])
            if weights[at] == 4:
                counts = np.bincount(past, minlength=2)
                first = np.array([past.index(k) if k in past else NEVER for k in range(2)])
                assert label == majority_label(counts, first)
                counted += 1
            past.append(label)
    assert counted > 100


def test_the_earliest_of_equal_labels_is_expected() -> None:
    assert majority_label(np.array([2, 2, 1]), np.array([3, 1, 0])) == 1
    assert majority_label(np.array([0, 1, 3]), np.array([NEVER, 0, 1])) == 2


def test_batches_are_functions_of_the_step_and_shared_between_processes(written: tuple[Any, CopyingDocuments]) -> None:
    documents = written[1]
    assert documents.at(0)[0].shape == (12, 64) and documents.at(20)[0].shape == (3, 256)
    for first, again in zip(documents.at(25), documents.at(25), strict=True):
        assert torch.equal(first, again)
    assert not torch.equal(documents.at(25)[0], documents.at(26)[0])
    parts = [documents.at(2, rank=rank, world=2)[0] for rank in range(2)]
    assert torch.equal(torch.stack(parts, dim=1).flatten(0, 1), documents.at(2)[0])


def test_what_counts_in_a_segment_stands_one_period_before(written: tuple[Any, CopyingDocuments]) -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        tokens, weights = written[1].document(rng, 64, segments=1.0)
        period = int((weights > 0).argmax()) - 1
        assert 4 <= period < 32 and (weights[period + 1 :] == 1).all() and (weights[: period + 1] == 0).all()
        assert (tokens[period:] == tokens[:-period]).all()


def test_untrained_heads_look_where_copying_needs_them() -> None:
    tokenizer = byte_level_tokenizer(["a b"], vocabulary=300, longest=64)
    model = new_copying_network(tokenizer, layers=4, width=256, context=64, seed=0).eval()
    model.set_attn_implementation("eager")
    # Twice the same six words, a template of three, and a label: where is the label of the first ones?
    rng = np.random.default_rng(1)
    text, other = rng.choice(np.arange(20, 255), size=(2, 6), replace=False)
    template, label = [1, 2, 3], [4]
    tokens = [*text, *template, *label, 9, *other, *template, *label, 9, *text, *template]
    with torch.inference_mode():
        seen = model(input_ids=torch.tensor([tokens]), output_attentions=True).attentions
    last = len(tokens) - 1
    first, mean, search = seen[0][0], seen[2][0], seen[3][0, 0, last]
    assert int(first[0, last].argmax()) == last - 1 and int(first[1, last].argmax()) == last - 2
    for head, back in ((0, 4), (1, 6)):
        assert abs(int(mean[head, last].argmax()) - (last - back)) <= 1
        assert float(mean[head, last, last - back - 3 : last - back + 4].sum()) > 0.8
    behind_label, behind_other = 10, 21
    assert float(search[behind_label]) > 3 * float(search[behind_other])


def test_what_is_too_little_is_named(tmp_path: Path) -> None:
    texts, labels = questions()
    with pytest.raises(ConfigError, match="39 texts of 2 labels are too few"):
        train_copying_lm(tmp_path, texts[:39], labels[:39], seed=0)
    with pytest.raises(ConfigError, match="60 texts of 1 labels"):
        train_copying_lm(tmp_path, texts, ["Number"] * 60, seed=0)
    with pytest.raises(ConfigError, match="need as many labels, not 59"):
        train_copying_lm(tmp_path, texts, labels[1:], seed=0)
    with pytest.raises(ConfigError, match="not 1 and 128"):
        train_copying_lm(tmp_path, texts, labels, seed=0, layers=1, width=128)
    with pytest.raises(ConfigError, match="must be at least 64"):
        train_copying_lm(tmp_path, texts, labels, seed=0, vocabulary=320, context=32)
