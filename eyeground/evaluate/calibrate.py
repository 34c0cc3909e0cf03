"""What validation teaches about scores: a temperature, thresholds and sets; and what they do on test."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from eyeground.evaluate.confidence import Estimate, bootstrap, estimates
from eyeground.evaluate.conformal import ConformalSets, SetScores, fit_sets, measure_sets
from eyeground.evaluate.paired import centered
from eyeground.evaluate.predictions import Predictions
from eyeground.evaluate.temperature import fit_temperature, tempered
from eyeground.evaluate.thresholds import (
    Positive,
    Rule,
    Threshold,
    choose_thresholds,
    measure_thresholds,
    positive,
)
from eyeground.evaluate.wording import counted, shown
from eyeground.pick import pick

METRICS = ("log_loss", "brier", "ece")


@dataclass(frozen=True, eq=False)
class Calibration:
    """What was learned from validation alone.

    Args:
        classes: Names of the classes, K.
        ordered: Whether they are grades.
        temperature: By which logits are divided; 1 with the reason where none could be fitted.
        thresholds: For tempered scores.
        sets: For tempered scores.

    Example:
        >>> made = Calibration(("normal", "drusen"), False, Estimate(1.0), (),
        ...                    ConformalSets(0.9, False, (Estimate(0.7), Estimate(0.7))))
        >>> made.columns(np.array([[0.35, 0.65], [0.2, 0.8], [np.nan, np.nan]]))
        {'set': ['drusen|normal', 'drusen', ''], 'certain': ['no', 'yes', '']}

    References:
        Our own.
    """

    classes: tuple[str, ...]
    ordered: bool
    temperature: Estimate
    thresholds: tuple[Threshold, ...]
    sets: ConformalSets

    @property
    def threshold_columns(self) -> tuple[str, ...]:
        """Name of each threshold's column in a table of answers; with its rule where a class has several."""
        names = [each.positive.name for each in self.thresholds]
        return tuple(
            f"positive_{name}" if names.count(name) == 1 else f"positive_{name}_{each.rule}_{each.target:g}"
            for name, each in zip(names, self.thresholds, strict=True)
        )

    def tempered(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """Temper scores.

        Args:
            scores: Probabilities as the network gives them, shape (N, K).

        Returns:
            Shape (N, K).
        """
        return tempered(scores, self.temperature.value)

    def columns(self, scores: NDArray[np.float64]) -> dict[str, list[str]]:
        """Put into words what thresholds and sets say of images.

        Args:
            scores: Tempered, shape (N, K); a row of NaN is an image that cannot be graded, and its words are empty.

        Returns:
            Column to N words: ``set`` (the classes in the set, the likeliest first, joined by ``|``), ``certain``
            (``yes`` where the model answers alone, else ``no``), and ``yes`` or ``no`` by each threshold; nothing where
            none could be chosen.
        """
        graded = np.isfinite(scores[:, 0]).tolist()
        order = np.argsort(-scores, axis=1, kind="stable").tolist()
        inside: list[list[bool]] = self.sets.members(scores).tolist()
        sets = ["|".join(self.classes[k] for k in line if row[k]) for line, row in zip(order, inside, strict=True)]
        answers = {"set": sets, "certain": _yes_or_no(self.sets.alone(scores))}
        for name, each in zip(self.threshold_columns, self.thresholds, strict=True):
            answers[name] = _yes_or_no(each.above(scores)) if each.value.defined else [""] * len(scores)
        return {
            name: [word if known else "" for word, known in zip(words, graded, strict=True)]
            for name, words in answers.items()
        }


@dataclass(frozen=True)
class Change:
    """A measure of scores as they are, tempered, and the difference.

    Args:
        before: Of the scores as the network gives them.
        after: Of the tempered scores.
        difference: After minus before, both measured in the same resamples.

    Example:
        >>> Change(Estimate(0.10), Estimate(0.04), Estimate(-0.06, -0.08, -0.03)).difference.high
        -0.03

    References:
        Our own.
    """

    before: Estimate
    after: Estimate
    difference: Estimate


@dataclass(frozen=True, eq=False)
class Part:
    """What a calibration does on the images of one split.

    Args:
        n: Images with known truth.
        patients: How many patients they are of.
        changes: Metric to what tempering does to it.
        thresholds: Sensitivity and specificity at each threshold, in the order of the calibration's.

    Example:
        >>> Part(40, 21, {}, ()).n
        40

    References:
        Our own.
    """

    n: int
    patients: int
    changes: Mapping[str, Change]
    thresholds: tuple[tuple[Estimate, Estimate], ...]


@dataclass(frozen=True, eq=False)
class CalibrationScores:
    """What a calibration does on the images it was learned from, and on test.

    Args:
        validation: On validation; flattering, for all was chosen there.
        test: On test.
        sets: What the sets do on test.
        patients_known: Whether patients are real groups; if not, every image counted as its own patient.
        resamples: Number of bootstrap resamples.
        seed: Seed of the resamples.

    Example:
        >>> p = np.array([0.1, 0.4, 0.35, 0.8])
        >>> table = Predictions(("a", "b", "c", "d"), ("a", "b", "c", "d"), ("",) * 4, ("",) * 4, ("",) * 4,
        ...                     np.array([0, 0, 1, 1]), np.stack([1 - p, p], axis=1), ("normal", "drusen"), False,
        ...                     True, ("",) * 4)
        >>> made = fit_calibration(table, coverage=0.5, resamples=20)
        >>> from dataclasses import replace
        >>> others = replace(table, files=("e", "f", "g", "h"))
        >>> measure_calibration(made, validation=table, test=others, resamples=20).test.n
        4

    References:
        Our own.
    """

    validation: Part
    test: Part
    sets: SetScores
    patients_known: bool
    resamples: int
    seed: int


def fit_calibration(
    validation: Predictions,
    *,
    coverage: float = 0.9,
    rules: Sequence[tuple[Rule, float]] = (),
    called: Sequence[Positive] = (),
    per_class: bool = False,
    resamples: int = 2000,
    seed: int = 0,
) -> Calibration:
    """Learn a temperature, thresholds and sets from validation; no test image comes near.

    Args:
        validation: The validation images; rows without known truth are left out.
        coverage: How often sets are to hold the truth. Unit: fraction, (0, 1).
        rules: What thresholds are wanted for, and how much of it.
        called: What they call positive.
        per_class: Whether each class is to be covered as often as wanted, not only all images together.
        resamples: Number of bootstrap resamples of the intervals.
        seed: Seed of the draws.

    Returns:
        The calibration.

    Raises:
        ValueError: If no row has a known truth, or a wanted share is out of range.

    Example:
        >>> p = np.array([0.1, 0.4, 0.35, 0.8])
        >>> table = Predictions(("a", "b", "c", "d"), ("a", "b", "c", "d"), ("",) * 4, ("",) * 4, ("",) * 4,
        ...                     np.array([0, 0, 1, 1]), np.stack([1 - p, p], axis=1), ("normal", "drusen"), False,
        ...                     True, ("",) * 4)
        >>> round(fit_calibration(table, coverage=0.5, resamples=20).temperature.value, 2)
        0.73

    References:
        Guo et al., "On calibration of modern neural networks", ICML 2017.
    """
    known = _known(validation, "validation")
    temperature = fit_temperature(
        known.truth, known.scores, known.patients, classes=known.classes, resamples=resamples, seed=seed
    )
    scores = tempered(known.scores, temperature.value)
    return Calibration(
        classes=known.classes,
        ordered=known.ordered,
        temperature=temperature,
        thresholds=choose_thresholds(
            known.truth, scores, known.patients, called=called, rules=rules, resamples=resamples, seed=seed
        ),
        sets=fit_sets(known.truth, scores, classes=known.classes, coverage=coverage, per_class=per_class),
    )


def measure_calibration(
    calibration: Calibration, *, validation: Predictions, test: Predictions, resamples: int = 2000, seed: int = 0
) -> CalibrationScores:
    """Measure a calibration as it is, with 95% bootstrap intervals by patient; nothing is fitted or chosen here.

    Args:
        calibration: Learned from validation.
        validation: The images it was learned from.
        test: Other images.
        resamples: Number of bootstrap resamples.
        seed: Seed of the draws.

    Returns:
        The numbers.

    Raises:
        ValueError: If classes differ, no row has a known truth, or an image is in both tables.

    Example:
        >>> p = np.array([0.1, 0.4, 0.35, 0.8])
        >>> table = Predictions(("a", "b", "c", "d"), ("a", "b", "c", "d"), ("",) * 4, ("",) * 4, ("",) * 4,
        ...                     np.array([0, 0, 1, 1]), np.stack([1 - p, p], axis=1), ("normal", "drusen"), False,
        ...                     True, ("",) * 4)
        >>> made = fit_calibration(table, coverage=0.5, resamples=20)
        >>> measure_calibration(made, validation=table, test=table, resamples=20)
        Traceback (most recent call last):
        ValueError: 4 images are in validation and in test, such as 'a': a calibration judged on the images it was
        learned from says nothing

    References:
        Our own.
    """
    if not calibration.classes == validation.classes == test.classes:
        raise ValueError("the classes of the calibration, of validation and of test differ; they must be of one run")
    tables = [_known(validation, "validation"), _known(test, "test")]
    # Two sources may name different images alike; the same scores to the last digit are the same image.
    first, second = ({(file, row.tobytes()) for file, row in zip(t.files, t.scores, strict=True)} for t in tables)
    if both := sorted(first & second):
        raise ValueError(
            f"{counted(len(both), 'image')} {'is' if len(both) == 1 else 'are'} in validation and in test, such as "
            f"{shown(both[0][0])!r}: a calibration judged on the images it was learned from says nothing"
        )
    on_validation, on_test = (_part(calibration, table, resamples=resamples, seed=seed) for table in tables)
    known = tables[1]
    sets = measure_sets(
        known.truth,
        calibration.tempered(known.scores),
        known.patients,
        sets=calibration.sets,
        classes=known.classes,
        resamples=resamples,
        seed=seed,
    )
    return CalibrationScores(on_validation, on_test, sets, test.patients_known, resamples, seed)


def called_positive(words: Sequence[str], classes: Sequence[str], *, ordered: bool) -> tuple[Positive, ...]:
    """Find what some words call positive.

    Args:
        words: As for ``thresholds.positive``; a word may come twice.
        classes: Names of the classes, K.
        ordered: Whether they are grades.

    Returns:
        What is positive, each once.

    Raises:
        ValueError: If a word names nothing; all such words are told together, a line each.

    Example:
        >>> [each.name for each in called_positive(["mild", ">=1"], ["none", "mild", "severe"], ordered=True)]
        ['mild', '>=mild']

    References:
        Our own.
    """
    found, problems = [], []
    for word in words:
        try:
            found.append(positive(word, classes, ordered=ordered))
        except ValueError as problem:
            problems.append(str(problem))
    if problems:
        raise ValueError("\n".join(problems))
    return tuple(dict.fromkeys(found))


def _part(calibration: Calibration, known: Predictions, *, resamples: int, seed: int) -> Part:
    """Scores before and after, and the thresholds."""
    after = calibration.tempered(known.scores)
    return Part(
        len(known),
        len(set(known.patients)),
        _changes(known, after, resamples=resamples, seed=seed),
        measure_thresholds(
            known.truth, after, known.patients, thresholds=calibration.thresholds, resamples=resamples, seed=seed
        ),
    )


def _changes(known: Predictions, after: NDArray[np.float64], *, resamples: int, seed: int) -> dict[str, Change]:
    """Measure scores before and after in the same resamples."""
    shelf = [(pick("evaluate.metrics", name), scores) for name in METRICS for scores in (known.scores, after)]

    def values(weights: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.stack([metric.value(known.truth, scores, weights) for metric, scores in shelf], axis=1)

    once = values(np.ones((1, len(known))))[0]
    samples = bootstrap(values, known.patients, resamples=resamples, seed=seed)
    patients, answers = len(set(known.patients)), {}
    for place, name in enumerate(METRICS):
        pair = slice(2 * place, 2 * place + 2)
        drawn = centered(name, once[pair], samples[:, pair])
        drawn = np.column_stack([drawn, drawn[:, 1] - drawn[:, 0]])
        points = np.append(once[pair], once[pair][1] - once[pair][0])
        answers[name] = Change(*estimates(points, drawn, [""] * 3, patients))
    return answers


def _known(table: Predictions, split: str) -> Predictions:
    """The rows whose truth is known."""
    if not table.labelled.any():
        raise ValueError(f"no {split} image has a known truth, so nothing can be learned or measured there")
    return table.select(table.labelled)


def _yes_or_no(marks: NDArray[np.bool_]) -> list[str]:
    """Words for a program and a person."""
    return ["yes" if mark else "no" for mark in marks.tolist()]
