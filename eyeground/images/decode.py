"""The one door for untrusted files: bytes to clean pixels, decoded in a limited child process."""

import math
import os
import re
import stat
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, get_args

from eyeground.images.contents import Contents
from eyeground.images.isolation import Children
from eyeground.images.refusal import REASONS, ImageRefused
from eyeground.images.retinal_image import Eye, Line, Modality, RetinalImage
from eyeground.pick import names

MAX_PIXELS: Final = 64_000_000  # 8,000 x 8,000: more than any fundus camera, and 450 MB while it is decoded
MAX_BYTES: Final = 512 * 1024 * 1024
SECONDS: Final = 9.0  # a 47-megapixel photograph takes one

# Photographs are read by children of their own: those start five times as fast as the ones that know DICOM.
_PHOTO_STARTS = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"II*\0", b"MM\0*", b"II+\0", b"MM\0+", b"BM")
_PHOTOS = Children("photo")
_SCANS = Children(*(name for name in names("images.readers") if name != "photo"))

_PICTURES = frozenset((".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".tif", ".tiff", ".bmp", ".dib"))


def decode(
    data: bytes, *, source: str, slice: int | None = None, max_pixels: int = MAX_PIXELS, max_bytes: int = MAX_BYTES
) -> RetinalImage:
    """Turn the bytes of an image file into upright RGB pixels, or refuse them.

    The format is told from the content (JPEG, PNG, TIFF, BMP, DICOM, Heidelberg .vol), never from the name; what each
    reader in ``images/readers/`` does to pixels stands there. Decoding happens in a child process that may take 1 GiB
    and 9 seconds, can open no file and no socket, and whose death harms nobody.

    Args:
        data: The whole file.
        source: Where it came from, for messages and for the image.
        slice: Which B-scan or page of a volume, from 0; None = the center one.
        max_pixels: Largest width times height let in. Unit: px.
        max_bytes: Largest file let in. Unit: bytes.

    Returns:
        The image, with what the file says of eye, modality and scale.

    Raises:
        ImageRefused: ``.reason`` says why: one of ``REASONS``.

    Example:
        >>> import io
        >>> from PIL import Image
        >>> out = io.BytesIO()
        >>> Image.new("L", (3, 2), 7).save(out, "PNG")
        >>> decode(out.getvalue(), source="a.png").pixels[0, 0].tolist()
        [7, 7, 7]

    References:
        Our own.
    """
    _check_size(len(data), source, max_bytes)
    job = {"job": "frame", "slice": slice, "max_pixels": max_pixels}
    try:
        answer, pixels = _children(data).do_pixels(job, data, seconds=SECONDS)
        if pixels is None:
            raise _refusal(answer)
        told = answer["image"]
        scale = told["mm_per_px"]
        return RetinalImage(
            pixels,
            source,
            eye=_one_of(told["eye"], Eye),
            modality=_one_of(told["modality"], Modality),
            mm_per_px=None if scale is None else _pair(scale),
            slice=int(told["slice"]),
            slices=int(told["slices"]),
            line_mm=None if told["line_mm"] is None else _line(told["line_mm"]),
        )
    except ImageRefused as refused:
        raise ImageRefused(refused.reason, source, refused.sentence) from None
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise ImageRefused("broken", source, f"has a header without sense ({error}); export it again") from error


def contents(data: bytes, *, source: str, max_bytes: int = MAX_BYTES) -> Contents:
    """Read what an image file holds, without decoding a pixel.

    Args:
        data: The whole file.
        source: Where it came from, for messages.
        max_bytes: Largest file let in. Unit: bytes.

    Returns:
        Its header in words.

    Raises:
        ImageRefused: As ``decode``.

    Example:
        >>> import io
        >>> from PIL import Image
        >>> out = io.BytesIO()
        >>> Image.new("L", (3, 2)).save(out, "PNG")
        >>> contents(out.getvalue(), source="a.png").format
        'PNG'

    References:
        Our own.
    """
    _check_size(len(data), source, max_bytes)
    try:
        answer = _children(data).do({"job": "look"}, data, seconds=SECONDS)
        if "contents" not in answer:
            raise _refusal(answer)
        told = answer["contents"]
        return Contents(
            format=str(told["format"]),
            slices=int(told["slices"]),
            width=int(told["width"]),
            height=int(told["height"]),
            modality=_one_of(told["modality"], Modality),
            eye=_one_of(told["eye"], Eye),
            mm_per_px=None if told["mm_per_px"] is None else _pair(told["mm_per_px"]),
            lines_mm=tuple(_line(line) for line in told["lines_mm"]),
            device=str(told["device"]),
            personal=tuple(str(name) for name in told["personal"]),
            files=tuple(_plain_name(name) for name in told["files"]),
        )
    except ImageRefused as refused:
        raise ImageRefused(refused.reason, source, refused.sentence) from None
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise ImageRefused("broken", source, f"has a header without sense ({error}); export it again") from error


@dataclass(frozen=True)
class Parcel:
    """The bytes that hold one image, and what is known of it from outside them.

    Args:
        data: The file that holds it.
        source: Where it came from, for messages.
        slice: Which slice of that file; None = the center one.
        volume: What the volume around it says, if its slices lie in files of their own.
        number: Which slice of that volume.

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

    def decode(self) -> RetinalImage:
        """Decode it.

        Returns:
            The image.

        Raises:
            ImageRefused: As ``decode``.
        """
        image = decode(self.data, source=self.source, slice=self.slice)
        if self.volume is None:
            return image
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


def read_bytes(path: Path, *, source: str, max_bytes: int = MAX_BYTES) -> bytes:
    """Read a file whole, if it is a plain file of a sane size.

    Args:
        path: The file.
        source: Name for messages.
        max_bytes: Largest file let in. Unit: bytes.

    Returns:
        Its bytes.

    Raises:
        ImageRefused: If it is missing, no plain file, not permitted (``unreadable``), empty, or too large.

    Example:
        >>> read_bytes(Path("nowhere.png"), source="nowhere.png")
        Traceback (most recent call last):
        eyeground.images.refusal.ImageRefused: nowhere.png: cannot be read (No such file or directory); ...

    References:
        Our own.
    """
    try:
        # Without O_NONBLOCK a named pipe put among the images would hang the reader.
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        with os.fdopen(handle, "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise ImageRefused("unreadable", source, "is not a plain file; give an image file")
            _check_size(status.st_size, source, max_bytes)
            return file.read(max_bytes + 1)
    except (OSError, ValueError) as error:
        if isinstance(error, ImageRefused):
            raise
        words = getattr(error, "strerror", None) or str(error)
        raise ImageRefused(
            "unreadable", source, f"cannot be read ({words}); check the name and the permissions"
        ) from error


def _children(data: bytes) -> Children:
    """Choose who reads it; before a DICOM file's mark may stand anything, even a TIFF's header."""
    return _PHOTOS if data.startswith(_PHOTO_STARTS) and data[128:132] != b"DICM" else _SCANS


def _check_size(size_bytes: int, source: str, max_bytes: int) -> None:
    """Refuse no bytes and too many."""
    if size_bytes == 0:
        raise ImageRefused("empty", source, "the file is empty; copy it again")
    if size_bytes > max_bytes:
        raise ImageRefused(
            "too_large", source, f"the file has more than the {max_bytes:,} bytes allowed; export it smaller"
        )


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


# The child has read hostile bytes: what it answers is taken as words and numbers, nothing else.


def _refusal(answer: dict[str, Any]) -> ImageRefused:
    """Read a refusal."""
    reason, sentence = answer.get("refused", ("broken", "could not be decoded"))
    return ImageRefused(reason if reason in REASONS else "broken", "", str(sentence)[:500])


def _one_of(word: object, kind: Any) -> Any:
    """Take a word of a closed list, else nothing."""
    return word if word in get_args(kind) else ""


def _pair(values: Any) -> tuple[float, float]:
    """Take two finite numbers."""
    first, second = (float(value) for value in values)
    if not (math.isfinite(first) and math.isfinite(second)):
        raise ImageRefused("broken", "", "the header holds a scale or place that is no number; export it again")
    return first, second


def _line(ends: Any) -> Line:
    """Take the two ends of a B-scan."""
    start, end = ends
    return _pair(start), _pair(end)


def _plain_name(name: object) -> str:
    """Take the name of a file beside the export, never a path."""
    word = str(name)
    if not word or word != os.path.basename(word) or "\\" in word or "\0" in word or word in (".", ".."):  # noqa: PTH119
        raise ImageRefused("broken", "", "names a slice outside its own folder; export it again")
    return word
