"""Is a framework's network the one it should be? Each layer is asked by itself and held against numpy.

Whole networks that differ in a detail give answers that differ a little, which looks like rounding. A layer by itself,
given what brings the detail out, shows it.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eyeground.model.applied_rate import applied_rate
from eyeground.model.engine import Images, Provable, Targets
from eyeground.model.layer_decay import parameter_rules
from eyeground.model.optimization import Optimization
from eyeground.model.patches import patchify

EPS = 1e-6
# Of the greatest number in the answer. Sums over 4,096 products in float32 stay below a tenth of it.
_TOLERANCE = 1e-4
_OTHER_EPS = (1e-5, 1e-7, 1e-12, 0.0)
_ROWS = 4


@dataclass(frozen=True)
class Fault:
    """What is wrong with a network.

    Args:
        name: Its name, such as ``"layer_norm_eps"``.
        layer: Canonical name of the layer or parameter.
        told: What was found, in words.

    Example:
        >>> str(Fault("tanh_gelu", "blocks.0.mlp.act", "GELU is the tanh form, not the exact one"))
        'tanh_gelu at blocks.0.mlp.act: GELU is the tanh form, not the exact one'

    References:
        Our own; the faults are those of earlier ports.
    """

    name: str
    layer: str
    told: str

    def __str__(self) -> str:
        return f"{self.name} at {self.layer}: {self.told}"


def examine(engine: Provable, tensors: Mapping[str, NDArray[Any]]) -> tuple[Fault, ...]:
    """Hold every layer of an engine against what its weights should make of an input.

    Args:
        engine: A ViT of ours in any framework.
        tensors: The weights it should have, by canonical name.

    Returns:
        What is wrong; empty where nothing is.

    Example:
        >>> from eyeground.model.spec import ModelSpec
        >>> from eyeground.model.torch.engine import TorchEngine
        >>> engine = TorchEngine(ModelSpec("vit_demo_patch8", classes=3, image_px=16), device="cpu", precision="fp32")
        >>> weights = dict(engine.state()["weights"])
        >>> examine(engine, weights)
        ()
        >>> examine(engine, weights | {"head.bias": np.ones(3, np.float32)})[0].name
        'not_loaded'

    References:
        Ba et al., "Layer Normalization", 2016; Hendrycks & Gimpel, "Gaussian Error Linear Units", 2016.
    """
    return tuple(_faults(engine, tensors))


def examine_training(
    engine: Provable,
    batches: Sequence[tuple[Images, Targets]],
    *,
    optimization: Optimization,
    rates: Sequence[float],
) -> tuple[Fault, ...]:
    """Take a few steps and measure the learning rate that each parameter got.

    The engine is left with what it learned: examine one that is not needed, or put its state back.

    Args:
        engine: Built for training with ``optimization``.
        batches: Micro-batches of one step; every step sees them.
        optimization: How it should learn.
        rates: Peak learning rate of each step.

    Returns:
        What is wrong; empty where nothing is.

    References:
        Our own; a schedule that never reached the optimizer is fault 3 of the earlier systems.
    """
    shapes = {name: array.shape for name, array in engine.state()["weights"].items()}
    rules = parameter_rules(shapes, layer_decay=optimization.layer_decay, weight_decay=optimization.weight_decay)
    faults = []
    for number, rate in enumerate(rates):
        before = {name: engine.slot(name) for name in shapes}
        engine.train_step(batches, lr=rate, seed=number)
        for name, rule in rules.items():
            applied = applied_rate(
                before[name], engine.slot(name), betas=optimization.betas, weight_decay=rule.weight_decay
            )
            asked = rate * rule.lr_scale
            if not math.isnan(applied.rate) and not applied.agrees_with(asked):
                told = f"step {number + 1} asked for a learning rate of {asked:.4g} and {applied.rate:.4g} was applied"
                faults.append(Fault("dead_schedule", name, told))
    return tuple(faults)


def _faults(engine: Provable, tensors: Mapping[str, NDArray[Any]]) -> Iterator[Fault]:
    """Ask every layer."""
    yield from _unloaded(engine.state()["weights"], tensors)
    random = np.random.default_rng(0)
    asking = {1: _layer_norm, 2: _linear, 4: _patches}
    for name, array in tensors.items():
        layer, _, kind = name.rpartition(".")
        # Layer by layer: a whole network in float64 would take twice its memory.
        if kind == "gamma":
            yield from _layer_scale(engine, layer, array.astype(np.float64), random)
        elif kind == "weight" and array.ndim in asking:
            bias = tensors[f"{layer}.bias"].astype(np.float64)
            yield from asking[array.ndim](engine, layer, array.astype(np.float64), bias, random)
    yield from _gelu(engine)
    if engine.spec.drop_path:
        yield from _drop_path(engine)


def _unloaded(found: Mapping[str, NDArray[Any]], tensors: Mapping[str, NDArray[Any]]) -> Iterator[Fault]:
    """Read the weights back."""
    for name in sorted({*tensors, *found}):
        if name not in found:
            yield Fault("not_loaded", name, "the network has no such parameter")
        elif name not in tensors:
            yield Fault("not_loaded", name, "the network has this parameter, the weights have not")
        elif found[name].shape != tensors[name].shape:
            yield Fault("not_loaded", name, f"shape {found[name].shape}, not {tensors[name].shape}")
        elif not np.array_equal(found[name].astype(np.float32), tensors[name].astype(np.float32)):
            yield Fault("not_loaded", name, "the network holds other numbers")


def _near(found: NDArray[Any], wanted: NDArray[Any], tolerance: float = _TOLERANCE) -> bool:
    """Tell whether two answers are one but for rounding."""
    return found.shape == wanted.shape and bool(
        np.abs(found - wanted).max() <= tolerance * max(1e-12, float(np.abs(wanted).max()))
    )


def _layer_norm(
    engine: Provable, layer: str, weight: NDArray[Any], bias: NDArray[Any], random: np.random.Generator
) -> Iterator[Fault]:
    """Give it rows of so little variance that what is added to the variance shows."""
    x = random.normal(0, 1e-3, (_ROWS, 1, len(weight))).astype(np.float32)
    x = x if layer.startswith("blocks.") or layer == "norm" else x[:, 0]
    passes = engine.spec.fc_norm_passes if layer == "fc_norm" else 1
    found = engine.probe(layer, x)

    def made(eps: float, *, affine: bool) -> NDArray[np.float64]:
        rows = x.astype(np.float64)
        for _ in range(passes):
            rows = (rows - rows.mean(-1, keepdims=True)) / np.sqrt(rows.var(-1, keepdims=True) + eps)
            rows = rows * weight + bias if affine else rows
        return rows

    if _near(found, made(EPS, affine=True)):
        return
    for eps in (EPS, *_OTHER_EPS):
        for affine in (True, False):
            if _near(found, made(eps, affine=affine)):
                if not affine:
                    told = "it normalizes, but its weight and bias are not applied"
                    yield Fault("layer_norm_not_loaded", layer, told)
                if eps != EPS:
                    yield Fault("layer_norm_eps", layer, f"{eps:g} is added to the variance, not {EPS:g}")
                return
    yield Fault("layer_norm", layer, "it does not normalize as a LayerNorm with these weights does")


def _linear(
    engine: Provable, layer: str, weight: NDArray[Any], bias: NDArray[Any], random: np.random.Generator
) -> Iterator[Fault]:
    """Give it rows of noise."""
    x = random.normal(0, 1, (_ROWS, weight.shape[1])).astype(np.float32)
    found, product = engine.probe(layer, x), x.astype(np.float64) @ weight.T
    if _near(found, product + bias):
        return
    if _near(found, product):
        yield Fault("bias_dropped", layer, "its bias is not added")
    elif weight.shape[0] == weight.shape[1] and _near(found, x.astype(np.float64) @ weight + bias):
        yield Fault("transposed_linear", layer, "its matrix is applied the other way round")
    else:
        yield Fault("linear", layer, "it does not multiply with these weights")


def _patches(
    engine: Provable, layer: str, weight: NDArray[Any], bias: NDArray[Any], random: np.random.Generator
) -> Iterator[Fault]:
    """Give it an image of noise."""
    side, patch_px = engine.spec.image_px, weight.shape[2]
    image = random.normal(0, 1, (1, 3, side, side)).astype(np.float32)
    # A patch's numbers lie as (rows, columns, channels), the kernel's as (channels, rows, columns).
    kernel = weight.transpose(0, 2, 3, 1).reshape(len(weight), -1)
    tokens = patchify(image, patch_px).astype(np.float64) @ kernel.T  # (1, L, D)
    found = engine.probe(layer, image)
    found = found.reshape(1, len(weight), -1).transpose(0, 2, 1)
    if _near(found, tokens + bias):
        return
    if _near(found, tokens):
        yield Fault("bias_dropped", layer, "its bias is not added")
    elif found.shape != tokens.shape:
        yield Fault("padding", layer, f"it makes {found.shape[1]} patches of an image, not {tokens.shape[1]}")
    else:
        yield Fault("patches", layer, "it does not embed patches with these weights")


def _layer_scale(engine: Provable, layer: str, gamma: NDArray[Any], random: np.random.Generator) -> Iterator[Fault]:
    """Give it rows of noise."""
    x = random.normal(0, 1, (_ROWS, 1, len(gamma))).astype(np.float32)
    if not _near(engine.probe(layer, x), x * gamma):
        yield Fault("layer_scale", layer, "it does not multiply with these factors")


def _gelu(engine: Provable) -> Iterator[Fault]:
    """Give it the range where the two forms differ."""
    layer = "blocks.0.mlp.act"
    x = np.linspace(-6, 6, 2001, dtype=np.float32).reshape(1, 1, -1)
    exact = x * np.vectorize(lambda value: 0.5 * (1 + math.erf(value / math.sqrt(2))))(x.astype(np.float64))
    tanh = 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x.astype(np.float64) ** 3)))
    found = engine.probe(layer, x)
    # The forms differ by 5e-4 where they differ most.
    if np.abs(found - exact).max() <= 2e-5:
        return
    if np.abs(found - tanh).max() <= 2e-5:
        yield Fault("tanh_gelu", layer, "GELU is the tanh form, not the exact one")
    else:
        yield Fault("gelu", layer, "it is no GELU")


def _drop_path(engine: Provable) -> Iterator[Fault]:
    """Give the last block ones, as in training: an image's branch is left out or enlarged as a whole."""
    depth = engine.spec.vit.depth if engine.spec.vit else 1
    layer, rate = f"blocks.{depth - 1}.drop_path1", engine.spec.drop_path
    images = 256
    found = engine.probe(layer, np.ones((images, 2, 3), np.float32), seed=0).reshape(images, -1)
    if not np.array_equal(found, np.repeat(found[:, :1], found.shape[1], axis=1)):
        yield Fault("element_wise_drop_path", layer, "it leaves out single numbers, not an image's whole branch")
        return
    kept = found[:, 0] != 0
    # Five standard deviations of a share of so many images.
    spread = 5 * math.sqrt(rate * (1 - rate) / images)
    if abs(1 - kept.mean() - rate) > spread:
        told = f"it leaves out {1 - kept.mean():.2f} of the images, not {rate:.2f}"
        yield Fault("drop_path_rate", layer, told)
    if kept.any() and not np.allclose(found[kept, 0], 1 / (1 - rate), rtol=1e-5):
        yield Fault("drop_path_rate", layer, f"a branch that is kept is multiplied by {found[kept, 0][0]:.4g}")
