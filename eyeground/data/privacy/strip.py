"""Everything taken out of an image file that is not its picture, without decoding and encoding the picture again."""

import re
import struct
import zlib
from collections import Counter
from dataclasses import dataclass

from eyeground.data.privacy.color_profile import plain_profile
from eyeground.images.refusal import ImageRefused

# Start of frame, tables, restart interval, number of lines: what a JPEG cannot be decoded without.
_NEEDED = frozenset((*range(0xC0, 0xD0), 0xDB, 0xDC, 0xDD)) - {0xC8}
_END_OF_SCAN = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_END_OF_LOSSLESS_SCAN = re.compile(rb"\xff[\x80-\xcf\xd8-\xfe]")  # JPEG-LS puts one bit, not a byte, behind an FF
_KINDS = ((0xE1, b"Exif\0", "EXIF"), (0xE1, b"http://ns.adobe.com/", "XMP"), (0xE2, b"ICC_PROFILE\0", "color profile"),
          (0xE2, b"MPF\0", "further pictures"), (0xED, b"Photoshop", "IPTC"))  # fmt: skip
_PNG_KEPT = frozenset((b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"gAMA", b"cHRM", b"sRGB", b"sBIT", b"cICP",
                       b"pHYs"))  # fmt: skip
_ORIENTATION = 0x0112
_XMP_ORIENTATION = re.compile(rb"tiff:Orientation(?:=\"|>)([1-8])")


@dataclass(frozen=True)
class Stripped:
    """A file that holds a picture and nothing else.

    Args:
        data: Its bytes.
        removed: Names of what was taken out, never its content.

    Example:
        >>> Stripped(b"x", ("EXIF",)).removed
        ('EXIF',)

    References:
        Our own.
    """

    data: bytes
    removed: tuple[str, ...]


def strip_jpeg(data: bytes, *, source: str, tables_only: bool = False) -> Stripped:
    """Take EXIF, XMP, IPTC, comments, thumbnails and whatever follows the picture out of a JPEG or JPEG-LS file.

    The compressed picture is copied as it is. An orientation stays, in an EXIF block that holds nothing else; of a
    color profile its numbers stay.

    Args:
        data: The file.
        source: Name for messages.
        tables_only: Whether it may be tables without a picture, as TIFF has them.

    Returns:
        The same picture.

    Raises:
        ImageRefused: If its parts do not fit together.

    Example:
        >>> import io
        >>> from PIL import Image
        >>> out = io.BytesIO()
        >>> Image.new("L", (8, 8)).save(out, "JPEG", comment=b"SMITH")
        >>> strip_jpeg(out.getvalue() + b"SMITH", source="a.jpg").removed
        ('comment', '5 bytes after the picture')

    References:
        ITU-T T.81, annex B. JFIF 1.02.
    """
    kept: list[bytes] = []
    removed: Counter[str] = Counter()
    head = 0  # how many of the kept parts an EXIF block must follow: JFIF wants to be first
    orientation, profile, at, ended, lossless = 1, b"", 2, False, False
    while at < len(data):
        start = data.find(b"\xff", at)
        if start < 0:
            break
        if start > at:
            removed["bytes between its parts"] += 1
        at = start + 1
        while at < len(data) and data[at] == 0xFF:
            at += 1
        if at >= len(data):
            break
        marker, at = data[at], at + 1
        if marker == 0xD9:
            ended = True
            break
        if marker in (0x00, 0x01, 0xD8) or 0xD0 <= marker <= 0xD7:
            continue
        size = int.from_bytes(data[at : at + 2], "big")
        body = data[at + 2 : at + size]
        if size < 2 or at + size > len(data):
            raise _damaged(source)
        at += size
        if marker == 0xE0 and body.startswith(b"JFIF\0") and len(body) >= 12:
            kept.append(_segment(marker, body[:12] + b"\0\0"))
            head = len(kept)
            if len(body) > 14:
                removed["thumbnail"] += 1
        elif marker == 0xEE and body.startswith(b"Adobe") and len(body) >= 12:
            kept.append(_segment(marker, body[:12]))  # says whether the colors are YCbCr, CMYK or YCCK
        elif marker in _NEEDED or marker == 0xF7 or (marker == 0xF8 and body[:1] in (b"\1", b"\2", b"\3", b"\4")):
            kept.append(_segment(marker, body))
            lossless |= marker == 0xF7  # F7 and F8 are JPEG-LS
        elif marker == 0xDA:
            found = (_END_OF_LOSSLESS_SCAN if lossless else _END_OF_SCAN).search(data, at)
            end = found.start() if found else len(data)
            kept.append(_segment(marker, body) + data[at:end])
            at = end
        elif marker == 0xFE or 0xE0 <= marker <= 0xEF:
            name = "comment" if marker == 0xFE else _name(marker, body)
            removed[name] += 1
            if name == "EXIF":
                orientation = orientation_of(body[6:]) or orientation
            elif name == "XMP" and orientation == 1:
                orientation = _xmp_orientation(body)
            elif name == "color profile":
                profile += body[14:]
        else:
            raise ImageRefused("broken", source, f"holds a part of an unknown kind (FF{marker:02X}); export it again")
    if not ended and not tables_only:
        raise ImageRefused("truncated", source, "the file ends too early; copy or export it again")
    if at < len(data):
        removed[f"{len(data) - at} bytes after the picture"] += 1
    added = [_segment(0xE1, b"Exif\0\0" + _orientation_block(orientation))] if orientation != 1 else []
    if profile and len(plain := plain_profile(profile)) in range(1, 65_000):
        added.append(_segment(0xE2, b"ICC_PROFILE\0\1\1" + plain))
    return Stripped(b"".join((b"\xff\xd8", *kept[:head], *added, *kept[head:], b"\xff\xd9")), _told(removed))


def strip_png(data: bytes, *, source: str) -> Stripped:
    """Take texts, times, EXIF, unknown parts and whatever follows the picture out of a PNG file.

    Args:
        data: The file.
        source: Name for messages.

    Returns:
        The same picture; its compressed pixels are copied as they are.

    Raises:
        ImageRefused: If its parts do not fit together, or it needs a part that nobody knows.

    Example:
        >>> import io
        >>> from PIL import Image, PngImagePlugin
        >>> out, text = io.BytesIO(), PngImagePlugin.PngInfo()
        >>> text.add_text("Patient", "SMITH")
        >>> Image.new("L", (8, 8)).save(out, "PNG", pnginfo=text)
        >>> strip_png(out.getvalue(), source="a.png").removed
        ('tEXt',)

    References:
        W3C Portable Network Graphics, third edition.
    """
    kept: list[tuple[bytes, bytes]] = []
    removed: Counter[str] = Counter()
    orientation, at, pixels, profile = 1, 8, bytearray(), b""
    while True:
        size, kind = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
        body = data[at + 8 : at + 8 + size]
        if len(kind) < 4 or at + 12 + size > len(data):
            raise _damaged(source)
        at += 12 + size
        if kind == b"IDAT":
            if not pixels:
                kept.append((kind, b""))
            pixels += body
        elif kind in _PNG_KEPT:
            kept.append((kind, body))
        elif not kind[0] & 0x20:
            raise ImageRefused("broken", source, "needs a part of an unknown kind; export it again")
        else:
            removed[kind.decode("ascii") if kind.isalpha() else "part of an unknown kind"] += 1
            if kind == b"eXIf":
                orientation = orientation_of(body) or orientation
            elif kind == b"iTXt" and orientation == 1:
                orientation = _xmp_orientation(body)
            elif kind == b"iCCP":
                profile = _inflated_profile(body)
        if kind == b"IEND":
            break
    if at < len(data):
        removed[f"{len(data) - at} bytes after the picture"] += 1
    picture = without_rest(bytes(pixels), source=source)
    if len(picture) < len(pixels):
        removed[f"{len(pixels) - len(picture)} bytes behind the pixels"] += 1
    plain = plain_profile(profile)
    parts = []
    for kind, body in kept:
        parts.append(_chunk(kind, picture if kind == b"IDAT" else body))
        if kind == b"IHDR":
            parts += [_chunk(b"iCCP", b"profile\0\0" + zlib.compress(plain))] if plain else []
            parts += [_chunk(b"eXIf", _orientation_block(orientation))] if orientation != 1 else []
    return Stripped(data[:8] + b"".join(parts), _told(removed))


def orientation_of(block: bytes) -> int:
    """Read the orientation out of an EXIF block, and nothing else.

    Args:
        block: The block from its byte order mark on.

    Returns:
        1 to 8, or 0 if it says nothing sensible.

    Example:
        >>> orientation_of(b"MM\\0*" + bytes.fromhex("00000008 0001 0112 0003 00000001 0006 0000"))
        6

    References:
        EXIF 2.32, 4.6.4.
    """
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(block[:4])
    if order is None or len(block) < 8:
        return 0
    (at,) = struct.unpack_from(f"{order}I", block, 4)
    if at + 2 > len(block):
        return 0
    (count,) = struct.unpack_from(f"{order}H", block, at)
    for entry in range(at + 2, min(at + 2 + 12 * count, len(block) - 11), 12):
        tag, kind = struct.unpack_from(f"{order}HH", block, entry)
        if tag == _ORIENTATION:
            (value,) = struct.unpack_from(f"{order}{'I' if kind == 4 else 'H'}", block, entry + 8)
            return int(value) if 1 <= value <= 8 else 0
    return 0


def without_rest(packed: bytes, *, source: str) -> bytes:
    """Cut off what follows compressed pixels, where a program could hide something.

    Args:
        packed: A zlib stream, and perhaps more.
        source: Name for messages.

    Returns:
        The stream.

    Raises:
        ImageRefused: If it is no such stream.

    Example:
        >>> stream = zlib.compress(b"pixels")
        >>> without_rest(stream + b"SMITH", source="a.png") == stream
        True

    References:
        RFC 1950.
    """
    unpacker = zlib.decompressobj()
    left = packed
    try:
        while left and not unpacker.eof:
            unpacker.decompress(left, 2**20)
            left = unpacker.unconsumed_tail
    except zlib.error as error:
        raise _damaged(source) from error
    return packed[: len(packed) - len(unpacker.unused_data)]


def _orientation_block(orientation: int) -> bytes:
    """Write the smallest EXIF block there is: one field."""
    return b"MM\0*" + struct.pack(">IHHHIHHI", 8, 1, _ORIENTATION, 3, 1, orientation, 0, 0)


def _xmp_orientation(text: bytes) -> int:
    """Read the orientation out of XMP, where the decoder looks when EXIF says none."""
    found = _XMP_ORIENTATION.search(text)
    return int(found[1]) if found else 1


def _name(marker: int, body: bytes) -> str:
    """Name an application segment by its kind."""
    return next(
        (name for which, start, name in _KINDS if which == marker and body.startswith(start)), f"APP{marker - 0xE0}"
    )


def _segment(marker: int, body: bytes) -> bytes:
    """Write a JPEG segment."""
    return struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body


def _chunk(kind: bytes, body: bytes) -> bytes:
    """Write a PNG chunk."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def _inflated_profile(body: bytes) -> bytes:
    """Unpack a color profile, if it is not absurdly large."""
    _, _, packed = body.partition(b"\0")
    try:
        return zlib.decompressobj().decompress(packed[1:], 2**20)
    except zlib.error:
        return b""


def _told(removed: Counter[str]) -> tuple[str, ...]:
    """Say what was removed, each kind once."""
    return tuple(name if count == 1 else f"{name} ({count})" for name, count in removed.items())


def _damaged(source: str) -> ImageRefused:
    """A file whose parts do not fit together."""
    return ImageRefused("broken", source, "its parts do not fit together; copy or export it again")
