"""Whether a model's answers are spread as they were: today's images held against the first that it saw here."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from eyeground.clinic.findings import FINDINGS
from eyeground.clinic.records import Part
from eyeground.clinic.statistics.number import Number

Verdict = Literal["no_drift", "look", "too_few"]
# A bundle carries no scores of its validation images, so what a model said first at this place is the reference.
REFERENCE_IMAGES: Final = 500
LEAST_PATIENTS: Final = 50
# What is customary to call a shift that matters.
SHIFT: Final = 0.1
_BINS: Final = 10
_SHOWN: Final = 10
# Of a thousand findings that have not changed one is called changed.
_Z: Final = 3.0902


class Answered(NamedTuple):
    """What a model said of one image.

    Args:
        patient: Whose image; stands for the person, and goes no further.
        value: 0 or 1, or a grade.
        score: Probability of yes; of a grade that of the grade; None where the model gives none.

    Example:
        >>> Answered("P1", 1, 0.8).score
        0.8

    References:
        ``eyeground.clinic.records.Said``.
    """

    patient: str
    value: int
    score: float | None


@dataclass(frozen=True)
class Drift:
    """Whether a model's answers to one question are spread as they were.

    Args:
        model: Title of the model.
        part: Part of the eye.
        finding: Which question.
        reference_images: Images of the reference: the first that the model saw here.
        reference_patients: Patients of the reference.
        images: Images since then, in the days that are told of.
        patients: Their patients.
        psi: Population stability index; 0 = spread just so.
        limit: What it may be: ``SHIFT``, or what chance alone gives with so few patients, whichever is more.
        verdict: ``look`` above the limit, ``too_few`` with fewer than ``LEAST_PATIENTS`` on either side.
        bins: What the shares below are of: grades, or values, or ``"0.0-0.1"`` and so on.
        reference_shares: Share of the reference in each.
        shares: Share of the images since then in each.

    Example:
        >>> Drift("m", "fundus", "AMD", 0, 0, 0, 0, Number(None), None, "too_few", (), (), ()).verdict
        'too_few'

    References:
        Yurdakul & Naranjo, "Statistical properties of the population stability index", J Risk Model Valid 2020;14.
    """

    model: str
    part: Part
    finding: str
    reference_images: int
    reference_patients: int
    images: int
    patients: int
    psi: Number
    limit: float | None
    verdict: Verdict
    bins: tuple[str, ...]
    reference_shares: tuple[float, ...]
    shares: tuple[float, ...]


def drift(reference: Sequence[Answered], now: Sequence[Answered], *, model: str, part: Part, finding: str) -> Drift:
    """Hold what a model says now against what it said first.

    Probabilities are cut at the deciles of the reference, grades are taken as they are.

    Args:
        reference: What it said of the first images.
        now: What it said since then.
        model: Title of the model.
        part: Part of the eye.
        finding: Which question.

    Returns:
        The drift.

    Raises:
        ValueError: If an answer is none that the finding can have.

    Example:
        >>> then = [Answered(f"P{each}", 0, each / 100) for each in range(100)]
        >>> since = [Answered(f"Q{each}", 1, each / 200 + 0.5) for each in range(100)]
        >>> found = drift(then, since, model="m", part="fundus", finding="AMD")
        >>> found.verdict, drift(then, then, model="m", part="fundus", finding="AMD").psi.value
        ('look', 0.0)

    References:
        Siddiqi, "Credit Risk Scorecards", 2006, chapter 8 (where the index is from).
    """
    most = FINDINGS[part][finding]
    if any(not 0 <= each.value <= most for each in (*reference, *now)):
        raise ValueError(f"{finding} is 0 to {most}")
    scored = most == 1 and all(each.score is not None for each in (*reference, *now))
    before, after = _values(reference, scored=scored), _values(now, scored=scored)
    people = [len({each.patient for each in side}) for side in (reference, now)]
    names = tuple(str(value) for value in range(most + 1))
    if scored:
        names = tuple(f"{low / _SHOWN:.1f}-{(low + 1) / _SHOWN:.1f}" for low in range(_SHOWN))
    shown = [_shown(side, len(names), scored=scored) for side in (before, after)]
    limit: float | None = None
    verdict: Verdict = "too_few"
    psi = Number(None, why="nothing" if not (len(before) and len(after)) else "too_few")
    if min(people) >= LEAST_PATIENTS:
        edges = _deciles(before) if scored else np.arange(most, dtype=np.float64) + 0.5
        index = _psi(before, after, edges)
        limit = max(SHIFT, _by_chance(len(edges) + 1, *people))
        psi, verdict = Number(index), "look" if index > limit else "no_drift"
    return Drift(
        model, part, finding, len(before), people[0], len(after), people[1], psi, limit, verdict, names, *shown
    )


def _values(answers: Sequence[Answered], *, scored: bool) -> NDArray[np.float64]:
    """What is compared: probabilities of yes, or grades."""
    return np.array([each.score if scored else each.value for each in answers], dtype=np.float64)


def _deciles(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Where the reference is cut; equal ones once."""
    return np.unique(np.quantile(values, np.arange(1, _BINS) / _BINS))


def _shown(values: NDArray[np.float64], bins: int, *, scored: bool) -> tuple[float, ...]:
    """Share of the values in each bin of the picture; nothing where there are none."""
    if not len(values):
        return ()
    places = np.minimum((values * _SHOWN if scored else values).astype(int), bins - 1)
    return tuple((np.bincount(places, minlength=bins) / len(values)).tolist())


def _psi(before: NDArray[np.float64], after: NDArray[np.float64], edges: NDArray[np.float64]) -> float:
    """The index; half an image more in each bin, so that an empty one is not infinitely far."""
    bins = len(edges) + 1
    sides = []
    for values in (before, after):
        counts = np.bincount(np.searchsorted(edges, values, side="left"), minlength=bins) + 0.5
        sides.append(counts / counts.sum())
    return float(((sides[1] - sides[0]) * np.log(sides[1] / sides[0])).sum())


def _by_chance(bins: int, before: int, after: int) -> float:
    """What the index stays below if nothing has changed: so many chi-square, by Wilson and Hilferty's formula.

    Patients are counted and not images, since two eyes of one patient are no two witnesses.
    """
    free = bins - 1
    square = free * (1 - 2 / (9 * free) + _Z * math.sqrt(2 / (9 * free))) ** 3
    return square * (1 / before + 1 / after)
