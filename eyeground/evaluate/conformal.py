"""Sets of classes that hold the truth as often as wanted: split conformal prediction."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from eyeground.evaluate.confidence import Estimate, bootstrap, estimates
from eyeground.evaluate.confusion import share
from eyeground.evaluate.thresholds import of_several
from eyeground.evaluate.wording import counted, listed


@dataclass(frozen=True)
class ConformalSets:
    """How far from the truth a score may be for its class to stay in the set.

    Args:
        coverage: How often sets are to hold the truth. Unit: fraction, (0, 1).
        per_class: Whether each class has a quantile of its own, so that each is to be covered so often.
        quantiles: Of each class, K: it is in the set where 1 - score is at most this. NaN with the reason where there
            were too few images for one; the class is then in every set, for nothing can rule it out.

    Example:
        >>> sets = ConformalSets(0.9, False, (Estimate(0.7), Estimate(0.7)))
        >>> sets.members(np.array([[0.35, 0.65], [0.2, 0.8]])).tolist()
        [[True, True], [False, True]]

    References:
        Sadinle, Lei & Wasserman, "Least ambiguous set-valued classifiers with bounded error levels", JASA 2019;114:223.
    """

    coverage: float
    per_class: bool
    quantiles: tuple[Estimate, ...]

    def members(self, scores: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Say which classes are in the set of each row.

        Args:
            scores: Probabilities, shape (N, K), tempered as those that the quantiles were taken of.

        Returns:
            Shape (N, K); a row of NaN has an empty set.
        """
        limits = [each.value if each.defined else math.inf for each in self.quantiles]
        return np.asarray(1 - scores <= np.array(limits))

    def alone(self, scores: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Say which rows the model answers alone: the class of the largest score is the only one in the set.

        With a quantile per class, the only class may be another one; such a contradiction is no answer.

        Args:
            scores: Probabilities, shape (N, K), tempered.

        Returns:
            Shape (N,).
        """
        inside = self.members(scores)
        return np.asarray((inside.sum(axis=1) == 1) & inside[np.arange(len(scores)), scores.argmax(axis=1)])


@dataclass(frozen=True, eq=False)
class SetScores:
    """What sets do on images that they were not made on.

    Args:
        coverage: Share of images whose set holds the truth.
        class_coverage: The same among the images of each class, K.
        size: Mean number of classes in a set.
        alone: Share of images that the model answers alone: their set is the class of the largest score.
        empty: Share of images whose set is empty: no class is likely enough.
        right: Share of right answers among these.
        sizes: Images by the number of classes in their set, shape (K + 1,).

    Example:
        >>> sets = ConformalSets(0.9, False, (Estimate(0.7), Estimate(0.7)))
        >>> found = measure_sets(np.array([0, 0]), np.array([[0.35, 0.65], [0.2, 0.8]]), ["a", "b"], sets=sets,
        ...                      classes=["normal", "drusen"], resamples=20)
        >>> found.coverage.value, found.alone.value, found.right.value, found.sizes.tolist()
        (0.5, 0.5, 0.0, [0, 1, 1])

    References:
        Our own.
    """

    coverage: Estimate
    class_coverage: tuple[Estimate, ...]
    size: Estimate
    alone: Estimate
    empty: Estimate
    right: Estimate
    sizes: NDArray[np.int64]


def quantile(values: NDArray[np.float64], coverage: float) -> float:
    """Take the value below which the next one lies as often as wanted.

    The next value is as likely to fall into any of the n + 1 gaps that n exchangeable values make. So it is at most the
    ceil((n + 1) coverage)-th smallest of them with a probability of at least the coverage: without the + 1, less often.

    Args:
        values: How far each of n answers is from the truth, shape (n,), no NaN.
        coverage: Wanted probability. Unit: fraction, (0, 1).

    Returns:
        One of the values, or infinity where there are too few for this coverage (``least``).

    Raises:
        ValueError: If a value is NaN, or the coverage is not between 0 and 1.

    Example:
        >>> quantile(np.arange(1.0, 10.0), 0.9), quantile(np.arange(1.0, 9.0), 0.9)
        (9.0, inf)

    References:
        Lei et al., "Distribution-free predictive inference for regression", JASA 2018;113:1094.
    """
    if np.isnan(values).any():
        raise ValueError(f"value {int(np.isnan(values).argmax())} is NaN")
    if len(values) < least(coverage):
        return math.inf
    # Rounded first: 0.55 * 20 is a little more than 11 in binary, and 12 would be one too many.
    place = math.ceil(round((len(values) + 1) * coverage, 9))
    return float(np.sort(values)[place - 1])


def least(coverage: float) -> int:
    """Say how many values a quantile needs.

    Args:
        coverage: Wanted probability. Unit: fraction, (0, 1).

    Returns:
        ceil(1 / (1 - coverage)) - 1: with fewer, no value is far enough.

    Raises:
        ValueError: If the coverage is not between 0 and 1.

    Example:
        >>> least(0.9), least(0.95), least(0.5)
        (9, 19, 1)

    References:
        Our own.
    """
    if not 0 < coverage < 1:
        raise ValueError(f"a coverage is above 0 and below 1, got {coverage}")
    return math.ceil(round(coverage / (1 - coverage), 9))


def fit_sets(
    truth: NDArray[np.int64],
    scores: NDArray[np.float64],
    *,
    classes: Sequence[str],
    coverage: float,
    per_class: bool = False,
) -> ConformalSets:
    """Find how far from the truth scores are on validation.

    Args:
        truth: Index of the true class, shape (N,), each in 0..K-1.
        scores: Probabilities, shape (N, K), tempered.
        classes: Names of the classes, K.
        coverage: How often sets are to hold the truth. Unit: fraction, (0, 1).
        per_class: Whether each class is to be covered so often, by a quantile of its own.

    Returns:
        The sets to be.

    Raises:
        ValueError: If the coverage is not between 0 and 1, or a score is NaN.

    Example:
        >>> scores = np.array([[0.9, 0.1], [0.6, 0.4], [0.3, 0.7]])
        >>> [round(each.value, 2) for each in fit_sets(np.array([0, 0, 1]), scores, classes=["a", "b"],
        ...                                            coverage=0.5).quantiles]
        [0.3, 0.3]

    References:
        Sadinle, Lei & Wasserman, "Least ambiguous set-valued classifiers with bounded error levels", JASA 2019;114:223;
        Vovk, "Conditional validity of inductive conformal predictors", ACML 2012, for the quantiles by class.
    """
    far = 1 - scores[np.arange(len(truth)), truth]
    groups = [(far[truth == label], f" of {listed([name])}") for label, name in enumerate(classes)]
    taken = groups if per_class else [(far, "")] * len(classes)
    return ConformalSets(coverage, per_class, tuple(_estimate(values, coverage, what) for values, what in taken))


def measure_sets(
    truth: NDArray[np.int64],
    scores: NDArray[np.float64],
    patients: Sequence[str],
    *,
    sets: ConformalSets,
    classes: Sequence[str],
    resamples: int = 2000,
    seed: int = 0,
) -> SetScores:
    """Measure how often sets hold the truth, and how much they say.

    Args:
        truth: Index of the true class, shape (N,), each in 0..K-1, on images that the sets were not made on.
        scores: Probabilities, shape (N, K), tempered.
        patients: Patient of each row, N names, for the intervals.
        sets: The sets.
        classes: Names of the classes, K.
        resamples: Number of bootstrap resamples of the intervals.
        seed: Seed of the draws.

    Returns:
        The numbers, each with its interval by patient or with the reason why there is none.

    Example:
        >>> sets = ConformalSets(0.9, False, (Estimate(0.7), Estimate(0.7)))
        >>> measure_sets(np.array([0, 1]), np.array([[0.35, 0.65], [0.2, 0.8]]), ["a", "b"], sets=sets,
        ...              classes=["normal", "drusen"], resamples=20).coverage.value
        1.0

    References:
        Angelopoulos & Bates, "Conformal prediction: a gentle introduction", Found Trends Mach Learn 2023;16:494.
    """
    inside = sets.members(scores)
    size = inside.sum(axis=1)
    covered, alone = inside[np.arange(len(truth)), truth], sets.alone(scores)
    shown = truth[:, None] == np.arange(len(classes))  # (N, K)
    everything = np.ones(len(truth), dtype=np.bool_)
    # Each number is a sum over the rows of a part, divided by how many rows the part has.
    sums = np.column_stack([covered, size, alone, size == 0, alone & covered, shown & covered[:, None]])
    parts = np.column_stack([everything, everything, everything, everything, alone, shown])

    def shares(weights: NDArray[np.float64]) -> NDArray[np.float64]:
        return share(weights @ sums.astype(np.float64), weights @ parts.astype(np.float64))

    absent = [f"class {listed([name])} is absent" for name in classes]
    reasons = [*["there is no row"] * 4, "the model answers no image alone", *absent]
    samples = bootstrap(shares, patients, resamples=resamples, seed=seed)
    found = estimates(shares(np.ones((1, len(truth))))[0], samples, reasons, len(set(patients)))
    names = np.asarray(patients, dtype=object)
    found = [of_several(each, names[rows]) for each, rows in zip(found, parts.T, strict=True)]
    coverage, mean_size, answered, empty, right, *by_class = found
    counts = np.bincount(size, minlength=len(classes) + 1)
    return SetScores(coverage, tuple(by_class), mean_size, answered, empty, right, counts)


def interval_half_width(truth: NDArray[np.float64], said: NDArray[np.float64], coverage: float) -> Estimate:
    """Find how far on both sides of what is said of a quantity the truth lies as often as wanted.

    Args:
        truth: Measured values on validation, shape (N,), in any unit.
        said: What the model says of the same images, shape (N,), in the same unit.
        coverage: How often said ± half-width is to hold the truth. Unit: fraction, (0, 1).

    Returns:
        The half-width, in the same unit, without an interval of its own; NaN with the reason where there are too few
        values.

    Raises:
        ValueError: If shapes differ, a value is NaN, or the coverage is not between 0 and 1.

    Example:
        >>> truth = np.arange(9.0)
        >>> interval_half_width(truth, truth + 0.5, 0.9).value
        0.5

    References:
        Lei et al., "Distribution-free predictive inference for regression", JASA 2018;113:1094.
    """
    if truth.shape != said.shape or truth.ndim != 1:
        raise ValueError(f"truth {truth.shape} and what is said {said.shape} must have the same shape (N,)")
    return _estimate(np.abs(truth - said), coverage, "")


def _estimate(values: NDArray[np.float64], coverage: float, of: str) -> Estimate:
    """The quantile, or why there is none."""
    found = quantile(values, coverage)
    if math.isfinite(found):
        return Estimate(found, reason="no interval: how it varies is counted in by the + 1 of its rank")
    many = f"{counted(len(values), 'validation image')}{of}"
    return Estimate(math.nan, reason=f"{many}, and a coverage of {100 * coverage:g}% needs {least(coverage)}")
