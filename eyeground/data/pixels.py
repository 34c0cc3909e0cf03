"""Pixels of a sample, ready for the transforms: decoded once, kept as long as there is room."""

import os
from collections.abc import Callable, Collection
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from eyeground.data.sample import Sample
from eyeground.images.field import crop_photograph
from eyeground.images.read import read
from eyeground.images.retinal_image import RetinalImage


class PixelStore:
    """Reads images and keeps them in memory, up to a limit.

    Filled before loader workers start, so that they share it. An image over the limit is read again each time.

    Args:
        crop_field: Crop photographs to their field of view.
        store_px: Shrink the short side to at most this, 0 = keep. Unit: px.
        limit_bytes: Greatest size of what is kept; None = a quarter of the machine's free memory.
        prepared: Folders whose images are cropped and shrunk already; they are taken as they are.

    Example:
        >>> store = PixelStore(crop_field=False, store_px=8, limit_bytes=10**6)
        >>> store.ready(RetinalImage(np.zeros((16, 32, 3), np.uint8), "a.png")).shape
        (8, 16, 3)

    References:
        Our own.
    """

    def __init__(
        self, *, crop_field: bool, store_px: int, limit_bytes: int | None = None, prepared: Collection[Path] = ()
    ) -> None:
        self._prepared = frozenset(prepared)
        self._crop_field = crop_field
        self._store_px = store_px
        self._limit_bytes = _quarter_of_free_memory() if limit_bytes is None else limit_bytes
        self._kept: dict[str, NDArray[np.uint8]] = {}
        self._bytes = 0

    def ready(self, image: RetinalImage) -> NDArray[np.uint8]:
        """Crop and shrink a decoded image.

        Args:
            image: As the decoder gave it.

        Returns:
            Shape (H, W, 3), uint8.
        """
        pixels = (crop_photograph(image) if self._crop_field else image).pixels
        short = min(pixels.shape[:2])
        if not self._store_px or short <= self._store_px:
            return pixels
        height, width = (max(1, round(side * self._store_px / short)) for side in pixels.shape[:2])
        # reducing_gap lets Pillow shrink by whole factors first: several times faster, no visible change.
        shrunk = Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC, reducing_gap=3.0)
        return np.asarray(shrunk)

    def keep(self, sample: Sample, image: RetinalImage) -> None:
        """Keep a decoded image, if there is room.

        Args:
            sample: Which one.
            image: Its pixels as decoded.
        """
        pixels = self._of(sample, image)
        if self._bytes + pixels.nbytes <= self._limit_bytes and sample.id not in self._kept:
            self._kept[sample.id] = pixels
            self._bytes += pixels.nbytes

    def __call__(self, sample: Sample) -> NDArray[np.uint8]:
        """Give a sample's pixels.

        Args:
            sample: Which one.

        Returns:
            Shape (H, W, 3), uint8.

        Raises:
            ImageRefused: If the file cannot be read as an image.
        """
        kept = self._kept.get(sample.id)
        if kept is not None:
            return kept
        return self._of(sample, read(sample.path, source=sample.file, slice=sample.slice))

    def _of(self, sample: Sample, image: RetinalImage) -> NDArray[np.uint8]:
        """Crop and shrink, unless that was done before."""
        return image.pixels if sample.folder in self._prepared else self.ready(image)


def _quarter_of_free_memory() -> int:
    """Ask the system; where it does not say, half a gigabyte."""
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 4
    except (ValueError, OSError, AttributeError):
        return 2**29


PixelSource = Callable[[Sample], NDArray[np.uint8]]
