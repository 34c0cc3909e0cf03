"""Any timm network as a classifier: EfficientNet, MobileNet, Swin and the rest; and frozen batch norm."""

from typing import Any

import timm
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from eyeground.model.spec import ModelSpec
from eyeground.model.torch.depthwise import has_slow_way_back, without_slow_way_back


def build_timm(spec: ModelSpec) -> nn.Module:
    """Build a timm network with random weights.

    Args:
        spec: Its name is a timm model name; ``options`` go to timm.

    Returns:
        The network: images (N, 3, H, W) to logits (N, K).

    Raises:
        ValueError: If timm does not know the name (near names are listed), or refuses an option.

    Example:
        >>> build_timm(ModelSpec("mobilenetv2_100", classes=3)).get_classifier().out_features
        3

    References:
        Wightman, PyTorch Image Models, 2019.
    """
    if not timm.is_model(spec.name):
        near = timm.list_models(f"*{spec.name.split('_')[0][:6]}*")[:5]
        raise ValueError(
            f"model {spec.name!r} is neither one of our ViT shapes nor a timm model; near: {', '.join(near)}"
        )
    options = dict(spec.options)
    if spec.drop_path:
        options["drop_path_rate"] = spec.drop_path
    # Swin and timm's own ViTs build tables for a fixed input size; convolutional networks take any.
    if "img_size" not in options and _takes_image_size(spec.name):
        options["img_size"] = spec.image_px
    try:
        return spare_copies(timm.create_model(spec.name, pretrained=False, num_classes=spec.classes, **options))
    except (TypeError, AssertionError) as error:
        raise ValueError(f"timm cannot build {spec.name} with {options}: {error}") from error


def _takes_image_size(name: str) -> bool:
    """Tell from timm's own table whether the input size is fixed when the network is built."""
    pretrained = timm.get_pretrained_cfg(name)
    return bool(pretrained is not None and pretrained.fixed_input_size)


class _Clamp(torch.autograd.Function):
    """Clamp in place, and remember the result, which the next layer keeps anyway."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, least: float, greatest: float) -> torch.Tensor:
        x.clamp_(least, greatest)
        ctx.mark_dirty(x)
        ctx.save_for_backward(x)
        ctx.bounds = least, greatest
        return x

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> Any:
        (clamped,) = ctx.saved_tensors
        return torch.ops.aten.hardtanh_backward(gradient, clamped, *ctx.bounds), None, None


class SparingReLU6(nn.ReLU6):
    """ReLU6 in place that learns from its result.

    torch's own copies its input first, for the backward pass, and so is not in place at all. Which numbers were
    clamped can be told from the result as well: those at the bounds. The gradients are the same to the bit.

    Example:
        >>> SparingReLU6(inplace=True)(torch.tensor([-1.0, 2.0, 7.0]))
        tensor([0., 2., 6.])

    References:
        Howard et al., "MobileNets", 2017, for the bound of 6; what is remembered: our own, benchmarks/training.py.
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Clamp to [0, 6].

        Args:
            x: Any shape; changed in place.

        Returns:
            The same tensor.
        """
        if self.inplace and x.requires_grad and torch.is_grad_enabled() and not torch.compiler.is_compiling():
            return _Clamp.apply(x, self.min_val, self.max_val)  # type: ignore[no-any-return]
        return super().forward(x)


def spare_copies(network: nn.Module) -> nn.Module:
    """Let layers cost no more in training than they need to.

    Args:
        network: It is changed in place: ReLU6 becomes ``SparingReLU6``; SiLU and hard swish make a new tensor, which is
            cheaper than to copy their input and then write over it; depthwise convolutions with a stride become
            ``StridedDepthwise``.

    Returns:
        The same network; it computes the same numbers, and has the same weights by the same names.

    Example:
        >>> spare_copies(nn.Sequential(nn.ReLU6(inplace=True)))
        Sequential(
          (0): SparingReLU6(inplace=True)
        )

    References:
        Our own, benchmarks/training.py.
    """
    for module in list(network.modules()):
        for name, child in module.named_children():
            if type(child) is nn.ReLU6 and child.inplace:
                setattr(module, name, SparingReLU6(inplace=True))
            elif isinstance(child, nn.Conv2d) and has_slow_way_back(child):
                setattr(module, name, without_slow_way_back(child))
            elif isinstance(child, nn.SiLU | nn.Hardswish):
                child.inplace = False
    return network


def freeze_batch_norm(network: nn.Module) -> int:
    """Keep every batch norm on its stored statistics, also in training mode.

    Scale and shift still learn; only the running statistics stay.

    Args:
        network: A network in training mode.

    Returns:
        How many batch norms there are.

    Example:
        >>> freeze_batch_norm(nn.Sequential(nn.BatchNorm2d(3)).train())
        1

    References:
        Our own; needed where statistics were folded into the weights.
    """
    norms = [module for module in network.modules() if isinstance(module, _BatchNorm)]
    for module in norms:
        module.eval()
    return len(norms)
