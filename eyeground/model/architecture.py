"""Names and shapes of our vision transformers without building one, and which of them a file of weights holds."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from math import isqrt
from typing import Literal

from eyeground.model.spec import VIT_SHAPES, ModelSpec, VitShape

_COLORS = 3
# Options of timm's that change what is computed, and no parameter's shape.
_NO_SHAPE = {
    "attn_drop_rate", "drop_rate", "dynamic_img_pad", "dynamic_img_size", "fix_init", "patch_drop_rate",
    "pos_drop_rate", "proj_drop_rate", "weight_init",
}  # fmt: skip
_BLOCK = re.compile(r"^blocks\.(\d+)\.")
# Beside the encoder in files of a pre-training: the decoder, and the heads of DINOv2.
_PRETRAINING = re.compile(r"^(decoder_|mask_token$|dino_head\.|ibot_head\.|projector\.)")
_MOST_TOLD = 5


def parameter_shapes(spec: ModelSpec, *, head: bool = True) -> dict[str, tuple[int, ...]]:
    """Tell the name and shape of every parameter of one of our ViTs.

    Args:
        spec: A spec whose name is in ``VIT_SHAPES``.
        head: Include the classifier. Without it, the encoder and its last norm (``norm`` or ``fc_norm``) remain.

    Returns:
        Canonical name -> shape, in the order of torch's ``state_dict``.

    Raises:
        ValueError: If the spec names another kind of network, or has options whose effect on shapes is not known here.

    Example:
        >>> shapes = parameter_shapes(ModelSpec("vit_large_patch16", classes=5))
        >>> len(shapes), shapes["pos_embed"], shapes["head.weight"]
        (296, (1, 197, 1024), (5, 1024))

    References:
        Dosovitskiy et al., ICLR 2021; names as in timm.
    """
    if spec.vit is None:
        raise ValueError(f"{spec.name} is not one of our ViT shapes: {', '.join(VIT_SHAPES)}")
    if unknown := sorted(set(spec.options) - _NO_SHAPE - {"init_values"}):
        raise ValueError(f"model {spec.name}: what {', '.join(unknown)} does to shapes is not known here")
    layer_scale = spec.options.get("init_values", spec.vit.layer_scale) is not None
    patches = (spec.image_px // spec.vit.patch_px) ** 2
    shapes = dict(_encoder(spec.vit, patches=patches, layer_scale=layer_scale, adapter_width=spec.adapter_width))
    shapes |= _affine("fc_norm" if spec.pool == "avg" else "norm", spec.vit.width)
    if head:
        shapes |= _linear("head", spec.vit.width, spec.classes)
    return shapes


def _encoder(
    vit: VitShape, *, patches: int, layer_scale: bool, adapter_width: int
) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Everything before the last norm."""
    width, hidden = vit.width, int(vit.width * vit.mlp_ratio)
    yield "cls_token", (1, 1, width)
    yield "pos_embed", (1, 1 + patches, width)
    yield "patch_embed.proj.weight", (width, _COLORS, vit.patch_px, vit.patch_px)
    yield "patch_embed.proj.bias", (width,)
    for number in range(vit.depth):
        block = f"blocks.{number}"
        yield from _affine(f"{block}.norm1", width)
        yield from _linear(f"{block}.attn.qkv", width, 3 * width)
        yield from _linear(f"{block}.attn.proj", width, width)
        if layer_scale:
            yield f"{block}.ls1.gamma", (width,)
        yield from _affine(f"{block}.norm2", width)
        yield from _linear(f"{block}.mlp.fc1", width, hidden)
        yield from _linear(f"{block}.mlp.fc2", hidden, width)
        if layer_scale:
            yield f"{block}.ls2.gamma", (width,)
        for adapter in (f"{block}.adapter_attn", f"{block}.adapter_mlp") if adapter_width else ():
            yield from _affine(f"{adapter}.norm", width)
            yield from _linear(f"{adapter}.down", width, adapter_width)
            yield from _linear(f"{adapter}.up", adapter_width, width)


def _affine(name: str, width: int) -> tuple[tuple[str, tuple[int, ...]], ...]:
    """A norm's parameters."""
    return (f"{name}.weight", (width,)), (f"{name}.bias", (width,))


def _linear(name: str, into: int, out: int) -> tuple[tuple[str, tuple[int, ...]], ...]:
    """A linear layer's parameters."""
    return (f"{name}.weight", (out, into)), (f"{name}.bias", (out,))


def of_pretraining(name: str) -> bool:
    """Tell whether a tensor belongs to a pre-training beside the encoder, and not to it.

    Args:
        name: Canonical name.

    Returns:
        True for the decoder of a masked autoencoder, the heads of DINOv2, a projector.

    Example:
        >>> of_pretraining("decoder_blocks.0.norm1.bias"), of_pretraining("norm.bias")
        (True, False)

    References:
        Our own.
    """
    return _PRETRAINING.match(name) is not None


@dataclass(frozen=True)
class Recognized:
    """What network a file's tensors belong to, as far as their shapes tell.

    Args:
        kind: In words: ``"ViT classifier"``, ``"ViT encoder"``, ``"masked autoencoder"`` or ``"not a ViT known here"``.
        model: Key of ``VIT_SHAPES``; empty = none of ours.
        reason: Why it is none of ours; empty if it is one.
        patch_px: Side of a patch, None = not told. Unit: px.
        width: Length of a token (D), None = not told.
        depth: Number of blocks, None = not told.
        image_px: Side of the image that the position embedding is made for, None = not told. Unit: px.
        classes: Outputs of the head (K), None = no head.
        pool: The kind of head, None = encoder only.
        layer_scale: Whether its branches have learned factors.
        decoder: Whether a masked autoencoder's decoder lies beside it.

    Example:
        >>> Recognized("ViT encoder", "vit_large_patch16", image_px=224).spec(classes=5).classes
        5

    References:
        Our own.
    """

    kind: str
    model: str = ""
    reason: str = ""
    patch_px: int | None = None
    width: int | None = None
    depth: int | None = None
    image_px: int | None = None
    classes: int | None = None
    pool: Literal["avg", "cls"] | None = None
    layer_scale: bool = False
    decoder: bool = False

    def spec(self, *, classes: int | None = None) -> ModelSpec:
        """Describe the classifier that this is, or that it becomes with a new head.

        Args:
            classes: Classes of a new head; None = those of the file.

        Returns:
            What to build. An encoder gets the head that its releases are made for.

        Raises:
            ValueError: If it is none of our networks, or has no head and none was asked for.
        """
        wanted = classes or self.classes
        if not self.model or self.image_px is None:
            raise ValueError(f"{self.kind}: {self.reason}")
        if wanted is None:
            raise ValueError(f"{self.kind} {self.model} has no head: say how many classes a new one has")
        pool = self.pool or VIT_SHAPES[self.model].pool
        return ModelSpec(self.model, classes=wanted, image_px=self.image_px, pool=pool)


_UNKNOWN = "not a ViT known here"


def recognize(shapes: Mapping[str, Sequence[int]]) -> Recognized:
    """Tell from names and shapes which of our networks a file holds.

    The number of attention heads leaves no trace in the shapes: it is taken from our shape of the same size.

    Args:
        shapes: Canonical name -> shape, as ``eyeground.model.weights.canonical`` gives them.

    Returns:
        The network. What is none of ours comes with a reason; nothing is raised.

    Example:
        >>> found = recognize(parameter_shapes(ModelSpec("vit_tiny_patch16", classes=3, image_px=96)))
        >>> found.kind, found.model, found.image_px, found.pool, found.classes
        ('ViT classifier', 'vit_tiny_patch16', 96, 'avg', 3)
        >>> recognize({"features.0.weight": (8, 3, 3, 3)}).reason
        'it lacks cls_token, pos_embed, patch_embed.proj.weight, blocks.0'

    References:
        Our own.
    """
    given = {name: tuple(int(side) for side in shape) for name, shape in shapes.items()}
    decoder = any(name.startswith("decoder_") for name in given)
    own = {name: shape for name, shape in given.items() if not of_pretraining(name)}
    blocks = {int(block[1]) for name in own if (block := _BLOCK.match(name))}
    needed = ("cls_token", "pos_embed", "patch_embed.proj.weight")
    if lacking := [name for name in needed if name not in own] + ([] if 0 in blocks else ["blocks.0"]):
        return Recognized(_UNKNOWN, reason=f"it lacks {', '.join(lacking)}")
    cls, position, patch = (own[name] for name in needed)
    if len(cls) != 3 or len(position) != 3 or len(patch) != 4 or min(patch) < 1:
        return Recognized(_UNKNOWN, reason=f"cls_token {cls}, pos_embed {position} and the patches {patch} do not fit")
    width, depth, side = patch[0], max(blocks) + 1, patch[-1]
    grid = isqrt(max(position[1] - 1, 0))
    head = own.get("head.weight", ())
    found = Recognized(
        "masked autoencoder" if decoder else "ViT classifier" if head else "ViT encoder",
        patch_px=side,
        width=width,
        depth=depth,
        image_px=grid * side if grid and grid * grid == position[1] - 1 else None,
        classes=head[0] if len(head) == 2 else None,
        pool=("avg" if "fc_norm.weight" in own else "cls") if head else None,
        layer_scale=any(name.endswith(".ls1.gamma") for name in own),
        decoder=decoder,
    )
    reason, model = _fault(own, found, depth=depth, positions=position[1], patch=patch)
    return Recognized(**{**vars(found), "model": model, "reason": reason, "kind": _UNKNOWN if reason else found.kind})


def _fault(
    own: Mapping[str, tuple[int, ...]], found: Recognized, *, depth: int, positions: int, patch: tuple[int, ...]
) -> tuple[str, str]:
    """Why the tensors are none of our networks, and else which."""
    if patch[1:] != (_COLORS, patch[3], patch[3]):
        return f"its patches have the shape {patch[1:]}, not (3, side, side)", ""
    if found.image_px is None:
        return f"its {positions} positions are no square grid and a class token", ""
    up, down = (own.get(f"blocks.0.mlp.{name}.weight", ()) for name in ("fc1", "fc2"))
    if len(up) == len(down) == 2 and up[0] == 2 * down[1]:
        return "its blocks have a gated MLP (SwiGLU)", ""
    plain = (found.patch_px, found.width, depth, found.layer_scale)
    model = next(
        (
            name
            for name, vit in VIT_SHAPES.items()
            if (vit.patch_px, vit.width, vit.depth, vit.layer_scale is not None) == plain
        ),
        "",
    )
    if not model:
        scale = "with" if found.layer_scale else "without"
        return (
            f"none of our ViTs has patches of {plain[0]} px, width {plain[1]}, depth {depth}, {scale} layer scale",
            "",
        )
    # A bare encoder ends in either norm.
    pool = found.pool or ("avg" if "fc_norm.weight" in own and "norm.weight" not in own else "cls")
    spec = ModelSpec(model, classes=found.classes or 1, image_px=found.image_px, pool=pool)
    wanted = parameter_shapes(spec, head=found.pool is not None)
    wrong = [f"{name} is {own[name]}, not {shape}" for name, shape in wanted.items() if own.get(name, shape) != shape]
    lacking = [name for name in wanted if name not in own]
    surplus = [name for name in own if name not in wanted]
    told = [
        *wrong[:_MOST_TOLD],
        *([f"it lacks {_some(lacking)}"] if lacking else []),
        *([f"it has {_some(surplus)} besides"] if surplus else []),
    ]
    return (f"like {model}, but {'; '.join(told)}" if told else ""), "" if told else model


def _some(names: Sequence[str]) -> str:
    """The first names, and how many more there are."""
    more = len(names) - _MOST_TOLD
    return ", ".join(islice(names, _MOST_TOLD)) + (f" and {more} more" if more > 0 else "")


def adapter_width_of(shapes: Mapping[str, Sequence[int]]) -> int:
    """Tell from weights whether their blocks hold adapters.

    Args:
        shapes: Shape of each tensor, by any name that ends in timm's.

    Returns:
        Width of the bottlenecks; 0 = there are none.

    Example:
        >>> adapter_width_of({"blocks.0.adapter_attn.down.weight": (8, 192)}), adapter_width_of({"norm.bias": (4,)})
        (8, 0)

    References:
        Our own.
    """
    return next((shape[0] for name, shape in shapes.items() if name.endswith(".adapter_attn.down.weight")), 0)
