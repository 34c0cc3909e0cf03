"""Which kind of picture it is, from the pixels alone."""

import math
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from eyeground.images.bscan import measure_scan, without_border
from eyeground.images.field import Field
from eyeground.images.layer import layering
from eyeground.images.photograph import find_photograph_field
from eyeground.images.retinal_image import Modality, RetinalImage

_WORK_PX: Final = 160
_LAYER_PX: Final = 128
# The limits below lie outside what real B-scans (1,574), real photographs (2,619) and phantoms show, as they are and
# with planted faults, and keep out what tests/images/pictures.py draws.


def modality_of(image: RetinalImage) -> Modality:
    """Tell a fundus photograph, a B-scan and a photograph of the front of the eye from anything else.

    Only the pixels are looked at; what the file's header says is for the caller to compare.

    Args:
        image: Any picture, before any crop.

    Returns:
        ``"fundus"`` for a round field before a dark (or white) surround, in color or gray, or a picture cut tight that
        has nothing but a fundus' colors; ``"oct"`` for a gray picture in which a bright layer goes on from column to
        column; ``"anterior"`` for a round dark pupil in an iris, with white sclera. ``""`` for all else. The
        thresholds for ``"anterior"`` were set on drawings only: no real photographs of that kind were at hand.

    Example:
        >>> modality_of(RetinalImage(np.full((200, 200, 3), 90, np.uint8), "a.png"))
        ''

    References:
        Our own.
    """
    return modality_and_field(image.pixels)[0]


def modality_and_field(pixels: NDArray[np.uint8]) -> tuple[Modality, Field | None]:
    """Tell what a picture is, with the round field found on the way.

    Args:
        pixels: Any picture, shape (H, W, 3), uint8.

    Returns:
        What ``modality_of`` says, and the field of a fundus photograph; None where there is none.

    Example:
        >>> modality_and_field(np.full((200, 200, 3), 90, np.uint8))
        ('', None)

    References:
        Our own.
    """
    inner = without_border(pixels)
    if min(inner.shape[:2]) < 32:
        return "", None
    small = _small(inner)
    levels = small.reshape(-1, 3).astype(np.int16)
    if np.ptp(np.percentile(levels, (1, 99), axis=0), axis=0).max() < 4:
        return "", None
    gray = float(np.mean(_most(levels) - _least(levels) > 12)) < 0.02
    if not gray and _has_pupil(small):
        return "anterior", None
    field = find_photograph_field(pixels)
    if gray and _is_scan(inner, strict=field is not None):
        return "oct", None
    if field is not None and _is_dark_around(pixels, field):
        return ("fundus" if _is_retina(pixels, field, gray=gray) else ""), field
    return ("fundus" if not gray and _is_tight_fundus(small) else ""), None


def _small(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A copy of at most _WORK_PX, by box averages."""
    scale = min(1.0, _WORK_PX / max(pixels.shape[:2]))
    step = max(1, int(1 / (2 * scale)))
    size = max(8, round(pixels.shape[1] * scale)), max(8, round(pixels.shape[0] * scale))
    sampled = np.ascontiguousarray(pixels[step // 2 :: step, step // 2 :: step])
    return np.asarray(Image.fromarray(sampled).resize(size, Image.Resampling.BOX))


def _is_scan(pixels: NDArray[np.uint8], *, strict: bool) -> bool:
    """Tell whether a bright layer of some thickness goes on from column to column between darker ones."""
    green = np.ascontiguousarray(pixels[:, :, 1])
    counts = np.sort(np.bincount(green[::2, ::2].ravel(), minlength=256))
    if counts[-2:].sum() > 0.75 * counts.sum():  # a page, a plot, a pattern: two gray levels make most of it
        return False
    scan = measure_scan(pixels)
    if scan["signal"] < 0.24 or scan["joined"] < 0.87 or scan["standing"] < 0.25 or scan["rough"] < 0.0025:
        return False
    if scan["thickness"] > 0.72 or (scan["thickness"] < 0.12 and scan["columns"] > 0.7):
        return False
    whole = _layers(green, 0.0, 1.0)
    if strict:  # what also looks round must be more layered to be a scan
        return whole["along"] > 0.95 and 0.62 < whole["alike"] < 0.99
    # Where all columns agree, a second layer may outshine the first here and there.
    steady = scan["standing"] > 0.95 and scan["joined"] > 0.93
    if scan["columns"] > 0.7:
        along, alike = (0.93, 0.46) if steady and whole["along"] < 0.95 else (0.95, 0.34)
        return whole["along"] > along and alike < whole["alike"] < 0.99
    if steady and whole["along"] > 0.93 and 0.52 < whole["alike"] < 0.99:
        return True
    # Where the retina is cut off on one side, the rest is looked at.
    if scan["joined"] < 0.93 or scan["thickness"] > 0.6 or scan["run_end"] - scan["run_begin"] < 0.15:
        return False
    rest = _layers(green, scan["run_begin"], scan["run_end"])
    return rest["along"] > 0.95 and 0.6 < rest["alike"] < 0.99


def _layers(green: NDArray[np.uint8], begin: float, end: float) -> dict[str, float]:
    """How layered a range of columns is; begin and end are shares of the width."""
    part = green[:, round(begin * green.shape[1]) : round(end * green.shape[1])]
    scale = min(1.0, _LAYER_PX / green.shape[1])
    size = max(16, round(part.shape[1] * scale)), max(16, round(part.shape[0] * scale))
    shrunk = Image.fromarray(np.ascontiguousarray(part)).resize(size, Image.Resampling.BOX)
    return layering(np.asarray(shrunk).astype(np.float32))


def _is_retina(pixels: NDArray[np.uint8], field: Field, *, gray: bool) -> bool:
    """Rule out what is round but no retina: a plain disc, a detailed scene, blue things."""
    seen = _looks(pixels, field)
    # In a small picture the same vessels are steeper from pixel to pixel.
    coarse = math.sqrt(_WORK_PX / min(_WORK_PX, 2 * field.radius_px))
    if seen["spread"] < 4 or seen["rough"] > 0.3 * coarse or seen["rough_median"] > 0.055 * coarse:
        return False
    return gray or (seen["blue_red"] < 0.15 and seen["green_red"] < 0.35)


def _is_dark_around(pixels: NDArray[np.uint8], field: Field) -> bool:
    """Tell whether what lies outside the field is black, or white as some exports make it."""
    step = max(1, max(pixels.shape[:2]) // 200)
    light, least = _most(pixels[::step, ::step]), _least(pixels[::step, ::step])
    y, x = np.mgrid[: light.shape[0], : light.shape[1]] * step
    away = np.hypot((x - field.center_x_px), (y - field.center_y_px)) / field.radius_px
    # A squeezed photograph's circle is wider than its field one way; there, the box says what is outside.
    box = (x < field.left) | (x >= field.right) | (y < field.top) | (y >= field.bottom)
    outside = light[((away > 1.06) | box) & (least < 200)]
    if len(outside) < 16:
        return True
    return float(np.percentile(outside, 70)) < max(16.0, 0.3 * float(np.median(light[away < 0.9])))


def _is_tight_fundus(small: NDArray[np.uint8]) -> bool:
    """Tell a fundus photograph that is cut within its field: nothing but orange, soft, with some structure."""
    seen = _looks(small, None)
    colored = seen["ordered"] > 0.9 and -0.85 < seen["green_red"] < -0.1 and seen["blue_red"] < -0.2
    return colored and 0.01 < seen["rough"] < 0.13 and 0.003 < seen["rough_median"] < 0.035 and seen["spread"] > 30


def _has_pupil(small: NDArray[np.uint8]) -> bool:
    """Look for a round dark patch with a sharp rim, a lighter ring around it, and white on both sides beyond."""
    levels = small.astype(np.float32)
    gray = (levels[:, :, 0] + levels[:, :, 1] + levels[:, :, 2]) / 3
    height, width = gray.shape
    y, x = np.mgrid[:height, :width]
    colorless = _most(levels) - _least(levels) < 0.3 * _most(levels)
    for threshold in (35, 50, 70):
        parts, _ = ndimage.label(ndimage.binary_opening(gray < threshold))
        for number, box in enumerate(ndimage.find_objects(parts)[:40], start=1):
            tall, wide = box[0].stop - box[0].start, box[1].stop - box[1].start
            area = float(np.count_nonzero(parts[box] == number))
            if not (0.7 < tall / wide < 1.4 and area > 0.62 * tall * wide and 0.003 < area / gray.size < 0.15):
                continue
            center_y, center_x = (box[0].start + box[0].stop - 1) / 2, (box[1].start + box[1].stop - 1) / 2
            radius = math.sqrt(area / math.pi)
            away = np.hypot(x - center_x, y - center_y) / radius
            core, rim = gray[away < 0.75], gray[(away > 1.2) & (away < 1.6)]
            if len(rim) < 8 or len(core) < 4 or float(np.median(rim)) - float(np.median(core)) < 14:
                continue
            strip = (np.abs(y - center_y) < 0.8 * radius) & (away > 1.6) & (away < 6.5)
            white = colorless & (gray > float(np.median(rim)) + 35) & (gray > 110)
            sides = [white[strip & side] for side in (x < center_x, x > center_x)]
            if all(len(side) > 8 and float(side.mean()) > 0.12 for side in sides):
                return True
    return False


def _looks(pixels: NDArray[np.uint8], field: Field | None) -> Mapping[str, float]:
    """Colors and roughness of what the field (or the whole picture) shows."""
    box = (field.left, field.top, field.right, field.bottom) if field else (0, 0, pixels.shape[1], pixels.shape[0])
    small = _small(pixels[box[1] : box[3], box[0] : box[2]]).astype(np.float32)
    inside = np.ones(small.shape[:2], np.bool_)
    if field:
        y, x = np.mgrid[: small.shape[0], : small.shape[1]]
        scale = (box[2] - box[0]) / small.shape[1]
        across, down = (x + 0.5) * scale + box[0] - field.center_x_px, (y + 0.5) * scale + box[1] - field.center_y_px
        circle = np.hypot(across, down) < 0.9 * field.radius_px
        inside = circle if circle.sum() > 64 else inside
    levels = small[inside]
    light = _most(levels) + 4
    green = small[:, :, 1]
    smooth = ndimage.gaussian_filter(green, 1.0)
    steps = np.hypot(np.diff(smooth, axis=0)[:, :-1], np.diff(smooth, axis=1)[:-1])
    rough = (steps / (ndimage.uniform_filter(smooth, 15)[:-1, :-1] + 8))[inside[:-1, :-1]]
    spread = ndimage.uniform_filter(small, (5, 5, 1))[::2, ::2][inside[::2, ::2]]
    return {
        "blue_red": float(np.median((levels[:, 2] - levels[:, 0]) / light)),
        "green_red": float(np.median((levels[:, 1] - levels[:, 0]) / light)),
        "ordered": float(np.mean((levels[:, 0] >= levels[:, 1]) & (levels[:, 1] >= levels[:, 2] - 2))),
        "rough": float(np.percentile(rough, 95)),
        "rough_median": float(np.percentile(rough, 50)),
        "spread": float(np.ptp(np.percentile(spread, (2, 98), axis=0), axis=0).max()),
    }


# NumPy's max over an axis of three is ten times slower than this.
def _most(levels: NDArray[Any]) -> NDArray[Any]:
    """The highest of the three colors."""
    most: NDArray[Any] = np.maximum(np.maximum(levels[..., 0], levels[..., 1]), levels[..., 2])
    return most


def _least(levels: NDArray[Any]) -> NDArray[Any]:
    """The lowest of the three colors."""
    least: NDArray[Any] = np.minimum(np.minimum(levels[..., 0], levels[..., 1]), levels[..., 2])
    return least
