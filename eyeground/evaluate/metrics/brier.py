"""Brier score."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from eyeground.evaluate.confusion import share


def value(truth: NDArray[np.int64], scores: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean squared distance between the scores and the one-hot truth, summed over classes: 0 is best, 2 is worst.

    Args:
        truth: Index of the true class, shape (N,), each in 0..K-1.
        scores: Probabilities, shape (N, K), rows add up to 1.
        weights: How often each row counts, shape (B, N), not negative: ones for the data itself, or bootstrap draws.

    Returns:
        Shape (B,); NaN where no row counts. With two classes it is twice the one-column form.

    Example:
        >>> p = np.array([0.1, 0.4, 0.35, 0.8])
        >>> value(np.array([0, 0, 1, 1]), np.stack([1 - p, p], axis=1), np.ones((1, 4))).round(4)
        array([0.3163])

    References:
        Brier, "Verification of forecasts expressed in terms of probability", Monthly Weather Review 1950;78:1.
    """
    distance = ((scores - (truth[:, None] == np.arange(scores.shape[1]))) ** 2).sum(axis=1)
    return share(weights @ distance, weights.sum(axis=1))


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
