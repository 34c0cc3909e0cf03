"""The round field of view of a fundus photograph: find it, crop to it."""

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from eyeground.images.retinal_image import RetinalImage

_WORK_PX = 200  # longest side of the copy searched; half a pixel of it is 0.25% of the image
_TRIALS = 160  # random arcs tried per threshold; 3 good points are then found with p > 0.999 if 35% of points are good
_TOLERANCE = 0.02  # an edge point belongs to the circle if it is this near, as a fraction of the radius
_SURE = 0.88
_LEAST = 0.3


@dataclass(frozen=True)
class Field:
    """Where the camera saw the retina.

    Args:
        center_x_px: Center of the circle, from the left edge. May lie outside the box when the circle is cut off.
        center_y_px: Center of the circle, from the top edge.
        radius_px: Radius; of a photograph that was squeezed to another shape, the larger half-axis.
        left: First column of the field inside the image. Unit: px.
        top: First row of it.
        right: First column behind it.
        bottom: First row below it.

    Example:
        >>> Field(50, 50, 40, 10, 10, 90, 90).right
        90

    References:
        Our own.
    """

    center_x_px: float
    center_y_px: float
    radius_px: float
    left: int
    top: int
    right: int
    bottom: int


def find_field(pixels: NDArray[np.uint8]) -> Field | None:
    """Find the round field of view of a fundus photograph.

    Several brightness thresholds just above the surround are tried; each gives an outline, and through each outline
    the circle (or upright ellipse, for photographs squeezed to another shape) is laid that most of its points agree
    with. So noise in the surround, notches, flat cut-offs and a dark rim on one side do not matter. White corners, as
    some exports add, count as surround.

    Args:
        pixels: Photograph, shape (H, W, 3), uint8.

    Returns:
        The field; None if there is no dark surround (the photograph is cut tight already) or no round outline.

    Raises:
        ValueError: If the shape is not (H, W, 3).

    Example:
        >>> y, x = np.mgrid[:100, :140]
        >>> disc = ((x - 70) ** 2 + (y - 50) ** 2 < 40**2)[..., None] * np.array([200, 90, 40])
        >>> found = find_field(disc.astype(np.uint8))
        >>> abs(found.center_x_px - 70) < 1 and abs(found.radius_px - 40) < 1
        True

    References:
        Fischler & Bolles, "Random sample consensus", Commun. ACM 1981;24:381. The rest our own.
    """
    if pixels.ndim != 3 or pixels.shape[2] != 3:
        raise ValueError(f"a photograph must be (H, W, 3), got {pixels.shape}")
    height, width = pixels.shape[:2]
    if min(height, width) < 16:
        return None
    small, step = _small(pixels)
    surround = _white_surround(small)
    if surround is not None:
        small = np.where(surround[:, :, None], np.uint8(0), small)
    light = _brightest(small).astype(np.float32)
    best: _Outline | None = None
    for threshold in _thresholds(light):
        outline = _outline(light > threshold)
        if outline is not None and (best is None or outline.score > best.score + 0.02):
            best = outline
        if best is not None and best.score > _SURE:
            break
    return None if best is None else _to_field(best, step, width, height)


def crop(pixels: NDArray[np.uint8], field: Field) -> NDArray[np.uint8]:
    """Cut out the field and pad it with black to a square centered on it.

    The side is the smallest that holds the whole box around the field's center, so a whole circle fills the square and
    a circle cut off on one side keeps its center in the middle.

    Args:
        pixels: Photograph, shape (H, W, 3), uint8.
        field: Where its field is, as ``find_field`` gives it.

    Returns:
        A new array, shape (S, S, 3), uint8.

    Example:
        >>> crop(np.full((60, 100, 3), 9, np.uint8), Field(50, 30, 40, 10, 0, 90, 60)).shape
        (80, 80, 3)

    References:
        Our own.
    """
    center_x, center_y = round(field.center_x_px), round(field.center_y_px)
    half = max(center_x - field.left, field.right - center_x, center_y - field.top, field.bottom - center_y, 1)
    square = np.zeros((2 * half, 2 * half, 3), np.uint8)
    shift_x, shift_y = half - center_x, half - center_y
    square[field.top + shift_y : field.bottom + shift_y, field.left + shift_x : field.right + shift_x] = pixels[
        field.top : field.bottom, field.left : field.right
    ]
    return square


def crop_photograph(image: RetinalImage) -> RetinalImage:
    """Crop a fundus photograph to its field of view; let anything else pass by unchanged.

    The one call that training and prediction share. OCT scans pass by: those marked so, and, where nothing is known of
    the modality, gray pictures (R = G = B within what JPEG changes). A gray (red-free) photograph is cropped only if it
    is marked ``"fundus"``. A photograph without a dark surround passes by too. A white surround is made black.

    Args:
        image: Any retinal image.

    Returns:
        The image with cropped pixels, or the same object.

    Example:
        >>> scan = RetinalImage(np.zeros((40, 60, 3), np.uint8), "scan.png")
        >>> crop_photograph(scan) is scan
        True

    References:
        Our own.
    """
    if image.modality == "oct" or (image.modality == "" and _is_gray(image.pixels)):
        return image
    field = find_field(image.pixels)
    if field is None:
        return image
    return replace(image, pixels=crop(_without_white_surround(image.pixels), field))


@dataclass(frozen=True)
class _Outline:
    """An upright ellipse in the small copy, and how well it agrees with the rim: 1 is perfect."""

    center_x: float
    center_y: float
    half_x: float
    half_y: float
    score: float


def _small(pixels: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], float]:
    """Make a copy of at most about _WORK_PX, each pixel the mean of four samples; also how much smaller it is."""
    step = max(1, math.ceil(max(pixels.shape[:2]) / (2 * _WORK_PX)))
    sampled = pixels[step // 2 :: step, step // 2 :: step]
    height, width = sampled.shape[0] // 2 * 2, sampled.shape[1] // 2 * 2
    sums = sampled[:height, :width].astype(np.uint16)
    sums = sums[0::2] + sums[1::2]
    sums = sums[:, 0::2] + sums[:, 1::2]
    return (sums // 4).astype(np.uint8), 2.0 * step


def _brightest(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Largest of the three colors; ten times as fast as a reduction over an axis of three."""
    return np.maximum(np.maximum(pixels[..., 0], pixels[..., 1]), pixels[..., 2])


def _darkest(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Smallest of the three colors."""
    return np.minimum(np.minimum(pixels[..., 0], pixels[..., 1]), pixels[..., 2])


def _is_gray(pixels: NDArray[np.uint8]) -> bool:
    """Tell gray pictures from colored ones, however dark; single colored marks do not make a scan a photograph."""
    small, _ = _small(pixels) if min(pixels.shape[:2]) >= 2 else (pixels, 1.0)
    spread = _brightest(small) - _darkest(small)
    return float(np.mean(spread > 6)) < 0.02


def _white_surround(small: NDArray[np.uint8]) -> NDArray[np.bool_] | None:
    """Find white that is joined to a white corner, if most corners are white."""
    white = _darkest(small) >= 250
    corners = (white[:4, :4], white[:4, -4:], white[-4:, :4], white[-4:, -4:])
    if sum(bool(corner.all()) for corner in corners) < 3:
        return None
    parts, _ = ndimage.label(white)
    names = {int(parts[y, x]) for y in (0, -1) for x in (0, -1)} - {0}
    surround = np.isin(parts, list(names))
    # A bar thinner than two pixels of the small copy is only half white there; it is followed along the image's edge.
    edge = _darkest(small) >= 100
    edge[3:-3, 3:-3] = False
    surround = ndimage.binary_dilation(surround, iterations=0, mask=edge | surround)
    widened: NDArray[np.bool_] = ndimage.binary_dilation(surround, iterations=2)
    return widened


def _without_white_surround(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Blacken a white surround: bars of it would tell a network which clinic exported the photograph."""
    small, step = _small(pixels)
    surround = _white_surround(small)
    if surround is None:
        return pixels
    rows = np.minimum(np.arange(pixels.shape[0]) // int(step), small.shape[0] - 1)
    columns = np.minimum(np.arange(pixels.shape[1]) // int(step), small.shape[1] - 1)
    return np.where(surround[rows][:, columns, None], np.uint8(0), pixels)


def _thresholds(light: NDArray[np.float32]) -> list[float]:
    """Levels between surround and field; none if no corner is clearly darker than the middle."""
    height, width = light.shape
    side = max(3, round(0.04 * max(height, width)))
    corners = (light[:side, :side], light[:side, -side:], light[-side:, :side], light[-side:, -side:])
    darkest = min(corners, key=lambda corner: float(np.percentile(corner, 25)))
    dark = float(np.percentile(darkest, 25))
    noise = float(np.median(np.abs(darkest[darkest <= np.percentile(darkest, 50)] - dark)))
    bright = float(np.percentile(light, 95))  # the smallest field looked for covers an eighth of a square image
    if bright - dark < max(6.0, 0.3 * bright):
        return []
    floor = dark + max(3.0, 5 * noise)
    return [
        floor + part * (bright - dark) for part in (0.02, 0.08, 0.2, 0.4) if floor + part * (bright - dark) < bright
    ]


def _outline(mask: NDArray[np.bool_]) -> _Outline | None:
    """Fit the rim of the largest bright part; None if too little of it is round."""
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
    if circle is None or circle.score < _SURE:
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


def _fit(x: NDArray[np.float64], y: NDArray[np.float64], part: NDArray[np.bool_], *, squeezed: bool) -> _Outline | None:
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
    return _Outline(float(shape[0]), float(shape[1]), float(shape[2]), float(shape[3]), score)


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


def _to_field(outline: _Outline, step: float, width: int, height: int) -> Field:
    """Bring an outline of the small copy back to the image's own pixels."""
    center_x, center_y = outline.center_x * step, outline.center_y * step
    half_x, half_y = outline.half_x * step, outline.half_y * step
    return Field(
        center_x, center_y, max(half_x, half_y),
        max(0, round(center_x - half_x)), max(0, round(center_y - half_y)),
        min(width, round(center_x + half_x)), min(height, round(center_y + half_y)),
    )  # fmt: skip
