"""The torch engine: learns, repeats itself, takes its state back, and refuses what is not finite."""

import numpy as np
import pytest
import torch

from eyeground.model.engine import LossNotFinite
from eyeground.model.layer_decay import parameter_rules
from eyeground.model.optimization import Optimization
from eyeground.model.spec import MaeSpec, ModelSpec
from eyeground.model.torch.engine import TorchEngine
from eyeground.model.torch.network import build
from eyeground.model.torch.pretraining import MaeEngine
from eyeground.train.loop import TrainingFailed

SPEC = ModelSpec("vit_demo_patch8", classes=3, image_px=16, drop_path=0.2)


def engine_of(**changes: object) -> TorchEngine:
    settings: dict[str, object] = {"optimization": Optimization(), "device": "cpu", "precision": "fp32"}
    return TorchEngine(SPEC, **{**settings, **changes})  # type: ignore[arg-type]


def batch(count: int = 6, seed: int = 0, px: int = 16) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.standard_normal((count, 3, px, px)).astype(np.float32), np.eye(3, dtype=np.float32)[
        rng.integers(0, 3, count)
    ]


def test_it_learns() -> None:
    engine, data = engine_of(), batch()
    losses = [engine.train_step([data], lr=3e-3, seed=step) for step in range(60)]
    assert losses[0] == pytest.approx(np.log(3), abs=1e-3)  # the head starts near zero: all classes alike
    assert losses[-1] < 0.3
    assert (engine.predict(data[0]).argmax(1) == data[1].argmax(1)).mean() > 0.8


def test_one_step_equals_plain_torch() -> None:
    engine = engine_of(optimization=Optimization(weight_decay=0.1, layer_decay=0.5, clip_norm=0.5, label_smoothing=0.1))
    twin = build(SPEC)
    twin.load_state_dict({n: torch.from_numpy(a) for n, a in engine.state()["weights"].items()})
    images, targets = batch()
    loss = engine.train_step([(images, targets)], lr=1e-2, seed=7)
    torch.manual_seed(7)
    twin.train()
    named = dict(twin.named_parameters())
    rules = parameter_rules({n: tuple(p.shape) for n, p in named.items()}, layer_decay=0.5, weight_decay=0.1)
    groups = [
        {"params": [p], "lr": 1e-2 * rules[n].lr_scale, "weight_decay": rules[n].weight_decay} for n, p in named.items()
    ]
    optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.999), foreach=False)
    smooth = torch.from_numpy(targets) * 0.9 + 0.1 / 3
    expected = -(smooth * torch.log_softmax(twin(torch.from_numpy(images)), 1)).sum(1).mean()
    expected.backward()
    torch.nn.utils.clip_grad_norm_(twin.parameters(), 0.5)
    optimizer.step()
    assert loss == pytest.approx(expected.item(), rel=1e-5)
    ours = engine.state()["weights"]
    for name, tensor in twin.state_dict().items():
        assert np.allclose(ours[name], tensor.numpy(), atol=2e-5), name


def test_accumulation_equals_the_whole_batch() -> None:
    spec = ModelSpec("vit_demo_patch8", classes=3, image_px=16)
    images, targets = batch(8)
    states = []
    for parts in ([(images, targets)], [(images[i : i + 2], targets[i : i + 2]) for i in range(0, 8, 2)]):
        engine = TorchEngine(spec, optimization=Optimization(), device="cpu", precision="fp32")
        engine.train_step(parts, lr=1e-3, seed=0)
        states.append(engine.state()["weights"])
    for name in states[0]:
        assert np.allclose(states[0][name], states[1][name], atol=2e-4), name


@pytest.mark.parametrize("name", ["vit_demo_patch8", "mobilenetv3_small_050"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_state_comes_back_exactly(name: str, precision: str) -> None:
    # A convolutional network lies in memory channels last: its optimizer must come back in the same layout.
    # At 16 px its last maps are one pixel wide, where bf16 statistics over six values once gave an infinite gradient.
    px = 16 if name.startswith("vit") else 64
    spec = ModelSpec(name, classes=3, image_px=px, drop_path=0.2)
    first, second = (
        TorchEngine(spec, optimization=Optimization(), device="cpu", precision=precision, seed=seed)  # type: ignore[arg-type]
        for seed in (0, 5)
    )
    for step in range(3):
        first.train_step([batch(seed=step, px=px)], lr=1e-3, seed=step)
    second.load_state(first.state())
    for step in range(3, 6):
        assert first.train_step([batch(seed=step, px=px)], lr=1e-3, seed=step) == second.train_step(
            [batch(seed=step, px=px)], lr=1e-3, seed=step
        )
    for part in ("weights", "optimizer"):
        a, b = first.state()[part], second.state()[part]
        assert a.keys() == b.keys()
        assert all(np.array_equal(a[key], b[key]) for key in a)


def test_another_networks_state_is_refused() -> None:
    other = TorchEngine(ModelSpec("vit_demo_patch8", classes=4, image_px=16), device="cpu", precision="fp32")
    with pytest.raises(ValueError, match="another network's"):
        engine_of().load_state(other.state())


def test_a_gradient_that_is_not_finite_teaches_nothing() -> None:
    engine = engine_of()
    before = engine.state()["weights"]
    for parameter in engine._learner.network.parameters():
        parameter.register_hook(lambda gradient: gradient * float("inf"))
    with pytest.raises(LossNotFinite, match="the gradient became"):
        engine.train_step([batch()], lr=1e-3, seed=0)
    assert all(np.array_equal(before[name], array) for name, array in engine.state()["weights"].items())


@pytest.mark.parametrize("poison", [np.nan, np.inf])
def test_a_loss_that_is_not_finite_teaches_nothing(poison: float) -> None:
    engine = engine_of()
    before = engine.state()["weights"]
    images, targets = batch()
    images[0, 0, 0, 0] = poison
    with pytest.raises(LossNotFinite):
        engine.train_step([batch(seed=1), (images, targets)], lr=1e-3, seed=0)
    assert all(np.array_equal(before[name], array) for name, array in engine.state()["weights"].items())
    # and the gradient of the sound micro-batch is forgotten
    engine.train_step([batch(seed=2)], lr=1e-3, seed=1)
    clean = engine_of()
    clean.train_step([batch(seed=2)], lr=1e-3, seed=1)
    assert all(np.array_equal(clean.state()["weights"][n], a) for n, a in engine.state()["weights"].items())
    assert issubclass(TrainingFailed, RuntimeError)


def test_gradient_checkpointing_changes_memory_not_numbers() -> None:
    plain, thrifty = engine_of(), engine_of(checkpointing=True)
    losses = [e.train_step([batch()], lr=1e-3, seed=3) for e in (plain, thrifty)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)


def test_the_step_needs_no_cuda_and_prediction_engines_do_not_train() -> None:
    # Fault 5: the reference synchronized CUDA unconditionally, so that a processor could not train at all.
    assert "cpu" in engine_of().description
    with pytest.raises(RuntimeError, match="prediction only"):
        TorchEngine(SPEC, device="cpu", precision="fp32").train_step([batch()], lr=1e-3, seed=0)


@pytest.mark.parametrize("name", ["mobilenetv2_100", "efficientnet_b0", "swin_tiny_patch4_window7_224", "resnet18"])
def test_other_networks_build_with_a_head_near_zero(name: str) -> None:
    network = build(ModelSpec(name, classes=4, image_px=64))
    head = network.get_submodule({"resnet18": "fc", "swin_tiny_patch4_window7_224": "head.fc"}.get(name, "classifier"))
    assert head.out_features == 4
    assert head.weight.abs().max() < 1e-3


@pytest.mark.parametrize(
    ("name", "first", "deep"),
    [
        ("mobilenetv2_100", "conv_stem.weight", "blocks.6.0.conv_pw.weight"),
        ("convnext_atto", "stem.0.weight", "stages.3.blocks.0.conv_dw.weight"),
        ("resnet18", "conv1.weight", "layer4.0.conv1.weight"),
        ("swin_tiny_patch4_window7_224", "patch_embed.proj.weight", "layers.3.blocks.0.mlp.fc1.weight"),
    ],
)
def test_layer_decay_knows_the_layers_of_other_networks(name: str, first: str, deep: str) -> None:
    with torch.device("meta"):
        network = build(ModelSpec(name, classes=4))
    shapes = {key: tuple(p.shape) for key, p in network.named_parameters()}
    rules = parameter_rules(shapes, layer_decay=0.5, weight_decay=0.1)
    assert min(rule.lr_scale for rule in rules.values()) == rules[first].lr_scale < 0.1
    assert rules[deep].lr_scale == 0.5
    assert all(rule.weight_decay == 0 for key, rule in rules.items() if "bias_table" in key or len(shapes[key]) == 1)


def test_a_network_whose_layers_are_unknown_refuses_layer_decay() -> None:
    with pytest.raises(ValueError, match="set layer_decay=1"):
        parameter_rules({"features.0.weight": (3, 3)}, layer_decay=0.5, weight_decay=0)


def test_unknown_networks_and_bad_specs_are_refused_in_words() -> None:
    with pytest.raises(ValueError, match=r"neither one of our ViT shapes nor a timm model; near: mobile"):
        build(ModelSpec("mobilenetv22", classes=3))
    with pytest.raises(ValueError, match="not divisible by the patch of 16 px; try 240 or 256"):
        ModelSpec("vit_large_patch16", classes=8, image_px=255)
    with pytest.raises(ValueError, match=r"classes is 0.*drop_path is 1"):
        ModelSpec("x", classes=0, drop_path=1)


def test_compiling_keeps_the_numbers_and_the_names(monkeypatch: pytest.MonkeyPatch) -> None:
    real = torch.compile
    monkeypatch.setattr("shutil.which", lambda name: "/bin/true" if name == "g++" else None)
    # What is traced, without the minutes that making machine code of it takes.
    monkeypatch.setattr(torch, "compile", lambda network, **settings: real(network, backend="eager"))
    spec = ModelSpec("vit_demo_patch8", classes=3, image_px=16)
    compiled, plain = (
        TorchEngine(spec, optimization=Optimization(), device="cpu", precision="fp32", compiled=compiled)
        for compiled in (True, False)
    )
    for step in range(2):
        losses = [engine.train_step([batch(seed=step)], lr=1e-3, seed=step) for engine in (compiled, plain)]
        assert losses[0] == pytest.approx(losses[1], rel=1e-6)
    for part, arrays in plain.state().items():
        assert compiled.state()[part].keys() == arrays.keys()
    assert np.allclose(compiled.predict(batch()[0]), plain.predict(batch()[0]), atol=1e-5)


def test_without_a_compiler_compiled_is_refused_at_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setattr("shutil.which", lambda name: None)
    with pytest.raises(ValueError, match=r"needs a C\+\+ compiler"):
        engine_of(compiled=True)


def test_a_compiled_masked_autoencoder_still_tells_of_its_health(monkeypatch: pytest.MonkeyPatch) -> None:
    real = torch.compile
    monkeypatch.setattr("shutil.which", lambda name: "/bin/true" if name == "g++" else None)
    monkeypatch.setattr(torch, "compile", lambda network, **settings: real(network, backend="eager"))
    spec = MaeSpec("vit_demo_patch8", image_px=32, decoder_width=32, decoder_depth=1, decoder_heads=2)
    engines = [
        MaeEngine(spec, optimization=Optimization(layer_decay=1), device="cpu", precision="fp32", compiled=compiled)
        for compiled in (True, False)
    ]
    images = batch(px=32)[0]
    for step in range(2):
        losses = [engine.train_step([(images,)], lr=1e-3, seed=step) for engine in engines]
        assert losses[0] == pytest.approx(losses[1], rel=1e-5)
        one, other = (engine.vitals for engine in engines)
        assert one.embeddings.shape == (6, 96)
        assert np.allclose(one.embeddings, other.embeddings, atol=1e-5)
        assert one.encoder_gradient_norm == pytest.approx(other.encoder_gradient_norm, rel=1e-4)
