"""Arrays in, arrays out: the door to the methods for those who do not know torch."""

from collections.abc import Callable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from eyeground.explain.methods._passes import device_of
from eyeground.model.engine import Images

Method = Callable[[nn.Module, torch.Tensor, torch.Tensor], torch.Tensor]


def raw_maps(
    explain: Method, network: nn.Module, images: Images, directions: NDArray[np.float32], *, batch_size: int
) -> Iterator[NDArray[np.float32]]:
    """Ask a method, a batch at a time.

    Args:
        explain: A method of the shelf.
        network: As it came from an engine, on any device.
        images: Normalized, shape (N, 3, H, W).
        directions: Shape (N, outputs).
        batch_size: Most images at once.

    Yields:
        The raw map of each image, shape (h, w).

    Example:
        >>> flat = nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 2))
        >>> from eyeground.explain.methods.occlusion import explain
        >>> wanted = np.array([[1.0, 0.0]], np.float32)
        >>> [each.shape for each in raw_maps(explain, flat, np.ones((1, 3, 8, 8), np.float32), wanted, batch_size=4)]
        [(8, 8)]

    References:
        Our own.
    """
    for start in range(0, len(images), batch_size):
        batch, wanted = (
            torch.from_numpy(np.array(part[start : start + batch_size], np.float32)).to(device_of(network))
            for part in (images, directions)
        )
        yield from explain(network, batch, wanted).detach().float().cpu().numpy()
