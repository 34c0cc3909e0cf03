"""Our ViT, its keys, layer decay, learning rate and position embedding against the reference implementations."""

import json
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from eyeground.model import spec as spec_module
from eyeground.model.layer_decay import parameter_rules
from eyeground.model.spec import VIT_SHAPES, ModelSpec, VitShape
from eyeground.model.torch.engine import TorchEngine
from eyeground.model.torch.network import build
from eyeground.model.weights import resize_position_embedding
from eyeground.train.schedule import scaled_learning_rate, warmup_cosine


@pytest.fixture
def small_shape(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(spec_module, "VIT_SHAPES", MappingProxyType({**VIT_SHAPES, "case": VitShape(16, 64, 3, 4)}))
    return "case"


@pytest.mark.parametrize(
    ("case", "pool", "passes", "answer"),
    [
        ("global_pool", "avg", 1, "logits_fc_norm_once"),
        ("global_pool", "avg", 2, "logits_fc_norm_twice"),
        ("cls", "cls", 1, "logits"),
    ],
)
def test_logits_of_the_retfound_head(
    parity: Path, small_shape: str, case: str, pool: str, passes: int, answer: str
) -> None:
    numbers = load_file(parity / "retfound_vit_small_case.safetensors")
    prefix = f"{case}.weights."
    weights = {name.removeprefix(prefix): array for name, array in numbers.items() if name.startswith(prefix)}
    spec = ModelSpec(small_shape, classes=5, image_px=64, pool=pool, fc_norm_passes=passes)
    engine = TorchEngine(spec, tensors=weights, device="cpu", precision="fp32")
    assert engine.load_report is not None
    assert len(engine.load_report.loaded) == len(weights)
    with torch.inference_mode():
        logits = engine._learner.network.eval()(torch.from_numpy(numbers[f"{case}.images"])).numpy()
    assert np.abs(logits - numbers[f"{case}.{answer}"]).max() <= 1e-5
    if passes == 1:
        assert np.abs(engine.features(numbers[f"{case}.images"]) - numbers[f"{case}.features"]).max() <= 1e-5
    # The control: the other number of passes is another network.
    if pool == "avg":
        other = TorchEngine(replace(spec, fc_norm_passes=3 - passes), tensors=weights, device="cpu", precision="fp32")
        with torch.inference_mode():
            wrong = other._learner.network.eval()(torch.from_numpy(numbers[f"{case}.images"])).numpy()
        assert np.abs(wrong - numbers[f"{case}.{answer}"]).max() > 0.1


def test_vit_large_has_the_reference_keys_shapes_and_size(parity: Path) -> None:
    expected = json.loads((parity / "retfound_vit_large_keys.json").read_text())
    with torch.device("meta"):
        network = build(ModelSpec("vit_large_patch16", classes=5))
    shapes = {name: list(tensor.shape) for name, tensor in network.state_dict().items()}
    assert shapes == expected
    assert len(shapes) == 296
    assert sum(parameter.numel() for parameter in network.parameters()) == 303_306_757


def test_every_layer_decay_entry(parity: Path) -> None:
    expected = json.loads((parity / "vit_large_layer_decay.json").read_text())
    rules = parameter_rules({n: e["shape"] for n, e in expected.items()}, layer_decay=0.65, weight_decay=0.05)
    assert len(expected) == 296
    for name, entry in expected.items():
        assert rules[name].lr_scale == pytest.approx(entry["lr_scale"], rel=1e-12), name
        assert rules[name].weight_decay == entry["weight_decay"], name


def test_every_learning_rate(parity: Path) -> None:
    cases = json.loads((parity / "learning_rate.json").read_text())
    assert len(cases) == 36
    for case in cases:
        lr = warmup_cosine(
            case["epoch"],
            epochs=case["epochs"],
            peak=scaled_learning_rate(blr=case["blr"], batch_size=case["batch"]),
            warmup_epochs=case["warmup_epochs"],
            minimum=case["min_lr"],
        )
        assert lr == pytest.approx(case["lr"], rel=1e-12, abs=1e-18)
        assert lr * 0.65**25 == pytest.approx(case["lr_scaled"], rel=1e-12, abs=1e-24)


@pytest.mark.parametrize(("case", "tokens"), [("14to24", 577), ("14to16", 257), ("8to4", 17)])
def test_position_embedding_resize(parity: Path, case: str, tokens: int) -> None:
    numbers = load_file(parity / "position_embedding.safetensors")
    ours = resize_position_embedding(numbers[f"{case}.before"], tokens=tokens, prefix_tokens=1)
    assert np.abs(ours - numbers[f"{case}.after"]).max() <= 1e-5
    # The control: antialiasing, timm's default, gives other numbers where the grid shrinks.
    grid = torch.from_numpy(numbers["8to4.before"][:, 1:]).reshape(1, 8, 8, -1).permute(0, 3, 1, 2)
    smooth = torch.nn.functional.interpolate(grid, (4, 4), mode="bicubic", antialias=True)
    assert np.abs(smooth.permute(0, 2, 3, 1).reshape(1, 16, -1).numpy() - numbers["8to4.after"][:, 1:]).max() > 1e-2
