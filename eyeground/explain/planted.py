"""Heat maps that are worth nothing: planted among real ones, so that the tests are seen to catch them."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from eyeground.model.engine import Images

# network, images (N, 3, H, W), directions (N, outputs) -> maps (N, H, W), at least 0
Maps = Callable[[Any, Images, NDArray[np.float32]], NDArray[np.float32]]


def shuffled(maps: Maps, *, seed: int = 0, cells: int = 14) -> Maps:
    """Break a method: the cells of each map are laid in a new random order, anew at each call.

    Args:
        maps: What is broken.
        seed: Of all orders to come.
        cells: How many there are along a side.

    Returns:
        The broken method.

    Example:
        >>> broken = shuffled(edges, cells=2)
        >>> broken(None, np.ones((1, 3, 4, 4), np.float32), np.ones((1, 1), np.float32)).shape
        (1, 4, 4)

    References:
        Our own.
    """
    rng = np.random.default_rng(seed)

    def broken(network: Any, images: Images, directions: NDArray[np.float32]) -> NDArray[np.float32]:
        made = maps(network, images, directions)
        height, width = made.shape[1:]
        rows, columns = np.arange(height) * cells // height, np.arange(width) * cells // width
        for number, heat in enumerate(made):
            means = np.zeros((cells, cells))
            np.add.at(means, np.ix_(rows, columns), heat)
            counts = np.bincount(rows, minlength=cells)[:, None] * np.bincount(columns, minlength=cells)[None, :]
            drawn = rng.permutation((means / np.maximum(counts, 1)).ravel()).reshape(cells, cells)
            made[number] = drawn[np.ix_(rows, columns)]
        return made

    return broken


def edges(network: Any, images: Images, directions: NDArray[np.float32]) -> NDArray[np.float32]:
    """Show where a picture has edges, whatever the network is.

    Args:
        network: Not asked.
        images: Shape (N, 3, H, W).
        directions: Not looked at.

    Returns:
        Length of the brightness's gradient, shape (N, H, W).

    Example:
        >>> picture = np.zeros((1, 3, 8, 8), np.float32)
        >>> picture[..., 4:] = 1
        >>> edges(None, picture, np.ones((1, 1), np.float32))[0, 0].argmax() in (3, 4)
        True

    References:
        Adebayo et al., "Sanity Checks for Saliency Maps", NeurIPS 2018: saliency that is an edge detector.
    """
    gray = images.mean(axis=1, dtype=np.float64)
    across, down = (ndimage.gaussian_filter1d(gray, 1.0, axis=axis, order=1, mode="nearest") for axis in (2, 1))
    return np.asarray(np.hypot(across, down), np.float32)


def middle(network: Any, images: Images, directions: NDArray[np.float32]) -> NDArray[np.float32]:
    """Point at the middle of every picture, where the macula of most photographs is.

    Args:
        network: Not asked.
        images: Shape (N, 3, H, W).
        directions: Not looked at.

    Returns:
        A bell, shape (N, H, W).

    Example:
        >>> int(middle(None, np.ones((1, 3, 9, 9), np.float32), np.ones((1, 1), np.float32))[0].argmax())
        40

    References:
        Our own.
    """
    height, width = images.shape[2:]
    down, across = (np.arange(side) - (side - 1) / 2 for side in (height, width))
    far = (down[:, None] / height) ** 2 + (across[None, :] / width) ** 2
    return np.repeat(np.exp(-far / 0.02, dtype=np.float32)[None], len(images), axis=0)
