"""Conformal sets: by hand, and their promise on data drawn again and again."""

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from eyeground.evaluate.confidence import Estimate
from eyeground.evaluate.conformal import (
    ConformalSets,
    fit_sets,
    interval_half_width,
    least,
    measure_sets,
    quantile,
)

from .drawn import scored

CLASSES = ["a", "b", "c"]


def without_correction(values: NDArray[np.float64], coverage: float) -> float:
    """The planted fault: the rank among n, not n + 1."""
    return float(np.sort(values)[math.ceil(round(len(values) * coverage, 9)) - 1])


def test_the_rank_by_hand() -> None:
    values = np.array([0.5, 0.1, 0.4, 0.2, 0.3])
    assert quantile(values, 0.5) == 0.3  # ceil(6 * 0.5) = 3rd
    assert quantile(values, 0.6) == 0.4  # ceil(3.6) = 4th
    assert quantile(values, 0.8) == 0.5  # ceil(4.8) = 5th
    assert quantile(values, 0.9) == math.inf  # ceil(5.4) = 6th of 5
    assert quantile(np.zeros(0), 0.5) == math.inf


@pytest.mark.parametrize(("n", "coverage", "rank"), [(19, 0.55, 11), (99, 0.29, 29), (9, 0.7, 7), (99, 0.07, 7)])
def test_a_rank_that_is_whole_is_not_pushed_up_by_the_last_bit(n: int, coverage: float, rank: int) -> None:
    assert quantile(np.arange(1.0, n + 1), coverage) == rank


@pytest.mark.parametrize("coverage", [0.5, 0.8, 0.9, 0.95, 0.975, 0.99])
def test_the_least_number_of_values_is_the_first_that_has_a_quantile(coverage: float) -> None:
    n = least(coverage)
    assert n == math.ceil(round(1 / (1 - coverage), 6)) - 1
    assert math.isfinite(quantile(np.arange(float(n)), coverage))
    assert quantile(np.arange(float(n - 1)), coverage) == math.inf


@pytest.mark.parametrize("coverage", [0.0, 1.0, -0.1, 90.0])
def test_a_coverage_out_of_range_is_refused(coverage: float) -> None:
    with pytest.raises(ValueError, match="above 0 and below 1"):
        quantile(np.zeros(3), coverage)
    with pytest.raises(ValueError, match="NaN"):
        quantile(np.array([0.1, np.nan]), 0.5)


def test_the_promise_holds_on_average_and_a_rank_without_the_correction_breaks_it() -> None:
    # With continuous values the next one is at most the r-th smallest of n with a chance of r / (n + 1), on average
    # over all that may be drawn. For n = 10: 10 / 11 with the correction, 9 / 11 without it.
    rng, n, draws = np.random.default_rng(0), 10, 4000
    values, following = rng.normal(size=(draws, n)), rng.normal(size=draws)
    sound, faulty = (
        np.mean([new <= found(row, 0.9) for row, new in zip(values, following, strict=True)])
        for found in (quantile, without_correction)
    )
    four = 4 * math.sqrt(0.9 * 0.1 / draws)
    assert abs(sound - 10 / 11) < four
    assert sound > 0.9 - four
    assert faulty < 0.9 - four


def test_sets_by_hand() -> None:
    scores = np.array([[0.6, 0.3, 0.1], [0.34, 0.33, 0.33], [0.9, 0.05, 0.05], [np.nan] * 3])
    sets = ConformalSets(0.9, False, (Estimate(0.7),) * 3)
    assert sets.members(scores).tolist() == [[True, True, False], [True] * 3, [True, False, False], [False] * 3]
    assert sets.alone(scores).tolist() == [False, False, True, False]
    strict = ConformalSets(0.5, False, (Estimate(0.2),) * 3)
    assert strict.members(scores).sum(axis=1).tolist() == [0, 0, 1, 0]  # no class is likely enough: empty


def test_the_row_that_gives_the_quantile_is_covered() -> None:
    truth, scores = scored(60, 3, seed=2, digits=2)
    sets = fit_sets(truth, scores, classes=CLASSES, coverage=0.9)
    held = sets.members(scores)[np.arange(60), truth]
    assert held.sum() >= math.ceil(61 * 0.9)
    assert len({each.value for each in sets.quantiles}) == 1


def test_a_single_class_that_contradicts_the_answer_is_no_answer() -> None:
    # By class: "a" needs 0.9 of score, "b" only 0.3. At 0.6 to 0.4 the set is "b" alone, and the answer is "a".
    sets = ConformalSets(0.9, True, (Estimate(0.1), Estimate(0.7)))
    scores = np.array([[0.6, 0.4], [0.2, 0.8]])
    assert sets.members(scores).tolist() == [[False, True], [False, True]]
    assert sets.alone(scores).tolist() == [False, True]
    found = measure_sets(np.array([0, 1]), scores, ["p", "q"], sets=sets, classes=["a", "b"], resamples=20)
    assert (found.alone.value, found.right.value, found.coverage.value) == (0.5, 1.0, 0.5)


def test_measuring_by_hand() -> None:
    sets = ConformalSets(0.9, False, (Estimate(0.7),) * 3)
    scores = np.array([[0.6, 0.3, 0.1], [0.34, 0.33, 0.33], [0.9, 0.05, 0.05], [0.1, 0.1, 0.8]])
    found = measure_sets(np.array([2, 1, 0, 0]), scores, list("pqrs"), sets=sets, classes=CLASSES, resamples=200)
    assert found.coverage.value == 0.5  # rows 1 and 2
    assert found.sizes.tolist() == [0, 2, 1, 1]
    assert found.size.value == pytest.approx((2 + 3 + 1 + 1) / 4)
    assert (found.alone.value, found.right.value, found.empty.value) == (0.5, 0.5, 0.0)
    assert [each.value for each in found.class_coverage] == [0.5, 1.0, 0.0]
    assert found.class_coverage[0].has_interval
    assert found.class_coverage[1].reason == "no interval: it hangs on one patient"


def test_what_is_undefined_says_why() -> None:
    sets = ConformalSets(0.9, False, (Estimate(1.0),) * 3)
    scores = np.array([[0.6, 0.3, 0.1], [0.4, 0.3, 0.3]])
    found = measure_sets(np.array([0, 1]), scores, ["p", "q"], sets=sets, classes=CLASSES, resamples=20)
    assert found.right.reason == "the model answers no image alone"
    assert found.class_coverage[2].reason == "class 'c' is absent"


def test_a_class_with_too_few_images_can_never_be_ruled_out() -> None:
    truth, scores = scored(60, 3, seed=1)
    truth[truth == 2] = 0
    truth[:4] = 2
    sets = fit_sets(truth, scores, classes=CLASSES, coverage=0.9, per_class=True)
    assert [each.defined for each in sets.quantiles] == [True, True, False]
    assert sets.quantiles[2].reason == "4 validation images of 'c', and a coverage of 90% needs 9"
    assert sets.members(scores)[:, 2].all()
    assert not sets.alone(scores)[scores.argmax(axis=1) != 2].any()


def shifted(rng: np.random.Generator, rows: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Three classes, the last rare and hard: what marginal coverage neglects."""
    truth = rng.choice(3, rows, p=(0.6, 0.3, 0.1))
    logits = rng.normal(size=(rows, 3))
    logits[np.arange(rows), truth] += np.array([2.5, 1.5, 0.0])[truth]
    raised = np.exp(logits)
    return truth, raised / raised.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("per_class", [False, True])
def test_coverage_on_many_draws_of_exchangeable_images(per_class: bool) -> None:
    rng, draws = np.random.default_rng(3), 400
    held, by_class = [], []
    for _ in range(draws):
        truth, scores = shifted(rng, 330)
        sets = fit_sets(truth[:300], scores[:300], classes=CLASSES, coverage=0.9, per_class=per_class)
        inside = sets.members(scores[300:])[np.arange(30), truth[300:]]
        held.append(inside.mean())
        by_class.append([(inside[truth[300:] == k].sum(), (truth[300:] == k).sum()) for k in range(3)])
    # Draws are independent; within one, images share a quantile.
    spread = np.std(held) / math.sqrt(draws)
    assert 0.9 - 4 * spread < np.mean(held) < 0.9 + 1 / 30 + 4 * spread
    hits, counts = np.array(by_class).sum(axis=0).T
    rare = hits[2] / counts[2]
    assert rare > 0.9 - 4 * math.sqrt(0.09 / counts[2]) if per_class else rare < 0.7


def test_half_width_of_a_quantity() -> None:
    truth = np.array([10.0, 20.0, 30.0, 40.0, 50.0])
    said = truth + np.array([1.0, -3.0, 2.0, -5.0, 4.0])
    assert interval_half_width(truth, said, 0.5).value == 3.0  # 3rd smallest residual of 5
    few = interval_half_width(truth, said, 0.9)
    assert np.isnan(few.value)
    assert few.reason == "5 validation images, and a coverage of 90% needs 9"
    with pytest.raises(ValueError, match="same shape"):
        interval_half_width(truth, said[:3], 0.9)
    with pytest.raises(ValueError, match="value 1 is NaN"):
        interval_half_width(truth, np.array([1.0, np.nan, 1.0, 1.0, 1.0]), 0.5)


def test_half_width_keeps_its_promise_on_many_draws() -> None:
    rng, draws = np.random.default_rng(5), 3000
    held = []
    for _ in range(draws):
        truth = rng.normal(16, 4, size=20)  # such as pressures, mmHg
        said = truth + rng.standard_t(3, size=20)
        width = interval_half_width(truth[:19], said[:19], 0.8).value
        held.append(abs(truth[19] - said[19]) <= width)
    assert abs(np.mean(held) - 0.8) < 4 * math.sqrt(0.16 / draws)
