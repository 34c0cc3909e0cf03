"""Depthwise convolutions with a stride, whose way back is slow on processors."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class _WithStride(torch.autograd.Function):
    """Go forth with the stride, and back without: the gradient is spread with zeros over what lies between."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, layer: nn.Conv2d) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.layer = layer
        return F.conv2d(x, weight, None, layer.stride, layer.padding, layer.dilation, layer.groups)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        x, weight = ctx.saved_tensors
        layer: Any = ctx.layer
        sides = [
            side + 2 * pad - far * (size - 1)
            for side, pad, far, size in zip(x.shape[2:], layer.padding, layer.dilation, layer.kernel_size, strict=True)
        ]
        spread = gradient.new_empty((*gradient.shape[:2], *sides)).contiguous(memory_format=torch.channels_last).zero_()
        spread[:, :, :: layer.stride[0], :: layer.stride[1]] = gradient
        to_x, to_weight = ctx.needs_input_grad[:2]
        x, weight = x.to(gradient.dtype), weight.to(gradient.dtype)
        # Only what goes back to x is slow with the stride; both at once would take twice as long as one by one.
        of_x = _back(spread, x, weight, layer, (1, 1), [True, False, False])[0] if to_x else None
        of_weight = _back(gradient, x, weight, layer, layer.stride, [False, True, False])[1] if to_weight else None
        return _like(of_x, ctx.saved_tensors[0]), _like(of_weight, ctx.saved_tensors[1]), None


def _back(
    gradient: Tensor, x: Tensor, weight: Tensor, layer: nn.Conv2d, stride: tuple[int, ...], wanted: list[bool]
) -> Any:
    """Gradients of x, of the weight and of a bias, those that are wanted."""
    return torch.ops.aten.convolution_backward(
        gradient, x, weight, None, stride, layer.padding, layer.dilation, False, [0, 0], layer.groups, wanted
    )


def _like(gradient: Tensor | None, of: Tensor) -> Tensor | None:
    """A gradient in the number format of what it belongs to."""
    return None if gradient is None else gradient.to(of.dtype)


class StridedDepthwise(nn.Conv2d):
    """A depthwise convolution with a stride that goes back as one without.

    On a processor oneDNN's way back with a stride takes thirteen times what it takes without one: 100 against 8 ms for
    16 images, 96 channels of 112 px, in bf16. The gradients are the same.

    Example:
        >>> layer = StridedDepthwise(4, 4, 3, stride=2, padding=1, groups=4, bias=False)
        >>> layer(torch.zeros(1, 4, 8, 8, requires_grad=True)).shape
        torch.Size([1, 4, 4, 4])

    References:
        Howard et al., "MobileNets", 2017; the way back: our own, benchmarks/training.py.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Convolve.

        Args:
            input: Shape (N, C, H, W).

        Returns:
            Shape (N, C, H', W').
        """
        learns = torch.is_grad_enabled() and (input.requires_grad or self.weight.requires_grad)
        if learns and input.device.type == "cpu" and not torch.compiler.is_compiling():
            found: Tensor = _WithStride.apply(input, self.weight, self)
            return found
        return super().forward(input)


def has_slow_way_back(layer: nn.Module) -> bool:
    """Tell whether a layer is one that ``StridedDepthwise`` can stand for.

    Args:
        layer: Any.

    Returns:
        Whether it is a depthwise convolution with a stride, padded with zeros, without a bias.

    Example:
        >>> has_slow_way_back(nn.Conv2d(4, 4, 3, stride=2, groups=4, bias=False)), has_slow_way_back(nn.Conv2d(4, 4, 3))
        (True, False)

    References:
        Our own.
    """
    return (
        type(layer) is nn.Conv2d
        and layer.groups == layer.in_channels > 1
        and max(layer.stride) > 1
        and layer.bias is None
        and layer.padding_mode == "zeros"
        and not isinstance(layer.padding, str)
    )


def without_slow_way_back(layer: nn.Conv2d) -> StridedDepthwise:
    """Give the same layer with a faster way back.

    Args:
        layer: One of which ``has_slow_way_back`` is true.

    Returns:
        A layer with the same weight, not a copy of it.

    Example:
        >>> layer = nn.Conv2d(4, 4, 3, stride=2, groups=4, bias=False)
        >>> without_slow_way_back(layer).weight is layer.weight
        True

    References:
        Our own.
    """
    shape: Any = {name: getattr(layer, name) for name in ("kernel_size", "stride", "padding", "dilation", "groups")}
    made = StridedDepthwise(layer.in_channels, layer.out_channels, **shape, bias=False, device="meta")
    made.weight = layer.weight
    return made.train(layer.training)
