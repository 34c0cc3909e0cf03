"""A configuration and its data -> what is asked and how: weights and shifts by hand, refusals in words."""

import math
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eyeground.cli.config import ConfigError
from eyeground.cli.config_file import check_config
from eyeground.cli.dataset import Dataset
from eyeground.cli.finetune_config import FinetuneConfig
from eyeground.cli.objective import heads_of, objective_of, task_of
from eyeground.cli.training import order_of_epochs
from eyeground.data.pixels import PixelStore
from eyeground.data.sample import Sample
from eyeground.data.task import Head
from eyeground.model.objective import Objective

NAN = math.nan


def config_of(**keys: Any) -> FinetuneConfig:
    config: FinetuneConfig = check_config({"data": "images", **keys}, where="c.yaml")
    return config


def labelled(counts: Sequence[int], *, classes: Sequence[str], ordered: bool = False) -> Dataset:
    """So many training images of each class, and a hundred of the first in val, which must not count."""
    labels = [(label, "train") for label, count in enumerate(counts) for _ in range(count)] + [(0, "val")] * 100
    samples = tuple(
        Sample(f"{number}.png", Path("d"), label, str(number), split=split)
        for number, (label, split) in enumerate(labels)
    )
    return Dataset(samples, tuple(classes), ordered, True, (), {}, PixelStore(crop_field=False, store_px=0), "")


def answered(config: FinetuneConfig, rows: Sequence[tuple[float, ...]]) -> Dataset:
    """Training images with these answers of the configuration's heads, and one of zeros in val."""
    heads = heads_of(config)
    split = ["train"] * len(rows) + ["val"]
    samples = tuple(
        Sample(f"{number}.png", Path("d"), None, str(number), split=part, values=tuple(values))
        for number, (part, values) in enumerate(zip(split, [*rows, (0.0,) * len(heads)], strict=True))
    )
    return Dataset(samples, (), False, True, (), {}, PixelStore(crop_field=False, store_px=0), "", heads)


def objective(config: FinetuneConfig, dataset: Dataset) -> Objective:
    return objective_of(config, dataset, task_of(config, dataset))


def refused(config: FinetuneConfig, dataset: Dataset, *told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        objective(config, dataset)
    for words in told:
        assert words in str(caught.value)


AMD_DR = {"task": "heads", "heads": [{"name": "AMD"}, {"name": "DR", "kind": "grades", "classes": [0, 1, 2]}]}
# AMD: 1 yes, 4 no, one not known. DR: 3 x 0, 2 x 1, 1 x 2.
ROWS = [(1.0, 0.0), (0.0, 0.0), (0.0, 1.0), (0.0, 1.0), (0.0, 2.0), (NAN, 0.0)]


def test_each_task_has_its_heads() -> None:
    assert heads_of(config_of()) == heads_of(config_of(task="ordinal")) == ()
    assert heads_of(config_of(task="multilabel", classes=["A", "B"])) == (Head("A", column="A"), Head("B", column="B"))
    keys = {"data": {"path": "x", "table": "t.csv", "label": "cup/disc"}, "scale": [0, 1], "unit": "mm"}
    [head] = heads_of(config_of(task="regression", **keys))
    assert head == Head("cup/disc", "quantity", low=0, high=1, unit="mm")
    assert heads_of(config_of(task="regression"))[0].name == "label"
    several = [
        {"name": "D", "kind": "classes", "classes": ["a", "b"], "column": "d"},
        {"name": "q", "kind": "quantity"},
    ]
    assert heads_of(config_of(task="heads", heads=several)) == (
        Head("D", "classes", ("a", "b"), "d"),
        Head("q", "quantity", column="q"),
    )


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ({"task": "heads", "heads": [{"name": "D", "kind": "classes"}]}, "head 'D': classes needs at least two"),
        ({"task": "heads", "heads": [{"name": "q", "kind": "quantity", "low": 1, "high": 0}]}, "low 1.0 must be below"),
        ({"task": "regression", "scale": [1, 1]}, "low 1.0 must be below high 1.0"),
        ({"task": "heads", "heads": [{"name": "A"}, {"name": "A", "column": "B"}]}, "two heads are called 'A'"),
        ({"task": "heads", "heads": [{"name": "A/B"}]}, "a head cannot be called 'A/B'"),
        ({"task": "multilabel", "classes": ["A", "B", "A"]}, "two heads are called 'A'"),
        ({"task": "multilabel", "classes": ["A", ".B"]}, "a head cannot be called '.B'"),
    ],
)
def test_a_head_that_cannot_be_is_refused_before_any_image_is_read(keys: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        heads_of(config_of(**keys))
    assert told in str(caught.value)


def test_classes_and_grades_are_those_of_the_labels() -> None:
    data = labelled([2, 1, 1], classes=("0", "1", "2"), ordered=True)
    task = task_of(config_of(), data)
    assert (task.name, task.outputs, task.heads[0].kind) == ("multiclass", 3, "classes")
    task = task_of(config_of(task="ordinal"), data)
    assert (task.name, task.outputs, task.heads[0].kind) == ("ordinal", 2, "grades")
    refused(config_of(task="ordinal"), labelled([2, 1], classes=("a", "b")), "task: ordinal needs grades", "a, b")
    refused(config_of(), labelled([3], classes=("a",)), "all labels are 'a'", "at least two classes")


def test_a_quantity_is_learned_in_standard_units_of_its_training_part() -> None:
    config = config_of(task="regression", data={"path": "x", "table": "t.csv", "label": "IOP"})
    head = task_of(config, answered(config, [(12.0,), (18.0,), (24.0,)])).heads[0]
    assert head.center == 18
    assert head.spread == pytest.approx(math.sqrt(24))
    np.testing.assert_allclose(head.targets(np.array([18 + math.sqrt(24)])), [[1]])


def test_all_heads_that_have_nothing_to_learn_from_are_told_at_once() -> None:
    several = [{"name": "A"}, {"name": "B"}, {"name": "C"}, {"name": "D", "kind": "classes", "classes": ["x", "y"]},
               {"name": "q", "kind": "quantity"}]  # fmt: skip
    config = config_of(task="heads", heads=several)
    rows = [(1.0, NAN, 0.0, 1.0, 7.5), (0.0, NAN, NAN, NAN, 7.5), (NAN, NAN, 0.0, 1.0, NAN)]
    with pytest.raises(ConfigError) as caught:
        task_of(config, answered(config, rows))
    told = str(caught.value)
    assert "head 'B' has no label in train: fill its column, or leave the head out" in told
    assert "head 'C': every label in train is no: there is nothing to learn" in told
    assert "head 'D': every label in train is y" in told
    assert "head 'q': every label in train is 7.5" in told
    assert "head 'A'" not in told


def test_without_a_strategy_nothing_is_weighed() -> None:
    found = objective(config_of(), labelled([6, 2], classes=("a", "b")))
    assert found.plain
    assert (found.class_weights, found.shifts, found.focal_gamma) == ((), (), 0)
    config = config_of(**AMD_DR)
    assert objective(config, answered(config, ROWS)).head_weights == (1, 1)


def test_class_weights_by_hand() -> None:
    data = labelled([6, 2], classes=("a", "b"))  # N / (K n) = 8 / (2 x 6), 8 / (2 x 2)
    [weights] = objective(config_of(imbalance="weighted"), data).class_weights
    assert weights == pytest.approx((2 / 3, 2))
    [weights] = objective(config_of(imbalance="weighted", class_weights="sqrt_inverse"), data).class_weights
    raw = (1 / math.sqrt(6), 1 / math.sqrt(2))
    mean = (6 * raw[0] + 2 * raw[1]) / 8
    assert weights == pytest.approx((raw[0] / mean, raw[1] / mean))
    own = config_of(imbalance="weighted", class_weights={"b": 5, "a": 1})
    assert objective(own, data).class_weights[0] == pytest.approx((0.5, 2.5))  # so that their mean over images is 1
    ordinal = config_of(task="ordinal", imbalance="weighted")
    [weights] = objective(ordinal, labelled([6, 2], classes=("0", "1"), ordered=True)).class_weights
    assert weights == pytest.approx((2 / 3, 2))


def test_class_weights_of_each_head_count_its_own_labels() -> None:
    config = config_of(**AMD_DR, imbalance="weighted")
    amd, dr = objective(config, answered(config, ROWS)).class_weights
    assert amd == pytest.approx((5 / (2 * 4), 5 / (2 * 1)))  # the missing label is no "no"
    assert dr == pytest.approx((6 / (3 * 3), 6 / (3 * 2), 6 / (3 * 1)))


def test_a_quantity_beside_other_heads_is_not_weighed() -> None:
    config = config_of(task="heads", heads=[{"name": "A"}, {"name": "q", "kind": "quantity"}], imbalance="weighted")
    found = objective(config, answered(config, [(1.0, 2.5), (0.0, 3.5), (0.0, 4.5)]))
    assert found.class_weights[0] == pytest.approx((0.75, 1.5))
    assert found.class_weights[1] == ()


def test_a_head_with_a_grade_that_train_lacks_is_not_left_plain_without_a_word() -> None:
    # The grades that are there can be weighed, or the run refused; a head that quietly is not weighed looks weighed.
    config = config_of(**AMD_DR, imbalance="weighted")
    rows = [(amd, 0.0 if dr == 1 else dr) for amd, dr in ROWS]  # 5 x 0, nobody has grade 1, 1 x 2
    weights = None
    with suppress(ConfigError):
        weights = objective(config, answered(config, rows)).class_weights[1]
    assert weights is None or (len(weights) == 3 and weights[2] / weights[0] == pytest.approx(5))


def test_logits_are_shifted_by_log_priors() -> None:
    data = labelled([6, 2], classes=("a", "b"))
    [shift] = objective(config_of(imbalance="logit_adjust"), data).shifts
    assert shift == pytest.approx((math.log(6 / 8), math.log(2 / 8)))
    [shift] = objective(config_of(imbalance="logit_adjust", logit_tau=2), data).shifts
    assert shift == pytest.approx((2 * math.log(6 / 8), 2 * math.log(2 / 8)))


def test_a_yes_no_head_is_shifted_by_the_log_odds_of_yes() -> None:
    config = config_of(task="multilabel", classes=["A", "B"], imbalance="logit_adjust", logit_tau=0.5)
    found = objective(config, answered(config, [(1.0, 0.0), (0.0, 1.0), (0.0, NAN), (0.0, 1.0)]))
    assert found.shifts[0] == pytest.approx((0.5 * math.log(1 / 3),))
    assert found.shifts[1] == pytest.approx((0.5 * math.log(2),))
    assert not found.class_weights


def test_focal_and_the_share_of_heads_are_handed_on() -> None:
    heads = [{"name": "A", "weight": 3}, {"name": "B"}]
    config = config_of(
        task="heads", heads=heads, imbalance=["focal", "weighted"], double_correction=True, focal_gamma=1
    )
    found = objective(config, answered(config, [(1.0, 0.0), (0.0, 1.0)]))
    assert (found.focal_gamma, found.head_weights) == (1, (3, 1))
    assert found.class_weights == ((1, 1), (1, 1))


@pytest.mark.parametrize("strategy", ["balanced_sampling", "oversample"])
def test_a_choice_of_images_leaves_the_loss_plain_and_needs_one_set_of_classes(strategy: str) -> None:
    assert objective(config_of(imbalance=strategy), labelled([6, 2], classes=("a", "b"))).plain
    config = config_of(**AMD_DR, imbalance=strategy)
    refused(config, answered(config, ROWS), f"imbalance={strategy} needs one set of classes", "several heads")


@pytest.mark.parametrize("strategy", ["weighted", "focal", "logit_adjust", "balanced_sampling", "oversample"])
def test_a_quantity_alone_has_no_imbalance(strategy: str) -> None:
    config = config_of(task="regression", imbalance=strategy)
    refused(config, answered(config, [(1.0,), (2.5,)]), f"imbalance={strategy}: a quantity has no classes")


def test_what_does_not_reach_a_task_is_refused() -> None:
    ordered = labelled([6, 2], classes=("0", "1"), ordered=True)
    refused(config_of(task="ordinal", imbalance="logit_adjust"), ordered, "logit_adjust does not reach grades (label)")
    config = config_of(**AMD_DR, imbalance="logit_adjust")
    refused(config, answered(config, ROWS), "logit_adjust does not reach grades (DR)", "weighted or focal do")
    config = config_of(**AMD_DR, imbalance="weighted", class_weights={"no": 1, "yes": 3})
    refused(config, answered(config, ROWS), "a weight per class needs one set of classes")


def test_a_class_weight_for_a_class_that_is_not_there() -> None:
    data = labelled([6, 2], classes=("normal", "drusen"))
    config = config_of(imbalance="weighted", class_weights={"normal": 1, "druse": 2})
    refused(config, data, "class 'drusen' has no weight", "there is no class 'druse' to weigh")
    with pytest.raises(ValueError, match="the weight of drusen must be above 0"):
        config_of(imbalance="weighted", class_weights={"normal": 1, "drusen": -2})


def test_epochs_hold_what_the_strategy_says() -> None:
    samples = labelled([30, 4], classes=("a", "b")).of("train")
    labels = np.array([sample.label for sample in samples])
    for strategy in ("none", "weighted", "focal", "logit_adjust"):
        assert order_of_epochs(config_of(imbalance=strategy), samples) is None
    order = order_of_epochs(config_of(imbalance="balanced_sampling", seed=3), samples)
    assert order is not None
    drawn = np.concatenate([labels[order(epoch)] for epoch in range(30)])
    assert len(drawn) == 30 * 34
    # Half of 1,020 draws, standard deviation 16; without the strategy it would be 120.
    assert 430 < drawn.sum() < 590
    again = order_of_epochs(
        config_of(imbalance=["focal", "balanced_sampling"], double_correction=True, seed=3), samples
    )
    assert again is not None
    assert order(2).tolist() == again(2).tolist() != order(3).tolist()
    order = order_of_epochs(config_of(imbalance="oversample", oversample_to=0.5), samples)
    assert order is not None
    assert np.bincount(labels[order(0)]).tolist() == [30, 15]
    assert set(order(0).tolist()) == set(range(34))
