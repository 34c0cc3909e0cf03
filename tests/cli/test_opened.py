"""What computes for a bundle where nobody named a runtime, and that opening one does not import torch."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from eyeground.cli.opened import open_predictor, usual_of
from eyeground.serve.bundle import Bundle, open_bundle
from tests.serve.packed import pack


@pytest.fixture
def bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bundle:
    """A transformer, packed for torch, that says it holds ONNX too."""
    monkeypatch.setattr("eyeground.cli.opened.processor", lambda: "plain")
    monkeypatch.setattr("eyeground.serve.runtimes.onnx.missing", lambda: "")
    monkeypatch.setattr("eyeground.serve.choice.MEASURED", {("plain", "transformer"): {("onnx", "fp32"): (1.4, 0.8)}})
    pack(tmp_path / "b")
    opened = open_bundle(tmp_path / "b")
    record = opened.record | {"runtimes": {"torch": {"fp32": {}}, "onnx": {"fp32": {}}}}  # type: ignore[operator]
    return Bundle(opened.folder, opened.contract, record, opened.id, opened.files)


def test_torch_computes_on_an_accelerator_and_the_fastest_on_the_processor(bundle: Bundle) -> None:
    found = usual_of(bundle, device="cuda", alone=True)
    assert (found.runtime, found.precision, found.reason) == (
        "torch",
        "fp32",
        "the one that computes on an accelerator",
    )
    assert usual_of(bundle, device="cuda", alone=True, wanted="bf16").precision == "bf16"
    assert usual_of(bundle, device="cpu", alone=True).runtime == "onnx"
    assert usual_of(bundle, device="cpu", alone=False).runtime == "torch"


@pytest.mark.parametrize(("batch_size", "images"), [(1, 0), (32, 1), (32, 0), (32, 2)])
def test_one_image_is_asked_about_alone(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], batch_size: int, images: int
) -> None:
    asked: dict[str, Any] = {}

    class Silent:
        description = "stand-in on cpu, fp32"

    def opens(self: Bundle, name: str, **more: Any) -> Silent:
        asked.update(name=name, **more)
        return Silent()

    monkeypatch.setattr("eyeground.cli.opened.open_bundle", lambda folder: bundle)
    monkeypatch.setattr(Bundle, "open_runtime", opens)
    open_predictor(bundle.folder, device="cpu", batch_size=batch_size, images=images)
    alone = 1 in (batch_size, images)
    assert (asked["name"], asked["precision"]) == ("onnx" if alone else "torch", "fp32")
    told = capsys.readouterr().err
    assert ("stand-in on cpu, fp32: 1.4 times torch's pace" in " ".join(told.split())) is alone
    open_predictor(bundle.folder, runtime="torch", device="cpu")
    assert asked["name"] == "torch"
    assert "stand-in" not in capsys.readouterr().err  # whoever names one knows why


def test_what_predicts_is_imported_without_torch_and_scipys_optimizers() -> None:
    code = (
        "import sys, eyeground.cli.answers, eyeground.serve.graph_child; from eyeground.pick import pick\n"
        "pick('serve.runtimes', 'onnx'); pick('serve.runtimes', 'openvino')\n"
        "print(sorted({'torch', 'timm', 'lightning_fabric', 'scipy.optimize', 'onnx'} & set(sys.modules)))"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"
