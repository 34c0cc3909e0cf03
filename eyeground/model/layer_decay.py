"""Parameter name -> layer -> learning-rate scale and weight decay (pure)."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

# Fed by the image directly: patch, class token and position in a ViT; the stem of a convolutional network.
_FIRST_LAYER = re.compile(r"^(cls_token|pos_embed|mask_token|reg_token|patch_embed\.|conv_stem\.|stem\.|conv1\.|bn1\.)")
# ResNets count their stages from 1, all others from 0.
_BLOCK = re.compile(r"^(?:blocks|layers|stages)\.(\d+)\.|^layer(\d+)\.")
# RETFound leaves these unpenalized although they have more than one dimension; timm, Swin's bias tables as well.
_NEVER_DECAYED = ("pos_embed", "cls_token", "mask_token", "reg_token", "relative_position_bias_table")


@dataclass(frozen=True)
class ParameterRule:
    """How one parameter learns.

    Args:
        lr_scale: Factor on the learning rate, (0, 1].
        weight_decay: AdamW's weight decay, at least 0.

    Example:
        >>> ParameterRule(0.65, 0.05).lr_scale
        0.65

    References:
        Our own.
    """

    lr_scale: float
    weight_decay: float


def depth_of(names: Sequence[str]) -> int:
    """Count a network's blocks from its parameter names.

    Args:
        names: Parameter names as timm writes them.

    Returns:
        Number of blocks or stages; 0 when the names hold none.

    Example:
        >>> depth_of(["blocks.0.norm1.weight", "blocks.11.norm1.weight", "head.bias"])
        12

    References:
        Our own.
    """
    return max((_block(name) for name in names), default=0)


def _block(name: str) -> int:
    """Number of a parameter's block, from 1; 0 for a parameter outside the blocks."""
    found = _BLOCK.match(name)
    if found is None:
        return 0
    return int(found[1]) + 1 if found[1] else int(found[2])


def layer_of(name: str, *, depth: int) -> int:
    """Tell which layer a parameter belongs to.

    Args:
        name: Parameter name as timm writes it.
        depth: Number of blocks.

    Returns:
        0 for what the image enters by, j + 1 for block j, depth + 1 for the rest (norms and head).

    Example:
        >>> [layer_of(n, depth=24) for n in ("pos_embed", "blocks.0.norm1.bias", "head.weight")]
        [0, 1, 25]

    References:
        Bao et al., "BEiT", ICLR 2022, appendix; RETFound uses the same numbering.
    """
    if _FIRST_LAYER.match(name):
        return 0
    return _block(name) or depth + 1


def parameter_rules(
    shapes: Mapping[str, Sequence[int]], *, layer_decay: float, weight_decay: float
) -> dict[str, ParameterRule]:
    """Give every parameter its learning-rate scale and weight decay.

    Args:
        shapes: Shape of each trainable parameter, by name.
        layer_decay: Factor per layer counted from the head, (0, 1]; 1 = all layers learn alike.
        weight_decay: Decay of parameters with two dimensions or more, at least 0; others get none.

    Returns:
        A rule for every name.

    Raises:
        ValueError: If a value is out of range, or the network has no blocks that layer decay could count.

    Example:
        >>> shapes = {"blocks.0.mlp.fc1.weight": (4, 4), "head.bias": (2,)}
        >>> rules = parameter_rules(shapes, layer_decay=0.5, weight_decay=0.1)
        >>> rules["blocks.0.mlp.fc1.weight"], rules["head.bias"]
        (ParameterRule(lr_scale=0.5, weight_decay=0.1), ParameterRule(lr_scale=1.0, weight_decay=0.0))

    References:
        Bao et al., "BEiT", ICLR 2022; values of Zhou et al., Nature 2023: 0.65 and 0.05.
    """
    if not 0 < layer_decay <= 1:
        raise ValueError(f"layer_decay is {layer_decay}: it lies in (0, 1]; 1 turns it off")
    if weight_decay < 0:
        raise ValueError(f"weight_decay is {weight_decay}: it cannot be negative")
    depth = depth_of(list(shapes))
    if not depth and layer_decay < 1:
        raise ValueError("this network's layers are not known by their names: set layer_decay=1")
    return {
        name: ParameterRule(
            lr_scale=layer_decay ** (depth + 1 - layer_of(name, depth=depth)),
            weight_decay=0.0 if len(shape) <= 1 or name.rpartition(".")[2] in _NEVER_DECAYED else weight_decay,
        )
        for name, shape in shapes.items()
    }
