"""Grad-CAM: the last feature maps, weighted by their mean gradient."""

from typing import Any

import torch
from torch import nn

from eyeground.explain.methods._passes import at_rest, fresh, name_of
from eyeground.explain.methods._transformer import is_token_grid, patches_of

SUMMARY = "last feature maps weighted by what they do for the answer (gradient); for any network"


def obstacle(network: nn.Module) -> str:
    """Say why this method cannot serve a network.

    Args:
        network: Any.

    Returns:
        A sentence; empty where it can.

    Example:
        >>> obstacle(nn.Linear(2, 2))
        'grad_cam needs feature maps before the head, and Linear does not show any: use occlusion or
        integrated_gradients'

    References:
        Our own.
    """
    if is_token_grid(network) or (hasattr(network, "forward_features") and hasattr(network, "forward_head")):
        return ""
    return _refusal(network)


def explain(network: Any, images: torch.Tensor, direction: torch.Tensor) -> torch.Tensor:
    """Weight the last feature maps by what they do for the answer.

    Of a convolutional network these are what its head pools; of a transformer the tokens that enter the last block,
    whose attention still mixes them.

    Args:
        network: A timm network or one like it; it is left as it came.
        images: Normalized, shape (N, 3, H, W).
        direction: What is explained, as weights of the outputs, shape (N, outputs).

    Returns:
        Shape (N, h, w), negative values cut to 0.

    Raises:
        ValueError: If the network does not show feature maps.

    Example:
        >>> from eyeground.model.spec import ModelSpec
        >>> from eyeground.model.torch.network import build
        >>> cnn = build(ModelSpec("mobilenetv2_100", classes=3))
        >>> explain(cnn, torch.zeros(2, 3, 64, 64), torch.eye(3)[:2]).shape
        torch.Size([2, 2, 2])

    References:
        Selvaraju et al., "Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization", ICCV 2017;
        of transformers as jacobgil's pytorch-grad-cam lays tokens out.
    """
    if why := obstacle(network):
        raise ValueError(why)
    with at_rest(network):
        images, direction = fresh(images, direction)
        seen, outputs = _tokens(network, images) if is_token_grid(network) else _feature_maps(network, images)
        (gradient,) = torch.autograd.grad((outputs * direction).sum(), seen)
        seen, gradient = (_channels_first(network, each, images) for each in (seen.detach(), gradient))
        weights = gradient.mean(dim=(2, 3), keepdim=True)  # (N, C, 1, 1)
        return (weights * seen).sum(dim=1).clamp(min=0)


def _feature_maps(network: Any, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """What the head pools, and what comes of it."""
    seen = network.forward_features(images).detach().requires_grad_(True)
    if seen.ndim != 4:
        raise ValueError(_refusal(network))
    return seen, network.forward_head(seen)


def _tokens(network: Any, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The tokens that enter the last block, and what comes of them."""
    entered: list[torch.Tensor] = []

    def enter(_: nn.Module, given: tuple[Any, ...]) -> tuple[Any, ...]:
        entered.append(given[0].detach().requires_grad_(True))
        return (entered[0], *given[1:])

    hook = network.blocks[-1].register_forward_pre_hook(enter)
    try:
        outputs = network(images)
        return entered[0], outputs
    finally:
        hook.remove()


def _channels_first(network: Any, seen: torch.Tensor, images: torch.Tensor) -> torch.Tensor:
    """Lay tokens or maps out as (N, C, h, w)."""
    if seen.ndim == 3:
        high, wide = patches_of(network, images)
        patches = seen[:, network.num_prefix_tokens :].transpose(1, 2)  # (N, C, L)
        return patches.reshape(len(patches), -1, high, wide)
    # Swin keeps channels last.
    return seen.permute(0, 3, 1, 2) if getattr(network, "output_fmt", "NCHW") == "NHWC" else seen


def _refusal(network: nn.Module) -> str:
    """Say what is missing."""
    return (
        f"grad_cam needs feature maps before the head, and {name_of(network)} does not show any: use occlusion or "
        "integrated_gradients"
    )
