"""Network shapes as data: what to build, before any framework is asked to build it."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from types import MappingProxyType
from typing import Any, Literal


@dataclass(frozen=True)
class VitShape:
    """Shape of a plain vision transformer.

    Args:
        patch_px: Side of a square patch. Unit: px.
        width: Length of a token (D).
        depth: Number of blocks.
        heads: Attention heads; divides ``width``.
        mlp_ratio: Hidden width of the MLP over ``width``.
        layer_scale: What each branch's learned factors start from; None = it has none.
        pool: The head its releases are made for; ``auto`` in a configuration means this one.

    Example:
        >>> VIT_SHAPES["vit_large_patch16"].depth
        24

    References:
        Dosovitskiy et al., "An Image is Worth 16x16 Words", ICLR 2021; sizes below Ti are our own. Layer scale: Touvron
        et al., "Going deeper with Image Transformers", ICCV 2021, as in Oquab et al., "DINOv2", 2023.
    """

    patch_px: int
    width: int
    depth: int
    heads: int
    mlp_ratio: float = 4.0
    layer_scale: float | None = None
    pool: Literal["avg", "cls"] = "avg"


VIT_SHAPES: Mapping[str, VitShape] = MappingProxyType(
    {
        "vit_demo_patch8": VitShape(8, 96, 4, 3),
        "vit_mini_patch16": VitShape(16, 128, 6, 4),
        "vit_tiny_patch16": VitShape(16, 192, 12, 3),
        "vit_small_patch16": VitShape(16, 384, 12, 6),
        "vit_base_patch16": VitShape(16, 768, 12, 12),
        "vit_large_patch16": VitShape(16, 1024, 24, 16),
        "vit_small_patch14_dinov2": VitShape(14, 384, 12, 6, layer_scale=1e-5, pool="cls"),
        "vit_base_patch14_dinov2": VitShape(14, 768, 12, 12, layer_scale=1e-5, pool="cls"),
        "vit_large_patch14_dinov2": VitShape(14, 1024, 24, 16, layer_scale=1e-5, pool="cls"),
    }
)


# timm would load files or change the head behind the key-by-key report.
_NOT_OPTIONS = {"checkpoint_path", "pretrained", "pretrained_cfg", "pretrained_cfg_overlay", "num_classes", "in_chans"}


@dataclass(frozen=True)
class ModelSpec:
    """Everything needed to build a classifier anywhere.

    Args:
        name: A key of ``VIT_SHAPES`` (built with the RETFound head) or any timm model name.
        classes: Number of classes (K), at least 1.
        image_px: Side of the square input. Unit: px.
        pool: For ViTs: ``"avg"`` = mean of the patch tokens, then ``fc_norm``;
            ``"cls"`` = ``norm``, then the first token.
        fc_norm_passes: How often ``fc_norm`` is applied: 1 (2023 code, and ours) or 2 (2025 code under timm 0.9.2).
        drop_path: Greatest drop-path rate, rising linearly with depth, [0, 1).
        options: Further keyword arguments for timm, such as ``{"pad_type": "same"}``.
        adapter_width: Width of the bottleneck after each branch of a ViT's blocks; 0 = there are none.

    Raises:
        ValueError: If a value is out of range; the message lists all of them.

    Example:
        >>> ModelSpec("vit_large_patch16", classes=5).vit.width
        1024

    References:
        Zhou et al., "A foundation model for generalizable disease detection from retinal images", Nature 2023.
    """

    name: str
    classes: int
    image_px: int = 224
    pool: Literal["avg", "cls"] = "avg"
    fc_norm_passes: Literal[1, 2] = 1
    drop_path: float = 0.0
    options: Mapping[str, Any] = field(default_factory=dict)
    adapter_width: int = 0

    def __post_init__(self) -> None:
        wrong = []
        if self.classes < 1:
            wrong.append(f"classes is {self.classes}: a classifier needs at least 1")
        if self.vit and self.image_px % self.vit.patch_px:
            down = self.image_px // self.vit.patch_px * self.vit.patch_px
            offers = " or ".join(str(px) for px in (down, down + self.vit.patch_px) if px)
            wrong.append(
                f"image_px is {self.image_px}: not divisible by the patch of {self.vit.patch_px} px; try {offers}"
            )
        if self.pool not in ("avg", "cls"):
            wrong.append(f"pool is {self.pool!r}: it is 'avg' or 'cls'")
        if self.fc_norm_passes not in (1, 2):
            wrong.append(f"fc_norm_passes is {self.fc_norm_passes}: it is 1 or 2")
        if taken := sorted(_NOT_OPTIONS & set(self.options)):
            wrong.append(f"options may not hold {', '.join(taken)}: weights and head have keys of their own")
        if not 0 <= self.drop_path < 1:
            wrong.append(f"drop_path is {self.drop_path}: it lies in [0, 1)")
        if self.adapter_width < 0:
            wrong.append(f"adapter_width is {self.adapter_width}: it is at least 1, or 0 for no adapters")
        if self.adapter_width and not self.vit:
            wrong.append(
                f"only our ViT shapes hold adapters ({', '.join(VIT_SHAPES)}): "
                "use lora with lora_targets of this network, last_n, bitfit or head"
            )
        if wrong:
            raise ValueError(f"model {self.name}: " + "; ".join(wrong))

    @property
    def vit(self) -> VitShape | None:
        """Shape of the transformer, None for a timm model."""
        return VIT_SHAPES.get(self.name)

    def to_json(self) -> dict[str, Any]:
        """Plain values, to be stored with the weights; ``ModelSpec(**spec.to_json())`` gives it back."""
        return asdict(self)


@dataclass(frozen=True)
class MaeSpec:
    """Everything needed to build a masked autoencoder anywhere.

    Args:
        name: A key of ``VIT_SHAPES``: the encoder.
        image_px: Side of the square input. Unit: px.
        mask_ratio: Share of the patches that are hidden from the encoder, (0, 1).
        norm_pix: Predict each patch's pixels after taking its own mean and standard deviation out.
        decoder_width: Length of a decoder token.
        decoder_depth: Decoder blocks.
        decoder_heads: Attention heads; divides ``decoder_width``.

    Raises:
        ValueError: If a value is out of range; the message lists all of them.

    Example:
        >>> MaeSpec("vit_large_patch16").visible
        49

    References:
        He et al., "Masked Autoencoders Are Scalable Vision Learners", CVPR 2022: the defaults.
    """

    name: str
    image_px: int = 224
    mask_ratio: float = 0.75
    norm_pix: bool = False
    decoder_width: int = 512
    decoder_depth: int = 8
    decoder_heads: int = 16

    def __post_init__(self) -> None:
        wrong = []
        plain = [name for name, shape in VIT_SHAPES.items() if shape.layer_scale is None]
        if self.name not in plain:
            wrong.append(f"a masked autoencoder needs one of our ViT shapes without layer scale: {', '.join(plain)}")
        else:
            try:
                ModelSpec(self.name, classes=1, image_px=self.image_px)
            except ValueError as error:
                wrong.append(str(error).partition(": ")[2])
            if not wrong and not 0 < self.visible < self.patches:
                wrong.append(
                    f"mask_ratio is {self.mask_ratio}: of {self.patches} patches it leaves {self.visible} visible; "
                    "at least one patch has to be seen and one hidden, such as with 0.75"
                )
        if self.decoder_width % self.decoder_heads:
            wrong.append(f"decoder_heads is {self.decoder_heads}: it must divide decoder_width {self.decoder_width}")
        if self.decoder_width % 4:
            wrong.append(f"decoder_width is {self.decoder_width}: sin-cos positions need a multiple of 4")
        if wrong:
            raise ValueError(f"model {self.name}: " + "; ".join(wrong))

    @property
    def encoder(self) -> ModelSpec:
        """The classifier that the encoder becomes."""
        return ModelSpec(self.name, classes=1, image_px=self.image_px)

    @property
    def patches(self) -> int:
        """Patches of an image (L)."""
        return (self.image_px // VIT_SHAPES[self.name].patch_px) ** 2

    @property
    def visible(self) -> int:
        """Patches that the encoder sees."""
        return int(self.patches * (1 - self.mask_ratio))

    def to_json(self) -> dict[str, Any]:
        """Plain values; ``MaeSpec(**spec.to_json())`` gives it back."""
        return asdict(self)


@dataclass(frozen=True)
class SimclrSpec:
    """Everything needed to build a contrastive network anywhere.

    Args:
        name: The backbone: a key of ``VIT_SHAPES`` or any timm model name.
        image_px: Side of the square input. Unit: px.
        pool: For ViTs, as in ``ModelSpec``.
        drop_path: Greatest drop-path rate, [0, 1).
        options: Further keyword arguments for timm.
        temperature: Divides the cosine similarities, above 0.
        projector: Widths of the projector's layers; the last is the length of what is compared.

    Raises:
        ValueError: If a value is out of range; the message lists all of them.

    Example:
        >>> SimclrSpec("efficientnet_b0").projector
        (2048, 128)

    References:
        Chen et al., "A Simple Framework for Contrastive Learning of Visual Representations", ICML 2020.
    """

    name: str
    image_px: int = 224
    pool: Literal["avg", "cls"] = "avg"
    drop_path: float = 0.0
    options: Mapping[str, Any] = field(default_factory=dict)
    temperature: float = 0.1
    projector: tuple[int, ...] = (2048, 128)

    def __post_init__(self) -> None:
        wrong = []
        try:
            _ = self.encoder
        except ValueError as error:
            wrong.append(str(error).partition(": ")[2])
        if not self.temperature > 0:
            wrong.append(f"temperature is {self.temperature}: it is above 0, such as 0.1")
        if not self.projector or min(self.projector) < 1:
            wrong.append(f"projector is {list(self.projector)}: it lists at least one width, such as [2048, 128]")
        if wrong:
            raise ValueError(f"model {self.name}: " + "; ".join(wrong))

    @property
    def encoder(self) -> ModelSpec:
        """The classifier that the backbone becomes."""
        return ModelSpec(
            self.name, 1, image_px=self.image_px, pool=self.pool, drop_path=self.drop_path, options=self.options
        )

    def to_json(self) -> dict[str, Any]:
        """Plain values; ``SimclrSpec(**spec.to_json())`` gives it back, but for the projector's tuple."""
        return asdict(self)
