"""Occlusion: how much less the network says the answer when a gray window hides a part."""

from itertools import product

import torch
from torch import nn

from eyeground.explain.methods._passes import at_rest, fresh

SUMMARY = "how much the answer drops when a gray window hides a part of the image; for any network, slow"

_PARTS = 8  # the window is this part of the image, moved by half of itself
_AT_ONCE = 32  # images in one pass, however many windows there are


def obstacle(network: nn.Module) -> str:
    """Say why this method cannot serve a network.

    Args:
        network: Any.

    Returns:
        Nothing: it only asks for outputs.

    Example:
        >>> obstacle(nn.Linear(2, 2))
        ''

    References:
        Our own.
    """
    return ""


def explain(network: nn.Module, images: torch.Tensor, direction: torch.Tensor) -> torch.Tensor:
    """Slide a gray window over images and see how the answer drops.

    The window is an eighth of the image, its steps half of that; where several windows lie over a pixel, the mean of
    their drops is taken. Gray is 0 of a normalized image: the mean color that it was normalized by.

    Args:
        network: Any; it is left as it came.
        images: Normalized, shape (N, 3, H, W).
        direction: What is explained, as weights of the outputs, shape (N, outputs).

    Returns:
        Shape (N, H, W), rises cut to 0.

    Example:
        >>> flat = nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, 2))
        >>> explain(flat, torch.ones(1, 3, 16, 16), torch.tensor([[1.0, 0.0]])).shape
        torch.Size([1, 16, 16])

    References:
        Zeiler & Fergus, "Visualizing and Understanding Convolutional Networks", ECCV 2014.
    """
    height, width = images.shape[2:]
    windows = list(product(_spans(height), _spans(width)))
    with at_rest(network), torch.no_grad():
        images, direction = fresh(images, direction)
        found = torch.zeros_like(images[:, 0])  # (N, H, W)
        covered = torch.zeros_like(found[:1])
        for (top, bottom), (left, right) in windows:
            covered[:, top:bottom, left:right] += 1
        for image, wanted, total in zip(images, direction, found, strict=True):
            whole = network(image[None]) @ wanted
            for start in range(0, len(windows), _AT_ONCE):
                chunk = windows[start : start + _AT_ONCE]
                hidden = image.repeat(len(chunk), 1, 1, 1)
                for one, ((top, bottom), (left, right)) in zip(hidden, chunk, strict=True):
                    one[:, top:bottom, left:right] = 0
                drops = whole - network(hidden) @ wanted
                for drop, ((top, bottom), (left, right)) in zip(drops, chunk, strict=True):
                    total[top:bottom, left:right] += drop
        return (found / covered).clamp(min=0)


def _spans(side: int) -> list[tuple[int, int]]:
    """Where windows begin and end along a side; the last ends with it."""
    window = max(1, round(side / _PARTS))
    starts = [*range(0, side - window, max(1, window // 2)), side - window]
    return [(start, start + window) for start in starts]
