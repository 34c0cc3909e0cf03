"""Every metric against an independent implementation, with ties, weights, absent classes and two classes."""

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn import metrics as sk

from eyeground.evaluate import ranking
from eyeground.pick import names, pick

from .drawn import scored

Reference = Callable[[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]], float]


def one_hot(truth: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    return np.eye(count, dtype=np.int64)[truth]


def slow_ece(truth: NDArray[np.int64], scores: NDArray[np.float64], weights: NDArray[np.float64]) -> float:
    total = 0.0
    for step in range(15):
        rows = [
            row
            for row in range(len(truth))
            if step / 15 < scores[row].max() <= (step + 1) / 15 or (step == 0 and scores[row].max() == 0)
        ]
        right = sum(weights[row] * (scores[row].argmax() == truth[row]) for row in rows)
        total += abs(right - sum(weights[row] * scores[row].max() for row in rows))
    return float(total / weights.sum())


REFERENCE: dict[str, Reference] = {
    "auroc_macro": lambda t, s, w: sk.roc_auc_score(one_hot(t, s.shape[1]), s, average="macro", sample_weight=w),
    "ap_macro": lambda t, s, w: sk.average_precision_score(one_hot(t, s.shape[1]), s, average="macro", sample_weight=w),
    "f1_macro": lambda t, s, w: sk.f1_score(t, s.argmax(1), average="macro", sample_weight=w),
    "f1_weighted": lambda t, s, w: sk.f1_score(t, s.argmax(1), average="weighted", sample_weight=w),
    "precision_macro": lambda t, s, w: sk.precision_score(t, s.argmax(1), average="macro", sample_weight=w),
    "recall_macro": lambda t, s, w: sk.recall_score(t, s.argmax(1), average="macro", sample_weight=w),
    "jaccard_macro": lambda t, s, w: sk.jaccard_score(t, s.argmax(1), average="macro", sample_weight=w),
    "accuracy": lambda t, s, w: sk.accuracy_score(t, s.argmax(1), sample_weight=w),
    "balanced_accuracy": lambda t, s, w: sk.balanced_accuracy_score(t, s.argmax(1), sample_weight=w),
    "kappa": lambda t, s, w: sk.cohen_kappa_score(t, s.argmax(1), sample_weight=w),
    "kappa_quadratic": lambda t, s, w: sk.cohen_kappa_score(t, s.argmax(1), weights="quadratic", sample_weight=w),
    "mcc": lambda t, s, w: sk.matthews_corrcoef(t, s.argmax(1), sample_weight=w),
    "hamming": lambda t, s, w: sk.hamming_loss(
        one_hot(t, s.shape[1]), one_hot(s.argmax(1), s.shape[1]), sample_weight=w
    ),
    "log_loss": lambda t, s, w: sk.log_loss(t, s, sample_weight=w, labels=range(s.shape[1])),
    "brier": lambda t, s, w: float(
        np.average([((s[i] - np.eye(s.shape[1])[t[i]]) ** 2).sum() for i in range(len(t))], weights=w)
    ),
    "ece": slow_ece,
}


def test_every_metric_of_the_shelf_has_a_reference() -> None:
    assert set(names("evaluate.metrics")) == set(REFERENCE)


@pytest.mark.parametrize("name", sorted(REFERENCE))
@pytest.mark.parametrize(("rows", "classes", "digits"), [(120, 5, None), (90, 4, 1), (50, 2, 1), (300, 9, 2)])
def test_value_equals_the_reference_under_weights(name: str, rows: int, classes: int, digits: int | None) -> None:
    truth, scores = scored(rows, classes, seed=classes, digits=digits)
    rng = np.random.default_rng(1)
    weights = rng.integers(0, 4, (3, rows)).astype(float)
    weights[:, :classes] += 1  # every class stays
    weights[0] = 1
    found = pick("evaluate.metrics", name).value(truth, scores, weights)
    assert found.shape == (3,)
    for row in range(3):
        assert found[row] == pytest.approx(REFERENCE[name](truth, scores, weights[row]), abs=1e-10)


@pytest.mark.parametrize("name", sorted(REFERENCE))
@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10**6), classes=st.integers(2, 4))
def test_a_weight_is_a_repeated_row(name: str, seed: int, classes: int) -> None:
    truth, scores = scored(24, classes, seed=seed, digits=1)
    times = np.random.default_rng(seed).integers(0, 3, 24)
    times[:classes] = 1
    metric = pick("evaluate.metrics", name)
    weighted = metric.value(truth, scores, times[None].astype(float))
    repeated = metric.value(np.repeat(truth, times), np.repeat(scores, times, axis=0), np.ones((1, times.sum())))
    whole = metric.value(truth, scores, np.ones((1, 24)))
    if np.isfinite(repeated[0]) and np.isfinite(whole[0]):
        assert weighted[0] == pytest.approx(repeated[0], abs=1e-12)
    if np.isnan(whole[0]):
        assert metric.reason(truth, scores)


MACRO = ["auroc_macro", "ap_macro", "f1_macro", "precision_macro", "recall_macro", "jaccard_macro", "balanced_accuracy"]


@pytest.mark.parametrize("name", MACRO)
def test_an_absent_class_is_named_and_never_zero(name: str) -> None:
    truth, scores = scored(60, 3)
    truth[truth == 2] = 0
    metric = pick("evaluate.metrics", name)
    assert np.isnan(metric.value(truth, scores, np.ones((2, 60)))).all()
    assert metric.reason(truth, scores, ("normal", "drusen", "haze")) == "class 'haze' is absent"
    assert metric.reason(truth, scores) == "class '2' is absent"


@pytest.mark.parametrize("name", MACRO)
def test_a_class_that_only_a_resample_lacks_is_left_out_of_its_mean(name: str) -> None:
    truth, scores = scored(60, 3)
    weights = np.ones((1, 60))
    weights[0, truth == 2] = 0
    found = pick("evaluate.metrics", name).value(truth, scores, weights)[0]
    shelf = pick("evaluate.metrics", "recall_macro" if name == "balanced_accuracy" else name)
    kept = truth < 2
    alone = shelf.per_class(truth[kept], scores[kept], np.ones((1, kept.sum())))[0]
    assert found == pytest.approx(alone[:2].mean(), abs=1e-12)


@pytest.mark.parametrize("name", sorted(REFERENCE))
def test_defined_values_have_no_reason(name: str) -> None:
    truth, scores = scored(80, 3)
    metric = pick("evaluate.metrics", name)
    assert np.isfinite(metric.value(truth, scores, np.ones((1, 80))))[0]
    assert metric.reason(truth, scores) is None


@pytest.mark.parametrize("name", sorted(REFERENCE))
def test_no_row_at_all_is_nan_with_a_reason(name: str) -> None:
    metric = pick("evaluate.metrics", name)
    truth, scores = np.zeros(0, np.int64), np.zeros((0, 2))
    assert np.isnan(metric.value(truth, scores, np.ones((1, 0)))).all()
    assert metric.reason(truth, scores)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("kappa", "predicted so"),
        ("kappa_quadratic", "predicted so"),
        ("mcc", "nothing varies"),
        ("auroc_macro", "absent"),
    ],
)
def test_a_single_class_everywhere(name: str, words: str) -> None:
    truth, scores = np.zeros(4, np.int64), np.tile([0.9, 0.1], (4, 1))
    metric = pick("evaluate.metrics", name)
    assert np.isnan(metric.value(truth, scores, np.ones((1, 4))))[0]
    assert words in metric.reason(truth, scores, ("normal", "drusen"))


def test_a_class_never_predicted_has_no_precision() -> None:
    truth, scores = np.array([0, 0, 1]), np.array([[0.9, 0.1], [0.8, 0.2], [0.7, 0.3]])
    metric = pick("evaluate.metrics", "precision_macro")
    assert np.isnan(metric.value(truth, scores, np.ones((1, 3))))[0]
    assert metric.reason(truth, scores, ("normal", "drusen")) == "class 'drusen' is never predicted"


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), rows=st.integers(3, 30), levels=st.integers(1, 6))
def test_ranking_equals_counting_pairs(seed: int, rows: int, levels: int) -> None:
    rng = np.random.default_rng(seed)
    truth = np.append(rng.integers(0, 2, rows - 2), [0, 1])
    p = rng.integers(0, levels, rows) / max(1, levels - 1) if levels > 1 else np.full(rows, 0.5)
    weights = rng.integers(0, 3, (2, rows)).astype(float)
    scores = np.stack([1 - p, p], axis=1)
    areas, precisions = ranking.auroc(truth, scores, weights), ranking.average_precision(truth, scores, weights)
    for b in range(2):
        wins = pairs = 0.0
        for i in np.flatnonzero(truth == 1):
            for j in np.flatnonzero(truth == 0):
                both = weights[b, i] * weights[b, j]
                pairs += both
                wins += both * (1.0 if p[i] > p[j] else 0.5 if p[i] == p[j] else 0.0)
        assert areas[b, 1] == pytest.approx(wins / pairs if pairs else np.nan, nan_ok=True)
        positives = weights[b, truth == 1].sum()
        expected, before = 0.0, 0.0
        for threshold in sorted(set(p.tolist()), reverse=True):
            above = p >= threshold
            found = weights[b, above & (truth == 1)].sum()
            if weights[b, above].sum():
                expected += (found - before) * found / weights[b, above].sum()
            before = found
        assert precisions[b, 1] == pytest.approx(expected / positives if positives else np.nan, nan_ok=True)


def test_metrics_raise_no_warning_on_odd_input() -> None:
    truth, scores = np.zeros(3, np.int64), np.array([[1.0, 0.0], [0.0, 1.0], [0.5, 0.5]])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found: dict[str, Any] = {
            name: pick("evaluate.metrics", name).value(truth, scores, np.array([[1.0, 1, 1], [0, 0, 0]]))
            for name in REFERENCE
        }
    assert np.isnan([value[1] for value in found.values()]).all()
