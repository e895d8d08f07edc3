"""Interval of a figure averaged over repeated random splits, whose values are not independent.

Splits that are drawn again and again from one set of data overlap, in training and in testing. The standard deviation over them
divided by the root of their number then shrinks to 0 with more splits, while the data stay the same. Nadeau and Bengio add the
correlation that the overlap brings: Var(mean) = (1/J + n_test / n_train) s^2.

References
----------
.. [1] Nadeau, C. and Bengio, Y. (2003). Inference for the generalization error. Machine Learning 52, 239-281 (eq. 9).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from assaymark.errors import ConfigError
from assaymark.result import Estimate, Unit, undefined
from assaymark.stats.checks import finite_vector, percent

__all__ = ["corrected_resampled_t"]


def corrected_resampled_t(values: Any, *, test_share: float, confidence: float = 0.95, unit: Unit = "number") -> Estimate:
    """Mean over repeated random splits with the corrected resampled t interval ([1]).

    Parameters
    ----------
    values : array_like, shape (splits,), finite
        One figure for each split.
    test_share : float in (0, 1)
        Share of the data that each split tests on; n_test / n_train is test_share / (1 - test_share).

    Returns
    -------
    Estimate
        n is the number of splits. Limits of a unit "share" are clipped to [0, 1]. Undefined below two splits.

    Notes
    -----
    The interval is for the expected performance of training on data of this size. It has no width when all splits agree.

    Examples
    --------
    >>> print(corrected_resampled_t([0.96, 0.98, 0.97, 0.95], test_share=0.1, unit="share"))
    96.5 % (94.1 % to 98.9 %), n = 4
    """
    from scipy.special import stdtrit

    if not 0.0 < test_share < 1.0:
        raise ConfigError(f"test_share {test_share!r} is not between 0 and 1: 0.1 where a tenth of the data is held out")
    array = finite_vector(values)
    method = f"corrected resampled t {percent(confidence)}, test share {test_share:g}"
    if array.size < 2:
        return undefined("a t interval needs at least 2 splits", n=array.size, method=method, unit=unit)
    average = float(array.mean())
    inflation = 1.0 / array.size + test_share / (1.0 - test_share)
    half = float(stdtrit(array.size - 1, 0.5 + confidence / 2.0)) * float(array.std(ddof=1)) * float(np.sqrt(inflation))
    low, high = average - half, average + half
    if unit == "share":
        low, high = min(max(low, 0.0), average), max(min(high, 1.0), average)
    return Estimate(average, low, high, array.size, method, unit)
