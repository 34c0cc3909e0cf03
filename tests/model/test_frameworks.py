"""Paddle and MindSpore against torch: the same weights, the same batches, the same steps."""

import gc
import math
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import engines
from eyeground.data.phantom import draw_fundus
from eyeground.data.preprocessing import Preprocessing, normalize, square
from eyeground.model.applied_rate import applied_rate
from eyeground.model.architecture import parameter_shapes
from eyeground.model.engine import LossNotFinite, Provable
from eyeground.model.environment import EngineMissing, python_of
from eyeground.model.frameworks import build_engine
from eyeground.model.layer_decay import parameter_rules
from eyeground.model.optimization import Framework, Optimization
from eyeground.model.remote import EngineLost, EngineUnfaithful, RemoteEngine, _jittered
from eyeground.model.spec import ModelSpec
from eyeground.train.schedule import warmup_cosine

SPEC = ModelSpec("vit_demo_patch8", classes=3, image_px=32)
LEARNING = Optimization(weight_decay=0.05, layer_decay=0.65, clip_norm=1.0, label_smoothing=0.1)


def weights(spec: ModelSpec, seed: int = 3) -> dict[str, np.ndarray]:
    """Weights that no default hides."""
    rng = np.random.default_rng(seed)
    return {
        name: rng.normal(float(name.endswith("weight") and "norm" in name), 0.05, shape).astype(np.float32)
        for name, shape in parameter_shapes(spec).items()
    }


def batch(count: int = 8, seed: int = 0, px: int = 32) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = np.eye(3, dtype=np.float32)[rng.integers(0, 3, count)]
    return rng.standard_normal((count, 3, px, px)).astype(np.float32), labels


def build(framework: str, spec: ModelSpec = SPEC, **changes: Any) -> Provable:
    """Build an engine with known weights, or skip where the framework is not installed."""
    name: Framework = framework  # type: ignore[assignment]
    settings = {"tensors": weights(spec), "optimization": LEARNING, "device": "cpu", "precision": "fp32", "threads": 1}
    try:
        return build_engine(name, spec, **{**settings, **changes})
    except EngineMissing as missing:
        pytest.skip(str(missing))


@pytest.fixture(params=["paddle", "mindspore"], scope="module")
def framework(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def engine(framework: str) -> Iterator[Provable]:
    """One engine for all tests that leave it as it was."""
    made = build(framework, ModelSpec("vit_demo_patch8", classes=3, image_px=32, drop_path=0.3))
    yield made
    made.close()  # type: ignore[attr-defined]


@pytest.fixture
def start(engine: Provable) -> Provable:
    """The engine as it was built."""
    engine.load_state({"weights": weights(SPEC), "optimizer": {}})
    return engine


OTHERS = {
    "class token": ModelSpec("vit_demo_patch8", classes=5, image_px=24, pool="cls"),
    "fc_norm twice": ModelSpec("vit_demo_patch8", classes=2, image_px=24, fc_norm_passes=2),
    "DINOv2": ModelSpec("vit_small_patch14_dinov2", classes=4, image_px=42, pool="cls"),
}


@pytest.mark.parametrize("other", OTHERS)
def test_answers_and_features_are_torchs(framework: str, other: str) -> None:
    spec = OTHERS[other]
    found, torch = build(framework, spec, optimization=None), build("torch", spec, optimization=None)
    images = batch(3, px=spec.image_px)[0]
    ours, theirs = found.activations(images), torch.activations(images)
    assert list(ours) == list(theirs)
    for layer, wanted in theirs.items():
        assert np.abs(ours[layer] - wanted).max() <= 1e-4 * max(1, np.abs(wanted).max()), layer
    assert np.abs(found.predict(images) - torch.predict(images)).max() < 1e-5
    assert np.abs(found.features(images) - torch.features(images)).max() < 1e-4
    assert found.state().keys() == {"weights"}
    with pytest.raises(RuntimeError, match="built for prediction only"):
        found.train_step([batch(3, px=spec.image_px)], lr=1e-3, seed=0)
    found.close()  # type: ignore[attr-defined]


def test_steps_are_torchs(framework: str) -> None:
    spec = SPEC
    found, torch = build(framework, spec), build("torch", spec)
    # Phantoms of three kinds, each step other ones; two micro-batches a step.
    squares = [draw_fundus(("normal", "dr3", "cataract")[n % 3], seed=n, size_px=64).image.pixels for n in range(24)]
    pool = normalize([square(pixels, Preprocessing(image_px=32)) for pixels in squares], Preprocessing(image_px=32))
    labels = np.eye(3, dtype=np.float32)[np.arange(24) % 3]
    for step in range(40):
        chosen = np.random.default_rng(step).permutation(24)
        accumulated = [(pool[part], labels[part]) for part in (chosen[:6], chosen[6:12])]
        lr = warmup_cosine(step / 4, epochs=10, peak=1e-3, warmup_epochs=2, minimum=1e-6)
        ours = found.train_step(accumulated, lr=lr, seed=step)
        theirs = torch.train_step(accumulated, lr=lr, seed=step)
        assert ours == pytest.approx(theirs, rel=1e-3), step
    mine, yours = found.state(), torch.state()
    for part in ("weights", "optimizer"):
        assert mine[part].keys() == yours[part].keys()
        for name, array in yours[part].items():
            assert mine[part][name].shape == array.shape
            scale = max(float(np.abs(array).max()), 1e-12)
            assert np.abs(mine[part][name] - array).max() <= 2e-2 * scale, f"{part} {name}"
    found.close()  # type: ignore[attr-defined]


def test_the_learning_rate_that_is_applied_is_the_one_asked_for(start: Provable) -> None:
    shapes = parameter_shapes(SPEC)
    rules = parameter_rules(shapes, layer_decay=0.65, weight_decay=0.05)
    for step, lr in enumerate((2e-3, 0.0, 1e-3)):
        before = {name: start.slot(name) for name in shapes}
        start.train_step([batch(seed=step)], lr=lr, seed=step)
        for name, rule in rules.items():
            measured = applied_rate(
                before[name], start.slot(name), betas=LEARNING.betas, weight_decay=rule.weight_decay
            )
            assert measured.agrees_with(lr * rule.lr_scale), name
            if lr:
                assert not measured.agrees_with(lr * rule.lr_scale * 1.2), name  # and it could tell another


def test_a_state_that_is_put_back_goes_on_to_the_same_bits(start: Provable) -> None:
    for step in range(2):
        start.train_step([batch(seed=step)], lr=1e-3, seed=step)
    kept = start.state()
    first = [start.train_step([batch(seed=9 + step)], lr=1e-3, seed=9 + step) for step in range(3)]
    end = start.state()
    start.load_state(kept)
    assert [start.train_step([batch(seed=9 + step)], lr=1e-3, seed=9 + step) for step in range(3)] == first
    again = start.state()
    assert all((again[part][name] == array).all() for part in end for name, array in end[part].items())


def test_a_state_that_was_just_put_back_comes_out_again(start: Provable) -> None:
    start.train_step([batch()], lr=1e-3, seed=0)
    kept = start.state()
    assert any(array.any() for name, array in kept["optimizer"].items() if name.endswith("exp_avg"))
    start.load_state({"weights": weights(SPEC), "optimizer": {}})
    start.load_state(kept)
    again = start.state()
    assert again["optimizer"].keys() == kept["optimizer"].keys()
    assert all((again["optimizer"][name] == array).all() for name, array in kept["optimizer"].items())
    assert (start.slot("head.weight").exp_avg == kept["optimizer"]["head.weight/exp_avg"]).all()


def test_drop_path_is_drawn_from_the_seed_alone(start: Provable) -> None:
    images, targets = batch()
    losses = []
    for seed in (1, 2, 1):
        start.load_state({"weights": weights(SPEC), "optimizer": {}})
        losses.append(start.train_step([(images, targets)], lr=1e-3, seed=seed))
    assert losses[0] == losses[2] != losses[1]
    made = start.probe("blocks.3.drop_path1", np.ones((64, 5, 2), np.float32), seed=4).reshape(64, -1)
    assert (made == made[:, :1]).all()
    assert set(made[:, 0].tolist()) == {0.0, float(np.float32(1 / 0.7))}


def test_a_loss_that_is_not_finite_changes_nothing(start: Provable) -> None:
    images, targets = batch()
    images[0, 0, 0, 0] = math.nan
    before = start.state()["weights"]
    with pytest.raises(LossNotFinite):
        start.train_step([batch(), (images, targets)], lr=1e-3, seed=0)
    after = start.state()["weights"]
    assert all((after[name] == array).all() for name, array in before.items())
    # And the gradients of the good micro-batch are forgotten.
    lone = start.train_step([batch(seed=5)], lr=1e-3, seed=1)
    state = start.state()
    start.load_state({"weights": weights(SPEC), "optimizer": {}})
    assert start.train_step([batch(seed=5)], lr=1e-3, seed=1) == lone
    again = start.state()["weights"]
    assert all((again[name] == array).all() for name, array in state["weights"].items())


def test_weights_of_another_network_are_refused(start: Provable) -> None:
    wrong = weights(SPEC) | {"surplus": np.zeros(1, np.float32)}
    del wrong["head.bias"]
    wrong["head.weight"] = np.zeros((4, 96), np.float32)
    with pytest.raises(ValueError, match=r"head\.bias is missing.*surplus is unknown.*head\.weight has shape"):
        start.load_state({"weights": wrong})


def test_a_process_that_dies_is_told(framework: str) -> None:
    engine = build(framework, optimization=None)
    os.kill(engine._process.pid, signal.SIGKILL)  # type: ignore[attr-defined]
    with pytest.raises(EngineLost, match=rf"engine={framework} ended .*exit code -9.*lower batch_size"):
        engine.predict(batch()[0])


def test_an_engine_that_nobody_holds_ends_its_process(framework: str) -> None:
    engine = build(framework, optimization=None)
    process = engine._process  # type: ignore[attr-defined]
    assert process.poll() is None
    del engine
    gc.collect()
    assert process.poll() is not None


def test_devices_and_precisions_that_are_not_offered(framework: str) -> None:
    build(framework, optimization=None).close()  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match=rf"engine={framework} knows no device 'mps'"):
        build(framework, device="mps")
    with pytest.raises(ValueError, match=rf"engine={framework} offers precision fp32 and bf16"):
        build(framework, precision="fp16")
    # Paddle would take it, say nothing, and compute in fp32.
    with pytest.raises(ValueError, match=rf"engine={framework} computes in bf16 on accelerators only"):
        build(framework, precision="bf16")


def test_networks_that_are_not_offered_are_told_before_anything_starts() -> None:
    with pytest.raises(ValueError, match=r"engine=paddle does not offer mobilenetv2_100; it offers vit_demo_patch8"):
        build_engine("paddle", ModelSpec("mobilenetv2_100", classes=2))
    with pytest.raises(ValueError, match=r"engine=mindspore does not offer vit_demo_patch8 with model_options"):
        build_engine("mindspore", ModelSpec("vit_demo_patch8", classes=2, image_px=16, options={"drop_rate": 0.1}))


def test_a_framework_that_is_not_installed_is_one_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("eyeground.model.environment._package", lambda: tmp_path / "eyeground")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.delenv("EYEGROUND_PADDLE_PYTHON", raising=False)
    with pytest.raises(EngineMissing, match=r"paddle is not installed: pip install 'eyeground\[paddle\]'"):
        python_of("paddle")
    monkeypatch.delenv("EYEGROUND_MINDSPORE_PYTHON", raising=False)
    # Beside numpy 2 it would start and then break.
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    with pytest.raises(
        EngineMissing, match=r"mindspore is not installed: the extra eyeground\[mindspore\] wants an environment"
    ):
        python_of("mindspore")
    monkeypatch.setenv("EYEGROUND_PADDLE_PYTHON", "/no/such/python")
    with pytest.raises(EngineMissing, match="EYEGROUND_PADDLE_PYTHON is /no/such/python: no such file"):
        python_of("paddle")


def test_layers_are_asked_with_numbers_that_no_default_hides() -> None:
    fresh = {"norm.weight": np.ones(64, np.float32), "norm.bias": np.zeros(64, np.float32)}
    moved = _jittered(fresh)
    assert moved["norm.weight"].std() > 0.05
    assert moved["norm.bias"].std() > 0.05
    assert all((moved[name] == array).all() for name, array in _jittered(fresh).items())


class _Lying(RemoteEngine):
    """A process that answers what it is told to."""

    def __init__(self, **answers: Any) -> None:
        self._framework, self._answers, self._spec = "paddle", answers, SPEC

    def _ask(self, verb: str, words: Any = None, arrays: Any = None) -> Any:
        return self._answers[verb]


def test_weights_that_were_silently_not_loaded_are_found() -> None:
    held = weights(SPEC)
    flat = {f"weights|{name}": array for name, array in held.items()} | {"weights|norm1.bias": np.zeros(3, np.float32)}
    engine = _Lying(state=({"parts": ["weights"]}, flat))
    with pytest.raises(EngineUnfaithful, match=r"does not hold the weights it was given: 2 of 56 differ"):
        engine._check_weights(held | {"head.bias": np.full(3, 7.0, np.float32)})


def test_a_schedule_that_does_not_reach_the_optimizer_ends_the_run() -> None:
    told = {"head.bias": {"rate": 5e-4, "doubt": 1e-8, "asked": 1e-5}}
    engine = _Lying(train_step=({"loss": 1.0, "applied": told}, {}))
    with pytest.raises(EngineUnfaithful, match=r"head\.bias at a learning rate of 1e-05 and moved it at 0\.0005"):
        engine.train_step([batch()], lr=1e-5, seed=0)


@pytest.mark.slow
def test_forty_steps_on_photographs_are_torchs(realdata: Path) -> None:
    steps, _ = engines.batches()
    losses, _, _ = engines.train("torch", steps)
    for name in ("paddle", "mindspore"):
        others, worst, _ = engines.train(name, steps)
        assert others == pytest.approx(losses, rel=1e-3)
        assert worst < 1e-3
