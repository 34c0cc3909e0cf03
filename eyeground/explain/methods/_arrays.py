"""Arrays in, arrays out: the door to the methods for those who do not know torch."""

from collections.abc import Callable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from eyeground.explain.methods._passes import at_rest, device_of
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


def outputs_of(network: nn.Module, images: Images, *, batch_size: int = 32) -> NDArray[np.float32]:
    """Ask a network as the methods ask it: in evaluation mode, in fp32.

    Args:
        network: As it came from an engine, on any device.
        images: Normalized, shape (N, 3, H, W), N at least 1.
        batch_size: Most images at once.

    Returns:
        Shape (N, outputs).

    Example:
        >>> flat = nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 2))
        >>> outputs_of(flat, np.ones((3, 3, 8, 8), np.float32)).shape
        (3, 2)

    References:
        Our own.
    """
    with at_rest(network), torch.no_grad():
        found = [
            network(torch.from_numpy(np.array(images[start : start + batch_size], np.float32)).to(device_of(network)))
            for start in range(0, len(images), batch_size)
        ]
        return torch.cat(found).float().cpu().numpy()
