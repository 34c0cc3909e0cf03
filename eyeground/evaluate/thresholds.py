"""Thresholds chosen on validation for a wanted sensitivity or specificity, and what they do on other images."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from eyeground.data.task import YES_NO
from eyeground.evaluate.confidence import Estimate, bootstrap, estimates
from eyeground.evaluate.confusion import share
from eyeground.evaluate.operating_points import at_sensitivity, at_specificity
from eyeground.evaluate.wording import listed, shown

Rule = Literal["sensitivity", "specificity"]


@dataclass(frozen=True)
class Positive:
    """What is called positive: one class, or a grade and all above it.

    Args:
        name: Name of the class, or ``>=`` and the name of the lowest grade.
        members: Indices of the classes that are positive, each once.

    Example:
        >>> referable = Positive(">=moderate", (2, 3))
        >>> referable.truth(np.array([1, 2, 3])).tolist()
        [False, True, True]
        >>> referable.score(np.array([[0.1, 0.2, 0.3, 0.4]])).round(2).tolist()
        [0.7]

    References:
        Our own.
    """

    name: str
    members: tuple[int, ...]

    @property
    def words(self) -> str:
        """The name as people write it."""
        return self.name.replace(">=", "≥ ", 1) if self.name.startswith(">=") else self.name

    def truth(self, truth: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Say which rows are truly positive.

        Args:
            truth: Index of the true class, shape (N,).

        Returns:
            Shape (N,).
        """
        return np.isin(truth, self.members)

    def score(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """Add up the scores of what is positive.

        Args:
            scores: Probabilities, shape (N, K).

        Returns:
            Shape (N,); NaN where a row is NaN.
        """
        total: NDArray[np.float64] = scores[:, list(self.members)].sum(axis=1)
        return total


@dataclass(frozen=True)
class Threshold:
    """A threshold with what it was chosen for.

    Args:
        positive: What is called positive.
        rule: What was wanted on validation.
        target: How much of it, at least. Unit: fraction, (0, 1].
        value: Scores at or above it are positive; its interval is that of choosing anew in bootstrap resamples. NaN
            with the reason when there is none.

    Example:
        >>> Threshold(Positive("drusen", (1,)), "sensitivity", 0.9, Estimate(0.25)).words
        'sensitivity ≥ 0.9'

    References:
        Our own.
    """

    positive: Positive
    rule: Rule
    target: float
    value: Estimate

    @property
    def words(self) -> str:
        """The rule as people write it."""
        return f"{self.rule} ≥ {self.target:g}"

    def above(self, scores: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Say which rows are called positive.

        Args:
            scores: Probabilities, shape (N, K).

        Returns:
            Shape (N,); False where a row is NaN, and everywhere if there is no threshold.
        """
        return self.positive.score(scores) >= self.value.value


def positive(word: str, classes: Sequence[str], *, ordered: bool) -> Positive:
    """Find what a word calls positive.

    Args:
        word: Name of a class; for ordered classes also ``>=`` and a class, by its name or by its number from 0.
        classes: Names of the classes, K.
        ordered: Whether they are grades.

    Returns:
        What is positive, named by the class's own name.

    Raises:
        ValueError: If there is no such class, or every image would be positive.

    Example:
        >>> grades = ["none", "mild", "moderate", "severe"]
        >>> positive(">=2", grades, ordered=True)
        Positive(name='>=moderate', members=(2, 3))
        >>> positive("mild", grades, ordered=True)
        Positive(name='mild', members=(1,))

    References:
        Our own.
    """
    if word in classes:
        return Positive(word, (classes.index(word),))
    known = f"its classes are {listed(classes, most=30)}"
    if not word.startswith(">="):
        grades = ", and a grade with all above it is written such as '>=1'" if ordered else ""
        raise ValueError(f"there is no class {shown(word, 40)!r}; {known}{grades}")
    if not ordered:
        raise ValueError(f"{shown(word, 40)!r} needs grades, and these classes are not ordered; {known}")
    lowest = word.removeprefix(">=").strip()
    if lowest not in classes and not (lowest.isdecimal() and int(lowest) < len(classes)):
        raise ValueError(f"{shown(word, 40)!r} names no grade; {known}, or the numbers 0 to {len(classes) - 1}")
    place = classes.index(lowest) if lowest in classes else int(lowest)
    if place == 0:
        raise ValueError(f"{shown(word, 40)!r} calls every image positive: {listed([classes[0]])} is the lowest grade")
    return Positive(f">={classes[place]}", tuple(range(place, len(classes))))


def positives(classes: Sequence[str], *, ordered: bool) -> tuple[Positive, ...]:
    """List what may be called positive: every class, and for grades also every grade with all above it.

    Args:
        classes: Names of the classes, K.
        ordered: Whether they are grades.

    Returns:
        The classes in order, then the grades from the second to the last but one: with the last, nothing is new. Of no
        and yes, only yes.

    Example:
        >>> [each.name for each in positives(["none", "mild", "severe"], ordered=True)]
        ['none', 'mild', 'severe', '>=mild']

    References:
        Our own.
    """
    grades = range(1, len(classes) - 1) if ordered else ()
    words = YES_NO[1:] if tuple(classes) == YES_NO else (*classes, *(f">={classes[grade]}" for grade in grades))
    return tuple(positive(word, classes, ordered=ordered) for word in words)


def choose_thresholds(
    truth: NDArray[np.int64],
    scores: NDArray[np.float64],
    patients: Sequence[str],
    *,
    called: Sequence[Positive],
    rules: Sequence[tuple[Rule, float]],
    resamples: int = 2000,
    seed: int = 0,
) -> tuple[Threshold, ...]:
    """Choose a threshold for everything that is called positive, by every rule.

    Args:
        truth: Index of the true class, shape (N,), each in 0..K-1.
        scores: Probabilities, shape (N, K).
        patients: Patient of each row, N names, for the intervals.
        called: What is called positive, P.
        rules: What is wanted, and how much of it, R.
        resamples: Number of bootstrap resamples of the intervals.
        seed: Seed of the draws.

    Returns:
        P times R thresholds, the rules of the first positive first.

    Raises:
        ValueError: If a target is outside (0, 1].

    Example:
        >>> p = np.array([0.1, 0.4, 0.35, 0.8])
        >>> [found] = choose_thresholds(np.array([0, 0, 1, 1]), np.stack([1 - p, p], axis=1), list("abcd"),
        ...                             called=[Positive("drusen", (1,))], rules=[("sensitivity", 0.9)], resamples=99)
        >>> found.value.value
        0.35

    References:
        Altman & Bland, "Diagnostic tests 1", BMJ 1994;308:1552.
    """
    wrong = [f"{rule} {target}" for rule, target in rules if not 0 < target <= 1]
    if wrong:
        raise ValueError(f"a wanted sensitivity or specificity is above 0 and at most 1, got {', '.join(wrong)}")
    asked = [(each, rule, target) for each in called for rule, target in rules]
    if not asked:
        return ()
    points, reasons = np.full(len(asked), np.nan), [""] * len(asked)
    for place, (each, rule, target) in enumerate(asked):
        labels, score = each.truth(truth), each.score(scores)
        if not labels.any() or labels.all():
            reasons[place] = f"{'every' if labels.any() else 'no'} image to choose on is {listed([each.name])}"
            continue
        try:
            points[place] = (at_sensitivity if rule == "sensitivity" else at_specificity)(
                labels, score, target
            ).threshold
        except ValueError as problem:
            reasons[place] = str(problem)

    def chosen(weights: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.stack(
            [rechosen(each.truth(truth), each.score(scores), weights, rule, target) for each, rule, target in asked],
            axis=1,
        )

    samples = bootstrap(chosen, patients, resamples=resamples, seed=seed)
    found = estimates(points, samples, reasons, len(set(patients)))
    return tuple(Threshold(*each, value) for each, value in zip(asked, found, strict=True))


def rechosen(
    labels: NDArray[np.bool_],
    score: NDArray[np.float64],
    weights: NDArray[np.float64],
    rule: Rule,
    target: float,
) -> NDArray[np.float64]:
    """Choose a threshold in every resample, as ``at_sensitivity`` and ``at_specificity`` would on the rows drawn.

    Args:
        labels: Truth, shape (N,).
        score: Score of what is positive, shape (N,), no NaN.
        weights: How often each row was drawn, shape (B, N), whole numbers.
        rule: What is wanted.
        target: How much of it, at least. Unit: fraction, (0, 1].

    Returns:
        Thresholds, shape (B,); NaN where positives or negatives were not drawn, or no threshold is good enough.

    Example:
        >>> rechosen(np.array([False, True, True]), np.array([0.1, 0.35, 0.8]), np.array([[1.0, 1, 1], [1, 0, 2]]),
        ...          "sensitivity", 0.9)
        array([0.35, 0.8 ])

    References:
        Our own.
    """
    order = np.argsort(-score, kind="stable")
    ordered = score[order]
    last = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True))  # (U,): tied scores move together
    drawn = weights[:, order]
    hits = np.cumsum(drawn * labels[order], axis=1)[:, last]  # (B, U): positives at or above each threshold
    alarms = np.cumsum(drawn * ~labels[order], axis=1)[:, last]
    found, spared = hits[:, -1:], alarms[:, -1:]
    # Weights are whole numbers, so half of the last bits of a product is all that must be forgiven.
    if rule == "sensitivity":
        fits = hits >= target * found - 1e-9
    else:
        allowed = spared - alarms >= target * spared - 1e-9
        most = np.where(allowed, hits, -1.0).max(axis=1, keepdims=True)
        # A score that was not drawn is no threshold.
        fits = allowed & (hits == most) & (hits + alarms > 0)
    usable = fits.any(axis=1) & (found[:, 0] > 0) & (spared[:, 0] > 0)
    return np.where(usable, ordered[last][fits.argmax(axis=1)], np.nan)


def measure_thresholds(
    truth: NDArray[np.int64],
    scores: NDArray[np.float64],
    patients: Sequence[str],
    *,
    thresholds: Sequence[Threshold],
    resamples: int = 2000,
    seed: int = 0,
) -> tuple[tuple[Estimate, Estimate], ...]:
    """Measure thresholds as they are; nothing is chosen here.

    Args:
        truth: Index of the true class, shape (N,), each in 0..K-1.
        scores: Probabilities, shape (N, K).
        patients: Patient of each row, N names, for the intervals.
        thresholds: What was chosen, M.
        resamples: Number of bootstrap resamples of the intervals.
        seed: Seed of the draws.

    Returns:
        Sensitivity and specificity of each threshold, M pairs; NaN with the reason where undefined. A number that
        hangs on one patient has no interval.

    Example:
        >>> p = np.array([0.1, 0.4, 0.35, 0.8])
        >>> fixed = Threshold(Positive("drusen", (1,)), "sensitivity", 0.9, Estimate(0.5))
        >>> [(found, spared)] = measure_thresholds(np.array([0, 0, 1, 1]), np.stack([1 - p, p], axis=1), list("abcd"),
        ...                                        thresholds=[fixed], resamples=99)
        >>> found.value, spared.value
        (0.5, 1.0)

    References:
        Altman & Bland, "Diagnostic tests 1", BMJ 1994;308:1552.
    """
    if not thresholds:
        return ()
    labels = np.stack([each.positive.truth(truth) for each in thresholds], axis=1)  # (N, M)
    above = np.stack([each.above(scores) for each in thresholds], axis=1)
    known = np.where([each.value.defined for each in thresholds], 1.0, np.nan)

    def shares(weights: NDArray[np.float64]) -> NDArray[np.float64]:
        found = share(weights @ (labels & above).astype(np.float64), weights @ labels.astype(np.float64))
        spared = share(weights @ (~labels & ~above).astype(np.float64), weights @ (~labels).astype(np.float64))
        return np.concatenate([found * known, spared * known], axis=1)

    reasons = [
        each.value.reason if not each.value.defined else f"{how} image is {listed([each.positive.name])}"
        for how in ("no", "every")
        for each in thresholds
    ]
    samples = bootstrap(shares, patients, resamples=resamples, seed=seed)
    answers = estimates(shares(np.ones((1, len(truth))))[0], samples, reasons, len(set(patients)))
    names = np.asarray(patients, dtype=object)
    for place, rows in enumerate(np.concatenate([labels, ~labels], axis=1).T):
        answers[place] = of_several(answers[place], names[rows])
    return tuple(zip(answers[: len(thresholds)], answers[len(thresholds) :], strict=True))


def of_several(estimate: Estimate, patients: Sequence[str] | NDArray[Any]) -> Estimate:
    """Take away the interval of a number that hangs on one patient.

    Every resample holds this patient some number of times or not at all: no spread, but no certainty either.

    Args:
        estimate: The number.
        patients: Patients of the rows it is a share of.

    Returns:
        The same value, without interval if there is a single patient.

    Example:
        >>> of_several(Estimate(1.0, 1.0, 1.0), ["a", "a"]).reason
        'no interval: it hangs on one patient'

    References:
        Our own.
    """
    if estimate.defined and len(set(patients)) == 1:
        return Estimate(estimate.value, reason="no interval: it hangs on one patient")
    return estimate
