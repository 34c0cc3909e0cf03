"""The optic disc of a fundus photograph: where it is, how large, and how sure that is."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from eyeground.images.flat_field import RADIUS_PX, FlatField, flatten
from eyeground.images.templates import Templates

# What speaks for a place, and how much each counts: printed by tests/images/fit_disc.py, which says how it fits them.
EVIDENCE: tuple[str, ...] = (
    "bright circle", "vessels from it", "edge all round", "vessels near it", "fovea beside it",
    "eccentricity", "height", "odd size", "blue",
)  # fmt: skip
_WEIGHTS = np.array([1.46, 62.8, 14.5, 2.46, 3.45, -2.1, -4.3, -11.7, -4.81])
_NOWHERE = 2.99  # what a place must outweigh, since the disc may not be in the picture

# Radii of discs in fields of 30 to 60 degrees, in a copy whose field is 60 px in radius.
_RADII_PX = (4.6, 5.7, 7.0, 8.7, 10.8)
_USUAL_PX = 7.4
_SPOT_PX = 5.7
_LEAST = 0.5  # a place less likely than this is no finding
_PEAKS = 5  # of each map
_BEARINGS = np.arange(24) * (2 * math.pi / 24)


@dataclass(frozen=True)
class Disc:
    """An optic disc.

    Args:
        x: Center, from the left edge. Unit: px of the image given.
        y: Center, from the top edge. Unit: px.
        radius: Half its diameter, as if it were a circle. Unit: px.
        confidence: How likely it is that the disc is really here, [0, 1].

    Example:
        >>> Disc(310.0, 198.0, 24.0, 0.97).radius
        24.0

    References:
        Our own.
    """

    x: float
    y: float
    radius: float
    confidence: float


def find_disc(pixels: NDArray[np.uint8]) -> Disc | None:
    """Find the optic disc of a fundus photograph.

    Places that are brighter than their surroundings, or at which vessels point, are judged together by nine kinds of
    evidence; what is left of certainty is the chance that the disc is nowhere. So a photograph through a cataract, a
    dark one, or one of the macula alone has no disc, and neither has a B-scan.

    Args:
        pixels: Photograph, shape (H, W, 3), uint8.

    Returns:
        The disc; None if it is not found. It is never guessed.

    Raises:
        ValueError: If the shape is not (H, W, 3).

    Example:
        >>> find_disc(np.zeros((80, 80, 3), np.uint8)) is None
        True

    References:
        Vessels that converge: Hoover & Goldbaum, IEEE Trans Med Imaging 2003;22:951. The rest our own.
    """
    flat = flatten(pixels)
    disc = None if flat is None else disc_in(flat)
    if flat is None or disc is None:
        return None
    x, y = flat.to_photograph(disc.x, disc.y)
    return Disc(x, y, disc.radius * flat.step, disc.confidence)


def disc_in(flat: FlatField) -> Disc | None:
    """Find the optic disc in a flattened photograph.

    Args:
        flat: What ``flatten`` gave.

    Returns:
        The disc in pixels of the flat field; None if it is not found.

    Example:
        >>> y, x = np.mgrid[:200, :200]
        >>> smooth = ((x - 100) ** 2 + (y - 100) ** 2 < 90**2)[..., None] * np.array([180, 90, 40]) + x[..., None] // 9
        >>> disc_in(flatten(smooth.astype(np.uint8))) is None
        True

    References:
        Our own.
    """
    found = candidates(flat)
    if len(found.x) == 0:
        return None
    weight = found.evidence @ _WEIGHTS - _NOWHERE
    chance = np.exp(weight - max(weight.max(), 0.0))
    chance /= chance.sum() + math.exp(-max(weight.max(), 0.0))
    best = int(chance.argmax())
    # Neighbors are the same finding seen twice.
    same = np.hypot(found.x - found.x[best], found.y - found.y[best]) < 1.5 * found.radius[best]
    confidence = float(chance[same].sum())
    if confidence < _LEAST:
        return None
    return Disc(float(found.x[best]), float(found.y[best]), float(found.radius[best]), confidence)


@dataclass(frozen=True, eq=False)
class Candidates:
    """Places where a disc may be, with what speaks for each.

    Args:
        x: Centers, shape (N,). Unit: px of the flat field.
        y: The same, from the top.
        radius: Shape (N,). Unit: px of the flat field.
        evidence: Shape (N, 9), columns as ``EVIDENCE`` names them.

    Example:
        >>> Candidates(np.zeros(1), np.zeros(1), np.ones(1), np.zeros((1, 9))).evidence.shape
        (1, 9)

    References:
        Our own.
    """

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    radius: NDArray[np.float64]
    evidence: NDArray[np.float64]


def candidates(flat: FlatField) -> Candidates:
    """List the places where a disc may be.

    Args:
        flat: What ``flatten`` gave.

    Returns:
        Up to 15 places, none closer than 4 px to another.

    Example:
        >>> y, x = np.mgrid[:200, :200]
        >>> field, spot = np.hypot(x - 100, y - 100) < 90, np.hypot(x - 150, y - 100) < 12
        >>> colors = field[..., None] * np.array([120, 70, 30]) + spot[..., None] * np.array([90, 80, 30])
        >>> found = candidates(flatten(colors.astype(np.uint8)))
        >>> best = found.evidence[:, 0].argmax()
        >>> bool(abs(found.x[best] * 1.5 + 10 - 150) < 3), bool(abs(found.radius[best] * 1.5 - 12) < 3)
        (True, True)

    References:
        Our own.
    """
    templates = Templates(flat.inside)
    # A closing fills in the vessels, which cross most discs and would make them look dark.
    clear = ndimage.grey_closing(flat.brightness, size=(5, 5))
    light = templates.spectrum(clear)
    circles = np.nan_to_num(np.stack([templates.contrast(light, radius) for radius in _RADII_PX]), nan=-1.0)
    best = circles.max(axis=0)  # (H, W)
    converging = _converging(flat, templates)
    bright, pointed = _standing_out(best, flat.inside), _standing_out(converging, flat.inside)
    rows, columns = _peaks((bright, bright + pointed, pointed), flat.inside & (best > -0.5))
    if len(rows) == 0:
        return Candidates(np.zeros(0), np.zeros(0), np.zeros(0), np.zeros((0, len(EVIDENCE))))
    radius = np.asarray(_RADII_PX)[circles[:, rows, columns].argmax(axis=0)]
    blue = np.nan_to_num(templates.contrast(templates.spectrum(flat.blue), _SPOT_PX))
    dark = np.nan_to_num(-templates.contrast(templates.spectrum(np.clip(flat.green, -0.5, 0.15)), _SPOT_PX), nan=-1.0)
    vessels = templates.total(templates.spectrum(flat.vessels), "circle", 17.0)
    across, down = (columns + 0.5 - flat.center_x) / RADIUS_PX, (rows + 0.5 - flat.center_y) / RADIUS_PX
    evidence = (
        bright[rows, columns],
        ndimage.maximum_filter(converging, size=5)[rows, columns],
        _edge(clear, flat.inside, columns, rows, radius),
        vessels[rows, columns] / np.maximum(templates.area("circle", 17.0)[rows, columns], 1),
        [_darkest_beside(dark, x, y) for x, y in zip(columns.tolist(), rows.tolist(), strict=True)],
        across**2 + down**2,
        down**2,
        np.log(radius / _USUAL_PX) ** 2,
        blue[rows, columns],
    )
    x, y, fine = _refine(circles, columns, rows)
    return Candidates(x, y, fine, np.stack([np.asarray(kind, np.float64) for kind in evidence], axis=1))


def _converging(flat: FlatField, templates: Templates) -> NDArray[np.float32]:
    """How far the vessels around each place point at it: 1 if all were vessels that do, below 0 if they pass by."""
    cos, sin = templates.spectrum(flat.along_cos), templates.spectrum(flat.along_sin)
    # cos 2(direction - bearing) = cos cos + sin sin: two sums, instead of one for each bearing
    pointing = templates.total(cos, "spokes_cos") + templates.total(sin, "spokes_sin")
    return np.asarray(pointing / np.maximum(templates.area("spokes"), 0.5), np.float32)


def _standing_out(values: NDArray[np.float32], inside: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Measure values by how far the highest 2% stand above the median: 0 is usual, 1 is there."""
    floored = np.maximum(values, -0.2)
    middle, high = np.percentile(floored[inside], (50, 98))
    return np.asarray((floored - middle) / (high - middle + 1e-3), np.float32)


def _peaks(
    maps: tuple[NDArray[np.float32], ...], allowed: NDArray[np.bool_]
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Rows and columns of the highest places of each map, more than 4 px apart."""
    places: list[tuple[int, int]] = []
    for values in maps:
        height = np.where(allowed, values, -9)
        rows, columns = np.nonzero((ndimage.maximum_filter(height, size=9) == height) & allowed)
        for index in np.argsort(-height[rows, columns], kind="stable")[:_PEAKS]:
            row, column = int(rows[index]), int(columns[index])
            if all((row - y) ** 2 + (column - x) ** 2 > 16 for y, x in places):
                places.append((row, column))
    found = np.array(places, np.intp).reshape(-1, 2)
    return found[:, 0], found[:, 1]


def _edge(
    light: NDArray[np.float32],
    inside: NDArray[np.bool_],
    x: NDArray[np.intp],
    y: NDArray[np.intp],
    radius: NDArray[np.float64],
) -> NDArray[np.float64]:
    """How far the light falls across the rim of each circle, at the bearings where it falls least (lowest fifth)."""
    smooth, known = ndimage.gaussian_filter(light, 1.0), inside.astype(np.float32)

    def ring(times: float) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        reach = times * radius[:, None]
        places = [y[:, None] + reach * np.sin(_BEARINGS), x[:, None] + reach * np.cos(_BEARINGS)]  # (N, bearings) each
        seen = ndimage.map_coordinates(known, places, order=1) > 0.9
        return np.where(seen, ndimage.map_coordinates(smooth, places, order=1), 0), seen

    inner = np.mean([ring(times)[0] for times in (0.25, 0.5, 0.75)], axis=(0, 2))  # (N,)
    outer = [ring(times) for times in (1.3, 1.5, 1.7)]
    count = np.sum([seen for _, seen in outer], axis=0)
    fall = inner[:, None] - np.sum([light for light, _ in outer], axis=0) / np.maximum(count, 1)
    return np.array(
        [
            float(np.percentile(row[seen], 20)) if seen.sum() >= 6 else 0.0
            for row, seen in zip(fall, count > 0, strict=True)
        ]
    )


def _darkest_beside(dark: NDArray[np.float32], x: int, y: int) -> float:
    """How dark the darkest spot is where the fovea would be, on either side."""
    rows = slice(max(0, y - 18), max(0, y + 18))
    windows = (dark[rows, max(0, x - 54) : max(0, x - 30)], dark[rows, x + 30 : x + 54])
    return max(-0.1, *(float(window.max()) for window in windows if window.size))  # so far 0.5 to 0.9 radii away


def _refine(
    circles: NDArray[np.float32], x: NDArray[np.intp], y: NDArray[np.intp]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Move each place to the best circle nearby, and lay a parabola through the answers of three radii."""
    found = []
    for column, row in zip(x.tolist(), y.tolist(), strict=True):
        top, left = max(0, row - 4), max(0, column - 4)
        near = circles[:, top : row + 5, left : column + 5]
        size, down, right = (int(part) for part in np.unravel_index(int(near.argmax()), near.shape))
        middle = min(max(size, 1), len(_RADII_PX) - 2)
        low, mid, high = (float(value) for value in near[middle - 1 : middle + 2, down, right])
        bend = low - 2 * mid + high
        shift = (
            float(np.clip(0.5 * (low - high) / bend, -1, 1)) if bend < -1e-6 and min(low, high) > -1 else size - middle
        )
        radius = _RADII_PX[middle] * (_RADII_PX[1] / _RADII_PX[0]) ** shift
        found.append((left + right + 0.0, top + down + 0.0, radius))
    places = np.array(found)
    return places[:, 0], places[:, 1], places[:, 2]
