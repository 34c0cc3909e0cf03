"""The two brushes every phantom is painted with: smooth noise and soft spots."""

import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def smooth_noise(rng: np.random.Generator, shape: tuple[int, int], cells: tuple[float, float]) -> NDArray[np.float32]:
    """Draw a smooth random field with a chosen grain.

    Random numbers on a coarse grid are enlarged bicubically: about ten times faster than blurring white noise.

    Args:
        rng: Source of the random numbers.
        shape: Rows and columns of the answer. Unit: pixels.
        cells: Grain: how many independent values fit down and across the picture, each >= 1;
            at most one a pixel is used.

    Returns:
        Field of shape ``shape``, float32, mean about 0, standard deviation about 1.

    Example:
        >>> smooth_noise(np.random.default_rng(0), (20, 30), (4, 4)).shape
        (20, 30)

    References:
        Our own (value noise).
    """
    cells = (min(cells[0], shape[0]), min(cells[1], shape[1]))  # finer than a pixel would average itself away
    rows, columns = (max(4, math.ceil(cell) + 3) for cell in cells)
    grid = rng.standard_normal((rows, columns), dtype=np.float32)
    # One cell is cut off at every side, where bicubic enlargement flattens.
    box = (1.0, 1.0, 1.0 + min(cells[1], columns - 2), 1.0 + min(cells[0], rows - 2))
    big = Image.fromarray(grid).resize((shape[1], shape[0]), Image.Resampling.BICUBIC, box=box)
    # Interpolation averages neighbors, which takes about a fifth off the spread.
    return np.asarray(big, dtype=np.float32) * np.float32(1.25)


def stamp(
    canvas: NDArray[np.float32],
    at: tuple[float, float],
    radius_px: float,
    *,
    aspect: float = 1.0,
    angle: float = 0.0,
    edge: float = 0.3,
    strength: float = 1.0,
    wobble: tuple[tuple[float, float], ...] = (),
) -> None:
    """Press one soft, slightly irregular spot into a layer; where spots overlap the stronger one stays.

    Args:
        canvas: Layer, shape (H, W), changed in place.
        at: Center (x, y). Unit: pixels; may lie outside.
        radius_px: Half of the longer axis. Unit: pixels, > 0.
        aspect: Shorter axis over the longer one, (0, 1].
        angle: Direction of the longer axis. Unit: radians, from x toward y.
        edge: Width of the soft border over the radius; never less than about one pixel is used.
        strength: Value at the center.
        wobble: Amplitude (over the radius) and phase (radians) of each outline harmonic, from the second up.

    Example:
        >>> layer = np.zeros((9, 9), np.float32)
        >>> stamp(layer, (4, 4), 2.5)
        >>> float(layer[4, 4]), float(layer[0, 0])
        (1.0, 0.0)

    References:
        Our own.
    """
    height, width = canvas.shape
    reach = radius_px * (1.0 + edge + sum(abs(amplitude) for amplitude, _ in wobble)) + 2.0
    left, right = max(0, int(at[0] - reach)), min(width, int(at[0] + reach) + 2)
    top, bottom = max(0, int(at[1] - reach)), min(height, int(at[1] + reach) + 2)
    if left >= right or top >= bottom:
        return
    x = np.arange(left, right, dtype=np.float32)[None, :] - np.float32(at[0])
    y = np.arange(top, bottom, dtype=np.float32)[:, None] - np.float32(at[1])
    cos, sin = np.float32(math.cos(angle)), np.float32(math.sin(angle))
    along, across = x * cos + y * sin, (y * cos - x * sin) / np.float32(aspect)
    distance = np.hypot(along, across) / np.float32(radius_px)
    if wobble:
        turn = np.arctan2(across, along)
        outline = np.ones_like(distance)
        for order, (amplitude, phase) in enumerate(wobble, start=2):
            outline += np.float32(amplitude) * np.cos(np.float32(order) * turn + np.float32(phase))
        distance /= np.maximum(outline, np.float32(0.2))
    border = np.float32(max(edge, 1.0 / (radius_px * aspect)))
    spot = np.clip((1.0 - distance) / border + 0.5, 0.0, 1.0).astype(np.float32) * np.float32(strength)
    patch = canvas[top:bottom, left:right]
    np.maximum(patch, spot, out=patch)
