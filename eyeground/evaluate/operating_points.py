"""Thresholds for one class against the rest: at a wanted sensitivity or specificity, and by Youden's index."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from eyeground.evaluate.adding import adder, sums
from eyeground.evaluate.confidence import Estimate
from eyeground.evaluate.confusion import share


@dataclass(frozen=True)
class OperatingPoint:
    """A threshold and what it does on the data it was chosen on.

    Args:
        threshold: Scores at or above it are called positive, [0, 1].
        sensitivity: Share of positives at or above it.
        specificity: Share of negatives below it.

    Example:
        >>> OperatingPoint(0.8, 0.5, 1.0).threshold
        0.8

    References:
        Altman & Bland, "Diagnostic tests 1", BMJ 1994;308:1552.
    """

    threshold: float
    sensitivity: float
    specificity: float


@dataclass(frozen=True)
class OperatingRow:
    """One line of the operating-point table.

    Args:
        name: Class that is called positive.
        rule: How the threshold was chosen, such as ``specificity >= 0.90``.
        threshold: Scores at or above it are positive; NaN when there is none.
        sensitivity: With interval, the threshold held fixed.
        specificity: With interval, the threshold held fixed.
        reason: Why there is no threshold; empty when there is one.

    Example:
        >>> OperatingRow("drusen", "Youden", 0.5, Estimate(0.9), Estimate(0.8), "").rule
        'Youden'

    References:
        Our own.
    """

    name: str
    rule: str
    threshold: float
    sensitivity: Estimate
    specificity: Estimate
    reason: str


def at_specificity(labels: NDArray[np.bool_], scores: NDArray[np.float64], target: float = 0.90) -> OperatingPoint:
    """Find the lowest threshold that still spares enough healthy eyes.

    Among thresholds with the same sensitivity the most specific one is taken. A score equal to the threshold is called
    positive, so tied scores move together.

    Args:
        labels: Truth, shape (N,). True means the class is there.
        scores: Probability of the class, shape (N,), each in [0, 1].
        target: Least specificity accepted. Unit: fraction, (0, 1].

    Returns:
        The operating point, measured on these same N images, which flatters it a little.

    Raises:
        ValueError: If the shapes differ, a score is NaN, a class is absent, the target is outside (0, 1], or no
            threshold reaches it.

    Example:
        >>> at_specificity(np.array([False, False, True, True]), np.array([0.1, 0.4, 0.35, 0.8]), target=1.0)
        OperatingPoint(threshold=0.8, sensitivity=0.5, specificity=1.0)

    References:
        Altman & Bland, "Diagnostic tests 1", BMJ 1994;308:1552.
    """
    thresholds, sensitivity, specificity = _curve(labels, scores, target)
    allowed = specificity >= target
    if not allowed.any():
        raise ValueError(f"no threshold reaches a specificity of {target:.2f}; at most {specificity.max():.2f}")
    return _best(thresholds, sensitivity, specificity, np.where(allowed, sensitivity, -1.0))


def at_sensitivity(labels: NDArray[np.bool_], scores: NDArray[np.float64], target: float = 0.90) -> OperatingPoint:
    """Find the highest threshold that still finds enough of the diseased eyes.

    A score equal to the threshold is called positive, so tied scores move together. The lowest score as threshold
    finds everything, so every target is reached.

    Args:
        labels: Truth, shape (N,). True means the class is there.
        scores: Probability of the class, shape (N,), each in [0, 1].
        target: Least sensitivity accepted. Unit: fraction, (0, 1].

    Returns:
        The operating point, measured on these same N images, which flatters it a little.

    Raises:
        ValueError: If the shapes differ, a score is NaN, a class is absent, or the target is outside (0, 1].

    Example:
        >>> at_sensitivity(np.array([False, False, True, True]), np.array([0.1, 0.4, 0.35, 0.8]), target=1.0)
        OperatingPoint(threshold=0.35, sensitivity=1.0, specificity=0.5)

    References:
        Altman & Bland, "Diagnostic tests 1", BMJ 1994;308:1552.
    """
    thresholds, sensitivity, specificity = _curve(labels, scores, target)
    return _best(thresholds, sensitivity, specificity, np.where(sensitivity >= target, specificity, -1.0))


def youden(labels: NDArray[np.bool_], scores: NDArray[np.float64]) -> OperatingPoint:
    """Find the threshold with the largest sum of sensitivity and specificity.

    Args:
        labels: Truth, shape (N,). True means the class is there.
        scores: Probability of the class, shape (N,), each in [0, 1].

    Returns:
        The operating point, measured on these same N images; of equal sums the highest threshold.

    Raises:
        ValueError: If the shapes differ, a score is NaN, or a class is absent.

    Example:
        >>> youden(np.array([False, False, True, True]), np.array([0.1, 0.4, 0.35, 0.8]))
        OperatingPoint(threshold=0.8, sensitivity=0.5, specificity=1.0)

    References:
        Youden, "Index for rating diagnostic tests", Cancer 1950;3:32.
    """
    thresholds, sensitivity, specificity = _curve(labels, scores, 1.0)
    return _best(thresholds, sensitivity, specificity, sensitivity + specificity)


Rule = tuple[str, Callable[[NDArray[np.bool_], NDArray[np.float64]], OperatingPoint]]

RULES: tuple[Rule, ...] = (
    ("sensitivity ≥ 0.90", lambda labels, scores: at_sensitivity(labels, scores, 0.90)),
    ("specificity ≥ 0.90", lambda labels, scores: at_specificity(labels, scores, 0.90)),
    ("Youden", youden),
)


def choose(
    truth: NDArray[np.int64], scores: NDArray[np.float64], rules: Sequence[Rule] = RULES
) -> list[OperatingPoint | str]:
    """Choose the thresholds of every class by every rule.

    Args:
        truth: Index of the true class, shape (N,).
        scores: Probabilities, shape (N, K).
        rules: Name and function of each rule.

    Returns:
        K times R answers, the rules of class 0 first; where there is no threshold, the reason.

    Example:
        >>> p = np.array([0.1, 0.4, 0.35, 0.8])
        >>> [point.threshold for point in choose(np.array([0, 0, 1, 1]), np.stack([1 - p, p], axis=1))[3:]]
        [0.35, 0.8, 0.8]

    References:
        Our own.
    """
    answers: list[OperatingPoint | str] = []
    for label in range(scores.shape[1]):
        for _, rule in rules:
            try:
                answers.append(rule(truth == label, scores[:, label]))
            except ValueError as problem:
                answers.append(str(problem))
    return answers


def measured(
    truth: NDArray[np.int64],
    scores: NDArray[np.float64],
    chosen: Sequence[OperatingPoint | str],
    weights: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Measure chosen thresholds again under weights; the thresholds stay as they are.

    Args:
        truth: Index of the true class, shape (N,).
        scores: Probabilities, shape (N, K).
        chosen: What ``choose`` gave, M answers.
        weights: How often each row counts, shape (B, N).

    Returns:
        Sensitivities, then specificities, shape (B, 2 M); NaN where undefined.

    Example:
        >>> p = np.array([0.1, 0.4, 0.35, 0.8])
        >>> truth, scores = np.array([0, 0, 1, 1]), np.stack([1 - p, p], axis=1)
        >>> measured(truth, scores, ["none"] * 5 + [OperatingPoint(0.35, 1.0, 0.5)], np.ones((1, 4)))[0, [5, 11]]
        array([1. , 0.5])

    References:
        Our own.
    """
    per_class = len(chosen) // scores.shape[1]
    label = np.arange(len(chosen)) // per_class  # (M,) class of each answer
    # No threshold: compared with NaN nothing is positive, and the whole column is set to NaN below.
    limits = np.array([np.nan if isinstance(point, str) else point.threshold for point in chosen])
    above = scores[:, label] >= limits  # (N, M)
    columns = np.ascontiguousarray(weights.T)
    taken, found = (
        (adder(*np.nonzero(table.T), shape=table.T.shape) @ columns).T
        for table in (above, above & (truth[:, None] == label))
    )
    positive = sums(weights, truth, places=scores.shape[1])[:, label]
    negative = weights.sum(axis=1)[:, None] - positive
    known = np.where(np.isnan(limits), np.nan, 1.0)
    spared = share(negative - (taken - found), negative)
    return np.concatenate([share(found, positive) * known, spared * known], axis=1)


def _curve(
    labels: NDArray[np.bool_], scores: NDArray[np.float64], target: float
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Every score as a threshold, from the highest down, with its sensitivity and specificity."""
    if labels.shape != scores.shape or labels.ndim != 1:
        raise ValueError(f"labels {labels.shape} and scores {scores.shape} must have the same shape (N,)")
    if np.isnan(scores).any():
        raise ValueError(f"score {int(np.isnan(scores).argmax())} is NaN")
    if not 0 < target <= 1:
        raise ValueError(f"the target must be in (0, 1], got {target}")
    if not labels.any() or labels.all():
        raise ValueError(f"no {'negative' if labels.any() else 'positive'} row: there is nothing to tell apart")
    thresholds = np.unique(scores)[::-1]
    positives, negatives = np.sort(scores[labels]), np.sort(scores[~labels])
    # Counted, not 1 - share: 1 - 0.1 is not always the number that a target of 0.9 is compared with.
    sensitivity = (len(positives) - np.searchsorted(positives, thresholds, side="left")) / len(positives)
    return thresholds, sensitivity, np.searchsorted(negatives, thresholds, side="left") / len(negatives)


def _best(
    thresholds: NDArray[np.float64],
    sensitivity: NDArray[np.float64],
    specificity: NDArray[np.float64],
    merit: NDArray[np.float64],
) -> OperatingPoint:
    """The point of most merit; of equals the highest threshold, which is the most specific."""
    # Sums such as 0.7 + 0.3 differ in the last bit; that must not decide between equals.
    place = int(np.flatnonzero(merit >= merit.max() - 1e-12)[0])
    return OperatingPoint(float(thresholds[place]), float(sensitivity[place]), float(specificity[place]))
