"""Photographs and pages: JPEG, PNG, TIFF (one page or several) and BMP, by Pillow."""

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray
from PIL import BmpImagePlugin, Image, ImageFile, JpegImagePlugin, PngImagePlugin, TiffImagePlugin

from eyeground.images.contents import Contents
from eyeground.images.refusal import ImageRefused
from eyeground.images.retinal_image import RetinalImage

MAX_PAGES = 10_000

_ORIENTATION_TAG = 0x0112
_MAKE_TAG, _MODEL_TAG = 0x010F, 0x0110
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# The formats' own classes, not Image.open: that one warns through process-wide filters above Pillow's own pixel cap.
_FORMATS: dict[str, tuple[tuple[bytes, ...], Callable[..., ImageFile.ImageFile]]] = {
    "JPEG": ((b"\xff\xd8\xff",), JpegImagePlugin.JpegImageFile),
    "PNG": ((b"\x89PNG\r\n\x1a\n",), PngImagePlugin.PngImageFile),
    "TIFF": ((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"), TiffImagePlugin.TiffImageFile),
    "BMP": ((b"BM",), BmpImagePlugin.BmpImageFile),
}


def claims(data: bytes) -> bool:
    """Say whether the first bytes are those of a format read here.

    Args:
        data: The file, or at least its first 8 bytes.

    Returns:
        Whether they are.

    Example:
        >>> claims(b"BM"), claims(b"GIF89a")
        (True, False)

    References:
        Our own.
    """
    return _format(data) is not None


def contents(data: bytes, *, source: str) -> Contents:
    """Read the header.

    The pages of a TIFF are a volume if there are several and all have one size; otherwise the further pages are
    thumbnails or masks, and the first is the image.

    Args:
        data: The whole file.
        source: Where it came from, for messages.

    Returns:
        Format, size, number of pages, and the camera that EXIF names. Such files do not say what they show.

    Raises:
        ImageRefused: If the header is damaged, or there are more than 10,000 pages.

    Example:
        >>> out = io.BytesIO()
        >>> Image.new("L", (3, 2)).save(out, "PNG")
        >>> contents(out.getvalue(), source="a.png")
        Contents(format='PNG', slices=1, width=3, height=2, ...)

    References:
        Our own.
    """
    name = _format(data)
    if name is None:
        raise ImageRefused("not_an_image", source, "is not an image that Pillow reads")
    with _guarded(data, source), _FORMATS[name][1](io.BytesIO(data)) as picture:
        pages = _pages(picture, source)
        width, height = picture.size
        exif = _exif(picture, data)
        if exif is not None and _orientation(exif) in (5, 6, 7, 8):
            width, height = height, width
        return Contents(name, pages, width, height, device=_device(exif), personal=_personal(picture, exif))


def frame(data: bytes, *, source: str, number: int, max_pixels: int, least_px: int = 0) -> RetinalImage:
    """Decode one page to upright RGB pixels.

    The size in the header is checked before anything is decoded. Turned by the EXIF orientation. Gray becomes
    R = G = B. Transparency is laid over black, because black is what surrounds the field of view in a photograph and
    the tissue in an OCT scan. Gray with more than 8 bits (16-bit, 32-bit, float) is scaled so that its own smallest
    value becomes 0 and its own largest 255: devices store 10 or 12 bits in 16, so the container's range means nothing.
    16-bit color keeps its upper 8 bits. An animated PNG is refused, since nothing says which frame is meant.

    A JPEG is a grid of blocks of 8 x 8 frequencies, and decoding the lower ones alone gives the picture 2 or 4 times
    smaller for a fraction of the work. Eight times saves little more, and is too coarse to find the field in.

    Args:
        data: The whole file.
        source: Where it came from, for messages and for the image.
        number: Which page, from 0.
        max_pixels: Largest width times height let in. Unit: px.
        least_px: Decode a JPEG 2 or 4 times smaller as long as its short side keeps so many; 0 = as it is. Unit: px.

    Returns:
        The image; eye, modality and scale are not known here and stay empty.

    Raises:
        ImageRefused: If the bytes are no image, of too many pixels, animated, truncated, damaged, or hold values that
            are not finite.

    Example:
        >>> out = io.BytesIO()
        >>> Image.new("L", (3, 2), 7).save(out, "PNG")
        >>> frame(out.getvalue(), source="a.png", number=0, max_pixels=100).pixels[0, 0].tolist()
        [7, 7, 7]

    References:
        Our own.
    """
    name = _format(data)
    if name is None:
        raise ImageRefused("not_an_image", source, "is not an image that Pillow reads")
    opener = _FORMATS[name][1]
    with _guarded(data, source), opener(io.BytesIO(data)) as picture:
        _check_header(picture, source, max_pixels)
        pages = _pages(picture, source)
        if not 0 <= number < pages:
            raise ImageRefused("no_such_slice", source, f"has {pages} pages; there is no page {number}")
        if number:
            picture.seek(number)
            _check_header(picture, source, max_pixels)
        if isinstance(picture, PngImagePlugin.PngImageFile):
            with opener(io.BytesIO(data)) as twin:  # verify() consumes the file; it checks every chunk's checksum
                twin.verify()
        orientation = _orientation(_exif(picture, data))
        # Pillow turns TIFFs itself while loading, so only the others are still to turn.
        turn = None if isinstance(picture, TiffImagePlugin.TiffImageFile) else _TURNS.get(orientation)
        width, height = picture.size
        shrunk = 1
        if least_px and isinstance(picture, JpegImagePlugin.JpegImageFile):
            shrunk = _shrunk(picture, least_px, turned=turn is not None)
        picture.load()
        pixels = _rgb(picture if turn is None else picture.transpose(turn), source)
        if shrunk == 1:
            return RetinalImage(pixels, source, slice=number, slices=pages)
        full = (width, height) if orientation in (5, 6, 7, 8) else (height, width)
        return RetinalImage(pixels, source, slice=number, slices=pages, shrunk=shrunk, full_size=full)


def _shrunk(picture: JpegImagePlugin.JpegImageFile, least_px: int, *, turned: bool) -> int:
    """Ask for the smallest picture that keeps least_px; say how many times smaller that is."""
    width, height = picture.size
    for times in (4, 2):
        # A turn would bring the blocks that reach beyond the picture to its beginning.
        whole_blocks = width % times == 0 and height % times == 0
        if min(width, height) // times >= least_px and (whole_blocks or not turned):
            picture.draft(None, (width // times, height // times))
            return times if picture.size == (-(-width // times), -(-height // times)) else 1
    return 1


@contextmanager
def _guarded(data: bytes, source: str) -> Iterator[None]:
    """Bring what Pillow raises on hostile bytes, almost any class, to a refusal."""
    try:
        yield
    except (ImageRefused, MemoryError):
        raise
    except Exception as error:
        if _cut_short(data, error):
            raise ImageRefused("truncated", source, "the file ends too early; copy or export it again") from error
        words = " ".join(str(error).split()) or type(error).__name__
        raise ImageRefused("broken", source, f"the image is damaged ({words}); copy or export it again") from error


def _format(data: bytes) -> str | None:
    """Tell the format from the first bytes."""
    return next((name for name, (starts, _) in _FORMATS.items() if data.startswith(starts)), None)


def _pages(picture: ImageFile.ImageFile, source: str) -> int:
    """Count the pages of a volume; leaves the picture at the first."""
    if not isinstance(picture, TiffImagePlugin.TiffImageFile):
        return 1
    size, pages = picture.size, 1
    try:
        while True:
            picture.seek(pages)
            if picture.size != size:
                picture.seek(0)
                return 1
            pages += 1
            if pages > MAX_PAGES:
                raise ImageRefused("too_many_pixels", source, f"has more than {MAX_PAGES:,} pages; split it")
    except EOFError:
        picture.seek(0)
        return pages


def _exif(picture: ImageFile.ImageFile, data: bytes) -> Image.Exif | None:
    """Read EXIF without decoding a pixel; damaged EXIF is no reason to lose good pixels."""
    try:
        if not isinstance(picture, PngImagePlugin.PngImageFile):
            return picture.getexif()
        # Pillow decodes a whole PNG to look for EXIF behind its pixels.
        place = 8
        while place + 12 <= len(data):
            length = int.from_bytes(data[place : place + 4])
            if data[place + 4 : place + 8] == b"eXIf":
                exif = Image.Exif()
                exif.load(b"Exif\0\0" + data[place + 8 : place + 8 + length])
                return exif
            place += 12 + length
    except Exception:  # noqa: BLE001  see above
        return None
    return None


def _orientation(exif: Image.Exif | None) -> int:
    """Take the orientation out of EXIF."""
    try:
        return int(exif.get(_ORIENTATION_TAG, 1)) if exif is not None else 1
    except Exception:  # noqa: BLE001  it may be of any type
        return 1


def _device(exif: Image.Exif | None) -> str:
    """Take maker and model of the camera out of EXIF."""
    try:
        found = [exif.get(tag) for tag in (_MAKE_TAG, _MODEL_TAG)] if exif is not None else []
    except Exception:  # noqa: BLE001  see above
        return ""
    plain = [" ".join(each.replace("\0", " ").split())[:64] for each in found if isinstance(each, str)]
    return " ".join(each for each in plain if each and each.isprintable())


def _personal(picture: ImageFile.ImageFile, exif: Image.Exif | None) -> tuple[str, ...]:
    """Name what may tell who or where: EXIF fields, comments, text chunks."""
    found = []
    try:
        if exif is not None:
            found += [f"EXIF {name}" for tag, name in _PERSONAL_EXIF.items() if exif.get(tag)]
            if exif.get_ifd(0x8825):
                found.append("EXIF GPS position")
            inner = exif.get_ifd(0x8769)
            found += [f"EXIF {name}" for tag, name in _PERSONAL_EXIF_INNER.items() if inner.get(tag)]
    except Exception:  # noqa: BLE001  damaged EXIF tells nothing that could be read
        found.append("EXIF that cannot be read")
    found += [f"{kind} block" for kind in ("comment", "photoshop", "xmp") if picture.info.get(kind)]
    texts = [key for key, value in picture.info.items() if isinstance(value, str) and key not in ("compression", "xmp")]
    return (*found, *(f"text chunk {key[:40]!r}" for key in texts))


_PERSONAL_EXIF = {0x010E: "ImageDescription", 0x013B: "Artist", 0x8298: "Copyright", 0x9C9B: "XPTitle",
                  0x9C9C: "XPComment", 0x9C9D: "XPAuthor", 0x9C9E: "XPKeywords", 0x9C9F: "XPSubject",
                  0x013C: "HostComputer"}  # fmt: skip
_PERSONAL_EXIF_INNER = {0x9286: "UserComment", 0xA430: "CameraOwnerName", 0xA431: "BodySerialNumber",
                        0xA420: "ImageUniqueID"}  # fmt: skip


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
    return np.asarray(picture if picture.mode == "RGB" else picture.convert("RGB"))


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
