"""The points behind the pictures."""

import numpy as np
import pytest
from sklearn import metrics as sk

from eyeground.evaluate import curves
from eyeground.evaluate.metrics import ece

from .drawn import scored


@pytest.mark.parametrize("digits", [None, 1])
def test_roc_encloses_its_area_and_its_band_holds_it(digits: int | None) -> None:
    truth, scores = scored(150, 2, digits=digits)
    patients = [str(row) for row in range(150)]
    curve = curves.roc(truth == 1, scores[:, 1], patients, resamples=200)
    assert curve is not None
    assert np.trapezoid(curve.y, curve.x) == pytest.approx(sk.roc_auc_score(truth == 1, scores[:, 1]))
    assert (np.diff(curve.x) >= 0).all()
    assert (np.diff(curve.y) >= 0).all()
    assert (curve.low <= curve.high).all()
    inside = np.interp(curve.grid[1:-1], curve.x, curve.y)
    assert np.mean((curve.low[1:-1] - 0.02 <= inside) & (inside <= curve.high[1:-1] + 0.02)) > 0.9


@pytest.mark.parametrize("digits", [None, 1])
def test_precision_recall_equals_sklearn(digits: int | None) -> None:
    truth, scores = scored(150, 2, digits=digits)
    curve = curves.precision_recall(truth == 1, scores[:, 1], [str(row) for row in range(150)], resamples=50)
    assert curve is not None
    expected, recall, _ = sk.precision_recall_curve(truth == 1, scores[:, 1])
    steps = {round(float(r), 9): set() for r in recall}
    for r, p in zip(recall, expected, strict=True):
        steps[round(float(r), 9)].add(round(float(p), 9))
    for r, p in zip(curve.x[1:], curve.y[1:], strict=True):
        assert round(float(p), 9) in steps[round(float(r), 9)]


def test_no_curve_without_both_kinds() -> None:
    for positive in (np.zeros(4, bool), np.ones(4, bool)):
        assert curves.roc(positive, np.linspace(0, 1, 4), list("abcd")) is None
        assert curves.precision_recall(positive, np.linspace(0, 1, 4), list("abcd")) is None


def test_one_patient_has_a_curve_without_a_band() -> None:
    curve = curves.roc(np.array([True, False]), np.array([0.9, 0.1]), ["a", "a"], resamples=20)
    assert curve is not None
    assert np.isnan(curve.low).all()


def test_reliability_bins_add_up_to_the_calibration_error() -> None:
    truth, scores = scored(200, 3)
    found = curves.reliability(truth, scores, [str(row) for row in range(200)], resamples=50)
    assert found.count.sum() == 200
    filled = found.count > 0
    gap = np.abs(found.accuracy - found.confidence)[filled] @ found.count[filled] / 200
    assert gap == pytest.approx(ece.value(truth, scores, np.ones((1, 200)))[0])
