"""How attention is computed in training."""

from torch import nn


def write_out_attention(network: nn.Module) -> int:
    """Let a network compute its attention in plain steps, and not in torch's fused one.

    On a processor the way back through the fused one is slow in bf16: 39 ms a layer against 10 for a batch of 16 of a
    masked autoencoder of ViT-L, a quarter of its step. What is paid: the softmaxes of all layers wait for the way back.

    Args:
        network: timm's, or made of its blocks; it is changed in place.

    Returns:
        How many layers were changed.

    Example:
        >>> from timm.layers import Attention
        >>> write_out_attention(nn.Sequential(Attention(8, num_heads=2), nn.ReLU()))
        1

    References:
        timm's ``fused_attn``; measured in docs/results.md.
    """
    layers = [layer for layer in network.modules() if getattr(layer, "fused_attn", False)]
    for layer in layers:
        layer.fused_attn = False  # type: ignore[assignment]
    return len(layers)
