"""Steps inside the backward pass: the same weights as one step at the end, and no gradient left over."""

import numpy as np
import pytest
import torch
from torch import nn

from eyeground.model.adaptation import Adaptation
from eyeground.model.engine import LossNotFinite
from eyeground.model.optimization import Optimization
from eyeground.model.spec import MaeSpec, ModelSpec, SimclrSpec
from eyeground.model.torch.engine import TorchEngine
from eyeground.model.torch.pretraining import MaeEngine, SimclrEngine
from eyeground.model.torch.stepping import Stepping, length_of

SPEC = ModelSpec("vit_demo_patch8", classes=3, image_px=16, drop_path=0.2, fc_norm_passes=2)


def engine_of(*, early: bool, **changes: object) -> TorchEngine:
    settings: dict[str, object] = {"device": "cpu", "precision": "fp32"}
    optimization = Optimization(step_in_backward=early)
    return TorchEngine(SPEC, optimization=optimization, **{**settings, **changes})  # type: ignore[arg-type]


def batch(seed: int, count: int = 4) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    images = rng.standard_normal((count, 3, 16, 16)).astype(np.float32)
    return images, np.eye(3, dtype=np.float32)[rng.integers(0, 3, count)]


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("together_bytes", [1, 50_000])
@pytest.mark.parametrize("adaptation", [Adaptation(), Adaptation("lora"), Adaptation("last_n", last_blocks=2)])
def test_the_weights_are_those_of_a_step_at_the_end(
    monkeypatch: pytest.MonkeyPatch, checkpointing: bool, precision: str, together_bytes: int, adaptation: Adaptation
) -> None:
    monkeypatch.setattr(Stepping.__init__, "__kwdefaults__", {"together_bytes": together_bytes})
    early, late = (
        engine_of(early=early, checkpointing=checkpointing and early, precision=precision, adaptation=adaptation)
        for early in (True, False)
    )
    for step in range(3):
        losses = [engine.train_step([batch(step)], lr=1e-2, seed=step) for engine in (early, late)]
        assert losses[0] == losses[1]
    for part, arrays in late.state().items():
        assert all(np.array_equal(array, early.state()[part][name]) for name, array in arrays.items()), part
    assert all(parameter.grad is None for parameter in early.network.parameters())


def test_gradual_unfreezing_steps_what_was_thawed() -> None:
    early, late = (engine_of(early=early, adaptation=Adaptation("gradual")) for early in (True, False))
    for stage in range(3):
        for engine in (early, late):
            engine.thaw(stage)
            engine.train_step([batch(stage)], lr=1e-2, seed=stage)
    for name, array in late.state()["weights"].items():
        assert np.array_equal(array, early.state()["weights"][name]), name


def test_a_masked_autoencoder_learns_the_same_and_tells_the_same_of_its_health() -> None:
    engines = [
        MaeEngine(
            MaeSpec("vit_demo_patch8", image_px=32),
            optimization=Optimization(layer_decay=1, step_in_backward=early),
            device="cpu",
            precision="fp32",
        )
        for early in (True, False)
    ]
    images = np.random.default_rng(0).standard_normal((3, 3, 32, 32)).astype(np.float32)
    for step in range(2):
        losses = [engine.train_step([(images,)], lr=1e-3, seed=step) for engine in engines]
        assert losses[0] == losses[1]
        one, other = (engine.vitals for engine in engines)
        assert one.gradient_norm == pytest.approx(other.gradient_norm, rel=1e-6)
        assert one.encoder_gradient_norm == pytest.approx(other.encoder_gradient_norm, rel=1e-6)
    for name, array in engines[1].state()["weights"].items():
        assert np.array_equal(array, engines[0].state()["weights"][name]), name


def test_gradients_are_gone_before_the_last_is_there() -> None:
    layers = nn.Sequential(*(nn.Linear(64, 64, bias=False) for _ in range(8)))
    stepping = Stepping(torch.optim.AdamW(layers.parameters(), lr=1e-3), together_bytes=2 * 64 * 64 * 4)
    named, most = dict(layers.named_parameters()), 0

    def count(parameter: torch.Tensor) -> None:
        nonlocal most
        most = max(most, sum(p.grad is not None for p in named.values()))

    for parameter in named.values():
        parameter.register_post_accumulate_grad_hook(count)
    stepping.begin(named)
    layers(torch.ones(2, 64)).sum().backward()
    stepping.finish()
    assert most == 2
    assert list(stepping.norms) == list(reversed(named))


def test_no_gradient_that_is_not_finite_reaches_a_weight(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Stepping.__init__, "__kwdefaults__", {"together_bytes": 1})
    engine = engine_of(early=True)
    before = engine.state()["weights"]
    network = engine._learner.network
    network.get_submodule("blocks.2.mlp.fc1").weight.register_hook(lambda gradient: gradient * float("inf"))
    with pytest.raises(LossNotFinite, match="the gradient became"):
        engine.train_step([batch(0)], lr=1e-2, seed=0)
    after = engine.state()["weights"]
    assert all(np.isfinite(array).all() for array in after.values())
    changed = {name for name, array in after.items() if not np.array_equal(array, before[name])}
    assert "head.weight" in changed  # nearer to the loss, it had stepped: what the docstring says
    assert not any(name.startswith(("patch_embed", "blocks.0.", "blocks.1.")) for name in changed)
    assert "blocks.2.mlp.fc1.weight" not in changed


def test_a_loss_that_is_not_finite_teaches_nothing() -> None:
    engine = engine_of(early=True)
    before = engine.state()["weights"]
    images, targets = batch(0)
    images[0] = np.nan
    with pytest.raises(LossNotFinite, match="the loss became"):
        engine.train_step([(images, targets)], lr=1e-2, seed=0)
    assert all(np.array_equal(before[name], array) for name, array in engine.state()["weights"].items())
    assert np.isfinite(engine.train_step([batch(0)], lr=1e-2, seed=0))


def test_what_does_not_go_with_it_is_refused_in_words() -> None:
    with pytest.raises(ValueError, match="clip_norm=0"):
        Optimization(step_in_backward=True, clip_norm=1.0)
    with pytest.raises(ValueError, match="accumulation=1"):
        engine_of(early=True).train_step([batch(0), batch(1)], lr=1e-3, seed=0)
    with pytest.raises(ValueError, match="precision=bf16 or fp32"):
        engine_of(early=True, precision="fp16")
    with pytest.raises(ValueError, match="not for simclr"):
        SimclrEngine(
            SimclrSpec("mobilenetv2_050", image_px=32), optimization=Optimization(step_in_backward=True), device="cpu"
        )


@pytest.mark.parametrize("shape", [(1,), (7, 5), (600, 700), (4, 3, 5, 5)])
def test_a_gradients_length_is_that_of_its_exact_sum(shape: tuple[int, ...]) -> None:
    torch.manual_seed(1)
    gradient = 1e-3 * torch.randn(shape)
    for each in (gradient, gradient.double(), gradient.mT if gradient.ndim > 1 else gradient):
        exact = float(each.double().square().sum().sqrt())
        assert float(length_of(each)) == pytest.approx(exact, rel=1e-5)
    for bad in (float("inf"), float("nan")):
        gradient.view(-1)[0] = bad
        assert not bool(length_of(gradient).isfinite())
