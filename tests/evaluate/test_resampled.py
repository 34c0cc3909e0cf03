"""All metrics of all profiles at once, against the shelves they come from."""

import numpy as np
import pytest

from eyeground.evaluate import ranking, resampled
from eyeground.evaluate.confidence import weights
from eyeground.evaluate.profiles import standard
from eyeground.pick import names, pick

from .drawn import scored, table

PROFILES = ("standard", "retfound2023", "retfound2025")


@pytest.mark.parametrize("count", [2, 3, 7])
@pytest.mark.parametrize("digits", [None, 1])
def test_areas_equal_the_sums_along_a_sorted_table(count: int, digits: int | None) -> None:
    truth, scores = scored(90, count, seed=count, digits=digits)
    drawn = weights([str(row // 3) for row in range(90)], 60, seed=1)
    for name in ("auroc", "average_precision"):
        swift, sorted_ = getattr(resampled, name), getattr(ranking, name)
        np.testing.assert_allclose(swift(truth, scores, drawn), sorted_(truth, scores, drawn), atol=1e-12)


def test_many_rows_are_sorted_and_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    made = table(50, 3)
    drawn = weights(made.patients, 20)
    swift = resampled.measured(made, PROFILES, drawn)
    monkeypatch.setattr(resampled, "_MOST_PAIRS", 0)
    np.testing.assert_allclose(swift, resampled.measured(made, PROFILES, drawn), atol=1e-12)


def test_a_class_that_is_absent_or_alone_has_no_area() -> None:
    truth, scores = np.array([0, 0, 2, 2]), scored(4, 3)[1]
    drawn = np.array([[1.0, 1, 1, 1], [2, 0, 0, 0], [0, 0, 0, 0]])
    assert np.isnan(resampled.auroc(truth, scores, drawn)).tolist() == [[False, True, False], [True] * 3, [True] * 3]
    assert np.isnan(resampled.average_precision(truth, scores, drawn)).tolist() == [
        [False, True, False],
        [False, True, True],
        [True] * 3,
    ]


@pytest.mark.parametrize("count", [2, 4])
def test_weights_of_one_give_what_each_profile_gives(count: int) -> None:
    made = table(70, count, ordered=True)
    found = dict(zip(resampled.keys(PROFILES), resampled.measured(made, PROFILES, np.ones((1, 70)))[0], strict=True))
    for profile in PROFILES:
        more = {"ordered": True} if profile == "standard" else {}
        expected = pick("evaluate.profiles", profile).values(made.truth, made.scores, **more)
        ours = {metric: value for (name, metric), value in found.items() if name == profile}
        assert set(ours) == set(pick("evaluate.profiles", profile).COLUMNS) - {"val_loss"}
        for metric, value in ours.items():
            assert value == pytest.approx(expected[metric], abs=1e-12, nan_ok=True), (profile, metric)


@pytest.mark.parametrize("profile", PROFILES)
def test_a_weight_counts_as_that_many_rows(profile: str) -> None:
    made = table(60, 3, seed=4)
    drawn = weights(made.patients, 8, seed=2)
    found = resampled.measured(made, [profile], drawn)
    for times, line in zip(drawn.astype(np.int64), found, strict=True):
        truth, scores = np.repeat(made.truth, times), np.repeat(made.scores, times, axis=0)
        expected = pick("evaluate.profiles", profile).values(truth, scores)
        for (_, metric), value in zip(resampled.keys([profile]), line, strict=True):
            assert value == pytest.approx(expected[metric], abs=1e-12, nan_ok=True), metric


@pytest.mark.parametrize("metric", names("evaluate.metrics"))
def test_a_metric_of_the_shelf_has_its_value_and_its_reason(metric: str) -> None:
    made = table(60, 3, ordered=True)
    drawn = weights(made.patients, 30)
    expected = pick("evaluate.metrics", metric).value(made.truth, made.scores, drawn)
    np.testing.assert_allclose(resampled.value(metric, made, drawn), expected, atol=1e-12)
    assert resampled.reason(metric, made) == ""


def test_what_is_undefined_is_nan_with_its_reason() -> None:
    truth = table(60, 4).truth.copy()
    truth[truth == 3] = 0
    made = table(60, 4, truth=truth)
    found = resampled.measured(made, PROFILES, np.ones((1, 60)))[0]
    why = resampled.reasons(made, PROFILES)
    for key, value, reason in zip(resampled.keys(PROFILES), found, why, strict=True):
        if np.isnan(value):
            assert reason, key
    told = dict(zip(resampled.keys(PROFILES), why, strict=True))
    assert told["standard", "auroc_macro"] == told["retfound2025", "roc_auc"] == "class 'drusen' is absent"
    assert told["standard", "kappa_quadratic"] == standard.UNORDERED
    with pytest.raises(LookupError, match="no 'other'"):
        resampled.keys(["other"])
