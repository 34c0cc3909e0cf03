"""Weighted F1."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from eyeground.evaluate.confusion import confusion, f1, share


def value(truth: NDArray[np.int64], scores: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean of the F1 values of the classes, each counting as often as the class occurs.

    Args:
        truth: Index of the true class, shape (N,), each in 0..K-1.
        scores: Probabilities, shape (N, K), rows add up to 1.
        weights: How often each row counts, shape (B, N), not negative: ones for the data itself, or bootstrap draws.

    Returns:
        Shape (B,); NaN where no row counts. A class without rows counts nothing, so it cannot make the value undefined.

    Example:
        >>> p = np.array([0.1, 0.4, 0.35, 0.8])
        >>> value(np.array([0, 0, 1, 1]), np.stack([1 - p, p], axis=1), np.ones((1, 4))).round(4)
        array([0.7333])

    References:
        van Rijsbergen, Information Retrieval, 2nd edition, 1979, chapter 7.
    """
    return from_counts(confusion(truth, scores, weights))


def from_counts(matrices: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean F1 of the classes by size, where the confusion matrices are there already.

    Args:
        matrices: Confusion matrices, shape (B, K, K): [b, true class, predicted class].

    Returns:
        Shape (B,); NaN where no row counts.

    Example:
        >>> from_counts(np.array([[[2.0, 0.0], [1.0, 1.0]]])).round(4)
        array([0.7333])

    References:
        van Rijsbergen, Information Retrieval, 2nd edition, 1979, chapter 7.
    """
    return share((np.nan_to_num(f1(matrices)) * matrices.sum(axis=2)).sum(axis=1), matrices.sum(axis=(1, 2)))


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
