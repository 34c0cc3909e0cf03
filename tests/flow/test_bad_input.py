"""Bad input: one clear message, nothing half-written, and the exit code says so."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from eyeground.model.weights import read_weights, write_weights
from tests.flow.tables import Answer, read_table, write_table

Call = Callable[..., Answer]


def refused(answer: Answer, *words: str, code: int = 2) -> None:
    assert answer.code == code, answer.err
    assert "Traceback" not in answer.err
    for word in words:
        assert word in answer.err


def test_data_that_cannot_be_judged_is_refused_before_training(config: Path, tmp_path: Path, eyeground: Call) -> None:
    out = f"out={tmp_path / 'run'}"
    refused(eyeground("finetune", config, "split=80:0:20", out), "no image is in the split 'val'")
    refused(eyeground("finetune", config, "batch_size=30", "accumulation=3", out), "do not fill one step of 90")
    refused(eyeground("finetune", config, "select_by=auroc", out), "no metric 'auroc'")
    refused(eyeground("finetune", config, "rand_augment=nonsense", out), "is not understood by timm")
    refused(eyeground("finetune", config, "crop_scale=[1, 0.5]", "betas=[2, 2]", out), "crop_scale", "betas")
    refused(eyeground("finetune", config, "model_options.checkpoint_path=x", out), "may not hold checkpoint_path")
    assert not (tmp_path / "run").exists()


def test_images_that_changed_since_the_run_began(config: Path, phantoms: Path, tmp_path: Path, eyeground: Call) -> None:
    copy = shutil.copytree(phantoms / "images", tmp_path / "images")
    data = f"data=[{{path: {copy}, table: {phantoms / 'labels.csv'}, name: phantoms}}]"
    assert eyeground("finetune", config, data, f"out={tmp_path / 'run'}", "epochs=1").code == 0
    first, second = sorted(copy.iterdir())[:2]
    first.write_bytes(second.read_bytes())
    refused(eyeground("finetune", "--resume", tmp_path / "run"), first.name)


def test_a_config_typo(config: Path, tmp_path: Path, eyeground: Call) -> None:
    answer = eyeground("finetune", config, "epoch=3", f"out={tmp_path / 'run'}", "--json")
    refused(answer, "epoch: unknown key; did you mean 'epochs'?")
    assert json.loads(answer.out)["kind"] == "ConfigError"
    assert not (tmp_path / "run").exists()


def test_missing_and_broken_images_are_all_named(phantoms: Path, config: Path, tmp_path: Path, eyeground: Call) -> None:
    rows = read_table(phantoms / "labels.csv")
    broken = tmp_path / "images"
    broken.mkdir()
    for number, row in enumerate(rows):
        content = (phantoms / "images" / row["file"]).read_bytes()
        if number == 3:
            continue
        (broken / row["file"]).write_bytes(content[:150] if number in (5, 9) else content)
    data = f"data=[{{path: {broken}, table: {phantoms / 'labels.csv'}}}]"
    answer = eyeground("finetune", config, data, f"out={tmp_path / 'run'}")
    refused(answer, rows[3]["file"], "row 5")
    assert not (tmp_path / "run").exists()
    (broken / rows[3]["file"]).write_bytes((phantoms / "images" / rows[3]["file"]).read_bytes())
    answer = eyeground("finetune", config, data, f"out={tmp_path / 'run'}")
    refused(answer, rows[5]["file"], rows[9]["file"])
    assert not (tmp_path / "run").exists()


def test_a_split_that_leaks(phantoms: Path, config: Path, trained: Path, tmp_path: Path, eyeground: Call) -> None:
    rows = read_table(trained / "split.csv")
    first = rows[0]
    twin = next(row for row in rows if row["patient"] == first["patient"] and row is not first)
    twin["split"] = "test" if first["split"] != "test" else "train"
    leaking = write_table(tmp_path / "split.csv", rows)
    answer = eyeground("finetune", config, f"split={leaking}", f"out={tmp_path / 'run'}")
    refused(answer, first["patient"])
    assert not (tmp_path / "run").exists()


def test_the_same_image_in_two_splits(phantoms: Path, config: Path, tmp_path: Path, eyeground: Call) -> None:
    rows = read_table(phantoms / "labels.csv")
    images = tmp_path / "images"
    images.mkdir()
    for number, row in enumerate(rows):
        row["part"] = ("train", "train", "val", "test")[number // 2 % 4]
        source = rows[0] if number == 6 else row
        (images / row["file"]).write_bytes((phantoms / "images" / source["file"]).read_bytes())
    rows[6]["label"] = rows[0]["label"]
    table = write_table(tmp_path / "labels.csv", rows)
    answer = eyeground(
        "finetune", config, f"data=[{{path: {images}, table: {table}, split: part}}]", f"out={tmp_path / 'run'}"
    )
    refused(answer, "a leak", rows[0]["file"], rows[6]["file"])
    assert not (tmp_path / "run").exists()


def test_weights_of_another_network(config: Path, trained: Path, tmp_path: Path, eyeground: Call) -> None:
    refused(
        eyeground("finetune", config, f"weights={trained}", "model=vit_mini_patch16", f"out={tmp_path / 'run'}"),
        "do not belong",
    )
    refused(
        eyeground("finetune", config, "weights=nowhere.safetensors", f"out={tmp_path / 'run'}"), "no such weights file"
    )
    refused(eyeground("finetune", config, "model=vit_larg", f"out={tmp_path / 'run'}"), "vit_larg")
    assert not (tmp_path / "run").exists()


def test_nan_in_the_weights_file(config: Path, trained: Path, tmp_path: Path, eyeground: Call) -> None:
    source = next((trained / "checkpoints").glob("step-*/weights.safetensors"))
    tensors = read_weights(source)
    tensors["norm.bias" if "norm.bias" in tensors else "cls_token"] = np.full_like(tensors["cls_token"], np.nan)
    write_weights(tmp_path / "nan.safetensors", tensors)
    refused(
        eyeground("finetune", config, f"weights={tmp_path / 'nan.safetensors'}", f"out={tmp_path / 'run'}"),
        "NaN or infinity",
    )
    assert not (tmp_path / "run").exists()


def test_a_loss_that_is_not_finite(config: Path, tmp_path: Path, eyeground: Call) -> None:
    answer = eyeground("finetune", config, "lr=1e30", "warmup_epochs=0", "layer_decay=1", f"out={tmp_path / 'run'}")
    refused(answer, "the loss became nan", "Try a lower lr", code=1)
    assert not (tmp_path / "run" / "metrics.json").exists()


def test_a_folder_in_use_or_already_there(config: Path, trained: Path, eyeground: Call) -> None:
    before = (trained / "metrics.json").read_bytes()
    refused(eyeground("finetune", config, f"out={trained}"), "already there", "--resume")
    assert (trained / "metrics.json").read_bytes() == before


def test_not_a_run(tmp_path: Path, phantoms: Path, eyeground: Call) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    refused(eyeground("predict", empty, phantoms / "images", "--out", tmp_path / "p.csv"), "not a run", code=1)
    assert not (tmp_path / "p.csv").exists()
    refused(eyeground("finetune", "--resume", tmp_path), "no config.yaml")
    refused(eyeground("finetune"), "give a CONFIG")


def test_predict_without_images(trained: Path, tmp_path: Path, eyeground: Call) -> None:
    out = ("--out", tmp_path / "p.csv")
    refused(eyeground("predict", trained, tmp_path / "none", *out), "no such file or folder")
    refused(eyeground("predict", trained, tmp_path, *out), "no images in")
    assert not (tmp_path / "p.csv").exists()


def test_a_full_disk_while_a_checkpoint_is_written(
    config: Path, tmp_path: Path, eyeground: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    from eyeground.train import checkpoint

    real, calls = checkpoint._write, [0]

    def full(path: Path, content: bytes) -> None:
        calls[0] += 1
        if calls[0] == 5:  # in the second checkpoint
            raise OSError(28, "No space left on device")
        real(path, content)

    monkeypatch.setattr(checkpoint, "_write", full)
    answer = eyeground("finetune", config, f"out={tmp_path / 'run'}")
    refused(answer, "No space left on device", "free some space, then resume", code=1)
    assert not list((tmp_path / "run" / "checkpoints").glob(".*.part"))
    monkeypatch.setattr(checkpoint, "_write", real)
    answer = eyeground("finetune", "--resume", tmp_path / "run", "--json")
    assert answer.code == 0, answer.err
    assert len(read_table(tmp_path / "run" / "metrics_val.csv")) == 2
