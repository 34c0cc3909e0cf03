"""Who is taken for whom: weighted confusion matrices of all resamples at once."""

import numpy as np
from numpy.typing import NDArray

from eyeground.evaluate.adding import sums


def confusion(
    truth: NDArray[np.int64], scores: NDArray[np.float64], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Count rows by true and predicted class, once per row of weights.

    The predicted class is the one with the largest score; of equal scores the first class wins.

    Args:
        truth: Index of the true class, shape (N,), each in 0..K-1.
        scores: Probabilities, shape (N, K).
        weights: How often each row counts, shape (B, N), not negative.

    Returns:
        Sums of weights, shape (B, K, K): [b, true class, predicted class].

    Example:
        >>> confusion(np.array([0, 1, 1]), np.array([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8]]), np.ones((1, 3)))
        array([[[1., 0.],
                [1., 1.]]])

    References:
        Our own.
    """
    classes = scores.shape[1]
    cells = truth * classes + scores.argmax(axis=1)
    return sums(weights, cells, places=classes * classes).reshape(len(weights), classes, classes)


def sensitivity(matrices: NDArray[np.float64]) -> NDArray[np.float64]:
    """Share of each class that is found (recall).

    Args:
        matrices: Confusion matrices, shape (B, K, K).

    Returns:
        Shape (B, K); NaN where the class has no row.

    Example:
        >>> sensitivity(np.array([[[1.0, 0.0], [1.0, 1.0]]]))
        array([[1. , 0.5]])

    References:
        Altman & Bland, "Diagnostic tests 1", BMJ 1994;308:1552.
    """
    return share(np.einsum("bkk->bk", matrices), matrices.sum(axis=2))


def specificity(matrices: NDArray[np.float64]) -> NDArray[np.float64]:
    """Share of all other rows that are not taken for the class.

    Args:
        matrices: Confusion matrices, shape (B, K, K).

    Returns:
        Shape (B, K); NaN where every row is of the class.

    Example:
        >>> specificity(np.array([[[1.0, 0.0], [1.0, 1.0]]]))
        array([[0.5, 1. ]])

    References:
        Altman & Bland, "Diagnostic tests 1", BMJ 1994;308:1552.
    """
    found = np.einsum("bkk->bk", matrices)
    others = matrices.sum(axis=(1, 2))[:, None] - matrices.sum(axis=2)
    return share(others - (matrices.sum(axis=1) - found), others)


def precision(matrices: NDArray[np.float64]) -> NDArray[np.float64]:
    """Share of the rows taken for a class that are of it (positive predictive value at this prevalence).

    Args:
        matrices: Confusion matrices, shape (B, K, K).

    Returns:
        Shape (B, K); NaN where nothing is taken for the class.

    Example:
        >>> precision(np.array([[[1.0, 0.0], [1.0, 1.0]]]))
        array([[0.5, 1. ]])

    References:
        Altman & Bland, "Diagnostic tests 2: predictive values", BMJ 1994;309:102.
    """
    return share(np.einsum("bkk->bk", matrices), matrices.sum(axis=1))


def f1(matrices: NDArray[np.float64]) -> NDArray[np.float64]:
    """Harmonic mean of precision and recall of each class: 2 TP / (2 TP + FP + FN).

    Args:
        matrices: Confusion matrices, shape (B, K, K).

    Returns:
        Shape (B, K); NaN where the class has no row, since recall is undefined there.

    Example:
        >>> f1(np.array([[[1.0, 0.0], [1.0, 1.0]]])).round(4)
        array([[0.6667, 0.6667]])

    References:
        van Rijsbergen, Information Retrieval, 2nd edition, 1979, chapter 7.
    """
    truth, said = matrices.sum(axis=2), matrices.sum(axis=1)
    return np.where(truth > 0, share(2 * np.einsum("bkk->bk", matrices), truth + said), np.nan)


def jaccard(matrices: NDArray[np.float64]) -> NDArray[np.float64]:
    """Overlap of truth and prediction of each class: TP / (TP + FP + FN).

    Args:
        matrices: Confusion matrices, shape (B, K, K).

    Returns:
        Shape (B, K); NaN where the class has no row.

    Example:
        >>> jaccard(np.array([[[1.0, 0.0], [1.0, 1.0]]]))
        array([[0.5, 0.5]])

    References:
        Jaccard, "The distribution of the flora in the alpine zone", New Phytologist 1912;11:37.
    """
    found, truth = np.einsum("bkk->bk", matrices), matrices.sum(axis=2)
    return np.where(truth > 0, share(found, truth + matrices.sum(axis=1) - found), np.nan)


def share(part: NDArray[np.float64], whole: NDArray[np.float64]) -> NDArray[np.float64]:
    """Divide; nothing out of nothing is undefined.

    Args:
        part: Any shape.
        whole: Same shape, not negative.

    Returns:
        part / whole, NaN where whole is 0.

    Example:
        >>> share(np.array([1.0, 0.0]), np.array([2.0, 0.0]))
        array([0.5, nan])

    References:
        Our own.
    """
    quotient = np.full(whole.shape, np.nan)
    np.divide(part, whole, out=quotient, where=whole > 0)
    return quotient
