"""Epsilon of repeated private mechanisms, and the noise that a wanted epsilon costs.

Accounting of the Gaussian mechanism is that of the library dp-accounting, of the extra `privacy`; it is imported here alone.

References
----------
.. [1] Mironov, I. (2017). Renyi differential privacy. CSF.
.. [2] Mironov, I., Talwar, K. and Zhang, L. (2019). Renyi differential privacy of the sampled Gaussian mechanism.
   arXiv:1908.10530.
.. [3] Balle, B., Barthe, G. and Gaboardi, M. (2018). Privacy amplification by subsampling. NeurIPS, theorem 8.
.. [4] Dwork, C. and Roth, A. (2014). The algorithmic foundations of differential privacy, theorem 3.16.
.. [5] Doroshenko, V. et al. (2022). Connect the dots: tighter discrete approximations of privacy loss distributions. PoPETs.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, Literal, get_args

from assaymark.errors import ConfigError, MissingExtra, UnknownName

__all__ = ["Accountant", "gaussian_epsilon", "gaussian_noise_multiplier", "pure_epsilon", "pure_step_epsilon"]

Accountant = Literal["pld", "rdp"]
"""Privacy loss distributions ([5]), close to exact; or Renyi divergences ([1], [2]), up to several times as large."""

_TOLERANCE = 1e-5
_LARGEST_LOG = 14.0


def gaussian_epsilon(
    noise_multiplier: float, *, steps: int, delta: float, sampling_rate: float = 1.0, accountant: Accountant = "pld"
) -> float:
    """Epsilon of `steps` releases with Gaussian noise, each of a Poisson sample of the rows.

    Parameters
    ----------
    noise_multiplier : float >= 0
        Standard deviation of the noise over the L2 sensitivity of a release to one row.
    steps : int >= 0
        Releases; each may depend on those before it.
    delta : float in (0, 1)
    sampling_rate : float in (0, 1]
        Each row takes part in a release with this probability, independently of the others. 1: no sampling.
    accountant : {"pld", "rdp"}

    Returns
    -------
    float
        For data that differ by one row added or removed. At sampling rate 1 for any two data sets for which the sensitivity
        holds. Infinite without noise, 0 without releases.

    Raises
    ------
    ConfigError
        For a value out of range.
    MissingExtra
        Without the library dp-accounting.

    Notes
    -----
    Both accountants give upper bounds. "rdp" is loose where the noise is small and few rows take part: 2.7 in place of 1.0 for
    multiplier 0.51, rate 1 / 1,500 and 100 releases.
    """
    if accountant not in get_args(Accountant):
        raise UnknownName("accountant", accountant, get_args(Accountant))
    _check(steps=steps, sampling_rate=sampling_rate)
    if not 0.0 < delta < 1.0:
        raise ConfigError(f"delta {delta!r} is not between 0 and 1: take one below 1 / (number of rows)")
    if not noise_multiplier >= 0.0:
        raise ConfigError(f"noise_multiplier {noise_multiplier!r}: it is at least 0")
    if steps == 0:
        return 0.0
    if noise_multiplier == 0.0:
        return math.inf
    _library()  # missing is missing, whatever is remembered
    if sampling_rate == 1.0:
        # T releases of the same noise tell as much as one of their mean
        noise_multiplier, steps = noise_multiplier / math.sqrt(steps), 1
    return _composed(noise_multiplier, steps, delta, sampling_rate, accountant)


@lru_cache(maxsize=1_000)
def _composed(noise_multiplier: float, steps: int, delta: float, sampling_rate: float, accountant: Accountant) -> float:
    """Epsilon by the library; remembered, for the same few settings are asked for with every prompt that is defended."""
    library = _library()
    account: Any
    if accountant == "rdp":
        account = library.rdp.RdpAccountant()
    else:
        # about 1,000 cells for the losses of one release, however large or small the noise is
        interval = max(1e-4 / noise_multiplier**2, min(1e-3, 1e-2 / noise_multiplier))
        account = library.pld.PLDAccountant(value_discretization_interval=interval)
    with _left_out_orders_unmentioned():
        account.compose(_event(library, noise_multiplier, steps, sampling_rate))
        return float(account.get_epsilon(delta))


def gaussian_noise_multiplier(
    epsilon: float, *, steps: int, delta: float, sampling_rate: float = 1.0, accountant: Accountant = "pld"
) -> float:
    """Least noise multiplier for which `gaussian_epsilon` is at most `epsilon`, to a few 1e-5 of it.

    Raises
    ------
    ConfigError
        For a value out of range, or an epsilon so small that a million times the sensitivity is not noise enough.
    MissingExtra
        Without the library dp-accounting.
    """
    if not (math.isfinite(epsilon) and epsilon > 0.0):
        raise ConfigError(f"epsilon {epsilon!r}: a finite number above 0 is needed to find the noise")
    if steps < 1:
        raise ConfigError(f"steps {steps}: without a release no noise is needed")
    from scipy.optimize import brentq

    def excess(log_multiplier: float) -> float:
        sigma = math.exp(log_multiplier)
        spent = gaussian_epsilon(sigma, steps=steps, delta=delta, sampling_rate=sampling_rate, accountant=accountant)
        # finite where the accountant says 0 or infinity, so that the root is bracketed by numbers
        return math.log(min(max(spent, 1e-300), 1e300)) - math.log(epsilon)

    low = high = 0.0
    while excess(high) > 0.0:
        high += 1.0
        if high > _LARGEST_LOG:
            raise ConfigError(f"epsilon {epsilon:g} at delta {delta:g} cannot be had: raise delta, or allow a larger epsilon")
    while excess(low) <= 0.0:
        low -= 1.0
    # the root is found to the tolerance, on either side of it
    found = float(brentq(excess, low, high, xtol=_TOLERANCE))
    while excess(found) > 0.0:
        found += _TOLERANCE
    return math.exp(found)


def pure_epsilon(step_epsilon: float, *, steps: int, sampling_rate: float = 1.0) -> float:
    """Epsilon (delta = 0) of `steps` releases that are step_epsilon-private, each of a Poisson sample: T ln(1 + q (e^e0 - 1)).

    Notes
    -----
    Amplification by sampling ([3]) and basic composition ([4]). For data that differ by one row added or removed.

    Examples
    --------
    >>> pure_epsilon(0.5, steps=4), round(pure_epsilon(0.5, steps=4, sampling_rate=0.1), 3)
    (2.0, 0.251)
    """
    _check(steps=steps, sampling_rate=sampling_rate)
    if not step_epsilon >= 0.0:
        raise ConfigError(f"step_epsilon {step_epsilon!r}: it is at least 0")
    if steps == 0 or step_epsilon == 0.0:
        return 0.0
    if sampling_rate == 1.0:
        return steps * step_epsilon
    # ln(1 + q (e^x - 1)) = x + ln(q + (1 - q) e^-x), which does not overflow
    return steps * (step_epsilon + math.log(sampling_rate + (1.0 - sampling_rate) * math.exp(-step_epsilon)))


def pure_step_epsilon(epsilon: float, *, steps: int, sampling_rate: float = 1.0) -> float:
    """Epsilon that each release may have for `pure_epsilon` to be `epsilon`: its inverse.

    Examples
    --------
    >>> pure_step_epsilon(2.0, steps=4)
    0.5
    """
    _check(steps=steps, sampling_rate=sampling_rate)
    if not (math.isfinite(epsilon) and epsilon > 0.0) or steps < 1:
        raise ConfigError(f"epsilon {epsilon!r} over {steps} steps: both are above 0, and epsilon is finite")
    share = epsilon / steps
    return share if sampling_rate == 1.0 else math.log1p(math.expm1(share) / sampling_rate)


def _check(*, steps: int, sampling_rate: float) -> None:
    if steps < 0:
        raise ConfigError(f"steps {steps}: a number of releases is not negative")
    if not 0.0 < sampling_rate <= 1.0:
        raise ConfigError(f"sampling_rate {sampling_rate!r} is not above 0 and at most 1")


def _library() -> Any:
    try:
        import dp_accounting
    except ImportError as error:
        raise MissingExtra("privacy", "accounting for differential privacy") from error
    return dp_accounting


@contextmanager
def _left_out_orders_unmentioned() -> Iterator[None]:
    """Keeps the library from warning of each Renyi order that it leaves out: the bound stays a bound."""

    def told(record: logging.LogRecord) -> bool:
        return "failed to converge" not in record.getMessage()

    logger = logging.getLogger("absl")
    logger.addFilter(told)
    try:
        yield
    finally:
        logger.removeFilter(told)


def _event(library: Any, noise_multiplier: float, steps: int, sampling_rate: float) -> Any:
    release = library.GaussianDpEvent(noise_multiplier)
    if sampling_rate < 1.0:
        release = library.PoissonSampledDpEvent(sampling_rate, release)
    return library.SelfComposedDpEvent(release, steps)
