"""Gradient boosting on the scores: the strong baseline that shows what a weighted sum leaves on the table. Not saved."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["boosted_probability"]

Floats = npt.NDArray[np.float64]
MOST_ROWS = 100_000


def boosted_probability(fit: Floats, label: npt.NDArray[np.bool_], rows: Floats, *, seed: int, balanced: bool) -> Floats:
    """P(positive) of rows by histogram gradient boosting fitted on others.

    Parameters
    ----------
    fit : array, shape (n, k), and label, shape (n,)
        Fitting rows; missing scores have a branch of their own. Of more than `MOST_ROWS` the first are taken: rows are sorted
        by a hash, so that these are a random part.
    rows : array, shape (m, k)

    Returns
    -------
    array, shape (m,)
    """
    from sklearn.ensemble import HistGradientBoostingClassifier

    model = HistGradientBoostingClassifier(
        max_iter=100,
        learning_rate=0.1,
        max_leaf_nodes=15,
        l2_regularization=1.0,
        early_stopping=False,
        class_weight="balanced" if balanced else None,
        random_state=seed,
    )
    model.fit(fit[:MOST_ROWS], label[:MOST_ROWS])
    return np.asarray(model.predict_proba(rows)[:, 1], dtype=np.float64)
