"""A data set before and after rows were dropped from it: two rates of which one counts part of the other's rows."""

from __future__ import annotations

from assaymark.result import Estimate, undefined
from assaymark.stats import newcombe

__all__ = ["subset_difference"]


def subset_difference(n: int, k: int, n_kept: int, k_kept: int, *, confidence: float = 0.95) -> Estimate:
    """Rate among the kept rows minus rate among all rows.

    Parameters
    ----------
    n, k : rows before, and the flagged ones among them
    n_kept, k_kept : rows after, and the flagged ones among them

    Raises
    ------
    ValueError
        The kept counts are not part of the others.

    Notes
    -----
    All rows are the kept and the dropped ones, so with w = (n - n_kept) / n
    ``k_kept / n_kept - k / n = w * (k_kept / n_kept - k_dropped / n_dropped)``: the two rates on the right are of different
    rows, so Newcombe's interval holds for them, and w is known. Newcombe on (after, before) would count the kept rows twice.
    """
    n_lost, k_lost = n - n_kept, k - k_kept
    if not (0 <= k_kept <= n_kept and 0 <= k_lost <= n_lost):
        raise ValueError("the kept rows are not part of all rows")
    if n_kept == 0:
        return undefined("no row is left", n=n, unit="percentage points")
    if n_lost == 0:
        return Estimate(0.0, 0.0, 0.0, n, "no row was dropped", "percentage points")
    weight = n_lost / n
    apart = newcombe(k_kept, n_kept, k_lost, n_lost, confidence=confidence)
    assert apart.value is not None and apart.low is not None and apart.high is not None
    method = f"{apart.method} of kept against dropped rows, times the share dropped"
    return Estimate(weight * apart.value, weight * apart.low, weight * apart.high, n, method, "percentage points")
