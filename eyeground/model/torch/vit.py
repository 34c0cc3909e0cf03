"""The vision transformer with RETFound's head, built on timm's blocks and named as timm names it."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from timm.layers.drop import DropPath
from timm.models.vision_transformer import Block, VisionTransformer
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


class Adapter(nn.Module):
    """Bottleneck after a branch of a block; at the start it changes nothing.

    Only the way up starts at zero: were the way down shut as well (by zeros, or by a factor of 0 on the product), no
    gradient would reach either.

    Args:
        dim: Length of a token (D).
        width: Width of the bottleneck.

    Example:
        >>> tokens = torch.randn(2, 5, 8)
        >>> bool((Adapter(8, width=4)(tokens) == tokens).all())
        True

    References:
        Houlsby et al., "Parameter-Efficient Transfer Learning for NLP", ICML 2019; the norm at its entrance: Bapna &
        Firat, "Simple, Scalable Adaptation for Neural Machine Translation", EMNLP 2019.
    """

    def __init__(self, dim: int, *, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.down = nn.Linear(dim, width)
        self.act = nn.GELU()
        self.up = nn.Linear(width, dim)
        # As timm starts the other layers of a ViT.
        nn.init.trunc_normal_(self.down.weight, std=0.02)
        nn.init.zeros_(self.down.bias)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:  # (N, L, D)
        """Add what the bottleneck makes of a branch's output.

        Args:
            x: Shape (N, L, D).

        Returns:
            Shape (N, L, D).
        """
        changed: torch.Tensor = self.up(self.act(self.down(self.norm(x))))
        return x + changed


class SparingBlock(Block):
    """timm's block, which does not compute a branch for the images that leave it out.

    timm computes every branch and multiplies it by 0. Here, on a processor in training, a branch sees the images that
    keep it; the draws and the results are timm's. A batch of which no image keeps a branch is computed timm's way: its
    weights then have a gradient of 0, not none.

    Args:
        dim: Length of a token (D).
        settings: As timm's block takes them.

    Example:
        >>> SparingBlock(8, num_heads=2, drop_path=0.5).train()(torch.zeros(4, 5, 8)).shape
        torch.Size([4, 5, 8])

    References:
        Huang et al., "Deep Networks with Stochastic Depth", ECCV 2016; leaving out the computation as well: Oquab et
        al., "DINOv2", TMLR 2024, section 5.
    """

    def __init__(self, dim: int, **settings: Any) -> None:
        super().__init__(dim, **settings)
        self.adapter_attn: nn.Module = nn.Identity()
        self.adapter_mlp: nn.Module = nn.Identity()
        # With dropout inside, drawing before the branch would change what is drawn.
        self._draws_alone = not (settings.get("proj_drop") or settings.get("attn_drop"))

    def forward(
        self, x: torch.Tensor, attn_mask: torch.Tensor | None = None, is_causal: bool = False
    ) -> torch.Tensor:  # (N, L, D)
        """Add both branches, each through its adapter.

        Args:
            x: Shape (N, L, D).
            attn_mask: As timm's block takes it.
            is_causal: As timm's block takes it.

        Returns:
            Shape (N, L, D).
        """

        def attend(tokens: torch.Tensor) -> torch.Tensor:
            attended = self.attn(self.norm1(tokens), attn_mask=attn_mask, is_causal=is_causal)
            return self.adapter_attn(self.ls1(attended))  # type: ignore[no-any-return]

        def transform(tokens: torch.Tensor) -> torch.Tensor:
            return self.adapter_mlp(self.ls2(self.mlp(self.norm2(tokens))))  # type: ignore[no-any-return]

        return self._add(self._add(x, attend, self.drop_path1, attn_mask), transform, self.drop_path2, None)

    def _add(
        self,
        x: torch.Tensor,
        branch: Callable[[torch.Tensor], torch.Tensor],
        drop: nn.Module,
        attn_mask: torch.Tensor | None,
    ) -> torch.Tensor:
        """Add a branch, for the images that keep it alone where that is the cheaper way."""
        spares = isinstance(drop, DropPath) and drop.training and drop.drop_prob > 0
        # Elsewhere than on a processor, asking which images are left would wait for the device; and what is compiled
        # wants the same shapes every time.
        elsewhere = x.device.type != "cpu" or torch.compiler.is_compiling()
        if not spares or not self._draws_alone or attn_mask is not None or elsewhere:
            return x + drop(branch(x))  # type: ignore[no-any-return]
        factors = drop(x.new_ones(len(x), 1, 1))  # (N, 1, 1)
        kept = factors.flatten().nonzero().flatten()  # (M,)
        if len(kept) in (0, len(x)):
            return x + branch(x) * factors  # type: ignore[no-any-return]
        # index_select, as the way back through x[kept] takes several times as long.
        made = branch(x.index_select(0, kept)) * factors[kept]
        return x.index_add(0, kept, made.to(x.dtype))


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
        block_fn=SparingBlock,
        **{"init_values": shape.layer_scale} | dict(spec.options),
    )
    if spec.pool == "avg":
        vit.fc_norm = RepeatedLayerNorm(shape.width, passes=spec.fc_norm_passes, eps=1e-6)
    if spec.adapter_width:
        # Put in last, since timm draws every linear layer anew at the end of its own start; and drawn aside, so that
        # all else is drawn as without adapters.
        with torch.random.fork_rng(devices=[]):
            for block in vit.blocks:
                block.adapter_attn = Adapter(shape.width, width=spec.adapter_width)
                block.adapter_mlp = Adapter(shape.width, width=spec.adapter_width)
    return vit
