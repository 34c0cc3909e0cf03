"""Low-rank matrices beside frozen layers (LoRA), by the peft library."""

from collections.abc import Iterator

import torch
from torch import nn

from eyeground.model.adaptation import Adaptation, lora_layers

# How peft names what it puts in; without these parts, names are timm's.
_FROZEN = ".base_layer."
_ADAPTER = "default"


def add_lora(network: nn.Module, adaptation: Adaptation, *, classifier: str, seed: int) -> None:
    """Put matrices beside a network's layers, in place; what it computes stays the same until they learn.

    Args:
        network: A timm network or one of ours.
        adaptation: Rank, alpha, dropout, and the layers.
        classifier: Name of the classifier: it gets none.
        seed: Draws the first matrix of each layer; the second starts at zero. Torch's own generator stays as it was.

    Raises:
        ValueError: If a target is no layer of the network, or none that can have matrices.

    Example:
        >>> from eyeground.model.spec import ModelSpec
        >>> from eyeground.model.torch.network import build
        >>> vit = build(ModelSpec("vit_demo_patch8", classes=3, image_px=32))
        >>> add_lora(vit, Adaptation("lora", lora_rank=4), classifier="head", seed=0)
        >>> vit.blocks[0].attn.qkv.lora_A.default.weight.shape
        torch.Size([4, 96])

    References:
        Hu et al., "LoRA", ICLR 2022; huggingface/peft.
    """
    # Takes ten seconds, for it brings transformers along: only where it is asked for.
    from peft import LoraConfig, inject_adapter_in_model

    shapes = {name: tuple(parameter.shape) for name, parameter in network.named_parameters()}
    layers = lora_layers(shapes, targets=adaptation.lora_targets, classifier=classifier)
    strange = [name for name in layers if not _fits(network.get_submodule(name))]
    if strange:
        raise ValueError(f"lora_targets: {', '.join(strange)}: matrices go beside linear layers and plain convolutions")
    config = LoraConfig(
        r=adaptation.lora_rank,
        lora_alpha=adaptation.lora_alpha,  # type: ignore[arg-type]  # only ever divided by the rank
        lora_dropout=adaptation.lora_dropout,
        target_modules=list(layers),
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        inject_adapter_in_model(config, network, adapter_name=_ADAPTER)


def _fits(layer: nn.Module) -> bool:
    """Whether a layer is a matrix that an image goes through as a whole."""
    return isinstance(layer, nn.Linear) or (isinstance(layer, nn.Conv2d) and layer.groups == 1)


def plain_name(name: str) -> str:
    """Take the parts out of a name that peft puts in.

    Args:
        name: As the network has it.

    Returns:
        The canonical name.

    Example:
        >>> plain_name("blocks.0.attn.qkv.base_layer.weight"), plain_name("blocks.0.attn.qkv.lora_A.default.weight")
        ('blocks.0.attn.qkv.weight', 'blocks.0.attn.qkv.lora_A.weight')

    References:
        Our own.
    """
    for matrix in ("lora_A", "lora_B"):
        name = name.replace(f".{matrix}.{_ADAPTER}.", f".{matrix}.")
    return name.replace(_FROZEN, ".")


def merged_weights(network: nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    """Give the weights that layers with matrices come to; the network stays as it is.

    Args:
        network: As ``add_lora`` left it, trained or not.

    Yields:
        Canonical name and weight: the frozen one and the product of its matrices, added up.

    Example:
        >>> dict(merged_weights(nn.Linear(2, 2)))
        {}

    References:
        Hu et al., ICLR 2022, section 4.1; the product is peft's.
    """
    for name, layer in network.named_modules():
        if hasattr(layer, "get_delta_weight"):
            yield f"{name}.weight", layer.get_base_layer().weight + layer.get_delta_weight(_ADAPTER)
