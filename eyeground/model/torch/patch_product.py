"""A transformer's first layer as one product of matrices."""

import torch.nn.functional as F
from torch import Tensor, nn


class PatchProduct(nn.Conv2d):
    """A convolution whose windows lie side by side, computed as a product of matrices.

    On a processor oneDNN's way back through such a convolution is slow in bf16: with the product, both ways together
    take 17 ms against 47 for 16 images of 224 px and ViT-L's width. In fp32 there is nothing between them.

    Example:
        >>> import torch
        >>> PatchProduct(3, 8, kernel_size=4, stride=4)(torch.zeros(2, 3, 12, 16)).shape
        torch.Size([2, 8, 3, 4])

    References:
        Dosovitskiy et al., ICLR 2021, equation 1; measured in docs/results.md.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Multiply every patch.

        Args:
            input: Shape (N, C, H, W).

        Returns:
            Shape (N, D, H // patch, W // patch).
        """
        (high, wide), (n, colors, height, width) = self.kernel_size, input.shape
        rows, columns = height // high, width // wide
        whole = input[:, :, : rows * high, : columns * wide]  # what makes no whole patch, a convolution leaves out too
        patches = whole.reshape(n, colors, rows, high, columns, wide).permute(0, 2, 4, 1, 3, 5)
        tokens = F.linear(patches.reshape(n, rows, columns, -1), self.weight.flatten(1), self.bias)
        return tokens.permute(0, 3, 1, 2)


def multiply_patches(network: nn.Module) -> int:
    """Let a network compute its patches' projection as a product of matrices.

    Args:
        network: timm's, or made of its layers; it is changed in place, and keeps its weights and their names.

    Returns:
        How many layers were changed.

    Example:
        >>> from timm.layers import PatchEmbed
        >>> multiply_patches(nn.Sequential(PatchEmbed(32, 8, 3, 16)))
        1

    References:
        Our own.
    """
    layers = [layer for layer in network.modules() if type(layer) is nn.Conv2d and _has_patches_alone(layer)]
    for layer in layers:
        layer.__class__ = PatchProduct
    return len(layers)


def _has_patches_alone(layer: nn.Conv2d) -> bool:
    """Whether its windows lie side by side, and more than one pixel is in them."""
    plain = layer.groups == 1 and layer.dilation == (1, 1) and layer.padding in ((0, 0), "valid")
    return plain and layer.kernel_size == layer.stride and max(layer.kernel_size) > 1
