"""The one door for untrusted files: bytes to clean pixels, decoded in a limited child process."""

import math
import os
import stat
from pathlib import Path
from typing import Any, Final, Literal, get_args

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
_Shrunk = Literal[1, 2, 4]
_PHOTOS = Children("photo")
_SCANS = Children(*(name for name in names("images.readers") if name != "photo"))


def decode(
    data: bytes,
    *,
    source: str,
    slice: int | None = None,
    least_px: int = 0,
    max_pixels: int = MAX_PIXELS,
    max_bytes: int = MAX_BYTES,
) -> RetinalImage:
    """Turn the bytes of an image file into upright RGB pixels, or refuse them.

    The format is told from the content (JPEG, PNG, TIFF, BMP, DICOM, Heidelberg .vol), never from the name; what each
    reader in ``images/readers/`` does to pixels stands there. Decoding happens in a child process that may take 1 GiB
    and 9 seconds, can open no file and no socket, and whose death harms nobody.

    Args:
        data: The whole file.
        source: Where it came from, for messages and for the image.
        slice: Which B-scan or page of a volume, from 0; None = the center one.
        least_px: A JPEG may come 2 or 4 times smaller, which is faster, as long as its short side keeps so many;
            0 = as it is. Unit: px.
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
    children = _children(data)
    job: dict[str, Any] = {"job": "frame", "slice": slice, "max_pixels": max_pixels}
    if least_px and children is _PHOTOS:
        job["more"] = {"least_px": least_px}
    try:
        answer, pixels = children.do_pixels(job, data, seconds=SECONDS)
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
            shrunk=_one_of(told["shrunk"], _Shrunk) or 1,
            full_size=None if told["full_size"] is None else _size(told["full_size"], max_pixels),
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


def _size(sides: Any, max_pixels: int) -> tuple[int, int]:
    """Take height and width of the picture in the file."""
    height, width = (int(side) for side in sides)
    if min(height, width) < 1 or height * width > max_pixels:
        raise ImageRefused("broken", "", f"is said to have {width}x{height} pixels, which cannot be; export it again")
    return height, width


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
