"""What a representation is good for: the accuracy of a linear probe."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["probe_hits"]


def probe_hits(
    train: npt.ArrayLike, train_labels: npt.ArrayLike, test: npt.ArrayLike, test_labels: npt.ArrayLike
) -> npt.NDArray[np.bool_]:
    """Which test rows a logistic regression on standardised features gets right.

    Parameters
    ----------
    train, test : arrays, shapes (n, d) and (m, d)
    train_labels, test_labels : arrays, shapes (n,) and (m,)

    Returns
    -------
    bool array, shape (m,)
        With one class in training: whether the test row has it.

    Notes
    -----
    Deterministic. Features that do not vary in training are left out. O(n d) a step of L-BFGS.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    y, wanted = np.asarray(train_labels), np.asarray(test_labels)
    if len(np.unique(y)) < 2:
        return np.asarray(wanted == (y[0] if len(y) else None))
    scaler = StandardScaler().fit(np.asarray(train, np.float64))
    model: Any = LogisticRegression(max_iter=500).fit(scaler.transform(np.asarray(train, np.float64)), y)
    return np.asarray(model.predict(scaler.transform(np.asarray(test, np.float64))) == wanted)
