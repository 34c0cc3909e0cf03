"""How far doctors and models agree, finding by finding, with intervals by patient."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from eyeground.clinic.findings import FINDINGS
from eyeground.clinic.records import Part
from eyeground.clinic.statistics.number import Number, number_of
from eyeground.evaluate.confidence import estimates
from eyeground.evaluate.metrics import kappa, kappa_quadratic

Source = Literal["first_read", "signed"]
SOURCES: Final[tuple[Source, ...]] = ("first_read", "signed")
# Stands beside the findings: whether an eye can be graded at all.
GRADABLE: Final = "ungradable"
_RESAMPLES: Final = 2000
_SEED: Final = 0


class Pair(NamedTuple):
    """What a doctor and the models say of one thing in one eye.

    Args:
        patient: Whose eye; stands for the person, and goes no further.
        part: Part of the eye.
        finding: Of which finding, or ``GRADABLE``.
        doctor: The doctor's value.
        models: The models' value.

    Example:
        >>> Pair("P1", "fundus", "DR", 2, 1).doctor
        2

    References:
        Our own.
    """

    patient: str
    part: Part
    finding: str
    doctor: int
    models: int


@dataclass(frozen=True)
class Agreement:
    """How far doctors and models agree in one finding.

    Args:
        source: ``signed``: opinions that were signed, by doctors who saw what the models say. ``first_read``: what
            they wrote before.
        part: Part of the eye.
        finding: Which finding; ``ungradable`` = whether the eye can be graded at all.
        eyes: How many eyes both speak of.
        patients: Of how many patients.
        same: Share of eyes of which both say the same.
        kappa: Cohen's, with the bootstrap's interval by patient; of a grade with quadratic weights.
        weighted: Whether it has quadratic weights.
        matrix: How many eyes: a row for each value of the doctor, a column for each of the models.

    Example:
        >>> Agreement("signed", "fundus", "AMD", 0, 0, Number(None), Number(None), False, ()).finding
        'AMD'

    References:
        Cohen, Educ Psychol Meas 1960;20:37, and Psychol Bull 1968;70:213.
    """

    source: Source
    part: Part
    finding: str
    eyes: int
    patients: int
    same: Number
    kappa: Number
    weighted: bool
    matrix: tuple[tuple[int, ...], ...]


def agreements(pairs: Iterable[Pair], *, source: Source) -> tuple[Agreement, ...]:
    """Sum up how far doctors and models agree.

    Args:
        pairs: What both say.
        source: Where the doctors' words are from.

    Returns:
        One for each finding that both have spoken of, in the contracts' order; whether eyes can be graded comes first.

    Example:
        >>> pairs = [Pair(f"P{each}", "fundus", "AMD", each % 2, each % 2) for each in range(8)]
        >>> [found] = agreements(pairs, source="signed")
        >>> found.eyes, found.kappa.value, found.matrix
        (8, 1.0, ((4, 0), (0, 4)))

    References:
        Field & Welsh, "Bootstrapping clustered data", J R Stat Soc B 2007;69:369.
    """
    counts: defaultdict[tuple[Part, str], defaultdict[str, Counter[tuple[int, int]]]]
    counts = defaultdict(lambda: defaultdict(Counter))
    for each in pairs:
        counts[each.part, each.finding][each.patient][each.doctor, each.models] += 1
    asked = [(part, name, most) for part in FINDINGS for name, most in [(GRADABLE, 1), *FINDINGS[part].items()]]
    return tuple(
        _agreement(source, part, name, most + 1, counts[part, name])
        for part, name, most in asked
        if (part, name) in counts
    )


def _agreement(
    source: Source, part: Part, name: str, values: int, by_patient: Mapping[str, Counter[tuple[int, int]]]
) -> Agreement:
    """One finding. Who draws patients with replacement and counts their cells draws patterns of cells just so."""
    weighted = values > 2
    metric = kappa_quadratic if weighted else kappa
    cells = [(doctor, models) for doctor in range(values) for models in range(values)]
    truth, said = np.array([doctor for doctor, _ in cells]), np.eye(values)[[models for _, models in cells]]
    patterns = Counter(tuple(each[cell] for cell in cells) for each in by_patient.values())
    table, times = np.array(list(patterns), dtype=np.float64), np.array(list(patterns.values()))  # (U, K*K), (U,)
    whole, patients = times @ table, int(times.sum())

    def statistic(drawn: NDArray[np.float64]) -> NDArray[np.float64]:
        matrices = drawn @ table  # (b, K*K): eyes by cell
        agreed = matrices[:, truth == said.argmax(axis=1)].sum(axis=1) / matrices.sum(axis=1)
        return np.stack([metric.value(truth, said, matrices), agreed], axis=1)

    drawn = np.random.default_rng(_SEED).multinomial(patients, times / patients, size=_RESAMPLES)
    samples = statistic(drawn.astype(np.float64))
    found = estimates(statistic(times[None].astype(np.float64))[0], samples, ["", ""], patients)
    eyes = int(whole.sum())
    beyond_chance, same = (number_of(each, patients=patients, rows=eyes) for each in found)
    square = whole.astype(int).reshape(values, values).tolist()
    return Agreement(
        source, part, name, eyes, patients, same, beyond_chance, weighted, tuple(tuple(row) for row in square)
    )
