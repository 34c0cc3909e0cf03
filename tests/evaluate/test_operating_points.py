"""Thresholds against a slow search over all of them."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from eyeground.evaluate.operating_points import OperatingPoint, at_sensitivity, at_specificity, choose, measured, youden

from .drawn import scored

Find = Callable[[NDArray[np.bool_], NDArray[np.float64]], OperatingPoint]


def search(labels: NDArray[np.bool_], scores: NDArray[np.float64], target: float, kind: str) -> OperatingPoint | None:
    best: tuple[float, float, OperatingPoint] | None = None
    for threshold in sorted(set(scores.tolist())):
        point = OperatingPoint(
            threshold, float((scores[labels] >= threshold).mean()), float((scores[~labels] < threshold).mean())
        )
        fits = {
            "specificity": point.specificity >= target,
            "sensitivity": point.sensitivity >= target,
            "youden": True,
        }[kind]
        merit = {
            "specificity": point.sensitivity,
            "sensitivity": point.specificity,
            "youden": point.sensitivity + point.specificity,
        }[kind]
        if fits and (best is None or (round(merit, 9), threshold) > best[:2]):
            best = (round(merit, 9), threshold, point)
    return best[2] if best else None


@settings(max_examples=80, deadline=None)
@given(seed=st.integers(0, 10**6), levels=st.integers(2, 12), target=st.sampled_from([0.3, 0.5, 0.8, 0.9, 1.0]))
def test_rules_equal_a_slow_search(seed: int, levels: int, target: float) -> None:
    rng = np.random.default_rng(seed)
    labels = np.append(rng.random(18) < 0.4, [True, False])
    scores = rng.integers(0, levels, 20) / levels
    assert at_sensitivity(labels, scores, target) == search(labels, scores, target, "sensitivity")
    assert youden(labels, scores) == search(labels, scores, target, "youden")
    expected = search(labels, scores, target, "specificity")
    if expected is None:
        with pytest.raises(ValueError, match="no threshold reaches a specificity"):
            at_specificity(labels, scores, target)
    else:
        assert at_specificity(labels, scores, target) == expected


@pytest.mark.parametrize("find", [at_specificity, at_sensitivity, youden])
def test_impossible_input_is_refused(find: Find) -> None:
    with pytest.raises(ValueError, match="same shape"):
        find(np.array([True, False]), np.array([0.1]))
    with pytest.raises(ValueError, match="score 1 is NaN"):
        find(np.array([True, False]), np.array([0.1, np.nan]))
    with pytest.raises(ValueError, match="no positive row"):
        find(np.array([False, False]), np.array([0.1, 0.2]))
    with pytest.raises(ValueError, match="no negative row"):
        find(np.array([True, True]), np.array([0.1, 0.2]))


@pytest.mark.parametrize("target", [0.0, 1.5])
def test_a_target_outside_its_range_is_refused(target: float) -> None:
    with pytest.raises(ValueError, match="target must be in"):
        at_specificity(np.array([True, False]), np.array([0.9, 0.2]), target)


def test_measured_on_the_same_rows_repeats_what_was_chosen() -> None:
    truth, scores = scored(70, 4, digits=2)
    truth[truth == 3] = 0
    chosen = choose(truth, scores)
    again = measured(truth, scores, chosen, np.ones((2, 70)))
    assert again.shape == (2, 24)
    for place, point in enumerate(chosen):
        if isinstance(point, str):
            assert place >= 9
            assert "no positive row" in point
            assert np.isnan(again[:, [place, 12 + place]]).all()
        else:
            assert again[0, place] == pytest.approx(point.sensitivity)
            assert again[1, 12 + place] == pytest.approx(point.specificity)
