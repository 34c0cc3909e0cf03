"""Which initialization is better? A grid of runs, judged on the same test images."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from eyeground.evaluate import resampled
from eyeground.evaluate.comparison_pairs import Side, paired_tests, pairs_of, reference_problems
from eyeground.evaluate.comparison_verdict import limits, verdict
from eyeground.evaluate.confidence import Estimate, chunks, estimates
from eyeground.evaluate.delong import Influence, auroc_influence
from eyeground.evaluate.paired import centered, majority, same_rows
from eyeground.evaluate.predictions import Predictions
from eyeground.evaluate.wording import listed
from eyeground.pick import pick

# Holm multiplies the smallest p by the number of pairs, and a bootstrap p is at least 2 / (B + 1). With this many
# resamples per pair the smallest adjusted p is 0.02: many pairs alone never make a difference impossible to show.
_RESAMPLES_PER_PAIR = 100


@dataclass(frozen=True, eq=False)
class Cell:
    """One run of the grid.

    Args:
        init: Initialization, such as ``random``.
        way: How it was used, such as ``probe`` or ``finetune``.
        seed: Seed of the training.
        fraction: Share of the training labels, (0, 1].
        predictions: What the run says of the test images.

    Example:
        >>> table = Predictions(("a",), ("p",), ("",), ("",), ("",), np.array([0]), np.array([[0.9, 0.1]]),
        ...                     ("normal", "cataract"), False, True, ("",))
        >>> Cell("mae", "probe", 0, 1.0, table).init
        'mae'

    References:
        Our own.
    """

    init: str
    way: str
    seed: int
    fraction: float
    predictions: Predictions


@dataclass(frozen=True, eq=False)
class Comparison:
    """What a grid of runs shows.

    Args:
        inits: Initializations, in the order given.
        ways: Ways, in the order given.
        seeds: Seeds, sorted.
        fractions: Label fractions, sorted.
        classes: Names of the classes, K.
        n: Test images with known truth.
        unlabelled: Test images without, left out.
        patients: Number of test patients.
        patients_known: Whether patients are real groups; if not, each image counted as its own.
        profiles: Sets of metrics.
        references: Initialization -> the one it is compared with; one without a reference is not among the keys.
        headline: Metric of the paired bootstrap.
        resamples: Resamples of the intervals in ``rows`` and ``summary``.
        test_resamples: Resamples of the paired bootstrap: more, where many pairs are corrected for.
        seed: Seed of the resamples.
        rows: Per cell and metric: ``init, way, seed, fraction, profile, metric, value, low, high, reason``.
        summary: Per initialization, way, fraction and metric: ``init, way, fraction, profile, metric, seeds, mean, sd,
            low, high, reason``; the interval is that of the mean over seeds.
        tests: Per way, fraction and pair: ``way, fraction, a, b, planned, test, metric, difference, low, high, p,
            p_holm, n_patients, reason``; the difference is a - b. Tests are ``bootstrap``, ``delong`` and ``mcnemar``.
            Planned are the pairs of an initialization and its reference, which is ``b``. ``p_holm`` is corrected
            within way, fraction and test: among the planned pairs for a planned one, over all pairs for any other.
        verdict: Sentences on every initialization against its reference.
        limits: Sentences on what the uncertainty covers and what not.

    Example:
        >>> table = Predictions(("a", "b"), ("a", "b"), ("",) * 2, ("",) * 2, ("",) * 2, np.array([0, 1]),
        ...                     np.array([[0.9, 0.1], [0.2, 0.8]]), ("normal", "cataract"), False, True, ("",) * 2)
        >>> found = compare_cells([Cell(name, "probe", 0, 1.0, table) for name in ("random", "mae")], resamples=50)
        >>> found.to_json()["tests"][0]["difference"]
        0.0

    References:
        Our own.
    """

    inits: tuple[str, ...]
    ways: tuple[str, ...]
    seeds: tuple[int, ...]
    fractions: tuple[float, ...]
    classes: tuple[str, ...]
    n: int
    unlabelled: int
    patients: int
    patients_known: bool
    profiles: tuple[str, ...]
    references: dict[str, str]
    headline: str
    resamples: int
    test_resamples: int
    seed: int
    rows: tuple[dict[str, Any], ...]
    summary: tuple[dict[str, Any], ...]
    tests: tuple[dict[str, Any], ...]
    verdict: tuple[str, ...]
    limits: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain values for strict JSON: None, never NaN."""
        return {field.name: _plain(getattr(self, field.name)) for field in fields(self)}


class _Group(NamedTuple):
    """The seeds of one initialization, way and fraction."""

    cells: list[Cell]
    values: NDArray[np.float64]  # (S, M)
    samples: NDArray[np.float64]  # (S, B, M): large, and not needed by the pairs
    side: Side


def compare_cells(
    cells: Sequence[Cell],
    *,
    profiles: Sequence[str] = ("standard",),
    references: Mapping[str, str] | None = None,
    headline: str = "auroc_macro",
    resamples: int = 2000,
    seed: int = 0,
) -> Comparison:
    """Judge a grid of runs on the same test images.

    Every run sees the same resampled patients. Seeds are averaged: the bootstrap averages the metric over seeds within
    each resample; DeLong's test averages the influence of each image on the AUROC over seeds and sums it by patient;
    McNemar's test compares the classes that most seeds say (of equally many votes, the larger mean score wins).

    Args:
        cells: The runs; all are about the same test images in the same order.
        profiles: Files in ``evaluate/profiles``.
        references: Initialization -> the one it is compared with, stated before the results are known. One that is not
            among the keys has no reference: it is in the tables and among the other pairs only. None compares all
            others with the initialization of the first cell.
        headline: File in ``evaluate/metrics``, for the paired bootstrap and the verdict.
        resamples: Number of bootstrap resamples by patient, at least 1.
        seed: Seed of the resamples.

    Returns:
        The comparison.

    Raises:
        ValueError: If there is no cell, two cells are the same run, a fraction is outside (0, 1], references name
            what is no initialization, one is its own reference, they run in a circle, or the cells are not about the
            same test images.
        LookupError: If a shelf has no such profile or metric.

    Example:
        >>> p = np.array([0.1, 0.4, 0.35, 0.8])
        >>> table = Predictions(("a", "b", "c", "d"), ("a", "b", "c", "d"), ("",) * 4, ("",) * 4, ("",) * 4,
        ...                     np.array([0, 0, 1, 1]), np.stack([1 - p, p], axis=1), ("normal", "cataract"), False,
        ...                     True, ("",) * 4)
        >>> found = compare_cells([Cell(name, "probe", 0, 1.0, table) for name in ("random", "mae")], resamples=50)
        >>> found.references, found.summary[0]["mean"], found.summary[0]["reason"]
        ({'mae': 'random'}, 0.75, 'no s.d.: one seed')

    References:
        Demšar, "Statistical comparisons of classifiers over multiple data sets", JMLR 2006;7:1; Bouthillier et al.,
        "Accounting for variance in machine learning benchmarks", MLSys 2021.
    """
    _check(cells, references or {})
    pick("evaluate.metrics", headline)
    keys = resampled.keys(profiles)
    known = [cell.predictions.select(cell.predictions.labelled) for cell in cells]
    try:
        same_rows(known)
    except ValueError as problem:
        raise ValueError(f"the runs were not judged on the same test images: {problem}") from problem
    first, patients = known[0], len(set(known[0].patients))
    inits = tuple(dict.fromkeys(cell.init for cell in cells))
    ways = tuple(dict.fromkeys(cell.way for cell in cells))
    fractions = tuple(sorted({cell.fraction for cell in cells}))
    stated = dict.fromkeys(inits[1:], inits[0]) if references is None else dict(references)

    gathered: dict[tuple[str, float, str], list[Cell]] = {}
    for cell, table in zip(cells, known, strict=True):
        labelled = Cell(cell.init, cell.way, cell.seed, cell.fraction, table)
        gathered.setdefault((cell.way, cell.fraction, cell.init), []).append(labelled)
    present = {
        (way, fraction): [init for init in inits if (way, fraction, init) in gathered]
        for way in ways
        for fraction in fractions
    }
    pairs = [pairs_of(here, stated) for here in present.values()]
    many, most_planned = max(map(len, pairs)), max(sum(planned for *_, planned in here) for here in pairs)
    most = max(resamples, _RESAMPLES_PER_PAIR * many)
    rows, summary, tests = [], [], []
    for (way, fraction), here in present.items():
        sides = {}
        for init in here:
            seeds = sorted(gathered[way, fraction, init], key=lambda cell: cell.seed)
            group = _measure(seeds, profiles, headline, resamples, most, seed)
            rows += _rows(group, keys, profiles, patients)
            summary += _summary(group, keys, profiles, patients)
            sides[init] = group.side
        tests += [{"way": way, "fraction": fraction, **line} for line in paired_tests(sides, stated, headline)]
    return Comparison(
        inits=inits,
        ways=ways,
        seeds=tuple(sorted({cell.seed for cell in cells})),
        fractions=fractions,
        classes=first.classes,
        n=len(first),
        unlabelled=len(cells[0].predictions) - len(first),
        patients=patients,
        patients_known=first.patients_known,
        profiles=tuple(profiles),
        references={init: stated[init] for init in inits if init in stated},
        headline=headline,
        resamples=resamples,
        test_resamples=most,
        seed=seed,
        rows=tuple(rows),
        summary=tuple(summary),
        tests=tuple(tests),
        verdict=verdict(tests=tests, summary=summary, headline=headline, floor=2 / (most + 1)),
        limits=limits(
            patients=patients,
            patients_known=first.patients_known,
            images=len(first),
            seeds=min(map(len, gathered.values())),
            floor=2 / (most + 1),
            pairs=many,
            planned=most_planned,
            few_labels=len(fractions) > 1,
        ),
    )


def _check(cells: Sequence[Cell], references: Mapping[str, str]) -> None:
    """Refuse what is no grid, all problems together."""
    if not cells:
        raise ValueError("there is no run to compare")
    problems, seen = [], set()
    for cell in cells:
        name = f"{listed([cell.init])}, {listed([cell.way])}, seed {cell.seed}, fraction {cell.fraction:g}"
        if not 0 < cell.fraction <= 1:
            problems.append(f"{name}: the fraction is outside (0, 1]")
        if not cell.predictions.labelled.any():
            problems.append(f"{name}: no test image has a known truth")
        if name in seen:
            problems.append(f"{name}: there twice")
        seen.add(name)
    problems += reference_problems(list(dict.fromkeys(cell.init for cell in cells)), references)
    if problems:
        raise ValueError("\n  ".join(["the grid cannot be compared", *problems]))


def _measure(cells: list[Cell], profiles: Sequence[str], headline: str, resamples: int, most: int, seed: int) -> _Group:
    """All numbers of the seeds of one initialization, on the data itself and in all resamples."""
    tables = [cell.predictions for cell in cells]
    truth, once = tables[0].truth, np.ones((1, len(tables[0])))
    keys, said = resampled.keys(profiles), majority(tables)
    right = (said == truth).astype(np.float64)
    values = np.concatenate([resampled.measured(table, profiles, once) for table in tables])
    heads = np.array([resampled.value(headline, table, once)[0] for table in tables])
    samples = np.zeros((len(tables), resamples, len(keys)))
    head_samples, right_samples = np.zeros((most, len(tables))), np.zeros(resamples)
    column = keys.index(("standard", headline)) if ("standard", headline) in keys else None
    start = 0
    for drawn in chunks(tables[0].patients, most, seed):
        part = drawn[: max(0, resamples - start)]
        here, end = slice(start, start + len(part)), start + len(drawn)
        right_samples[here] = part @ right / part.sum(axis=1)
        for place, table in enumerate(tables):
            if len(part):
                samples[place, here] = resampled.measured(table, profiles, part)
            rest = start if column is None else here.stop
            if column is not None:
                head_samples[here, place] = samples[place, here, column]
            if rest < end:
                head_samples[rest:end, place] = resampled.value(headline, table, drawn[rest - start :])
        start = end
    parts = [auroc_influence(table.truth, table.scores) for table in tables]
    side = Side(
        tables,
        float(heads.mean()),
        centered(headline, heads, head_samples).mean(axis=1),
        Influence(float(np.mean([part.auroc for part in parts])), np.mean([part.pull for part in parts], axis=0)),
        said,
        right_samples,
    )
    return _Group(cells, values, samples, side)


def _estimates(
    keys: Sequence[tuple[str, str]],
    values: NDArray[np.float64],
    samples: NDArray[np.float64],
    reasons: Sequence[str],
    patients: int,
) -> list[Estimate]:
    """Values with their intervals, the bias of resampling taken out where a metric has one."""
    for place, (profile, metric) in enumerate(keys):
        if profile == "standard":
            samples[:, place : place + 1] = centered(metric, values[place : place + 1], samples[:, place : place + 1])
    return estimates(values, samples, reasons, patients)


def _rows(
    group: _Group, keys: Sequence[tuple[str, str]], profiles: Sequence[str], patients: int
) -> list[dict[str, Any]]:
    """Lines of ``rows`` for each seed; centers the samples of each seed in place."""
    lines = []
    for place, cell in enumerate(group.cells):
        reasons = resampled.reasons(cell.predictions, profiles)
        found = _estimates(keys, group.values[place], group.samples[place], reasons, patients)
        head = {"init": cell.init, "way": cell.way, "seed": cell.seed, "fraction": cell.fraction}
        lines += [
            {**head, "profile": profile, "metric": metric, "value": e.value, "low": e.low, "high": e.high,
             "reason": e.reason}
            for (profile, metric), e in zip(keys, found, strict=True)
        ]  # fmt: skip
    return lines


def _summary(
    group: _Group, keys: Sequence[tuple[str, str]], profiles: Sequence[str], patients: int
) -> list[dict[str, Any]]:
    """Lines of ``summary``; the samples of each seed are already centered."""
    count, cell = len(group.cells), group.cells[0]
    reasons = []
    for place, told in enumerate(zip(*[resampled.reasons(c.predictions, profiles) for c in group.cells], strict=True)):
        gone = np.isnan(group.values[:, place])
        why = next((reason for reason, undefined in zip(told, gone.tolist(), strict=True) if undefined), "")
        reasons.append(f"undefined for {gone.sum()} of {count} seeds: {why}" if 0 < gone.sum() < count else why)
    found = estimates(group.values.mean(axis=0), group.samples.mean(axis=0), reasons, patients)
    lines = []
    for place, ((profile, metric), e) in enumerate(zip(keys, found, strict=True)):
        sd = float(group.values[:, place].std(ddof=1)) if count > 1 else math.nan
        lone = "no s.d.: one seed" if count == 1 and e.defined else ""
        lines.append(
            {"init": cell.init, "way": cell.way, "fraction": cell.fraction, "profile": profile, "metric": metric,
             "seeds": count, "mean": e.value, "sd": sd, "low": e.low, "high": e.high,
             "reason": "; ".join(filter(None, (e.reason, lone)))}
        )  # fmt: skip
    return lines


def _plain(value: Any) -> Any:
    """Plain values for strict JSON."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, list | tuple) else value
