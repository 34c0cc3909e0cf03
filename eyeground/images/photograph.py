"""What can be measured in a fundus photograph before anyone looks at it: light, contrast, focus, how much is seen."""

import math
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from eyeground.images.field import Field, find_field

WORK_PX: Final = 256  # diameter of the field in the copy measured; the main vessels are then 3 to 5 px wide
_FINE_PX = (0.8, 1.6)  # what lies between two Gaussians is one band of detail
_COARSE_PX = (1.39, 3.1)  # at half the size, on top of 1.6: together 3.2 and 6.4 px of the copy
# A difference of Gaussians passes this part of the variance of white noise, for the first and the third band.
_NOISE_PASSED = (0.0559, 0.0035)
_OFFSET = 6.0  # gray levels added before dividing, so that darkness does not look like contrast
_BLACK = 8
_DIRECTIONS = 16
_ARC_PX = 200


def measure_photograph(pixels: NDArray[np.uint8], field: Field | Literal["find"] | None = "find") -> dict[str, float]:
    """Measure light, contrast, focus and completeness inside the field of view.

    All but the light is measured in the green channel, where vessels are darkest, on a copy whose field is ``WORK_PX``
    wide, so that a measure means the same for every camera. A field smaller than that is measured as it is.

    Args:
        pixels: Photograph, shape (H, W, 3), uint8, each side at least 16 px.
        field: Its field, if it was found already; None: the frame is taken for it; ``"find"``: it is looked for.

    Returns:
        ``diameter_px``: diameter of the field in the photograph. ``light``: level of the brightest channel that 75% of
        the field lie below, 0 to 255. ``black``: share of the field that is all but black. ``clipped``: share of the
        field whose green is at its limit. ``contrast``: root mean square of structures as wide as a vessel's
        surroundings and small lesions (3 to 6 px of the copy), over the local brightness. ``sharpness``: natural
        logarithm of fine detail (1 to 2 px) over ``contrast``, sensor noise taken off both; a sharp photograph has
        about 0, a blurred one -1 or less. ``reach``: how far the field is seen from its center in the worst direction,
        1 is to the rim, 0 is half a field; where no round field was found, how far the frame is filled. ``round``: 1.0
        if it was found.

    Example:
        >>> y, x = np.mgrid[:200, :200]
        >>> disc = np.where(np.hypot(x - 100, y - 100)[..., None] < 90, (160, 80, 40), 0).astype(np.uint8)
        >>> measures = measure_photograph(disc)
        >>> measures["light"], measures["contrast"] < 0.001, round(measures["reach"])
        (160.0, True, 1)

    References:
        Burt & Adelson, "The Laplacian pyramid as a compact image code", IEEE Trans Commun 1983;31:532, for the bands.
        The measures are our own.
    """
    field = find_photograph_field(pixels) if field == "find" else field
    colors, green, circle = _working_copy(pixels, field)
    light = _brightest(colors)
    diameter_px = 2 * field.radius_px if field else float(min(pixels.shape[:2]))
    black = max(_BLACK, 0.15 * float(np.percentile(light[circle], 75)))
    seen = circle & (ndimage.uniform_filter(light, 3) > black)
    if _has_white_corners(pixels):  # a white surround is neither overexposed retina nor structure
        white = ndimage.binary_opening(colors.min(axis=2) >= 240, iterations=2)
        seen &= ~ndimage.binary_dilation(white, iterations=4)
    margin = max(1, round(0.05 * min(diameter_px, WORK_PX)))
    inner = ndimage.uniform_filter(seen.astype(np.float32), 2 * margin + 1, mode="constant") > 0.999
    if inner.sum() < 64:
        inner = seen if seen.sum() >= 64 else circle
    inside = light[inner]
    contrast, sharpness = _detail(green, seen, inner)
    return {
        "diameter_px": diameter_px,
        "light": float(np.percentile(inside, 75)),
        "black": float(np.mean(light[circle] < 25)),
        "clipped": float(np.mean(green[inner] >= 249.5)),
        "contrast": contrast,
        "sharpness": sharpness,
        "reach": _reach(seen, field, pixels.shape) if field else _reach_in_frame(seen),
        "round": float(field is not None),
    }


def find_photograph_field(pixels: NDArray[np.uint8]) -> Field | None:
    """Find the round field even where the frame cuts half of it off.

    Args:
        pixels: Photograph, shape (H, W, 3), uint8.

    Returns:
        The field as ``find_field`` gives it; where that finds none, or one of very unlike sides, a circle through the
        round parts of the outline alone, whose center may lie on the border of the frame.

    Example:
        >>> y, x = np.mgrid[:200, :100]
        >>> half = np.where(np.hypot(x, y - 100)[..., None] < 90, (160, 80, 40), 0).astype(np.uint8)
        >>> abs(round(find_photograph_field(half).center_x_px)) < 5
        True

    References:
        Our own.
    """
    found = find_field(pixels)
    if min(pixels.shape[:2]) < 32:
        return found
    if found is not None and 0.83 < (found.right - found.left) / (found.bottom - found.top) < 1.2:
        return found
    # None, or one whose sides are unlike, as they are where much is cut off: then a larger circle may fit its arcs.
    arc = _arc_field(pixels)
    if found is None or (arc is not None and 1.03 < arc.radius_px / found.radius_px < 1.8):
        return arc
    return found


def _arc_field(pixels: NDArray[np.uint8]) -> Field | None:
    """The field as its arcs alone show it."""
    step = max(1, math.ceil(max(pixels.shape[:2]) / _ARC_PX))
    light = ndimage.uniform_filter(_brightest(pixels[step // 2 :: step, step // 2 :: step]).astype(np.float32), 3)
    low, high = np.percentile(light, (2, 95))
    if high - low < max(6.0, 0.3 * high):
        return None  # no dark surround
    for part in (0.08, 0.16, 0.3):
        circle = _arc(light > low + part * (high - low))
        if circle is not None:
            x, y, radius = (value * step for value in circle)
            height, width = pixels.shape[:2]
            left, right = max(0, round(x - radius)), min(width, round(x + radius))
            top, bottom = max(0, round(y - radius)), min(height, round(y + radius))
            return Field(x, y, radius, left, top, right, bottom)
    return None


def _arc(mask: NDArray[np.bool_]) -> tuple[float, float, float] | None:
    """Lay a circle through the round parts of the largest part's rim; straight sides are where it is cut off."""
    parts, count = ndimage.label(ndimage.binary_opening(mask, iterations=1))
    if count == 0:
        return None
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    part = parts == int(sizes.argmax())
    rows, columns = np.flatnonzero(part.any(axis=1)), np.flatnonzero(part.any(axis=0))
    box = np.array([columns[0], columns[-1] + 1, rows[0], rows[-1] + 1], np.float64)
    longest = max(box[1] - box[0], box[3] - box[2])
    if sizes.max() < 0.03 * mask.size or min(box[1] - box[0], box[3] - box[2]) < 12:
        return None
    left, right = part.argmax(axis=1)[rows], part.shape[1] - part[:, ::-1].argmax(axis=1)[rows]
    top, bottom = part.argmax(axis=0)[columns], part.shape[0] - part[::-1].argmax(axis=0)[columns]
    x = np.concatenate([left, right, columns + 0.5, columns + 0.5]).astype(np.float64)
    y = np.concatenate([rows + 0.5, rows + 0.5, top, bottom]).astype(np.float64)
    keep = np.ones(len(x), np.bool_)
    for along, side, limit in ((x, box[0], 0), (x, box[1], part.shape[1]), (y, box[2], 0), (y, box[3], part.shape[0])):
        near = np.abs(along - side) < 2
        if near.sum() > 0.35 * longest or abs(side - limit) < 2:
            keep &= ~near
    first = keep
    for _ in range(5):
        if keep.sum() < 16:
            return None
        design = np.stack([x[keep], y[keep], np.ones(int(keep.sum()))], axis=1)
        a, b, c = np.linalg.lstsq(design, x[keep] ** 2 + y[keep] ** 2, rcond=None)[0]
        radius = math.sqrt(max(1e-6, c + (a / 2) ** 2 + (b / 2) ** 2))
        off = np.abs(np.hypot(x - a / 2, y - b / 2) / radius - 1)
        keep = first & (off < 0.02)
    turns = np.arctan2(y[keep] - b / 2, x[keep] - a / 2)
    arc = len(np.unique(np.floor(turns / (math.pi / 36))))  # steps of 5 degrees
    sound = keep.sum() > 0.7 * first.sum() and arc >= 10 and 0.45 * longest < radius < 1.2 * longest
    return (a / 2, b / 2, radius) if sound else None


def _brightest(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The highest of the three colors; NumPy's max over an axis of three is ten times slower."""
    return np.maximum(np.maximum(pixels[..., 0], pixels[..., 1]), pixels[..., 2])


def _has_white_corners(pixels: NDArray[np.uint8]) -> bool:
    """Tell whether most corners of the picture are white."""
    corners = pixels[[2, 2, -3, -3], [2, -3, 2, -3]]
    return int((corners.min(axis=1) >= 245).sum()) >= 3


def _working_copy(
    pixels: NDArray[np.uint8], field: Field | None
) -> tuple[NDArray[np.uint8], NDArray[np.float32], NDArray[np.bool_]]:
    """Cut out the field's box and shrink it; also its green channel, unrounded, and where the circle is."""
    height, width = pixels.shape[:2]
    box = (field.left, field.top, field.right, field.bottom) if field else (0, 0, width, height)
    diameter = 2 * field.radius_px if field else min(width, height)
    scale = min(1.0, WORK_PX / diameter)
    size = max(8, round((box[2] - box[0]) * scale)), max(8, round((box[3] - box[1]) * scale))
    part = pixels[box[1] : box[3], box[0] : box[2]]
    step = max(1, int(diameter / (4 * WORK_PX)))  # of a very large photograph, every second or third pixel will do
    small = _shrunk(part[::step, ::step, 1].astype(np.float32), size)
    step = max(1, int(diameter / WORK_PX))
    colors = _shrunk(part[step // 2 :: step, step // 2 :: step], size)
    circle = np.ones(small.shape, np.bool_)
    if field:
        y, x = np.mgrid[: size[1], : size[0]]
        center_x, center_y = (field.center_x_px - box[0]) * scale, (field.center_y_px - box[1]) * scale
        half_x, half_y = _half_axes(field, width, height)
        across, down = (x + 0.5 - center_x) / (half_x * scale), (y + 0.5 - center_y) / (half_y * scale)
        circle = across**2 + down**2 < 0.97**2
        if circle.sum() < 64:
            circle = np.ones(small.shape, np.bool_)
    return colors, small, circle


def _half_axes(field: Field, width: int, height: int) -> tuple[float, float]:
    """Half-axes of the field: unlike in a squeezed photograph, whose box shows it where the frame is wider."""
    half_x = field.center_x_px - field.left if field.left > 0 else field.right - field.center_x_px
    half_y = field.center_y_px - field.top if field.top > 0 else field.bottom - field.center_y_px
    free_x, free_y = field.left > 0 or field.right < width, field.top > 0 or field.bottom < height
    least, most = 0.6 * field.radius_px, field.radius_px
    return (min(most, max(least, half_x)) if free_x else most), (min(most, max(least, half_y)) if free_y else most)


def _shrunk(part: NDArray[Any], size: tuple[int, int]) -> NDArray[Any]:
    """The mean of all pixels that fall into each pixel of the small copy."""
    return np.asarray(Image.fromarray(np.ascontiguousarray(part)).resize(size, Image.Resampling.BOX))


def _detail(green: NDArray[np.float32], seen: NDArray[np.bool_], inner: NDArray[np.bool_]) -> tuple[float, float]:
    """Contrast of coarse structure, and the logarithm of fine over coarse; the surround is filled in first."""
    weight = seen.astype(np.float32)
    spread = ndimage.uniform_filter(weight, 31)
    filling = ndimage.uniform_filter(green * weight, 31) / np.maximum(spread, 1e-3)
    filling = np.where(spread > 0.02, filling, float(green[inner].mean()))
    filled = np.where(seen, green, filling)
    first, second = (ndimage.gaussian_filter(filled, scale, truncate=3) for scale in _FINE_PX)
    diagonal = (filled[1:, 1:] - filled[1:, :-1] - filled[:-1, 1:] + filled[:-1, :-1]) / 2
    noise = (diagonal**2)[inner[1:, 1:]]
    variance = float(np.mean(np.minimum(noise, 9 * np.median(noise) + 0.1))) if noise.size else 0.0
    # The coarse band at half the size: a quarter of the work, and nothing that fine is left in it.
    half, inner_half = second[::2, ::2], inner[::2, ::2]
    third, fourth = (ndimage.gaussian_filter(half, scale, truncate=3) for scale in _COARSE_PX)
    base = ndimage.uniform_filter(fourth, 19) + _OFFSET  # as wide as a Gaussian of 11 px of the copy
    weber = float(np.mean(base[inner_half] ** -2.0))
    fine = float(np.mean(((first - second)[::2, ::2] / base)[inner_half] ** 2)) - _NOISE_PASSED[0] * variance * weber
    coarse = float(np.mean(((third - fourth) / base)[inner_half] ** 2)) - _NOISE_PASSED[1] * variance * weber
    contrast = math.sqrt(max(coarse, 1e-10))
    return contrast, 0.5 * math.log(max(fine, 1e-7) / max(coarse, 1e-7))


def _reach(seen: NDArray[np.bool_], field: Field, image: tuple[int, ...]) -> float:
    """How far from the center something is seen, in the direction where it is least; 1 is to the rim."""
    scale = min(1.0, WORK_PX / (2 * field.radius_px))
    y, x = np.nonzero(seen[::2, ::2])
    y, x = 2 * y + 1, 2 * x + 1
    if len(x) < 64:
        return 0.0
    half_x, half_y = _half_axes(field, image[1], image[0])
    across = (x - (field.center_x_px - field.left) * scale) / (half_x * scale)
    down = (y - (field.center_y_px - field.top) * scale) / (half_y * scale)
    turns = np.arange(_DIRECTIONS) * (2 * math.pi / _DIRECTIONS)
    along = np.cos(turns)[:, None] * across + np.sin(turns)[:, None] * down  # (directions, pixels)
    rank = round(0.995 * (len(x) - 1))  # a few hot pixels in the surround are not the rim
    return float(min(1.0, np.partition(along, rank, axis=1)[:, rank].min() / 0.96))


def _reach_in_frame(seen: NDArray[np.bool_]) -> float:
    """The same for a picture cut within its field: how far from the middle of the frame something is seen."""
    rows, columns = np.flatnonzero(seen.mean(axis=1) > 0.1), np.flatnonzero(seen.mean(axis=0) > 0.1)
    if len(rows) == 0 or len(columns) == 0:
        return 0.0
    height, width = seen.shape
    across = min(1 - 2 * columns[0] / width, 2 * (columns[-1] + 1) / width - 1)
    down = min(1 - 2 * rows[0] / height, 2 * (rows[-1] + 1) / height - 1)
    return float(min(across, down))
