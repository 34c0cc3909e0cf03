"""DeLong's test against a slow reference that compares every pair of rows, and against chance."""

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import norm, rankdata

from eyeground.evaluate import delong as module
from eyeground.evaluate.delong import auroc_influence, delong, influence_test
from eyeground.evaluate.metrics import auroc_macro

from .drawn import scored


def slow(truth: list[bool], a: list[float], b: list[float], patients: list[str]) -> tuple[float, float, float]:
    """Areas and the variance of their difference by the formulas of the papers, one pair of rows at a time."""
    cases = [i for i, sick in enumerate(truth) if sick]
    controls = [j for j, sick in enumerate(truth) if not sick]

    def beats(x: float, y: float) -> float:
        return 1.0 if x > y else 0.5 if x == y else 0.0

    areas, v10, v01 = [], [], []
    for score in (a, b):
        v10.append({i: sum(beats(score[i], score[j]) for j in controls) / len(controls) for i in cases})
        v01.append({j: sum(beats(score[i], score[j]) for i in cases) / len(cases) for j in controls})
        areas.append(sum(v10[-1].values()) / len(cases))
    clusters = sorted(set(patients))
    sick_sums, well_sums = [], []
    for name in clusters:
        sick = [i for i in cases if patients[i] == name]
        well = [j for j in controls if patients[j] == name]
        both = areas[0] - areas[1]
        sick_sums.append(sum(v10[0][i] - v10[1][i] for i in sick) - len(sick) * both)
        well_sums.append(sum(v01[0][j] - v01[1][j] for j in well) - len(well) * both)
    m, n, count = len(cases), len(controls), len(clusters)
    with_sick = len({patients[i] for i in cases})
    with_well = len({patients[j] for j in controls})
    s10 = with_sick / ((with_sick - 1) * m) * sum(x * x for x in sick_sums)
    s01 = with_well / ((with_well - 1) * n) * sum(x * x for x in well_sums)
    s11 = count / (count - 1) * sum(x * y for x, y in zip(sick_sums, well_sums, strict=True))
    return areas[0], areas[1], s10 / m + s01 / n + 2 * s11 / (m * n)


def case(
    seed: int, rows: int = 40, digits: int = 1
) -> tuple[NDArray[np.bool_], NDArray[np.float64], NDArray[np.float64]]:
    """A disease with two correlated scores, full of ties."""
    rng = np.random.default_rng(seed)
    truth = rng.random(rows) < 0.4
    truth[:4] = [True, True, False, False]
    shared = rng.normal(size=rows) + truth
    a, b = (np.round(shared + rng.normal(size=rows), digits) for _ in range(2))
    return truth, a, b


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("clustered", [False, True])
def test_equals_the_slow_reference(seed: int, clustered: bool) -> None:
    truth, a, b = case(seed)
    patients = [f"p{row // 3 if clustered else row}" for row in range(len(truth))]
    area_a, area_b, variance = slow(truth.tolist(), a.tolist(), b.tolist(), patients)
    found = delong(truth, a, b, patients=patients)
    assert (found.auroc_a, found.auroc_b) == (pytest.approx(area_a), pytest.approx(area_b))
    assert found.variance_a + found.variance_b - 2 * found.covariance == pytest.approx(variance)
    assert found.z == pytest.approx((area_a - area_b) / math.sqrt(variance))
    assert found.test.p == pytest.approx(2 * norm.sf(abs(found.z)))
    half = norm.ppf(0.975) * math.sqrt(variance)
    assert (found.test.low, found.test.high) == (
        pytest.approx(area_a - area_b - half),
        pytest.approx(area_a - area_b + half),
    )
    if not clustered:
        assert delong(truth, a, b).z == pytest.approx(found.z)


def test_equals_a_case_worked_by_hand() -> None:
    # Positives 2, 4, 5 against negatives 1, 2, 3: V10 = 1/2, 1, 1; V01 = 1, 5/6, 2/3; AUROC 15/18.
    # The other: 3, 3, 5 against 2, 1, 4: V10 = 2/3, 2/3, 1; V01 = 1, 1, 1/3; AUROC 14/18.
    truth = np.array([False, False, False, True, True, True])
    found = delong(truth, np.array([1.0, 2, 3, 2, 4, 5]), np.array([2.0, 1, 4, 3, 3, 5]))
    d10 = np.array([1 / 2 - 2 / 3, 1 - 2 / 3, 0.0])
    d01 = np.array([0.0, 5 / 6 - 1, 2 / 3 - 1 / 3])
    variance = d10.var(ddof=1) / 3 + d01.var(ddof=1) / 3
    assert found.test.difference == pytest.approx(1 / 18)
    assert found.z == pytest.approx((1 / 18) / math.sqrt(variance))


def test_the_macro_test_of_two_classes_is_the_binary_one() -> None:
    for seed in range(3):
        truth, one = scored(60, 2, seed=seed, digits=2)
        two = scored(60, 2, seed=seed + 50, digits=2)[1]
        patients = [f"p{row // 2}" for row in range(60)]
        macro, plain = (auroc_influence(truth, scores) for scores in (one, two))
        for people in (None, patients):
            found = influence_test(truth, macro, plain, patients=people)
            binary = delong(truth == 1, one[:, 1], two[:, 1], patients=people)
            for name in ("auroc_a", "auroc_b", "variance_a", "variance_b", "covariance", "z"):
                assert getattr(found, name) == pytest.approx(getattr(binary, name)), name


@pytest.mark.parametrize("count", [3, 5])
def test_the_macro_area_is_the_metric_and_influences_are_those_of_leaving_rows_out(count: int) -> None:
    truth, scores = scored(80, count, seed=1)
    found = auroc_influence(truth, scores)
    assert found.auroc == pytest.approx(auroc_macro.value(truth, scores, np.ones((1, 80)))[0])
    assert found.pull.sum() == pytest.approx(0, abs=1e-12)
    # A row's influence is what the area gains when its weight grows a little.
    for row in (0, 17, 79):
        more = np.ones((1, 80))
        more[0, row] += 1e-6
        slope = (auroc_macro.value(truth, scores, more)[0] - found.auroc) / 1e-6
        assert found.pull[row] == pytest.approx(slope, abs=1e-6)


def test_the_macro_variance_is_that_of_the_bootstrap() -> None:
    truth, one = scored(240, 4, seed=3, skill=1.0)
    two = scored(240, 4, seed=30, skill=1.0)[1]
    rng = np.random.default_rng(0)
    drawn = rng.multinomial(240, np.full(240, 1 / 240), size=3000).astype(np.float64)
    samples = auroc_macro.value(truth, one, drawn) - auroc_macro.value(truth, two, drawn)
    found = influence_test(truth, auroc_influence(truth, one), auroc_influence(truth, two))
    assert found.variance_a + found.variance_b - 2 * found.covariance == pytest.approx(samples.var(), rel=0.1)


def test_images_of_a_patient_are_not_independent() -> None:
    truth, a, b = case(1, rows=30)
    alone = delong(truth, a, b)
    tripled = [np.repeat(each, 3) for each in (truth, a, b)]
    patients = [f"p{row // 3}" for row in range(90)]
    assert delong(*tripled, patients=patients).z == pytest.approx(alone.z)
    assert abs(delong(*tripled).z) > 1.5 * abs(alone.z)


def test_no_difference_is_found_about_as_often_as_allowed() -> None:
    rng = np.random.default_rng(0)
    found = {False: 0, True: 0}
    trials = 600
    for _ in range(trials):
        sick = np.repeat(rng.random(50) < 0.5, 2)  # two eyes of a patient share disease and looks
        shared = np.repeat(rng.normal(size=50), 2) + sick
        a, b = (shared + np.repeat(rng.normal(size=50), 2) + 0.3 * rng.normal(size=100) for _ in range(2))
        patients = [f"p{row // 2}" for row in range(100)]
        found[True] += delong(sick, a, b, patients=patients).test.p < 0.05
        found[False] += delong(sick, a, b).test.p < 0.05
    assert 0.03 <= found[True] / trials <= 0.08
    assert found[False] / trials > 0.1  # what counting eyes as independent would do


def test_what_cannot_be_tested_is_nan_and_says_why() -> None:
    truth = np.array([True, True, False, False])
    score = np.array([0.9, 0.4, 0.5, 0.1])
    gone = delong(np.ones(4, bool), score, score)
    assert math.isnan(gone.test.difference)
    assert gone.test.reason == "class 'negative' is absent"
    same = delong(truth, score, score)
    assert same.test.difference == 0
    assert math.isnan(same.test.p)
    assert same.test.reason == "no test: the difference has no variance"
    one = delong(truth, score, score[::-1], patients=["a", "a", "b", "c"])
    assert math.isnan(one.test.p)
    assert math.isfinite(one.test.difference)
    assert one.test.reason == "no test: class 'positive' has one patient only"
    scores = np.full((4, 3), 1 / 3)
    lost = auroc_influence(np.array([0, 0, 1, 1]), scores)
    found = influence_test(np.array([0, 0, 1, 1]), lost, lost, classes=("a", "b", "c"))
    assert found.test.reason == "class 'c' is absent"
    with pytest.raises(ValueError, match="3 scores for 4 rows"):
        delong(truth, score[:3], score)
    with pytest.raises(ValueError, match="NaN"):
        delong(truth, np.array([0.1, np.nan, 0.2, 0.3]), score)
    with pytest.raises(ValueError, match="2 patients for 4 rows"):
        delong(truth, score, score, patients=["a", "b"])


def test_midranks_are_those_of_scipy() -> None:
    score = np.random.default_rng(0).integers(0, 9, 50).astype(float)
    np.testing.assert_allclose(module._midranks(score), rankdata(score))
