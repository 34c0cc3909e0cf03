"""A heat map: where in its square a network looked, in units that mean the same for every method and image."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

NOTHING = "nothing in this image speaks for the answer, as this method sees it"


@dataclass(frozen=True, eq=False)
class HeatMap:
    """Where in its square a network looked.

    Args:
        values: How much each pixel counts, shape (H, W), float32, at least 0, over the square that the network saw.
            Unit: times the even share; 1 is as much as if all pixels counted alike. All zero where there is nothing.
        method: Name of the method, as on the shelf ``explain.methods``.
        target: Which output is explained, in words.
        note: Why the map is empty; nothing where it is not.

    Example:
        >>> HeatMap(np.ones((2, 2), np.float32), "grad_cam", "AMD: yes").peak
        (0, 0)

    References:
        Our own.
    """

    values: NDArray[np.float32]
    method: str
    target: str
    note: str = ""

    @property
    def empty(self) -> bool:
        """Whether nothing counts anywhere."""
        return not self.values.any()

    @property
    def peak(self) -> tuple[int, int] | None:
        """Row and column of the highest value, the first of several; None where the map is empty."""
        if self.empty:
            return None
        row, column = np.unravel_index(int(self.values.argmax()), self.values.shape)
        return int(row), int(column)


def heat_map(raw: NDArray[np.float32], shape: tuple[int, int], *, method: str, target: str) -> HeatMap:
    """Bring what a method gave to the square and to units.

    Negative values, which speak against the answer, are cut to 0 first: a map shows what speaks for it.

    Args:
        raw: What the method gave, shape (h, w), at any resolution and in any unit.
        shape: Height and width of the square. Unit: px.
        method: Name of the method.
        target: Which output is explained, in words.

    Returns:
        The map; of a raw map without a positive value zeros, with the reason.

    Raises:
        ValueError: If a raw value is NaN or infinite.

    Example:
        >>> made = heat_map(np.array([[0.0, 3.0], [1.0, -2.0]], np.float32), (2, 2), method="m", target="t")
        >>> made.values.tolist()
        [[0.0, 3.0], [1.0, 0.0]]

    References:
        Our own.
    """
    if not np.isfinite(raw).all():
        raise ValueError(f"{method} gave numbers that are not finite: the network's weights or the image hold such")
    cut = np.maximum(raw.astype(np.float64), 0)
    if not cut.any():
        return HeatMap(np.zeros(shape, np.float32), method, target, NOTHING)
    # By the greatest first: gradients of a sure network may be so small that their mean is none in float32.
    cut = (cut / cut.max()).astype(np.float32)
    if cut.shape != shape:
        height, width = shape
        resized = Image.fromarray(cut).resize((width, height), Image.Resampling.BILINEAR)
        cut = np.maximum(np.asarray(resized, np.float32), 0)
    return HeatMap((cut / cut.mean(dtype=np.float64)).astype(np.float32), method, target)
