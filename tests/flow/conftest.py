"""A tiny phantom set, a run trained on it, the bundle of that run, and the command line called in this process."""

import importlib.util
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from eyeground.cli.main import main
from eyeground.data.phantom import write_set
from tests.flow.tables import Answer

# Small enough that an epoch takes about a second.
TINY = (
    "model=vit_demo_patch8",
    "image_px=32",
    "epochs=2",
    "batch_size=8",
    "lr=1e-3",
    "warmup_epochs=1",
    "resamples=100",
    "device=cpu",
    "precision=fp32",
    "threads=1",
    "store_px=48",
)


@pytest.fixture
def eyeground(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Callable[..., Answer]:
    """Call the command line as the console script does."""

    def call(*words: object) -> Answer:
        monkeypatch.setattr(sys, "argv", ["eyeground", *map(str, words)])
        capfd.readouterr()
        code = 0
        try:
            main()
        except SystemExit as stop:
            code = int(stop.code or 0)
        out, err = capfd.readouterr()
        return Answer(code, out, err)

    return call


@pytest.fixture(scope="session")
def phantoms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixty eyes of thirty patients, three classes."""
    folder = tmp_path_factory.mktemp("phantoms") / "set"
    write_set(folder, modality="fundus", diseases=("normal", "dr3", "cataract"), patients=30, seed=0, size_px=64)
    return folder


@pytest.fixture(scope="session")
def config(tmp_path_factory: pytest.TempPathFactory, phantoms: Path) -> Path:
    """A configuration for that set."""
    path = tmp_path_factory.mktemp("config") / "tiny.yaml"
    path.write_text(
        f"data: [{{path: {phantoms / 'images'}, table: {phantoms / 'labels.csv'}, name: phantoms}}]\n"
        + "".join(word.replace("=", ": ", 1) + "\n" for word in TINY),
        encoding="utf-8",
    )
    return path


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory, config: Path) -> Path:
    """A finished run."""
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    succeeded("finetune", config, f"out={folder}")
    return folder


@pytest.fixture(scope="session")
def calibrated(tmp_path_factory: pytest.TempPathFactory, trained: Path) -> Path:
    """A copy of that run, calibrated; not to be changed."""
    folder = tmp_path_factory.mktemp("calibrated") / "tiny"
    shutil.copytree(trained, folder)
    succeeded("calibrate", folder, "--coverage", 0.6, "--resamples", 100)
    # Twelve images fit no temperature, and one that changes nothing would show nothing.
    path = folder / "calibration.json"
    told = json.loads(path.read_text("utf-8"))
    told["temperature"] = {"value": 0.25, "low": 0.2, "high": 0.3, "reason": ""}
    path.write_text(json.dumps(told), "utf-8")
    return folder


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory, calibrated: Path) -> Path:
    """That run as a bundle for torch and ONNX Runtime, with its training cases; not to be changed."""
    needs("onnx", "onnxruntime", "onnxscript")
    folder = tmp_path_factory.mktemp("bundles") / "packed"
    succeeded("export", calibrated, "--out", folder, "--to", "onnx", "--cases", "--threads", 1)
    return folder


def succeeded(*words: object) -> None:
    """Call the command line for a fixture, and expect success."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["eyeground", *map(str, words)])
        with pytest.raises(SystemExit) as stop:
            main()
    assert not stop.value.code


def needs(*modules: str) -> None:
    """Skip where something is not installed; nothing is imported to find out."""
    if absent := [name for name in modules if importlib.util.find_spec(name) is None]:
        pytest.skip(f"needs {', '.join(absent)}")
