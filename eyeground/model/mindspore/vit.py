"""The vision transformer with RETFound's head in MindSpore, its layers named as timm names them.

MindSpore's defaults are others: a convolution without bias and with ``same`` padding, the tanh form of GELU, 1e-7 in
LayerNorm. So each is said here.
"""

import mindspore as ms
from mindspore import Parameter, Tensor, nn, ops

from eyeground.model.spec import ModelSpec

EPS = 1e-6


class PatchEmbed(nn.Cell):
    """Cut an image into patches and make each a token.

    Args:
        patch_px: Side of a square patch. Unit: px.
        width: Length of a token (D).

    References:
        Dosovitskiy et al., ICLR 2021.
    """

    def __init__(self, patch_px: int, width: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, width, patch_px, stride=patch_px, pad_mode="valid", has_bias=True)

    def construct(self, images: Tensor) -> Tensor:  # (N, 3, H, W) -> (N, L, D)
        """Embed.

        Args:
            images: Shape (N, 3, H, W).

        Returns:
            Shape (N, L, D), patches row by row.
        """
        x = self.proj(images)
        return x.reshape(x.shape[0], x.shape[1], -1).transpose(0, 2, 1)


class Attention(nn.Cell):
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
        self.scale = (width // heads) ** -0.5
        self.qkv = nn.Dense(width, 3 * width)
        self.proj = nn.Dense(width, width)

    def construct(self, x: Tensor) -> Tensor:  # (N, T, D)
        """Attend.

        Args:
            x: Tokens, shape (N, T, D).

        Returns:
            Shape (N, T, D).
        """
        n, t, d = x.shape
        qkv = self.qkv(x).reshape(n, t, 3, self.heads, d // self.heads).transpose(2, 0, 3, 1, 4)
        q, k, v = qkv[0] * self.scale, qkv[1], qkv[2]  # (N, heads, T, D / heads)
        weights = ops.softmax(ops.matmul(q, k.transpose(0, 1, 3, 2)), axis=-1)
        return self.proj(ops.matmul(weights, v).transpose(0, 2, 1, 3).reshape(n, t, d))


class Mlp(nn.Cell):
    """Two layers on every token by itself.

    Args:
        width: Length of a token (D).
        hidden: Width between the layers.

    References:
        Dosovitskiy et al., ICLR 2021.
    """

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Dense(width, hidden)
        self.act = nn.GELU(approximate=False)
        self.fc2 = nn.Dense(hidden, width)

    def construct(self, x: Tensor) -> Tensor:  # (N, T, D)
        """Apply both.

        Args:
            x: Tokens, shape (N, T, D).

        Returns:
            Shape (N, T, D).
        """
        return self.fc2(self.act(self.fc1(x)))


class LayerScale(nn.Cell):
    """Multiply a branch by learned factors.

    Args:
        width: Length of a token (D).
        start: What the factors start from.

    References:
        Touvron et al., ICCV 2021.
    """

    def __init__(self, width: int, start: float) -> None:
        super().__init__()
        self.gamma = Parameter(ms.numpy.full((width,), start, ms.float32), name="gamma")

    def construct(self, x: Tensor) -> Tensor:  # (N, T, D)
        """Multiply.

        Args:
            x: Tokens, shape (N, T, D).

        Returns:
            Shape (N, T, D).
        """
        return x * self.gamma


class DropPath(nn.Cell):
    """Leave a branch out for some images as a whole; the factors are drawn outside and handed in.

    References:
        Huang et al., ECCV 2016.
    """

    def construct(self, x: Tensor, factors: Tensor | None = None) -> Tensor:  # (N, T, D)
        """Multiply each image's branch by its factor, in training.

        Args:
            x: Tokens, shape (N, T, D).
            factors: Shape (N,); None = all branches stay.

        Returns:
            Shape (N, T, D).
        """
        return x if factors is None else x * factors.astype(x.dtype).reshape(-1, 1, 1)


class Block(nn.Cell):
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
        self.norm1 = nn.LayerNorm((width,), epsilon=EPS)
        self.attn = Attention(width, heads)
        self.ls1 = nn.Identity() if layer_scale is None else LayerScale(width, layer_scale)
        self.drop_path1 = DropPath()
        self.norm2 = nn.LayerNorm((width,), epsilon=EPS)
        self.mlp = Mlp(width, int(width * mlp_ratio))
        self.ls2 = nn.Identity() if layer_scale is None else LayerScale(width, layer_scale)
        self.drop_path2 = DropPath()

    def construct(self, x: Tensor, factors: Tensor | None = None) -> Tensor:  # (N, T, D)
        """Attend, then think.

        Args:
            x: Tokens, shape (N, T, D).
            factors: Of both branches for each image, shape (2, N); None = all branches stay.

        Returns:
            Shape (N, T, D).
        """
        first, second = (None, None) if factors is None else (factors[0], factors[1])
        x = x + self.drop_path1(self.ls1(self.attn(self.norm1(x))), first)
        return x + self.drop_path2(self.ls2(self.mlp(self.norm2(x))), second)


class RepeatedLayerNorm(nn.LayerNorm):
    """LayerNorm applied several times with the same weights, as RETFound's 2025 code does by accident.

    Args:
        width: Length of a token (D).
        passes: How often to normalize, at least 1.

    References:
        RETFound_MAE at 897d71c with timm 0.9.2.
    """

    def __init__(self, width: int, passes: int) -> None:
        super().__init__((width,), epsilon=EPS)
        self.passes = passes

    def construct(self, x: Tensor) -> Tensor:  # (N, D)
        """Normalize ``passes`` times.

        Args:
            x: Pooled tokens, shape (N, D).

        Returns:
            Shape (N, D).
        """
        for _ in range(self.passes):
            x = super().construct(x)
        return x


class VisionTransformer(nn.Cell):
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
        tokens = (spec.image_px // shape.patch_px) ** 2 + 1
        self.patch_embed = PatchEmbed(shape.patch_px, shape.width)
        self.cls_token = Parameter(ops.zeros((1, 1, shape.width), ms.float32), name="cls_token")
        self.pos_embed = Parameter(ops.zeros((1, tokens, shape.width), ms.float32), name="pos_embed")
        self.blocks = nn.CellList(
            [Block(shape.width, shape.heads, shape.mlp_ratio, shape.layer_scale) for _ in range(shape.depth)]
        )
        # As timm: mean of the patch tokens and fc_norm, or norm and the class token.
        self.pool = spec.pool
        if spec.pool == "avg":
            self.fc_norm = RepeatedLayerNorm(shape.width, spec.fc_norm_passes)
        else:
            self.norm = nn.LayerNorm((shape.width,), epsilon=EPS)
        self.head = nn.Dense(shape.width, spec.classes)

    def features(self, images: Tensor, factors: Tensor | None = None) -> Tensor:  # (N, 3, H, W) -> (N, D)
        """Give what the head sees.

        Args:
            images: Shape (N, 3, H, W).
            factors: Of every branch for each image, shape (depth, 2, N); None = all branches stay.

        Returns:
            Shape (N, D).
        """
        x = self.patch_embed(images)
        n, _, d = x.shape
        x = ops.concat((self.cls_token.astype(x.dtype).broadcast_to((n, 1, d)), x), axis=1)
        x = x + self.pos_embed.astype(x.dtype)
        for number, block in enumerate(self.blocks):
            x = block(x, None if factors is None else factors[number])
        return self.fc_norm(x[:, 1:].mean(axis=1)) if self.pool == "avg" else self.norm(x)[:, 0]

    def construct(self, images: Tensor, factors: Tensor | None = None) -> Tensor:  # (N, 3, H, W) -> (N, K)
        """Give logits.

        Args:
            images: Shape (N, 3, H, W).
            factors: Of every branch for each image, shape (depth, 2, N); None = all branches stay.

        Returns:
            Shape (N, K).
        """
        return self.head(self.features(images, factors))
