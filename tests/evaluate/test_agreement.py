"""Agreement of a quantity: every measure against an independent implementation, intervals by patient, reasons."""

import json
import math
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats
from sklearn import metrics

from eyeground.evaluate.agreement import TITLES, agree, agreement

from .several import quantity

Array = NDArray[np.float64]

# Peak flow of 17 people, L/min, by a large and a mini meter (first readings): Bland & Altman, Lancet 1986;1:307.
LARGE = [494, 395, 516, 434, 476, 557, 413, 442, 650, 433, 417, 656, 267, 478, 178, 423, 427]
MINI = [512, 430, 520, 428, 500, 600, 364, 380, 658, 445, 432, 626, 260, 477, 259, 350, 451]


def anova_icc(truth: Array, said: Array) -> float:
    """ICC(2,1) from the mean squares of a two-way analysis of variance, cell by cell (Shrout & Fleiss 1979)."""
    cells = [list(pair) for pair in zip(truth.tolist(), said.tolist(), strict=True)]
    n, k = len(cells), 2
    grand = sum(map(sum, cells)) / (n * k)
    rows = [sum(row) / k for row in cells]
    raters = [sum(row[rater] for row in cells) / n for rater in range(k)]
    between = k * sum((row - grand) ** 2 for row in rows) / (n - 1)
    columns = n * sum((rater - grand) ** 2 for rater in raters) / (k - 1)
    left = sum((cells[i][j] - rows[i] - raters[j] + grand) ** 2 for i in range(n) for j in range(k))
    residual = left / ((n - 1) * (k - 1))
    return (between - residual) / (between + (k - 1) * residual + k * (columns - residual) / n)


def lin(truth: Array, said: Array) -> float:
    """Lin's concordance in his own words: one minus the squared distance over that expected of unrelated readings."""
    distance = sum((a - b) ** 2 for a, b in zip(truth.tolist(), said.tolist(), strict=True)) / len(truth)
    unrelated = sum((a - b) ** 2 for a in truth.tolist() for b in said.tolist()) / len(truth) ** 2
    return 1 - distance / unrelated


def limit(sign: int) -> Callable[[Array, Array], float]:
    return lambda truth, said: float(np.mean(said - truth) + sign * 1.96 * np.std(said - truth, ddof=1))


REFERENCES: dict[str, Callable[[Array, Array], float]] = {
    "mae": metrics.mean_absolute_error,
    "rmse": metrics.root_mean_squared_error,
    "bias": lambda truth, said: sum(s - t for s, t in zip(said.tolist(), truth.tolist(), strict=True)) / len(truth),
    "loa_low": limit(-1),
    "loa_high": limit(1),
    "r2": metrics.r2_score,
    "pearson": lambda truth, said: stats.pearsonr(truth, said).statistic,
    "spearman": lambda truth, said: stats.spearmanr(truth, said).statistic,
    "icc": anova_icc,
    "concordance": lin,
}


def measured(truth: Array, said: Array, weights: Array | None = None) -> dict[str, float]:
    ones = np.ones((1, len(truth))) if weights is None else weights[None]
    return dict(zip(TITLES, agree(truth, said, ones)[0].tolist(), strict=True))


@pytest.mark.parametrize("name", list(TITLES))
@pytest.mark.parametrize("seed", range(4))
def test_every_measure_is_that_of_an_independent_implementation(name: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth = rng.normal(15, 4, 41)
    said = truth * rng.choice([0.5, 1.0]) + rng.normal(3, 2, 41)
    if seed > 1:  # ties everywhere, as in whole mmHg
        truth, said = truth.round(), said.round()
    assert measured(truth, said)[name] == pytest.approx(REFERENCES[name](truth, said), rel=1e-9)


@pytest.mark.parametrize("name", list(TITLES))
def test_a_weight_counts_like_so_many_rows(name: str) -> None:
    rng = np.random.default_rng(1)
    truth, said = rng.normal(15, 4, 30).round(), rng.normal(15, 4, 30).round()
    weights = rng.integers(0, 4, 30)
    again = REFERENCES[name](np.repeat(truth, weights), np.repeat(said, weights))
    assert measured(truth, said, weights.astype(np.float64))[name] == pytest.approx(again, rel=1e-9)


def test_published_limits_of_agreement_come_out() -> None:
    found = measured(np.array(MINI, np.float64), np.array(LARGE, np.float64))
    assert found["bias"] == pytest.approx(-2.1, abs=0.05)
    assert (found["loa_high"] - found["loa_low"]) / (2 * 1.96) == pytest.approx(38.8, abs=0.05)


def test_numbers_far_from_zero_lose_nothing() -> None:
    rng = np.random.default_rng(2)
    truth = rng.normal(0, 1, 50)
    said = truth + rng.normal(0, 0.5, 50)
    near, far = measured(truth, said), measured(truth + 1e7, said + 1e7)
    assert far == pytest.approx(near, rel=1e-6)


def test_an_offset_lowers_agreement_but_no_correlation() -> None:
    rng = np.random.default_rng(3)
    truth = rng.normal(15, 3, 80)
    said = truth + rng.normal(0, 1, 80)
    plain, moved = measured(truth, said), measured(truth, said + 5)
    for name in ("pearson", "spearman"):
        assert moved[name] == pytest.approx(plain[name])
    for name in ("icc", "concordance", "r2"):
        assert moved[name] < plain[name] - 0.2


def test_the_headline_holds_the_values_with_intervals_around_them() -> None:
    made = quantity(120)
    found = agreement(made, resamples=300)
    assert (found.n, found.patients, found.name, found.unit) == (120, 60, "IOP", "mmHg")
    for name, estimate in found.headline.items():
        assert estimate.value == pytest.approx(REFERENCES[name](made.truth, made.said), rel=1e-9)
        assert estimate.low < estimate.value < estimate.high
    assert found.headline["bias"].low > 0


def test_a_truth_that_is_not_known_is_left_out_and_counted_and_zero_in_its_place_is_noticed() -> None:
    truth = quantity(100).truth.copy()
    truth[::4] = np.nan
    made = quantity(100, truth=truth)
    found = agreement(made, resamples=50)
    assert (found.n, found.unlabelled) == (75, 25)
    assert found.headline == agreement(made.select(made.labelled), resamples=50).headline
    faulty = agreement(quantity(100, truth=np.nan_to_num(truth)), resamples=50)
    assert faulty.headline["mae"].value > 2 * found.headline["mae"].high


def test_images_drawn_instead_of_patients_are_noticed() -> None:
    made = quantity(200)  # two images of a patient share most of their error
    honest, faulty = (
        agreement(table, resamples=1000).headline["bias"]
        for table in (made, quantity(200, patients=made.files, patients_known=False))
    )
    assert honest.high - honest.low > 1.2 * (faulty.high - faulty.low)


def test_undefined_measures_have_their_reasons() -> None:
    flat = agreement(quantity(20, truth=np.full(20, 0.1 + 0.2)), resamples=30).headline
    for name in ("r2", "pearson", "spearman", "icc", "concordance"):
        assert math.isnan(flat[name].value)
        assert flat[name].reason == "the truth is the same in all 20 images"
    assert flat["mae"].has_interval
    still = agreement(quantity(20, said=np.full(20, 0.1)), resamples=30).headline
    for name in ("pearson", "spearman"):
        assert still[name].to_json() == {"value": None, "reason": "the prediction is the same in all 20 images"}
    assert still["r2"].defined
    assert still["concordance"].value == pytest.approx(0)
    alone = agreement(quantity(4).select(np.arange(4) == 0), resamples=30).headline
    assert alone["mae"].reason == "no interval: only 1 patient"
    assert alone["loa_low"].reason == alone["icc"].reason == "one image has no spread"
    with pytest.raises(ValueError, match="no row has a known IOP"):
        agreement(quantity(3, truth=np.full(3, np.nan)))
    assert np.isnan(agree(np.zeros(0), np.zeros(0), np.zeros((2, 0)))).all()


def test_a_resample_of_one_value_is_undefined_and_not_what_rounding_left() -> None:
    rng = np.random.default_rng(5)
    truth, said = rng.normal(15, 4, 40), rng.normal(15, 4, 40)
    for row in range(40):
        weights = np.where(np.arange(40) == row, 3.0, 0.0)
        found = measured(truth, said, weights)
        assert [name for name, value in found.items() if math.isnan(value)] == [
            "r2", "pearson", "spearman", "icc", "concordance",
        ]  # fmt: skip


def test_a_perfect_answer_has_perfect_numbers() -> None:
    made = quantity(30)
    found = agreement(quantity(30, said=made.truth), resamples=30)
    for name in ("mae", "rmse", "bias", "loa_low", "loa_high"):
        assert found.headline[name].value == pytest.approx(0)
    for name in ("r2", "pearson", "spearman", "icc", "concordance"):
        assert found.headline[name].value == pytest.approx(1)
    assert found.digits == 2


def test_json_is_strict_and_equal_seeds_give_equal_numbers() -> None:
    truth = quantity(40).truth.copy()
    truth[3] = np.nan
    one, two, three = (agreement(quantity(40, truth=truth), resamples=60, seed=seed).to_json() for seed in (1, 1, 2))
    assert one == two != three
    plain = json.loads(json.dumps(one, allow_nan=False))
    keys = ["n", "unlabelled", "patients", "patients_known", "name", "unit", "resamples", "seed", "headline"]
    assert list(plain) == keys
    assert list(plain["headline"]) == list(TITLES)
    assert set(plain["headline"]["icc"]) == {"value", "low", "high"}


@pytest.mark.parametrize(("scale", "digits"), [(1.0, 2), (0.01, 4), (100.0, 0)])
def test_numbers_are_printed_to_three_figures_of_the_error(scale: float, digits: int) -> None:
    made = quantity(40)
    assert agreement(quantity(40, truth=scale * made.truth, said=scale * made.said), resamples=20).digits == digits
