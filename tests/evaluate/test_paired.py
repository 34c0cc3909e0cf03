"""Paired tests against plain loops, scipy, hand-worked cases and chance."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from eyeground.evaluate.paired import holm, mcnemar, paired_bootstrap, paired_difference
from eyeground.evaluate.predictions import Predictions
from eyeground.pick import pick

from .drawn import scored, table


def tables(first: int, count: int, skill: float = 1.5, rows: int = 60) -> list[Predictions]:
    """Runs of several seeds on the same rows."""
    made = table(rows, 3)
    rng = np.random.default_rng(first)
    answers = []
    for _ in range(count):
        logits = rng.normal(size=(rows, 3))
        logits[np.arange(rows), made.truth] += skill
        scores = np.exp(logits)
        answers.append(replace(made, scores=scores / scores.sum(axis=1, keepdims=True)))
    return answers


@pytest.mark.parametrize("metric", ["auroc_macro", "accuracy", "f1_macro", "log_loss"])
def test_the_bootstrap_equals_a_plain_loop(metric: str) -> None:
    a, b, times = tables(1, 2), tables(2, 3, skill=1.0), 150
    found = paired_bootstrap(a, b, metric=metric, resamples=times, seed=7)

    def score(made: Predictions, rows: list[int]) -> float:
        value = pick("evaluate.metrics", metric).value
        return float(value(made.truth[rows], made.scores[rows], np.ones((1, len(rows))))[0])

    people = sorted(set(a[0].patients))
    rows_of = {name: [row for row, other in enumerate(a[0].patients) if other == name] for name in people}
    rng = np.random.default_rng(7)
    differences = []
    for draw in rng.integers(0, len(people), size=(times, len(people))):
        rows = [row for place in draw for row in rows_of[people[place]]]
        assert len(set(a[0].truth[rows].tolist())) == 3
        differences.append(np.mean([score(made, rows) for made in a]) - np.mean([score(made, rows) for made in b]))
    every = list(range(60))
    point = np.mean([score(made, every) for made in a]) - np.mean([score(made, every) for made in b])
    assert found.difference == pytest.approx(point)
    assert found.low == pytest.approx(np.percentile(differences, 2.5))
    assert found.high == pytest.approx(np.percentile(differences, 97.5))
    below, above = sum(d <= 1e-12 for d in differences), sum(d >= -1e-12 for d in differences)
    assert found.p == pytest.approx(min(1, 2 * (min(below, above) + 1) / (times + 1)))
    assert found.patients == 30


def test_turned_around_the_difference_turns_around() -> None:
    a, b = tables(1, 2), tables(2, 2)
    one, two = (paired_bootstrap(*pair, resamples=200) for pair in ((a, b), (b, a)))
    assert one.difference == pytest.approx(-two.difference)
    assert (one.low, one.p) == (pytest.approx(-two.high), two.p)


def test_p_is_never_zero_and_agrees_with_the_interval() -> None:
    found = paired_bootstrap(tables(1, 1, skill=4.0), tables(2, 1, skill=0.0), resamples=99)
    assert found.low > 0
    assert found.p == pytest.approx(2 / 100)
    rng = np.random.default_rng(0)
    for shift in np.linspace(1.5, 2.5, 21):
        test = paired_difference(float(shift), rng.normal(shift, 1, 1999), patients=9)
        assert (test.p < 0.05) == (test.low > 0) or abs(test.low) < 0.02


def test_no_difference_is_found_about_as_often_as_allowed() -> None:
    rng = np.random.default_rng(5)
    made, trials, hits = table(120, 3, patients=tuple(f"p{row // 2}" for row in range(120))), 300, 0
    for trial in range(trials):
        # Two models with the same chance of being right; the two eyes of a patient are alike.
        pair = []
        for _ in range(2):
            right = np.repeat(rng.random(60) < 0.7, 2)
            said = np.where(right, made.truth, (made.truth + 1) % 3)
            pair.append([replace(made, scores=np.eye(3)[said])])
        hits += paired_bootstrap(*pair, metric="accuracy", resamples=300, seed=trial).p < 0.05
    assert 0.025 <= hits / trials <= 0.09


def test_a_bias_of_resampling_is_taken_out_of_both_sides() -> None:
    a, b = tables(1, 1), tables(2, 1)
    found = paired_bootstrap(a, b, metric="ece", resamples=400)
    assert found.low <= found.difference <= found.high


def test_what_cannot_be_tested_is_nan_and_says_why() -> None:
    truth = table(60, 3).truth.copy()
    truth[truth == 2] = 0
    gone = [replace(made, truth=truth) for made in tables(1, 2)]
    found = paired_bootstrap(gone, gone, resamples=20)
    assert math.isnan(found.difference)
    assert math.isnan(found.p)
    assert found.reason == "class 'glaucoma' is absent"
    found = paired_bootstrap(gone, gone, metric="kappa_quadratic", resamples=20)
    assert found.reason == "classes are not ordered"
    lone = [replace(made, patients=("p",) * 60) for made in tables(1, 1)]
    found = paired_bootstrap(lone, lone, resamples=20)
    assert found.difference == 0
    assert math.isnan(found.p)
    assert found.reason == "no test: only 1 patient"
    samples = np.where(np.arange(100) < 60, np.nan, 0.1)
    assert paired_difference(0.1, samples, patients=5).reason == "no test: undefined in most resamples"


def test_other_rows_are_refused() -> None:
    a = tables(1, 1)
    with pytest.raises(ValueError, match="at least one seed"):
        paired_bootstrap(a, [])
    with pytest.raises(ValueError, match="files differ"):
        paired_bootstrap(a, [replace(a[0], files=a[0].files[::-1])])
    turned = replace(a[0], truth=a[0].truth[::-1].copy(), patients=a[0].patients[::-1])
    with pytest.raises(ValueError, match="patients, truth differ"):
        paired_bootstrap(a, [turned])
    hidden = replace(a[0], truth=np.full(60, -1))
    with pytest.raises(ValueError, match="no known truth"):
        paired_bootstrap([hidden], [hidden])
    with pytest.raises(LookupError, match="other"):
        paired_bootstrap(a, a, metric="other")


@pytest.mark.parametrize("seed", range(5))
def test_mcnemar_equals_scipy(seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth, a, b = rng.integers(0, 3, (3, 200))
    found = mcnemar(truth, a, b)
    only_a = sum(x == t != y for t, x, y in zip(truth, a, b, strict=True))
    only_b = sum(y == t != x for t, x, y in zip(truth, a, b, strict=True))
    assert (found.b, found.c) == (only_a, only_b)
    assert found.difference == pytest.approx(np.mean(a == truth) - np.mean(b == truth))
    assert found.p == pytest.approx(binomtest(only_a, only_a + only_b, 0.5).pvalue)


def test_mcnemar_by_hand_and_at_its_edges() -> None:
    truth = np.zeros(10, np.int64)
    a, b = np.array([0] * 8 + [1] * 2), np.array([0] * 3 + [1] * 5 + [0] + [1])
    found = mcnemar(truth, a, b)  # 5 against 1 of 6: 2 (1 + 6) / 64
    assert (found.b, found.c, found.p) == (5, 1, 14 / 64)
    assert mcnemar(truth, a, a).p == 1
    assert math.isnan(mcnemar(truth[:0], a[:0], a[:0]).p)
    many = np.r_[np.zeros(3000, np.int64), np.ones(2800, np.int64)]
    assert mcnemar(np.zeros(5800, np.int64), many, 1 - many).p == pytest.approx(binomtest(3000, 5800).pvalue)
    with pytest.raises(ValueError, match="shapes differ"):
        mcnemar(truth, a, a[:3])


def test_holm_by_hand() -> None:
    # Sorted 0.005, 0.01, 0.03, 0.04 times 4, 3, 2, 1; the last may not fall below the one before.
    found = holm([0.01, 0.04, float("nan"), 0.03, 0.005])
    assert found[:2] == [pytest.approx(0.03), pytest.approx(0.06)]
    assert math.isnan(found[2])
    assert found[3:] == [pytest.approx(0.06), pytest.approx(0.02)]
    assert holm([]) == []
    assert holm([0.7, 0.8]) == [1.0, 1.0]
    with pytest.raises(ValueError, match="outside"):
        holm([1.2])


@given(st.lists(st.one_of(st.floats(0, 1), st.just(math.nan)), max_size=30))
def test_holm_keeps_the_order_never_lowers_and_stays_below_one(values: list[float]) -> None:
    found = holm(values)
    known = [(p, q) for p, q in zip(values, found, strict=True) if not math.isnan(p)]
    assert sum(map(math.isnan, found)) == len(values) - len(known)
    assert all(p <= q <= 1 for p, q in known)
    assert all(q <= min(1, p * len(known)) + 1e-15 for p, q in known)
    ordered = [q for _, q in sorted(known)]
    assert ordered == sorted(ordered)


def test_scores_of_one_seed_and_of_several_may_be_compared() -> None:
    truth, scores = scored(60, 3)
    one = [table(60, 3, truth=truth, scores=scores)]
    assert math.isfinite(paired_bootstrap(one, [one[0]] * 3, resamples=50).difference)
