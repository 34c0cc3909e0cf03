"""Thresholds chosen on validation: against the choice on single rows, and never chosen again."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eyeground.evaluate.confidence import Estimate
from eyeground.evaluate.operating_points import at_sensitivity, at_specificity
from eyeground.evaluate.thresholds import (
    Positive,
    Rule,
    Threshold,
    choose_thresholds,
    measure_thresholds,
    positive,
    positives,
    rechosen,
)

from .drawn import scored

GRADES = ["none", "mild", "moderate", "severe"]


@settings(max_examples=80, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    levels=st.integers(2, 12),
    target=st.sampled_from([0.3, 0.5, 0.7, 0.8, 0.9, 1.0]),
    rule=st.sampled_from(["sensitivity", "specificity"]),
)
def test_a_resample_is_chosen_as_its_rows_would_be(seed: int, levels: int, target: float, rule: Rule) -> None:
    rng = np.random.default_rng(seed)
    labels = np.append(rng.random(14) < 0.4, [True, False])
    score = rng.integers(0, levels, 16) / levels
    weights = rng.integers(0, 3, (4, 16)).astype(float)
    found = rechosen(labels, score, weights, rule, target)
    for line, times in zip(found.tolist(), weights.astype(int), strict=True):
        rows = np.repeat(np.arange(16), times)
        try:
            choose = at_sensitivity if rule == "sensitivity" else at_specificity
            assert line == choose(labels[rows], score[rows], target).threshold
        except ValueError:
            assert np.isnan(line)


def test_a_score_that_was_not_drawn_is_no_threshold() -> None:
    # The highest row is left out and the next one is negative: no threshold spares every negative that was drawn.
    labels, score = np.array([True, False, True]), np.array([0.9, 0.8, 0.7])
    found = rechosen(labels, score, np.array([[0.0, 1.0, 1.0], [1.0, 1.0, 1.0]]), "specificity", 1.0)
    assert np.isnan(found[0])
    assert found[1] == 0.9


def test_a_word_names_a_class_or_a_grade_and_above() -> None:
    assert positive("mild", GRADES, ordered=True).members == (1,)
    assert positive(">=moderate", GRADES, ordered=True) == positive(">=2", GRADES, ordered=True)
    assert positive(">=2", GRADES, ordered=True).members == (2, 3)
    # With numbers as names a name and its place may differ: the name is meant.
    assert positive(">=2", ["0", "2", "4"], ordered=True) == Positive(">=2", (1, 2))
    assert positive(">=2", [">=2", "b"], ordered=False) == Positive(">=2", (0,))


@pytest.mark.parametrize(
    ("word", "ordered", "words"),
    [
        ("drusen", False, "no class 'drusen'; its classes are 'none', 'mild', 'moderate' and 'severe'"),
        ("drusen", True, "such as '>=1'"),
        (">=2", False, "not ordered"),
        (">=4", True, "the numbers 0 to 3"),
        (">=drusen", True, "names no grade"),
        (">=none", True, "every image positive"),
        (">=0", True, "every image positive"),
    ],
)
def test_a_word_that_names_nothing_is_refused_with_the_names(word: str, ordered: bool, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        positive(word, GRADES, ordered=ordered)


def test_what_may_be_called_positive() -> None:
    assert [each.name for each in positives(GRADES, ordered=True)] == [*GRADES, ">=mild", ">=moderate"]
    assert [each.name for each in positives(GRADES, ordered=False)] == GRADES
    assert positives(["no", "yes"], ordered=False) == (Positive("yes", (1,)),)
    assert [each.name for each in positives(["low", "high"], ordered=True)] == ["low", "high"]


def test_thresholds_are_those_of_the_operating_points() -> None:
    truth, scores = scored(80, 4, digits=2)
    patients = [f"p{row // 2}" for row in range(80)]
    called = positives(GRADES, ordered=True)
    rules: list[tuple[Rule, float]] = [("sensitivity", 0.9), ("specificity", 0.8)]
    found = choose_thresholds(truth, scores, patients, called=called, rules=rules, resamples=100)
    assert [(each.positive, each.rule, each.target) for each in found] == [(c, *rule) for c in called for rule in rules]
    for each in found:
        choose = at_sensitivity if each.rule == "sensitivity" else at_specificity
        labels = np.isin(truth, each.positive.members)
        score = scores[:, list(each.positive.members)].sum(axis=1)
        point = choose(labels, score, each.target)
        assert each.value.value == point.threshold
        assert each.value.low <= each.value.value <= each.value.high
        [(hit, spared)] = measure_thresholds(truth, scores, patients, thresholds=[each], resamples=100)
        assert (hit.value, spared.value) == (pytest.approx(point.sensitivity), pytest.approx(point.specificity))


def test_a_class_that_validation_lacks_has_no_threshold_and_says_so() -> None:
    truth, scores = scored(40, 4)
    truth[truth == 3] = 0
    called = [positive("severe", GRADES, ordered=True)]
    [found] = choose_thresholds(
        truth, scores, list(map(str, range(40))), called=called, rules=[("sensitivity", 0.9)], resamples=20
    )
    assert np.isnan(found.value.value)
    assert found.value.reason == "no image to choose on is 'severe'"
    assert not found.above(scores).any()
    [(hit, spared)] = measure_thresholds(truth, scores, list(map(str, range(40))), thresholds=[found], resamples=20)
    assert hit.reason == spared.reason == found.value.reason
    [unreached] = choose_thresholds(
        np.array([0, 1]), np.array([[0.2, 0.8], [0.2, 0.8]]), ["a", "b"], called=[Positive("b", (1,))],
        rules=[("specificity", 0.9)], resamples=20,
    )  # fmt: skip
    assert "no threshold reaches a specificity of 0.90" in unreached.value.reason


def test_a_target_out_of_range_is_refused() -> None:
    with pytest.raises(ValueError, match=r"sensitivity 0, specificity 1.5"):
        choose_thresholds(
            np.array([0, 1]), np.eye(2), ["a", "b"], called=[Positive("b", (1,))],
            rules=[("sensitivity", 0), ("specificity", 1.5)],
        )  # fmt: skip


def test_no_threshold_asked_for_is_no_work() -> None:
    assert choose_thresholds(np.array([0]), np.eye(1), ["a"], called=[], rules=[("sensitivity", 0.9)]) == ()
    assert measure_thresholds(np.array([0]), np.eye(1), ["a"], thresholds=[]) == ()


def test_measuring_by_hand() -> None:
    yes = np.array([0.9, 0.6, 0.5, 0.4, 0.1])
    scores = np.stack([1 - yes, yes], axis=1)
    fixed = Threshold(Positive("yes", (1,)), "sensitivity", 0.9, Estimate(0.5))
    [(hit, spared)] = measure_thresholds(
        np.array([1, 0, 1, 1, 0]), scores, list("abcde"), thresholds=[fixed], resamples=200
    )
    assert (hit.value, spared.value) == (pytest.approx(2 / 3), 0.5)
    assert hit.has_interval
    [(hit, spared)] = measure_thresholds(
        np.array([1, 0, 1, 1, 0]), scores, list("axaay"), thresholds=[fixed], resamples=200
    )
    assert hit.reason == "no interval: it hangs on one patient"
    assert spared.has_interval


def test_a_threshold_chosen_again_on_test_would_be_caught() -> None:
    # Validation is easier than test. A fixed threshold shows it; one chosen on test hides it.
    truth, scores = scored(300, 2, seed=1, skill=4.0)
    harder_truth, harder = scored(300, 2, seed=2, skill=1.0)
    patients = list(map(str, range(300)))
    asked = {"called": [Positive("b", (1,))], "rules": [("sensitivity", 0.9)], "resamples": 20}
    fixed = choose_thresholds(truth, scores, patients, **asked)  # type: ignore[arg-type]
    cheating = choose_thresholds(harder_truth, harder, patients, **asked)  # type: ignore[arg-type]

    def shown(thresholds: tuple[Threshold, ...]) -> float:
        return measure_thresholds(harder_truth, harder, patients, thresholds=thresholds, resamples=20)[0][0].value

    assert shown(fixed) < 0.85
    assert shown(cheating) >= 0.9
    expected = (harder[harder_truth == 1, 1] >= fixed[0].value.value).mean()
    assert shown(fixed) == pytest.approx(expected)
    assert shown(fixed) == shown(tuple(replace(each, target=0.5) for each in fixed))
