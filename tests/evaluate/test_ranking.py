"""Ranks held against a count of every pair, row by row, and against scikit-learn on the rows drawn."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, roc_auc_score

from eyeground.evaluate.confidence import weights
from eyeground.evaluate.ranking import Ranks, auroc, average_precision

from .drawn import scored


def by_pairs(hit: NDArray[np.bool_], score: NDArray[np.float64], times: NDArray[np.float64]) -> tuple[float, float]:
    """AUROC and average precision of one class by their definitions."""
    wins = total = precision = 0.0
    for one in np.flatnonzero(hit):
        for other in np.flatnonzero(~hit):
            total += times[one] * times[other]
            wins += times[one] * times[other] * ((score[one] > score[other]) + (score[one] == score[other]) / 2)
        above = score >= score[one]
        if times[one]:
            precision += times[one] * times[above & hit].sum() / times[above].sum()
    positives = times[hit].sum()
    return wins / total if total else np.nan, precision / positives if positives else np.nan


@settings(max_examples=60, deadline=None)
@given(
    rows=st.integers(1, 25), classes=st.integers(2, 4), digits=st.sampled_from([None, 1]), seed=st.integers(0, 10**6)
)
def test_areas_are_those_of_their_definitions(rows: int, classes: int, digits: int | None, seed: int) -> None:
    draws = np.random.default_rng(seed)
    truth = draws.integers(0, classes, rows)
    scores = draws.random((rows, classes)) if digits is None else draws.random((rows, classes)).round(digits)
    times = np.vstack([np.ones(rows), draws.integers(0, 4, (3, rows)), draws.random(rows)])
    areas, averages = Ranks(truth, scores).areas(times)
    assert areas.shape == averages.shape == (5, classes)
    for line in range(5):
        for label in range(classes):
            expected = by_pairs(truth == label, scores[:, label], times[line])
            np.testing.assert_allclose((areas[line, label], averages[line, label]), expected, atol=1e-12)


@pytest.mark.parametrize("digits", [None, 2])
def test_resamples_equal_scikit_learn_on_the_rows_drawn(digits: int | None) -> None:
    truth, scores = scored(400, 6, seed=3, digits=digits)
    drawn = weights([str(row // 2) for row in range(400)], 12, seed=5)
    areas, averages = Ranks(truth, scores).areas(drawn)
    for line, times in enumerate(drawn.astype(np.int64)):
        said = np.repeat(scores, times, axis=0)
        one_hot = np.eye(6)[np.repeat(truth, times)]
        assert areas[line] == pytest.approx(roc_auc_score(one_hot, said, average=None), abs=1e-9)
        assert averages[line] == pytest.approx(average_precision_score(one_hot, said, average=None), abs=1e-9)


def test_a_class_that_is_absent_or_alone_has_no_area() -> None:
    truth, scores = np.array([0, 0, 2, 2]), scored(4, 3)[1]
    drawn = np.array([[1.0, 1, 1, 1], [2, 0, 0, 0], [0, 0, 0, 0]])
    assert np.isnan(auroc(truth, scores, drawn)).tolist() == [[False, True, False], [True] * 3, [True] * 3]
    assert np.isnan(average_precision(truth, scores, drawn)).tolist() == [
        [False, True, False],
        [False, True, True],
        [True] * 3,
    ]


def test_no_row_has_no_area() -> None:
    areas, averages = Ranks(np.zeros(0, np.int64), np.zeros((0, 2))).areas(np.ones((3, 0)))
    assert np.isnan(areas).all()
    assert np.isnan(averages).all()
    assert areas.shape == (3, 2)
