"""Images from paths: a file, a folder of slices, a HEYEX export."""

import os
import re
from dataclasses import dataclass, replace
from pathlib import Path

from eyeground.images.contents import Contents
from eyeground.images.decode import MAX_BYTES, contents, decode, read_bytes
from eyeground.images.refusal import ImageRefused
from eyeground.images.retinal_image import RetinalImage

_PICTURES = frozenset((".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".tif", ".tiff", ".bmp", ".dib"))


@dataclass(frozen=True)
class Parcel:
    """The bytes that hold one image, and what is known of it from outside them.

    Args:
        data: The file that holds it.
        source: Where it came from, for messages.
        slice: Which slice of that file; None = the center one.
        volume: What the volume around it says, if its slices lie in files of their own.
        number: Which slice of that volume.
        max_bytes: Largest file let in. Unit: bytes.

    Example:
        >>> Parcel(b"x", "a.png").slice is None
        True

    References:
        Our own.
    """

    data: bytes
    source: str
    slice: int | None = None
    volume: Contents | None = None
    number: int = 0
    max_bytes: int = MAX_BYTES

    def decode(self, *, least_px: int = 0) -> RetinalImage:
        """Decode it.

        Args:
            least_px: As in ``decode``; slices of a volume always come whole, since its scale is theirs. Unit: px.

        Returns:
            The image.

        Raises:
            ImageRefused: As ``decode``.
        """
        if self.volume is None:
            return decode(self.data, source=self.source, slice=self.slice, least_px=least_px, max_bytes=self.max_bytes)
        image = decode(self.data, source=self.source, slice=self.slice)
        lines = self.volume.lines_mm
        return replace(
            image,
            eye=self.volume.eye,
            modality=self.volume.modality,
            mm_per_px=self.volume.mm_per_px,
            slice=self.number,
            slices=self.volume.slices,
            line_mm=lines[self.number] if lines else None,
        )


def fetch(path: Path, *, source: str | None = None, slice: int | None = None) -> Parcel:
    """Read the bytes that hold an image: of a file, of a folder of slices, of a HEYEX export.

    A folder is a volume: its HEYEX XML says the slices if it holds one, otherwise its pictures are the slices, in the
    order of the numbers in their names.

    Args:
        path: The file or folder.
        source: Name for messages; the path's last part when None.
        slice: Which B-scan of a volume, from 0; None = the center one.

    Returns:
        The bytes, not yet decoded.

    Raises:
        ImageRefused: If the file cannot be read, or there is no such slice.

    Example:
        >>> fetch(Path("nowhere.png"))
        Traceback (most recent call last):
        eyeground.images.refusal.ImageRefused: nowhere.png: cannot be read (No such file or directory); ...

    References:
        Our own.
    """
    name = path.name if source is None else source
    if path.is_dir():
        pictures, export = _slices_of(path, name)
        if export is None:
            number = _number(slice, len(pictures), name)
            inside = f"{name}/{pictures[number]}"
            return Parcel(
                read_bytes(path / pictures[number], source=inside), inside, None,
                Contents("folder of slices", len(pictures), 0, 0), number,
            )  # fmt: skip
        path, name = path / export, f"{name}/{export}"
    data = read_bytes(path, source=name)
    if not _may_be_xml(data):
        return Parcel(data, name, slice)
    found = contents(data, source=name)
    if not found.files:
        return Parcel(data, name, slice)
    number = _number(slice, found.slices, name)
    inside = f"{name}/{found.files[number]}"
    if (path.parent / found.files[number]).is_symlink():
        raise ImageRefused("unreadable", inside, "is a symbolic link; copy the file itself")
    return Parcel(read_bytes(path.parent / found.files[number], source=inside), inside, None, found, number)


def read(path: Path, *, source: str | None = None, slice: int | None = None) -> RetinalImage:
    """Read and decode one image.

    Args:
        path: A file, or a folder of slices.
        source: Name for messages; the path's last part when None.
        slice: Which B-scan of a volume, from 0; None = the center one.

    Returns:
        The image, as ``decode`` gives it.

    Raises:
        ImageRefused: If the file cannot be read (``unreadable``), or as ``decode`` does.

    Example:
        >>> import tempfile
        >>> from PIL import Image
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Image.new("RGB", (8, 6)).save(Path(folder, "a.bmp"))
        ...     read(Path(folder, "a.bmp")).pixels.shape
        (6, 8, 3)

    References:
        Our own.
    """
    return fetch(path, source=source, slice=slice).decode()


def look(path: Path, *, source: str | None = None) -> Contents:
    """Read what a file or a folder of slices holds, without decoding a pixel.

    Args:
        path: A file, or a folder of slices.
        source: Name for messages; the path's last part when None.

    Returns:
        Its header in words; of a folder of slices, that of its center slice.

    Raises:
        ImageRefused: As ``read``.

    Example:
        >>> import tempfile
        >>> from PIL import Image
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for name in ("2.png", "10.png", "1.png"):
        ...         Image.new("L", (8, 6)).save(Path(folder, name))
        ...     look(Path(folder)).slices
        3

    References:
        Our own.
    """
    name = path.name if source is None else source
    if path.is_dir():
        pictures, export = _slices_of(path, name)
        if export is None:
            center = pictures[len(pictures) // 2]
            inside = look(path / center, source=f"{name}/{center}")
            return replace(inside, format="folder of slices", slices=len(pictures))
        path, name = path / export, f"{name}/{export}"
    return contents(read_bytes(path, source=name), source=name)


def _slices_of(folder: Path, source: str) -> tuple[list[str], str | None]:
    """List the pictures of a folder in their order, and its HEYEX export if it has one."""
    try:
        with os.scandir(folder) as entries:
            # A link could lead anywhere.
            names = [e.name for e in entries if e.is_file(follow_symlinks=False) and not e.name.startswith(".")]
    except OSError as error:
        raise ImageRefused("unreadable", source, f"cannot be read ({error.strerror}); check the permissions") from error
    exports = sorted(name for name in names if name.lower().endswith(".xml"))
    if len(exports) == 1:
        return [], exports[0]
    pictures = sorted((name for name in names if Path(name).suffix.lower() in _PICTURES), key=_by_number)
    if not pictures:
        raise ImageRefused("unreadable", source, "is a folder without pictures; give a folder of slices, or a file")
    return pictures, None


def _by_number(name: str) -> list[tuple[bool, int, str]]:
    """Sort 2 before 10."""
    return [(part.isdecimal(), int(part) if part.isdecimal() else 0, part) for part in re.split(r"(\d+)", name)]


def _number(slice: int | None, slices: int, source: str) -> int:
    """Choose the slice, or refuse."""
    number = slices // 2 if slice is None else slice
    if not 0 <= number < slices:
        raise ImageRefused("no_such_slice", source, f"has {slices} slices; there is no slice {number}")
    return number


def _may_be_xml(data: bytes) -> bool:
    """Tell whether to ask for the slices' files: only an XML export keeps them apart."""
    return b"<" in data[:8].replace(b"\0", b"")
