"""The whole scorecard with 2,000 resamples, and the paired tests of two models, against scikit-learn in a loop.

The loop computes with scikit-learn what the scorecard's headline holds, 14 metrics, on each resample; a few of its
resamples are measured and extrapolated. The scorecard gives as well every class's own values, operating points and
their intervals, which the loop does not.
"""

import numpy as np
from numpy.typing import NDArray
from sklearn import metrics as sk

from benchmarks.claim import Claim, paired, turns
from benchmarks.intervals import RESAMPLES, made
from eyeground.evaluate.confidence import chunks
from eyeground.evaluate.delong import auroc_influence, influence_test
from eyeground.evaluate.metrics import ece
from eyeground.evaluate.paired import paired_bootstrap
from eyeground.evaluate.predictions import Predictions
from eyeground.evaluate.scorecard import scorecard

HEADLINE = (
    "auroc_macro", "ap_macro", "f1_macro", "f1_weighted", "precision_macro", "recall_macro", "accuracy",
    "balanced_accuracy", "kappa", "kappa_quadratic", "mcc", "ece", "brier", "log_loss",
)  # fmt: skip


def by_scikit_learn(truth: NDArray[np.int64], scores: NDArray[np.float64]) -> tuple[float, ...]:
    """The headline, one call each; scikit-learn has no calibration error, so that is our own."""
    one_hot, said, every = np.eye(scores.shape[1])[truth], scores.argmax(axis=1), range(scores.shape[1])
    averaged = {"average": "macro", "labels": every, "zero_division": 0.0}
    return (
        sk.roc_auc_score(one_hot, scores), sk.average_precision_score(one_hot, scores),
        sk.f1_score(truth, said, **averaged), sk.f1_score(truth, said, average="weighted"),
        sk.precision_score(truth, said, **averaged), sk.recall_score(truth, said, **averaged),
        sk.accuracy_score(truth, said), sk.balanced_accuracy_score(truth, said),
        sk.cohen_kappa_score(truth, said), sk.cohen_kappa_score(truth, said, weights="quadratic"),
        sk.matthews_corrcoef(truth, said), float(ece.value(truth, scores, np.ones((1, len(truth))))[0]),
        float(((scores - one_hot) ** 2).sum(axis=1).mean()), sk.log_loss(truth, scores, labels=every),
    )  # fmt: skip


def in_a_loop(table: Predictions, drawn: NDArray[np.float64]) -> NDArray[np.float64]:
    """The headline of each resample, shape (B, 14), by scikit-learn."""
    rows = [np.repeat(np.arange(len(table)), times) for times in drawn.astype(np.int64)]
    return np.array([by_scikit_learn(table.truth[each], table.scores[each]) for each in rows])


def paired_tests(one: Predictions, two: Predictions, resamples: int) -> None:
    """The paired bootstrap and DeLong's test of macro AUROC."""
    paired_bootstrap([one], [two], resamples=resamples)
    influence_test(one.truth, *(auroc_influence(each.truth, each.scores) for each in (one, two)))


def both_in_a_loop(one: Predictions, two: Predictions, drawn: NDArray[np.float64]) -> None:
    """Macro AUROC of both models on each resample, by scikit-learn."""
    for times in drawn.astype(np.int64):
        rows = np.repeat(np.arange(len(one)), times)
        truth = np.eye(len(one.classes))[one.truth[rows]]
        for each in (one, two):
            sk.roc_auc_score(truth, each.scores[rows])


def compared(rows: int, classes: int, *, few: int, resamples: int = RESAMPLES, rounds: int = 3) -> list[Claim]:
    """Measure one size, and check the values."""
    one, two = (made(rows, classes, ordered=True, seed=seed) for seed in (0, 1))
    drawn = next(chunks(one.patients, few))
    card = scorecard(one, resamples=2)
    values = [card.headline[name].value for name in HEADLINE]
    np.testing.assert_allclose(values, by_scikit_learn(one.truth, one.scores), atol=1e-9)
    took = turns({
        "card": lambda: scorecard(one, resamples=resamples),
        "card by scikit-learn": lambda: in_a_loop(one, drawn),
        "tests": lambda: paired_tests(one, two, resamples),
        "tests by scikit-learn": lambda: both_in_a_loop(one, two, drawn),
    }, rounds=rounds)  # fmt: skip
    size = f"{rows:,} x {classes}, {resamples:,} resamples"
    against = f"scikit-learn in a loop, extrapolated from {few} resamples"
    loops = {name: [each / few * resamples for each in times] for name, times in took.items() if "scikit" in name}
    return [
        paired(
            f"whole scorecard, {size}", took["card"], loops["card by scikit-learn"], against, "s",
            note="the loop has the 14 headline metrics only; no values by class, no operating points",
        ),
        paired(
            f"paired tests of two models, {size}", took["tests"], loops["tests by scikit-learn"], against, "s",
            note="paired bootstrap and DeLong's test; the loop has the bootstrap only",
        ),
    ]  # fmt: skip


def run() -> list[Claim]:
    """Measure both sizes."""
    return [*compared(1_000, 39, few=4), *compared(10_000, 5, few=4)]
