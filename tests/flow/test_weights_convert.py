"""``eyeground weights convert`` and ``verify`` on the command line."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from eyeground.model.certificate import certificate_of
from eyeground.model.untrusted import open_foreign
from eyeground.model.weights import write_weights
from tests.flow.tables import Answer

Call = Callable[..., Answer]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("converted")


def test_a_run_becomes_a_file_with_a_certificate(trained: Path, made: Path, phantoms: Path, eyeground: Call) -> None:
    out = made / "run.safetensors"
    words = ("--to", "safetensors", "--out", out, "--images", phantoms / "images", "--threads", 1, "--json")
    done = eyeground("weights", "convert", trained, *words)
    assert done.code == 0, done.err
    told = json.loads(done.out)
    assert done.out.count("\n") == 1
    assert (told["proved"], told["problems"], told["logits_max_error"]) == (True, [], 0.0)
    assert told["images"] == "16 images of images"
    kept = json.loads(certificate_of(out).read_text())
    assert kept == {key: value for key, value in told.items() if key not in ("out", "certificate")}
    assert "blocks.3" in done.err
    # Such a file is a start like any other, and the same network as the run.
    same = eyeground("weights", "verify", out, "--against", trained, "--threads", 1)
    assert same.code == 0, same.err
    assert "its certificate is bound to it" in same.out


def test_files_that_differ_are_told_to_a_program_too(
    trained: Path, made: Path, tmp_path: Path, eyeground: Call
) -> None:
    out = tmp_path / "first.safetensors"
    assert eyeground("weights", "convert", trained, "--to", "safetensors", "--out", out, "--threads", 1).code == 0
    tensors = open_foreign(out).tensors
    other = tmp_path / "other.safetensors"
    write_weights(other, tensors | {"head.bias": tensors["head.bias"] + np.float32(0.5)})
    done = eyeground("weights", "verify", other, "--against", out, "--threads", 1, "--json")
    assert done.code == 1
    told = json.loads(done.out)
    assert told["unequal"] == ["head.bias"]
    assert [row["layer"] for row in told["layers"] if row["max_error"] > 0.4] == ["head"]
    assert not told["proved"]
    assert not told["certificate_bound"]


@pytest.mark.parametrize(
    ("to", "name", "told"),
    [
        ("paddle", "x.ckpt", "paddle files end in .pdparams"),
        ("onnx", "no/folder/x.onnx", "there is no folder"),
        ("safetensors", "there.safetensors", "already there; choose another name, or say --force"),
    ],
)
def test_a_place_that_cannot_be_is_refused_before_anything(
    trained: Path, tmp_path: Path, eyeground: Call, to: str, name: str, told: str
) -> None:
    (tmp_path / "there.safetensors").write_bytes(b"mine")
    done = eyeground("weights", "convert", trained, "--to", to, "--out", tmp_path / name)
    assert done.code == 2
    assert told in done.err
    assert (tmp_path / "there.safetensors").read_bytes() == b"mine"
    assert len(list(tmp_path.iterdir())) == 1


def test_what_is_none_of_our_networks_is_refused(tmp_path: Path, eyeground: Call) -> None:
    path = tmp_path / "strange.safetensors"
    write_weights(path, {"conv.weight": np.zeros((3, 3), np.float32)})
    done = eyeground("weights", "convert", path, "--to", "safetensors", "--out", tmp_path / "out.safetensors")
    assert done.code == 2
    assert "none of our networks: it lacks cls_token" in done.err
    done = eyeground("weights", "convert", tmp_path / "nothing.pth", "--to", "onnx", "--out", tmp_path / "out.onnx")
    assert done.code == 2
    assert "no such weights file" in done.err
    done = eyeground("weights", "convert", tmp_path, "--to", "onnx", "--out", tmp_path / "out.onnx")
    assert done.code == 1
    assert "not a run" in done.err


@pytest.mark.parametrize("framework", ["paddle", "mindspore"])
def test_a_missing_framework_is_one_sentence(
    framework: str, trained: Path, tmp_path: Path, eyeground: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"EYEGROUND_{framework.upper()}_PYTHON", str(tmp_path / "nothing"))
    suffix = {"paddle": ".pdparams", "mindspore": ".ckpt"}[framework]
    done = eyeground("weights", "convert", trained, "--to", framework, "--out", tmp_path / f"x{suffix}")
    assert done.code == 2
    assert f"the Python that {framework} is installed in" in done.err
    assert list(tmp_path.iterdir()) == []
