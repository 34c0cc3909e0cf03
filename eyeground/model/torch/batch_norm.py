"""Batch norm that sees the batch of all processes, not each its own share."""

from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from timm.layers.norm_act import convert_sync_batchnorm
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from eyeground.model.processes import Processes
from eyeground.model.torch.processes import Together


def see_whole_batch(network: nn.Module, processes: Processes) -> nn.Module:
    """Let batch norm take its statistics over the images of all processes.

    Args:
        network: It is changed; weights and their names stay.
        processes: Who trains it.

    Returns:
        The network.

    Example:
        >>> from eyeground.model.processes import ALONE
        >>> type(see_whole_batch(nn.BatchNorm2d(3), ALONE)).__name__
        'BatchNorm2d'

    References:
        timm's conversion on a GPU, which keeps its fused activations; on a processor, where torch has none: our own.
    """
    if not isinstance(processes, Together):
        return network
    if processes.device.type == "cuda":
        converted: nn.Module = convert_sync_batchnorm(network)  # type: ignore[no-untyped-call]
        return converted
    for module in list(network.modules()):
        for name, child in module.named_children():
            if isinstance(child, _BatchNorm):
                setattr(module, name, GatheredBatchNorm(child))
    return network


class GatheredBatchNorm(_BatchNorm):
    """Batch norm over the batch of all processes, on a processor; shares of different length count as such.

    Args:
        like: Whose weights and statistics it takes, and timm's dropout and activation behind them, where it has any.

    References:
        Ioffe & Szegedy, ICML 2015; the sums over processes as in torch's ``SyncBatchNorm``.
    """

    def __init__(self, like: _BatchNorm) -> None:
        super().__init__(like.num_features, like.eps, like.momentum, like.affine, like.track_running_stats)
        for name in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked"):
            setattr(self, name, getattr(like, name))
        self.drop: nn.Module = getattr(like, "drop", nn.Identity())
        self.act: nn.Module = getattr(like, "act", nn.Identity())
        self.train(like.training)

    def forward(self, x: Tensor) -> Tensor:
        """Normalize.

        Args:
            x: Shape (N, C) or (N, C, H, W).

        Returns:
            The same shape.
        """
        if not self.training:
            made = F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, False, 0.0, self.eps)
            return self._behind(made)
        across = [dim for dim in range(x.ndim) if dim != 1]
        shape = [1, -1] + [1] * (x.ndim - 2)
        with torch.autocast(x.device.type, enabled=False):
            each = x.to(torch.promote_types(x.dtype, torch.float32))
            count = each.new_tensor([each.numel() / each.shape[1]])
            sums = _sum(torch.cat([each.sum(across), count]))
            total = sums[-1].detach()
            mean = sums[:-1] / total  # (C,)
            centered = each - mean.view(shape)
            variance = _sum(centered.square().sum(across)) / total
            self._remember(mean.detach(), variance.detach() * total / (total - 1))
            unit = centered * (variance + self.eps).rsqrt().view(shape)
            if self.affine:
                unit = unit * self.weight.view(shape) + self.bias.view(shape)
        return self._behind(unit.to(x.dtype))

    def _behind(self, made: Tensor) -> Tensor:
        """What timm puts behind the norm in the same module."""
        found: Tensor = self.act(self.drop(made))
        return found

    @torch.no_grad()
    def _remember(self, mean: Tensor, variance: Tensor) -> None:
        """Move the running statistics, as torch does."""
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked.add_(1)
        share = self.momentum if self.momentum is not None else 1 / float(self.num_batches_tracked)
        self.running_mean.lerp_(mean, share)
        self.running_var.lerp_(variance, share)

    def _check_input_dim(self, input: Tensor) -> None:
        """Any shape from (N, C) on."""


class _Sum(torch.autograd.Function):
    """The sum over all processes; its gradient is the sum of theirs."""

    @staticmethod
    def forward(ctx: Any, part: Tensor) -> Tensor:
        whole = part.detach().clone()
        dist.all_reduce(whole)
        return whole

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> Tensor:
        whole = slopes[0].contiguous().clone()
        dist.all_reduce(whole)
        return whole


def _sum(part: Tensor) -> Tensor:
    """Add up over all processes, and let gradients through."""
    found: Tensor = _Sum.apply(part)
    return found
