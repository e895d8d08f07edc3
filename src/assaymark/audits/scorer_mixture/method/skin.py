"""The skin-colour baseline that networks are compared with: pixel rules, pixel classifiers, and an image score.

Pixels are 8-bit sRGB. YCbCr is JFIF's full-range form of ITU-R BT.601.

References
----------
.. [1] Kovac, J., Peer, P. and Solina, F. (2003). Human skin colour clustering for face detection. EUROCON (the RGB rule).
.. [2] Chai, D. and Ngan, K. N. (1999). Face segmentation using skin-color map in videophone applications. IEEE TCSVT 9, 551-564
   (the YCbCr box).
.. [3] Jones, M. J. and Rehg, J. M. (2002). Statistical color models with application to skin detection. IJCV 46, 81-96.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.ndimage import label

__all__ = [
    "GaussianSkin",
    "HistogramSkin",
    "SkinScore",
    "fit_gaussian",
    "fit_histogram",
    "gaussian_skin",
    "histogram_skin",
    "pixels_of_table",
    "rgb_rule",
    "skin_score",
    "ycbcr_box",
]

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
SKIN_CLASS = 1
"""Class of skin in the (B, G, R, class) tables; 2 is not skin."""


class HistogramSkin(NamedTuple):
    """Bayes classifier on a colour histogram ([3]).

    Attributes
    ----------
    log_odds : array, shape (bins, bins, bins)
        Of skin given the cell of (R, G, B).
    """

    log_odds: Floats


class GaussianSkin(NamedTuple):
    """Bayes classifier with one Gaussian for each class in RGB: log-odds are the quadratic x'Ax + b'x + c."""

    A: Floats
    b: Floats
    c: float


class SkinScore(NamedTuple):
    """Skin of an image: share of its pixels, share of its pixels in the largest connected piece, and their sum in [0, 2]."""

    fraction: float
    largest: float
    score: float

    @property
    def probability(self) -> float:
        """Half of the sum, in [0, 1]: network 0 of a comparison (a score, not calibrated)."""
        return self.score / 2.0


def _planes(image: Any) -> list[npt.NDArray[np.int16]]:
    pixels = np.asarray(image)
    if pixels.dtype != np.uint8 or pixels.shape[-1:] != (3,):
        raise ValueError(f"expected 8-bit RGB with three channels last, got {pixels.dtype} of shape {pixels.shape}")
    return [pixels[..., channel].astype(np.int16) for channel in range(3)]


BLOCK_PIXELS = 32_768
"""Pixels looked at together, so that the intermediate planes stay in the cache."""


def _in_blocks(image: Any, decide: Callable[[Any], Mask]) -> Mask:
    pixels = np.asarray(image)
    if pixels.shape[-1:] != (3,):
        return decide(pixels)  # refused there, with the shape in the message
    rows = pixels.reshape(-1, 3)
    mask = np.empty(len(rows), dtype=bool)
    for start in range(0, len(rows), BLOCK_PIXELS):
        mask[start : start + BLOCK_PIXELS] = decide(rows[start : start + BLOCK_PIXELS])
    return mask.reshape(pixels.shape[:-1])


def rgb_rule(image: Any) -> Mask:
    """R > 95, G > 40, B > 20, max - min > 15, |R - G| > 15, R > G, R > B ([1], daylight).

    Parameters
    ----------
    image : uint8 array, shape (..., 3), RGB

    Returns
    -------
    bool array, shape (...)
    """
    return _in_blocks(image, _rgb_rule)


def _rgb_rule(pixels: Any) -> Mask:
    red, green, blue = _planes(pixels)
    # red is the largest, so max - min is red - min(green, blue), and |R - G| > 15 with R > G implies max - min > 15
    return np.asarray((red > 95) & (green > 40) & (blue > 20) & (red - green > 15) & (red > blue))


def ycbcr_box(image: Any) -> Mask:
    """77 <= Cb <= 127 and 133 <= Cr <= 173 ([2]).

    Parameters
    ----------
    image : uint8 array, shape (..., 3), RGB

    Notes
    -----
    Cb = 128 - 0.168736 R - 0.331264 G + 0.5 B and Cr = 128 + 0.5 R - 0.418688 G - 0.081312 B, rounded to integers.
    """
    return _in_blocks(image, _ycbcr_box)


def _ycbcr_box(pixels: Any) -> Mask:
    red, green, blue = (plane.astype(np.float32) for plane in _planes(pixels))
    # 77 <= round(Cb) <= 127 is 76.5 <= Cb < 127.5; 128 is taken over to the limits
    cb = -0.168736 * red - 0.331264 * green + 0.5 * blue
    cr = 0.5 * red - 0.418688 * green - 0.081312 * blue
    return np.asarray((cb >= -51.5) & (cb < -0.5) & (cr >= 4.5) & (cr < 45.5))


def pixels_of_table(table: Any) -> tuple[npt.NDArray[np.uint8], Mask]:
    """RGB pixels, shape (n, 3), and whether each is skin, from rows of B, G, R, class (1 skin, 2 not skin)."""
    rows = np.asarray(table)
    if rows.ndim != 2 or rows.shape[1] != 4 or not np.isin(rows[:, 3], (1, 2)).all() or rows.min(initial=0) < 0:
        raise ValueError("expected rows of B, G, R and a class that is 1 (skin) or 2 (not skin)")
    if rows[:, :3].max(initial=0) > 255:
        raise ValueError("colours lie between 0 and 255")
    return np.ascontiguousarray(rows[:, 2::-1], dtype=np.uint8), rows[:, 3] == SKIN_CLASS


def fit_histogram(rgb: Any, is_skin: Any, *, bins: int = 32, prior: float | None = None) -> HistogramSkin:
    """Learn the histogram classifier.

    Parameters
    ----------
    rgb : uint8 array, shape (n, 3); is_skin : bool array, shape (n,)
    bins : int
        Cells for each channel; divides 256.
    prior : float in (0, 1), optional
        Share of skin where it is used; by default that of the table.

    Notes
    -----
    One pixel, spread over the cells as all pixels are, is added to each class: a cell that only one class has gets finite odds,
    and a colour never seen gets the prior's.
    """
    skin, cells = np.asarray(is_skin, dtype=bool), _cells(rgb, bins)
    positive, negative = (np.bincount(cells[group], minlength=bins**3).astype(np.float64) for group in (skin, ~skin))
    odds = _prior_odds(skin, prior)
    spread = (positive + negative) / len(cells)
    seen = spread > 0
    found = np.full(bins**3, odds)
    shares = [(counts + spread)[seen] / (counts.sum() + 1.0) for counts in (positive, negative)]
    found[seen] += np.log(shares[0]) - np.log(shares[1])
    return HistogramSkin(found.reshape(bins, bins, bins))


def _prior_odds(skin: Mask, prior: float | None) -> float:
    share = float(skin.mean()) if prior is None else prior
    if not 0.0 < share < 1.0:
        raise ValueError("a pixel classifier needs pixels of both classes, and a prior strictly between 0 and 1")
    return float(np.log(share / (1.0 - share)))


def _cells(image: Any, bins: int) -> npt.NDArray[np.int32]:
    if bins < 2 or 256 % bins:
        raise ValueError("bins divide 256")
    red, green, blue = (plane.astype(np.int32) // (256 // bins) for plane in _planes(image))
    return np.asarray((red * bins + green) * bins + blue)


def histogram_skin(image: Any, model: HistogramSkin) -> Mask:
    """Whether skin is the likelier class of each pixel; one look-up a pixel."""
    likelier, bins = (model.log_odds > 0).ravel(), len(model.log_odds)
    return _in_blocks(image, lambda pixels: np.asarray(likelier[_cells(pixels, bins)]))


def fit_gaussian(rgb: Any, is_skin: Any, *, prior: float | None = None) -> GaussianSkin:
    """Learn the Gaussian classifier (`rgb` uint8 (n, 3), `is_skin` bool (n,), `prior` as in `fit_histogram`)."""
    pixels, skin = np.asarray(rgb, dtype=np.float64), np.asarray(is_skin, dtype=bool)
    A, b, c = np.zeros((3, 3)), np.zeros(3), _prior_odds(skin, prior)
    for group, sign in ((skin, 1.0), (~skin, -1.0)):
        if group.sum() < 4:
            raise ValueError("a Gaussian in three colours needs at least 4 pixels of each class")
        centre = pixels[group].mean(axis=0)
        covariance = np.cov(pixels[group].T) + 1e-3 * np.eye(3)  # below one grey level: pixels of one colour stay finite
        precision = np.linalg.inv(covariance)
        A -= sign * 0.5 * precision
        b += sign * precision @ centre
        c -= sign * 0.5 * float(centre @ precision @ centre + np.linalg.slogdet(covariance)[1])
    return GaussianSkin(A, b, c)


def gaussian_skin(image: Any, model: GaussianSkin) -> Mask:
    """Whether skin is the likelier class of each pixel."""

    def decide(pixels: Any) -> Mask:
        x = np.stack(_planes(pixels), axis=-1).astype(np.float64)
        return np.asarray(((x @ model.A + model.b) * x).sum(axis=-1) + model.c > 0)

    return _in_blocks(image, decide)


def skin_score(image: Any, *, rule: Callable[[Any], Mask] = rgb_rule) -> SkinScore:
    """Skin fraction plus share of the largest skin component, both of all pixels.

    Parameters
    ----------
    image : uint8 array, shape (h, w, 3), RGB
    rule : callable
        Pixels to mask: `rgb_rule`, `ycbcr_box`, or a learned classifier.

    Notes
    -----
    Components are connected through sides (4 neighbours). O(h w).
    """
    mask = rule(image)
    if mask.ndim != 2 or not mask.size:
        raise ValueError(f"expected one image of shape (h, w, 3), got a mask of shape {mask.shape}")
    fraction = float(mask.mean())
    pieces, _ = label(mask)
    sizes = np.bincount(pieces.ravel())[1:]
    largest = float(sizes.max(initial=0)) / mask.size
    return SkinScore(fraction, largest, fraction + largest)
