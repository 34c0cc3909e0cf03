"""What every method of the shelf promises, and the door to them."""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from eyeground.explain.explaining import heat_maps, methods_for, summaries
from eyeground.explain.heat_map import NOTHING, heat_map
from eyeground.explain.refusal import NoAttention
from eyeground.model.spec import ModelSpec
from eyeground.model.torch.engine import TorchEngine
from eyeground.model.torch.network import build
from eyeground.pick import names, pick

METHODS = names("explain.methods")
SPECS = {
    "vit": ModelSpec("vit_demo_patch8", classes=3, image_px=32),
    "cnn": ModelSpec("mobilenetv2_100", classes=3, image_px=64),
}
# Occlusion asks a network for outputs alone, whatever it is: the small one is enough.
SERVED = [*(("vit", name) for name in METHODS), ("cnn", "grad_cam"), ("cnn", "integrated_gradients")]


def network_of(kind: str) -> nn.Module:
    """A network whose head says something, which a new one hardly does."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        network = build(SPECS[kind])
        nn.init.normal_(network.get_classifier().weight, std=0.3)  # type: ignore[operator]
    return network


def images(kind: str, count: int) -> NDArray[np.float32]:
    side = SPECS[kind].image_px
    return np.random.default_rng(7).normal(size=(count, 3, side, side)).astype(np.float32)


def maps_of(network: Any, kind: str, method: str, *, count: int = 3, batch_size: int = 8) -> list[NDArray[np.float32]]:
    wanted = np.eye(3, dtype=np.float32)[np.arange(count) % 3]
    targets = [f"label: {number}" for number in range(count)]
    made = heat_maps(network, images(kind, count), wanted, method=method, targets=targets, batch_size=batch_size)
    assert [each.target for each in made] == targets
    assert {each.method for each in made} == {method}
    return [each.values for each in made]


def test_the_shelf_has_what_was_agreed() -> None:
    assert METHODS == ("attention_relevance", "attention_rollout", "grad_cam", "integrated_gradients", "occlusion")
    assert all(0 < len(line) < 110 and not line.endswith(".") for line in summaries().values())


@pytest.mark.parametrize(("kind", "method"), SERVED)
def test_a_map_is_in_times_the_even_share_over_the_square(kind: str, method: str) -> None:
    side = SPECS[kind].image_px
    for values in maps_of(network_of(kind), kind, method):
        assert values.shape == (side, side)
        assert values.dtype == np.float32
        assert values.min() >= 0
        assert values.mean(dtype=np.float64) == pytest.approx(1, rel=1e-5)


@pytest.mark.parametrize(("kind", "method"), SERVED)
def test_an_image_has_the_same_map_alone_and_among_others(kind: str, method: str) -> None:
    network = network_of(kind)
    together, alone = (maps_of(network, kind, method, batch_size=size) for size in (8, 1))
    for one, other in zip(together, alone, strict=True):
        assert np.allclose(one, other, atol=2e-3 * one.max())
    assert not np.allclose(together[0], together[1], atol=2e-3 * together[0].max())


@pytest.mark.parametrize(("kind", "method"), SERVED)
def test_the_same_map_comes_again(kind: str, method: str) -> None:
    network = network_of(kind)
    for one, again in zip(maps_of(network, kind, method), maps_of(network, kind, method), strict=True):
        assert np.array_equal(one, again)


def state_of(network: nn.Module) -> dict[str, Any]:
    """Everything that a method may touch."""
    modules = dict(network.named_modules())
    return {
        "training": {name: module.training for name, module in modules.items()},
        "learns": {name: parameter.requires_grad for name, parameter in network.named_parameters()},
        "gradients": [name for name, parameter in network.named_parameters() if parameter.grad is not None],
        "hooks": {
            name: (len(m._forward_hooks), len(m._forward_pre_hooks), len(m._backward_hooks))
            for name, m in modules.items()
        },
        "fused": {name: module.fused_attn for name, module in modules.items() if hasattr(module, "fused_attn")},
        "checkpointing": {
            name: module.grad_checkpointing for name, module in modules.items() if hasattr(module, "grad_checkpointing")
        },
        "weights": {name: tensor.clone() for name, tensor in network.state_dict().items()},
    }


def assert_same(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert all(torch.equal(tensor, other["weights"][name]) for name, tensor in one.pop("weights").items())
    other.pop("weights")
    assert one == other


@pytest.mark.parametrize("wrong", [False, True])
@pytest.mark.parametrize(("kind", "method"), SERVED)
def test_a_network_is_left_as_it_came_also_after_an_error(kind: str, method: str, wrong: bool) -> None:
    network = network_of(kind).train()
    network.set_grad_checkpointing(True)  # type: ignore[operator]
    for number, module in enumerate(network.modules()):
        if number % 3 == 0:
            module.training = False
    for number, parameter in enumerate(network.parameters()):
        parameter.requires_grad_(number % 2 == 0)
    before = state_of(network)
    wanted = torch.ones(2, 5 if wrong else 3)
    explain = pick("explain.methods", method).explain
    given = torch.from_numpy(images(kind, 2))
    if wrong and method != "attention_rollout":
        with pytest.raises(RuntimeError):
            explain(network, given, wanted)
    else:
        explain(network, given, wanted)
    assert_same(before, state_of(network))
    assert not given.requires_grad


@pytest.mark.parametrize("surroundings", ["no_grad", "inference_mode", "autocast"])
@pytest.mark.parametrize(("kind", "method"), SERVED)
def test_whatever_the_caller_turned_on_or_off_the_map_is_that_of_fp32(
    kind: str, method: str, surroundings: str
) -> None:
    network = network_of(kind)
    plain = maps_of(network, kind, method)
    around: dict[str, AbstractContextManager[Any]] = {
        "no_grad": torch.no_grad(),
        "inference_mode": torch.inference_mode(),
        "autocast": torch.autocast("cpu", dtype=torch.bfloat16),
    }
    with around[surroundings]:
        for one, other in zip(plain, maps_of(network, kind, method), strict=True):
            assert np.array_equal(one, other)


def test_an_engine_in_bf16_gives_its_network_in_fp32() -> None:
    engines = [TorchEngine(SPECS["vit"], device="cpu", precision=precision, seed=4) for precision in ("fp32", "bf16")]
    assert engines[1].precision == "bf16"
    for engine in engines:
        engine.network.train()
        assert not engine.network.training
        for module in engine.network.modules():
            assert not module.training
    one, other = (maps_of(engine.network, "vit", "attention_relevance")[0] for engine in engines)
    assert np.array_equal(one, other)


def test_methods_for_says_what_serves_and_why_not() -> None:
    assert set(methods_for(network_of("vit")).values()) == {""}
    found = methods_for(network_of("cnn"))
    assert [name for name, why in found.items() if why] == ["attention_relevance", "attention_rollout"]
    with pytest.raises(NoAttention) as caught:
        maps_of(network_of("cnn"), "cnn", "attention_rollout")
    assert (
        str(caught.value)
        == found["attention_rollout"]
        == (
            "attention_rollout needs a transformer with global attention; mobilenetv2_100 has none: use grad_cam, "
            "occlusion or integrated_gradients"
        )
    )


def test_what_does_not_fit_is_refused_at_the_door() -> None:
    network, wanted = network_of("vit"), np.eye(3, dtype=np.float32)
    with pytest.raises(ValueError, match="needs a direction and a target"):
        heat_maps(network, images("vit", 2), wanted, method="grad_cam", targets=["a", "b"])
    with pytest.raises(ValueError, match="batch_size is 0"):
        heat_maps(network, images("vit", 3), wanted, method="grad_cam", targets=["a"] * 3, batch_size=0)
    with pytest.raises(LookupError, match="it has: attention_relevance"):
        heat_maps(network, images("vit", 3), wanted, method="tea_leaves", targets=["a"] * 3)
    assert heat_maps(network, images("vit", 0), wanted[:0], method="grad_cam", targets=[]) == []


class Silent(nn.Module):
    """Says the same of every image."""

    def forward(self, given: torch.Tensor) -> torch.Tensor:
        return given.flatten(1)[:, :3] * 0


def test_a_map_of_nothing_is_zero_and_says_why() -> None:
    made = heat_maps(Silent(), images("vit", 1), np.ones((1, 3), np.float32), method="occlusion", targets=["a"])[0]
    assert made.empty
    assert made.peak is None
    assert made.note == NOTHING
    assert np.array_equal(made.values, np.zeros((32, 32), np.float32))


def raws() -> Iterator[NDArray[np.float32]]:
    rng = np.random.default_rng(0)
    yield rng.random((7, 5)).astype(np.float32)
    yield (rng.random((4, 4)) * 1e-30).astype(np.float32)
    yield (rng.normal(size=(9, 9)) * 1e30).astype(np.float32)
    yield np.full((3, 3), 1e-44, np.float32)


@pytest.mark.parametrize("raw", [*raws()])
def test_units_do_not_hang_on_the_size_of_raw_numbers(raw: NDArray[np.float32]) -> None:
    made = heat_map(raw, (64, 48), method="m", target="t")
    assert made.values.shape == (64, 48)
    assert made.values.mean(dtype=np.float64) == pytest.approx(1, rel=1e-5)
    assert made.note == ""


def test_resizing_is_bilinear_and_keeps_places() -> None:
    raw = np.zeros((4, 4), np.float32)
    raw[1, 2] = 1
    made = heat_map(raw, (40, 40), method="m", target="t")
    rows, columns = np.nonzero(made.values > 0.99 * made.values.max())
    assert 14 <= rows.min() <= rows.max() < 16
    assert 24 <= columns.min() <= columns.max() < 26
    # Beside the edge to the next cell, 0.55 and 0.45 of the way; the highest pixels are 0.95 of it, down and across.
    edge = made.values[14, [20, 19]] / made.values.max() * 0.95
    assert edge.tolist() == pytest.approx([0.55, 0.45], abs=0.01)
    assert heat_map(raw, (4, 4), method="m", target="t").peak == (1, 2)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_numbers_that_are_none_are_refused(bad: float) -> None:
    raw = np.ones((2, 2), np.float32)
    raw[0, 1] = bad
    with pytest.raises(ValueError, match="grad_cam gave numbers that are not finite"):
        heat_map(raw, (4, 4), method="grad_cam", target="t")
