"""The bundle of the benchmark opens, both ways of asking say the same, and the parts are those of the command."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks import first_answer
from eyeground.model.spec import ModelSpec
from eyeground.pick import pick
from eyeground.serve.bundle import open_bundle

SMALL = ModelSpec("mobilenetv2_050", classes=5, image_px=224)


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A bundle for torch, and a photograph that is square and large enough to be seen by both as it is."""
    folder = tmp_path_factory.mktemp("first")
    first_answer.pack(folder / "bundle", ("torch",), SMALL)
    Image.fromarray(first_answer.draw_fundus("dr2", seed=1, size_px=512).image.pixels).save(folder / "eye.png")
    return folder / "bundle", folder / "eye.png"


def test_the_script_runs_the_bundles_network(packed: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    bundle, image = packed
    opened = open_bundle(bundle)
    words = [
        sys.executable,
        "-c",
        first_answer.SCRIPT,
        SMALL.name,
        "5",
        str(bundle / "weights.safetensors"),
        str(image),
    ]
    [said] = json.loads(subprocess.run(words, capture_output=True, text=True, check=True).stdout)
    from torchvision import transforms

    see = transforms.Compose([
        transforms.Resize((224, 224)), transforms.ToTensor(),
        transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    ])  # fmt: skip
    runtime = opened.open_runtime("torch", threads=1)
    scores = opened.contract.task.scores(runtime.outputs(see(Image.open(image).convert("RGB"))[None].numpy()))
    np.testing.assert_allclose(scores[0], said, atol=1e-6)


def test_the_parts_are_all_there(packed: tuple[Path, Path]) -> None:
    found = first_answer.parts(*packed, "torch", rounds=1)
    assert tuple(found) == first_answer.NAMES
    assert all(seconds > 0 for seconds in found.values())


def test_a_graphs_answer_needs_neither_torch_nor_timm(packed: tuple[Path, Path], tmp_path: Path) -> None:
    if hint := pick("serve.runtimes", "onnx").missing():
        pytest.skip(f"needs {hint}")
    bundle = tmp_path / "bundle"
    first_answer.pack(bundle, ("torch", "onnx"), SMALL)
    words = ["predict", str(bundle), str(packed[1]), "--runtime", "onnx", "--out", str(tmp_path / "p.csv")]
    loaded = first_answer.libraries(words)
    assert {"numpy", "PIL.Image"} <= set(loaded)
    assert not {"torch", "timm", "lightning_fabric"} & set(loaded)
