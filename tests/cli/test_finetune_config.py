"""Keys of a fine-tuning: what does not belong together is refused in words, and what is written reads back the same."""

from pathlib import Path
from typing import Any

import pytest

from eyeground.cli.config import ConfigError
from eyeground.cli.config_file import check_config, dump_config, load_config
from eyeground.cli.finetune_config import FinetuneConfig
from eyeground.model.adaptation import Way

HEADS = [
    {"name": "AMD", "weight": 2},
    {"name": "DR", "kind": "grades"},
    {"name": "OCT", "kind": "classes", "classes": ["NO", "AMD"], "column": "oct class"},
    {"name": "IOP", "kind": "quantity", "low": 0, "unit": "mmHg"},
]


def checked(**keys: Any) -> FinetuneConfig:
    config: FinetuneConfig = check_config({"data": "images", **keys}, where="c.yaml")
    return config


def refused(told: str, **keys: Any) -> None:
    with pytest.raises(ConfigError) as caught:
        checked(**keys)
    assert told in str(caught.value)


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ({"task": "heads"}, "task: heads needs heads, such as heads: [{name: AMD}, {name: DR, kind: grades}]"),
        ({"heads": HEADS}, "heads belong to task: heads, not to task: multiclass"),
        ({"heads": HEADS, "task": "ordinal"}, "heads belong to task: heads, not to task: ordinal"),
        ({"task": "multilabel"}, "task: multilabel needs classes: the names of the columns that hold 0 and 1"),
        ({"task": "regression", "classes": ["a", "b"]}, "classes do not belong to task: regression"),
        ({"task": "heads", "heads": HEADS, "classes": ["a", "b"]}, "classes do not belong to task: heads"),
        ({"scale": [0, 1]}, "scale and unit belong to task: regression"),
        ({"task": "heads", "heads": HEADS, "unit": "mmHg"}, "a head has low, high and unit of its own"),
        ({"task": "ordinal", "mixup": 0.2}, "mixup and cutmix blend classes, which task: ordinal has not"),
        ({"task": "regression", "cutmix": 1.0}, "mixup and cutmix blend classes, which task: regression has not"),
        ({"task": "segmentation"}, "task: input should be 'multiclass', 'multilabel'"),
        ({"task": "heads", "heads": [{"name": "A", "knid": "grades"}]}, "unknown key; did you mean 'kind'?"),
        ({"task": "heads", "heads": [{"kind": "grades"}]}, "heads.0.name: field required"),
        ({"task": "heads", "heads": [{"name": "A", "weight": 0}]}, "heads.0.weight: input should be greater than 0"),
        ({"task": "heads", "heads": [{"name": "A", "kind": "grade"}]}, "heads.0.kind"),
        ({"adapt": "lora", "lora_rank": 0}, "lora_rank: input should be greater than or equal to 1"),
        ({"adapt": "LoRA"}, "adapt: input should be 'full', 'head', 'last_n'"),
    ],
)
def test_a_task_that_cannot_be_is_refused(keys: dict[str, Any], told: str) -> None:
    refused(told, **keys)


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ({"lora_rank": 4}, "lora_rank belongs to lora, and would change nothing with full"),
        ({"adapt": "adapter", "lora_alpha": 4}, "lora_alpha belongs to lora, and would change nothing with adapter"),
        ({"adapt": "head", "lora_targets": ["qkv"]}, "lora_targets belongs to lora"),
        ({"adapt": "lora", "adapter_width": 8}, "adapter_width belongs to adapter, and would change nothing with lora"),
        (
            {"adapt": "gradual", "last_blocks": 1},
            "last_blocks belongs to last_n, and would change nothing with gradual",
        ),
        ({"adapt": "last_n", "gradual_epochs": 3}, "gradual_epochs belongs to gradual"),
        ({"class_weights": "effective"}, "class_weights belongs to weighted, and would change nothing with none"),
        ({"imbalance": "focal", "class_weights": {"a": 2}}, "class_weights belongs to weighted"),
        ({"imbalance": "weighted", "effective_beta": 0.9}, "effective_beta belongs to effective"),
        (
            {"imbalance": "weighted", "focal_gamma": 1},
            "focal_gamma belongs to focal, and would change nothing with weig",
        ),
        ({"imbalance": "focal", "logit_tau": 0.5}, "logit_tau belongs to logit_adjust"),
        ({"imbalance": "balanced_sampling", "oversample_to": 0.5}, "oversample_to belongs to oversample"),
    ],
)
def test_a_key_that_would_change_nothing_is_refused(keys: dict[str, Any], told: str) -> None:
    refused(told, **keys)


def test_effective_beta_beside_weights_of_ones_own_is_refused_in_words() -> None:
    told = "effective_beta belongs to effective"
    refused(told, imbalance="weighted", class_weights={"a": 1, "b": 2}, effective_beta=0.9)


@pytest.mark.parametrize("keys", [{"classes": ["a", "b"]}, {"low": 0}, {"high": 1}, {"unit": "mmHg"}])
def test_a_key_of_another_kind_of_head_is_refused(keys: dict[str, Any]) -> None:
    # Who forgets kind: quantity or kind: classes gets a yes/no head, and the keys would be lost without a word.
    refused(next(iter(keys)), task="heads", heads=[{"name": "cdr", **keys}])


def test_keys_that_do_belong_are_taken() -> None:
    config = checked(
        adapt="lora", lora_rank=4, lora_alpha=8, lora_dropout=0.1, lora_targets=["qkv"],
        imbalance=["weighted"], class_weights="effective", effective_beta=0.99,
    )  # fmt: skip
    assert (config.lora_rank, config.imbalance, config.effective_beta) == (4, ("weighted",), 0.99)
    assert checked(imbalance="oversample", oversample_to=0.5).imbalance == ("oversample",)
    assert checked(adapt="last_n", last_blocks=1).last_blocks == 1


def test_a_default_written_out_is_no_fault() -> None:
    # dump_config writes every key, and a run is resumed from what it wrote.
    assert checked(lora_rank=8, class_weights="balanced", focal_gamma=2.0, last_blocks=2) == checked()


def test_imbalance_corrected_twice_is_refused_unless_meant() -> None:
    twice = ["weighted", "balanced_sampling"]
    refused("imbalance would be corrected 2 times (weighted, balanced_sampling)", imbalance=twice)
    refused("write double_correction=true if you mean it", imbalance=twice)
    assert checked(imbalance=twice, double_correction=True).imbalance == ("weighted", "balanced_sampling")
    refused("imbalance names focal more than once", imbalance=["focal", "focal"], double_correction=True)
    refused("imbalance names none beside focal", imbalance=["none", "focal"], double_correction=True)


def test_two_ways_to_choose_images_are_refused_even_if_meant() -> None:
    # An epoch is drawn in one way: the second would be left out without a word.
    refused("balanced_sampling", imbalance=["balanced_sampling", "oversample"], double_correction=True)


def test_all_that_does_not_belong_is_told_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        checked(task="regression", classes=["a"], mixup=0.2, lora_rank=2, imbalance=["focal", "weighted"])
    for told in ("classes do not belong", "mixup and cutmix", "lora_rank belongs", "corrected 2 times"):
        assert told in str(caught.value)


@pytest.mark.parametrize(
    ("way", "decay"),
    [("full", 0.65), ("last_n", 0.65), ("gradual", 0.65), ("head", 1), ("bitfit", 1), ("lora", 1), ("adapter", 1)],
)
def test_layers_learn_alike_where_the_backbone_stays(way: Way, decay: float) -> None:
    assert checked(adapt=way).layer_decay == decay
    assert checked(adapt=way, layer_decay=0.8).layer_decay == 0.8


def test_classes_of_an_ordinal_task_are_grades() -> None:
    assert checked(task="ordinal", classes=["none", "mild"]).graded is True
    assert checked(task="ordinal").graded is None
    assert checked(classes=["none", "mild"]).graded is None
    assert checked(ordered=False).graded is False


def test_heads_are_read_as_they_are_written() -> None:
    config = checked(task="heads", heads=[*HEADS, {"name": "G", "kind": "grades", "classes": [1, 2]}])
    assert [head.kind for head in config.heads] == ["yes_no", "grades", "classes", "quantity", "grades"]
    assert config.heads[1].classes == ("0", "1", "2", "3", "4")
    assert config.heads[4].classes == ("1", "2")
    assert [head.weight for head in config.heads] == [2, 1, 1, 1, 1]


@pytest.mark.parametrize(
    "keys",
    [
        {"task": "heads", "heads": HEADS, "adapt": "lora", "lora_rank": 2, "imbalance": "weighted"},
        {
            "task": "multilabel",
            "classes": ["NO", "1"],
            "imbalance": ["focal", "logit_adjust"],
            "double_correction": True,
        },
        {"task": "regression", "scale": [None, 80], "unit": "mmHg", "adapt": "last_n", "last_blocks": 3},
        {"task": "ordinal", "classes": [0, 1, 2], "imbalance": "weighted", "class_weights": {"0": 1, "1": 2, "2": 3.5}},
        {"adapt": "adapter", "adapter_width": 4, "imbalance": "oversample", "oversample_to": 0.25},
        {"adapt": "gradual", "gradual_epochs": 3, "imbalance": "focal", "focal_gamma": 1.5},
        {"adapt": "bitfit", "layer_decay": 0.9, "imbalance": "weighted", "class_weights": "sqrt_inverse"},
        {"adapt": "head"},
    ],
    ids=lambda keys: "-".join(str(keys.get(key, "")) for key in ("task", "adapt")),
)
def test_what_a_run_writes_reads_back_the_same(tmp_path: Path, keys: dict[str, Any]) -> None:
    config = checked(**keys)
    path = tmp_path / "config.yaml"
    path.write_text(dump_config(config), encoding="utf-8")
    again = load_config(path)
    assert again == config
    assert dump_config(again) == dump_config(config)
    assert again.layer_decay == config.layer_decay
