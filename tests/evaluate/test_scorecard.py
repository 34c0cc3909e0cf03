"""The scorecard: keys, reasons, strict JSON, and agreement with the metrics it is made of."""

import json
import math

import numpy as np
import pytest

from eyeground.evaluate.metrics import ece
from eyeground.evaluate.profiles import standard
from eyeground.evaluate.scorecard import scorecard

from .drawn import table

CONTRACT = (
    "auroc_macro",
    "ap_macro",
    "f1_macro",
    "f1_weighted",
    "accuracy",
    "balanced_accuracy",
    "kappa",
    "kappa_quadratic",
    "mcc",
    "ece",
    "brier",
)


def test_headline_has_the_contract_keys_and_the_profile_values() -> None:
    made = table(80, 4, ordered=True)
    card = scorecard(made, resamples=200)
    values = standard.values(made.truth, made.scores, ordered=True)
    for name in CONTRACT:
        estimate = card.headline[name]
        assert estimate.value == pytest.approx(values[name], abs=1e-12)
        assert estimate.low <= estimate.value <= estimate.high
        assert estimate.low < estimate.high
    assert card.headline["auroc_macro_present"].value == card.headline["auroc_macro"].value


def test_equal_seeds_give_equal_numbers_and_other_seeds_other_intervals() -> None:
    made = table()
    one, two, three = (scorecard(made, resamples=100, seed=seed).to_json() for seed in (1, 1, 2))
    assert one == two
    assert one["headline"]["accuracy"]["value"] == three["headline"]["accuracy"]["value"]
    assert one["headline"] != three["headline"]


def test_json_is_strict_and_holds_every_part() -> None:
    truth = table(60, 4).truth.copy()
    truth[truth == 3] = 0
    text = json.dumps(scorecard(table(60, 4, truth=truth), resamples=50).to_json(), allow_nan=False)
    plain = json.loads(text)
    assert plain["headline"]["kappa_quadratic"] == {"value": None, "reason": "classes are not ordered"}
    assert plain["headline"]["auroc_macro"] == {"value": None, "reason": "class 'drusen' is absent"}
    assert plain["headline"]["f1_macro"] == {"value": None, "reason": "class 'drusen' is absent"}
    assert set(plain["headline"]["auroc_macro_present"]) == {"value", "low", "high"}
    assert plain["per_class"][3]["auroc"] == {"value": None, "reason": "class 'drusen' is absent"}
    assert plain["per_class"][3]["n"] == 0
    assert [line["n"] for line in plain["per_class"]] == np.bincount(truth, minlength=4).tolist()
    assert np.sum(plain["confusion"]) == 60
    assert len(plain["operating_points"]) == 12
    assert plain["operating_points"][-1]["threshold"] is None
    assert plain["operating_points"][-1]["reason"].startswith("no positive row")
    assert {group["attribute"] for group in plain["subgroups"]} == {"eye"}


def test_the_rest_still_counts_when_a_class_is_absent() -> None:
    made = table(60, 4)
    truth = made.truth.copy()
    truth[truth == 3] = 0
    card = scorecard(table(60, 4, truth=truth), resamples=50)
    areas = [line.scores["auroc"].value for line in card.per_class]
    assert math.isnan(areas[3])
    assert card.headline["auroc_macro_present"].value == pytest.approx(np.mean(areas[:3]))
    assert card.headline["kappa"].has_interval
    assert card.headline["f1_weighted"].has_interval


def test_one_patient_has_values_without_intervals() -> None:
    card = scorecard(table(30, 3, patients=("p",) * 30), resamples=50)
    assert card.patients == 1
    for name, estimate in card.headline.items():
        if name != "kappa_quadratic":
            assert estimate.defined, name
            assert not estimate.has_interval, name
            assert estimate.to_json()["reason"] == "no interval: only 1 patient"


def test_a_class_of_one_patient_has_no_interval_of_its_own() -> None:
    truth = np.where(np.arange(60) < 2, 2, np.arange(60) % 2)  # the first patient alone has class 2
    line = scorecard(table(60, 3, truth=truth), resamples=300).per_class[2]
    assert (line.n, line.patients) == (2, 1)
    for name in ("auroc", "ap", "sensitivity", "f1"):
        assert line.scores[name].reason == "no interval: one patient has 'glaucoma'"
    assert line.scores["specificity"].has_interval


def test_resamples_that_lose_a_class_are_counted() -> None:
    truth = np.where(np.arange(60) < 2, 2, np.arange(60) % 2)
    card = scorecard(table(60, 3, truth=truth), resamples=1000)
    assert card.partial_resamples / 1000 == pytest.approx((1 - 1 / 30) ** 30, abs=0.05)
    assert card.headline["auroc_macro"].has_interval
    assert scorecard(table(400, 2), resamples=50).partial_resamples == 0


def test_unlabelled_rows_are_left_out_and_counted() -> None:
    made = table(60, 3)
    truth = made.truth.copy()
    truth[40:] = -1
    card = scorecard(table(60, 3, truth=truth), resamples=50)
    assert (card.n, card.unlabelled) == (40, 20)
    with pytest.raises(ValueError, match="no row has a known truth"):
        scorecard(table(60, 3, truth=np.full(60, -1)))


def test_the_interval_of_the_calibration_error_holds_its_value() -> None:
    rng = np.random.default_rng(0)
    p = rng.uniform(0.5, 1, 400)
    truth = (rng.random(400) > p).astype(np.int64)  # calibrated by construction
    made = table(400, 2, truth=truth, scores=np.stack([p, 1 - p], axis=1))
    estimate = scorecard(made, resamples=300).headline["ece"]
    assert estimate.value == pytest.approx(ece.value(truth, made.scores, np.ones((1, 400)))[0])
    assert 0 <= estimate.low <= estimate.value <= estimate.high


def test_subgroups_need_two_values_and_enough_rows() -> None:
    sites = ("A",) * 40 + ("B",) * 16 + ("",) * 4
    card = scorecard(table(60, 3, sites=sites, eyes=("OD",) * 60), resamples=50)
    assert [(group.name, group.n) for group in card.subgroups] == [("A", 40), ("B", 16), ("not known", 4)]
    assert card.subgroups[2].scores["accuracy"].reason == "too small: 4 of at least 10 images"
    alone = table(60, 3, sites=sites).select(np.arange(60) < 40)
    again = scorecard(alone, resamples=50).headline
    for name in ("auroc_macro", "f1_macro", "accuracy"):
        assert card.subgroups[0].scores[name].value == pytest.approx(again[name].value)


def test_many_sites_are_pooled_not_dropped() -> None:
    sites = tuple(f"site {row % 40 if row < 80 else 0}" for row in range(120))
    groups = scorecard(table(120, 2, sites=sites, eyes=("",) * 120), resamples=20).subgroups
    assert len(groups) == 15
    assert sum(group.n for group in groups) == 120
    assert any(group.name == "26 smaller sites" for group in groups)
