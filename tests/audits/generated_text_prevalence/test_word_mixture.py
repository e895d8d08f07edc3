"""Words as a detector: probabilities by counting, ratios by summing, shares by the likelihood of the mixture."""

from __future__ import annotations

import pickle

import numpy as np
import pyarrow as pa
import pytest

import assaymark as am
from assaymark.audits.generated_text_prevalence.method.word_mixture import FEWEST_TEXTS, fit_words
from assaymark.audits.generated_text_prevalence.planted import planted_posts, planted_words, written_texts
from assaymark.errors import ConfigError, ModelError
from assaymark.stats import mixture_mle


def test_ratios_are_those_of_occurrence_and_absence() -> None:
    human, machine = ["plain words", "plain talk", "words alone"] * 4, ["delve words", "delve deep plain", "deep words"] * 4
    labels = [0] * len(human) + [1] * len(machine)
    found = fit_words(human + machine, labels)
    assert set(found.place) == {"plain", "words", "delve", "deep", "talk", "alone"} - {"talk", "alone"}, (
        "rare words are left out"
    )
    shares = {}
    for word in found.place:
        counts = [sum(word in text.split() for text in texts) for texts in (human, machine)]
        shares[word] = [(count + 0.5) / 13 for count in counts]
    for text in ("delve words", "plain", "nothing of these", "DELVE, delve!"):
        present = {word.strip(",!").lower() for word in text.split()}
        expected = sum(np.log(p1 / p0) if word in present else np.log((1 - p1) / (1 - p0)) for word, (p0, p1) in shares.items())
        assert found.log_ratio([text])[0] == pytest.approx(expected, abs=1e-12)
    assert np.isnan(found.log_ratio(["", " ?! "])).all()
    assert FEWEST_TEXTS == 5
    copy = pickle.loads(pickle.dumps(found))
    assert copy.fingerprint == found.fingerprint != fit_words(human + machine, labels[::-1]).fingerprint


def test_one_side_is_not_enough() -> None:
    with pytest.raises(ValueError, match="0 machine-written"):
        fit_words(["a b", "b c"], [0, 0])


def test_mixture_of_words_that_are_independent() -> None:
    """Texts drawn from the model itself: the mixture finds the share, with an interval that holds it."""
    rng = np.random.default_rng(0)
    words, p = np.array([f"w{i}" for i in range(60)]), rng.uniform(0.05, 0.5, (2, 60))

    def drawn(machine: np.ndarray) -> list[str]:
        return [" ".join(words[rng.random(60) < p[int(kind)]]) or "none" for kind in machine]

    labels = np.arange(4_000) % 2
    found = fit_words(drawn(labels), labels)
    stream = found.log_ratio(drawn(rng.random(3_000) < 0.2))
    estimate = mixture_mle(np.zeros_like(stream), stream)
    assert estimate.low is not None and estimate.high is not None
    assert estimate.low <= 0.2 <= estimate.high and estimate.high - estimate.low < 0.06


@pytest.fixture(scope="module")
def tables() -> dict[str, pa.Table]:
    drawn = planted_posts(7, 8)
    dates = [f"{2022 + (m - 1) // 12}-{(m - 1) % 12 + 1:02d}-05" for m in drawn.month.tolist()]
    posts = {"text": written_texts(drawn.words, drawn.offsets), "created_at": dates}
    machine = np.arange(1_600) % 2 == 1
    texts = written_texts(*planted_words(machine, np.random.default_rng(8)))
    source = (np.arange(1_600) // 2).astype(str)
    return {
        "posts": pa.table({**posts, "platform": drawn.platform}),
        "labelled": pa.table({"text": texts, "label": machine, "source_id": source}),
    }


SETTINGS = {"min_words": 5, "resamples": 100, "permutations": 99, "texts": 0, "words": 0, "near_duplicates": 0}


def test_the_room_counts_by_words_alone(tables: dict[str, pa.Table]) -> None:
    result = am.audit("generated-text-prevalence", tables, seed=0, word_detector=True, **SETTINGS)
    assert result.tables["detectors"].rows()[0]["family"] == "word-based"
    assert result["detector.words.auroc"].low > 0.8
    share, truth = result["prevalence.a"], 0.2005
    assert share.low <= truth <= share.high and result["prevalence.c.last"].low == 0.0
    assert result["prevalence.a.word_mixture"].defined
    titles = {row["method"] for row in result.tables["prevalence_methods"].rows()}
    assert "mixture of words" in titles
    twice = am.audit("generated-text-prevalence", tables, seed=0, word_detector=True, **SETTINGS)
    assert twice.fingerprint() == result.fingerprint()


def test_words_need_labelled_texts_and_their_name(tables: dict[str, pa.Table]) -> None:
    with pytest.raises(ModelError, match="word_detector works on labelled texts"):
        am.audit("generated-text-prevalence", {"posts": tables["posts"]}, word_detector=True, **SETTINGS)
    with pytest.raises(ConfigError, match="detector made here"):
        am.audit(
            "generated-text-prevalence",
            tables,
            models={"detector.words": "fake:token-scorer"},
            word_detector=True,
            **SETTINGS,
        )
