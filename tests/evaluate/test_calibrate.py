"""A calibration as a whole: learned from validation alone, measured as it is, written and read back."""

import inspect
import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from eyeground.evaluate.calibrate import (
    METRICS,
    Calibration,
    called_positive,
    fit_calibration,
    measure_calibration,
)
from eyeground.evaluate.calibration_narrative import limits, promise, sentences
from eyeground.evaluate.calibration_record import from_record, to_record
from eyeground.evaluate.confidence import Estimate
from eyeground.evaluate.conformal import ConformalSets, quantile
from eyeground.evaluate.operating_points import at_sensitivity
from eyeground.evaluate.paired import paired_bootstrap
from eyeground.evaluate.predictions import Predictions
from eyeground.evaluate.temperature import tempered
from eyeground.evaluate.thresholds import Positive, Threshold, positives

from .drawn import table


def pair(rows: int = 120, count: int = 3, **changes: Any) -> tuple[Predictions, Predictions]:
    """Validation and test, both too sure of themselves."""
    first, second = (table(rows, count, seed=seed, **changes) for seed in (1, 2))
    second = replace(second, files=tuple(f"test/{row}.png" for row in range(rows)))
    validation, test = (replace(each, scores=tempered(each.scores, 0.4)) for each in (first, second))
    return validation, test


def made_of(validation: Predictions, **asked: Any) -> Calibration:
    asked = {"called": positives(validation.classes, ordered=validation.ordered), **asked}
    return fit_calibration(validation, **{"rules": [("sensitivity", 0.9)], "resamples": 60, **asked})


def test_nothing_is_learned_from_test() -> None:
    # The only table that fitting can be given is validation's; measuring gives numbers, not a calibration.
    tables = [each for each in inspect.signature(fit_calibration).parameters.values() if each.annotation is Predictions]
    assert [each.name for each in tables] == ["validation"]
    validation, test = pair()
    made = made_of(validation)
    before = to_record(made, measure_calibration(made, validation=validation, test=test, resamples=30))
    turned = replace(test, truth=(test.truth + 1) % 3)
    after = to_record(made, measure_calibration(made, validation=validation, test=turned, resamples=30))
    assert before["sets"]["test"] != after["sets"]["test"]
    assert before["scores"]["validation"] == after["scores"]["validation"]
    for told in (before, after):
        del told["sets"]["test"], told["scores"]["test"]
        for line in told["thresholds"]:
            del line["test"]
    assert before == after


def test_validation_given_as_test_is_refused() -> None:
    validation, test = pair()
    made = made_of(validation)
    with pytest.raises(ValueError, match=r"120 images are in validation and in test, such as 'images/0.png'"):
        measure_calibration(made, validation=validation, test=validation)
    one = replace(test, files=(validation.files[0], *test.files[1:]))
    measure_calibration(made, validation=validation, test=one, resamples=20)  # another image of the same name
    one = replace(one, scores=np.concatenate([validation.scores[:1], test.scores[1:]]))
    with pytest.raises(ValueError, match="1 image is in validation and in test"):
        measure_calibration(made, validation=validation, test=one)


def test_tables_that_do_not_belong_together_are_refused() -> None:
    validation, test = pair()
    with pytest.raises(ValueError, match="classes"):
        measure_calibration(
            made_of(validation), validation=validation, test=replace(test, classes=("normal", "cataract", "other"))
        )
    nothing = replace(validation, truth=np.full(120, -1))
    with pytest.raises(ValueError, match="no validation image has a known truth"):
        fit_calibration(nothing)


def test_rows_without_truth_count_for_nothing() -> None:
    validation, test = pair()
    unknown = np.tile([1.0, 0.0, 0.0], (5, 1))
    more = [
        replace(
            each,
            files=(*each.files, *"abcde"),
            patients=(*each.patients, *"abcde"),
            eyes=(*each.eyes, *("",) * 5),
            sites=("",) * 125,
            cameras=("",) * 125,
            quality=("",) * 125,
            truth=np.append(each.truth, [-1] * 5),
            scores=np.concatenate([each.scores, unknown]),
        )
        for each in (validation, test)
    ]
    with_them, without = (
        to_record(made_of(first), measure_calibration(made_of(first), validation=first, test=second, resamples=30))
        for first, second in (more, (validation, test))
    )
    assert with_them == without


def test_thresholds_and_sets_are_for_tempered_scores() -> None:
    validation, test = pair()
    made = made_of(validation)
    found = measure_calibration(made, validation=validation, test=test, resamples=20)
    first, second = (tempered(each.scores, made.temperature.value) for each in (validation, test))
    for k, each in enumerate(made.thresholds):
        positive = validation.truth == k
        expected = at_sensitivity(positive, first[:, k], 0.9)
        assert each.value.value == expected.threshold
        assert found.validation.thresholds[k][0].value == pytest.approx(expected.sensitivity)
        assert found.test.thresholds[k][0].value == pytest.approx(
            (second[test.truth == k, k] >= expected.threshold).mean()
        )
    far = 1 - first[np.arange(120), validation.truth]
    assert {each.value for each in made.sets.quantiles} == {quantile(far, 0.9)}
    held = 1 - second[np.arange(120), test.truth] <= quantile(far, 0.9)
    assert found.sets.coverage.value == pytest.approx(held.mean())


def test_changes_are_those_of_a_paired_bootstrap() -> None:
    validation, test = pair()
    made = made_of(validation)
    found = measure_calibration(made, validation=validation, test=test, resamples=80, seed=3)
    after = replace(test, scores=made.tempered(test.scores))
    assert made.temperature.value > 1
    for name in METRICS:
        expected = paired_bootstrap([after], [test], metric=name, resamples=80, seed=3)
        change = found.test.changes[name]
        assert change.difference.value == pytest.approx(expected.difference)
        assert change.difference.low == pytest.approx(expected.low)
        assert change.difference.high == pytest.approx(expected.high)
        assert change.after.value - change.before.value == pytest.approx(change.difference.value)
        # Drawn jointly, the difference is surer than two numbers drawn apart would make it.
        apart = np.hypot(change.after.high - change.after.low, change.before.high - change.before.low)
        assert change.difference.high - change.difference.low < apart
    assert found.validation.changes["log_loss"].difference.value < 0


def test_a_calibration_is_written_and_read_back_to_the_last_digit() -> None:
    validation, test = pair(ordered=True)
    made = made_of(validation, rules=[("sensitivity", 0.9), ("specificity", 0.8)], per_class=True, coverage=0.95)
    found = measure_calibration(made, validation=validation, test=test, resamples=30)
    told = json.loads(json.dumps(to_record(made, found), allow_nan=False))
    again = from_record(told)
    assert (again.classes, again.ordered, again.sets) == (made.classes, made.ordered, made.sets)
    assert again.thresholds == made.thresholds
    assert again.temperature == made.temperature
    assert again.columns(again.tempered(test.scores)) == made.columns(made.tempered(test.scores))
    broken = {**told, "thresholds": [{**told["thresholds"][0], "positive": ["drusen"]}]}
    with pytest.raises(ValueError, match="not in tuple"):
        from_record(broken)


def test_a_calibration_without_numbers_is_written_and_read_back() -> None:
    validation, test = pair(rows=8)
    made = made_of(replace(validation, truth=np.zeros(8, np.int64)), coverage=0.95)
    found = measure_calibration(made, validation=validation, test=test, resamples=30)
    told = json.loads(json.dumps(to_record(made, found), allow_nan=False))
    assert told["temperature"]["value"] == 1.0
    assert "only one class" in told["temperature"]["reason"]
    assert {line["threshold"]["value"] for line in told["thresholds"]} == {None}
    assert told["sets"]["quantiles"]["normal"]["value"] is None
    again = from_record(told)
    assert not again.sets.quantiles[0].defined
    words = again.columns(test.scores)
    assert set(words["certain"]) == {"no"}
    assert {len(line.split("|")) for line in words["set"]} == {3}
    assert set(words["positive_normal"]) == {""}
    assert all(sentences(made, found))


def test_columns_in_words_by_hand() -> None:
    made = Calibration(
        ("none", "mild", "severe"),
        True,
        Estimate(1.0),
        (
            Threshold(Positive("mild", (1,)), "sensitivity", 0.9, Estimate(0.3)),
            Threshold(Positive(">=mild", (1, 2)), "sensitivity", 0.9, Estimate(0.5)),
            Threshold(Positive(">=mild", (1, 2)), "specificity", 0.95, Estimate(0.7)),
        ),
        ConformalSets(0.9, False, (Estimate(0.7),) * 3),
    )
    scores = np.array([[0.9, 0.05, 0.05], [0.3, 0.45, 0.25], [0.32, 0.33, 0.35], [np.nan] * 3])
    assert made.columns(scores) == {
        "set": ["none", "mild|none", "severe|mild|none", ""],
        "certain": ["yes", "no", "no", ""],
        "positive_mild": ["no", "yes", "yes", ""],
        "positive_>=mild_sensitivity_0.9": ["no", "yes", "yes", ""],
        "positive_>=mild_specificity_0.95": ["no", "yes", "no", ""],
    }


def test_words_that_name_nothing_are_all_told() -> None:
    with pytest.raises(ValueError, match=r"'drusen'[^\n]*\n[^\n]*'>=7'"):
        called_positive(["drusen", "mild", ">=7"], ["none", "mild"], ordered=True)
    assert len(called_positive(["mild", "mild"], ["none", "mild"], ordered=True)) == 1


def test_the_sentences_say_what_the_numbers_say() -> None:
    validation, test = pair(rows=600)
    made = made_of(validation)
    found = measure_calibration(made, validation=validation, test=test, resamples=60)
    first, second, third = sentences(made, found)
    assert "makes the model less sure" in first
    assert f"from {found.test.changes['log_loss'].before.value:.3f}" in first
    assert "which is better" in first
    assert "of 3 thresholds" in second
    assert f"alone on {100 * found.sets.alone.value:.0f}%" in third
    assert "where 90% was wanted" in third
    assert "at least 90% of images on average, over images exchangeable" in promise(made)
    told = " ".join(limits(made, found))
    for words in (
        promise(made),
        "images of one patient are not independent",
        "best epoch was chosen",
        "a single class",
    ):
        assert words in told
    assert "of the images of each class" in promise(made_of(validation, per_class=True))
    unknown = replace(validation, patients_known=False, patients=validation.files)
    found = measure_calibration(
        made, validation=unknown, test=replace(test, patients_known=False, patients=test.files), resamples=30
    )
    assert "Patients are not known" in " ".join(limits(made, found))
    assert sentences(made_of(validation, called=()), found)[1] == "No threshold was asked for."


def test_a_threshold_falls_short_only_where_its_interval_says_so() -> None:
    validation, test = pair(count=2, classes=("no", "yes"))
    made = made_of(validation)
    found = measure_calibration(made, validation=validation, test=test, resamples=30)
    spared = Estimate(0.8, 0.7, 0.9)
    for hit, words in (
        (Estimate(0.7, 0.6, 0.8), "70% (95% interval 60 to 80%) where 90% was wanted, less than chance explains"),
        (Estimate(0.8, 0.6, 0.95), "where 90% was wanted, which may be chance"),
        (Estimate(0.9, 0.8, 0.95), "where 90% was wanted, which it reaches"),
        # Of two images both may be missed: no width, and no proof.
        (Estimate(0.0, 0.0, 0.0), "a sensitivity of 0% where 90% was wanted, which may be chance"),
        (
            Estimate(0.5, reason="no interval"),
            "a sensitivity of 50% where 90% was wanted, which may be chance",
        ),
    ):
        turned = replace(found, test=replace(found.test, thresholds=((hit, spared),)))
        assert words in sentences(made, turned)[1]


def test_a_yes_no_table_is_calibrated_as_any_other() -> None:
    validation, test = pair(count=2, classes=("no", "yes"))
    made = made_of(validation)
    assert [each.positive.name for each in made.thresholds] == ["yes"]
    assert set(made.columns(made.tempered(test.scores))["set"]) <= {"no", "yes", "no|yes", "yes|no", ""}
