"""Samples -> batches, the same whatever the number of workers and wherever one starts."""

import signal
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset

from eyeground.data.augment import Augmentation, draws, training_transform
from eyeground.data.order import copies
from eyeground.data.pixels import PixelSource
from eyeground.data.preprocessing import Preprocessing, normalize, square
from eyeground.data.sample import Sample
from eyeground.data.shards.order import order_for

Order = Callable[[int], NDArray[np.int64]]  # epoch, from 0 -> numbers of its samples


class LoaderLost(RuntimeError):
    """A loader process has ended; what it was to draw will not come."""


@dataclass(frozen=True, eq=False)
class Batch:
    """Images and labels in one piece.

    Args:
        images: Normalized, shape (N, 3, H, W), float32; with several views of each image (N, V, 3, H, W).
        truth: Truth of each head, shape (N, H); NaN = not known.
        epoch: Which epoch it belongs to, from 0.
        index: Which batch of the epoch, from 0.

    Example:
        >>> Batch(np.zeros((1, 3, 2, 2), np.float32), np.zeros((1, 1)), 0, 0).index
        0

    References:
        Our own.
    """

    images: NDArray[np.float32]
    truth: NDArray[np.float64]
    epoch: int
    index: int


class _Draws(Dataset[tuple[torch.Tensor, torch.Tensor]]):
    """Training images, addressed by (epoch, number, copy), so that one loader serves all epochs."""

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

    def __getitem__(self, address: tuple[int, int, int]) -> tuple[torch.Tensor, torch.Tensor]:
        epoch, number, copy = address
        sample = self._samples[number]
        # An image that an epoch holds again is drawn otherwise.
        with draws(self._seed, epoch, sample.id, *([copy] if copy else [])):
            pixels = self._pixels(sample)
            drawn = [self._transform(pixels) for _ in range(self._views or 1)]
        tensor = torch.stack(drawn) if self._views else drawn[0]
        return tensor, torch.tensor(sample.truth, dtype=torch.float64)


@dataclass(frozen=True)
class _Addresses:
    """Which images make up each batch, from some point of the run on; made as they are asked for."""

    order: Order
    batch_size: int
    places: Sequence[int]
    epochs: int
    first_epoch: int
    first_batch: int

    def __iter__(self) -> Iterator[list[tuple[int, int, int]]]:
        for epoch in range(self.first_epoch, self.epochs):
            numbers = self.order(epoch)
            again = copies(numbers)
            first = self.first_batch if epoch == self.first_epoch else 0
            for index in range(first, len(numbers) // self.batch_size):
                places = (index * self.batch_size + place for place in self.places)
                yield [(epoch, int(numbers[place]), int(again[place])) for place in places]


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
    order: Order | None = None,
    places: Sequence[int] | None = None,
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
        order: Which samples an epoch holds, by their numbers; always as many. None = all of them, shuffled, those of
            many shards within a window of some.
        places: Which places of each batch to draw, from 0 in ascending order; None = all of them.

    Yields:
        Batches in order.

    Raises:
        ValueError: If there are fewer samples than one batch.

    Example:
        >>> from pathlib import Path
        >>> samples = [Sample(f"{i}.png", Path("."), i % 2, str(i)) for i in range(5)]
        >>> batches = training_batches(samples, pixels=lambda s: np.zeros((9, 9, 3), np.uint8),
        ...     preprocessing=Preprocessing(image_px=8), augmentation=Augmentation(), batch_size=2, epochs=3, seed=0)
        >>> [(b.epoch, b.index, len(b.truth)) for b in batches]
        [(0, 0, 2), (0, 1, 2), (1, 0, 2), (1, 1, 2), (2, 0, 2), (2, 1, 2)]

    References:
        Our own.
    """
    order = order or order_for(samples, seed=seed)
    per_epoch = len(order(first_epoch)) // batch_size
    if not per_epoch:
        raise ValueError(f"{len(samples)} training images do not fill one batch of {batch_size}; lower batch_size")
    loader: DataLoader[Any] = DataLoader(
        _Draws(samples, pixels, preprocessing, augmentation, seed, views),
        batch_sampler=_Addresses(
            order, batch_size, range(batch_size) if places is None else places, epochs, first_epoch, first_batch
        ),
        num_workers=workers,
        worker_init_fn=_ignore_signals if workers else None,
        prefetch_factor=2 if workers else None,
        # Its own generator: otherwise the loader would draw from, and so disturb, the global one.
        generator=torch.Generator().manual_seed(seed),
        # Forked workers share the pixels already in memory; Python 3.14 would start fresh ones, which share nothing.
        multiprocessing_context="fork" if workers else None,
    )
    position = first_epoch * per_epoch + first_batch
    for images, truth in loader:
        yield Batch(images.numpy(), truth.numpy(), *divmod(position, per_epoch))
        position += 1


@contextmanager
def missing_loaders() -> Iterator[None]:
    """Say in our words that a loader process has ended, wherever in the block torch's signal handler notices it.

    Yields:
        Nothing.

    Raises:
        LoaderLost: If one has, with torch's words on how.

    Example:
        >>> with missing_loaders():
        ...     raise RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed. ")
        Traceback (most recent call last):
        eyeground.data.loader.LoaderLost: a loader process has ended (DataLoader worker (pid 7) is killed by signal: ...

    References:
        torch.utils.data: its handler of SIGCHLD raises a plain RuntimeError between any two instructions.
    """
    try:
        yield
    except RuntimeError as error:
        if not str(error).startswith("DataLoader worker"):
            raise
        raise LoaderLost(
            f"a loader process has ended ({str(error).strip().rstrip('.')}); the system kills them when memory runs "
            "out: set workers to fewer, or make the memory in /dev/shm larger"
        ) from error


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

    def images(self, numbers: Iterable[int]) -> NDArray[np.float32]:
        """Give some images.

        Args:
            numbers: Which samples, from 0; at least one.

        Returns:
            Normalized, shape (N, 3, H, W).
        """
        return normalize([self.square(number) for number in numbers], self._preprocessing)

    def batches(self, batch_size: int) -> Iterator[Batch]:
        """Give all images once, in order.

        Args:
            batch_size: Images per batch; the last may be smaller.

        Yields:
            Batches in order.
        """
        for index, start in enumerate(range(0, len(self.samples), batch_size)):
            numbers = range(start, min(start + batch_size, len(self.samples)))
            yield Batch(
                self.images(numbers),
                np.array([self.samples[n].truth for n in numbers]),
                0,
                index,
            )
