"""Macro recall."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from eyeground.evaluate.averaging import absent, macro
from eyeground.evaluate.confusion import confusion, sensitivity


def per_class(
    truth: NDArray[np.int64], scores: NDArray[np.float64], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Recall of each class: the share that is found.

    Args:
        truth: Index of the true class, shape (N,), each in 0..K-1.
        scores: Probabilities, shape (N, K), rows add up to 1.
        weights: How often each row counts, shape (B, N), not negative: ones for the data itself, or bootstrap draws.

    Returns:
        Shape (B, K); NaN where the class is absent.

    Example:
        >>> p = np.array([0.1, 0.4, 0.35, 0.8])
        >>> per_class(np.array([0, 0, 1, 1]), np.stack([1 - p, p], axis=1), np.ones((1, 4))).round(4)
        array([[1. , 0.5]])

    References:
        Altman & Bland, "Diagnostic tests 1", BMJ 1994;308:1552.
    """
    return from_counts(confusion(truth, scores, weights))


def from_counts(matrices: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sensitivity of each class, where the confusion matrices are there already.

    Args:
        matrices: Confusion matrices, shape (B, K, K): [b, true class, predicted class].

    Returns:
        Shape (B, K); NaN where the class is absent.

    Example:
        >>> from_counts(np.array([[[2.0, 0.0], [1.0, 1.0]]])).round(4)
        array([[1. , 0.5]])

    References:
        Altman & Bland, "Diagnostic tests 1", BMJ 1994;308:1552.
    """
    return sensitivity(matrices)


def value(truth: NDArray[np.int64], scores: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Macro recall: the mean over classes, each counting the same.

    Args:
        truth: Index of the true class, shape (N,), each in 0..K-1.
        scores: Probabilities, shape (N, K), rows add up to 1.
        weights: How often each row counts, shape (B, N), not negative: ones for the data itself, or bootstrap draws.

    Returns:
        Shape (B,); NaN if a class has no row. A class that only a resample leaves out is left out of that
        resample's mean.

    Example:
        >>> p = np.array([0.1, 0.4, 0.35, 0.8])
        >>> value(np.array([0, 0, 1, 1]), np.stack([1 - p, p], axis=1), np.ones((1, 4))).round(4)
        array([0.75])

    References:
        Altman & Bland, "Diagnostic tests 1", BMJ 1994;308:1552.
    """
    whole = per_class(truth, scores, np.ones((1, len(truth))))[0]
    return macro(per_class(truth, scores, weights), np.isfinite(whole))


def reason(truth: NDArray[np.int64], scores: NDArray[np.float64], classes: Sequence[str] = ()) -> str | None:
    """Say why the value on the data itself is undefined.

    Args:
        truth: Index of the true class, shape (N,), each in 0..K-1.
        scores: Probabilities, shape (N, K).
        classes: Names of the classes for the sentence; without them the index is named.

    Returns:
        A sentence, or None when the value is defined.

    Example:
        >>> reason(np.array([0, 0]), np.array([[0.9, 0.1], [0.8, 0.2]]), ("normal", "cataract"))
        "class 'cataract' is absent"

    References:
        Our own.
    """
    return absent(truth, scores.shape[1], classes)
