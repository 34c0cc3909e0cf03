"""The retina's bright layer in a B-scan, followed from column to column."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

_SLOPE_PX = 3  # rows the layer may climb from one column to the next; the copy looked at is about 128 px wide


def trace_layer(gray: NDArray[np.float32]) -> NDArray[np.int64]:
    """Follow the brightest path from the left border to the right one that nowhere climbs steeply.

    Args:
        gray: Gray levels, shape (H, W), best smoothed and not much wider than 128.

    Returns:
        Row of the path in each column, shape (W,).

    Example:
        >>> rows = np.zeros((40, 60), np.float32)
        >>> rows[17] = 9
        >>> set(trace_layer(rows).tolist())
        {17}

    References:
        Chiu et al., "Automatic segmentation of seven retinal layers in SDOCT images", Opt Express 2010;18:19413, who
        find layers as shortest paths; ours is one path, by dynamic programming.
    """
    height, width = gray.shape
    best = gray[:, 0].astype(np.float64)
    came = np.zeros((width, height), np.int64)
    offsets = np.arange(-_SLOPE_PX, _SLOPE_PX + 1)
    rows = np.arange(height)
    for column in range(1, width):
        padded = np.pad(best, _SLOPE_PX, constant_values=-1e18)
        choices = np.lib.stride_tricks.sliding_window_view(padded, 2 * _SLOPE_PX + 1)  # (H, steps)
        choice = choices.argmax(axis=1)
        came[column] = rows + offsets[choice]
        best = choices[rows, choice] + gray[:, column]
    path = np.empty(width, np.int64)
    path[-1] = int(best.argmax())
    for column in range(width - 1, 0, -1):
        path[column - 1] = came[column, path[column]]
    return path


def layering(gray: NDArray[np.float32]) -> dict[str, float]:
    """Measure how far a picture is made of layers that run across it.

    Args:
        gray: Gray levels, shape (H, W), not much wider than 128.

    Returns:
        ``along``: brightness along the path over that of each column's brightest place, both above the background;
        about 1 where one layer outshines all else. ``alike``: with all columns shifted so that the path is straight,
        the share of the picture's variance that one mean column explains, 0 to 1.

    Example:
        >>> rows = np.zeros((40, 60), np.float32)
        >>> rows[15:20] = 9
        >>> measures = layering(rows)
        >>> round(measures["along"], 2), measures["alike"] > 0.9
        (1.0, True)

    References:
        Our own.
    """
    smooth = ndimage.gaussian_filter(gray, (1.0, 1.5), truncate=3)
    path = trace_layer(smooth)
    columns = np.arange(gray.shape[1])
    level = float(np.percentile(smooth, 20))
    tops = smooth.max(axis=0) - level
    along = float((smooth[path, columns] - level).sum() / max(1.0, float(tops.sum())))
    # Columns straightened along the path, (rows around it, W); NaN outside the picture.
    reach = max(4, round(0.45 * gray.shape[0]))
    rows = path[None, :] + np.arange(-reach, reach + 1)[:, None]
    inside = (rows >= 0) & (rows < gray.shape[0])
    straight = np.where(inside, smooth[np.clip(rows, 0, gray.shape[0] - 1), columns[None, :]], np.nan)
    seen = inside.sum(axis=1) > 0.3 * gray.shape[1]
    straight = straight[seen]
    mean = np.nanmean(straight, axis=1, keepdims=True)
    total = float(np.nanmean((straight - np.nanmean(straight)) ** 2))
    rest = float(np.nanmean((straight - mean) ** 2))
    return {"along": along, "alike": 1 - rest / total if total > 1e-6 else 0.0}
