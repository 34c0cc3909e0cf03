"""Every runtime says what torch says, from files that are the same each time; what is not there says what to do."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eyeground.model.spec import ModelSpec
from eyeground.model.torch.engine import TorchEngine
from eyeground.model.weights import WeightsRefused
from eyeground.pick import names, pick
from eyeground.serve.runtime import RuntimeMissing
from eyeground.serve.runtimes import _graph
from eyeground.serve.runtimes import torch as torch_runtime

from .graphs import CONVNET, VIT, needs_openvino, noise, weights_of

SPECS = {"vit": VIT, "convnet": CONVNET}
# What may be off, of the largest output: float32 adds up in another order; the others round.
CLOSE = {"fp32": 2e-5, "bf16": 0.1, "int8": 0.3}
FILES = [(name, precision) for name in names("serve.runtimes") for precision in pick("serve.runtimes", name).FILES]


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """All files of both networks, as far as they can be written here; torch exports each network once."""
    made: dict[str, Path] = {}
    for kind, spec in SPECS.items():
        made[kind] = tmp_path_factory.mktemp(kind)
        with pytest.MonkeyPatch.context() as patched:
            if any(importlib.util.find_spec(each) is None for each in ("onnx", "onnxscript")):
                written = [("torch", "fp32")]
            else:
                written, content = FILES, _graph.plain_graph(spec, weights_of(spec)).SerializeToString()
                for name in ("onnx", "openvino"):
                    patched.setattr(pick("serve.runtimes", name), "plain_graph", lambda *_, c=content: parsed(c))
            for name, precision in written:
                runtime = pick("serve.runtimes", name)
                if not runtime.missing():
                    runtime.write(
                        spec, weights_of(spec), made[kind], precision=precision, calibration_images=noise(spec, 16)
                    )
    return made


def parsed(content: bytes) -> Any:
    import onnx

    return onnx.load_model_from_string(content)


def opened(folder: Path, name: str, precision: str, spec: ModelSpec, **more: Any) -> Any:
    """A runtime, or skip where it is not installed."""
    runtime = pick("serve.runtimes", name)
    if hint := runtime.missing():
        pytest.skip(f"needs {hint}")
    return runtime.open_runtime(folder, spec=spec, precision=precision, threads=1, **more)


def reference(spec: ModelSpec) -> TorchEngine:
    return TorchEngine(spec, tensors=weights_of(spec), device="cpu", precision="fp32")


def test_the_shelf_offers_what_it_should() -> None:
    assert names("serve.runtimes") == ("onnx", "openvino", "torch")
    assert {(name, precision) for name, precision in FILES} == {
        ("torch", "fp32"), ("torch", "bf16"), ("onnx", "fp32"), ("onnx", "int8"), ("openvino", "fp32"),
        ("openvino", "bf16"),
    }  # fmt: skip


@pytest.mark.parametrize("kind", SPECS)
@pytest.mark.parametrize(("name", "precision"), FILES)
def test_every_runtime_says_what_torch_says(bundles: dict[str, Path], kind: str, name: str, precision: str) -> None:
    spec = SPECS[kind]
    images = noise(spec, 5, seed=3)
    wanted = reference(spec).outputs(images)
    runtime = opened(bundles[kind], name, precision, spec)
    found = runtime.outputs(images)
    assert found.shape == wanted.shape
    assert found.dtype == np.float32
    assert np.ptp(wanted) > 0.5  # there is something to say
    assert np.abs(found - wanted).max() < CLOSE[precision] * np.abs(wanted).max()
    # One image alone is told the same, up to rounding: N is free.
    assert np.abs(runtime.outputs(images[2:3]) - found[2:3]).max() < CLOSE[precision] * np.abs(wanted).max()
    assert precision in runtime.description
    runtime.close()
    with pytest.raises(RuntimeError, match="was closed"):
        runtime.outputs(images)


def test_what_predict_makes_scores_of_are_the_outputs() -> None:
    engine, images = reference(VIT), noise(VIT, 3)
    logits = engine.outputs(images).astype(np.float64)
    raised = np.exp(logits)
    assert np.allclose(engine.predict(images), raised / raised.sum(axis=1, keepdims=True), atol=1e-6)


def test_the_same_weights_give_the_same_bytes(bundles: dict[str, Path], tmp_path: Path) -> None:
    for name, precision in FILES:
        runtime = pick("serve.runtimes", name)
        if not runtime.missing():
            runtime.write(VIT, weights_of(VIT), tmp_path, precision=precision, calibration_images=noise(VIT, 16))
    for path in tmp_path.iterdir():
        assert path.read_bytes() == (bundles["vit"] / path.name).read_bytes(), path.name
        assert os.fsencode(Path(__file__).parents[2]) not in path.read_bytes()  # torch notes where its code lies
    assert len(list(tmp_path.iterdir())) > 1 or pick("serve.runtimes", "onnx").missing()


def test_weights_that_lie_there_stay(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    path.write_bytes(b"with metadata of its own")
    pick("serve.runtimes", "torch").write(VIT, weights_of(VIT), tmp_path, precision="bf16", calibration_images=None)
    assert path.read_bytes() == b"with metadata of its own"


@pytest.mark.parametrize(("name", "precision"), FILES)
def test_a_file_that_is_not_there_says_what_to_do(tmp_path: Path, name: str, precision: str) -> None:
    with pytest.raises(RuntimeMissing, match=rf"holds no \S+.* which the runtime {name} needs in {precision}; export"):
        pick("serve.runtimes", name).open_runtime(tmp_path, spec=VIT, precision=precision)


@pytest.mark.parametrize(("name", "precision"), [("torch", "int8"), ("onnx", "bf16"), ("openvino", "int8")])
def test_a_precision_that_is_not_offered_says_which_are(tmp_path: Path, name: str, precision: str) -> None:
    runtime = pick("serve.runtimes", name)
    with pytest.raises(RuntimeMissing, match=rf"{name} does not compute in {precision}: it offers fp32, "):
        runtime.open_runtime(tmp_path, spec=VIT, precision=precision)
    with pytest.raises(ValueError, match=rf"{precision}: choose fp32 or "):
        runtime.write(VIT, {}, tmp_path, precision=precision, calibration_images=None)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("name", "extra"), [("onnx", "onnx"), ("openvino", "openvino")])
def test_a_runtime_that_is_not_installed_says_how_to(
    bundles: dict[str, Path], monkeypatch: pytest.MonkeyPatch, name: str, extra: str
) -> None:
    runtime = pick("serve.runtimes", name)
    if runtime.missing():
        pytest.skip("its files could not be written")
    monkeypatch.setattr(_graph.importlib.util, "find_spec", lambda name: None)
    assert runtime.missing() == f"pip install 'eyeground[{extra}]'"
    with pytest.raises(RuntimeMissing, match=rf"{name} is not installed: pip install 'eyeground\[{extra}\]'"):
        runtime.open_runtime(bundles["vit"], spec=VIT, precision="fp32")


@pytest.mark.parametrize("name", ["onnx", "openvino"])
def test_graphs_run_on_the_processor_only(bundles: dict[str, Path], name: str) -> None:
    with pytest.raises(ValueError, match="not on 'cuda': choose device=cpu, or torch"):
        opened(bundles["vit"], name, "fp32", VIT, device="cuda")


@pytest.mark.parametrize(("name", "precision"), FILES)
def test_another_networks_files_are_refused(bundles: dict[str, Path], name: str, precision: str) -> None:
    other = ModelSpec(VIT.name, classes=4, image_px=VIT.image_px)
    if name == "torch":  # a head of another size is what a new task begins with; the network's own weights are not
        other = ModelSpec("vit_mini_patch16", classes=3, image_px=VIT.image_px)
    with pytest.raises(WeightsRefused):
        opened(bundles["vit"], name, precision, other)


def test_int8_needs_images(tmp_path: Path) -> None:
    onnx = pick("serve.runtimes", "onnx")
    for images in (None, noise(VIT, 0)):
        with pytest.raises(ValueError, match="int8 needs images to measure the ranges on"):
            onnx.write(VIT, {}, tmp_path, precision="int8", calibration_images=images)


def test_int8_is_small_and_holds_no_image(bundles: dict[str, Path]) -> None:
    if pick("serve.runtimes", "onnx").missing():
        pytest.skip("needs pip install 'eyeground[onnx]'")
    small, whole = (bundles["convnet"] / name for name in ("model.int8.onnx", "model.onnx"))
    assert small.stat().st_size < 0.35 * whole.stat().st_size
    assert noise(CONVNET, 16).tobytes()[:64] not in small.read_bytes()


@needs_openvino
def test_bf16_says_so_where_the_processor_has_none(bundles: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"):
        monkeypatch.setattr(f"torch.cpu.{name}", lambda: False)
    torch = opened(bundles["vit"], "torch", "bf16", VIT)
    assert torch.description.endswith("this processor has no bf16: it is imitated, slower than fp32")
    # OpenVINO is asked in its own process, so the check is made of what it answers there.
    code = """
import sys
from pathlib import Path
from eyeground.serve.runtimes import openvino
class Core(openvino._openvino().Core):
    def get_property(self, device, name):
        return ["FP32"] if name == "OPTIMIZATION_CAPABILITIES" else super().get_property(device, name)
openvino._openvino().Core = Core
contents = [Path(sys.argv[1], name).read_bytes() for name in ("model.xml", "model.bin")]
words = {"outputs": 3, "image_px": 32, "precision": "bf16", "threads": 1}
print(openvino.open_graph(lambda: contents, confine=lambda: None, **words)[0])
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(bundles["vit"])], capture_output=True, text=True, check=False
    )
    assert done.stdout.strip().endswith("on cpu, fp32, for this processor has no bf16"), done.stderr


def test_an_accelerator_is_looked_for_without_torch(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(torch_runtime.platform, "system", lambda: "Linux")
    monkeypatch.setattr(torch_runtime, "_ACCELERATORS", (str(tmp_path / "gone"),))
    found = {device: torch_runtime.accelerated(device) for device in ("auto", "cpu", "cuda", "mps")}
    assert found == {"auto": False, "cpu": False, "cuda": True, "mps": True}
    monkeypatch.setattr(torch_runtime, "_ACCELERATORS", (os.devnull,))
    import torch

    for there in (True, False):
        monkeypatch.setattr(torch.accelerator, "is_available", lambda there=there: there)
        assert torch_runtime.accelerated("auto") is there
