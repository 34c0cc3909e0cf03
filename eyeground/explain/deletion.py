"""Deletion and insertion curves: how an answer goes as what a map points at is blurred, and comes as it is shown."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from eyeground.data.preprocessing import Pixels

Score = Callable[[NDArray[np.uint8]], NDArray[np.float64]]  # squares (M, H, W, 3) to scores of the answer (M,)

_BLUR: Final = 10  # the baseline's sigma is this part of the side: colors stay, vessels and lesions go
_CELLS: Final = 14  # a random order goes cell by cell


@dataclass(frozen=True, eq=False)
class Curves:
    """How an answer goes and comes with the pixels that a map points at.

    Args:
        fractions: Share of the pixels that were exchanged, from 0 to 1, shape (steps + 1,).
        deletion: Score with the highest pixels blurred first, shape (steps + 1,). Lower is better.
        insertion: Score of the blurred image with the highest pixels shown first. Higher is better.

    Example:
        >>> Curves(np.array([0.0, 1.0]), np.array([1.0, 0.0]), np.array([0.0, 1.0])).deletion_auc
        0.5

    References:
        Petsiuk, Das & Saenko, "RISE: Randomized Input Sampling for Explanation of Black-box Models", BMVC 2018.
    """

    fractions: NDArray[np.float64]
    deletion: NDArray[np.float64]
    insertion: NDArray[np.float64]

    @property
    def deletion_auc(self) -> float:
        """Area under the deletion curve."""
        return float(np.trapezoid(self.deletion, self.fractions))

    @property
    def insertion_auc(self) -> float:
        """Area under the insertion curve."""
        return float(np.trapezoid(self.insertion, self.fractions))

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "fractions": self.fractions.tolist(),
            "deletion": self.deletion.tolist(),
            "insertion": self.insertion.tolist(),
            "deletion_auc": self.deletion_auc,
            "insertion_auc": self.insertion_auc,
        }


def deletion_insertion(
    score: Score, square: Pixels, heat: NDArray[np.float32], *, steps: int = 20, seed: int = 0
) -> Curves:
    """Blur an image from the highest pixel of a map on, and bring a blurred one back in the same order.

    Pixels that are alike in the map come in random order.

    Args:
        score: Gives the score of the answer for squares, shape (M, H, W, 3) to (M,); a probability, so that curves of
            several images can be averaged.
        square: What the network saw, shape (H, W, 3), uint8.
        heat: The map, shape (H, W).
        steps: In how many steps, at least 1.
        seed: Of the order among equals.

    Returns:
        Both curves.

    Raises:
        ValueError: If picture and map differ in shape, or there is no step.

    Example:
        >>> square = np.zeros((32, 32, 3), np.uint8)
        >>> square[8:16, 8:16] = 255
        >>> heat = square[..., 0].astype(np.float32)
        >>> found = deletion_insertion(lambda s: s[:, 8:16, 8:16].mean(axis=(1, 2, 3)) / 255, square, heat, steps=4)
        >>> found.deletion_auc < found.insertion_auc - 0.3
        True

    References:
        Petsiuk, Das & Saenko, BMVC 2018.
    """
    height, width = square.shape[:2]
    if heat.shape != (height, width) or steps < 1:
        raise ValueError(f"a map as large as its picture and a step are needed: {heat.shape}, {square.shape}, {steps}")
    tie = np.random.default_rng(seed).random(heat.size)
    order = np.lexsort((tie, -heat.ravel()))
    fractions = np.linspace(0, 1, steps + 1)
    blurred = blur(square)
    rank = np.empty(heat.size, np.int64)
    rank[order] = np.arange(heat.size)
    # (steps + 1, H, W): which pixels are among the highest at each step
    chosen = (rank[None] < (fractions * heat.size).round()[:, None]).reshape(-1, height, width)[..., None]
    deletion, insertion = (
        np.asarray(score(np.where(chosen, *pair)), np.float64) for pair in ((blurred, square), (square, blurred))
    )
    return Curves(fractions, deletion, insertion)


def random_order(side: int, *, seed: int) -> NDArray[np.float32]:
    """Give a map that says nothing, to measure curves against.

    It goes cell by cell, of 14 x 14: single pixels in random order would be salt and pepper over the whole image, which
    no map makes and which takes an answer away at once.

    Args:
        side: Of the square. Unit: px.
        seed: Draws the order.

    Returns:
        Shape (side, side).

    Example:
        >>> len(np.unique(random_order(28, seed=0)))
        196

    References:
        Our own.
    """
    cells = np.random.default_rng(seed).permutation(_CELLS**2).reshape(_CELLS, _CELLS)
    place = np.arange(side) * _CELLS // side
    return np.asarray(cells[np.ix_(place, place)], np.float32)


def blur(square: Pixels) -> Pixels:
    """Take everything but colors out of a picture.

    Args:
        square: Shape (H, W, 3), uint8.

    Returns:
        The same under a Gaussian with a sigma of a tenth of its side.

    Example:
        >>> int(blur(np.full((20, 20, 3), 77, np.uint8)).max())
        77

    References:
        Petsiuk, Das & Saenko, BMVC 2018, for the blurred canvas.
    """
    sigma = square.shape[0] / _BLUR
    soft = ndimage.gaussian_filter(square.astype(np.float32), (sigma, sigma, 0), mode="nearest")
    return np.asarray(soft.round(), np.uint8)
