"""Style measures of texts against their libraries and formulas, and their comparison between two sides."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from assaymark.audits.generated_text_prevalence.measures import linguistic
from assaymark.audits.generated_text_prevalence.measures.linguistic import STYLE_MEASURES, languages_of, style_measures
from assaymark.audits.generated_text_prevalence.measures.style_comparison import compare_styles, corrected_difference
from assaymark.errors import MissingExtra
from assaymark.result import Estimate, undefined

textblob = pytest.importorskip("textblob")

PLAIN = "The cat sat on the mat. It was a good day, and the old dog slept well."
ORNATE = (
    "Notwithstanding considerable organisational heterogeneity, contemporary institutions overwhelmingly acknowledge "
    "responsibility for environmental sustainability; consequently, comprehensive accountability mechanisms proliferate."
)
ENGLISH = np.array([True])


def one(text: str) -> dict[str, float]:
    return {name: float(values[0]) for name, values in style_measures([text], english=ENGLISH).items()}


def test_formulas_by_hand() -> None:
    found = one("The cat sat. The dog ran to mother!")
    # 8 words, 2 sentences, 9 syllables (moth-er), 2 marks of punctuation in 35 characters
    assert found["words"] == 8 and found["words_per_sentence"] == 4
    assert found["flesch_reading_ease"] == pytest.approx(206.835 - 1.015 * 4 - 84.6 * 9 / 8)
    assert found["flesch_kincaid_grade"] == pytest.approx(0.39 * 4 + 11.8 * 9 / 8 - 15.59)
    assert found["punctuation"] == pytest.approx(100 * 2 / 35)
    assert found["characters_per_word"] == pytest.approx(26 / 8)
    assert np.isnan(found["mtld"]) and np.isnan(found["mattr"])


def test_ornate_prose_is_harder_and_less_plain() -> None:
    plain, ornate = one(PLAIN), one(ORNATE)
    assert plain["flesch_reading_ease"] > 80 > 10 > ornate["flesch_reading_ease"]
    assert plain["flesch_kincaid_grade"] < 5 < 15 < ornate["flesch_kincaid_grade"]
    assert ornate["characters_per_word"] > 2 * plain["characters_per_word"]


def test_feeling_is_textblobs() -> None:
    for text in (PLAIN, ORNATE, "I don't think it's very good; it is TERRIBLE!\n\nReally awful :( e.g. the end...", "12 34."):
        found, blob = one(text), textblob.TextBlob(text)
        assert found.get("polarity") == pytest.approx(blob.sentiment.polarity)
        assert found.get("subjectivity") == pytest.approx(blob.sentiment.subjectivity)
    assert one("What a wonderful, lovely day")["polarity"] > 0 > one("A horrible, disgusting mess")["polarity"]


def test_parts_of_speech_are_the_taggers() -> None:
    text = "She quickly wrote seven long letters, and he can't read them at all."
    found = one(text)
    tags = [(token, tag) for token, tag in textblob.en.tag(text) if any(c.isalnum() for c in token)]
    for name, prefix in (("nouns", "NN"), ("adjectives", "JJ"), ("adverbs", "RB"), ("conjunctions", "CC"), ("numerals", "CD")):
        assert found[name] == pytest.approx(sum(tag.startswith(prefix) for _, tag in tags) / len(tags)), name
    # fifteen words, because the tagger reads "can't" as two
    assert found["conjunctions"] == pytest.approx(1 / 15) and found["numerals"] == pytest.approx(1 / 15)
    shares = [found[m.name] for m in STYLE_MEASURES[10:]]
    assert len(shares) == 10 and 0.9 < sum(shares) <= 1.0 + 1e-12


def test_diversity_of_vocabulary() -> None:
    rng = np.random.default_rng(0)
    poor = " ".join(rng.choice([f"word{'abcdefghij'[i]}" for i in range(10)], 400))
    rich = " ".join(f"w{''.join(chr(97 + int(d)) for d in str(i))}" for i in rng.integers(0, 5000, 400))
    low, high = one(poor), one(rich)
    assert low["mattr"] < 0.25 < 0.95 < high["mattr"] <= 1 and low["mtld"] < 20 < 200 < high["mtld"]
    windows = [len(set(poor.split()[i : i + 50])) / 50 for i in range(351)]
    assert low["mattr"] == pytest.approx(np.mean(windows))
    # unlike the plain ratio, neither falls with length
    twice = one(f"{poor} {poor}")
    assert twice["mattr"] == pytest.approx(low["mattr"], abs=0.01) and twice["mtld"] == pytest.approx(low["mtld"], rel=0.1)


def test_only_english_is_measured() -> None:
    texts = [
        PLAIN,
        "Der Hund schläft unter dem Tisch, und die Katze schaut ihm dabei zu.",
        "السلام عليكم ورحمة الله وبركاته، كيف حالكم اليوم يا أصدقاء؟",
        "😀😀🎉",
        "",
        None,
        "2024 !!!",
    ]
    found = languages_of(texts)
    assert found.tolist() == ["en", "de", "ar", "", "", "", ""]
    for name, values in style_measures(texts).items():
        assert np.isnan(values[1:]).all(), name
        assert np.isfinite(values[0]) or name in ("mtld", "mattr")
    with pytest.raises(ValueError, match="mask"):
        style_measures(texts, english=[True])


@pytest.mark.parametrize(
    "text",
    [
        "",
        "😀" * 50,
        "…",
        "\n\n\n",
        "a",
        "السلام عليكم",
        "word " * 100_000,
        "a" * 100_000,
        "'s" * 50_000,
        "a/b&slash;c/d",
        "x\x00y",
    ],
    ids=lambda text: repr(text[:6]),
)
def test_odd_texts_cost_little_and_stay_finite_or_missing(text: str) -> None:
    start = time.perf_counter()
    found = one(text)
    assert time.perf_counter() - start < 5
    values = np.array(list(found.values()))
    assert np.isnan(values).all() or not np.isinf(values).any()
    assert np.isnan(found["words"]) or 1 <= found["words"] <= linguistic.MOST_WORDS


def test_only_the_beginning_is_looked_at() -> None:
    sentence = "The old dog slept well under the big tree. "
    long, cut = one(sentence * 1000 + "Awful. " * 5000), one((sentence * 223)[: 2000 * 5])
    assert long["words"] == 2000 and long["polarity"] == pytest.approx(cut["polarity"], abs=0.01)


def test_missing_libraries_name_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lexicalrichness", None)
    linguistic._tools.cache_clear()
    with pytest.raises(MissingExtra, match=r"assaymark\[language\]"):
        style_measures([PLAIN], english=ENGLISH)
    linguistic._tools.cache_clear()


def test_nothing_is_loaded_early_warned_of_or_fetched() -> None:
    code = (
        "import sys, warnings; warnings.simplefilter('error')\n"
        "warnings.simplefilter('ignore', ResourceWarning)\n"  # textblob leaves the closing of its files to the interpreter
        "from assaymark.audits.generated_text_prevalence.measures import linguistic\n"
        "assert not {'textblob', 'nltk', 'pyphen', 'lexicalrichness', 'py3langid'} & set(sys.modules)\n"
        "import socket\n"
        "def refuse(*a, **k): raise SystemExit('network')\n"
        "socket.socket.connect = socket.getaddrinfo = refuse\n"
        f"found = linguistic.style_measures([{PLAIN!r}], english=[True])\n"
        "print(found['words'][0])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout.strip(), done.stderr.strip()) == (0, "17.0", "")


# --- comparison ------------------------------------------------------------------------------------------------------------


def planted(rng: np.random.Generator, n: int = 4000) -> tuple[np.ndarray, np.ndarray]:
    """Machine posts are 0.5 standard deviations higher."""
    machine = rng.random(n) < 0.3
    return machine, rng.normal(np.where(machine, 11.0, 10.0), 2.0)


def test_differences_are_found_with_their_size() -> None:
    rng = np.random.default_rng(1)
    machine, x = planted(rng)
    (found,) = compare_styles({"grade": x}, machine, rng=rng, resamples=400)
    assert found.machine.value == pytest.approx(x[machine].mean()) and found.human.value == pytest.approx(x[~machine].mean())
    assert found.difference.low < 1.0 < found.difference.high and found.standardised.low < 0.5 < found.standardised.high
    half = 1.96 * np.sqrt(x[machine].var() / machine.sum() + x[~machine].var() / (~machine).sum())
    assert (found.difference.high - found.difference.low) / 2 == pytest.approx(half, rel=0.15)
    assert (found.machine.n, found.human.n, found.difference.n) == (machine.sum(), (~machine).sum(), 4000)


def test_soft_and_hard_labels_of_certain_posts_are_the_same() -> None:
    rng = np.random.default_rng(2)
    machine, x = planted(rng, 500)
    hard, soft = (
        compare_styles({"x": x}, machine, labelling=kind, rng=np.random.default_rng(0), resamples=50)
        for kind in ("hard", "soft")
    )
    assert hard == soft


def test_soft_means_are_weighted_means() -> None:
    rng = np.random.default_rng(3)
    p, x, w = rng.random(300), rng.normal(size=300), rng.random(300)
    (found,) = compare_styles({"x": x}, p, labelling="soft", weights=w, rng=rng, resamples=50, units={"x": "share"})
    assert found.machine.value == pytest.approx(np.average(x, weights=p * w))
    assert found.human.value == pytest.approx(np.average(x, weights=(1 - p) * w))
    assert (found.machine.unit, found.difference.unit, found.standardised.unit) == ("share", "percentage points", "number")


def test_intervals_cover_and_a_null_holds_nothing() -> None:
    rng = np.random.default_rng(4)
    covered, null = [], []
    for _ in range(150):
        machine, x = planted(rng, 300)
        noise = rng.normal(size=300)
        first, second = compare_styles({"x": x, "noise": noise}, machine, rng=rng, resamples=200)
        covered.append(first.standardised.low <= 0.5 <= first.standardised.high)
        null.append(second.standardised.low <= 0.0 <= second.standardised.high)
    assert np.mean(covered) > 0.89 and np.mean(null) > 0.89


def test_missing_values_are_left_out_and_counted() -> None:
    rng = np.random.default_rng(5)
    p = np.array([0.9, 0.8, 0.1, 0.2, np.nan, 0.9])
    measures = {"a": [1.0, 2.0, 3.0, 5.0, 9.0, np.nan], "b": np.full(6, np.nan), "c": np.full(6, 0.1)}
    a, b, c = compare_styles(measures, p, rng=rng, resamples=100)
    assert (a.machine.value, a.human.value, a.posts, a.left_out) == (1.5, 4.0, 4, 2)
    assert "fewer than 2 machine and human posts" in b.difference.reason
    assert c.difference.value == pytest.approx(0.0, abs=1e-12) and not c.standardised.defined
    (single,) = compare_styles({"a": [1.0]}, [1.0], rng=rng)
    assert not single.difference.defined and compare_styles({}, p, rng=rng) == ()
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        compare_styles(measures, p + 1, rng=rng)


def test_correction_undoes_mislabelling() -> None:
    rng = np.random.default_rng(6)
    machine, x = planted(rng, 40_000)
    called = np.where(machine, rng.random(40_000) < 0.7, rng.random(40_000) < 0.2)
    (found,) = compare_styles({"x": x}, called, rng=rng, resamples=200)
    assert found.difference.high < 0.7
    ppv, npv = (Estimate(v, v - 0.01, v + 0.01, 1000, "known") for v in (machine[called].mean(), (~machine)[~called].mean()))
    corrected = corrected_difference(found.difference, ppv, npv)
    assert corrected.low < 1.0 < corrected.high
    assert corrected.high - corrected.low > (found.difference.high - found.difference.low) / (ppv.value + npv.value - 1)
    opposite = corrected_difference(Estimate(-0.4, -0.5, -0.3, 9, "m"), ppv, npv)
    assert opposite.low < opposite.value < opposite.high < 0
    unsure = corrected_difference(Estimate(0.1, -0.1, 0.3, 9, "m"), ppv, npv)
    assert unsure.low < 0 < unsure.value < unsure.high
    assert not corrected_difference(found.difference, Estimate(0.5, 0.4, 0.6, 9, "m"), Estimate(0.5, 0.4, 0.6, 9, "m")).defined
    assert not corrected_difference(undefined("none"), ppv, npv).defined


@pytest.mark.shared_data
def test_real_machine_texts_are_harder_to_read(shared_data: Path) -> None:
    """The direction that the card's paper reports, on GPT-4's continuations of 150 news articles."""
    pairs = json.loads((shared_data / "llm-text-pairs" / "xsum_gpt-4.raw_data.json").read_text(encoding="utf-8"))
    texts = [*pairs["original"], *pairs["sampled"]]
    machine = np.repeat([0.0, 1.0], 150)
    start = time.perf_counter()
    measures = style_measures(texts)
    assert len(texts) / (time.perf_counter() - start) > 60  # some 350 on an idle core
    found = {d.measure: d for d in compare_styles(measures, machine, rng=np.random.default_rng(0), resamples=200)}
    assert found["flesch_reading_ease"].difference.high < 0
    assert found["characters_per_word"].difference.low > 0
