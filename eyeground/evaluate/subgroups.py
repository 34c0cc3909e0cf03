"""Does it work as well for everyone: the scores by eye, site, camera and image quality, where these are known."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from eyeground.evaluate import averaging, ranking
from eyeground.evaluate.confidence import Estimate, bootstrap, estimates
from eyeground.evaluate.metrics import accuracy, auroc_macro, f1_macro, kappa_quadratic
from eyeground.evaluate.predictions import Predictions
from eyeground.evaluate.wording import listed

ATTRIBUTES = ("eye", "site", "camera", "quality")

# Below this an AUROC says more about the few images than about the model.
LEAST_ROWS = 10

# More lines than this are no longer read; the smallest groups are pooled.
_MOST_GROUPS = 15

UNKNOWN = "not known"


@dataclass(frozen=True, eq=False)
class Subgroup:
    """The scores on a part of the rows.

    Args:
        attribute: ``"eye"``, ``"site"``, ``"camera"`` or ``"quality"``.
        name: Its value, such as ``"OD"``; ``"not known"`` for rows without one.
        n: Number of images.
        patients: Number of patients.
        scores: Metric name -> estimate.
        auroc: Class name -> AUROC of the class against the others, within the group.

    Example:
        >>> Subgroup("eye", "OD", 12, 12, {}, {}).n
        12

    References:
        Our own.
    """

    attribute: str
    name: str
    n: int
    patients: int
    scores: Mapping[str, Estimate]
    auroc: Mapping[str, Estimate]


def subgroups(predictions: Predictions, *, resamples: int = 2000, seed: int = 0) -> tuple[Subgroup, ...]:
    """Score every group of every attribute that tells rows apart.

    An attribute that is unknown or the same throughout is left out. Patients are resampled within the group.

    Args:
        predictions: Rows with known truth.
        resamples: Number of bootstrap resamples.
        seed: Seed of the draws.

    Returns:
        Groups, largest first within an attribute. In a group with fewer than ``LEAST_ROWS`` images every score is
        undefined, with the reason.

    Example:
        >>> p = np.linspace(0.05, 0.95, 24)
        >>> table = Predictions(tuple(map(str, range(24))), tuple(map(str, range(24))), ("OD", "OS") * 12, ("",) * 24,
        ...                     ("",) * 24, (p > 0.5).astype(np.int64), np.stack([1 - p, p], axis=1),
        ...                     ("normal", "cataract"), False, True, ("",) * 24)
        >>> [(group.name, group.n, group.scores["auroc_macro"].value) for group in subgroups(table, resamples=20)]
        [('OD', 12, 1.0), ('OS', 12, 1.0)]

    References:
        Collins et al., "TRIPOD+AI statement", BMJ 2024;385:e078378, items on fairness.
    """
    columns = zip(
        ATTRIBUTES, (predictions.eyes, predictions.sites, predictions.cameras, predictions.quality), strict=True
    )
    found = []
    for attribute, column in columns:
        if len(set(column)) < 2:
            continue
        names = _pooled(column, attribute)
        sizes = Counter(names)
        for name in sorted(sizes, key=lambda name: (name == UNKNOWN, -sizes[name], name)):
            rows = np.array([other == name for other in names])
            found.append(_scored(predictions.select(rows), attribute, name, resamples, seed))
    return tuple(found)


def _pooled(column: tuple[str, ...], attribute: str) -> list[str]:
    """Name the group of each row; the smallest groups of a long list share one."""
    known = Counter(value for value in column if value)
    if len(known) <= _MOST_GROUPS:
        return [value or UNKNOWN for value in column]
    large = {value for value, _ in known.most_common(_MOST_GROUPS - 1)}
    rest = f"{len(known) - len(large)} smaller {attribute}s"
    return [value if value in large else rest if value else UNKNOWN for value in column]


def _scored(part: Predictions, attribute: str, name: str, resamples: int, seed: int) -> Subgroup:
    """Score one group."""
    patients = len(set(part.patients))
    metrics = ("auroc_macro", "auroc_macro_present", "f1_macro", "accuracy", "kappa_quadratic")
    if len(part) < LEAST_ROWS:
        none = Estimate(float("nan"), reason=f"too small: {len(part)} of at least {LEAST_ROWS} images")
        return Subgroup(
            attribute, name, len(part), patients, dict.fromkeys(metrics, none), dict.fromkeys(part.classes, none)
        )
    truth, scores, once = part.truth, part.scores, np.ones((1, len(part)))
    ranks = ranking.Ranks(truth, scores)
    complete = np.isfinite(ranks.areas(once)[0][0])

    def statistic(weights: NDArray[np.float64]) -> NDArray[np.float64]:
        areas, _ = ranks.areas(weights)
        grade = kappa_quadratic.value(truth, scores, weights) if part.ordered else np.full(len(weights), np.nan)
        whole = [
            averaging.macro(areas, complete),
            averaging.present(areas),
            f1_macro.value(truth, scores, weights),
            accuracy.value(truth, scores, weights),
            grade,
        ]
        return np.concatenate([np.stack(whole, axis=1), areas], axis=1)

    missing = auroc_macro.reason(truth, scores, part.classes) or ""
    grading = kappa_quadratic.reason(truth, scores, part.classes) if part.ordered else "classes are not ordered"
    present = np.bincount(truth, minlength=len(part.classes))
    alone = [
        f"class {listed([label])} is absent" if count == 0 else "every image of the group is of this class"
        for label, count in zip(part.classes, present.tolist(), strict=True)
    ]
    answers = estimates(
        statistic(once)[0],
        bootstrap(statistic, part.patients, resamples=resamples, seed=seed),
        [missing, missing, missing, "", grading or "", *alone],
        patients,
    )
    return Subgroup(
        attribute,
        name,
        len(part),
        patients,
        dict(zip(metrics, answers, strict=False)),
        dict(zip(part.classes, answers[len(metrics) :], strict=True)),
    )
