"""Attention in training: written out where the fused one is slow, and the same attention."""

import numpy as np
import pytest

from eyeground.model.optimization import Optimization
from eyeground.model.spec import MaeSpec, ModelSpec
from eyeground.model.torch.engine import TorchEngine
from eyeground.model.torch.pretraining import MaeEngine

SPEC = ModelSpec("vit_tiny_patch16", classes=3, image_px=64)


def fused(engine: TorchEngine | MaeEngine) -> list[bool]:
    return [layer.fused_attn for layer in engine._learner.network.modules() if hasattr(layer, "fused_attn")]


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_only_training_in_bf16_on_a_processor_writes_it_out(precision: str) -> None:
    trains = TorchEngine(SPEC, optimization=Optimization(), precision=precision, device="cpu")  # type: ignore[arg-type]
    answers = TorchEngine(SPEC, precision=precision, device="cpu")  # type: ignore[arg-type]
    assert fused(trains) == [precision == "fp32"] * 12
    assert fused(answers) == [True] * 12
    mae = MaeEngine(MaeSpec("vit_tiny_patch16", image_px=64), optimization=Optimization(), precision=precision)  # type: ignore[arg-type]
    assert set(fused(mae)) == {precision == "fp32"}


def test_both_ways_give_the_same_gradients() -> None:
    draw = np.random.default_rng(0)
    images = draw.standard_normal((4, 3, 64, 64), np.float32)
    targets = np.eye(3, dtype=np.float32)[[0, 1, 2, 0]]
    found = []
    for written_out in (False, True):
        engine = TorchEngine(SPEC, optimization=Optimization(), precision="fp32", device="cpu", seed=1)
        for layer in engine._learner.network.modules():
            if hasattr(layer, "fused_attn"):
                layer.fused_attn = not written_out
        losses = [engine.train_step([(images, targets)], lr=1e-3, seed=step) for step in range(3)]
        found.append((losses, engine.state()["weights"]))
    np.testing.assert_allclose(found[0][0], found[1][0], rtol=1e-5)
    for name, array in found[0][1].items():
        np.testing.assert_allclose(array, found[1][1][name], atol=2e-5, err_msg=name)
