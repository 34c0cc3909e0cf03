"""Matthews correlation coefficient."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from eyeground.evaluate.confusion import confusion, share
from eyeground.evaluate.wording import listed


def value(truth: NDArray[np.int64], scores: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Correlation of truth and prediction over all K classes.

    Args:
        truth: Index of the true class, shape (N,), each in 0..K-1.
        scores: Probabilities, shape (N, K), rows add up to 1.
        weights: How often each row counts, shape (B, N), not negative: ones for the data itself, or bootstrap draws.

    Returns:
        Shape (B,); NaN where truth or prediction is one class throughout.

    Example:
        >>> p = np.array([0.1, 0.4, 0.35, 0.8])
        >>> value(np.array([0, 0, 1, 1]), np.stack([1 - p, p], axis=1), np.ones((1, 4))).round(4)
        array([0.5774])

    References:
        Gorodkin, "Comparing two K-category assignments by a K-category correlation coefficient",
        Comput Biol Chem 2004;28:367.
    """
    return from_counts(confusion(truth, scores, weights))


def from_counts(matrices: NDArray[np.float64]) -> NDArray[np.float64]:
    """Correlation of truth and prediction, where the confusion matrices are there already.

    Args:
        matrices: Confusion matrices, shape (B, K, K): [b, true class, predicted class].

    Returns:
        Shape (B,); NaN where truth or prediction is one class throughout.

    Example:
        >>> from_counts(np.array([[[2.0, 0.0], [1.0, 1.0]]])).round(4)
        array([0.5774])

    References:
        Gorodkin, Comput Biol Chem 2004;28:367.
    """
    total = matrices.sum(axis=(1, 2))
    true, said = matrices.sum(axis=2), matrices.sum(axis=1)
    together = np.einsum("bkk->b", matrices) * total - (true * said).sum(axis=1)
    spread = np.sqrt((total**2 - (said**2).sum(axis=1)) * (total**2 - (true**2).sum(axis=1)))
    return share(together, spread)


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
        "every row is class 'normal': nothing varies that could correlate"

    References:
        Our own.
    """
    if not len(truth):
        return "there is no row"
    for labels, state in ((np.unique(truth), "is"), (np.unique(scores.argmax(axis=1)), "is predicted as")):
        if len(labels) == 1:
            name = classes[labels[0]] if classes else str(labels[0])
            return f"every row {state} class {listed([name])}: nothing varies that could correlate"
    return None
