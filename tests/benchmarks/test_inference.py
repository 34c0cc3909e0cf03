"""The parts of the benchmark run on a tiny network, and both sides compute the same."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks import inference
from benchmarks.claim import Claim
from eyeground.model.spec import ModelSpec
from eyeground.model.torch.network import build
from eyeground.pick import pick

SMALL = ModelSpec("mobilenetv2_050", classes=3, image_px=64)


def test_both_sides_compute_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the same weights: what is compared is how fast, not what."""
    import timm

    torch.manual_seed(0)
    inference.write(SMALL, tmp_path, [("torch", "fp32")])
    runtime = pick("serve.runtimes", "torch").open_runtime(tmp_path, spec=SMALL, precision="fp32", threads=1)
    from eyeground.model.weights import read_weights

    made = timm.create_model

    def filled(*words: object, **more: object) -> torch.nn.Module:
        network = made(*words, **more)
        network.load_state_dict(
            {name: torch.from_numpy(a) for name, a in read_weights(tmp_path / "weights.safetensors").items()}
        )
        return network

    monkeypatch.setattr(timm, "create_model", filled)
    images = inference.pictures(SMALL, 2)
    assert images.std() > 0.9
    wanted = np.asarray(inference.plain(SMALL, threads=1)(images))
    np.testing.assert_allclose(runtime.outputs(images), wanted, atol=1e-5 * np.abs(wanted).max())


def test_a_claim_tells_why_it_was_chosen_and_what_the_others_gave(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inference, "matrix_rate", lambda dtype: 1e9)
    monkeypatch.setattr(inference, "processor", lambda: "plain")
    figures = {"timm": [2.0, 4.0], "torch fp32": [1.0, 2.0], "onnx fp32": [6.0, 10.0]}
    found = inference.claim(SMALL, 8, figures, [("torch", "fp32"), ("onnx", "fp32")])
    assert isinstance(found, Claim)
    assert (found.ours, found.reference, found.gains) == (8, 3, (3, 2.5))
    assert "times torch's pace" in found.note
    assert "median of the rounds' gains 2.75, of torch fp32 0.50" in found.note
    assert math.isnan(found.goal)
    assert found.ceiling == pytest.approx(1e9 / inference.flops(SMALL))


def test_operations_are_twice_the_multiplications() -> None:
    """Of a network small enough to count by hand: each convolution and the classifier."""
    network, count = build(SMALL).eval(), 0

    def add(layer: torch.nn.Module, _: object, out: torch.Tensor) -> None:
        nonlocal count
        count += 2 * out[0].numel() * layer.weight[0].numel()  # type: ignore[operator, index, union-attr]

    for layer in network.modules():
        if isinstance(layer, torch.nn.Conv2d | torch.nn.Linear):
            layer.register_forward_hook(add)
    with torch.inference_mode():
        network(torch.zeros(1, 3, 64, 64))
    assert inference.flops(SMALL) == count


def test_each_has_its_turn_in_every_round(tmp_path: Path) -> None:
    inference.write(SMALL, tmp_path, [("torch", "fp32")])
    found = inference.paces(SMALL, tmp_path, [("torch", "fp32")], batch=1, rounds=2, threads=1)
    assert {name: len(each) for name, each in found.items()} == {"timm": 2, "torch fp32": 2}
    assert all(rate > 0 for each in found.values() for rate in each)


def test_processor_time_is_of_the_same_runtimes(tmp_path: Path) -> None:
    ways = [("torch", "fp32"), *([("onnx", "fp32")] if not pick("serve.runtimes", "onnx").missing() else [])]
    inference.write(SMALL, tmp_path, ways)  # type: ignore[arg-type]
    found = inference.processor_paces(SMALL, tmp_path, ways, batch=2, rounds=1)  # type: ignore[arg-type]
    assert set(found) == {"timm", *(" ".join(way) for way in ways)}
    assert all(rate > 0 for each in found.values() for rate in each)
