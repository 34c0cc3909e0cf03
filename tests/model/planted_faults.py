"""The faults of earlier ports, planted in an engine: run in a framework's own process, or in this one for torch.

As a program: python -m planted_faults FRAMEWORK -> one JSON line, fault -> names that the examination gave it.
"""

import json
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from eyeground.model.examination import examine, examine_training
from eyeground.model.optimization import Optimization
from eyeground.model.spec import ModelSpec

SPEC = ModelSpec("vit_demo_patch8", classes=3, image_px=24, drop_path=0.5, fc_norm_passes=2)
LEARNING = Optimization(layer_decay=0.65, weight_decay=0.05)
# What each fault must be called.
NAMES = {
    "none": (),
    "gamma and beta not renamed": ("layer_norm_not_loaded",),
    "patch bias dropped": ("bias_dropped",),
    "tanh GELU": ("tanh_gelu",),
    "eps 1e-7": ("layer_norm_eps",),
    "transposed Linear": ("transposed_linear",),
    "dead schedule": ("dead_schedule",),
    "layer decay that does not reach the optimizer": ("dead_schedule",),
    "element-wise drop path": ("element_wise_drop_path",),
}


def weights() -> dict[str, np.ndarray]:
    """Weights that no default hides: every norm, bias and matrix has numbers of its own."""
    from eyeground.model.architecture import parameter_shapes

    random = np.random.default_rng(5)
    return {
        name: (random.normal(1 if "norm" in name and name.endswith("weight") else 0, 0.1, shape)).astype(np.float32)
        for name, shape in parameter_shapes(SPEC).items()
    }


def verdict(engine: Any, tensors: dict[str, np.ndarray]) -> list[str]:
    """Names of all that is found, once each."""
    random = np.random.default_rng(1)
    batch = (random.normal(size=(4, 3, 24, 24)).astype(np.float32), np.eye(3, dtype=np.float32)[[0, 1, 2, 0]])
    found = examine(engine, tensors)
    found += examine_training(engine, [batch], optimization=LEARNING, rates=(1e-3, 2e-3, 5e-4))
    return sorted({fault.name for fault in found})


def torch_faults() -> dict[str, Callable[[Any], None]]:
    """Ways to spoil a torch engine."""
    import torch
    from torch import nn

    def norms(network: Any) -> list[Any]:
        return [module for module in network.modules() if isinstance(module, nn.LayerNorm)]

    def unload_norms(engine: Any) -> None:
        for norm in norms(engine._learner.network):
            nn.init.ones_(norm.weight)
            nn.init.zeros_(norm.bias)

    def drop_bias(engine: Any) -> None:
        engine._learner.network.patch_embed.proj.bias = None

    def tanh(engine: Any) -> None:
        for block in engine._learner.network.blocks:
            block.mlp.act = nn.GELU(approximate="tanh")

    def eps(engine: Any) -> None:
        for norm in norms(engine._learner.network):
            norm.eps = 1e-7

    def transpose(engine: Any) -> None:
        for block in engine._learner.network.blocks:
            block.attn.proj.weight.data = block.attn.proj.weight.data.T.contiguous()

    def dead(engine: Any) -> None:
        begin = engine._learner.begin
        engine._learner.begin = lambda *, lr, **more: begin(lr=5e-4, **more)

    def flat(engine: Any) -> None:
        for group in engine._learner._optimizer.param_groups:
            group["lr_scale"] = 1.0

    def dropout(engine: Any) -> None:
        for block in engine._learner.network.blocks:
            block.drop_path1 = block.drop_path2 = nn.Dropout(0.5)

    torch.manual_seed(0)
    return dict(zip(list(NAMES)[1:], (unload_norms, drop_bias, tanh, eps, transpose, dead, flat, dropout), strict=True))


def paddle_faults() -> dict[str, Callable[[Any], None]]:
    """Ways to spoil a Paddle engine."""
    import paddle
    from paddle import nn

    def norms(network: Any) -> list[Any]:
        return [layer for layer in network.sublayers() if isinstance(layer, nn.LayerNorm)]

    def unload_norms(engine: Any) -> None:
        for norm in norms(engine._network):
            norm.weight.set_value(paddle.ones_like(norm.weight))
            norm.bias.set_value(paddle.zeros_like(norm.bias))

    def drop_bias(engine: Any) -> None:
        proj = engine._network.patch_embed.proj
        proj.bias.set_value(paddle.zeros_like(proj.bias))

    def tanh(engine: Any) -> None:
        for block in engine._network.blocks:
            block.mlp.act = nn.GELU(approximate=True)

    def eps(engine: Any) -> None:
        for norm in norms(engine._network):
            norm._epsilon = 1e-7

    def transpose(engine: Any) -> None:
        for block in engine._network.blocks:
            block.attn.proj.weight.set_value(block.attn.proj.weight.numpy().T.copy())

    def dead(engine: Any) -> None:
        # What the earlier port did: this changes nothing in Paddle 3.3.
        optimizer = engine._learner._optimizer
        optimizer.set_lr(5e-4)

        def begin(*, lr: float) -> None:
            engine._network.train()
            for group in optimizer._param_groups:
                group["learning_rate"] = lr

        engine._learner.begin = begin

    def flat(engine: Any) -> None:
        for parameter in engine._network.parameters():
            parameter.optimize_attr["learning_rate"] = 1.0

    def dropout(engine: Any) -> None:
        for block in engine._network.blocks:
            block.drop_path1 = nn.Dropout(0.5)

    return dict(zip(list(NAMES)[1:], (unload_norms, drop_bias, tanh, eps, transpose, dead, flat, dropout), strict=True))


def mindspore_faults() -> dict[str, Callable[[Any], None]]:
    """Ways to spoil a MindSpore engine."""
    from mindspore import Tensor, nn, ops

    def unload_norms(engine: Any) -> None:
        for _, cell in engine._network.cells_and_names():
            if isinstance(cell, nn.LayerNorm):
                ops.assign(cell.gamma, ops.ones_like(cell.gamma))
                ops.assign(cell.beta, ops.zeros_like(cell.beta))

    def drop_bias(engine: Any) -> None:
        bias = engine._network.patch_embed.proj.bias
        ops.assign(bias, ops.zeros_like(bias))

    def tanh(engine: Any) -> None:
        for block in engine._network.blocks:
            block.mlp.act = nn.GELU()  # MindSpore's default

    def eps(engine: Any) -> None:
        for _, cell in engine._network.cells_and_names():
            if isinstance(cell, nn.LayerNorm):
                cell.layer_norm = ops.LayerNorm(cell.begin_norm_axis, cell.begin_params_axis)  # MindSpore's default

    def transpose(engine: Any) -> None:
        for block in engine._network.blocks:
            ops.assign(block.attn.proj.weight, Tensor(block.attn.proj.weight.asnumpy().T.copy()))

    def dead(engine: Any) -> None:
        finish = engine._learner.finish
        engine._learner.finish = lambda *, batches, lr: finish(batches=batches, lr=5e-4)

    def flat(engine: Any) -> None:
        optimizer = engine._learner._optimizer
        optimizer.scales = tuple(1.0 for _ in optimizer.scales)

    def dropout(engine: Any) -> None:
        class ElementWise(type(engine._network.blocks[0].drop_path1)):  # type: ignore[misc]
            def construct(self, x: Tensor, factors: Tensor | None = None) -> Tensor:
                return x if factors is None else ops.dropout(x, 0.5, True)

        for block in engine._network.blocks:
            block.drop_path1 = ElementWise()

    return dict(zip(list(NAMES)[1:], (unload_norms, drop_bias, tanh, eps, transpose, dead, flat, dropout), strict=True))


def build(framework: str, tensors: dict[str, np.ndarray]) -> Any:
    """Build a sound engine in this process."""
    if framework == "torch":
        from eyeground.model.torch.engine import TorchEngine as Engine
    elif framework == "paddle":
        from eyeground.model.paddle.engine import PaddleEngine as Engine  # type: ignore[assignment]
    else:
        from eyeground.model.mindspore.engine import MindSporeEngine as Engine  # type: ignore[assignment]
    return Engine(SPEC, tensors=tensors, optimization=LEARNING, device="cpu", precision="fp32")


def run(framework: str, tensors: dict[str, np.ndarray]) -> dict[str, list[str]]:
    """Plant one fault after another, each in an engine of its own."""
    ways = {"torch": torch_faults, "paddle": paddle_faults, "mindspore": mindspore_faults}[framework]()
    found = {}
    for fault, spoil in {"none": lambda engine: None, **ways}.items():
        engine = build(framework, tensors)
        spoil(engine)
        found[fault] = verdict(engine, tensors)
    return found


if __name__ == "__main__":
    sys.stdout.write(json.dumps(run(sys.argv[1], weights())) + "\n")
