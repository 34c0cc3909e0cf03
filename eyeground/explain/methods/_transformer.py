"""What is read of a vision transformer: its attention, and which token is which patch."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from eyeground.explain.methods._passes import name_of
from eyeground.explain.refusal import NoAttention

_INSTEAD = "use grad_cam, occlusion or integrated_gradients"
# timm's attention over all tokens; AttentionRope and others keep their maps elsewhere.
_READABLE = "Attention"


def no_attention(network: nn.Module, method: str) -> str:
    """Say why a method that reads attention cannot serve a network.

    Args:
        network: Any.
        method: Name of the method.

    Returns:
        A sentence; empty where it can.

    Example:
        >>> no_attention(nn.Linear(2, 2), "attention_rollout")
        'attention_rollout needs a transformer with global attention; Linear has none: use grad_cam, occlusion or
        integrated_gradients'

    References:
        Our own.
    """
    name, why = name_of(network), ""
    layers = _attention_layers(network)
    windowed = any("Window" in type(module).__name__ for module in network.modules())
    if windowed or any(getattr(block, "window_size", 0) for block in _blocks(network)):
        why = f"{name} attends within windows, each by itself"
    elif not layers:
        why = f"{name} has none"
    elif not all(
        type(layer).__name__ == _READABLE and hasattr(layer, "attn_drop") and hasattr(layer, "fused_attn")
        for layer in layers
    ):
        why = f"{name} has another kind of it, which is not read here"
    elif not is_token_grid(network) or getattr(network, "attn_pool", None) is not None or pool_of(network) == "":
        why = f"{name} pools its tokens in a way that is not read here"
    return f"{method} needs a transformer with global attention; {why}: {_INSTEAD}" if why else ""


def is_token_grid(network: nn.Module) -> bool:
    """Tell whether a network is a row of blocks over tokens that are a grid of patches, with others before them.

    Args:
        network: Any.

    Returns:
        Whether ``patches_of`` can be asked.

    Example:
        >>> is_token_grid(nn.Linear(2, 2))
        False

    References:
        timm's VisionTransformer and those built like it.
    """
    return all(hasattr(network, name) for name in ("patch_embed", "num_prefix_tokens", "global_pool")) and bool(
        len(_blocks(network))
    )


def pool_of(network: Any) -> str:
    """Tell what the head reads.

    Args:
        network: A transformer of which ``is_token_grid`` is true.

    Returns:
        ``"token"`` for the class token, ``"avg"`` for the mean of the patches, ``""`` for anything else.

    Example:
        >>> from types import SimpleNamespace
        >>> pool_of(SimpleNamespace(global_pool="avg"))
        'avg'

    References:
        timm's ``global_pool``.
    """
    return network.global_pool if network.global_pool in ("token", "avg") else ""


def patches_of(network: Any, images: torch.Tensor) -> tuple[int, int]:
    """Count patches.

    Args:
        network: A transformer of which ``is_token_grid`` is true.
        images: Shape (N, 3, H, W).

    Returns:
        How many there are from top to bottom, and from left to right.

    Example:
        >>> from types import SimpleNamespace
        >>> vit = SimpleNamespace(patch_embed=SimpleNamespace(patch_size=(8, 8)))
        >>> patches_of(vit, torch.zeros(1, 3, 32, 48))
        (4, 6)

    References:
        Our own.
    """
    high, wide = network.patch_embed.patch_size
    return images.shape[2] // high, images.shape[3] // wide


@contextmanager
def attention_maps(network: nn.Module) -> Iterator[list[torch.Tensor]]:
    """Keep the attention of every block while a network is asked.

    Fused attention never writes its maps down, so it is turned off meanwhile. Dropout of attention comes right after
    the softmax and does nothing in evaluation mode: what it gives is the map.

    Args:
        network: One of which ``no_attention`` says nothing.

    Yields:
        A list that each pass adds to, in order of the blocks: shape (N, heads, L, L), a row per token that looks.

    Example:
        >>> with attention_maps(nn.Linear(2, 2)) as maps:
        ...     maps
        []

    References:
        Our own.
    """
    layers: list[Any] = _attention_layers(network)
    fused = [layer.fused_attn for layer in layers]
    maps: list[torch.Tensor] = []
    hooks = []
    try:
        for layer in layers:
            layer.fused_attn = False
            hooks.append(layer.attn_drop.register_forward_hook(lambda _, given, made: maps.append(made)))
        yield maps
    finally:
        for hook in hooks:
            hook.remove()
        for layer, was in zip(layers, fused, strict=True):
            layer.fused_attn = was


def read_out(network: Any, relevance: torch.Tensor, images: torch.Tensor) -> torch.Tensor:
    """Read from a matrix of tokens by tokens what the head takes in of each patch.

    Args:
        network: The transformer.
        relevance: How much each token (row) holds of each token (column) of the first block, shape (N, L, L).
        images: What was looked at, shape (N, 3, H, W).

    Returns:
        Shape (N, patches from top to bottom, patches from left to right): the class token's row, or the mean of the
        patches' rows, without the tokens that are no patch.

    Raises:
        NoAttention: If the tokens are no grid of patches with others before them.

    Example:
        >>> from types import SimpleNamespace
        >>> vit = SimpleNamespace(patch_embed=SimpleNamespace(patch_size=(8, 8)), num_prefix_tokens=1,
        ...                       global_pool="token")
        >>> read_out(vit, torch.arange(9.0).reshape(1, 3, 3), torch.zeros(1, 3, 8, 16))
        tensor([[[1., 2.]]])

    References:
        Our own.
    """
    before: int = network.num_prefix_tokens
    high, wide = patches_of(network, images)
    if relevance.shape[-1] != before + high * wide:
        raise NoAttention(
            f"{name_of(network)} has {relevance.shape[-1]} tokens where {high} x {wide} patches and {before} others "
            f"were expected: {_INSTEAD}"
        )
    if pool_of(network) == "token":
        row = relevance[:, 0]
    else:
        row = relevance[:, 0 if getattr(network, "pool_include_prefix", False) else before :].mean(dim=1)
    return row[:, before:].reshape(-1, high, wide)


def _blocks(network: nn.Module) -> list[nn.Module]:
    """The row of blocks, if there is one."""
    blocks = getattr(network, "blocks", None)
    return list(blocks) if isinstance(blocks, nn.Sequential | nn.ModuleList) else []


def _attention_layers(network: nn.Module) -> list[nn.Module]:
    """The attention of each block; none where a block has none."""
    found = [getattr(block, "attn", None) for block in _blocks(network)]
    layers = [layer for layer in found if isinstance(layer, nn.Module)]
    return layers if len(layers) == len(found) else []
