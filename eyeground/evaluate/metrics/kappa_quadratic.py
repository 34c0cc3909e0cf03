"""Cohen's kappa with quadratic weights."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from eyeground.evaluate.confusion import confusion, share
from eyeground.evaluate.wording import listed


def value(truth: NDArray[np.int64], scores: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Agreement beyond chance for ordered classes; a disagreement counts by the square of its distance in grades.

    Args:
        truth: Index of the true class, shape (N,), each in 0..K-1.
        scores: Probabilities, shape (N, K), rows add up to 1.
        weights: How often each row counts, shape (B, N), not negative: ones for the data itself, or bootstrap draws.

    Returns:
        Shape (B,); NaN where chance agreement is complete. Means something only for ordered classes.

    Example:
        >>> p = np.array([0.1, 0.4, 0.35, 0.8])
        >>> value(np.array([0, 0, 1, 1]), np.stack([1 - p, p], axis=1), np.ones((1, 4))).round(4)
        array([0.5])

    References:
        Cohen, "Weighted kappa", Psychol Bull 1968;70:213.
    """
    return from_counts(confusion(truth, scores, weights))


def from_counts(matrices: NDArray[np.float64]) -> NDArray[np.float64]:
    """Agreement beyond chance by distance in grades, where the confusion matrices are there already.

    Args:
        matrices: Confusion matrices, shape (B, K, K): [b, true class, predicted class].

    Returns:
        Shape (B,); NaN where chance agreement is complete.

    Example:
        >>> from_counts(np.array([[[2.0, 0.0], [1.0, 1.0]]])).round(4)
        array([0.5])

    References:
        Cohen, "Weighted kappa", Psychol Bull 1968;70:213.
    """
    grades = np.arange(matrices.shape[1])
    cost = ((grades[:, None] - grades) ** 2).astype(np.float64)
    expected = np.einsum("bi,ij,bj->b", matrices.sum(axis=2), cost, matrices.sum(axis=1))
    observed = np.einsum("bij,ij->b", matrices, cost) * matrices.sum(axis=(1, 2))
    return 1 - share(observed, expected)


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
        "every row is class 'normal' and predicted so: agreement by chance is already complete"

    References:
        Our own.
    """
    both = np.unique(np.concatenate([truth, scores.argmax(axis=1)]))
    if not len(both):
        return "there is no row"
    if len(both) > 1:
        return None
    name = classes[both[0]] if classes else str(both[0])
    return f"every row is class {listed([name])} and predicted so: agreement by chance is already complete"
