"""Sums of weights by place: what metrics of many resamples are made of."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def sums(
    weights: NDArray[np.float64],
    place: NDArray[np.int64],
    *,
    places: int,
    values: NDArray[np.float64] | None = None,
) -> NDArray[np.float64]:
    """Add up the weights of the rows that lie in each place, once per resample.

    Args:
        weights: How often each row counts, shape (B, N).
        place: Place of each row, shape (N,), each in 0..P-1.
        places: Number of places P.
        values: What each row brings for each time that it counts, shape (N,); None = 1.

    Returns:
        Shape (B, P).

    Example:
        >>> sums(np.array([[1.0, 2.0, 0.0]]), np.array([1, 1, 0]), places=2).tolist()
        [[0.0, 3.0]]

    References:
        Our own.
    """
    rows = np.arange(len(place))
    return np.ascontiguousarray((adder(place, rows, shape=(places, len(place)), values=values) @ weights.T).T)


def adder(
    place: NDArray[np.int64],
    row: NDArray[np.int64],
    *,
    shape: tuple[int, int],
    values: NDArray[np.float64] | None = None,
) -> Any:
    """Make the matrix that adds up rows by place; a row may lie in several.

    A sparse product takes a row of weights at a time, as they lie in memory, and asks for no thread: a dense one with a
    table of zeros and ones has several threads wait for each other, on busy cores for longer than they compute.

    Args:
        place: Place of each entry, shape (E,).
        row: Its row, shape (E,).
        shape: Number of places and of rows.
        values: What it brings, shape (E,); None = 1.

    Returns:
        A sparse matrix of that shape.

    Example:
        >>> (adder(np.array([0, 0]), np.array([0, 2]), shape=(1, 3)) @ np.array([[1.0], [2.0], [4.0]])).tolist()
        [[5.0]]

    References:
        Our own.
    """
    from scipy.sparse import csr_array

    return csr_array((np.ones(len(row)) if values is None else values, (place, row)), shape=shape)
