"""Several answers about the same images at once: each head measured, and means over heads, from one joint bootstrap."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eyeground.data.task import YES_NO
from eyeground.evaluate import averaging, multilabel
from eyeground.evaluate.confidence import Estimate, bootstrap, estimates
from eyeground.evaluate.head import COLUMNS, Array, HeadLine, Table, head_line, kind_of, measured
from eyeground.evaluate.measurements import Measurements
from eyeground.evaluate.metrics import ece
from eyeground.evaluate.predictions import Predictions
from eyeground.evaluate.wording import listed, shown

# Mean over heads -> the columns that it is taken of; a head has one of them, or none.
MEANS = {
    "auroc_mean": ("auroc", "auroc_macro"),
    "ap_mean": ("ap",),
    "f1_mean": ("f1", "f1_macro"),
    "kappa_mean": ("kappa_quadratic", "kappa"),
}


@dataclass(frozen=True, eq=False)
class HeadsSummary:
    """What was measured of several heads on the same images.

    Args:
        n: Images with a known label of at least one head.
        unlabelled: Images without any known label, left out.
        patients: Number of patients.
        patients_known: Whether patients are real groups; if not, each image counted as its own.
        resamples: Number of bootstrap resamples.
        partial_resamples: How many of them left a head without a number that it has on the data; means over heads run
            over fewer heads there.
        seed: Seed of the resamples.
        heads: One line per head: those with classes first, then quantities, each in the order given.
        headline: The keys of ``MEANS``, each also as ``<name>_present``, the mean over the heads that have a value;
            where several heads are all yes/no also ``multilabel.METRICS``.
        complete: Images whose labels are all known, on which ``multilabel.METRICS`` are measured; 0 for other heads.
        together: Where several heads are all yes/no: images with both labels, shape (H, H). Otherwise empty.
        together_of: For each pair the images with the row's label in which the column's is known, shape (H, H).

    Example:
        >>> p = np.array([0.1, 0.6, 0.35, 0.8])
        >>> table = Predictions(tuple("abcd"), tuple("abcd"), ("",) * 4, ("",) * 4, ("",) * 4, np.array([0, 0, 1, 1]),
        ...                     np.stack([1 - p, p], axis=1), ("no", "yes"), False, True, ("",) * 4)
        >>> summarize_heads({"AMD": table}, {}, resamples=50).to_json()["heads"][0]["auroc"]["value"]
        0.75

    References:
        Our own.
    """

    n: int
    unlabelled: int
    patients: int
    patients_known: bool
    resamples: int
    partial_resamples: int
    seed: int
    heads: tuple[HeadLine, ...]
    headline: Mapping[str, Estimate]
    complete: int
    together: NDArray[np.int64]
    together_of: NDArray[np.int64]

    def to_json(self) -> dict[str, Any]:
        """Plain values for strict JSON: None, never NaN."""
        return {
            "n": self.n,
            "unlabelled": self.unlabelled,
            "patients": self.patients,
            "patients_known": self.patients_known,
            "resamples": self.resamples,
            "partial_resamples": self.partial_resamples,
            "seed": self.seed,
            "headline": _plain(self.headline),
            "heads": [
                {
                    "name": line.name,
                    "kind": line.kind,
                    "classes": list(line.classes),
                    "unit": line.unit,
                    "n": line.n,
                    "unlabelled": line.unlabelled,
                    "patients": line.patients,
                    "counts": list(line.counts),
                    **_plain(line.scores),
                }
                for line in self.heads
            ],
            "complete": self.complete,
            "together": self.together.tolist(),
            "together_of": self.together_of.tolist(),
        }


@dataclass(frozen=True, eq=False)
class _Labels:
    """The labels of several yes/no heads as one answer; no row and no label where heads are of other kinds."""

    names: tuple[str, ...]
    truth: NDArray[np.int64]  # (N, H), -1 = not known
    scores: Array  # (N, H)
    complete: NDArray[np.bool_]  # (N,)

    def measured(self, weights: Array) -> Array:
        """``multilabel.METRICS`` on every resample, of the rows whose labels are all known."""
        if not self.names:
            return np.zeros((len(weights), 0))
        rows = self.complete
        return multilabel.values(self.truth[rows] == 1, self.scores[rows], weights[:, rows])


def summarize_heads(
    predictions: Mapping[str, Predictions],
    measurements: Mapping[str, Measurements],
    *,
    resamples: int = 2000,
    seed: int = 0,
) -> HeadsSummary:
    """Measure all heads of a model on the same images, with 95% bootstrap intervals by patient.

    Each resample draws the same patients for every head; an image counts for the heads whose label it has, and a label
    that is not known counts for nothing. A mean over heads is undefined where one of its heads is.

    Args:
        predictions: Head -> table. Classes ``("no", "yes")`` make a yes/no head, ordered ones a head of grades.
        measurements: Head -> table of a quantity. All tables have the same images in the same order.
        resamples: Number of bootstrap resamples, at least 1.
        seed: Seed of the resamples; equal seeds give equal intervals.

    Returns:
        The summary.

    Raises:
        ValueError: If there is no head, two have the same name, the tables are not about the same images, or no image
            has a known label; all problems together.

    Example:
        >>> p = np.array([0.1, 0.6, 0.35, 0.8])
        >>> table = Predictions(tuple("abcd"), tuple("abcd"), ("",) * 4, ("",) * 4, ("",) * 4, np.array([0, 0, -1, 1]),
        ...                     np.stack([1 - p, p], axis=1), ("no", "yes"), False, True, ("",) * 4)
        >>> [(line.n, line.positives) for line in summarize_heads({"AMD": table}, {}, resamples=50).heads]
        [(3, 1)]

    References:
        Our own.
    """
    _check(predictions, measurements)
    given: dict[str, Table] = {**predictions, **measurements}
    labelled = np.any([table.labelled for table in given.values()], axis=0)
    tables = {name: table.select(labelled) for name, table in given.items()}
    patients = next(iter(tables.values())).patients
    labels = _labels(tables)
    places = [(name, column) for name, table in tables.items() for column in COLUMNS[kind_of(table)]]
    members = {mean: [at for at, (_, column) in enumerate(places) if column in of] for mean, of in MEANS.items()}
    members = {mean: member for mean, member in members.items() if member}
    averaged = [at for at, (_, column) in enumerate(places) if any(column in of for of in MEANS.values())]

    def alone(weights: Array) -> Array:
        return np.concatenate([measured(table, weights) for table in tables.values()], axis=1)

    once = np.ones((1, len(patients)))
    defined = np.isfinite(alone(once)[0])

    def statistic(weights: Array) -> Array:
        found = alone(weights)
        means = [averaging.macro(found[:, member], defined[member]) for member in members.values()]
        means += [averaging.present(found[:, member]) for member in members.values()]
        means.append((~np.isfinite(found[:, averaged]) & defined[averaged]).any(axis=1).astype(np.float64))
        return np.concatenate([found, np.stack(means, axis=1), labels.measured(weights)], axis=1)

    samples = bootstrap(statistic, patients, resamples=resamples, seed=seed)
    point = statistic(once)[0]
    _center(samples, point, [at for at, (_, column) in enumerate(places) if column == "ece"])

    lines, start = [], 0
    for name, table in tables.items():
        part = slice(start, start + len(COLUMNS[kind_of(table)]))
        missing = len(labelled) - int(table.labelled.sum())
        lines.append(head_line(name, table, point=point[part], samples=samples[:, part], unlabelled=missing))
        start = part.stop
    people = len(set(patients))
    lacking = [_lacking([places[at][0] for at in member if not defined[at]]) for member in members.values()]
    last = start + 2 * len(members)
    answers = estimates(point[start:last], samples[:, start:last], lacking * 2, people)
    means = dict(zip([*members, *(f"{mean}_present" for mean in members)], answers, strict=True))
    none = Estimate(float("nan"), reason="no head has one")
    return HeadsSummary(
        n=len(patients),
        unlabelled=len(labelled) - len(patients),
        patients=people,
        patients_known=next(iter(tables.values())).patients_known,
        resamples=resamples,
        partial_resamples=int(samples[:, last].sum()),
        seed=seed,
        heads=tuple(lines),
        headline={
            **{name: means.get(name, none) for name in (*MEANS, *(f"{mean}_present" for mean in MEANS))},
            **_as_one(labels, patients, point[last + 1 :], samples[:, last + 1 :]),
        },
        complete=int(labels.complete.sum()),
        **dict(zip(("together", "together_of"), multilabel.together(labels.truth), strict=True)),
    )


def _check(predictions: Mapping[str, Predictions], measurements: Mapping[str, Measurements]) -> None:
    """Refuse heads that are not about the same images."""
    tables: list[tuple[str, Table]] = [*predictions.items(), *measurements.items()]
    problems = [] if tables else ["there is no head"]
    problems += [f"two heads are called {name!r}" for name in predictions if name in measurements]
    for name, table in tables[1:]:
        other, first = tables[0]
        if len(table) != len(first):
            problems.append(f"head {name!r} has {len(table)} images, head {other!r} {len(first)}")
            continue
        for what in ("files", "patients"):
            pairs = zip(getattr(table, what), getattr(first, what), strict=True)
            apart = [(row, one, two) for row, (one, two) in enumerate(pairs) if one != two]
            if apart:
                row, one, two = apart[0]
                problems.append(
                    f"{what} of head {name!r} differ from those of head {other!r} in {len(apart)} rows, "
                    f"first in row {row}: {shown(one)!r} and {shown(two)!r}"
                )
        if table.patients_known != first.patients_known:
            problems.append(f"patients are known to one of the heads {name!r} and {other!r} only")
    if not problems and not any(table.labelled.any() for _, table in tables):
        problems.append("no image has a known label of any head, so nothing can be measured")
    if problems:
        raise ValueError("heads: " + "; ".join(problems))


def _labels(tables: Mapping[str, Table]) -> _Labels:
    """Take several yes/no heads as one answer."""
    heads = {
        name: table for name, table in tables.items() if isinstance(table, Predictions) and table.classes == YES_NO
    }
    if not 1 < len(heads) == len(tables):
        return _Labels((), np.zeros((0, 0), np.int64), np.zeros((0, 0)), np.zeros(0, np.bool_))
    truth = np.stack([table.truth for table in heads.values()], axis=1)
    scores = np.stack([table.scores[:, 1] for table in heads.values()], axis=1)
    return _Labels(tuple(heads), truth, scores, np.all(truth >= 0, axis=1))


def _as_one(labels: _Labels, patients: Sequence[str], point: Array, samples: Array) -> dict[str, Estimate]:
    """The estimates of ``multilabel.METRICS``, if there are any."""
    if not labels.names:
        return {}
    people = len({patients[row] for row in np.flatnonzero(labels.complete).tolist()})
    reasons = multilabel.reasons_undefined(labels.truth[labels.complete] == 1, labels.names)
    return dict(zip(multilabel.METRICS, estimates(point, samples, reasons, people), strict=True))


def _center(samples: Array, point: Array, places: Sequence[int]) -> None:
    """Take the bias of resampling out of calibration errors, in place, as the scorecard of a head does."""
    for place in places if ece.BIASED_UPWARD else ():
        known = np.isfinite(samples[:, place])  # a resample may draw no image whose label is known
        if known.any():
            bias = np.median(samples[known, place]) - point[place]
            samples[:, place] = np.maximum(samples[:, place] - bias, 0)


def _lacking(names: Sequence[str]) -> str:
    """Why a mean over heads is undefined: which heads have no value."""
    return f"head{'s' * (len(names) > 1)} {listed(names)} {'have' if len(names) > 1 else 'has'} none" if names else ""


def _plain(scores: Mapping[str, Estimate]) -> dict[str, dict[str, float | str | None]]:
    """Estimates as plain values."""
    return {name: estimate.to_json() for name, estimate in scores.items()}
