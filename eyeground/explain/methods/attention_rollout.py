"""Attention rollout: attention multiplied through all blocks; the same map for every answer."""

import torch
from torch import nn

from eyeground.explain.methods._passes import at_rest, fresh
from eyeground.explain.methods._transformer import attention_maps, no_attention, read_out
from eyeground.explain.refusal import NoAttention

SUMMARY = "attention multiplied through all blocks of a transformer; the same for every answer"


def obstacle(network: nn.Module) -> str:
    """Say why this method cannot serve a network.

    Args:
        network: Any.

    Returns:
        A sentence; empty where it can.

    Example:
        >>> obstacle(nn.Linear(2, 2)).partition(";")[0]
        'attention_rollout needs a transformer with global attention'

    References:
        Our own.
    """
    return no_attention(network, "attention_rollout")


def explain(network: nn.Module, images: torch.Tensor, direction: torch.Tensor) -> torch.Tensor:
    """Follow attention from the head back to the patches.

    Attention is averaged over heads; half of each token is taken to come from itself, through the residual connection.

    Args:
        network: A transformer with global attention; it is left as it came.
        images: Normalized, shape (N, 3, H, W).
        direction: What is explained, shape (N, outputs); attention does not know of it.

    Returns:
        Shape (N, h, w): what of the head's input comes from each patch.

    Raises:
        NoAttention: If the network has none that can be read.

    Example:
        >>> from eyeground.model.spec import ModelSpec
        >>> from eyeground.model.torch.network import build
        >>> vit = build(ModelSpec("vit_demo_patch8", classes=3, image_px=32))
        >>> explain(vit, torch.zeros(2, 3, 32, 32), torch.eye(3)[:2]).shape
        torch.Size([2, 4, 4])

    References:
        Abnar & Zuidema, "Quantifying Attention Flow in Transformers", ACL 2020.
    """
    if why := obstacle(network):
        raise NoAttention(why)
    with at_rest(network), torch.no_grad(), attention_maps(network) as maps:
        (images,) = fresh(images)
        network(images)
        through = torch.eye(maps[0].shape[-1], device=images.device)
        for attention in maps:
            mixed = attention.mean(dim=1) + torch.eye(attention.shape[-1], device=images.device)  # (N, L, L)
            through = (mixed / mixed.sum(dim=-1, keepdim=True)) @ through
        return read_out(network, through, images)
