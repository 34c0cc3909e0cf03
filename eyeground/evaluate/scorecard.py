"""Everything measured on one prediction table, each number with its interval or with the reason why there is none."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eyeground.evaluate import averaging, confusion, operating_points, resampled
from eyeground.evaluate.confidence import Estimate, bootstrap, estimates, partial
from eyeground.evaluate.operating_points import OperatingRow
from eyeground.evaluate.predictions import Predictions
from eyeground.evaluate.profiles import standard
from eyeground.evaluate.subgroups import Subgroup, subgroups
from eyeground.evaluate.wording import listed
from eyeground.pick import pick

# Column of the per-class table -> the shelf metric whose per-class values fill it; specificity is no shelf metric.
CLASS_COLUMNS = {
    "auroc": "auroc_macro",
    "ap": "ap_macro",
    "sensitivity": "recall_macro",
    "specificity": "",
    "precision": "precision_macro",
    "f1": "f1_macro",
}


@dataclass(frozen=True, eq=False)
class ClassScores:
    """One line of the per-class table.

    Args:
        name: The class.
        n: Images of the class.
        patients: Patients with an image of the class.
        scores: ``auroc, ap, sensitivity, specificity, precision, f1`` -> estimate.

    Example:
        >>> ClassScores("drusen", 3, 2, {}).n
        3

    References:
        Our own.
    """

    name: str
    n: int
    patients: int
    scores: Mapping[str, Estimate]


@dataclass(frozen=True, eq=False)
class Scorecard:
    """What was measured on one prediction table.

    Args:
        classes: Names of the classes, K, in clinical order.
        ordered: Whether the order of the classes is a grade.
        n: Images with known truth; all numbers are about these.
        unlabelled: Images without known truth, left out.
        patients: Number of patients.
        patients_known: Whether patients are real groups; if not, each image counted as its own.
        resamples: Number of bootstrap resamples.
        partial_resamples: How many of them left out a class that the data has; macro averages run over fewer classes
            there.
        seed: Seed of the resamples.
        headline: Metric name -> estimate: all of profile ``standard``, and each macro metric also as
            ``<name>_present``, the mean over the classes that have a value.
        per_class: One line per class.
        confusion: Images by true and predicted class, shape (K, K).
        operating_points: One line per class and rule.
        subgroups: One line per group.

    Example:
        >>> p = np.array([0.1, 0.4, 0.35, 0.8])
        >>> table = Predictions(("a", "b", "c", "d"), ("a", "b", "c", "d"), ("",) * 4, ("",) * 4, ("",) * 4,
        ...                     np.array([0, 0, 1, 1]), np.stack([1 - p, p], axis=1), ("normal", "cataract"), False,
        ...                     True, ("",) * 4)
        >>> scorecard(table, resamples=50).to_json()["confusion"]
        [[2, 0], [1, 1]]

    References:
        Our own.
    """

    classes: tuple[str, ...]
    ordered: bool
    n: int
    unlabelled: int
    patients: int
    patients_known: bool
    resamples: int
    partial_resamples: int
    seed: int
    headline: Mapping[str, Estimate]
    per_class: tuple[ClassScores, ...]
    confusion: NDArray[np.int64]
    operating_points: tuple[OperatingRow, ...]
    subgroups: tuple[Subgroup, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain values for strict JSON: None, never NaN."""
        return {
            "n": self.n,
            "unlabelled": self.unlabelled,
            "patients": self.patients,
            "patients_known": self.patients_known,
            "classes": list(self.classes),
            "ordered": self.ordered,
            "resamples": self.resamples,
            "partial_resamples": self.partial_resamples,
            "seed": self.seed,
            "headline": _plain(self.headline),
            "per_class": [
                {"class": line.name, "n": line.n, "patients": line.patients, **_plain(line.scores)}
                for line in self.per_class
            ],
            "confusion": self.confusion.tolist(),
            "operating_points": [
                {
                    "class": line.name,
                    "rule": line.rule,
                    "threshold": None if line.reason else line.threshold,
                    "sensitivity": line.sensitivity.to_json(),
                    "specificity": line.specificity.to_json(),
                    **({"reason": line.reason} if line.reason else {}),
                }
                for line in self.operating_points
            ],
            "subgroups": [
                {
                    "attribute": group.attribute,
                    "name": group.name,
                    "n": group.n,
                    "patients": group.patients,
                    **_plain(group.scores),
                    "auroc": _plain(group.auroc),
                }
                for group in self.subgroups
            ],
        }


def scorecard(predictions: Predictions, *, resamples: int = 2000, seed: int = 0) -> Scorecard:
    """Measure a prediction table, with 95% bootstrap intervals by patient.

    Args:
        predictions: The table; rows without known truth are left out.
        resamples: Number of bootstrap resamples, at least 1.
        seed: Seed of the resamples; equal seeds give equal intervals.

    Returns:
        The scorecard.

    Raises:
        ValueError: If no row has a known truth.

    Example:
        >>> p = np.array([0.1, 0.4, 0.35, 0.8])
        >>> table = Predictions(("a", "b", "c", "d"), ("a", "b", "c", "d"), ("",) * 4, ("",) * 4, ("",) * 4,
        ...                     np.array([0, 0, 1, 1]), np.stack([1 - p, p], axis=1), ("normal", "cataract"), False,
        ...                     True, ("",) * 4)
        >>> card = scorecard(table, resamples=50)
        >>> card.headline["auroc_macro"].value, card.to_json()["headline"]["kappa_quadratic"]
        (0.75, {'value': None, 'reason': 'classes are not ordered'})

    References:
        Collins et al., "TRIPOD+AI statement", BMJ 2024;385:e078378.
    """
    if not predictions.labelled.any():
        raise ValueError("no row has a known truth, so nothing can be measured; use predict for such images")
    known = predictions.select(predictions.labelled)
    truth, scores, classes = known.truth, known.scores, known.classes
    once = np.ones((1, len(known)))
    chosen = operating_points.choose(truth, scores)

    def statistic(weights: NDArray[np.float64]) -> NDArray[np.float64]:
        tables, counts = resampled.per_class(known, weights)
        headline = resampled.standard_values(known, weights, tables, counts)
        whole = [headline[name] for name in standard.COLUMNS]
        whole += [averaging.present(tables[name]) for name in standard.PER_CLASS]
        whole.append(partial(truth, counts).astype(np.float64))
        columns = [*(tables[name] for name in standard.PER_CLASS), confusion.specificity(counts)]
        again = operating_points.measured(truth, scores, chosen, weights)
        return np.concatenate([np.stack(whole, axis=1), *columns, again], axis=1)

    samples = bootstrap(statistic, known.patients, resamples=resamples, seed=seed)
    point = statistic(once)[0]
    names = (*standard.COLUMNS, *(f"{name}_present" for name in standard.PER_CLASS))
    _center(samples, point, names)
    patients = len(set(known.patients))
    counts = np.bincount(truth, minlength=len(classes)).tolist()
    reasons = [*_reasons(known, names), ""]  # the last belongs to the count of partial resamples
    reasons += [
        _class_reason(name, label, count, known)
        for name in (*standard.PER_CLASS, "")
        for label, count in zip(classes, counts, strict=True)
    ]
    faults = [point if isinstance(point, str) else "" for point in chosen]
    answers = estimates(point, samples, [*reasons, *faults, *faults], patients)

    start, width = len(names) + 1, len(classes)
    order = (*standard.PER_CLASS, "")
    people = _patients(known)
    for k, label in enumerate(classes):
        if people[k] == 1:
            # Every resample holds this patient some number of times or not at all: no spread, but no certainty either.
            lone = [
                start + place * width + k for place, name in enumerate(order) if name not in ("", "precision_macro")
            ]
            lone += [
                start + len(order) * width + k * len(chosen) // width + rule for rule in range(len(chosen) // width)
            ]
            for place in lone:
                answers[place] = _without_interval(answers[place], f"no interval: one patient has {listed([label])}")
    column = {name: answers[start + place * width :][:width] for place, name in enumerate(order)}
    return Scorecard(
        classes=classes,
        ordered=known.ordered,
        n=len(known),
        unlabelled=len(predictions) - len(known),
        patients=patients,
        patients_known=known.patients_known,
        resamples=resamples,
        partial_resamples=int(samples[:, len(names)].sum()),
        seed=seed,
        headline=dict(zip(names, answers, strict=False)),
        per_class=tuple(
            ClassScores(label, counts[k], people[k], {title: column[name][k] for title, name in CLASS_COLUMNS.items()})
            for k, label in enumerate(classes)
        ),
        confusion=confusion.confusion(truth, scores, once)[0].astype(np.int64),
        operating_points=_operating_rows(classes, chosen, answers[start + len(order) * width :]),
        subgroups=subgroups(known, resamples=resamples, seed=seed),
    )


def _center(samples: NDArray[np.float64], point: NDArray[np.float64], names: tuple[str, ...]) -> None:
    """Take the bias of resampling out of the metrics that have one, in place; such a metric is never below 0."""
    for place, name in enumerate(names):
        metric = pick("evaluate.metrics", name.removesuffix("_present"))
        if getattr(metric, "BIASED_UPWARD", False):
            bias = np.median(samples[:, place]) - point[place]
            samples[:, place] = np.maximum(samples[:, place] - bias, 0)


def _reasons(known: Predictions, names: tuple[str, ...]) -> list[str]:
    """Why each headline metric would be undefined."""
    answers = []
    for name in names:
        if name == "kappa_quadratic" and not known.ordered:
            answers.append(standard.UNORDERED)
            continue
        metric = pick("evaluate.metrics", name.removesuffix("_present"))
        answers.append(metric.reason(known.truth, known.scores, known.classes) or "")
    return answers


def _class_reason(metric: str, label: str, count: int, known: Predictions) -> str:
    """Why a per-class number would be undefined."""
    if count == 0:
        return f"class {listed([label])} is absent"
    if metric == "precision_macro":
        return f"class {listed([label])} is never predicted"
    return "every image is of this class" if count == len(known) else ""


def _plain(scores: Mapping[str, Estimate]) -> dict[str, dict[str, float | str | None]]:
    """Estimates as plain values."""
    return {name: estimate.to_json() for name, estimate in scores.items()}


def _patients(known: Predictions) -> list[int]:
    """Number of patients with an image of each class."""
    groups: list[set[str]] = [set() for _ in known.classes]
    for patient, label in zip(known.patients, known.truth.tolist(), strict=True):
        groups[label].add(patient)
    return [len(group) for group in groups]


def _without_interval(estimate: Estimate, reason: str) -> Estimate:
    """The same value, if there is one, without its interval."""
    return Estimate(estimate.value, reason=reason) if estimate.defined else estimate


def _operating_rows(
    classes: tuple[str, ...], chosen: list[operating_points.OperatingPoint | str], answers: list[Estimate]
) -> tuple[OperatingRow, ...]:
    """Lines of the operating-point table; ``answers`` holds all sensitivities, then all specificities."""
    rules = [name for name, _ in operating_points.RULES]
    return tuple(
        OperatingRow(
            classes[place // len(rules)],
            rules[place % len(rules)],
            float("nan") if isinstance(point, str) else point.threshold,
            answers[place],
            answers[len(chosen) + place],
            point if isinstance(point, str) else "",
        )
        for place, point in enumerate(chosen)
    )
