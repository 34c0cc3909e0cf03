"""Pixels of a sample, ready for the transforms: decoded once, kept as long as there is room."""

import math
import os
from collections.abc import Callable, Collection
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from eyeground.data.sample import Sample
from eyeground.images.cut import Cut
from eyeground.images.field import Window, window
from eyeground.images.read import Parcel
from eyeground.images.retinal_image import RetinalImage

# Of a picture that is decoded smaller, the short side has so many times the pixels that are kept, and so has, at least,
# the part that is used.
_ASKED, _ENOUGH = 1.25, 1.2


class PixelStore:
    """Reads images and keeps them in memory, up to a limit.

    Filled before loader workers start, so that they share it. An image over the limit is read again each time.

    Args:
        crop_field: Crop photographs to their field of view.
        store_px: Shrink the short side to at most this, 0 = keep. Unit: px.
        limit_bytes: Greatest size of what is kept; None = a quarter of the machine's free memory.
        sharers: Processes on this machine that each keep as much: they have that quarter together.
        prepared: Folders whose images are cropped and shrunk already; they are taken as they are, like all from shards.

    Example:
        >>> store = PixelStore(crop_field=False, store_px=8, limit_bytes=10**6)
        >>> store.ready(RetinalImage(np.zeros((16, 32, 3), np.uint8), "a.png")).shape
        (8, 16, 3)

    References:
        Our own.
    """

    def __init__(
        self,
        *,
        crop_field: bool,
        store_px: int,
        limit_bytes: int | None = None,
        sharers: int = 1,
        prepared: Collection[Path] = (),
    ) -> None:
        self._prepared = frozenset(prepared)
        self._crop_field = crop_field
        self._store_px = store_px
        self._limit_bytes = _quarter_of_free_memory() // sharers if limit_bytes is None else limit_bytes
        self._kept: dict[str, NDArray[np.uint8]] = {}
        self._bytes = 0

    def ready(self, image: RetinalImage) -> NDArray[np.uint8]:
        """Crop and shrink a decoded image.

        Args:
            image: As the decoder gave it.

        Returns:
            Shape (H, W, 3), uint8.
        """
        return self.cut(image)[0]

    def cut(self, image: RetinalImage) -> tuple[NDArray[np.uint8], Cut]:
        """Crop and shrink a decoded image, and say which part of it that is.

        Args:
            image: As the decoder gave it.

        Returns:
            Shape (H, W, 3), uint8; and the part, in px of the image as it was.
        """
        found = window(image, crop_field=self._crop_field)
        return self._shrunk(found), found.part

    def _shrunk(self, found: Window, *, gap: float = 3.0) -> NDArray[np.uint8]:
        """Shrink what is larger than is kept."""
        sides = found.part.bottom - found.part.top, found.part.right - found.part.left
        if not self._store_px or min(sides) <= self._store_px:
            return found.pixels
        height, width = (max(1, round(side * self._store_px / min(sides))) for side in sides)
        # reducing_gap lets Pillow shrink by whole factors first: several times faster, no visible change.
        shrunk = Image.fromarray(found.pixels).resize(
            (width, height), Image.Resampling.BICUBIC, box=found.box, reducing_gap=gap
        )
        return np.asarray(shrunk)

    def open(self, parcel: Parcel) -> tuple[RetinalImage, NDArray[np.uint8]]:
        """Decode an image as far as its pixels are needed, then crop and shrink it.

        A JPEG of which less is kept is decoded 2 or 4 times smaller, which is several times faster. The pixels are
        then not those of ``ready`` on the whole image, but near them: the prefilter is another one.

        Args:
            parcel: Its bytes.

        Returns:
            The image as decoded, and its pixels, shape (H, W, 3), uint8.

        Raises:
            ImageRefused: If the file cannot be read as an image.
        """
        image, pixels, _ = self._open(parcel)
        return image, pixels

    def see(self, parcel: Parcel, image: RetinalImage) -> tuple[NDArray[np.uint8], Cut]:
        """Give what ``open`` gives of an image that was decoded whole to be judged: a network sees what it learned on.

        Args:
            parcel: Its bytes.
            image: As they were decoded.

        Returns:
            Shape (H, W, 3), uint8; and the part of the image that this is, in px of the image.

        Raises:
            ImageRefused: If the file cannot be read as an image.
        """
        halves = (min(image.size) + 1) // 2 >= math.ceil(_ASKED * self._store_px) > 0
        if not (halves and parcel.data.startswith(b"\xff\xd8")):
            return self.cut(image)
        _, pixels, part = self._open(parcel)
        return pixels, part

    def _open(self, parcel: Parcel) -> tuple[RetinalImage, NDArray[np.uint8], Cut]:
        """Decode no further than is needed, crop and shrink."""
        least_px = math.ceil(_ASKED * self._store_px)
        while True:
            image = parcel.decode(least_px=least_px)
            found = window(image, crop_field=self._crop_field)
            short = min(found.part.bottom - found.part.top, found.part.right - found.part.left)
            if image.shrunk == 1 or short >= image.shrunk * _ENOUGH * self._store_px:
                return image, self._shrunk(found, gap=3.0 if image.shrunk == 1 else _ENOUGH), found.part
            # A small field in a large picture: half as many times smaller, or whole.
            least_px = min(image.size) // (image.shrunk // 2) if image.shrunk > 2 else 0

    def keep(self, sample: Sample, parcel: Parcel) -> RetinalImage:
        """Decode an image, and keep its pixels if there is room.

        Args:
            sample: Which one.
            parcel: Its bytes.

        Returns:
            The image as decoded.

        Raises:
            ImageRefused: If the file cannot be read as an image.
        """
        image, pixels = self._of(sample, parcel)
        if self._bytes + pixels.nbytes <= self._limit_bytes and sample.id not in self._kept:
            self._kept[sample.id] = pixels
            self._bytes += pixels.nbytes
        return image

    def __call__(self, sample: Sample) -> NDArray[np.uint8]:
        """Give a sample's pixels.

        Args:
            sample: Which one.

        Returns:
            Shape (H, W, 3), uint8.

        Raises:
            ImageRefused: If the file cannot be read as an image.
            ShardBroken: If it lies in a shard that is damaged.
        """
        kept = self._kept.get(sample.id)
        if kept is not None:
            return kept
        return self._of(sample, sample.parcel())[1]

    def _of(self, sample: Sample, parcel: Parcel) -> tuple[RetinalImage, NDArray[np.uint8]]:
        """Decode, crop and shrink, unless that was done before."""
        if sample.pack is None and sample.folder not in self._prepared:
            return self.open(parcel)
        image = parcel.decode()
        return image, image.pixels


def _quarter_of_free_memory() -> int:
    """Ask the system; where it does not say, half a gigabyte."""
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 4
    except (ValueError, OSError, AttributeError):
        return 2**29


PixelSource = Callable[[Sample], NDArray[np.uint8]]
