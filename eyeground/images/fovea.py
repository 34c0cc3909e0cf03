"""The fovea of a fundus photograph: the dark spot beside the optic disc."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from eyeground.images.disc import Disc
from eyeground.images.flat_field import RADIUS_PX, FlatField, flatten
from eyeground.images.templates import Templates

_SPOT_PX = 6.0  # the dark spot is about as large as the disc
# Distance from the disc in radii of the field, 0.71 +- 0.04 on 597 photographs of fields around 45 degrees.
_DISTANCE, _DISTANCE_SPREAD = 0.70, 0.08
_HALFWAY = 0.03  # contrast, less its faults, at which a spot is as likely the fovea as not
_STEEPNESS = 45.0
_LEAST = 0.5
# Log odds that the disc is at the right, for each radius of the field that it lies to the right of the middle, and
# for a sure fovea to its left. Set by hand where tuning is allowed: of 492 discs in that half of fundus-odir3 farther
# than a quarter radius from the middle one was on the wrong side; nearer ones are undecided without a fovea.
_PER_OFFSET, _PER_FOVEA = 10.0, 3.0


@dataclass(frozen=True)
class Fovea:
    """A fovea.

    Args:
        x: Center, from the left edge. Unit: px of the image given.
        y: Center, from the top edge. Unit: px.
        confidence: How likely it is that the fovea is really here, given that the disc is right, [0, 1].

    Example:
        >>> Fovea(180.0, 214.0, 0.9).x
        180.0

    References:
        Our own.
    """

    x: float
    y: float
    confidence: float


def find_fovea(pixels: NDArray[np.uint8], disc: Disc) -> Fovea | None:
    """Find the fovea of a fundus photograph whose disc is known.

    Looked for is a dark spot without vessels, to the left or right of the disc at the usual distance.

    Args:
        pixels: Photograph, shape (H, W, 3), uint8.
        disc: Its disc, as ``find_disc`` gives it.

    Returns:
        The fovea; None if it is not found, as in a photograph of the disc alone, or through a haze.

    Raises:
        ValueError: If the shape is not (H, W, 3).

    Example:
        >>> find_fovea(np.zeros((80, 80, 3), np.uint8), Disc(20.0, 40.0, 6.0, 0.9)) is None
        True

    References:
        Distance and height: Rohrschneider, Invest Ophthalmol Vis Sci 2004;45:3257. The rest our own.
    """
    flat = flatten(pixels)
    if flat is None:
        return None
    x, y = flat.from_photograph(disc.x, disc.y)
    seen = Disc(x, y, disc.radius / flat.step, disc.confidence)
    left, right = foveae_in(flat, seen)
    best = left if disc_at_right(flat, seen, left, right) > 0.5 else right
    if best is None or best.confidence < _LEAST:
        return None
    return Fovea(*flat.to_photograph(best.x, best.y), best.confidence)


def foveae_in(flat: FlatField, disc: Disc) -> tuple[Fovea | None, Fovea | None]:
    """Find the most likely fovea to the left and to the right of the disc; at most one of them is one.

    Args:
        flat: What ``flatten`` gave.
        disc: The disc, in pixels of the flat field.

    Returns:
        Left and right, in pixels of the flat field, however unlikely; None on a side that is not in the picture.

    Example:
        >>> y, x = np.mgrid[:200, :200]
        >>> light = (np.hypot(x - 100, y - 100) < 90) * (90 - 50 * (np.hypot(x - 90, y - 105) < 8) + x // 20)
        >>> left, right = foveae_in(flatten((light[..., None] * [2, 1, 0.4]).astype(np.uint8)), Disc(96, 60, 7, 0.9))
        >>> abs(left.x * 1.5 + 10 - 90) < 3, left.confidence > right.confidence
        (True, True)

    References:
        Our own.
    """
    templates = Templates(flat.inside)
    # Bright spots are clipped, or their dark neighbors would look like foveae.
    light = templates.spectrum(np.clip(flat.green, -0.5, 0.15))
    dark = -templates.contrast(light, _SPOT_PX)
    across = np.arange(flat.size[1]) - disc.x
    down = (np.arange(flat.size[0]) - disc.y)[:, None]
    distance = np.hypot(across[None, :], down) / RADIUS_PX
    angle = np.degrees(np.arctan2(down, np.abs(across)[None, :]))
    vessels = ndimage.gaussian_filter(flat.vessels, 3.0)
    score = dark - 0.3 * np.maximum(vessels - 0.2, 0) - 0.014 * ((distance - _DISTANCE) / _DISTANCE_SPREAD) ** 2
    score -= 0.03 * (angle / 15) ** 2
    score = np.where(flat.inside & np.isfinite(score), score, -np.inf)
    score[:, np.abs(across) < 0.25 * RADIUS_PX] = -np.inf
    return _best(np.where(across[None, :] < 0, score, -np.inf)), _best(np.where(across[None, :] > 0, score, -np.inf))


def disc_at_right(flat: FlatField, disc: Disc, left: Fovea | None, right: Fovea | None) -> float:
    """Say on which side of the fovea the disc is.

    Photographs show the macula, so a disc off the middle is on the side it is off; one in the middle is opposite to the
    likelier of the two foveae.

    Args:
        flat: What ``flatten`` gave.
        disc: The disc, in pixels of the flat field.
        left: The most likely fovea to its left, if any, as ``foveae_in`` gives it.
        right: The same to its right.

    Returns:
        How likely the disc is to the right of the fovea, as the photograph is shown, [0, 1].

    Example:
        >>> y, x = np.mgrid[:200, :200]
        >>> light = (np.hypot(x - 100, y - 100) < 90) * (90 + x // 9)
        >>> flat = flatten((light[..., None] * [2, 1, 0.4]).astype(np.uint8))
        >>> disc_at_right(flat, Disc(95.0, 60.0, 7.0, 0.9), None, None) > 0.99
        True

    References:
        Our own.
    """
    offset = (disc.x + 0.5 - flat.center_x) / RADIUS_PX
    sure_left, sure_right = (0.0 if fovea is None else fovea.confidence for fovea in (left, right))
    odds = _PER_OFFSET * offset + _PER_FOVEA * (sure_left - sure_right)
    return 1 / (1 + math.exp(-max(-30.0, min(30.0, odds))))


def _best(score: NDArray[np.float64]) -> Fovea | None:
    """The highest place of a map."""
    row, column = np.unravel_index(int(score.argmax()), score.shape)
    height = float(score[row, column])
    if height < -0.5:  # 3 radii of the usual spread off, or more: outside every photograph of the fovea
        return None
    return Fovea(float(column), float(row), 1 / (1 + math.exp(-_STEEPNESS * (height - _HALFWAY))))
