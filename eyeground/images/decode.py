"""The one door for untrusted bytes: image files to clean pixels."""

import io
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import BmpImagePlugin, Image, ImageFile, JpegImagePlugin, PngImagePlugin, TiffImagePlugin

from eyeground.images.retinal_image import RetinalImage

Reason = Literal[
    "unreadable", "empty", "too_large", "not_an_image", "format_not_allowed", "too_many_pixels", "animated",
    "truncated", "broken", "not_finite",
]  # fmt: skip

MAX_PIXELS = 100_000_000  # 10,000 x 10,000: twice the largest fundus camera, and 300 MB decoded
MAX_BYTES = 512 * 1024 * 1024

_ORIENTATION_TAG = 0x0112
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# The formats' own classes, not Image.open: that one warns through process-wide filters above Pillow's own pixel cap,
# and filters cannot be changed safely while other threads decode.
_ALLOWED: tuple[tuple[tuple[bytes, ...], Callable[..., ImageFile.ImageFile]], ...] = (
    ((b"\xff\xd8\xff",), JpegImagePlugin.JpegImageFile),
    ((b"\x89PNG\r\n\x1a\n",), PngImagePlugin.PngImageFile),
    ((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"), TiffImagePlugin.TiffImageFile),
    ((b"BM",), BmpImagePlugin.BmpImageFile),
)
_NAMED = ((0, b"GIF8", "GIF"), (8, b"WEBP", "WebP"), (0, b"%PDF", "PDF"), (128, b"DICM", "DICOM"), (0, b"<svg", "SVG"),
          (0, b"<?xml", "XML or SVG"), (4, b"ftyp", "HEIF or video"), (0, b"PK\x03\x04", "zip archive"))  # fmt: skip


class ImageRefused(ValueError):
    """An image file that was not let in.

    Args:
        reason: Which of the closed list of refusals it is.
        source: Where the bytes came from.
        sentence: What is wrong and what to do.

    Example:
        >>> str(ImageRefused("empty", "a.png", "the file is empty; copy it again"))
        'a.png: the file is empty; copy it again'

    References:
        Our own.
    """

    def __init__(self, reason: Reason, source: str, sentence: str) -> None:
        super().__init__(reason, source, sentence)
        self.reason: Reason = reason
        self.source = source
        self.sentence = sentence

    def __str__(self) -> str:
        return f"{self.source}: {self.sentence}"


def decode(data: bytes, *, source: str, max_pixels: int = MAX_PIXELS, max_bytes: int = MAX_BYTES) -> RetinalImage:
    """Turn the bytes of an image file into upright RGB pixels, or refuse them.

    The format is told from the content (JPEG, PNG, TIFF, BMP), never from the name. The size in the header is checked
    before anything is decoded. Turned by the EXIF orientation. Gray becomes R = G = B. Transparency is laid over black,
    because black is what surrounds the field of view in a photograph and the tissue in an OCT scan. Gray with more than
    8 bits (16-bit, 32-bit, float) is scaled so that its own smallest value becomes 0 and its own largest 255: devices
    store 10 or 12 bits in 16, so the container's range means nothing. 16-bit color keeps its upper 8 bits. Of a TIFF
    with several pages the first is read; an animated PNG is refused, since nothing says which frame is meant.

    Args:
        data: The whole file.
        source: Where it came from, for messages and for the image.
        max_pixels: Largest width times height let in. Unit: px.
        max_bytes: Largest file let in. Unit: bytes.

    Returns:
        The image; eye, modality and scale are not known here and stay empty.

    Raises:
        ImageRefused: If the bytes are empty, too many, no image, of another format, of too many pixels, animated,
            truncated, damaged, or hold values that are not finite. ``.reason`` says which.

    Example:
        >>> out = io.BytesIO()
        >>> Image.new("L", (3, 2), 7).save(out, "PNG")
        >>> decode(out.getvalue(), source="a.png").pixels[0, 0].tolist()
        [7, 7, 7]

    References:
        Our own.
    """
    _check_size(len(data), source, max_bytes)
    opener = _opener(data, source)
    try:
        with opener(io.BytesIO(data)) as picture:
            _check_header(picture, source, max_pixels)
            if isinstance(picture, PngImagePlugin.PngImageFile):
                with opener(io.BytesIO(data)) as twin:  # verify() consumes the file; it checks every chunk's checksum
                    twin.verify()
            orientation = _orientation(picture)
            picture.load()
            # Pillow turns TIFFs itself while loading, so only the others are still to turn.
            turn = None if isinstance(picture, TiffImagePlugin.TiffImageFile) else _TURNS.get(orientation)
            pixels = _rgb(picture if turn is None else picture.transpose(turn), source)
    except ImageRefused:
        raise
    except Exception as error:  # Pillow raises almost any class on hostile bytes
        if _cut_short(data, error):
            raise ImageRefused("truncated", source, "the file ends too early; copy or export it again") from error
        words = " ".join(str(error).split()) or type(error).__name__
        raise ImageRefused("broken", source, f"the image is damaged ({words}); copy or export it again") from error
    return RetinalImage(pixels, source)


def read(
    path: Path, *, source: str | None = None, max_pixels: int = MAX_PIXELS, max_bytes: int = MAX_BYTES
) -> RetinalImage:
    """Read and decode one image file.

    Args:
        path: The file.
        source: Name for messages; the path's last part when None.
        max_pixels: Largest width times height let in. Unit: px.
        max_bytes: Largest file let in. Unit: bytes.

    Returns:
        The image, as ``decode`` gives it.

    Raises:
        ImageRefused: If the file cannot be read (``unreadable``), or as ``decode`` does.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Image.new("RGB", (8, 6)).save(Path(folder, "a.bmp"))
        ...     read(Path(folder, "a.bmp")).pixels.shape
        (6, 8, 3)

    References:
        Our own.
    """
    name = path.name if source is None else source
    data = read_bytes(path, source=name, max_bytes=max_bytes)
    return decode(data, source=name, max_pixels=max_pixels, max_bytes=max_bytes)


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
        eyeground.images.decode.ImageRefused: nowhere.png: cannot be read (No such file or directory); ...

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


def _check_size(size_bytes: int, source: str, max_bytes: int) -> None:
    """Refuse no bytes and too many."""
    if size_bytes == 0:
        raise ImageRefused("empty", source, "the file is empty; copy it again")
    if size_bytes > max_bytes:
        raise ImageRefused(
            "too_large", source, f"the file has more than the {max_bytes:,} bytes allowed; export it smaller"
        )


def _opener(data: bytes, source: str) -> Callable[..., ImageFile.ImageFile]:
    """Tell the format from the first bytes."""
    for starts, opener in _ALLOWED:
        if data.startswith(starts):
            return opener
    for offset, mark, name in _NAMED:
        if data[offset:].lstrip()[: len(mark)] == mark if offset == 0 else data[offset : offset + len(mark)] == mark:
            raise ImageRefused(
                "format_not_allowed", source, f"is {name}; only JPEG, PNG, TIFF and BMP are read, so convert it first"
            )
    raise ImageRefused("not_an_image", source, "is not an image; only JPEG, PNG, TIFF and BMP are read")


def _check_header(picture: ImageFile.ImageFile, source: str, max_pixels: int) -> None:
    """Refuse, before decoding, what the header alone rules out."""
    width, height = picture.size
    if width < 1 or height < 1:
        raise ImageRefused("broken", source, f"the header says {width}x{height} pixels; export it again")
    if width * height > max_pixels:
        raise ImageRefused(
            "too_many_pixels", source,
            f"the header says {width}x{height} pixels, more than the {max_pixels:,} allowed; export it smaller",
        )  # fmt: skip
    if isinstance(picture, PngImagePlugin.PngImageFile) and getattr(picture, "n_frames", 1) > 1:
        raise ImageRefused("animated", source, "is an animated PNG; export the one frame that is meant")


def _orientation(picture: ImageFile.ImageFile) -> int:
    """Read the EXIF orientation; damaged EXIF is no reason to lose good pixels."""
    try:
        return int(picture.getexif().get(_ORIENTATION_TAG, 1))
    except Exception:  # noqa: BLE001  see above
        return 1


def _rgb(picture: Image.Image, source: str) -> NDArray[np.uint8]:
    """Bring any mode to (H, W, 3) uint8."""
    if picture.mode.startswith(("I", "F")):
        return np.repeat(_to_8_bit(np.asarray(picture), source)[:, :, None], 3, axis=2)
    if picture.has_transparency_data:
        see_through = picture.convert("RGBA")
        picture = Image.new("RGB", see_through.size)
        picture.paste(see_through, mask=see_through.getchannel("A"))
    elif picture.mode in ("LAB", "HSV"):
        raise ImageRefused("format_not_allowed", source, f"has {picture.mode} colors; export it as RGB")
    return np.array(picture if picture.mode == "RGB" else picture.convert("RGB"))


def _to_8_bit(values: NDArray[np.generic], source: str) -> NDArray[np.uint8]:
    """Scale gray of any depth by its real range, a few rows at a time to spare memory."""
    low, high = float(values.min()), float(values.max())
    if not np.isfinite([low, high]).all():
        raise ImageRefused("not_finite", source, "has pixels that are NaN or infinite; export it again as 8 or 16 bit")
    gray = np.zeros(values.shape, np.uint8)
    if high > low:
        for top in range(0, values.shape[0], 256):
            part = values[top : top + 256].astype(np.float64)
            gray[top : top + 256] = np.rint((part / 2 - low / 2) / (high / 2 - low / 2) * 255)  # halves cannot overflow
    return gray


def _cut_short(data: bytes, error: Exception) -> bool:
    """Tell a file that ends too early from one damaged inside."""
    if data.startswith(b"\xff\xd8\xff"):
        return b"\xff\xd9" not in data[-64 * 1024 :]
    if data.startswith(b"\x89PNG"):
        return b"IEND" not in data[-64 * 1024 :]
    words = str(error).lower()
    return any(word in words for word in ("truncated", "not enough", "unexpected end", "end of file"))
