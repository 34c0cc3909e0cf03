"""One labelled image of a data set, before its pixels are read."""

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from eyeground.images.read import Parcel, fetch
from eyeground.images.retinal_image import Eye


class Pack(Protocol):
    """Images that lie together in larger files instead of a file each.

    References:
        ``eyeground.data.shards.opened`` for the only one there is.
    """

    def read(self, file: str) -> bytes:
        """Read an image's bytes.

        Args:
            file: Its name.

        Returns:
            The bytes, which are those that were stored.
        """
        ...

    def sha256(self, file: str) -> str:
        """Say the hash of an image's bytes, without reading them.

        Args:
            file: Its name.

        Returns:
            64 hex digits.
        """
        ...

    def origin(self, file: str) -> tuple[str, int | None, str]:
        """Say what an image was made from.

        Args:
            file: Its name.

        Returns:
            File and slice in the data set it was made from, and the hash that ``verify`` gave it there.
        """
        ...

    def shard_of(self, file: str) -> int:
        """Say which of the larger files an image lies in.

        Args:
            file: Its name.

        Returns:
            The number of that file, from 0.
        """
        ...

    @property
    def shards(self) -> int:
        """How many larger files there are."""
        ...


@dataclass(frozen=True)
class Sample:
    """What the table says of one image.

    Args:
        file: Path as the data set names it, with forward slashes, relative to ``folder``.
        folder: Folder that ``file`` is relative to.
        label: Index of the class, 0 to K-1; None when not labelled, or where ``values`` tell the truth.
        patient: Group that must never be split: a patient, or patients joined. Unique across sources.
        eye: ``"OD"``, ``"OS"`` or ``""``.
        site: Where it was taken, ``""`` when not known.
        camera: What it was taken with, ``""`` when not known.
        split: ``"train"``, ``"val"``, ``"test"``, or ``""`` before splitting.
        source: Name of the data source it came from, for counts per source.
        slice: Which B-scan of the volume in ``file``, from 0; None = the whole file, or a volume's center.
        whole: Name of the volume whose B-scans are files of their own; ``""`` otherwise.
        values: Truth of each head of a task with several heads or a quantity; NaN = not known. Empty where ``label``
            tells it.
        pack: Where its bytes lie, if they have no file of their own; ``folder`` then only names it.

    Example:
        >>> Sample("a/1.png", Path("data"), 0, "p1").id
        ':a/1.png'

    References:
        Our own.
    """

    file: str
    folder: Path
    label: int | None
    patient: str
    eye: Eye = ""
    site: str = ""
    camera: str = ""
    split: str = ""
    source: str = ""
    slice: int | None = None
    whole: str = ""
    values: tuple[float, ...] = ()
    pack: Pack | None = field(default=None, compare=False, repr=False)

    @property
    def truth(self) -> tuple[float, ...]:
        """Truth of each head, NaN where not known."""
        return self.values or (math.nan if self.label is None else float(self.label),)

    @property
    def id(self) -> str:
        """Name that every random draw hangs on: source, file and slice, never the machine's path."""
        name = f"{self.source}:{self.file}"
        return name if self.slice is None else f"{name}#{self.slice}"

    @property
    def volume(self) -> str:
        """Name of the file or volume that its prediction is for."""
        return f"{self.source}:{self.whole or self.file}"

    @property
    def path(self) -> Path:
        """Where the file lies on this machine."""
        return self.folder / self.file

    def parcel(self) -> Parcel:
        """Read the bytes that hold it.

        Returns:
            The bytes, not yet decoded.

        Raises:
            ImageRefused: If its file cannot be read.
            ShardBroken: If it lies in a shard that is damaged.
        """
        if self.pack is not None:
            return Parcel(self.pack.read(self.file), self.file)
        return fetch(self.path, source=self.file, slice=self.slice)
