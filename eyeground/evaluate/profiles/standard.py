"""Our own metrics: the usual ones, taken plainly. An undefined one is NaN, with its reason in the scorecard."""

import numpy as np
from numpy.typing import NDArray

from eyeground.pick import pick

COLUMNS = (
    "auroc_macro",
    "ap_macro",
    "f1_macro",
    "f1_weighted",
    "precision_macro",
    "recall_macro",
    "accuracy",
    "balanced_accuracy",
    "kappa",
    "kappa_quadratic",
    "mcc",
    "ece",
    "brier",
    "log_loss",
)

# Macro metrics that also exist as the mean over the classes that have a value, under `<name>_present`.
PER_CLASS = ("auroc_macro", "ap_macro", "f1_macro", "precision_macro", "recall_macro")

UNORDERED = "classes are not ordered"


def values(truth: NDArray[np.int64], scores: NDArray[np.float64], *, ordered: bool = False) -> dict[str, float]:
    """Compute the standard metrics on the data itself; ``scorecard`` adds intervals and reasons.

    Args:
        truth: Index of the true class, shape (N,), each in 0..K-1.
        scores: Probabilities, shape (N, K).
        ordered: Whether the order of the classes is a grade; if not, quadratic-weighted kappa is NaN.

    Returns:
        The values of ``COLUMNS``; NaN where undefined.

    Raises:
        ValueError: If there is no row.

    Example:
        >>> p = np.array([0.1, 0.4, 0.35, 0.8])
        >>> found = values(np.array([0, 0, 1, 1]), np.stack([1 - p, p], axis=1))
        >>> found["auroc_macro"], found["kappa_quadratic"]
        (0.75, nan)

    References:
        Maier-Hein et al., "Metrics reloaded", Nat Methods 2024;21:195.
    """
    if not len(truth):
        raise ValueError("metrics need at least one row")
    once = np.ones((1, len(truth)))
    found = {name: float(pick("evaluate.metrics", name).value(truth, scores, once)[0]) for name in COLUMNS}
    return found if ordered else {**found, "kappa_quadratic": float("nan")}
