"""95% intervals of macro AUROC and macro average precision: all 2,000 resamples of 1,000 rows x 39 classes, against
scikit-learn in a loop.

The loop draws the rows and calls ``roc_auc_score`` and ``average_precision_score`` on them, as one would write it; a
few of its resamples are measured and extrapolated.
"""

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, roc_auc_score

from benchmarks.claim import Claim, paired, turns
from eyeground.evaluate.confidence import chunks, interval
from eyeground.evaluate.predictions import Predictions
from eyeground.evaluate.ranking import Ranks

RESAMPLES, ROUNDS = 2000, 5


def made(rows: int, classes: int, *, ordered: bool = False, seed: int = 0) -> Predictions:
    """A table of random scores that lean to the truth."""
    draws = np.random.default_rng(seed)
    truth = np.arange(rows) % classes
    logits = draws.standard_normal((rows, classes))
    logits[np.arange(rows), truth] += 1
    scores = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    names, none = tuple(map(str, range(rows))), ("",) * rows
    labels = tuple(f"class {k}" for k in range(classes))
    return Predictions(names, names, none, none, none, truth, scores, labels, ordered, True, none)


def resampled(table: Predictions, count: int) -> NDArray[np.float64]:
    """Macro AUROC and macro average precision of each resample, shape (B, 2): ours."""
    ranks = Ranks(table.truth, table.scores)
    parts = [np.stack([each.mean(axis=1) for each in ranks.areas(drawn)], axis=1)
             for drawn in chunks(table.patients, count)]  # fmt: skip
    return np.concatenate(parts)


def in_a_loop(table: Predictions, drawn: NDArray[np.float64]) -> NDArray[np.float64]:
    """The same by scikit-learn, resample by resample."""
    found, one_hot = [], np.eye(len(table.classes))
    for times in drawn.astype(np.int64):
        rows = np.repeat(np.arange(len(table)), times)
        truth, scores = one_hot[table.truth[rows]], table.scores[rows]
        found.append((roc_auc_score(truth, scores), average_precision_score(truth, scores)))
    return np.array(found)


def compared(rows: int, classes: int, *, few: int, resamples: int = RESAMPLES, rounds: int = ROUNDS) -> Claim:
    """Measure one size, and check that both give the same numbers."""
    table = made(rows, classes)
    drawn = next(chunks(table.patients, few))
    difference = float(np.abs(resampled(table, few) - in_a_loop(table, drawn)).max())
    if not difference < 1e-9:
        raise AssertionError(f"ours and scikit-learn's differ by {difference}")
    took = turns({
        "ours": lambda: interval(resampled(table, resamples)),
        "loop": lambda: in_a_loop(table, drawn),
    }, rounds=rounds)  # fmt: skip
    return paired(
        f"intervals of macro AUROC and AP, {rows:,} x {classes}, {resamples:,} resamples",
        took["ours"],
        [each / few * resamples for each in took["loop"]],
        f"scikit-learn in a loop, extrapolated from {few} resamples",
        "s",
        note=f"same resamples: the numbers differ by {difference:.0e} at most",
        goal=100 if classes == 39 else float("nan"),
    )


def run() -> list[Claim]:
    """Measure two sizes."""
    return [compared(1_000, 39, few=5), compared(10_000, 5, few=10)]
