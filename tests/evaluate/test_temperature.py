"""Temperature scaling against a grid, a known temperature, and hand-computed cases."""

import numpy as np
import pytest
from numpy.typing import NDArray

from eyeground.evaluate.confidence import interval, weights
from eyeground.evaluate.metrics import log_loss
from eyeground.evaluate.temperature import HIGHEST, LOWEST, fit_temperature, tempered

from .drawn import scored

CLASSES = ["a", "b", "c", "d", "e", "f"]


def fitted(truth: NDArray[np.int64], scores: NDArray[np.float64], resamples: int = 20) -> float:
    names = [str(row) for row in range(len(truth))]
    return fit_temperature(truth, scores, names, classes=CLASSES, resamples=resamples).value


def loss(truth: NDArray[np.int64], scores: NDArray[np.float64], temperature: float) -> float:
    return float(log_loss.value(truth, tempered(scores, temperature), np.ones((1, len(truth))))[0])


def drawn_from(scores: NDArray[np.float64], seed: int) -> NDArray[np.int64]:
    """Truth that is as often each class as its score says: these scores are calibrated by construction."""
    chance = np.random.default_rng(seed).random((len(scores), 1))
    return np.minimum((scores.cumsum(axis=1) < chance).sum(axis=1), scores.shape[1] - 1)


def test_tempered_scores_by_hand() -> None:
    # Odds of 9 to 1 become 3 to 1 at temperature 2, and 81 to 1 at 1/2.
    assert tempered(np.array([[0.1, 0.9]]), 2.0) == pytest.approx(np.array([[0.25, 0.75]]))
    assert tempered(np.array([[0.1, 0.9]]), 0.5) == pytest.approx(np.array([[1, 81]]) / 82)


def test_a_row_adds_up_to_one_and_keeps_its_order() -> None:
    _, scores = scored(50, 5)
    for temperature in (LOWEST, 0.7, 3.0, HIGHEST):
        after = tempered(scores, temperature)
        assert after.sum(axis=1) == pytest.approx(np.ones(50))
        assert (after.argmax(axis=1) == scores.argmax(axis=1)).all()
    assert tempered(scores, 1.0) == pytest.approx(scores)


def test_a_score_of_zero_is_no_infinity_and_nan_stays_nan() -> None:
    after = tempered(np.array([[0.0, 1.0], [np.nan, np.nan]]), 20.0)
    assert np.isfinite(after[0]).all()
    assert 0 < after[0, 0] < 0.02  # 1e-38 to the power of 1/20
    assert np.isnan(after[1]).all()


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan")])
def test_a_temperature_is_positive(temperature: float) -> None:
    with pytest.raises(ValueError, match="positive"):
        tempered(np.array([[0.5, 0.5]]), temperature)


@pytest.mark.parametrize("count", [2, 3, 6])
@pytest.mark.parametrize("heat", [0.4, 1.0, 2.5])
def test_the_optimum_is_that_of_a_fine_grid(count: int, heat: float) -> None:
    truth, scores = scored(120, count, seed=count)
    hot = tempered(scores, 1 / heat)
    grid = np.geomspace(LOWEST, HIGHEST, 2001)
    best = grid[np.argmin([loss(truth, hot, temperature) for temperature in grid.tolist()])]
    found = fitted(truth, hot)
    assert found == pytest.approx(best, rel=0.004)  # a step of the grid is 0.3%
    assert loss(truth, hot, found) <= loss(truth, hot, float(best)) + 1e-12


@pytest.mark.parametrize("heat", [0.5, 1.0, 3.0])
def test_a_known_temperature_is_found_again(heat: float) -> None:
    _, calibrated = scored(6000, 4, seed=3)
    truth = drawn_from(calibrated, seed=4)
    found = fit_temperature(
        truth, tempered(calibrated, 1 / heat), [str(row) for row in range(6000)], classes=CLASSES, resamples=100
    )
    assert found.value == pytest.approx(heat, rel=0.08)
    assert found.low < found.value < found.high
    assert found.low * 0.97 < heat < found.high * 1.03


def test_the_interval_is_that_of_fitting_every_resample_anew() -> None:
    truth, scores = scored(60, 3, seed=8)
    patients = [f"p{row // 3}" for row in range(60)]
    found = fit_temperature(truth, scores, patients, classes=CLASSES, resamples=40, seed=5)
    again = [
        fitted(np.repeat(truth, times), np.repeat(scores, times, axis=0), resamples=1)
        for times in weights(patients, resamples=40, seed=5).astype(int)
    ]
    low, high = interval(np.array(again)[:, None])
    assert (found.low, found.high) == (pytest.approx(low[0], rel=1e-3), pytest.approx(high[0], rel=1e-3))


def test_nothing_is_fitted_where_nothing_is_best_and_it_is_said() -> None:
    rows = np.array([[0.8, 0.2], [0.3, 0.7]] * 10)
    right, wrong, one = np.tile([0, 1], 10), np.tile([1, 0], 10), np.zeros(20, np.int64)
    for truth, words in (
        (right, "nearly every image is named rightly"),
        (wrong, "say nothing"),
        (one, "only one class"),
    ):
        found = fit_temperature(truth, rows, list(map(str, range(20))), classes=["a", "b"], resamples=20)
        assert found.value == 1.0
        assert not found.has_interval
        assert words in found.reason
    with pytest.raises(ValueError, match="whose class is known"):
        fit_temperature(right[:0], rows[:0], [], classes=["a", "b"])


def test_scores_that_never_vary_are_left_alone() -> None:
    found = fit_temperature(np.tile([0, 1], 5), np.full((10, 2), 0.5), list("abcdefghij"), classes=["a", "b"])
    assert found.value == 1.0


def test_a_single_patient_has_no_interval() -> None:
    truth, scores = scored(40, 3)
    found = fit_temperature(truth, scores, ["p"] * 40, classes=CLASSES, resamples=20)
    assert found.defined
    assert found.reason == "no interval: only 1 patient"
