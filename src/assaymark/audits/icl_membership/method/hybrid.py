"""One score from several attacks: an attack model that learns on shadow trials how their scores belong together.

The paper's network has two layers, 2 -> 10 (ReLU) -> 1 (sigmoid), with binary cross-entropy. Published re-implementations scale
the features over shadow and target trials together, which lets the targets in; here the shadow trials give every constant.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

__all__ = ["HIDDEN", "Hybrid", "fit_hybrid"]

Floats = npt.NDArray[np.float64]

HIDDEN = 10
_DECAY = 1.0
"""Weight decay of the network (scikit-learn's alpha). On 100 shadow trials of two scores: at 0.01 the advantage on targets is
0.02 lower, and a change of the features by rounding alone moves scores by up to 0.5; at 1 by 0.01.
"""
_ITERATIONS = 500


@dataclass(frozen=True)
class Hybrid:
    """A fitted attack model: `score(features)` for features of shape (n, d).

    Attributes
    ----------
    model : "network" or "logistic"
    trials : shadow rows that it was fitted on
    """

    model: str
    trials: int
    _inputs: _Standardised | _Isotonic
    _classifier: Any

    def score(self, features: npt.ArrayLike) -> Floats:
        """P(member) of each row, shape (n,); a row's score depends on no other row. NaN where all features are missing."""
        given = _checked(features)
        if given.shape[1] != self._inputs.width:
            raise ValueError(f"the attack model was fitted on {self._inputs.width} features, and was given {given.shape[1]}")
        scores = np.full(len(given), np.nan)
        known = ~np.isnan(given).all(axis=1)
        if known.any():
            scores[known] = self._classifier.predict_proba(self._inputs.transform(given[known]))[:, 1]
        return scores


def fit_hybrid(
    features: npt.ArrayLike,
    member: npt.ArrayLike,
    *,
    rng: np.random.Generator,
    model: Literal["network", "logistic"] = "network",
) -> Hybrid:
    """Fit the attack model on shadow trials.

    Parameters
    ----------
    features : array_like, shape (n, d)
        Scores of d attacks, larger for members; NaN where an attack has none. It is replaced by the mean of the shadow trials
        and, where these miss any of that feature, said by an indicator of its own: 0 would be a score.
    member : array_like of bool, shape (n,)
    rng : numpy Generator
        Draws the first weights of the network.
    model : {"network", "logistic"}
        The paper's network (scikit-learn's `MLPClassifier`, L-BFGS). Or, for few shadow trials, logistic regression on the
        log-odds that an isotonic regression of each feature by itself gives: few parameters, and no scale to be trusted.

    Raises
    ------
    ValueError
        Members or non-members are missing, or a feature is infinite.
    """
    given, is_member = _checked(features), np.asarray(member, dtype=bool)
    if is_member.shape != given.shape[:1]:
        raise ValueError(f"{given.shape[0]} rows of features, and {is_member.size} members or not")
    told = ~np.isnan(given).all(axis=1)
    given, is_member = given[told], is_member[told]
    if is_member.all() or not is_member.any():
        raise ValueError(f"{is_member.size} shadow rows with a score hold only one side: members and non-members are needed")
    seed = int(rng.integers(2**31))
    inputs = _Standardised(given) if model == "network" else _Isotonic(given, is_member)
    classifier = _network(seed) if model == "network" else _logistic()
    with warnings.catch_warnings():
        # more steps change the loss by less than the trials can tell
        warnings.filterwarnings("ignore", message=".*lbfgs failed to converge|.*Maximum iterations")
        classifier.fit(inputs.transform(given), is_member)
    return Hybrid(model, len(given), inputs, classifier)


def _checked(features: npt.ArrayLike) -> Floats:
    given = np.asarray(features, dtype=np.float64)
    if given.ndim != 2 or np.isinf(given).any():
        raise ValueError(f"features of shape {given.shape} must have two dimensions and no infinite value")
    return given


def _network(seed: int) -> Any:
    from sklearn.neural_network import MLPClassifier

    return MLPClassifier((HIDDEN,), activation="relu", solver="lbfgs", alpha=_DECAY, max_iter=_ITERATIONS, random_state=seed)


def _logistic() -> Any:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(max_iter=_ITERATIONS)


class _Standardised:
    """Features over their shadow mean and deviation, with indicators of what the shadow trials miss."""

    def __init__(self, given: Floats) -> None:
        known = ~np.isnan(given)
        count = np.maximum(known.sum(axis=0), 1)
        self.width = given.shape[1]
        self._mean = np.where(known, given, 0.0).sum(axis=0) / count
        spread = np.sqrt((np.where(known, given - self._mean, 0.0) ** 2).sum(axis=0) / count)
        self._scale = np.where(spread > 0, spread, 1.0)
        self._missed = ~known.all(axis=0)

    def transform(self, given: Floats) -> Floats:
        missing = np.isnan(given)
        scaled = np.where(missing, 0.0, (given - self._mean) / self._scale)
        return np.hstack([scaled, missing[:, self._missed].astype(np.float64)])


class _Isotonic:
    """Log-odds of being a member by each feature alone, never falling in it, with indicators as above.

    Each step is shrunk by one member and one non-member, so that a pure end of the scale stays finite.
    """

    def __init__(self, given: Floats, member: npt.NDArray[np.bool_]) -> None:
        self.width = given.shape[1]
        self._missed = np.isnan(given).any(axis=0)
        self._curves = [_isotonic(column, member) for column in given.T]

    def transform(self, given: Floats) -> Floats:
        missing = np.isnan(given)
        odds = np.column_stack([curve(column) for curve, column in zip(self._curves, given.T, strict=True)])
        return np.hstack([np.where(missing, 0.0, odds), missing[:, self._missed].astype(np.float64)])


def _isotonic(column: Floats, member: npt.NDArray[np.bool_]) -> Any:
    from sklearn.isotonic import IsotonicRegression

    known = ~np.isnan(column)
    if not known.any():
        return np.zeros_like
    fitted = IsotonicRegression(out_of_bounds="clip").fit(column[known], member[known])
    levels, step = np.unique(fitted.predict(column[known]), return_inverse=True)
    size = np.bincount(step.reshape(-1))

    def log_odds(values: Floats) -> Floats:
        share = fitted.predict(np.where(np.isnan(values), 0.0, values))
        held = np.interp(share, levels, size.astype(np.float64))
        smooth = (share * held + 1.0) / (held + 2.0)
        return np.asarray(np.log(smooth / (1.0 - smooth)))

    return log_odds
