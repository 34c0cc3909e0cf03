"""Probes against scikit-learn used directly and a slow loop; subsets of the labels by their promises."""

import math
import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from eyeground.evaluate import probe
from eyeground.evaluate.probe import GRID, knn_probe, logistic_probe, subset_of_labels

Part = tuple[NDArray[np.float64], NDArray[np.int64]]


def drawn(rows: int, classes: int, seed: int, width: int = 12) -> Part:
    """Features whose first columns tell something about the class, on very different scales."""
    rng = np.random.default_rng(seed)
    y = np.concatenate([np.arange(classes), rng.integers(0, classes, rows - classes)])
    x = rng.normal(size=(rows, width))
    x[np.arange(rows), y] += 1.0
    return x * np.geomspace(1e-2, 1e2, width) + 5, y


@pytest.mark.parametrize("classes", [2, 4])
def test_the_linear_probe_equals_scikit_learn_fitted_afresh_for_each_penalty(classes: int) -> None:
    (train_x, train_y), (val_x, val_y), (test_x, _) = (drawn(n, classes, n) for n in (90, 60, 70))
    found = logistic_probe(train_x, train_y, val_x, val_y, test_x, classes=classes, seed=0)
    areas, models = [], []
    for c in GRID:
        model = make_pipeline(StandardScaler(), LogisticRegression(C=c, max_iter=5000, tol=1e-6)).fit(train_x, train_y)
        scores = model.predict_proba(val_x)
        areas.append(np.mean([roc_auc_score(val_y == label, scores[:, label]) for label in range(classes)]))
        models.append(model)
    assert found.c is not None
    chosen = GRID.index(found.c)
    assert areas[chosen] == pytest.approx(max(areas), abs=2e-3)
    np.testing.assert_allclose(found.scores, models[chosen].predict_proba(test_x), atol=5e-3)
    assert found.notes == ()


def slow_votes(train: Part, test_x: NDArray[np.float64], classes: int, k: int, temperature: float) -> list[list[float]]:
    """Count weighted votes one by one."""
    answers = []
    for row in test_x.tolist():
        near = []
        for other, label in zip(train[0].tolist(), train[1].tolist(), strict=True):
            dot = sum(a * b for a, b in zip(row, other, strict=True))
            near.append((dot / math.hypot(*row) / math.hypot(*other), label))
        near.sort(key=lambda pair: -pair[0])
        votes = [0.0] * classes
        for similarity, label in near[:k]:
            votes[label] += math.exp(similarity / temperature)
        answers.append([vote / sum(votes) for vote in votes])
    return answers


@pytest.mark.parametrize(("k", "temperature"), [(1, 0.07), (5, 0.07), (20, 0.5), (500, 0.07)])
def test_the_neighbors_vote_as_a_slow_loop_counts(k: int, temperature: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "_CHUNK_ENTRIES", 200)  # several pieces
    train, (test_x, _) = drawn(60, 3, 0), drawn(25, 3, 1)
    found = knn_probe(*train, test_x, classes=3, k=k, temperature=temperature)
    np.testing.assert_allclose(found.scores, slow_votes(train, test_x, 3, k, temperature), atol=1e-9)
    assert found.c is None
    assert found.notes == (("all 60 training rows vote: fewer than k = 500",) if k == 500 else ())


def test_a_tiny_temperature_and_a_row_of_zeros_give_scores_all_the_same() -> None:
    x = np.array([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]])
    found = knn_probe(x, np.array([0, 1, 1]), x, classes=2, k=2, temperature=1e-4)
    assert found.scores[0].tolist() == [1.0, 0.0]
    assert np.isfinite(found.scores).all()
    assert found.scores[2].tolist() == [0.5, 0.5]  # like nothing: the first two rows vote alike


@given(st.integers(2, 5), st.integers(1, 40), st.integers(0, 10**6))
def test_neighbors_give_probabilities(classes: int, rows: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(rows, 4)).astype(np.float32), rng.integers(0, classes, rows)
    scores = knn_probe(x, y, rng.normal(size=(7, 4)).astype(np.float32), classes=classes).scores
    assert scores.min() >= 0
    np.testing.assert_allclose(scores.sum(axis=1), 1)


def test_a_class_that_was_not_trained_on_gets_nothing_and_says_so() -> None:
    (train_x, train_y), (val_x, val_y), (test_x, _) = (drawn(n, 3, n) for n in (60, 30, 20))
    kept = train_y != 1
    for found in (
        logistic_probe(train_x[kept], train_y[kept], val_x, val_y, test_x, classes=3, seed=0),
        knn_probe(train_x[kept], train_y[kept], test_x, classes=3),
    ):
        assert found.scores[:, 1].max() == 0
        np.testing.assert_allclose(found.scores.sum(axis=1), 1)
        assert found.notes == ("no training row of class 1: its probability is 0",)


def test_a_single_class_is_answered_without_a_fit() -> None:
    x = np.ones((3, 2))
    found = logistic_probe(x, np.array([1, 1, 1]), x, np.array([0, 1, 1]), x, classes=2, seed=0)
    assert found.scores.tolist() == [[0.0, 1.0]] * 3
    assert found.c is None
    assert "the training rows hold one class: nothing was fitted" in found.notes


@pytest.mark.parametrize(
    ("kept", "note"),
    [
        ((0, 1), "no validation row of class 2: C was chosen by the AUROC of the other classes"),
        ((1,), "validation holds one class: C was chosen by log loss, for there is no AUROC"),
        ((), "no validation row: C = 1 was taken, not chosen"),
    ],
)
def test_poor_validation_is_told(kept: tuple[int, ...], note: str) -> None:
    (train_x, train_y), (val_x, val_y), (test_x, _) = (drawn(n, 3, n) for n in (60, 30, 20))
    rows = np.isin(val_y, kept)
    found = logistic_probe(train_x, train_y, val_x[rows], val_y[rows], test_x, classes=3, seed=0)
    assert found.notes == (note,)
    assert found.c in (GRID if kept else (1.0,))


def test_fits_that_do_not_converge_are_counted_and_other_warnings_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    (train_x, train_y), (val_x, val_y), (test_x, _) = (drawn(n, 3, n) for n in (60, 30, 20))
    monkeypatch.setattr(probe, "_MOST_ITERATIONS", 2)
    [note] = logistic_probe(train_x, train_y, val_x, val_y, test_x, classes=3, seed=0).notes
    assert "of 7 fits did not converge in 2 steps" in note

    fit = LogisticRegression.fit

    def loud(self: Any, *words: Any) -> Any:
        warnings.warn("something else", RuntimeWarning, stacklevel=1)
        return fit(self, *words)

    monkeypatch.setattr(LogisticRegression, "fit", loud)
    with pytest.warns(RuntimeWarning, match="something else"):
        logistic_probe(train_x, train_y, val_x, val_y, test_x, classes=3, seed=0)


def test_a_constant_feature_and_any_seed_change_nothing() -> None:
    (train_x, train_y), (val_x, val_y), (test_x, _) = (drawn(n, 3, n) for n in (60, 30, 20))
    plain = logistic_probe(train_x, train_y, val_x, val_y, test_x, classes=3, seed=0)
    more = (np.pad(x, ((0, 0), (0, 1)), constant_values=3) for x in (train_x, val_x, test_x))
    a, b, c = more
    padded = logistic_probe(a, train_y, b, val_y, c, classes=3, seed=7)
    np.testing.assert_allclose(padded.scores, plain.scores, atol=1e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"train_x": np.zeros((4, 3))}, "test: features have the shape"),
        ({"train_y": np.array([0, 1])}, "labels have the shape"),
        ({"train_y": np.array([0, 1, 2, 0])}, "outside 0..1"),
        ({"test_x": np.array([[0.0, np.nan]])}, "test: a feature is NaN or infinite, first in row 0"),
        ({"train_x": np.zeros((0, 2)), "train_y": np.zeros(0, np.int64)}, "train: there is no row"),
        ({"classes": 1}, "at least two are needed"),
    ],
)
def test_what_does_not_fit_is_refused(change: dict[str, Any], message: str) -> None:
    given_: dict[str, Any] = {
        "train_x": np.eye(4, 2), "train_y": np.array([0, 1, 0, 1]), "test_x": np.eye(2), "classes": 2, **change
    }  # fmt: skip
    with pytest.raises(ValueError, match=message):
        knn_probe(**given_)
    with pytest.raises(ValueError, match=message):
        logistic_probe(val_x=np.eye(2), val_y=np.array([0, 1]), seed=0, **given_)


@pytest.mark.parametrize(("k", "temperature"), [(0, 0.07), (5, 0.0), (5, math.nan)])
def test_votes_need_a_voter_and_a_temperature(k: int, temperature: float) -> None:
    with pytest.raises(ValueError, match="k is at least 1"):
        knn_probe(np.eye(2), np.array([0, 1]), np.eye(2), classes=2, k=k, temperature=temperature)


labelled = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 25)), min_size=1, max_size=80)
fractions = st.sampled_from((0.01, 0.05, 0.1, 0.3, 0.5, 0.9, 1.0))


@given(labelled, fractions, fractions, st.integers(0, 50))
def test_subsets_are_nested_whole_patients_of_every_class(
    rows: list[tuple[int, int]], one: float, other: float, seed: int
) -> None:
    labels, patients = np.array([label for label, _ in rows]), [f"p{number}" for _, number in rows]
    small, large = (set(subset_of_labels(labels, patients, f, seed).tolist()) for f in sorted((one, other)))
    assert small <= large
    chosen = {patients[row] for row in small}
    assert small == {row for row, patient in enumerate(patients) if patient in chosen}
    assert {int(labels[row]) for row in small} == set(labels.tolist())
    assert set(subset_of_labels(labels, patients, 1.0, seed).tolist()) == set(range(len(rows)))


@given(labelled, fractions, st.integers(0, 50), st.randoms(use_true_random=False))
def test_a_subset_does_not_hang_on_the_order_of_the_rows(
    rows: list[tuple[int, int]], fraction: float, seed: int, random: Any
) -> None:
    def chosen(some: list[tuple[int, int]]) -> list[tuple[int, int]]:
        labels, patients = np.array([label for label, _ in some]), [f"p{number}" for _, number in some]
        return sorted(some[row] for row in subset_of_labels(labels, patients, fraction, seed).tolist())

    assert chosen(rows) == chosen(random.sample(rows, len(rows)))


def test_a_subset_keeps_the_shares_and_another_seed_draws_others() -> None:
    labels = np.repeat([0, 1, 2], [1600, 300, 100])
    patients = [f"p{row // 2}" for row in range(2000)]
    for fraction, wanted in ((0.01, [16, 4, 2]), (0.1, [160, 30, 10]), (0.5, [800, 150, 50])):
        rows = subset_of_labels(labels, patients, fraction, 0)
        assert np.bincount(labels[rows]).tolist() == pytest.approx(wanted, abs=2)
    draws = {tuple(subset_of_labels(labels, patients, 0.01, seed).tolist()) for seed in range(5)}
    assert len(draws) == 5


@pytest.mark.parametrize(
    ("labels", "patients", "fraction"),
    [([0], ["a", "b"], 0.5), ([], [], 0.5), ([-1], ["a"], 0.5), ([0], ["a"], 0.0), ([0], ["a"], 1.1)],
)
def test_a_subset_of_nothing_or_of_too_much_is_refused(labels: list[int], patients: list[str], fraction: float) -> None:
    with pytest.raises(ValueError, match=r"at least one|at most 1"):
        subset_of_labels(np.array(labels, np.int64), patients, fraction, 0)
