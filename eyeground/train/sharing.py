"""What a network makes of a whole set, worked out by all processes of a run together."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from eyeground.data.loader import EvaluationImages
from eyeground.model.engine import Images
from eyeground.model.processes import ALONE, Processes


def rows_of_all(
    images: EvaluationImages,
    work: Callable[[Images], NDArray[np.float32]],
    *,
    batch_size: int,
    processes: Processes = ALONE,
    seen: Callable[[int], None] = lambda images: None,
) -> NDArray[np.float32]:
    """Ask for a row of numbers of every image; each process asks for its share of every batch.

    Args:
        images: The set.
        work: Images, shape (n, 3, H, W), to rows, shape (n, ...).
        batch_size: Images per batch, of all processes together.
        processes: Who works.
        seen: Told after each batch how many images it held.

    Returns:
        Shape (N, ...), in the order of the set; the same in every process.

    Example:
        >>> from pathlib import Path
        >>> from eyeground.data.preprocessing import Preprocessing
        >>> from eyeground.data.sample import Sample
        >>> images = EvaluationImages([Sample(f"{n}.png", Path("."), 0, "p") for n in range(3)],
        ...     pixels=lambda s: np.zeros((9, 9, 3), np.uint8), preprocessing=Preprocessing(image_px=8))
        >>> rows_of_all(images, lambda batch: batch.mean(axis=(2, 3)), batch_size=2).shape
        (3, 3)

    References:
        Our own.
    """
    numbers: list[int] = []
    rows: list[NDArray[np.float32]] = []
    for start in range(0, len(images.samples), batch_size):
        batch = range(start, min(start + batch_size, len(images.samples)))
        own = _own(batch, processes)
        numbers += own
        rows.append(work(images.images(own)))
        seen(len(batch))
    told = processes.every((numbers, np.concatenate(rows)))
    # An image that more than one process was asked about is taken once.
    _, once = np.unique(np.concatenate([each for each, _ in told]), return_index=True)
    return np.concatenate([each for _, each in told])[once]


def _own(batch: Sequence[int], processes: Processes) -> list[int]:
    """A process's share; never none, since where weights are parted no process can compute without the others."""
    share: list[int] = np.array_split(np.array(batch), processes.world)[processes.rank].tolist()
    return share or [batch[-1]]
