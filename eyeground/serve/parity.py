"""Does a runtime say what torch says? In fp32 to the fourth digit; rounded further, by what it costs on validation."""

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eyeground.data.task import Head, Task
from eyeground.evaluate import resampled
from eyeground.evaluate.confidence import bootstrap
from eyeground.evaluate.confusion import share
from eyeground.evaluate.head import Table, kind_of
from eyeground.evaluate.measurements import Measurements
from eyeground.evaluate.paired import PairedTest, paired_bootstrap, paired_difference
from eyeground.evaluate.predictions import Predictions

Array = NDArray[np.float64]

BOUND = 1e-4
TOLERANCE = 0.01


@dataclass(frozen=True)
class Parity:
    """How far two runtimes' scores are apart on the same images.

    Args:
        max_error: Greatest difference: of a probability, or of a quantity in its standard deviations of training; NaN
            when undefined.
        bound: Greatest difference that passes.
        images: Images compared.
        reason: Why it is undefined; empty when it is not.

    Example:
        >>> Parity(2e-6, 1e-4, 64).sentence
        'differs by at most 2.0e-06 on 64 images: passes, for at most 1.0e-04 is allowed'

    References:
        Our own.
    """

    max_error: float
    bound: float
    images: int
    reason: str = ""

    @property
    def passed(self) -> bool:
        """Whether the two are the same but for rounding."""
        return self.max_error <= self.bound

    @property
    def sentence(self) -> str:
        """What was found, in words."""
        if self.reason:
            return f"not comparable: {self.reason}: fails"
        verdict = "passes, for" if self.passed else "fails:"
        return f"differs by at most {self.max_error:.1e} on {self.images:,} images: {verdict} " + (
            f"at most {self.bound:.1e} is allowed"
        )

    def to_json(self) -> dict[str, Any]:
        """Plain values for strict JSON: None, never NaN."""
        return _plain(asdict(self)) | {"passed": self.passed, "says": self.sentence}


@dataclass(frozen=True)
class Change:
    """What one head gains or loses when a runtime rounds.

    Args:
        head: The head; empty where a task has only one without a name.
        metric: ``"auroc"``, ``"auroc_macro"`` or ``"mae"``.
        before: The metric with the reference's scores; NaN when undefined.
        after: With the other's.
        gain: What got better: AUROC after minus before; of a quantity, by how much the mean absolute error fell, in
            standard deviations of training.
        low: Lower end of the 95% interval of the gain; NaN when there is none.
        high: Upper end.
        tolerance: Greatest loss that passes, in the unit of the gain.
        images: Images with known truth.
        patients: Patients among them.
        reason: Why something is undefined; empty when all is there.

    Example:
        >>> Change("AMD", "auroc", 0.9, 0.899, -0.001, -0.004, 0.002, 0.01, 400, 210).passed
        True

    References:
        The margin of a non-inferiority comparison: Piaggio et al., "Reporting of noninferiority and equivalence
        randomized trials", JAMA 2012;308:2594.
    """

    head: str
    metric: str
    before: float
    after: float
    gain: float
    low: float
    high: float
    tolerance: float
    images: int
    patients: int
    reason: str = ""

    @property
    def passed(self) -> bool:
        """Whether even the lower end of the interval loses less than is tolerated."""
        return self.low > -self.tolerance

    @property
    def sentence(self) -> str:
        """What was found, in words."""
        name = {"auroc": "AUROC", "auroc_macro": "macro AUROC"}.get(self.metric, "mean absolute error")
        whose = f"{name} of {self.head}" if self.head else name
        if not math.isfinite(self.low):
            return f"{whose}: {self.reason or 'undefined'}: fails"
        unit = " standard deviations" if self.metric == "mae" else ""
        verdict = "passes, for a loss" if self.passed else "fails: a loss"
        return (
            f"{whose} {self.before:.4f} -> {self.after:.4f}, gain {self.gain:+.4f} [{self.low:+.4f}, {self.high:+.4f}]"
            f"{unit} on {self.images:,} images of {self.patients:,} patients: {verdict} below {self.tolerance:g} is "
            "tolerated"
        )

    def to_json(self) -> dict[str, Any]:
        """Plain values for strict JSON: None, never NaN."""
        return _plain(asdict(self)) | {"passed": self.passed, "says": self.sentence}


def agreement_of(reference: Array, other: Array, *, task: Task, bound: float = BOUND) -> Parity:
    """Compare what two runtimes say of the same images, score by score.

    Args:
        reference: Scores of the reference, shape (N, S).
        other: Scores of the other, shape (N, S).
        task: What the scores are; a quantity is compared in its standard deviations of training.
        bound: Greatest difference that passes.

    Returns:
        The parity; undefined, and not passed, without images or where a score is not finite.

    Raises:
        ValueError: If the shapes differ, or are not the task's.

    Example:
        >>> from eyeground.data.task import classification
        >>> scores = np.array([[0.25, 0.75]])
        >>> agreement_of(scores, scores, task=classification(("normal", "drusen"))).passed
        True

    References:
        Our own.
    """
    if reference.shape != other.shape or reference.shape[1:] != (task.columns,):
        raise ValueError(
            f"shapes differ: reference {reference.shape}, other {other.shape}, and the task has {task.columns} scores"
        )
    count = len(reference)
    infinite = int((~np.isfinite(reference) | ~np.isfinite(other)).any(axis=1).sum())
    if not count or infinite:
        reason = f"{infinite:,} of {count:,} images have a score that is not finite" if count else "there is no image"
        return Parity(math.nan, bound, count, reason)
    spread = np.ones(task.columns)
    for head, _, place in task.parts():
        if head.kind == "quantity":
            spread[place] = head.spread
    return Parity(float((np.abs(other - reference) / spread).max()), bound, count)


def change_of(
    head: Head,
    before: Table,
    after: Table,
    *,
    tolerance: float = TOLERANCE,
    resamples: int = 2000,
    seed: int = 0,
) -> Change:
    """Measure what rounding costs one head: the same patients are drawn for both, again and again.

    AUROC does not see a change that keeps the order of the scores, so thresholds and calibration hold for the runtime
    that they were made with.

    Args:
        head: What is asked.
        before: Its table on validation with the reference's scores.
        after: The same rows with the other's.
        tolerance: Greatest loss that passes: of AUROC, of a quantity of its mean absolute error in standard deviations
            of training; above 0.
        resamples: Number of bootstrap resamples, at least 1.
        seed: Seed of the resamples.

    Returns:
        The change; undefined, and not passed, where a class is absent or there are too few patients.

    Raises:
        ValueError: If the tables are not about the same rows, or not what the head asks, or the tolerance is not above
            0.

    Example:
        >>> p = np.array([0.1, 0.4, 0.35, 0.8])
        >>> table = Predictions(tuple("abcd"), tuple("abcd"), ("",) * 4, ("",) * 4, ("",) * 4, np.array([0, 0, 1, 1]),
        ...                     np.stack([1 - p, p], axis=1), ("no", "yes"), False, True, ("",) * 4)
        >>> change_of(Head("AMD"), table, table, resamples=50).sentence
        'AUROC of AMD 0.7500 -> 0.7500, gain +0.0000 [+0.0000, +0.0000] on 4 images of 4 patients: passes, ...

    References:
        Efron & Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13.
    """
    if not tolerance > 0:
        raise ValueError(f"the tolerance is {tolerance}: it is above 0, such as {TOLERANCE}")
    kinds = {_kind(before), _kind(after)}
    if kinds != {"measured" if head.kind == "quantity" else "scored"}:
        raise ValueError(f"these are not two tables of {head.name!r}, which is asked for {head.kind}")
    _check_same(before, after)
    metric = {"quantity": "mae", "yes_no": "auroc"}.get(head.kind, "auroc_macro")
    rows = before.labelled
    count = int(rows.sum())
    if not count:
        none = f"no image has a known {head.name}"
        return Change(head.name, metric, *(math.nan,) * 5, tolerance=tolerance, images=0, patients=0, reason=none)
    one, two = before.select(rows), after.select(rows)
    if isinstance(one, Measurements) and isinstance(two, Measurements):
        (was, now), test = _error_change(one, two, head.spread, resamples=resamples, seed=seed)
    elif isinstance(one, Predictions) and isinstance(two, Predictions):
        once = np.ones((1, count))
        was, now = (float(resampled.value("auroc_macro", table, once)[0]) for table in (one, two))
        test = paired_bootstrap([two], [one], resamples=resamples, seed=seed)
    return Change(
        head.name,
        metric,
        was,
        now,
        test.difference,
        test.low,
        test.high,
        tolerance=tolerance,
        images=count,
        patients=test.patients,
        reason=test.reason,
    )


def _error_change(
    before: Measurements, after: Measurements, spread: float, *, resamples: int, seed: int
) -> tuple[tuple[float, float], PairedTest]:
    """Mean absolute errors of two tables, and by how much they fell in standard deviations."""
    errors = np.stack([np.abs(table.said - table.truth) for table in (before, after)], axis=1)  # (N, 2)

    def statistic(weights: Array) -> Array:
        sums = weights @ errors
        return share(sums, np.broadcast_to(weights.sum(axis=1, keepdims=True), sums.shape))

    was, now = statistic(np.ones((1, len(errors))))[0].tolist()
    samples = bootstrap(statistic, before.patients, resamples=resamples, seed=seed)
    fell = (samples[:, 0] - samples[:, 1]) / spread
    return (was, now), paired_difference((was - now) / spread, fell, patients=len(set(before.patients)))


def _kind(table: Table) -> str:
    """Whether a table holds a quantity, or scores."""
    return "measured" if kind_of(table) == "quantity" else "scored"


def _check_same(before: Table, after: Table) -> None:
    """Refuse tables about other rows."""
    names = ("files", "patients", *(("classes",) if isinstance(before, Predictions) else ()))
    wrong = [name for name in names if getattr(before, name) != getattr(after, name)]
    if not np.array_equal(before.truth, after.truth, equal_nan=True):
        wrong.append("truth")
    if wrong:
        raise ValueError(f"parity needs the same rows in the same order, but {', '.join(wrong)} differ")


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    """None for what is undefined."""
    return {name: None if isinstance(value, float) and math.isnan(value) else value for name, value in values.items()}
