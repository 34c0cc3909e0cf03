"""Several heads: each as if alone, means over heads, one joint bootstrap, labels that are not known."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from sklearn import metrics

from eyeground.evaluate.agreement import agreement
from eyeground.evaluate.head import COLUMNS, kind_of
from eyeground.evaluate.heads import MEANS, HeadLine, HeadsSummary, summarize_heads
from eyeground.evaluate.measurements import Measurements
from eyeground.evaluate.multilabel import METRICS
from eyeground.evaluate.predictions import Predictions
from eyeground.evaluate.scorecard import scorecard

from .drawn import table
from .several import grades, quantity, yes_no


def mixed(rows: int = 120) -> tuple[dict[str, Predictions], dict[str, Measurements]]:
    """Heads of every kind, some of whose labels are not known."""
    truth = quantity(rows).truth.copy()
    truth[::5] = np.nan
    answered = {
        "AMD": yes_no(rows, 1, missing=0.3),
        "DR": grades(rows, 2),
        "kind": table(rows, 3, 3),
        "CSC": yes_no(rows, 4),
    }
    return answered, {"IOP": quantity(rows, truth=truth)}


def line(found: HeadsSummary, name: str) -> HeadLine:
    return next(each for each in found.heads if each.name == name)


def test_the_kinds_of_heads_are_told_apart() -> None:
    answered, measured = mixed()
    kinds = [kind_of(each) for each in (*answered.values(), *measured.values())]
    assert kinds == ["yes_no", "grades", "classes", "yes_no", "quantity"]
    found = summarize_heads(answered, measured, resamples=20)
    assert [(each.name, each.kind) for each in found.heads] == list(zip([*answered, *measured], kinds, strict=True))
    assert all(tuple(each.scores) == COLUMNS[each.kind] for each in found.heads)
    assert (line(found, "IOP").unit, line(found, "IOP").counts, line(found, "DR").positives) == ("mmHg", (), None)


def test_a_yes_no_head_has_the_values_of_scikit_learn() -> None:
    made = yes_no(150, 1, missing=0.3)
    found = line(summarize_heads({"AMD": made}, {}, resamples=100), "AMD")
    truth, score = made.truth[made.labelled], made.scores[made.labelled, 1]
    said = score > 0.5
    assert (found.n, found.unlabelled) == (len(truth), 150 - len(truth))
    assert found.counts == ((truth == 0).sum(), (truth == 1).sum())
    expected = {
        "auroc": metrics.roc_auc_score(truth, score),
        "ap": metrics.average_precision_score(truth, score),
        "sensitivity": metrics.recall_score(truth, said),
        "specificity": metrics.recall_score(truth, said, pos_label=0),
        "f1": metrics.f1_score(truth, said),
        "balanced_accuracy": metrics.balanced_accuracy_score(truth, said),
    }
    for name, value in expected.items():
        assert found.scores[name].value == pytest.approx(value), name
        assert found.scores[name].low < value < found.scores[name].high


def test_every_head_has_the_values_of_its_own_report() -> None:
    answered, measured = mixed()
    found = summarize_heads(answered, measured, resamples=200)
    for name, made in answered.items():
        card, scores = scorecard(made, resamples=200), line(found, name).scores
        for column in set(scores) & set(card.headline):
            assert scores[column].value == pytest.approx(card.headline[column].value), (name, column)
            # Where all labels are known even the drawn patients are the same.
            if made.labelled.all():
                assert scores[column].low == pytest.approx(card.headline[column].low)
        if "auroc" in scores:
            yes = card.per_class[1].scores
            assert [scores[column].value for column in ("auroc", "ap", "sensitivity", "specificity", "f1")] == (
                pytest.approx([yes[column].value for column in ("auroc", "ap", "sensitivity", "specificity", "f1")])
            )
    alone = agreement(measured["IOP"], resamples=20).headline
    for column, estimate in line(found, "IOP").scores.items():
        assert estimate.value == pytest.approx(alone[column].value)


def test_means_are_over_the_heads_that_have_the_measure() -> None:
    found = summarize_heads(*mixed(), resamples=100)
    value = {each.name: {name: e.value for name, e in each.scores.items()} for each in found.heads}
    expected = {
        "auroc_mean": [value["AMD"]["auroc"], value["CSC"]["auroc"], value["DR"]["auroc_macro"],
                       value["kind"]["auroc_macro"]],
        "ap_mean": [value["AMD"]["ap"], value["CSC"]["ap"]],
        "f1_mean": [value["AMD"]["f1"], value["CSC"]["f1"], value["DR"]["f1_macro"], value["kind"]["f1_macro"]],
        "kappa_mean": [value["DR"]["kappa_quadratic"], value["kind"]["kappa"]],
    }  # fmt: skip
    for name, values in expected.items():
        estimate = found.headline[name]
        assert estimate.value == pytest.approx(sum(values) / len(values))
        assert estimate.low < estimate.value < estimate.high
        assert found.headline[f"{name}_present"] == estimate
    assert not set(METRICS) & set(found.headline)
    assert found.together.shape == (0, 0)


def test_an_undefined_head_makes_the_mean_undefined_and_the_rest_still_counts() -> None:
    answered = {"AMD": yes_no(80, 1), "RVO": yes_no(80, 2, truth=np.zeros(80, np.int64)), "CSC": yes_no(80, 3)}
    found = summarize_heads(answered, {}, resamples=50)
    for name in ("auroc", "ap", "sensitivity", "f1", "balanced_accuracy"):
        assert line(found, "RVO").scores[name].to_json() == {"value": None, "reason": "no image is 'yes'"}
    assert line(found, "RVO").scores["specificity"].has_interval
    assert found.headline["auroc_mean"].to_json() == {"value": None, "reason": "head 'RVO' has none"}
    rest = [line(found, name).scores["auroc"].value for name in ("AMD", "CSC")]
    assert found.headline["auroc_mean_present"].value == pytest.approx(np.mean(rest))
    assert found.headline["auroc_mean_present"].has_interval
    assert found.headline["kappa_mean"].reason == "no head has one"
    all_yes = summarize_heads({"AMD": yes_no(80, 1, truth=np.ones(80, np.int64))}, {}, resamples=20)
    assert line(all_yes, "AMD").scores["specificity"].reason == "no image is 'no'"


def test_a_head_without_any_label_is_named_and_the_others_are_measured() -> None:
    unknown = yes_no(60, 2, truth=np.full(60, -1))
    found = summarize_heads({"AMD": yes_no(60, 1), "RVO": unknown}, {"IOP": quantity(60)}, resamples=30)
    assert (line(found, "RVO").n, line(found, "RVO").patients) == (0, 0)
    assert {e.reason for e in line(found, "RVO").scores.values()} == {"no image has a known label"}
    assert line(found, "AMD").scores["auroc"].has_interval
    blind = quantity(60, truth=np.full(60, np.nan))
    found = summarize_heads({"AMD": yes_no(60, 1)}, {"IOP": blind}, resamples=30)
    assert {e.reason for e in line(found, "IOP").scores.values()} == {"no image has a known label"}


def test_a_label_that_is_not_known_counted_as_no_is_noticed() -> None:
    rng = np.random.default_rng(0)
    made = yes_no(300, 1, skill=2.0)
    # Those who were not examined are mostly ill, as where a label was asked for in doubtful cases only.
    hidden = np.where((made.truth == 1) & (rng.random(300) < 0.6), -1, made.truth)
    other = yes_no(300, 2)
    honest = summarize_heads({"AMD": replace(made, truth=hidden), "DR": other}, {}, resamples=100)
    faulty = summarize_heads({"AMD": replace(made, truth=np.maximum(hidden, 0)), "DR": other}, {}, resamples=100)
    right, wrong = (line(found, "AMD").scores["auroc"] for found in (honest, faulty))
    assert wrong.value < right.low
    assert honest.headline["auroc_mean"].value - faulty.headline["auroc_mean"].value > 0.05
    assert faulty.complete > honest.complete == (hidden >= 0).sum()
    assert honest.headline["exact_match"].value != pytest.approx(faulty.headline["exact_match"].value, abs=0.05)


def test_the_same_patients_are_drawn_for_all_heads() -> None:
    made = yes_no(100, 1)
    found = summarize_heads({"one": made, "two": made, "three": made}, {}, resamples=300)
    single, mean = line(found, "one").scores["auroc"], found.headline["auroc_mean"]
    # Heads drawn each for itself would average their errors away: an interval 1.7 times as narrow.
    assert (mean.value, mean.low, mean.high) == pytest.approx((single.value, single.low, single.high))


def test_images_drawn_instead_of_patients_are_noticed() -> None:
    made, other = yes_no(100, 1, skill=0.8), yes_no(100, 2, skill=0.8)
    twice = [np.repeat(np.arange(100), 2)]  # the fellow eye says the same, so it tells nothing new

    def doubled(one: Predictions, known: bool) -> Predictions:
        files = tuple(f"{row}.png" for row in range(200))
        patients = tuple(f"p{row // 2}" for row in range(200)) if known else files
        return yes_no(200, truth=one.truth[twice[0]], scores=one.scores[twice[0]], files=files, patients=patients,
                      patients_known=known)  # fmt: skip

    honest, faulty = (
        summarize_heads({"AMD": doubled(made, known), "DR": doubled(other, known)}, {}, resamples=800)
        for known in (True, False)
    )
    for name in ("auroc_mean", "f1_mean", "exact_match", "lrap"):
        right, wrong = honest.headline[name], faulty.headline[name]
        assert right.value == pytest.approx(wrong.value)
        assert right.high - right.low > 1.2 * (wrong.high - wrong.low), name


def test_labels_as_one_answer_are_measured_where_all_are_known() -> None:
    answered = {name: yes_no(120, seed, missing=0.2) for seed, name in enumerate(("AMD", "DR", "CSC"))}
    found = summarize_heads(answered, {}, resamples=60)
    truth = np.stack([each.truth for each in answered.values()], axis=1)
    score = np.stack([each.scores[:, 1] for each in answered.values()], axis=1)
    known = (truth >= 0).all(axis=1)
    assert found.complete == known.sum() < found.n
    assert found.headline["exact_match"].value == pytest.approx(
        metrics.accuracy_score(truth[known], score[known] > 0.5)
    )
    assert found.headline["f1_macro"].value == pytest.approx(
        metrics.f1_score(truth[known], score[known] > 0.5, average="macro")
    )
    assert all(found.headline[name].has_interval for name in METRICS)
    assert found.together.diagonal().tolist() == [each.positives for each in found.heads]
    apart = {name: yes_no(60, 1, truth=np.where(np.arange(60) % 2 == n, np.arange(60) // 2 % 2, -1))
             for n, name in enumerate(("AMD", "DR"))}  # fmt: skip
    never = summarize_heads(apart, {}, resamples=20)
    assert never.complete == 0
    assert never.headline["exact_match"].to_json() == {"value": None, "reason": "no image has all labels known"}
    assert never.headline["auroc_mean"].defined


def test_images_without_any_label_are_left_out_and_counted() -> None:
    made, values = yes_no(60, 1), quantity(60)
    truth, known = made.truth.copy(), values.truth.copy()
    truth[:20], known[:10] = -1, np.nan
    found = summarize_heads({"AMD": replace(made, truth=truth)}, {"IOP": replace(values, truth=known)}, resamples=20)
    assert (found.n, found.unlabelled, found.patients) == (50, 10, 25)
    assert (line(found, "AMD").n, line(found, "AMD").unlabelled) == (40, 20)
    assert (line(found, "IOP").n, line(found, "IOP").unlabelled) == (50, 10)


def test_an_answer_of_one_patient_and_a_single_patient_have_no_interval() -> None:
    truth = np.where(np.arange(60) < 2, 1, 0)  # the first patient alone is ill
    found = line(summarize_heads({"AMD": yes_no(60, 1, truth=truth)}, {}, resamples=200), "AMD").scores
    for name in ("auroc", "ap", "sensitivity", "f1", "balanced_accuracy"):
        assert found[name].reason == "no interval: one patient has 'yes'"
        assert found[name].defined
    assert found["specificity"].has_interval
    alone = summarize_heads({"AMD": yes_no(30, 1, patients=("p",) * 30)}, {}, resamples=20)
    assert {e.reason for e in line(alone, "AMD").scores.values()} == {"no interval: only 1 patient"}
    assert alone.headline["auroc_mean"].reason == "no interval: only 1 patient"


def test_resamples_that_lose_an_answer_are_counted() -> None:
    truth = np.where(np.arange(60) < 2, 1, 0)
    found = summarize_heads({"AMD": yes_no(60, 1, truth=truth), "DR": yes_no(60, 2)}, {}, resamples=1000)
    assert found.partial_resamples / 1000 == pytest.approx((1 - 1 / 30) ** 30, abs=0.05)
    assert found.headline["auroc_mean"].has_interval


def test_a_resample_without_a_known_label_leaves_the_calibration_error_an_interval() -> None:
    truth = np.where(np.arange(60) < 4, np.arange(60) % 2, -1)  # two patients of thirty
    found = summarize_heads({"AMD": yes_no(60, 1, truth=truth), "DR": yes_no(60, 2)}, {}, resamples=200)
    gap = line(found, "AMD").scores["ece"]
    assert 0 <= gap.low <= gap.value <= gap.high


def test_tables_that_do_not_fit_are_refused_together() -> None:
    made = yes_no(60, 1)
    with pytest.raises(ValueError, match="two heads are called 'IOP'") as caught:
        summarize_heads(
            {"AMD": made, "IOP": yes_no(40, 1), "DR": yes_no(60, 2, files=made.files[::-1], patients_known=False)},
            {"IOP": quantity(60, patients=("p",) * 60)},
        )
    for words in (
        "head 'IOP' has 40 images, head 'AMD' 60",
        "files of head 'DR' differ from those of head 'AMD' in 60 rows, first in row 0: 'images/59.png' and",
        "patients of head 'IOP' differ from those of head 'AMD' in 60 rows, first in row 0: 'p' and 'p0'",
        "patients are known to one of the heads 'DR' and 'AMD' only",
    ):
        assert words in str(caught.value)
    with pytest.raises(ValueError, match="there is no head"):
        summarize_heads({}, {})
    with pytest.raises(ValueError, match="no image has a known label of any head"):
        summarize_heads({"AMD": yes_no(4, 1, truth=np.full(4, -1))}, {})


def test_json_is_strict_and_equal_seeds_give_equal_numbers() -> None:
    answered, measured = mixed(60)
    answered["RVO"] = yes_no(60, 1, truth=np.zeros(60, np.int64))
    one, two, three = (summarize_heads(answered, measured, resamples=40, seed=seed).to_json() for seed in (1, 1, 2))
    assert one == two != three
    plain = json.loads(json.dumps(one, allow_nan=False))
    assert set(plain["headline"]) == {*MEANS, *(f"{name}_present" for name in MEANS)}
    assert plain["headline"]["auroc_mean"] == {"value": None, "reason": "head 'RVO' has none"}
    assert [each["name"] for each in plain["heads"]] == [*answered, *measured]
    assert plain["heads"][0]["counts"] == list(line(summarize_heads(answered, measured, resamples=2), "AMD").counts)
    labels = summarize_heads({"AMD": yes_no(60, 1), "DR": yes_no(60, 2)}, {}, resamples=20).to_json()
    assert np.array(json.loads(json.dumps(labels, allow_nan=False))["together"]).shape == (2, 2)
    assert not math.isnan(labels["headline"]["lrap"]["value"])
