"""The metrics of RETFound's 2025 code, with its conventions: every number comparable with its published tables."""

import csv
import io
import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from eyeground.atomic_file import atomic_file
from eyeground.evaluate import ranking
from eyeground.evaluate.confusion import confusion
from eyeground.evaluate.metrics import accuracy, hamming, kappa

COLUMNS = (
    "val_loss",
    "accuracy",
    "f1",
    "roc_auc",
    "hamming",
    "jaccard",
    "precision",
    "recall",
    "average_precision",
    "kappa",
)


def values(truth: NDArray[np.int64], scores: NDArray[np.float64], *, val_loss: float = math.nan) -> dict[str, float]:
    """Compute the metrics of RETFound's 2025 code.

    Its conventions: F1, Jaccard, precision and recall of a class are 0 where undefined and averaged over all K
    classes; AUROC and average precision are macro, one against the rest; kappa is unweighted; Hamming loss is taken
    on one-hot rows. A class without rows makes ``roc_auc``, ``average_precision`` and ``score`` NaN instead of
    stopping the run.

    Args:
        truth: Index of the true class, shape (N,), each in 0..K-1.
        scores: Probabilities, shape (N, K).
        val_loss: Plain mean of the loss over batches, a smaller last batch counting as much as the others. Unit: nat.

    Returns:
        The values of ``COLUMNS``, and ``score``: the mean of F1, AUROC and kappa that picks the best epoch.

    Raises:
        ValueError: If there is no row.

    Example:
        >>> p = np.array([0.1, 0.4, 0.35, 0.8])
        >>> found = values(np.array([0, 0, 1, 1]), np.stack([1 - p, p], axis=1), val_loss=0.5)
        >>> found["accuracy"], found["roc_auc"], round(found["f1"], 4)
        (0.75, 0.75, 0.7333)

    References:
        Zhou et al., "A foundation model for generalizable disease detection from retinal images", Nature 2023;622:156,
        and its published code of April 2025.
    """
    if not len(truth):
        raise ValueError("metrics need at least one row")
    once = np.ones((1, len(truth)))
    counts = confusion(truth, scores, once)[0]
    found, true, said = counts.diagonal(), counts.sum(axis=1), counts.sum(axis=0)
    answer = {
        "val_loss": float(val_loss),
        "accuracy": float(accuracy.value(truth, scores, once)[0]),
        "f1": _mean_or_zero(2 * found, true + said),
        "roc_auc": float(ranking.auroc(truth, scores, once)[0].mean()),
        "hamming": float(hamming.value(truth, scores, once)[0]),
        "jaccard": _mean_or_zero(found, true + said - found),
        "precision": _mean_or_zero(found, said),
        "recall": _mean_or_zero(found, true),
        "average_precision": float(ranking.average_precision(truth, scores, once)[0].mean()),
        "kappa": float(kappa.value(truth, scores, once)[0]),
    }
    return {**answer, "score": (answer["f1"] + answer["roc_auc"] + answer["kappa"]) / 3}


def append_row(path: Path, found: Mapping[str, float], *, row: int | None = None) -> None:
    """Add a line to ``metrics_<split>.csv``, whole or not at all.

    Args:
        path: CSV file; made with its header when it is not there.
        found: At least the values of ``COLUMNS``; others are left out. NaN is written as ``nan``.
        row: Which line below the header this is, from 1: epoch 7 of a validation table is row 7. Lines from there on,
            left by a run that was killed and resumed, are replaced. None appends.

    Raises:
        ValueError: If a column is missing, the file has another header, or earlier rows are missing.
        OSError: If the disk is full; the older file is then untouched.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     append_row(Path(folder) / "metrics_val.csv", dict.fromkeys(COLUMNS, 0.5), row=1)
        ...     print((Path(folder) / "metrics_val.csv").read_text().splitlines()[0])
        val_loss,accuracy,f1,roc_auc,hamming,jaccard,precision,recall,average_precision,kappa

    References:
        RFC 4180.
    """
    missing = [name for name in COLUMNS if name not in found]
    if missing:
        raise ValueError(f"{path}: no value for {', '.join(missing)}")
    header = ",".join(COLUMNS)
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else [header]
    if not lines or lines[0] != header:
        raise ValueError(f"{path}: the header is not {header!r}; move the file away")
    kept = lines[1:] if row is None else lines[1:row]
    if row is not None and len(kept) != row - 1:
        raise ValueError(f"{path}: row {row} was to follow {row - 1} rows, but there are {len(kept)}")
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow([repr(float(found[name])) for name in COLUMNS])
    with atomic_file(path) as stream:
        stream.write("\n".join([header, *kept, line.getvalue(), ""]))


def _mean_or_zero(part: NDArray[np.float64], whole: NDArray[np.float64]) -> float:
    """Mean over classes of a share that counts as 0 where undefined, as the reference has it."""
    return float(np.divide(part, whole, out=np.zeros(len(whole)), where=whole > 0).mean())
