"""The round rim of a bright part: through its edge the circle, or upright ellipse, that most of it agrees with."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

SURE = 0.88
_TRIALS = 160  # random arcs tried per threshold; 3 good points are then found with p > 0.999 if 35% of points are good
_TOLERANCE = 0.02  # an edge point belongs to the circle if it is this near, as a fraction of the radius
_LEAST = 0.3


@dataclass(frozen=True)
class Outline:
    """An upright ellipse around the largest bright part of a picture.

    Args:
        center_x: From the left edge. Unit: px.
        center_y: From the top edge. Unit: px.
        half_x: Half its width. Unit: px.
        half_y: Half its height; of a circle the same. Unit: px.
        score: How well it agrees with the rim, [0, 1]; above ``SURE`` no other is worth a look.

    Example:
        >>> Outline(50, 50, 40, 40, 1.0).half_x
        40

    References:
        Our own.
    """

    center_x: float
    center_y: float
    half_x: float
    half_y: float
    score: float


def find_outline(mask: NDArray[np.bool_]) -> Outline | None:
    """Fit the rim of the largest bright part.

    Args:
        mask: Where it is bright, shape (H, W), bool.

    Returns:
        Its outline; None if too little of it is round.

    Example:
        >>> y, x = np.mgrid[:80, :100]
        >>> found = find_outline((x - 50) ** 2 + (y - 40) ** 2 < 30**2)
        >>> abs(found.half_x - 30) < 1
        True

    References:
        Fischler & Bolles, "Random sample consensus", Commun. ACM 1981;24:381. The rest our own.
    """
    mask = ndimage.binary_opening(mask, iterations=1)
    parts, count = ndimage.label(mask)
    if count == 0:
        return None
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    part = parts == int(sizes.argmax())
    if sizes.max() < 0.05 * mask.size:
        return None
    x, y = _rim(part)
    if len(x) < 12:
        return None
    circle = _fit(x, y, part, squeezed=False)
    if circle is None or circle.score < SURE:
        ellipse = _fit(x, y, part, squeezed=True)
        if ellipse is not None and (circle is None or ellipse.score > circle.score + 0.08):
            circle = ellipse
    return circle if circle is not None and circle.score >= _LEAST else None


def _rim(part: NDArray[np.bool_]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Collect the first and last pixel of each row and column that does not lie on the image's border."""
    height, width = part.shape
    rows, columns = np.flatnonzero(part.any(axis=1)), np.flatnonzero(part.any(axis=0))
    left, right = part.argmax(axis=1)[rows], width - part[:, ::-1].argmax(axis=1)[rows]
    top, bottom = part.argmax(axis=0)[columns], height - part[::-1].argmax(axis=0)[columns]
    x = np.concatenate([left, right, columns + 0.5, columns + 0.5])
    y = np.concatenate([rows + 0.5, rows + 0.5, top, bottom])
    inside = (x > 1.6) & (y > 1.6) & (x < width - 1.6) & (y < height - 1.6)
    return x[inside].astype(np.float64), y[inside].astype(np.float64)


def _fit(x: NDArray[np.float64], y: NDArray[np.float64], part: NDArray[np.bool_], *, squeezed: bool) -> Outline | None:
    """Lay the circle (or upright ellipse) through the rim that most points agree with."""
    unknowns = 4 if squeezed else 3
    picks = np.random.default_rng(0).integers(0, len(x), (_TRIALS, unknowns))  # the same picks for everyone
    shapes = _solve(x[picks], y[picks], squeezed=squeezed)  # (trials, 4): center x, center y, half x, half y
    shapes = shapes[_plausible(shapes, part.shape)]
    if len(shapes) == 0:
        return None
    thin = slice(None, None, max(1, len(x) // 160))
    agree = np.abs(_distance(shapes, x[thin], y[thin])) < _TOLERANCE
    shape = shapes[agree.sum(axis=1).argmax()]
    for _ in range(3):
        near = np.abs(_distance(shape[None], x, y)[0]) < _TOLERANCE
        if near.sum() < 8:
            return None
        shape = _solve(x[None, near], y[None, near], squeezed=squeezed)[0]
        if not _plausible(shape[None], part.shape)[0]:
            return None
    near = np.abs(_distance(shape[None], x, y)[0]) < _TOLERANCE
    # Both ways: how much of the visible circle has an edge, and how much of the edge lies on the circle. A circle
    # through one side of a squeezed photograph has the first without the second.
    score = _support(shape, x[near], y[near], part.shape) * float(near.mean())
    if _spill(shape, part) > 0.04 or math.isnan(score):
        return None
    return Outline(float(shape[0]), float(shape[1]), float(shape[2]), float(shape[3]), score)


def _solve(x: NDArray[np.float64], y: NDArray[np.float64], *, squeezed: bool) -> NDArray[np.float64]:
    """Least-squares circles or upright ellipses through point sets (..., points); NaN where there is none."""
    mean_x, mean_y = x.mean(axis=1, keepdims=True), y.mean(axis=1, keepdims=True)
    scale = np.maximum(np.hypot(x - mean_x, y - mean_y).mean(axis=1, keepdims=True), 1e-6)
    u, v = (x - mean_x) / scale, (y - mean_y) / scale
    # circle: u^2 + v^2 = 2 a u + 2 b v + c; ellipse: u^2 + d v^2 = 2 a u + 2 b v + c
    columns = [2 * u, 2 * v, np.ones_like(u)] + ([-(v**2)] if squeezed else [])
    target = u**2 if squeezed else u**2 + v**2
    design = np.stack(columns, axis=2)  # (sets, points, unknowns)
    normal = np.einsum("tpi,tpj->tij", design, design) + 1e-12 * np.eye(len(columns))
    answer = np.linalg.solve(normal, np.einsum("tpi,tp->ti", design, target)[:, :, None])[:, :, 0]
    flat = answer[:, 3] if squeezed else np.ones(len(answer))
    with np.errstate(all="ignore"):
        center_u, center_v = answer[:, 0], answer[:, 1] / flat
        half_u = np.sqrt(answer[:, 2] + center_u**2 + flat * center_v**2)
        half_v = half_u / np.sqrt(flat)
    size = scale[:, 0]
    return np.stack(
        [center_u * size + mean_x[:, 0], center_v * size + mean_y[:, 0], half_u * size, half_v * size], axis=1
    )


def _plausible(shapes: NDArray[np.float64], image: tuple[int, ...]) -> NDArray[np.bool_]:
    """Keep shapes that a camera could have made."""
    height, width = image[0], image[1]
    least, most = 0.2 * min(height, width), 0.9 * max(height, width)
    center_x, center_y, half_x, half_y = shapes.T
    with np.errstate(all="ignore"):
        ratio = half_x / half_y
        sizes = (half_x > least) & (half_x < most) & (half_y > least) & (half_y < most) & (ratio > 0.6) & (ratio < 1.6)
        centers = (np.abs(center_x / width - 0.5) < 0.4) & (np.abs(center_y / height - 0.5) < 0.4)
    keep: NDArray[np.bool_] = sizes & centers & np.isfinite(shapes).all(axis=1)
    return keep


def _distance(shapes: NDArray[np.float64], x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """Distance of each point from each rim, as a fraction of the radius: (shapes, points)."""
    return np.hypot((x - shapes[:, :1]) / shapes[:, 2:3], (y - shapes[:, 1:2]) / shapes[:, 3:4]) - 1


def _support(
    shape: NDArray[np.float64], x: NDArray[np.float64], y: NDArray[np.float64], image: tuple[int, ...]
) -> float:
    """Fraction of the visible rim, in steps of 5 degrees, that has an edge point; NaN if hardly any is visible."""
    angles = (np.arange(72) + 0.5) * (2 * math.pi / 72)
    rim_x, rim_y = shape[0] + shape[2] * np.cos(angles), shape[1] + shape[3] * np.sin(angles)
    visible = (rim_x > 2) & (rim_y > 2) & (rim_x < image[1] - 2) & (rim_y < image[0] - 2)
    if visible.sum() < 6:
        return math.nan
    turns = np.arctan2((y - shape[1]) / shape[3], (x - shape[0]) / shape[2]) / (2 * math.pi) % 1.0
    seen = np.zeros(72, np.bool_)
    seen[(turns * 72).astype(np.int64) % 72] = True
    return float((seen & visible).sum() / visible.sum())


def _spill(shape: NDArray[np.float64], part: NDArray[np.bool_]) -> float:
    """How much of the bright part lies outside the rim, as a fraction of it."""
    height, width = part.shape
    across = ((np.arange(width) + 0.5 - shape[0]) / (shape[2] * (1 + _TOLERANCE))) ** 2
    down = ((np.arange(height) + 0.5 - shape[1]) / (shape[3] * (1 + _TOLERANCE))) ** 2
    outside = across[None, :] + down[:, None] > 1
    return float(np.mean(part & outside)) / max(1e-9, float(np.mean(part)))
