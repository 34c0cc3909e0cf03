"""All metrics of all profiles at once, against the shelves they come from."""

import gc
import weakref

import numpy as np
import pytest

from eyeground.evaluate import resampled
from eyeground.evaluate.confidence import weights
from eyeground.evaluate.profiles import standard
from eyeground.pick import names, pick

from .drawn import table

PROFILES = ("standard", "retfound2023", "retfound2025")


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


@pytest.mark.parametrize("ordered", [False, True])
def test_what_is_shared_gives_the_same_as_metric_by_metric(ordered: bool) -> None:
    made = table(80, 4, ordered=ordered)
    drawn = weights([str(row // 2) for row in range(80)], 40)  # some resamples leave a class out
    tables, counts = resampled.per_class(made, drawn)
    for metric in standard.PER_CLASS:
        expected = pick("evaluate.metrics", metric).per_class(made.truth, made.scores, drawn)
        np.testing.assert_array_equal(tables[metric], expected)
    found = resampled.standard_values(made, drawn, tables, counts)
    assert set(found) == set(standard.COLUMNS)
    for metric, numbers in found.items():
        np.testing.assert_allclose(numbers, resampled.value(metric, made, drawn), atol=1e-12)


def test_a_table_is_ranked_once_and_takes_its_ranks_along() -> None:
    made = table(20, 2)
    held = weakref.ref(resampled.ranks(made))
    assert resampled.ranks(made) is held()
    del made
    gc.collect()
    assert held() is None


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
