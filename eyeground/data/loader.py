"""Samples -> batches, the same whatever the number of workers and wherever one starts."""

import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset

from eyeground.data.augment import Augmentation, draws, seed_from, training_transform
from eyeground.data.pixels import PixelSource
from eyeground.data.preprocessing import Preprocessing, normalize, square
from eyeground.data.sample import Sample


@dataclass(frozen=True, eq=False)
class Batch:
    """Images and labels in one piece.

    Args:
        images: Normalized, shape (N, 3, H, W), float32; with several views of each image (N, V, 3, H, W).
        labels: Class indices, shape (N,); -1 = not labelled.
        epoch: Which epoch it belongs to, from 0.
        index: Which batch of the epoch, from 0.

    Example:
        >>> Batch(np.zeros((1, 3, 2, 2), np.float32), np.zeros(1, np.int64), 0, 0).index
        0

    References:
        Our own.
    """

    images: NDArray[np.float32]
    labels: NDArray[np.int64]
    epoch: int
    index: int


class _Draws(Dataset[tuple[torch.Tensor, int]]):
    """Training images, addressed by (epoch, number), so that one loader serves all epochs."""

    def __init__(
        self,
        samples: Sequence[Sample],
        pixels: PixelSource,
        preprocessing: Preprocessing,
        augmentation: Augmentation,
        seed: int,
        views: int,
    ) -> None:
        self._samples = samples
        self._views = views
        self._pixels = pixels
        self._transform = training_transform(preprocessing, augmentation)
        self._seed = seed

    def __getitem__(self, address: tuple[int, int]) -> tuple[torch.Tensor, int]:
        epoch, number = address
        sample = self._samples[number]
        with draws(self._seed, epoch, sample.id):
            pixels = self._pixels(sample)
            drawn = [self._transform(pixels) for _ in range(self._views or 1)]
        tensor = torch.stack(drawn) if self._views else drawn[0]
        return tensor, -1 if sample.label is None else sample.label


@dataclass(frozen=True)
class _Addresses:
    """Which images make up each batch, from some point of the run on; made as they are asked for."""

    samples: int
    batch_size: int
    epochs: int
    seed: int
    first_epoch: int
    first_batch: int

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        for epoch in range(self.first_epoch, self.epochs):
            order = order_of(samples=self.samples, seed=self.seed, epoch=epoch)
            first = self.first_batch if epoch == self.first_epoch else 0
            for index in range(first, self.samples // self.batch_size):
                numbers = order[index * self.batch_size : (index + 1) * self.batch_size]
                yield [(epoch, int(number)) for number in numbers]


def order_of(*, samples: int, seed: int, epoch: int) -> NDArray[np.int64]:
    """Shuffle an epoch.

    Args:
        samples: How many there are (N).
        seed: The run's seed.
        epoch: Which epoch, from 0.

    Returns:
        A permutation of 0 to N-1, a function of its arguments alone.

    Example:
        >>> order_of(samples=4, seed=0, epoch=1).tolist() == order_of(samples=4, seed=0, epoch=1).tolist()
        True

    References:
        Our own.
    """
    return np.random.default_rng(seed_from(seed, "order", epoch)).permutation(samples)


def training_batches(
    samples: Sequence[Sample],
    *,
    pixels: PixelSource,
    preprocessing: Preprocessing,
    augmentation: Augmentation,
    batch_size: int,
    epochs: int,
    seed: int,
    first_epoch: int = 0,
    first_batch: int = 0,
    workers: int = 0,
    views: int = 0,
) -> Iterator[Batch]:
    """Stream shuffled, augmented batches from any point of a run to its end.

    Args:
        samples: Training samples.
        pixels: Gives a sample's pixels.
        preprocessing: Size and normalization.
        augmentation: What is drawn.
        batch_size: Images per batch; the incomplete last batch of an epoch is dropped.
        epochs: Length of the run.
        seed: The run's seed.
        first_epoch: Epoch to begin in, from 0.
        first_batch: Batch of that epoch to begin with, from 0.
        workers: Loader processes, 0 = none.
        views: Draw each image so often, side by side in one more dimension; 0 = once, without that dimension.

    Yields:
        Batches in order.

    Raises:
        ValueError: If there are fewer samples than one batch.

    Example:
        >>> from pathlib import Path
        >>> samples = [Sample(f"{i}.png", Path("."), i % 2, str(i)) for i in range(5)]
        >>> batches = training_batches(samples, pixels=lambda s: np.zeros((9, 9, 3), np.uint8),
        ...     preprocessing=Preprocessing(image_px=8), augmentation=Augmentation(), batch_size=2, epochs=3, seed=0)
        >>> [(b.epoch, b.index, len(b.labels)) for b in batches]
        [(0, 0, 2), (0, 1, 2), (1, 0, 2), (1, 1, 2), (2, 0, 2), (2, 1, 2)]

    References:
        Our own.
    """
    per_epoch = len(samples) // batch_size
    if not per_epoch:
        raise ValueError(f"{len(samples)} training images do not fill one batch of {batch_size}; lower batch_size")
    loader: DataLoader[Any] = DataLoader(
        _Draws(samples, pixels, preprocessing, augmentation, seed, views),
        batch_sampler=_Addresses(len(samples), batch_size, epochs, seed, first_epoch, first_batch),
        num_workers=workers,
        worker_init_fn=_ignore_signals if workers else None,
        prefetch_factor=2 if workers else None,
        # Its own generator: otherwise the loader would draw from, and so disturb, the global one.
        generator=torch.Generator().manual_seed(seed),
        # Forked workers share the pixels already in memory; Python 3.14 would start fresh ones, which share nothing.
        multiprocessing_context="fork" if workers else None,
    )
    position = first_epoch * per_epoch + first_batch
    for images, labels in loader:
        yield Batch(images.numpy(), labels.numpy(), *divmod(position, per_epoch))
        position += 1


def _ignore_signals(worker: int) -> None:
    """Leave Ctrl-C and a group's SIGTERM to the main process, which stops cleanly and ends its workers."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


class EvaluationImages:
    """Whole images as the network sees them in evaluation; squares are made once and kept.

    Args:
        samples: Which ones, in order.
        pixels: Gives a sample's pixels.
        preprocessing: Size and normalization.
        limit_bytes: Greatest size of the squares kept.

    Example:
        >>> from pathlib import Path
        >>> images = EvaluationImages([Sample("a.png", Path("."), 1, "p")],
        ...     pixels=lambda s: np.zeros((9, 9, 3), np.uint8), preprocessing=Preprocessing(image_px=8))
        >>> [batch.images.shape for batch in images.batches(16)]
        [(1, 3, 8, 8)]

    References:
        Our own.
    """

    def __init__(
        self, samples: Sequence[Sample], *, pixels: PixelSource, preprocessing: Preprocessing, limit_bytes: int = 2**30
    ) -> None:
        self.samples = tuple(samples)
        self._pixels = pixels
        self._preprocessing = preprocessing
        self._keep = limit_bytes // (preprocessing.image_px**2 * 3)
        self._squares: dict[int, NDArray[np.uint8]] = {}

    def square(self, number: int) -> NDArray[np.uint8]:
        """Give one square.

        Args:
            number: Which sample, from 0.

        Returns:
            Shape (image_px, image_px, 3), uint8.
        """
        made = self._squares.get(number)
        if made is None:
            made = square(self._pixels(self.samples[number]), self._preprocessing)
            if number < self._keep:
                self._squares[number] = made
        return made

    def batches(self, batch_size: int) -> Iterator[Batch]:
        """Give all images once, in order.

        Args:
            batch_size: Images per batch; the last may be smaller.

        Yields:
            Batches in order.
        """
        for index, start in enumerate(range(0, len(self.samples), batch_size)):
            numbers = range(start, min(start + batch_size, len(self.samples)))
            labels = [self.samples[n].label for n in numbers]
            yield Batch(
                normalize([self.square(n) for n in numbers], self._preprocessing),
                np.array([-1 if label is None else label for label in labels], np.int64),
                0,
                index,
            )
