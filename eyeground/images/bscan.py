"""What can be measured in an OCT B-scan before anyone looks at it: light, signal, focus, where the retina is."""

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

WORK_PX: Final = 256  # width of the copy measured


def measure_scan(pixels: NDArray[np.uint8]) -> dict[str, float]:
    """Measure light, signal, focus and completeness of a B-scan.

    Measured on a copy ``WORK_PX`` wide without a white border. The retina is looked for in each column as what is
    brightest when speckle is smoothed away; a column shows it whole if it stands out, does not begin at the upper
    border and does not lie on the lower one.

    Args:
        pixels: B-scan, shape (H, W, 3), uint8, each side at least 16 px.

    Returns:
        ``light``: gray level of the brightest layer, median over the columns, 0 to 255. ``clipped``: share of the scan
        that is all but white. ``signal``: how far the brightest layer stands out of the background, over its own
        level, 0 to 1. ``sharpness``: steepest step from row to row, noise taken off, over the height of the layer
        above the background; a sharp scan has 0.2 or more, a blurred one 0.1 or less. ``standing``: share of the
        columns in which a layer stands out. ``columns``: share of those that show the retina whole. ``run_begin``,
        ``run_end``: where the longest run of such columns lies, over the width. ``joined``: share of neighboring
        columns in which the layer goes on at nearly the same depth. ``thickness``: how much of a column is brighter
        than a third of the way to its brightest layer, median, 0 to 1. ``rough``: mean step from column to column over
        ``light``.

    Example:
        >>> rows = np.full((100, 256), 20.0)
        >>> rows[50:60] = 200
        >>> measures = measure_scan(np.repeat(rows[:, :, None], 3, axis=2).astype(np.uint8))
        >>> measures["columns"], measures["joined"], measures["sharpness"] > 0.2
        (1.0, 1.0, True)

    References:
        Our own.
    """
    inner = without_border(pixels)
    gray = _working_copy(inner)
    height, width = gray.shape
    fine = ndimage.gaussian_filter(gray, (0.7, 2.5), truncate=3)
    smooth = ndimage.gaussian_filter(fine, (1.5, 3.0), truncate=3)
    filled = ndimage.uniform_filter(gray, 7) < 1.5  # where the scanner has put nothing at all
    real = ~filled if (~filled).sum() > 64 else np.ones_like(filled)
    level = float(np.percentile(smooth[real], 10))
    spread = float(np.percentile(smooth[real], 99)) - level
    quiet = real & (smooth <= np.percentile(smooth[real], 40))
    grain = float(np.std(smooth[quiet]))
    peak_row, peak = smooth.argmax(axis=0), smooth.max(axis=0)
    stands = peak - level > max(3.0, 0.4 * spread, 4 * grain)
    first = max(1, round(0.012 * height))
    begins = smooth[:first].mean(axis=0) - level > 0.35 * (peak - level)
    whole = stands & ~begins & (peak_row > 0.03 * height) & (peak_row < 0.97 * height)
    jumps = np.abs(np.diff(peak_row))
    joined = float(np.mean((jumps <= max(2, 0.02 * height))[stands[1:] & stands[:-1]])) if stands.sum() > 8 else 0.0
    begin, end = _longest_run(whole)
    used = peak[stands] if stands.sum() > 8 else peak
    light = float(np.median(used))
    return {
        "light": light,
        "clipped": float(np.mean(inner[::2, ::2, 1] >= 250)),
        "signal": max(0.0, light - level) / (light + 1.0),
        "sharpness": _steepness(fine, quiet, whole if whole.sum() > 8 else stands, light - level),
        "standing": float(np.mean(stands)),
        "columns": float(np.mean(whole)),
        "run_begin": begin / width,
        "run_end": end / width,
        "joined": joined,
        "thickness": _thickness(fine, level, peak),
        "rough": float(np.mean(np.abs(np.diff(gray, axis=1)))) / max(1.0, light),
    }


def without_border(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Cut off a white border, as some exports have it.

    Args:
        pixels: Picture, shape (H, W, 3), uint8.

    Returns:
        The picture without it; the same array if there is none, or nothing would be left.

    Example:
        >>> framed = np.full((60, 60, 3), 255, np.uint8)
        >>> framed[10:50, 5:55] = 30
        >>> without_border(framed).shape
        (40, 50, 3)

    References:
        Our own.
    """
    if max(int(pixels[0, :, 1].min()), int(pixels[:, 0, 1].min()), int(pixels[-1, :, 1].min())) < 200:
        return pixels
    dark = pixels[:, :, 1] < 235
    rows = np.flatnonzero(dark[:, ::4].mean(axis=1) > 0.2)
    columns = np.flatnonzero(dark[::4].mean(axis=0) > 0.2)
    if len(rows) < 16 or len(columns) < 16:
        return pixels
    return pixels[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def _working_copy(inner: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The green channel, shrunk; without the outermost pixels, where some exports draw a thin line."""
    height, width = inner.shape[:2]
    trim_y, trim_x = min(4, round(0.015 * height)), min(4, round(0.015 * width))
    inner = inner[trim_y : height - trim_y, trim_x : width - trim_x]
    scale = min(1.0, WORK_PX / inner.shape[1])
    size = max(8, round(inner.shape[1] * scale)), max(8, round(inner.shape[0] * scale))
    step = max(1, int(1 / (4 * scale)))
    green = Image.fromarray(np.ascontiguousarray(inner[::step, ::step, 1]).astype(np.float32))
    return np.asarray(green.resize(size, Image.Resampling.BOX))


def _steepness(fine: NDArray[np.float32], quiet: NDArray[np.bool_], stands: NDArray[np.bool_], height: float) -> float:
    """Steepest step between rows, over the layer's height; what noise alone gives is taken off."""
    steps = np.abs(np.diff(fine, axis=0))
    still = steps[quiet[1:] & quiet[:-1]]
    noise = 3 * float(np.sqrt(np.mean(np.minimum(still, np.percentile(still, 98)) ** 2))) if still.size > 64 else 0.0
    tops = steps.max(axis=0)[stands] if stands.sum() > 8 else steps.max(axis=0)
    top = float(np.median(tops))
    return math.sqrt(max(0.0, top**2 - noise**2)) / max(1.0, height)


def _thickness(fine: NDArray[np.float32], level: float, peak: NDArray[np.float32]) -> float:
    """Share of a column that is clearly brighter than the background, median over the columns."""
    return float(np.median(np.mean(fine > level + (peak - level) / 3, axis=0)))


def _longest_run(flags: NDArray[np.bool_]) -> tuple[int, int]:
    """Begin and end of the longest run of True, gaps of up to four bridged; (0, 0) if there is none."""
    bridged = ndimage.binary_closing(np.pad(flags, 4), np.ones(5, np.bool_))[4:-4] | flags
    parts, count = ndimage.label(bridged)
    if count == 0:
        return 0, 0
    longest = int(np.bincount(parts)[1:].argmax()) + 1
    places = np.flatnonzero(parts == longest)
    return int(places[0]), int(places[-1]) + 1
