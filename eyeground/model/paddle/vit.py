"""The vision transformer with RETFound's head in Paddle, its parameters named as timm names them."""

import paddle
import paddle.nn.functional as F
from paddle import nn
from paddle.distributed.fleet.utils import recompute

from eyeground.model.spec import ModelSpec

EPS = 1e-6


class PatchEmbed(nn.Layer):
    """Cut an image into patches and make each a token.

    Args:
        patch_px: Side of a square patch. Unit: px.
        width: Length of a token (D).

    References:
        Dosovitskiy et al., ICLR 2021.
    """

    def __init__(self, patch_px: int, width: int) -> None:
        super().__init__()
        self.proj = nn.Conv2D(3, width, patch_px, stride=patch_px)

    def forward(self, images: paddle.Tensor) -> paddle.Tensor:  # (N, 3, H, W) -> (N, L, D)
        """Embed.

        Args:
            images: Shape (N, 3, H, W).

        Returns:
            Shape (N, L, D), patches row by row.
        """
        return self.proj(images).flatten(2).transpose([0, 2, 1])


class Attention(nn.Layer):
    """Let every token look at every other.

    Args:
        width: Length of a token (D).
        heads: Divides ``width``.

    References:
        Vaswani et al., NeurIPS 2017.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:  # (N, T, D)
        """Attend.

        Args:
            x: Tokens, shape (N, T, D).

        Returns:
            Shape (N, T, D).
        """
        n, t, d = x.shape
        qkv = self.qkv(x).reshape([n, t, 3, self.heads, d // self.heads]).transpose([2, 0, 3, 1, 4])
        q, k, v = qkv[0] * (d // self.heads) ** -0.5, qkv[1], qkv[2]  # (N, heads, T, D / heads)
        weights = F.softmax(q @ k.transpose([0, 1, 3, 2]), axis=-1)
        return self.proj((weights @ v).transpose([0, 2, 1, 3]).reshape([n, t, d]))


class Mlp(nn.Layer):
    """Two layers on every token by itself.

    Args:
        width: Length of a token (D).
        hidden: Width between the layers.

    References:
        Dosovitskiy et al., ICLR 2021.
    """

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.act = nn.GELU(approximate=False)
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:  # (N, T, D)
        """Apply both.

        Args:
            x: Tokens, shape (N, T, D).

        Returns:
            Shape (N, T, D).
        """
        return self.fc2(self.act(self.fc1(x)))


class LayerScale(nn.Layer):
    """Multiply a branch by learned factors.

    Args:
        width: Length of a token (D).
        start: What the factors start from.

    References:
        Touvron et al., ICCV 2021.
    """

    def __init__(self, width: int, start: float) -> None:
        super().__init__()
        self.gamma = self.create_parameter([width], default_initializer=nn.initializer.Constant(start))

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:  # (N, T, D)
        """Multiply.

        Args:
            x: Tokens, shape (N, T, D).

        Returns:
            Shape (N, T, D).
        """
        return x * self.gamma


class DropPath(nn.Layer):
    """Leave a branch out for some images as a whole; the factors are drawn outside and laid in ``factors``.

    References:
        Huang et al., ECCV 2016.
    """

    def __init__(self) -> None:
        super().__init__()
        self.factors: paddle.Tensor | None = None

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:  # (N, T, D)
        """Multiply each image's branch by its factor, in training.

        Args:
            x: Tokens, shape (N, T, D).

        Returns:
            Shape (N, T, D).
        """
        if self.factors is None or not self.training:
            return x
        return x * self.factors.astype(x.dtype).reshape([-1, 1, 1])


class Block(nn.Layer):
    """One block of the transformer.

    Args:
        width: Length of a token (D).
        heads: Divides ``width``.
        mlp_ratio: Hidden width of the MLP over ``width``.
        layer_scale: What the factors of both branches start from; None = there are none.

    References:
        Dosovitskiy et al., ICLR 2021.
    """

    def __init__(self, width: int, heads: int, mlp_ratio: float, layer_scale: float | None) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, epsilon=EPS)
        self.attn = Attention(width, heads)
        self.ls1 = nn.Identity() if layer_scale is None else LayerScale(width, layer_scale)
        self.drop_path1 = DropPath()
        self.norm2 = nn.LayerNorm(width, epsilon=EPS)
        self.mlp = Mlp(width, int(width * mlp_ratio))
        self.ls2 = nn.Identity() if layer_scale is None else LayerScale(width, layer_scale)
        self.drop_path2 = DropPath()

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:  # (N, T, D)
        """Attend, then think.

        Args:
            x: Tokens, shape (N, T, D).

        Returns:
            Shape (N, T, D).
        """
        x = x + self.drop_path1(self.ls1(self.attn(self.norm1(x))))
        return x + self.drop_path2(self.ls2(self.mlp(self.norm2(x))))


class RepeatedLayerNorm(nn.LayerNorm):
    """LayerNorm applied several times with the same weights, as RETFound's 2025 code does by accident.

    Args:
        width: Length of a token (D).
        passes: How often to normalize, at least 1.

    References:
        RETFound_MAE at 897d71c with timm 0.9.2.
    """

    def __init__(self, width: int, passes: int) -> None:
        super().__init__(width, epsilon=EPS)
        self.passes = passes

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:  # (N, D)
        """Normalize ``passes`` times.

        Args:
            x: Pooled tokens, shape (N, D).

        Returns:
            Shape (N, D).
        """
        for _ in range(self.passes):
            x = super().forward(x)
        return x


class VisionTransformer(nn.Layer):
    """A ViT classifier; its random weights are placeholders, the engine brings its own.

    Args:
        spec: A spec whose name is in ``VIT_SHAPES``, without options.

    Raises:
        ValueError: If the spec names another kind of network.

    References:
        Dosovitskiy et al., ICLR 2021; Zhou et al., Nature 2023.
    """

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        shape = spec.vit
        if shape is None:
            raise ValueError(f"{spec.name} is not one of our ViT shapes")
        self.recompute = False  # each block's activations in the backward pass, for less memory
        tokens = (spec.image_px // shape.patch_px) ** 2 + 1
        self.patch_embed = PatchEmbed(shape.patch_px, shape.width)
        self.cls_token = self.create_parameter([1, 1, shape.width])
        self.pos_embed = self.create_parameter([1, tokens, shape.width])
        self.blocks = nn.LayerList(
            Block(shape.width, shape.heads, shape.mlp_ratio, shape.layer_scale) for _ in range(shape.depth)
        )
        # As timm: mean of the patch tokens and fc_norm, or norm and the class token.
        self.pool = spec.pool
        if spec.pool == "avg":
            self.fc_norm = RepeatedLayerNorm(shape.width, spec.fc_norm_passes)
        else:
            self.norm = nn.LayerNorm(shape.width, epsilon=EPS)
        self.head = nn.Linear(shape.width, spec.classes)

    def features(self, images: paddle.Tensor) -> paddle.Tensor:  # (N, 3, H, W) -> (N, D)
        """Give what the head sees.

        Args:
            images: Shape (N, 3, H, W).

        Returns:
            Shape (N, D).
        """
        x = self.patch_embed(images)
        x = paddle.concat([self.cls_token.astype(x.dtype).expand([x.shape[0], 1, -1]), x], axis=1)
        x = x + self.pos_embed.astype(x.dtype)
        for block in self.blocks:
            x = recompute(block, x) if self.recompute and self.training else block(x)
        return self.fc_norm(x[:, 1:].mean(axis=1)) if self.pool == "avg" else self.norm(x)[:, 0]

    def forward(self, images: paddle.Tensor) -> paddle.Tensor:  # (N, 3, H, W) -> (N, K)
        """Give logits.

        Args:
            images: Shape (N, 3, H, W).

        Returns:
            Shape (N, K).
        """
        return self.head(self.features(images))
