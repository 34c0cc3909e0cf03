"""Ask a method of the shelf where a network looked; arrays at the door."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eyeground.explain.heat_map import HeatMap, heat_map
from eyeground.model.engine import Images
from eyeground.pick import names, pick


def heat_maps(
    network: Any,
    images: Images,
    directions: NDArray[np.float32],
    *,
    method: str,
    targets: Sequence[str],
    batch_size: int = 8,
) -> list[HeatMap]:
    """Say for each image where the network looked for one of its answers.

    The network is asked in fp32 and in evaluation mode, whatever its engine computes in, and left as it came. An
    image's map does not hang on the others of the batch.

    Args:
        network: A torch module, such as ``TorchEngine.network``.
        images: Normalized, shape (N, 3, H, W).
        directions: What is explained of each image, shape (N, outputs), as ``eyeground.explain.target`` makes it.
        method: Name of a file on the shelf ``explain.methods``.
        targets: The same in words, N.
        batch_size: Most images at once.

    Returns:
        N maps of shape (H, W).

    Raises:
        LookupError: If there is no such method.
        NoAttention: If the method reads attention, and the network has none that can be read.
        ValueError: If the arrays do not fit each other, or the method cannot serve the network.

    Example:
        >>> from eyeground.model.spec import ModelSpec
        >>> from eyeground.model.torch.network import build
        >>> vit = build(ModelSpec("vit_demo_patch8", classes=3, image_px=32))
        >>> images, wanted = np.zeros((1, 3, 32, 32), np.float32), np.array([[0, 1, 0]], np.float32)
        >>> heat_maps(vit, images, wanted, method="attention_rollout", targets=["label: mild"])[0].values.shape
        (32, 32)

    References:
        Our own.
    """
    from eyeground.explain.methods._arrays import raw_maps  # imports torch

    if images.ndim != 4 or images.shape[1] != 3 or not len(images) == len(directions) == len(targets):
        raise ValueError(
            f"each of N images (N, 3, H, W) needs a direction and a target in words: got images {images.shape}, "
            f"directions {directions.shape}, {len(targets)} targets"
        )
    if batch_size < 1:
        raise ValueError(f"batch_size is {batch_size}: it is at least 1")
    made = raw_maps(pick("explain.methods", method).explain, network, images, directions, batch_size=batch_size)
    shape = (images.shape[2], images.shape[3])
    return [heat_map(raw, shape, method=method, target=target) for raw, target in zip(made, targets, strict=True)]


def methods_for(network: Any) -> dict[str, str]:
    """Say which methods can serve a network.

    Args:
        network: A torch module.

    Returns:
        Every method of the shelf: nothing, or a sentence that says why not.

    Example:
        >>> from eyeground.model.spec import ModelSpec
        >>> from eyeground.model.torch.network import build
        >>> found = methods_for(build(ModelSpec("mobilenetv2_100", classes=3)))
        >>> [name for name, why in found.items() if not why]
        ['grad_cam', 'integrated_gradients', 'occlusion']

    References:
        Our own.
    """
    return {name: pick("explain.methods", name).obstacle(network) for name in names("explain.methods")}


def summaries() -> dict[str, str]:
    """Say in a line each what the methods of the shelf do.

    Returns:
        Name -> line.

    Example:
        >>> list(summaries())
        ['attention_relevance', 'attention_rollout', 'grad_cam', 'integrated_gradients', 'occlusion']

    References:
        Our own.
    """
    return {name: pick("explain.methods", name).SUMMARY for name in names("explain.methods")}
