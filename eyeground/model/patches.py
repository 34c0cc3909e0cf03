"""Images as rows of patches, and back."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def patchify(images: NDArray[Any], patch_px: int) -> NDArray[Any]:
    """Cut images into square patches, row by row from the top left.

    Within a patch the pixels run row by row, and the channels of a pixel lie side by side.

    Args:
        images: Shape (N, C, H, W).
        patch_px: Side of a patch; divides H and W. Unit: px.

    Returns:
        Patches, shape (N, L, patch_px * patch_px * C).

    Raises:
        ValueError: If the shape is another, or patches of that side do not fill the images.

    Example:
        >>> patchify(np.arange(16).reshape(1, 1, 4, 4), patch_px=2)[0]
        array([[ 0,  1,  4,  5],
               [ 2,  3,  6,  7],
               [ 8,  9, 12, 13],
               [10, 11, 14, 15]])

    References:
        He et al., "Masked Autoencoders Are Scalable Vision Learners", CVPR 2022: the order of its predictions.
    """
    if images.ndim != 4 or patch_px < 1 or images.shape[2] % patch_px or images.shape[3] % patch_px:
        raise ValueError(
            f"images have the shape {images.shape}: they must be (N, C, H, W), H and W divisible by the patch of "
            f"{patch_px} px"
        )
    n, c, height, width = images.shape
    p = patch_px
    h, w = height // p, width // p
    grid = images.reshape(n, c, h, p, w, p)
    return np.ascontiguousarray(grid.transpose(0, 2, 4, 3, 5, 1)).reshape(n, h * w, p * p * c)  # (N, L, P*P*C)


def unpatchify(patches: NDArray[Any], patch_px: int, channels: int = 3) -> NDArray[Any]:
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
        >>> images = np.random.default_rng(0).random((2, 3, 8, 8))
        >>> bool((unpatchify(patchify(images, 4), 4) == images).all())
        True

    References:
        He et al., CVPR 2022.
    """
    side = round(patches.shape[1] ** 0.5) if patches.ndim == 3 else 0
    if patches.ndim != 3 or side * side != patches.shape[1] or patches.shape[2] != patch_px * patch_px * channels:
        raise ValueError(
            f"patches have the shape {patches.shape}: they must be (N, L, {patch_px * patch_px * channels}), "
            "L a square number"
        )
    n, p = len(patches), patch_px
    grid = patches.reshape(n, side, side, p, p, channels).transpose(0, 5, 1, 3, 2, 4)
    return np.ascontiguousarray(grid).reshape(n, channels, side * p, side * p)  # (N, C, H, W)
