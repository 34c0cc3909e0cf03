"""Hamming loss."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from eyeground.evaluate.confusion import share


def value(truth: NDArray[np.int64], scores: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Share of wrong entries when truth and prediction are written as one-hot rows: 2 / K of the error rate.

    Args:
        truth: Index of the true class, shape (N,), each in 0..K-1.
        scores: Probabilities, shape (N, K), rows add up to 1.
        weights: How often each row counts, shape (B, N), not negative: ones for the data itself, or bootstrap draws.

    Returns:
        Shape (B,); NaN where no row counts.

    Example:
        >>> p = np.array([0.1, 0.4, 0.35, 0.8])
        >>> value(np.array([0, 0, 1, 1]), np.stack([1 - p, p], axis=1), np.ones((1, 4))).round(4)
        array([0.25])

    References:
        Tsoumakas & Katakis, "Multi-label classification: an overview", Int J Data Warehousing 2007;3:1.
    """
    wrong = (scores.argmax(axis=1) != truth).astype(np.float64)
    return share(weights @ wrong * 2 / scores.shape[1], weights.sum(axis=1))


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
