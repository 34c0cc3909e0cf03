"""A grid of runs: every number against the tests and metrics it is made of, and words that never say too much."""

import json
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from eyeground.evaluate.comparison import Cell, Comparison, compare_cells
from eyeground.evaluate.comparison_verdict import limits, outcome, verdict
from eyeground.evaluate.delong import Influence, auroc_influence, influence_test
from eyeground.evaluate.paired import majority, mcnemar, paired_bootstrap
from eyeground.evaluate.predictions import Predictions
from eyeground.evaluate.scorecard import scorecard
from eyeground.pick import pick

from .grids import grid

SKILLS = {"random": 0.2, "imagenet": 0.3, "mae": 2.0}
PROFILES = ("standard", "retfound2023", "retfound2025")


@pytest.fixture(scope="module")
def cells() -> list[Cell]:
    return grid(SKILLS, fractions=(0.1, 1.0))


@pytest.fixture(scope="module")
def found(cells: list[Cell]) -> Comparison:
    return compare_cells(cells, profiles=PROFILES, resamples=300, seed=3)


def of(cells: list[Cell], init: str, way: str = "probe", fraction: float = 1.0) -> list[Predictions]:
    """The seeds of one initialization."""
    return [c.predictions for c in cells if (c.init, c.way, c.fraction) == (init, way, fraction)]


def picked(lines: tuple[dict[str, Any], ...], **wanted: Any) -> list[dict[str, Any]]:
    """Lines with these facts."""
    return [line for line in lines if all(line[key] == value for key, value in wanted.items())]


def test_every_run_has_what_its_own_scorecard_and_profiles_say(cells: list[Cell], found: Comparison) -> None:
    for cell in cells[:3]:
        card = scorecard(cell.predictions, resamples=300, seed=3)
        where = {"init": cell.init, "way": cell.way, "seed": cell.seed, "fraction": cell.fraction}
        for row in picked(found.rows, profile="standard", **where):
            estimate = card.headline[row["metric"]]
            for key in ("value", "low", "high"):
                assert row[key] == pytest.approx(getattr(estimate, key), abs=1e-9, nan_ok=True), row
            assert row["reason"] == estimate.reason
        for profile in PROFILES[1:]:
            expected = pick("evaluate.profiles", profile).values(cell.predictions.truth, cell.predictions.scores)
            for row in picked(found.rows, profile=profile, **where):
                assert row["value"] == pytest.approx(expected[row["metric"]])
                assert row["low"] <= row["value"] <= row["high"]
    assert len(found.rows) == len(cells) * (14 + 8 + 9)


def test_the_summary_is_that_of_the_seeds(cells: list[Cell], found: Comparison) -> None:
    for line in found.summary:
        seeds = picked(found.rows, **{key: line[key] for key in ("init", "way", "fraction", "profile", "metric")})
        values = [row["value"] for row in seeds]
        assert line["seeds"] == len(values) == 2
        assert line["mean"] == pytest.approx(np.mean(values), nan_ok=True)
        assert line["sd"] == pytest.approx(abs(values[0] - values[1]) / math.sqrt(2), nan_ok=True)
        if math.isfinite(line["mean"]):
            assert line["low"] <= line["mean"] <= line["high"]
    assert {line["reason"] for line in picked(found.summary, metric="kappa_quadratic")} == {"classes are not ordered"}
    # The interval of a mean of seeds, by a plain loop over resamples.
    tables = of(cells, "mae")
    people = sorted(set(tables[0].patients))
    draws = np.random.default_rng(3).integers(0, len(people), size=(300, len(people)))
    means = []
    for draw in draws:
        rows = [row for place in draw for row, name in enumerate(tables[0].patients) if name == people[place]]
        means.append(np.mean([np.mean(table.said[rows] == table.truth[rows]) for table in tables]))
    line = picked(found.summary, init="mae", way="probe", fraction=1.0, profile="standard", metric="accuracy")[0]
    assert (line["low"], line["high"]) == (
        pytest.approx(np.percentile(means, 2.5)),
        pytest.approx(np.percentile(means, 97.5)),
    )


@pytest.mark.parametrize("way", ["probe", "finetune"])
@pytest.mark.parametrize("fraction", [0.1, 1.0])
def test_every_pair_has_the_tests_it_should(cells: list[Cell], found: Comparison, way: str, fraction: float) -> None:
    assert found.test_resamples == 300  # three pairs need no more
    here = picked(found.tests, way=way, fraction=fraction)
    assert [(t["a"], t["b"]) for t in here] == [("imagenet", "random"), ("mae", "random"), ("mae", "imagenet")] * 3
    for line in here:
        a, b = of(cells, line["a"], way, fraction), of(cells, line["b"], way, fraction)
        truth = a[0].truth
        if line["test"] == "bootstrap":
            test = paired_bootstrap(a, b, metric="auroc_macro", resamples=300, seed=3)
            expected = (test.difference, test.low, test.high, test.p)
        elif line["test"] == "delong":
            pulls = []
            for tables in (a, b):
                each = [auroc_influence(truth, table.scores) for table in tables]
                pulls.append(Influence(sum(e.auroc for e in each) / 2, (each[0].pull + each[1].pull) / 2))
            area = influence_test(truth, *pulls, patients=a[0].patients).test
            expected = (area.difference, area.low, area.high, area.p)
        else:
            votes = mcnemar(truth, majority(a), majority(b))
            voted = [[replace(t[0], scores=np.eye(3)[majority(t)])] for t in (a, b)]
            test = paired_bootstrap(*voted, metric="accuracy", resamples=300, seed=3)
            expected = (votes.difference, test.low, test.high, votes.p)
        assert tuple(line[key] for key in ("difference", "low", "high", "p")) == pytest.approx(expected), line
        assert line["planned"] == (line["b"] == "random")
        assert line["p_holm"] >= line["p"]
        assert line["n_patients"] == 40
    for name in ("bootstrap", "delong", "mcnemar"):
        one, two, other = picked(tuple(here), test=name)
        # Holm by hand: two planned pairs among themselves, the third over all three.
        small, large = sorted((one, two), key=lambda line: line["p"])
        assert small["p_holm"] == pytest.approx(min(1, 2 * small["p"]))
        assert large["p_holm"] == pytest.approx(max(small["p_holm"], large["p"]))
        every = sorted(line["p"] for line in (one, two, other))
        steps = [min(1, factor * p) for factor, p in zip((3, 2, 1), every, strict=True)]
        assert other["p_holm"] == pytest.approx(max(steps[: every.index(other["p"]) + 1]))


def test_votes_are_counted_and_a_draw_goes_to_the_larger_mean_score() -> None:
    made = grid({"a": 1.0}, ways=("probe",), seeds=3)
    tables = [cell.predictions for cell in made]
    for row, said in enumerate(majority(tables).tolist()):
        votes = [sum(int(table.said[row]) == k for table in tables) for k in range(3)]
        best = [k for k in range(3) if votes[k] == max(votes)]
        means = [float(np.mean([table.scores[row, k] for table in tables])) for k in range(3)]
        assert said == max(best, key=lambda k: means[k])


def test_many_pairs_get_enough_resamples_that_a_difference_can_be_shown() -> None:
    skills = {"random": 0.0, **{f"i{k}": 0.05 for k in range(6)}, "mae": 4.0}
    made = compare_cells(grid(skills, ways=("probe",), seeds=1), resamples=100)
    assert made.test_resamples == 2800  # 28 pairs
    best = picked(made.tests, a="mae", b="random", test="bootstrap")[0]
    assert best["p_holm"] < 0.05
    assert outcome(best) == "better"
    assert best["planned"]
    assert best["p_holm"] == pytest.approx(7 * 2 / 2801)
    assert "p ≤ 0.005 among 7 planned pairs" in " ".join(made.verdict)
    # Even a pair that nobody planned can be shown to differ.
    other = picked(made.tests, a="mae", b="i5", test="bootstrap")[0]
    assert not other["planned"]
    assert 0.005 < other["p_holm"] <= 28 * 2 / 2801 + 1e-12
    # The intervals of the rows still come from the resamples asked for.
    again = compare_cells(grid({"random": 0.0, "mae": 4.0}, ways=("probe",), seeds=1), resamples=100)
    assert picked(again.rows, init="random", metric="kappa")[0] == picked(made.rows, init="random", metric="kappa")[0]


def test_the_verdict_compares_with_the_reference_on_all_labels(found: Comparison) -> None:
    assert len(found.verdict) == 4
    assert all(", all labels: " in sentence for sentence in found.verdict)
    assert "'mae' is better than 'random' in macro AUROC (difference +" in found.verdict[1]
    assert found.verdict[0].startswith("Linear probing, all labels: no difference could be shown between 'imagenet'")
    assert "the data are compatible with" in found.verdict[0]
    assert found.references == {"imagenet": "random", "mae": "random"}


def test_another_reference_and_another_metric_turn_the_words_around(cells: list[Cell]) -> None:
    turned = {"random": "mae", "imagenet": "mae"}
    made = compare_cells(cells, references=turned, headline="log_loss", resamples=200)
    sentence = next(s for s in made.verdict if "'random'" in s)
    assert "'random' is worse than 'mae' in log loss (difference +" in sentence
    assert "DeLong" not in sentence
    assert {t["b"] for t in made.tests if "mae" in (t["a"], t["b"])} == {"mae"}
    assert {t["metric"] for t in made.tests} == {"log_loss", "auroc_macro", "accuracy"}
    other = compare_cells(cells, profiles=["retfound2023"], headline="log_loss", references=turned, resamples=200)
    assert other.tests == made.tests  # the headline need not be in a profile that is shown


# Two networks, each with its own start; the references are given in another order than the initializations.
TWO = {"vit": 0.2, "vit mae": 0.6, "net": 0.3, "net simclr": 0.5, "net imagenet": 0.6, "net continued": 2.5}
OWN = {"net continued": "net imagenet", "vit mae": "vit", "net imagenet": "net", "net simclr": "net"}


def test_two_networks_in_a_grid_are_each_compared_with_their_own_reference() -> None:
    cells = grid(TWO, ways=("finetune", "probe"), fractions=(0.3, 1.0))
    made = compare_cells(cells, references=OWN, resamples=100)
    in_order = [("vit mae", "vit"), ("net simclr", "net"), ("net imagenet", "net"), ("net continued", "net imagenet")]
    assert list(made.references.items()) == in_order
    for way in ("probe", "finetune"):
        for fraction in (0.3, 1.0):
            for name in ("bootstrap", "delong", "mcnemar"):
                lines = picked(made.tests, way=way, fraction=fraction, test=name)
                assert len({frozenset((line["a"], line["b"])) for line in lines}) == len(lines) == 15
                assert [(line["a"], line["b"]) for line in lines[:4]] == in_order
                assert [line["planned"] for line in lines] == [True] * 4 + [False] * 11
                for line in lines[4:]:
                    assert list(TWO).index(line["b"]) < list(TWO).index(line["a"])
                # Adjusted p by Holm's definition: the largest of (family - rank) p over all that are not larger.
                for line in lines:
                    family = sorted(each["p"] for each in (lines[:4] if line["planned"] else lines))
                    steps = [min(1.0, (len(family) - rank) * p) for rank, p in enumerate(family) if p <= line["p"]]
                    assert line["p_holm"] == pytest.approx(max(steps)), line
    assert len(made.verdict) == 8
    for sentence, (way, (a, b)) in zip(
        made.verdict, [(way, pair) for way in ("Fine-tuning", "Linear probing") for pair in in_order], strict=True
    ):
        assert sentence.startswith(f"{way}, all labels:")
        assert f"'{a}'" in sentence
        assert f"'{b}'" in sentence
        assert "among 4 planned pairs" in sentence
    # A reference only names the pair: the same difference as with the other pairs, the sign turned where needed.
    plain = compare_cells(cells, references={}, resamples=100)
    assert (plain.verdict, plain.references) == ((), {})
    assert not any(line["planned"] for line in plain.tests)
    assert "No pair was planned" in " ".join(plain.limits)
    turned = compare_cells(cells, references={"vit": "vit mae"}, resamples=100)
    line, back = (picked(one.tests, way="probe", fraction=1.0, test="bootstrap")[0] for one in (plain, turned))
    assert (line["a"], line["b"], back["a"], back["b"]) == ("vit mae", "vit", "vit", "vit mae")
    assert (back["difference"], back["low"], back["high"]) == pytest.approx(
        (-line["difference"], -line["high"], -line["low"])
    )
    assert back["p_holm"] == back["p"] == line["p"]


def test_a_pair_without_all_labels_is_told_of_the_most_labels_that_both_have() -> None:
    cells = grid({"random": 0.2, "mae": 1.0, "net": 0.5}, ways=("probe",), fractions=(0.3, 1.0), seeds=1)
    part = [cell for cell in cells if (cell.init, cell.fraction) != ("mae", 1.0)]
    made = compare_cells(part, resamples=50)
    assert [sentence.split(":")[0] for sentence in made.verdict] == [
        "Linear probing, 30% of the labels",
        "Linear probing, all labels",
    ]
    assert "one planned pair" in made.verdict[1]


def test_nothing_is_called_equal_and_a_lone_interval_is_only_a_hint() -> None:
    base: dict[str, Any] = {"way": "probe", "fraction": 0.5, "b": "random", "planned": True, "test": "bootstrap",
                            "n_patients": 50, "metric": "auroc_macro", "reason": ""}  # fmt: skip
    tests = [
        {**base, "a": "x", "difference": 0.02, "low": 0.001, "high": 0.04, "p": 0.04, "p_holm": 0.08},
        {**base, "a": "y", "difference": 0.0, "low": 0.0, "high": 0.0, "p": 1.0, "p_holm": 1.0},
        {**base, "a": "z", "difference": math.nan, "low": math.nan, "high": math.nan, "p": math.nan,
         "p_holm": math.nan, "reason": "class 'drusen' is absent"},
    ]  # fmt: skip
    said = verdict(tests=[*tests, {**tests[0], "planned": False}], summary=[], headline="auroc_macro")
    assert len(said) == 3
    assert "a hint, at most" in said[0]
    assert "among 2 planned pairs" in said[0]
    assert "50% of the labels" in said[0]
    assert "hint" not in said[1]
    assert said[2].endswith("'z' and 'random' cannot be compared in macro AUROC: class 'drusen' is absent.")
    assert [outcome(test) for test in tests] == ["no difference shown", "no difference shown", "not tested"]
    assert not any(word in " ".join(said) for word in ("equal", "same", "as good"))


def test_limits_say_what_is_not_covered() -> None:
    told = " ".join(
        limits(patients=12, patients_known=True, images=24, seeds=1, floor=0.001, pairs=10, planned=4, few_labels=True)
    )
    for words in (
        "12 patients with 24 images",
        "one seed only",
        "which labels were left out",
        "never means equal",
        "among themselves (4 at most)",
        "below 0.004",
        "over all pairs (10 at most)",
        "below 0.010",
        "not both together",
        "stated before results were seen",
        "Holm, Scand J Stat 1979;6:65",
        "McNemar's test counts images as independent",
        "every interval here is rough",
    ):
        assert words in told
    told = " ".join(
        limits(patients=99, patients_known=False, images=99, seeds=3, floor=0.001, pairs=1, planned=1, few_labels=False)
    )
    assert "patients are not known" in told
    assert "s.d." in told
    assert "McNemar" not in told


def test_json_is_strict_and_reasons_stand_beside_what_is_missing() -> None:
    truth = grid({"a": 1.0})[0].predictions.truth.copy()
    truth[truth == 2] = 0
    truth[5] = -1
    made = compare_cells(grid({"random": 0.2, "mae": 1.0}, seeds=1, truth=truth), profiles=PROFILES, resamples=50)
    plain = json.loads(json.dumps(made.to_json(), allow_nan=False))
    assert (plain["n"], plain["unlabelled"], plain["references"]) == (79, 1, {"mae": "random"})
    assert [line["planned"] for line in plain["tests"]] == [True] * 6
    for row in plain["rows"]:
        assert row["reason"] or None not in row.values()
    for line in plain["summary"]:
        assert line["sd"] is None
        assert line["reason"]
    absent = "class 'glaucoma' is absent"
    assert {t["reason"] for t in plain["tests"] if t["test"] != "mcnemar"} == {absent}
    assert all(t["p"] is None for t in plain["tests"] if t["test"] != "mcnemar")
    assert all(t["p"] is not None for t in plain["tests"] if t["test"] == "mcnemar")
    assert absent in made.verdict[0]


def test_one_patient_has_values_and_no_test() -> None:
    made = compare_cells(grid({"random": 0.2, "mae": 1.0}, patients=("p",) * 80), resamples=20)
    delong = "no test: classes 'normal', 'cataract' and 'glaucoma' have one patient only"
    assert {t["reason"] for t in made.tests} == {"no test: only 1 patient", delong}
    assert all(math.isnan(t["p"]) and math.isfinite(t["difference"]) for t in made.tests)


def test_seeds_that_lack_a_value_are_counted() -> None:
    made = grid({"mae": 1.0}, ways=("probe",), seeds=2)
    never = made[0].predictions.scores.copy()
    never[:, 2] = 0
    never /= never.sum(axis=1, keepdims=True)
    cells = [replace(made[0], predictions=replace(made[0].predictions, scores=never)), made[1]]
    line = picked(compare_cells(cells, resamples=20).summary, metric="precision_macro")[0]
    assert math.isnan(line["mean"])
    assert line["reason"] == "undefined for 1 of 2 seeds: class 'glaucoma' is never predicted"


def test_a_missing_run_leaves_the_other_pairs(cells: list[Cell]) -> None:
    part = [c for c in cells if (c.init, c.way) != ("imagenet", "probe")]
    made = compare_cells(part, resamples=50)
    assert [(t["a"], t["b"]) for t in picked(made.tests, way="probe", fraction=1.0, test="delong")] == [
        ("mae", "random")
    ]
    assert len(picked(made.tests, way="finetune", fraction=1.0, test="delong")) == 3
    alone = compare_cells([c for c in cells if c.init == "mae"], resamples=50)
    assert (alone.tests, alone.verdict) == ((), ())


def test_what_is_no_grid_is_refused_all_at_once(cells: list[Cell]) -> None:
    with pytest.raises(ValueError, match="no run to compare"):
        compare_cells([])
    wrong = [cells[0], cells[0], replace(cells[1], fraction=0.0)]
    with pytest.raises(ValueError, match=r"there twice(.|\n)*outside \(0, 1\](.|\n)*'other' of 'random' is none of"):
        compare_cells(wrong, references={"random": "other"})
    asked = {"random": "imagenet", "imagenet": "mae", "mae": "random", "x": "random"}
    with pytest.raises(
        ValueError, match=r"'x', which has a reference, is none of 'random', 'imagenet' and 'mae'"
    ) as no:
        compare_cells(cells, references=asked)
    assert str(no.value).count("circle: 'random' -> 'imagenet' -> 'mae' -> 'random'") == 1
    assert len(str(no.value).splitlines()) == 3
    with pytest.raises(ValueError, match="'mae' is its own reference") as no:
        compare_cells(cells, references={"mae": "mae", "random": "mae"})
    assert "circle" not in str(no.value)
    shorter = cells[1].predictions.select(np.arange(80) < 70)
    with pytest.raises(ValueError, match=r"not judged on the same test images.*files, patients, truth differ"):
        compare_cells([cells[0], replace(cells[1], predictions=shorter)])
    hidden = replace(cells[0].predictions, truth=np.full(80, -1))
    with pytest.raises(ValueError, match="no test image has a known truth"):
        compare_cells([replace(cells[0], predictions=hidden)])
    with pytest.raises(LookupError, match="no 'other'"):
        compare_cells(cells, headline="other", resamples=5)
    with pytest.raises(LookupError, match="no 'other'"):
        compare_cells(cells, profiles=["other"], resamples=5)


def test_equal_seeds_give_equal_answers(cells: list[Cell]) -> None:
    one, two, three = (compare_cells(cells[:6], resamples=60, seed=seed).to_json() for seed in (1, 1, 2))
    assert one == two
    assert one["rows"] != three["rows"]
