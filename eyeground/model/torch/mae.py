"""The masked autoencoder: hide most of an image, encode what is left, predict the pixels that are hidden.

Modules are named as facebookresearch names them, so its checkpoints load key by key.
"""

from functools import partial
from typing import Any, NamedTuple

import torch
from timm.layers.patch_embed import PatchEmbed
from timm.models import checkpoint_seq
from timm.models.vision_transformer import Block
from torch import nn

from eyeground.model.positions import sincos_positions
from eyeground.model.spec import VIT_SHAPES, MaeSpec, VitShape

_DECODER_MLP_RATIO = 4.0


class Visible(NamedTuple):
    """What the encoder made of the patches it saw.

    Args:
        latent: Class token and visible patches after the encoder, shape (N, 1 + kept, D).
        mask: Shape (N, L). 1 = removed, 0 = kept.
        ids_restore: Where each patch went when they were shuffled, shape (N, L).

    Example:
        >>> mae = MaskedAutoencoder(MaeSpec("vit_demo_patch8", image_px=32))
        >>> mae.encode_visible(torch.zeros(2, 3, 32, 32)).latent.shape
        torch.Size([2, 5, 96])

    References:
        He et al., CVPR 2022, section 3.
    """

    latent: torch.Tensor
    mask: torch.Tensor
    ids_restore: torch.Tensor


class MaskedAutoencoder(nn.Module):
    """A ViT that learns by predicting the pixels of patches that were hidden from it.

    Args:
        spec: Encoder, image size, share of hidden patches, target and decoder.

    Example:
        >>> mae = MaskedAutoencoder(MaeSpec("vit_demo_patch8", image_px=32))
        >>> loss, prediction, mask = mae(torch.zeros(2, 3, 32, 32))
        >>> prediction.shape, mask.sum(dim=1)
        (torch.Size([2, 16, 192]), tensor([12., 12.]))

    References:
        He et al., "Masked Autoencoders Are Scalable Vision Learners", CVPR 2022.
    """

    pos_embed: nn.Parameter
    decoder_pos_embed: nn.Parameter

    def __init__(self, spec: MaeSpec) -> None:
        super().__init__()
        self.spec = spec
        self.shape: VitShape = VIT_SHAPES[spec.name]
        patch_px, width = self.shape.patch_px, self.shape.width

        # Encoder.
        self.patch_embed = PatchEmbed(spec.image_px, patch_px, in_chans=3, embed_dim=width)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.pos_embed = _fixed_positions(width, spec)  # (1, 1 + L, D)
        self.blocks = _blocks(width, self.shape.depth, self.shape.heads, self.shape.mlp_ratio)
        self.norm = nn.LayerNorm(width, eps=1e-6)

        # Decoder.
        self.decoder_embed = nn.Linear(width, spec.decoder_width)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, spec.decoder_width))
        self.decoder_pos_embed = _fixed_positions(spec.decoder_width, spec)  # (1, 1 + L, decoder D)
        self.decoder_blocks = _blocks(spec.decoder_width, spec.decoder_depth, spec.decoder_heads, _DECODER_MLP_RATIO)
        self.decoder_norm = nn.LayerNorm(spec.decoder_width, eps=1e-6)
        self.decoder_pred = nn.Linear(spec.decoder_width, patch_px * patch_px * 3)

        self.recompute = False  # activations in the backward pass, for less memory
        self._initialize()

    def _initialize(self) -> None:
        """Random weights, drawn as in the reference implementation."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)
            elif isinstance(module, nn.LayerNorm):
                nn.init.ones_(module.weight)
                nn.init.zeros_(module.bias)
        # The patch projection is a linear layer over a patch's pixels; its bias keeps torch's own draw, as there.
        projection: nn.Conv2d = self.patch_embed.proj
        nn.init.xavier_uniform_(projection.weight.data.view(projection.weight.shape[0], -1))
        nn.init.normal_(self.cls_token, std=0.02)
        nn.init.normal_(self.mask_token, std=0.02)

    def forward(
        self, images: torch.Tensor, noise: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Hide patches, predict them, and measure how far off the prediction is.

        Args:
            images: Normalized images, shape (N, 3, H, W).
            noise: Which patches to keep: those with the least noise, shape (N, L), [0, 1). None draws it from torch's
                generator.

        Returns:
            The loss, a scalar; the prediction, shape (N, L, patch * patch * 3); the mask, shape (N, L), 1 = removed.

        Raises:
            ValueError: If the images or the noise have another shape than the spec asks for.
        """
        latent, mask, ids_restore = self.encode_visible(images, noise)
        prediction = self.decode(latent, ids_restore)  # (N, L, P*P*3)
        return self.loss(images, prediction, mask), prediction, mask

    def encode_visible(self, images: torch.Tensor, noise: torch.Tensor | None = None) -> Visible:
        """Keep a random part of the patches, and encode those alone.

        Args:
            images: Normalized images, shape (N, 3, H, W).
            noise: As in ``forward``.

        Returns:
            The encoded tokens, the mask, and how to undo the shuffle.

        Raises:
            ValueError: If the images or the noise have another shape than the spec asks for.
        """
        x = self._embed(images)  # (N, L, D)
        if noise is None:
            noise = torch.rand(x.shape[:2], device=x.device)  # (N, L)
        elif noise.shape != x.shape[:2]:
            raise ValueError(f"noise has the shape {tuple(noise.shape)}: these images need {tuple(x.shape[:2])}")
        ids_shuffle = noise.argsort(dim=1, stable=True)  # (N, L), least noise first
        ids_restore = ids_shuffle.argsort(dim=1)  # (N, L)
        ids_keep = ids_shuffle[:, : self.spec.visible]  # (N, kept)
        mask = (ids_restore >= self.spec.visible).to(torch.float32)  # (N, L)
        return Visible(self._encode_tokens(_take(x, ids_keep)), mask, ids_restore)

    def encode(self, images: torch.Tensor) -> torch.Tensor:
        """Encode images of which nothing is hidden, for features.

        Args:
            images: Normalized images, shape (N, 3, H, W).

        Returns:
            Class token and patches after ``norm``, shape (N, 1 + L, D).

        Raises:
            ValueError: If the images have another shape than the spec asks for.
        """
        return self._encode_tokens(self._embed(images))

    def decode(self, latent: torch.Tensor, ids_restore: torch.Tensor) -> torch.Tensor:
        """Predict the pixels of every patch from the tokens of the visible ones.

        Args:
            latent: Class token and visible patches, shape (N, 1 + kept, D).
            ids_restore: Shape (N, L).

        Returns:
            Shape (N, L, patch * patch * 3), in the order of ``patchify``.
        """
        x = self.decoder_embed(latent)  # (N, 1 + kept, decoder D)
        cls, seen = x[:, :1], x[:, 1:]
        hidden = self.mask_token.to(x.dtype).expand(len(x), ids_restore.shape[1] - seen.shape[1], -1)
        patches = _take(torch.cat([seen, hidden], dim=1), ids_restore)  # (N, L, decoder D), in their own order again
        x = torch.cat([cls, patches], dim=1) + self.decoder_pos_embed  # (N, 1 + L, decoder D)
        x = self.decoder_norm(self._through(self.decoder_blocks, x))
        prediction: torch.Tensor = self.decoder_pred(x[:, 1:])  # (N, L, P*P*3), without the class token
        return prediction

    def loss(self, images: torch.Tensor, prediction: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Mean squared error of the pixels of the removed patches, in float32 even under autocast.

        Args:
            images: Normalized images, shape (N, 3, H, W).
            prediction: Shape (N, L, patch * patch * 3).
            mask: Shape (N, L), 1 = removed.

        Returns:
            A scalar.
        """
        target = patchify(images.float(), self.shape.patch_px)  # (N, L, P*P*3)
        if self.spec.norm_pix:
            variance, mean = torch.var_mean(target, dim=-1, keepdim=True, correction=1)  # (N, L, 1)
            target = (target - mean) / (variance + 1e-6).sqrt()
        error = (prediction.float() - target).square().mean(dim=-1)  # (N, L)
        return (error * mask).sum() / mask.sum()

    @torch.inference_mode()
    def predict(self, images: torch.Tensor, noise: torch.Tensor | None = None) -> tuple[torch.Tensor, torch.Tensor]:
        """Give what pictures of a reconstruction are drawn from, without gradients.

        Args:
            images: Normalized images, shape (N, 3, H, W).
            noise: As in ``forward``.

        Returns:
            The prediction, shape (N, L, patch * patch * 3), float32; the mask, shape (N, L), 1 = removed.

        Raises:
            ValueError: If the images or the noise have another shape than the spec asks for.
        """
        latent, mask, ids_restore = self.encode_visible(images, noise)
        return self.decode(latent, ids_restore).float(), mask

    def _embed(self, images: torch.Tensor) -> torch.Tensor:
        """Patches as tokens, with their places: (N, 3, H, W) -> (N, L, D)."""
        side = self.spec.image_px
        if images.ndim != 4 or tuple(images.shape[1:]) != (3, side, side):
            raise ValueError(
                f"images have the shape {tuple(images.shape)}: this model expects (N, 3, {side}, {side}); "
                f"resize them to {side} px or build it with another image_px"
            )
        tokens: torch.Tensor = self.patch_embed(images) + self.pos_embed[:, 1:]
        return tokens

    def _encode_tokens(self, x: torch.Tensor) -> torch.Tensor:
        """Class token, blocks and norm: (N, any, D) -> (N, 1 + any, D)."""
        cls = (self.cls_token + self.pos_embed[:, :1]).to(x.dtype).expand(len(x), -1, -1)
        encoded: torch.Tensor = self.norm(self._through(self.blocks, torch.cat([cls, x], dim=1)))
        return encoded

    def _through(self, blocks: nn.Sequential, x: torch.Tensor) -> torch.Tensor:
        """Run a stack of blocks, keeping their inputs only where memory is short."""
        found: torch.Tensor = checkpoint_seq(blocks, x) if self.recompute and self.training else blocks(x)
        return found


def patchify(images: torch.Tensor, patch_px: int) -> torch.Tensor:
    """Cut images into square patches, in the order of ``eyeground.model.patches.patchify``.

    Args:
        images: Shape (N, C, H, W).
        patch_px: Side of a patch; divides H and W. Unit: px.

    Returns:
        Patches, shape (N, L, patch_px * patch_px * C): rows, columns, channels of a pixel side by side.

    Raises:
        ValueError: If the shape is another, or patches of that side do not fill the images.

    Example:
        >>> patchify(torch.arange(16).reshape(1, 1, 4, 4), patch_px=2)[0, :2].tolist()
        [[0, 1, 4, 5], [2, 3, 6, 7]]

    References:
        He et al., CVPR 2022: the order of its predictions.
    """
    if images.ndim != 4 or patch_px < 1 or images.shape[2] % patch_px or images.shape[3] % patch_px:
        raise ValueError(
            f"images have the shape {tuple(images.shape)}: they must be (N, C, H, W), H and W divisible by the patch "
            f"of {patch_px} px"
        )
    n, c, height, width = images.shape
    p = patch_px
    grid = images.reshape(n, c, height // p, p, width // p, p)
    return grid.permute(0, 2, 4, 3, 5, 1).flatten(3).flatten(1, 2)  # (N, L, P*P*C)


def unpatchify(patches: torch.Tensor, patch_px: int, channels: int = 3) -> torch.Tensor:
    """Put the patches of square images together again.

    Args:
        patches: As ``patchify`` gives them, shape (N, L, patch_px * patch_px * C), L a square number.
        patch_px: Side of a patch. Unit: px.
        channels: Channels of the images (C).

    Returns:
        Images, shape (N, C, H, W), H = W.

    Raises:
        ValueError: If the patches do not make square images.

    Example:
        >>> images = torch.rand(2, 3, 8, 8)
        >>> torch.equal(unpatchify(patchify(images, 4), 4), images)
        True

    References:
        He et al., CVPR 2022.
    """
    side = round(patches.shape[1] ** 0.5) if patches.ndim == 3 else 0
    if patches.ndim != 3 or side * side != patches.shape[1] or patches.shape[2] != patch_px * patch_px * channels:
        raise ValueError(
            f"patches have the shape {tuple(patches.shape)}: they must be (N, L, {patch_px * patch_px * channels}), "
            "L a square number"
        )
    n, p = len(patches), patch_px
    grid = patches.reshape(n, side, side, p, p, channels)
    return grid.permute(0, 5, 1, 3, 2, 4).reshape(n, channels, side * p, side * p)  # (N, C, H, W)


def _blocks(width: int, depth: int, heads: int, mlp_ratio: float) -> nn.Sequential:
    """A stack of transformer blocks."""
    norm_layer: Any = partial(nn.LayerNorm, eps=1e-6)  # timm declares a class here, and passes such partials itself
    stack = (Block(width, heads, mlp_ratio=mlp_ratio, qkv_bias=True, norm_layer=norm_layer) for _ in range(depth))
    return nn.Sequential(*stack)


def _fixed_positions(width: int, spec: MaeSpec) -> nn.Parameter:
    """Sin-cos positions that no optimizer moves: in the weights, as in the reference, but without gradients."""
    grid = spec.image_px // VIT_SHAPES[spec.name].patch_px
    return nn.Parameter(torch.from_numpy(sincos_positions(width, grid))[None], requires_grad=False)  # (1, 1 + L, D)


def _take(x: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
    """Choose tokens of each image: (N, any, D) by (N, M) -> (N, M, D)."""
    return x.gather(1, ids[:, :, None].expand(-1, -1, x.shape[2]))
