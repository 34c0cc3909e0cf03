"""The pictures of a comparison: well-formed, with every number that was drawn, and empty where there is nothing."""

from xml.etree import ElementTree as ET

import pytest

from eyeground.evaluate.comparison import Comparison, compare_cells
from eyeground.evaluate.comparison_plots import difference_forest, label_efficiency, metric_by_init
from eyeground.evaluate.comparison_verdict import signed
from eyeground.evaluate.wording import with_interval

from .grids import grid

HOSTILE = "<script>$a_b$\u202e眼底"


@pytest.fixture(scope="module")
def found() -> Comparison:
    return compare_cells(grid({"random": 0.1, "mae": 2.0, HOSTILE: 0.3}, fractions=(0.1, 1.0)), resamples=60)


def words(svg: str) -> str:
    """The text of a picture, which must be well-formed."""
    tree = ET.fromstring(svg)  # noqa: S314 - our own
    assert not [node for node in tree.iter() if node.tag.endswith("script")]
    return " | ".join(text.strip() for text in tree.itertext() if text.strip())


@pytest.mark.parametrize("metric", ["auroc_macro", "log_loss"])
def test_every_initialization_stands_with_its_interval(found: Comparison, metric: str) -> None:
    said = words(metric_by_init(found, metric))
    for line in found.summary:
        if line["metric"] == metric and line["fraction"] == 1.0:
            assert with_interval(line["mean"], line["low"], line["high"]) in said
    assert "linear probing, all labels" in said
    assert "fine-tuning, all labels" in said
    assert "$a_b$" in said
    assert "\u202e" not in said


def test_labels_are_drawn_only_where_there_are_several_shares(found: Comparison) -> None:
    said = words(label_efficiency(found, "auroc_macro"))
    for word in ("10%", "100%", "random", "mae", "linear probing", "fine-tuning"):
        assert word in said
    one = compare_cells(grid({"random": 0.1, "mae": 2.0}), resamples=20)
    assert label_efficiency(one, "auroc_macro") == ""


def test_the_forest_holds_every_difference_from_a_reference(found: Comparison) -> None:
    said = words(difference_forest(found))
    for test in found.tests:
        if test["test"] == "bootstrap" and test["b"] == "random":
            assert f"{signed(test['difference'])} [{signed(test['low'])} to {signed(test['high'])}]" in said
    assert "10% of the labels" in said
    assert "mae minus random" in said
    unplanned = [t for t in found.tests if t["test"] == "bootstrap" and t["b"] != "random"]
    assert not any(f"{signed(t['difference'])} [{signed(t['low'])} to" in said for t in unplanned)
    alone = compare_cells(grid({"mae": 2.0}), resamples=20)
    assert difference_forest(alone) == ""


def test_each_row_of_the_forest_is_named_after_both_sides() -> None:
    names = ["MobileNetV2 random", "MobileNetV2 ImageNet", "MobileNetV2 ImageNet continued", "ViT random", "ViT MAE"]
    cells = grid({name: place / 3 for place, name in enumerate(names)}, ways=("probe",), seeds=1)
    asked = {names[2]: names[1], names[4]: names[3]}
    said = words(difference_forest(compare_cells(cells, references=asked, resamples=20)))
    assert "MobileNetV2 ImageNet continued | minus MobileNetV2 ImageNet |" in said
    assert "ViT MAE minus ViT random" in said
    assert "MobileNetV2 random" not in said
    assert difference_forest(compare_cells(cells, references={}, resamples=20)) == ""


def test_what_is_undefined_is_said_in_the_picture() -> None:
    truth = grid({"a": 1.0})[0].predictions.truth.copy()
    truth[truth == 2] = 0
    made = compare_cells(grid({"random": 0.2, "mae": 1.0}, fractions=(0.1, 1.0), truth=truth), resamples=20)
    assert "class 'glaucoma' is absent" in words(difference_forest(made))
    assert "glaucoma" in words(metric_by_init(made, "auroc_macro"))
    assert "share of the labels" in words(label_efficiency(made, "auroc_macro"))


def test_twelve_initializations_one_seed_and_one_patient_can_be_drawn() -> None:
    skills = {**{f"init {k}": k / 6 for k in range(11)}, "眼底" * 40: 2.0}
    many = compare_cells(grid(skills, seeds=1, fractions=(0.5, 1.0), rows=40), resamples=20)
    lone = compare_cells(grid({"random": 0.2, "mae": 1.0}, patients=("p",) * 80), resamples=20)
    for made in (many, lone):
        for svg in (metric_by_init(made, "kappa"), difference_forest(made)):
            assert words(svg)
    assert "init 10" in words(label_efficiency(many, "accuracy"))


def test_a_metric_that_is_not_there_is_refused_and_pictures_repeat(found: Comparison) -> None:
    for draw in (metric_by_init, label_efficiency):
        with pytest.raises(ValueError, match="no metric 'acc' of profile 'standard'"):
            draw(found, "acc")
    assert difference_forest(found) == difference_forest(found)
