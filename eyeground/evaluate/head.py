"""One head of several: what kind of answer it gives, and what is measured of it."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from eyeground.data.task import YES_NO, Kind
from eyeground.evaluate import ranking
from eyeground.evaluate.agreement import TITLES, agree, reasons_undefined
from eyeground.evaluate.confidence import Estimate, estimates
from eyeground.evaluate.confusion import confusion, f1, sensitivity
from eyeground.evaluate.measurements import Measurements
from eyeground.evaluate.metrics import ece
from eyeground.evaluate.narrative import FEW_IMAGES
from eyeground.evaluate.predictions import Predictions
from eyeground.pick import pick

Array = NDArray[np.float64]
Table = Predictions | Measurements

# Kind of head -> what is measured of it; of classes and grades metrics of the shelf, of a quantity keys of ``agree``.
COLUMNS: Mapping[Kind, tuple[str, ...]] = {
    "yes_no": ("auroc", "ap", "sensitivity", "specificity", "f1", "balanced_accuracy", "ece"),
    "grades": ("auroc_macro", "f1_macro", "kappa_quadratic", "ece"),
    "classes": ("auroc_macro", "f1_macro", "kappa", "ece"),
    "quantity": ("mae", "r2", "pearson"),
}


@dataclass(frozen=True, eq=False)
class HeadLine:
    """What was measured of one head.

    Args:
        name: The head.
        kind: ``"yes_no"``, ``"grades"``, ``"classes"`` or ``"quantity"``.
        classes: Its classes; empty for a quantity.
        unit: Unit of a quantity; empty otherwise, and for a pure number.
        n: Images whose label is known; the scores are about these.
        unlabelled: Images whose label is not known.
        patients: Patients with an image whose label is known.
        counts: Images of each of its classes; empty for a quantity.
        scores: The names in ``COLUMNS`` of its kind -> estimate.

    Example:
        >>> HeadLine("AMD", "yes_no", ("no", "yes"), "", 10, 2, 6, (7, 3), {}).positives
        3

    References:
        Our own.
    """

    name: str
    kind: Kind
    classes: tuple[str, ...]
    unit: str
    n: int
    unlabelled: int
    patients: int
    counts: tuple[int, ...]
    scores: Mapping[str, Estimate]

    @property
    def positives(self) -> int | None:
        """Images that are "yes"; None for other kinds of heads."""
        return self.counts[1] if self.kind == "yes_no" else None

    @property
    def few(self) -> bool:
        """Whether a class has so few images that no number of this head should be quoted."""
        return bool(self.counts) and min(self.counts) < FEW_IMAGES

    @property
    def auroc(self) -> Estimate | None:
        """AUROC of yes, or macro over classes or grades; None for a quantity."""
        return self.scores.get("auroc", self.scores.get("auroc_macro"))


def kind_of(table: Table) -> Kind:
    """Say what kind of answer a table holds.

    Args:
        table: Predictions, whose classes ``("no", "yes")`` mean a yes/no head, or measurements.

    Returns:
        ``"yes_no"``, ``"grades"``, ``"classes"`` or ``"quantity"``.

    Example:
        >>> kind_of(Predictions(("a",), ("a",), ("",), ("",), ("",), np.array([1]), np.array([[0.2, 0.8]]),
        ...                     ("no", "yes"), False, True, ("",)))
        'yes_no'

    References:
        Our own.
    """
    if isinstance(table, Measurements):
        return "quantity"
    return "yes_no" if table.classes == YES_NO else "grades" if table.ordered else "classes"


def measured(table: Table, weights: Array) -> Array:
    """Measure one head on every resample at once; rows without known truth count for nothing.

    Sensitivity, specificity, F1 and balanced accuracy of a yes/no head are those at a score above 0.5.

    Args:
        table: Its table, N rows.
        weights: How often each row counts, shape (B, N), whole and not negative.

    Returns:
        The columns of its kind, shape (B, M); NaN where undefined.

    Example:
        >>> table = Measurements(("a", "b"), ("a", "b"), ("",) * 2, ("",) * 2, ("",) * 2, np.array([10.0, np.nan]),
        ...                      np.array([12.0, 99.0]), "IOP", "mmHg", True, ("",) * 2)
        >>> measured(table, np.ones((1, 2)))[0].tolist()
        [2.0, nan, nan]

    References:
        Our own.
    """
    kind, rows = kind_of(table), table.labelled
    drawn = weights[:, rows]
    if not rows.any():
        return np.full((len(weights), len(COLUMNS[kind])), np.nan)
    if isinstance(table, Measurements):
        places = [list(TITLES).index(name) for name in COLUMNS[kind]]
        return agree(table.truth[rows], table.said[rows], drawn)[:, places]
    truth, scores = table.truth[rows], table.scores[rows]
    if kind != "yes_no":
        return np.stack([pick("evaluate.metrics", name).value(truth, scores, drawn) for name in COLUMNS[kind]], axis=1)
    alone = (1 - truth, scores[:, 1:], drawn)  # "yes" as the only class, number 0: that of "no" would be the same
    matrices = confusion(truth, scores, drawn)
    found = sensitivity(matrices)  # (B, 2): of "no", which is the specificity, and of "yes"
    columns = [
        ranking.auroc(*alone)[:, 0],
        ranking.average_precision(*alone)[:, 0],
        found[:, 1],
        found[:, 0],
        f1(matrices)[:, 1],
        found.mean(axis=1),
        ece.value(truth, scores, drawn),
    ]
    return np.stack(columns, axis=1)


def head_line(name: str, table: Table, *, point: Array, samples: Array, unlabelled: int) -> HeadLine:
    """Put the numbers of one head together.

    Args:
        name: The head.
        table: Its table.
        point: Its columns on the data itself, shape (M,).
        samples: Its columns on every resample, shape (B, M).
        unlabelled: Images whose label is not known.

    Returns:
        The line.

    Example:
        >>> table = Measurements(("a", "b"), ("a", "b"), ("",) * 2, ("",) * 2, ("",) * 2, np.array([10.0, np.nan]),
        ...                      np.array([12.0, 99.0]), "IOP", "mmHg", True, ("",) * 2)
        >>> head_line("IOP", table, point=np.array([2.0, np.nan, np.nan]), samples=np.ones((2, 3)),
        ...           unlabelled=1).scores["r2"].reason
        'one image has no spread'

    References:
        Our own.
    """
    kind = kind_of(table)
    rows = np.flatnonzero(table.labelled).tolist()
    patients = [table.patients[row] for row in rows]
    people = len(set(patients))
    answers = dict(zip(COLUMNS[kind], estimates(point, samples, _reasons(kind, table), people), strict=True))
    if kind == "yes_no" and people > 1:
        for label, touched in ((1, ("auroc", "ap", "sensitivity", "f1")), (0, ("auroc", "specificity"))):
            have = {patient for row, patient in zip(rows, patients, strict=True) if table.truth[row] == label}
            # Every resample holds this patient some number of times or not at all: no spread, but no certainty either.
            for column in (*touched, "balanced_accuracy") if len(have) == 1 else ():
                if answers[column].defined:
                    reason = f"no interval: one patient has '{YES_NO[label]}'"
                    answers[column] = Estimate(answers[column].value, reason=reason)
    classes = table.classes if isinstance(table, Predictions) else ()
    return HeadLine(
        name=name,
        kind=kind,
        classes=classes,
        unit=table.unit if isinstance(table, Measurements) else "",
        n=len(rows),
        unlabelled=unlabelled,
        patients=people,
        counts=tuple(int((table.truth == label).sum()) for label in range(len(classes))),
        scores=answers,
    )


def _reasons(kind: Kind, table: Table) -> list[str]:
    """Why each column of a head would be undefined."""
    rows = table.labelled
    if not rows.any():
        return ["no image has a known label"] * len(COLUMNS[kind])
    if isinstance(table, Measurements):
        told = dict(zip(TITLES, reasons_undefined(table.truth[rows], table.said[rows]), strict=True))
        return [told[name] for name in COLUMNS[kind]]
    truth, scores = table.truth[rows], table.scores[rows]
    if kind != "yes_no":
        metrics = [pick("evaluate.metrics", name) for name in COLUMNS[kind]]
        return [metric.reason(truth, scores, table.classes) or "" for metric in metrics]
    # What is undefined lacks the answer that no image has.
    return [f"no image is '{YES_NO[1 - int(truth[0])]}'"] * len(COLUMNS[kind])
