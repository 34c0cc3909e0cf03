"""`eyeground plan`, from words to an answer, on networks of a second."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from eyeground.cli.compare_config import CompareConfig
from eyeground.cli.config import ConfigError
from eyeground.cli.config_file import check_config
from eyeground.cli.finetune_config import FinetuneConfig
from eyeground.cli.planned_work import Images, Job, counted, jobs_of, kind_of_config
from eyeground.cli.planning import DoesNotFit, Plan, _no_room, plan
from eyeground.cli.pretrain_config import PretrainConfig

TINY = {"data": "nowhere", "model": "vit_demo_patch8", "image_px": 32, "epochs": 3, "batch_size": 8, "store_px": 40}


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.yaml"
    path.write_text(json.dumps(TINY), encoding="utf-8")
    return path


def said(capsys: pytest.CaptureFixture[str], path: Path, *words: str, **settings: Any) -> dict[str, Any]:
    plan(path, words, **{"images": 100, "gpus": None, "price": None, "as_json": True} | settings)
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_a_plan_for_gpus_adds_up(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = said(capsys, config, gpus="2xL4", price=0.5)
    [one] = found["plans"]
    assert found["device"] == "2xL4"
    assert (one["devices"], one["batch_size"], one["images"], one["epochs"]) == (2, 4, 60, 3)
    assert one["parameters"] == one["learning"] > 400_000
    assert 0 < one["memory_bytes"] < one["room_bytes"] < 24 * 2**30
    assert one["largest_batch"] > 1000
    learned_s = 3 * (60 // 8) * 8 / one["images_per_s"]
    assert one["hours"] >= learned_s / 3600
    assert one["price"] == pytest.approx(one["hours"] * 2 * 0.5)
    assert found["price"] == one["price"]
    assert one["checkpoint_bytes"] == 12 * one["parameters"]


def test_a_plan_for_this_machine_has_a_pace(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    [one] = said(capsys, config)["plans"]
    assert 0 < one["images_per_s"] < one["step_images_per_s"]
    assert one["images_per_s"] < one["loader_images_per_s"]
    assert one["hours"] > 0
    assert one["tensor_bytes"] < one["memory_bytes"] < one["room_bytes"]
    assert one["price"] is None


def test_a_batch_that_does_not_fit_is_told_with_what_would(config: Path) -> None:
    with pytest.raises(DoesNotFit) as told:
        plan(config, ["batch_size=1000000"], images=2_000_000, gpus="1xL4", price=None, as_json=True)
    words = str(told.value)
    assert "tiny: batch_size=1000000 needs" in words
    assert "the largest that fits is" in words
    assert "grad_checkpointing=true" in words
    fits = dict(word.split("=") for word in words.split() if word.startswith(("batch_size=", "accumulation=")))
    assert int(fits["batch_size"]) * int(fits["accumulation"].rstrip(";")) == 1_000_000


def test_not_even_one_image_may_fit() -> None:
    job = Job("huge", check_config({"data": "x", "grad_checkpointing": True}, where="c"), Images(16))
    sizes = {"memory_bytes": 9 * 2**30, "tensor_bytes": 9 * 2**30, "room_bytes": 2**30, "largest_batch": 0}
    paces = dict.fromkeys(
        ("step_images_per_s", "images_per_s", "loader_images_per_s", "hours", "gflops_per_image"), 1.0
    )
    huge = Plan(
        "huge",
        1,
        10,
        10,
        batch_size=16,
        devices=1,
        images=16,
        epochs=1,
        checkpoint_bytes=1,
        price=None,
        **sizes,
        **paces,
    )
    assert _no_room(job, huge) == (
        "huge: batch_size=16 needs 9.0 GiB on each device, which has 1.0 GiB: not even one image fits; "
        "step_in_backward=true would need less memory; else choose a smaller model or image_px, or a larger device"
    )


def test_pre_training_and_comparisons_are_planned(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    keys = {key: value for key, value in TINY.items() if key != "epochs"}
    pretrain = tmp_path / "mae.yaml"
    pretrain.write_text(json.dumps(TINY | {"method": "mae", "neighbors": 10}), encoding="utf-8")
    [one] = said(capsys, pretrain, gpus="1xL4")["plans"]
    assert one["images"] == 100
    compare = tmp_path / "compare.yaml"
    inits = [{"name": "none"}, {"name": "own", "pretrain": str(pretrain)}, {"name": "again", "pretrain": str(pretrain)}]
    grid = {"finetune": keys | {"epochs": 2}, "inits": inits, "seeds": [0, 1], "fractions": [1.0, 0.5]}
    compare.write_text(json.dumps(grid), encoding="utf-8")
    found = said(capsys, compare, gpus="1xL4")["plans"]
    assert [(each["name"], each["times"], each["epochs"]) for each in found] == [
        ("pretrain own", 1, 3),
        *((f"{name}, {way}", times, epochs)
          for name in ("none", "own", "again")
          for way, times, epochs in (("probe", 1, 1), ("finetune", 2, 2), ("finetune, 50% of the labels", 2, 4))),
    ]  # fmt: skip
    assert found[1]["learning"] == 0


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({}, Images(600, 200, 200)),
        ({"split": "80:10:10"}, Images(800, 100, 100)),
        ({"split": "80:20"}, Images(640, 160, 200)),
        ({"split": "a.csv"}, Images(600, 200, 200)),
    ],
)
def test_a_number_is_parted_as_the_configuration_parts(keys: dict[str, Any], expected: Images) -> None:
    assert counted(check_config({"data": "x", **keys}, where="c"), images=1000) == expected


def test_data_that_is_there_is_counted(tmp_path: Path) -> None:
    for kind in ("a", "b"):
        (tmp_path / kind).mkdir()
        for number in range(10):
            (tmp_path / kind / f"{number}.png").write_bytes(b"never opened")
    words = {"data": str(tmp_path), "batch_size": 2}
    assert counted(check_config(words, where="c"), images=None) == Images(12, 4, 4)
    found = counted(
        check_config({**words, "method": "mae", "neighbors": 5}, where="c", kind=PretrainConfig), images=None
    )
    assert found == Images(20, 0)  # folders are no labels to a pre-training


def test_what_cannot_be_planned_is_said() -> None:
    with pytest.raises(ConfigError, match="say with --images how many"):
        counted(check_config({"data": "nowhere"}, where="c"), images=None)
    with pytest.raises(ConfigError, match="12 training images do not fill one step of 16"):
        counted(check_config({"data": "nowhere"}, where="c"), images=20)


def test_a_configuration_is_known_by_its_keys() -> None:
    assert kind_of_config({"data": "x"}) is FinetuneConfig
    assert kind_of_config({"data": "x", "method": "simclr"}) is PretrainConfig
    assert kind_of_config({"finetune": {}, "inits": []}) is CompareConfig


@pytest.mark.parametrize("path", sorted((Path(__file__).parents[2] / "configs").rglob("*.yaml")), ids=lambda p: p.stem)
def test_every_config_can_be_taken_apart(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from eyeground.cli.config_file import load_config, read_values

    monkeypatch.chdir(path.parents[2])
    for name in re.findall(
        r"\$\{(\w+)\}", "".join(each.read_text("utf-8") for each in path.parents[1].rglob("*.yaml"))
    ):
        monkeypatch.setenv(name, "somewhere")
    config: Any = load_config(path, kind=kind_of_config(read_values(path)))
    assert jobs_of(config, name=path.stem, images=100_000)


def test_the_program_says_it_in_one_message(config: Path) -> None:
    words = [sys.executable, "-m", "eyeground", "plan", str(config), "--images", "100", "--json", "--gpus"]
    done = subprocess.run([*words, "4xTPU"], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("error: --gpus '4xTPU': no GPU called 'TPU'")
    assert json.loads(done.stdout)["kind"] == "GpuUnknown"
