from __future__ import annotations

import time
import warnings

import numpy as np
import pytest
from scipy.optimize import linprog
from scipy.stats import t as student

from assaymark.errors import ConfigError, InputError
from assaymark.stats import corrected_ratios, dummies, log_linear, misclassified_ratio, negative_binomial


def _draw(rng: np.random.Generator, mean: np.ndarray, alpha: float = 1.0) -> np.ndarray:
    return rng.negative_binomial(1 / alpha, 1 / (1 + alpha * mean)).astype(float)


def _posts(seed: int, n: int = 3000) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    design = np.column_stack([rng.random(n) < 0.3, rng.normal(8, 2, n), 2020 + 3 * rng.random(n)]).astype(float)
    mean = np.exp(0.5 - 0.36 * design[:, 0] + 0.2 * (design[:, 1] - 8))
    return _draw(rng, mean, 1.3), design


NAMES = ["machine", "followers", "year"]


def _errors(result: object, quantile: float) -> list[float]:
    return [(result.coefficients[name].high - result.coefficients[name].value) / quantile for name in NAMES]  # type: ignore[attr-defined]


def test_negative_binomial_equals_statsmodels() -> None:
    sm = pytest.importorskip("statsmodels.api")
    y, x = _posts(0)
    centred = sm.add_constant(x - x.mean(axis=0))
    start = sm.NegativeBinomial(y, centred).fit(disp=0, maxiter=500)
    reference = sm.NegativeBinomial(y, centred).fit(start_params=start.params, method="newton", disp=0)
    found = negative_binomial(y, x, names=NAMES)
    assert found.family == "NB2" and found.alpha == pytest.approx(reference.params[-1], rel=1e-6)
    np.testing.assert_allclose([found.coefficients[name].value for name in NAMES], reference.params[1:4], rtol=1e-5)
    family = sm.families.NegativeBinomial(alpha=found.alpha)
    groups = np.repeat(np.arange(300), 10)
    for clusters, kind, df, factor in (
        (None, {"cov_type": "HC0"}, 2996, 3000 / 2996),
        (groups, {"cov_type": "cluster", "cov_kwds": {"groups": groups}}, 299, 1.0),
    ):
        robust = sm.GLM(y, centred, family=family).fit(tol=1e-13, **kind)
        quantile = student.ppf(0.975, df)
        np.testing.assert_allclose(
            _errors(negative_binomial(y, x, names=NAMES, clusters=clusters), quantile),
            robust.bse[1:] * np.sqrt(factor),
            rtol=1e-5,
        )
    assert found.ratios["machine"].value == pytest.approx(np.exp(found.coefficients["machine"].value))
    intercept = np.log(sm.GLM(y, sm.add_constant(x), family=family).fit(tol=1e-13).predict([[1, 0, 0, 0]])[0])
    assert found.coefficients["intercept"].value == pytest.approx(intercept, rel=1e-5)


def test_counts_that_vary_no_more_than_poisson_are_quasi_poisson() -> None:
    sm = pytest.importorskip("statsmodels.api")
    rng = np.random.default_rng(3)
    x = rng.standard_normal((500, 3))
    y = rng.binomial(8, 1 / (1 + np.exp(-0.3 * x[:, 0]))).astype(float)
    found = negative_binomial(y, x, names=NAMES)
    reference = sm.GLM(y, sm.add_constant(x), family=sm.families.Poisson()).fit(cov_type="HC0", tol=1e-13)
    assert found.family == "quasi-Poisson" and found.alpha == 0.0
    np.testing.assert_allclose([found.coefficients[name].value for name in NAMES], reference.params[1:], rtol=1e-6)
    np.testing.assert_allclose(
        _errors(found, student.ppf(0.975, 496)), reference.bse[1:] * np.sqrt(500 / 496), rtol=1e-5
    )  # fmt: skip


def test_log_linear_equals_ordinary_least_squares_with_hc3() -> None:
    sm = pytest.importorskip("statsmodels.api")
    y, x = _posts(1, 400)
    reference = sm.OLS(np.log1p(y), sm.add_constant(x)).fit(cov_type="HC3")
    found = log_linear(y, x, names=NAMES)
    np.testing.assert_allclose([found.coefficients[name].value for name in NAMES], reference.params[1:], rtol=1e-7)
    np.testing.assert_allclose(_errors(found, student.ppf(0.975, 396)), reference.bse[1:], rtol=1e-7)
    assert np.isnan(found.alpha) and "HC3" in found.ratios["machine"].method


def test_a_hundred_thousand_posts_and_sixty_columns_take_seconds() -> None:
    rng = np.random.default_rng(5)
    n = 100_000
    topic = dummies(rng.integers(0, 55, n), name="topic", most=55)
    x = np.column_stack([rng.random(n) < 0.2, rng.standard_normal((n, 5)), topic.columns])
    y = _draw(rng, np.exp(1 - 0.36 * x[:, 0] + 0.5 * x[:, 1]))
    start = time.perf_counter()
    found = negative_binomial(y, x, names=["machine", *"abcde", *topic.names])
    assert time.perf_counter() - start < 10  # three seconds on an idle core
    assert found.ratios["machine"].value == pytest.approx(0.7, abs=0.03) and x.shape[1] == 60


def test_dummies_take_the_largest_as_reference_and_pool_the_rare() -> None:
    codes = np.repeat(["b", "a", "d", "c", "e"], [5, 9, 2, 3, 1])
    found = dummies(codes, name="topic", most=3)
    assert found.reference == "topic=a" and found.names == ("topic=b", "topic=(others)")
    np.testing.assert_array_equal(found.columns.sum(axis=0), [5, 6])
    every = dummies(codes, name="topic")
    assert every.names == ("topic=b", "topic=c", "topic=d", "topic=e")
    np.testing.assert_array_equal(every.columns[:, 1], codes == "c")
    assert dummies(["x", "x"], name="t").columns.shape == (2, 0) and dummies([], name="t").names == ()
    with pytest.raises(ConfigError, match="most = 1"):
        dummies(codes, name="t", most=1)


def test_columns_that_say_nothing_new_are_named_and_the_first_ones_stay() -> None:
    y, x = _posts(2, 600)
    more = np.column_stack([x, x[:, 0] + 2 * x[:, 1], np.full(600, 3.0)])
    found = negative_binomial(y, more, names=[*NAMES, "sum", "constant"])
    assert found.dropped == ("sum", "constant") and found.coefficients["sum"].reason.startswith("collinear")
    plain = negative_binomial(y, x, names=NAMES)
    for name in NAMES:
        assert found.ratios[name].value == pytest.approx(plain.ratios[name].value, rel=1e-8)
    least_squares = log_linear(y, more, names=[*NAMES, "sum", "constant"])
    assert least_squares.dropped == ("sum", "constant") and least_squares.ratios["machine"].defined


def test_a_topic_without_any_like_leaves_the_fit_with_its_rows() -> None:
    y, x = _posts(2, 600)
    silent = (np.arange(600) < 20).astype(float)
    found = negative_binomial(np.where(silent, 0, y), np.column_stack([x, silent]), names=[*NAMES, "silent"])
    rest = negative_binomial(y[20:], x[20:], names=NAMES)
    assert found.ratios["silent"].reason.startswith("every count is 0 unless it is 0") and found.dropped == ("silent",)
    assert found.ratios["machine"].value == pytest.approx(rest.ratios["machine"].value) and found.ratios["machine"].n == 580


def test_no_fit_is_given_exactly_where_a_linear_program_finds_separation() -> None:
    """No finite fit is best where some direction lowers rows of 0, and raises none, without moving the rows with counts."""
    fitted = np.zeros(2, dtype=int)
    for seed in range(60):
        rng = np.random.default_rng(seed)
        topic = dummies(rng.integers(0, 5, 40), name="topic")
        x = np.column_stack([rng.lognormal(6, 3, 40), topic.columns])
        y = rng.poisson(rng.gamma(0.1, 1.0, 40)).astype(float) + (np.arange(40) < 2)
        found = negative_binomial(y, x, names=["followers", *topic.names])
        if found.family or "no finite fit" in found.reason:
            left = [j for j, name in enumerate(["followers", *topic.names]) if name not in found.dropped]
            whole = [found.coefficients[name].reason for name in found.dropped]
            if any("collinear" in reason for reason in whole):
                continue
            ends = [j for j in range(x.shape[1]) if j not in left]
            rows = np.all([x[:, j] == (x[y > 0, j].max()) for j in ends], axis=0) if ends else np.ones(40, dtype=bool)
            design = np.column_stack([np.ones(rows.sum()), (x[rows][:, left] - x[:, left].mean(0)) / x[:, left].std(0)])
            none = y[rows] == 0
            program = linprog(
                design[none].sum(axis=0), A_ub=design[none], b_ub=np.zeros(none.sum()), A_eq=design[~none],
                b_eq=np.zeros((~none).sum()), bounds=[(-1, 1)] * design.shape[1],
            )  # fmt: skip
            assert (program.fun < -1e-7) == bool(found.reason)
            fitted[int(bool(found.reason))] += 1
    assert fitted.min() >= 3


def test_what_cannot_be_fitted_says_why() -> None:
    y, x = _posts(2, 60)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert "at least 5 rows" in negative_binomial(y[:4] + 1, x[:4], names=NAMES).reason
        assert negative_binomial(np.zeros(60), x, names=NAMES).ratios["machine"].reason == "every count is 0"
        assert log_linear(np.full(60, 2.0), x, names=NAMES).reason.startswith("every count")
        assert "one cluster" in negative_binomial(y, x, names=NAMES, clusters=np.zeros(60)).reason
        only_members = negative_binomial(np.where(x[:, 0] == 1, y + 1, 0), x, names=NAMES)
        assert only_members.ratios["machine"].reason == "every count is 0 unless it is 1: no finite ratio"
        topics = dummies(np.repeat([0, 1, 2], [30, 20, 10]), name="topic")  # it is the reference that has no count
        silent = negative_binomial(np.where(np.arange(60) < 30, 0, y + 1), topics.columns, names=topics.names)
        assert "no finite fit" in silent.reason and silent.ratios["topic=1"].reason == silent.reason
        assert "at least" in negative_binomial([], np.empty((0, 3)), names=NAMES).reason
    with pytest.raises(InputError, match="negative"):
        negative_binomial(y - 99, x, names=NAMES)
    with pytest.raises(InputError, match="'year'"):
        negative_binomial(y, np.where(np.arange(3) == 2, np.nan, x), names=NAMES)
    with pytest.raises(ConfigError, match="called 'a'"):
        negative_binomial(y, x, names=["a", "a", "b"])
    with pytest.raises(ValueError, match="one column a name"):
        negative_binomial(y, x, names=["a"])
    with pytest.raises(InputError, match="between 0 and 1"):
        negative_binomial(y, x, names=NAMES, membership=np.full(60, 2.0))


def _platform(seed: int, n: int = 3000) -> dict[str, np.ndarray]:
    """Machine posts get 0.7 times the likes; they are newer, on other topics, and their authors have fewer followers."""
    rng = np.random.default_rng(seed)
    month, topic = rng.integers(0, 20, n), rng.integers(0, 5, n)
    pi = 0.38 / (1 + np.exp(-(month - 8) / 2.0)) * np.where(topic == 0, 1.5, 1.0)
    machine = rng.random(n) < pi
    followers = rng.normal(np.where(machine, 6.5, 7.5), 1.5)
    mean = np.exp(-0.5 + 0.35 * followers + 0.02 * month + 0.2 * topic + np.log(0.7) * machine)
    called = rng.random(n) < np.where(machine, 0.8, 0.05)
    # what is known of a post: month, topic, followers, and the detector's call
    odds = pi / (1 - pi) * np.exp((7.5 - followers - 0.5) / 1.5**2) * np.where(called, 0.8 / 0.05, 0.2 / 0.95)
    controls = [dummies(month, name="month"), dummies(topic, name="topic")]
    return {
        "y": _draw(rng, mean), "machine": machine, "called": called, "posterior": odds / (1 + odds),
        "controls": np.column_stack([followers, *(part.columns for part in controls)]),
        "names": np.array(["followers", *controls[0].names, *controls[1].names]),
    }  # fmt: skip


def test_the_controlled_ratio_covers_and_the_raw_one_does_not() -> None:
    covered, raw, naive, mixed = 0, [], 0, 0
    for seed in range(30):
        posts = _platform(seed)
        y, controls, names = posts["y"], posts["controls"], list(posts["names"])
        raw.append(y[posts["machine"]].mean() / y[~posts["machine"]].mean())
        true, called = (
            negative_binomial(y, np.column_stack([posts[group], controls]), names=["group", *names]).ratios["group"]
            for group in ("machine", "called")
        )
        soft = negative_binomial(y, controls, names=names, membership=posts["posterior"]).ratios["membership"]
        covered += true.low <= 0.7 <= true.high
        naive += called.low <= 0.7 <= called.high
        mixed += soft.low <= 0.7 <= soft.high
    assert np.mean(raw) < 0.6
    assert covered / 30 >= 0.86 and mixed / 30 >= 0.86 and naive / 30 <= 0.6


def test_membership_of_0_and_1_is_a_dummy() -> None:
    y, x = _posts(7)
    dummy = negative_binomial(y, x, names=NAMES).coefficients["machine"]
    mixture = negative_binomial(y, x[:, 1:], names=NAMES[1:], membership=x[:, 0]).coefficients["membership"]
    assert (mixture.value, mixture.low, mixture.high) == pytest.approx((dummy.value, dummy.low, dummy.high), rel=1e-6)


def _predictive(tpr: np.ndarray, fpr: np.ndarray, called: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    pi = np.clip((called - fpr) / (tpr - fpr), 1e-6, 1 - 1e-6)
    return pi * tpr / (pi * tpr + (1 - pi) * fpr), (1 - pi) * (1 - fpr) / ((1 - pi) * (1 - fpr) + pi * (1 - tpr))


def test_the_ratio_between_calls_is_brought_back_to_that_between_groups() -> None:
    covered, naive, points = 0, [], []
    for seed in range(100):
        rng = np.random.default_rng(seed)
        machine = rng.random(8000) < 0.2
        called = rng.random(8000) < np.where(machine, 0.8, 0.05)
        y = _draw(rng, np.where(machine, 0.7, 1.0) * 5)
        found = negative_binomial(y, called, names=["called"])
        log, tpr, fpr = found.coefficients["called"], rng.binomial(300, 0.8) / 300, rng.binomial(300, 0.05) / 300
        draws = (
            rng.binomial(300, tpr, 400) / 300,
            rng.binomial(300, fpr, 400) / 300,
            rng.binomial(8000, called.mean(), 400) / 8000,
        )
        ratio_draws = np.exp(rng.normal(log.value, (log.high - log.low) / 3.92, 400))
        ppv, npv = _predictive(np.array(tpr), np.array(fpr), np.array(called.mean()))
        redrawn = _predictive(*draws)
        corrected = misclassified_ratio(
            np.exp(log.value), float(ppv), float(npv), n=8000,
            ratio_draws=ratio_draws, ppv_draws=redrawn[0], npv_draws=redrawn[1],
        )  # fmt: skip
        covered += corrected.low <= 0.7 <= corrected.high
        points.append(corrected.value)
        naive.append(np.exp(log.value))
    assert np.mean(naive) > 0.75 and np.mean(points) == pytest.approx(0.7, abs=0.015)
    assert covered / 100 >= 0.89


def test_a_correction_that_cannot_be_made() -> None:
    draws = {"ratio_draws": [0.8, 0.9], "ppv_draws": [0.8, 0.8], "npv_draws": [0.9, 0.9]}
    assert "hardly tell the groups apart" in misclassified_ratio(0.9, 0.4, 0.6, n=9, **draws).reason
    assert "no positive means" in misclassified_ratio(0.1, 0.8, 0.9, n=9, **draws).reason
    assert corrected_ratios(1.0, 0.8, 0.9) == pytest.approx(1.0) and np.isnan(corrected_ratios(0.9, 0.5, 0.5))
    mixed = (0.8 * 0.7 + 0.2) / (0.1 * 0.7 + 0.9)
    assert misclassified_ratio(mixed, 0.8, 0.9, n=9, **draws).value == pytest.approx(0.7)
    with pytest.raises(InputError, match="positive ratio"):
        misclassified_ratio(-1.0, 0.8, 0.9, n=9, **draws)
