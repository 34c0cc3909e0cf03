"""Log loss."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from eyeground.evaluate.confusion import share


def value(truth: NDArray[np.int64], scores: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean negative logarithm of the true class's score (cross-entropy). Unit: nat.

    Args:
        truth: Index of the true class, shape (N,), each in 0..K-1.
        scores: Probabilities, shape (N, K), rows add up to 1.
        weights: How often each row counts, shape (B, N), not negative: ones for the data itself, or bootstrap draws.

    Returns:
        Shape (B,); NaN where no row counts.

    Example:
        >>> p = np.array([0.1, 0.4, 0.35, 0.8])
        >>> value(np.array([0, 0, 1, 1]), np.stack([1 - p, p], axis=1), np.ones((1, 4))).round(4)
        array([0.4723])

    References:
        Good, "Rational decisions", J R Stat Soc B 1952;14:107.
    """
    # A score of 0 for the truth would be infinitely bad; the smallest step of float64 stands in for it.
    surprise = -np.log(np.maximum(scores[np.arange(len(truth)), truth], np.finfo(np.float64).eps))
    return share(weights @ surprise, weights.sum(axis=1))


def reason(truth: NDArray[np.int64], scores: NDArray[np.float64], classes: Sequence[str] = ()) -> str | None:
    """Say why the value on the data itself is undefined.

    Args:
        truth: Index of the true class, shape (N,), each in 0..K-1.
        scores: Probabilities, shape (N, K).
        classes: Names of the classes for the sentence; without them the index is named.

    Returns:
        A sentence, or None when the value is defined.

    Example:
        >>> reason(np.zeros(0, np.int64), np.zeros((0, 2)))
        'there is no row'

    References:
        Our own.
    """
    return None if len(truth) else "there is no row"
