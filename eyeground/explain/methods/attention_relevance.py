"""Attention relevance: attention weighted by its gradient, gathered through all blocks."""

import torch
from torch import nn

from eyeground.explain.methods._passes import at_rest, fresh
from eyeground.explain.methods._transformer import attention_maps, no_attention, read_out
from eyeground.explain.refusal import NoAttention

SUMMARY = "attention of a transformer weighted by what it does for the answer (gradient), through all blocks"


def obstacle(network: nn.Module) -> str:
    """Say why this method cannot serve a network.

    Args:
        network: Any.

    Returns:
        A sentence; empty where it can.

    Example:
        >>> obstacle(nn.Linear(2, 2)).partition(";")[0]
        'attention_relevance needs a transformer with global attention'

    References:
        Our own.
    """
    return no_attention(network, "attention_relevance")


def explain(network: nn.Module, images: torch.Tensor, direction: torch.Tensor) -> torch.Tensor:
    """Gather what of each patch reaches the answer through attention.

    Of a block, the relevance R of tokens to tokens grows by A R, A being the mean over heads of attention times its
    gradient where that is positive. The identity that R begins with is taken off at the end: it says that each token
    holds itself, which would lay the same over all patches where the head reads their mean.

    Args:
        network: A transformer with global attention; it is left as it came.
        images: Normalized, shape (N, 3, H, W).
        direction: What is explained, as weights of the outputs, shape (N, outputs).

    Returns:
        Shape (N, h, w).

    Raises:
        NoAttention: If the network has none that can be read.

    Example:
        >>> from eyeground.model.spec import ModelSpec
        >>> from eyeground.model.torch.network import build
        >>> vit = build(ModelSpec("vit_demo_patch8", classes=3, image_px=32))
        >>> explain(vit, torch.zeros(2, 3, 32, 32), torch.eye(3)[:2]).shape
        torch.Size([2, 4, 4])

    References:
        Chefer, Gur & Wolf, "Generic Attention-model Explainability for Interpreting Bi-Modal and Encoder-Decoder
        Transformers", ICCV 2021, equations 5 and 6.
    """
    if why := obstacle(network):
        raise NoAttention(why)
    with at_rest(network), attention_maps(network) as maps:
        images, direction = fresh(images, direction)
        explained = (network(images.requires_grad_(True)) * direction).sum()
        gradients = torch.autograd.grad(explained, maps)
        itself = torch.eye(maps[0].shape[-1], device=images.device)
        relevance = itself.expand(len(images), -1, -1)  # (N, L, L)
        for attention, gradient in zip(maps, gradients, strict=True):
            useful = (attention.detach() * gradient).clamp(min=0).mean(dim=1)
            relevance = relevance + useful @ relevance
        return read_out(network, relevance - itself, images)
