"""One decoded retinal image and what is known about it."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Eye = Literal["OD", "OS", ""]
Modality = Literal["fundus", "oct", "anterior", ""]
Line = tuple[tuple[float, float], tuple[float, float]]  # where a B-scan begins and ends on the fundus: (x, y), mm


@dataclass(frozen=True, eq=False)
class RetinalImage:
    """Clean pixels with their provenance.

    Args:
        pixels: Colors, shape (H, W, 3), uint8, RGB order.
        source: Where it came from, for messages: a path below the data folder, never a patient's name.
        eye: ``"OD"`` (right), ``"OS"`` (left), or ``""`` when not known.
        modality: ``"fundus"``, ``"oct"`` (one B-scan), ``"anterior"`` (anterior segment), or ``""`` when not known.
        mm_per_px: Size of a pixel (vertical, horizontal). Unit: mm. None when not known.
        slice: Which B-scan of its volume, from 0; 0 for a photograph.
        slices: How many B-scans its volume has; 1 for a photograph.
        line_mm: Where the B-scan begins and ends on the fundus, (x, y) each. Unit: mm. None when not known.
        shrunk: How many times smaller than in the file it was decoded: 1, 2 or 4. A pixel is then the mean of as many
            squared; those of the last row and column may reach beyond the picture.
        full_size: Height and width of the picture in the file, where that is not the size of ``pixels``. Unit: px.

    Raises:
        ValueError: If the pixels are not (H, W, 3) uint8, or not the full size divided.

    Example:
        >>> RetinalImage(np.zeros((4, 6, 3), np.uint8), "a.png").pixels.shape
        (4, 6, 3)

    References:
        Our own.
    """

    pixels: NDArray[np.uint8]
    source: str
    eye: Eye = ""
    modality: Modality = ""
    mm_per_px: tuple[float, float] | None = None
    slice: int = 0
    slices: int = 1
    line_mm: Line | None = None
    shrunk: int = 1
    full_size: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        if self.pixels.ndim != 3 or self.pixels.shape[2] != 3 or self.pixels.dtype != np.uint8:
            raise ValueError(
                f"{self.source}: pixels must be (H, W, 3) uint8, got {self.pixels.shape} {self.pixels.dtype}"
            )
        if self.pixels.shape[:2] != tuple(-(-side // self.shrunk) for side in self.size):
            raise ValueError(
                f"{self.source}: pixels of shape {self.pixels.shape} are not {self.size} divided by {self.shrunk}"
            )

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the picture in the file. Unit: px."""
        return self.full_size or (self.pixels.shape[0], self.pixels.shape[1])
