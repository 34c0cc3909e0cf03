"""The vision transformer with RETFound's head, built on timm's blocks and named as timm names it."""

from functools import partial

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from eyeground.model.spec import ModelSpec


class RepeatedLayerNorm(nn.LayerNorm):
    """LayerNorm applied several times with the same weights.

    RETFound's 2025 code under timm 0.9.2 normalizes the pooled token twice by accident; checkpoints fine-tuned with it
    expect that.

    Args:
        width: Length of a token (D).
        passes: How often to normalize, at least 1.
        eps: Added to the variance.

    Example:
        >>> RepeatedLayerNorm(4, passes=2, eps=1e-6)(torch.arange(4.0)).shape
        torch.Size([4])

    References:
        RETFound_MAE at 897d71c with timm 0.9.2.
    """

    def __init__(self, width: int, *, passes: int, eps: float) -> None:
        super().__init__(width, eps=eps)
        self.passes = passes

    def forward(self, x: torch.Tensor) -> torch.Tensor:  # (N, D)
        """Normalize ``passes`` times.

        Args:
            x: Pooled tokens, shape (N, D).

        Returns:
            Shape (N, D).
        """
        for _ in range(self.passes):
            x = super().forward(x)
        return x


def build_vit(spec: ModelSpec) -> nn.Module:
    """Build a ViT classifier from its spec, with random weights.

    Args:
        spec: A spec whose name is in ``VIT_SHAPES``.

    Returns:
        The network: images (N, 3, H, W) to logits (N, K).

    Raises:
        ValueError: If the spec names another kind of network.

    Example:
        >>> vit = build_vit(ModelSpec("vit_demo_patch8", classes=3, image_px=32))
        >>> vit(torch.zeros(2, 3, 32, 32)).shape
        torch.Size([2, 3])

    References:
        Dosovitskiy et al., ICLR 2021; Zhou et al., Nature 2023.
    """
    shape = spec.vit
    if shape is None:
        raise ValueError(f"{spec.name} is not one of our ViT shapes")
    norm_layer = partial(nn.LayerNorm, eps=1e-6)
    vit = VisionTransformer(
        img_size=spec.image_px,
        patch_size=shape.patch_px,
        num_classes=spec.classes,
        global_pool="avg" if spec.pool == "avg" else "token",
        fc_norm=spec.pool == "avg",
        embed_dim=shape.width,
        depth=shape.depth,
        num_heads=shape.heads,
        mlp_ratio=shape.mlp_ratio,
        qkv_bias=True,
        norm_layer=norm_layer,
        drop_path_rate=spec.drop_path,
        **{"init_values": shape.layer_scale} | dict(spec.options),
    )
    if spec.pool == "avg":
        vit.fc_norm = RepeatedLayerNorm(shape.width, passes=spec.fc_norm_passes, eps=1e-6)
    return vit
