"""The metrics of RETFound's 2023 code, which the OCT study's table uses: class 0 is left out of most of them."""

import math

import numpy as np
from numpy.typing import NDArray

from eyeground.evaluate import ranking
from eyeground.evaluate.confusion import confusion

COLUMNS = ("acc", "sensitivity", "specificity", "precision", "auc_roc", "auc_pr", "f1", "mcc")


def values(truth: NDArray[np.int64], scores: NDArray[np.float64]) -> dict[str, float]:
    """Compute the metrics of RETFound's 2023 code.

    Its conventions: accuracy, sensitivity, specificity, precision, F1 and MCC are taken for each class against the
    rest and averaged over classes 1..K-1; class 0 does not count. Every true negative adds to that accuracy, so a model
    without any skill reaches 0.8 with five classes. AUROC and average precision are macro over all K classes. Anything
    undefined, such as the precision of a class that is never predicted, is NaN, as in the published table.

    Args:
        truth: Index of the true class, shape (N,), each in 0..K-1.
        scores: Probabilities, shape (N, K), K at least 2.

    Returns:
        The values of ``COLUMNS``. ``auc_roc`` picks the best epoch.

    Raises:
        ValueError: If there is no row.

    Example:
        >>> p = np.array([0.1, 0.4, 0.35, 0.8])
        >>> found = values(np.array([0, 0, 1, 1]), np.stack([1 - p, p], axis=1))
        >>> found["sensitivity"], found["specificity"], found["auc_roc"]
        (0.5, 1.0, 0.75)

    References:
        Zhou et al., "A foundation model for generalizable disease detection from retinal images", Nature 2023;622:156,
        and its published code of 2023.
    """
    if not len(truth):
        raise ValueError("metrics need at least one row")
    once = np.ones((1, len(truth)))
    found = {name: float(numbers[0]) for name, numbers in from_counts(confusion(truth, scores, once)).items()}
    found["auc_roc"] = float(ranking.auroc(truth, scores, once)[0].mean())
    found["auc_pr"] = float(ranking.average_precision(truth, scores, once)[0].mean())
    return {name: found.get(name, math.nan) for name in COLUMNS}


def from_counts(matrices: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """Compute the metrics that need only counts, with the same conventions, in all resamples at once.

    Args:
        matrices: Confusion matrices, shape (B, K, K), K at least 2.

    Returns:
        All of ``COLUMNS`` but ``auc_roc`` and ``auc_pr``, each of shape (B,); NaN where undefined.

    Example:
        >>> from_counts(np.array([[[2.0, 0.0], [1.0, 1.0]]]))["sensitivity"]
        array([0.5])

    References:
        Zhou et al., "A foundation model for generalizable disease detection from retinal images", Nature 2023;622:156,
        and its published code of 2023.
    """
    total = matrices.sum(axis=(1, 2))[:, None]
    true_positive = np.einsum("bkk->bk", matrices)  # (B, K)
    false_negative, false_positive = matrices.sum(axis=2) - true_positive, matrices.sum(axis=1) - true_positive
    true_negative = total - true_positive - false_negative - false_positive
    with np.errstate(invalid="ignore"):  # 0 / 0 stays NaN and reaches the mean, as in the published table
        sensitivity = true_positive / (true_positive + false_negative)
        precision = true_positive / (true_positive + false_positive)
        per_class = {
            "acc": (true_positive + true_negative) / total,
            "sensitivity": sensitivity,
            "specificity": true_negative / (true_negative + false_positive),
            "precision": precision,
            "f1": 2 * precision * sensitivity / (precision + sensitivity),
            "mcc": (true_positive * true_negative - false_positive * false_negative)
            / np.sqrt(
                (true_positive + false_positive)
                * (true_positive + false_negative)
                * (true_negative + false_positive)
                * (true_negative + false_negative)
            ),
        }
    return {name: numbers[:, 1:].mean(axis=1) for name, numbers in per_class.items()}
