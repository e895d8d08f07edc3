"""Golden numbers of the "desi" slice, oracles for the ratios, and terms without rows."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats as scipy_stats

from assaymark.audits.image_text_dataset.method.slices import slice_test, tag_recall, tag_table


def test_golden_slice_of_the_paper() -> None:
    test = slice_test([34_516], [11_782], n_total=413_000_000, k_total=4_000_000)
    rate = test.rate_of(0)
    assert rate.value == pytest.approx(0.3413, abs=5e-5)
    assert (round(rate.low, 4), round(rate.high, 4)) == (0.3364, 0.3464)
    assert test.risk_ratio[0] == pytest.approx(rate.value / ((4_000_000 - 11_782) / (413_000_000 - 34_516)))


def test_golden_tag_recall_of_the_paper() -> None:
    recall = tag_recall({"UNLIKELY": 9_327, "UNSURE": 2_291, "NSFW": 164})
    assert [round(x, 4) for x in (recall.strict.value, recall.strict.low, recall.strict.high)] == [0.0139, 0.0120, 0.0162]
    assert recall.lenient.value == pytest.approx(0.208, abs=5e-4)


def test_matches_scipy_and_is_adjusted_over_tested_terms_only() -> None:
    n, k = np.array([50, 0, 400, 30]), np.array([20, 0, 8, 0])
    test = slice_test(n, k, n_total=5000, k_total=100)
    for i in (0, 2, 3):
        table = [[k[i], n[i] - k[i]], [100 - k[i], 4900 - n[i] + k[i]]]
        assert test.p_value[i] == pytest.approx(scipy_stats.fisher_exact(table).pvalue, rel=1e-9)
    assert np.isnan(test.p_value[1]) and np.isnan(test.rate[1]) and not test.rate_of(1).defined
    tested = [0, 2, 3]
    assert test.p_adjusted[tested] == pytest.approx(scipy_stats.false_discovery_control(test.p_value[tested]))
    assert test.rate[3] == 0 and 0 <= test.rate_limits.low[3] < test.rate_limits.high[3] < 1
    inside = (test.risk_limits.low <= test.risk_ratio) & (test.risk_ratio <= test.risk_limits.high)
    assert inside[tested].all()
    order = np.argsort(test.p_value[tested])
    assert (np.diff(test.p_adjusted[tested][order]) >= 0).all()


def test_the_slice_does_not_dilute_its_own_base() -> None:
    test = slice_test([900], [90], n_total=1000, k_total=90)
    assert test.base_rate[0] == 0 and test.base_n[0] == 100


def test_impossible_counts_are_refused() -> None:
    with pytest.raises(ValueError, match="do not fit"):
        slice_test([10], [11], n_total=100, k_total=50)
    with pytest.raises(ValueError, match="do not fit"):
        slice_test([10], [0], n_total=15, k_total=10)


def test_tag_table_reads_both_ways() -> None:
    table = tag_table({"UNLIKELY": 80, "NSFW": 20}, {"UNLIKELY": 8, "NSFW": 12})
    assert table.tags == ("UNLIKELY", "NSFW")
    assert table.share.tolist() == [0.4, 0.6] and table.unsafe_rate.tolist() == [0.1, 0.6]
