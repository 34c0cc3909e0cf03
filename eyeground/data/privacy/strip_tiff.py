"""A TIFF file written anew with the tags its pixels need, its strips and tiles copied as they are."""

import struct
from dataclasses import dataclass, field

from eyeground.data.privacy.strip import Stripped, strip_jpeg, without_rest
from eyeground.images.refusal import ImageRefused

# Sizes, depth, compression, photometric interpretation, fill order, orientation, samples, resolution, planes, tables,
# predictor, white point, primaries, color map, extra samples, sample format and range, YCbCr: numbers only.
_KEPT = frozenset((254, 255, 256, 257, 258, 259, 262, 266, 274, 277, 278, 280, 281, 282, 283, 284, 291, 292, 293,
                   296, 301, 317, 318, 319, 320, 321, 322, 323, 332, 334, 338, 339, 340, 341, 347, 529, 530, 531,
                   532))  # fmt: skip
_NAMES = {269: "DocumentName", 270: "ImageDescription", 271: "Make", 272: "Model", 285: "PageName", 305: "Software",
          306: "DateTime", 315: "Artist", 316: "HostComputer", 330: "SubIFDs", 700: "XMP", 33432: "Copyright",
          33723: "IPTC", 34377: "Photoshop", 34665: "EXIF", 34675: "color profile", 34853: "GPS"}  # fmt: skip
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
_STRIPS, _STRIP_SIZES, _TILES, _TILE_SIZES, _TABLES = 273, 279, 324, 325, 347
_NO_COMPRESSION, _OLD_JPEG, _JPEG = 1, 6, 7
_DEFLATE = (8, 32946)
_MOST_PAGES = 10_000


@dataclass
class _Page:
    """One image file directory: tag -> (type, count, bytes), and its strips or tiles."""

    tags: dict[int, tuple[int, int, bytes]] = field(default_factory=dict)
    blocks: list[bytes] = field(default_factory=list)


def strip_tiff(data: bytes, *, source: str) -> Stripped:
    """Take every tag that the pixels do not need, and every byte that no tag points at, out of a TIFF file.

    Args:
        data: The file; classic TIFF or BigTIFF.
        source: Name for messages.

    Returns:
        The same pages as classic TIFF; compressed strips and tiles are copied, those in JPEG are stripped themselves.

    Raises:
        ImageRefused: If its parts do not fit together, or it holds JPEG of the kind from before 1995.

    Example:
        >>> import io
        >>> from PIL import Image
        >>> out = io.BytesIO()
        >>> Image.new("I;16", (8, 8)).save(out, "TIFF", description="SMITH")
        >>> strip_tiff(out.getvalue(), source="a.tif").removed
        ('ImageDescription',)

    References:
        TIFF 6.0. BigTIFF as in libtiff 4.
    """
    order = "<" if data[:2] == b"II" else ">"
    removed: dict[str, None] = {}
    try:
        pages = _pages(data, order, removed)
        for page in pages:
            _clean_blocks(page, order, source, removed)
        return Stripped(_written(pages, order), tuple(removed))
    except (struct.error, IndexError, KeyError, OverflowError, MemoryError) as error:
        what = "its parts do not fit together; copy or export it again"
        raise ImageRefused("broken", source, what) from error


def _pages(data: bytes, order: str, removed: dict[str, None]) -> list[_Page]:
    """Read the chain of directories; a part outside the file is an IndexError."""
    big = struct.unpack_from(f"{order}H", data, 2)[0] == 43
    offset, entry_size, small = ("Q", 20, 8) if big else ("I", 12, 4)
    (at,) = struct.unpack_from(f"{order}{offset}", data, 8 if big else 4)
    pages: list[_Page] = []
    seen: set[int] = set()
    copied = 0
    while at:
        if at in seen or len(pages) >= _MOST_PAGES:
            raise IndexError("the pages go round in a circle")
        seen.add(at)
        (count,) = struct.unpack_from(f"{order}{'Q' if big else 'H'}", data, at)
        if count > 4096:
            raise IndexError("too many tags")
        first = at + (8 if big else 2)
        found: dict[int, tuple[int, int, bytes]] = {}
        for entry in range(first, first + count * entry_size, entry_size):
            tag, kind = struct.unpack_from(f"{order}HH", data, entry)
            (number,) = struct.unpack_from(f"{order}{offset}", data, entry + 4)
            size = _SIZES.get(kind, 0) * number
            place = entry + (12 if big else 8)
            if tag in _KEPT and not _numeric(tag, kind, number):
                removed[_NAMES.get(tag, f"tag {tag}")] = None
            elif tag in _KEPT or tag in (_STRIPS, _STRIP_SIZES, _TILES, _TILE_SIZES):
                if size > small:
                    (place,) = struct.unpack_from(f"{order}{offset}", data, place)
                found[tag] = kind, number, _cut(data, place, size)
            else:
                removed[_NAMES.get(tag, f"tag {tag}")] = None
        page = _Page({tag: value for tag, value in found.items() if tag in _KEPT})
        where, sizes = (_TILES, _TILE_SIZES) if _TILES in found else (_STRIPS, _STRIP_SIZES)
        places, lengths = _whole_numbers(found[where], order), _whole_numbers(found[sizes], order)
        if len(places) != len(lengths):
            raise IndexError("as many sizes as strips")
        copied += sum(lengths)
        if copied > 2 * len(data):
            raise IndexError("the same bytes over and over")
        page.blocks = [_cut(data, place, length) for place, length in zip(places, lengths, strict=True)]
        pages.append(page)
        (at,) = struct.unpack_from(f"{order}{offset}", data, first + count * entry_size)
    if not pages:
        raise IndexError("no page")
    return pages


def _numeric(tag: int, kind: int, number: int) -> bool:
    """Tell numbers from what could be text: letters, and runs of bytes."""
    return tag == _TABLES or (kind not in (2, 6, 7) and (kind != 1 or number <= 4))


def _clean_blocks(page: _Page, order: str, source: str, removed: dict[str, None]) -> None:
    """Take out what strips hold besides pixels."""
    compression = _number(page, 259, order, _NO_COMPRESSION)
    if compression == _OLD_JPEG:
        raise ImageRefused("format_not_allowed", source, "holds JPEG of a kind given up in 1995; export it again")
    if compression == _JPEG:
        for number, block in enumerate(page.blocks):
            stripped = strip_jpeg(block, source=source)
            page.blocks[number] = stripped.data
            removed.update(dict.fromkeys(stripped.removed))
        if _TABLES in page.tags:
            tables = strip_jpeg(page.tags[_TABLES][2], source=source, tables_only=True).data
            page.tags[_TABLES] = 7, len(tables), tables
    elif compression in (_NO_COMPRESSION, *_DEFLATE):
        most = _uncompressed_size(page, order)
        for number, block in enumerate(page.blocks):
            plain = block[:most] if compression == _NO_COMPRESSION else without_rest(block, source=source)
            if len(plain) < len(block):
                page.blocks[number] = plain
                removed["bytes behind the pixels"] = None


def _uncompressed_size(page: _Page, order: str) -> int:
    """Most bytes that the pixels of one strip or tile take."""
    tiled = 322 in page.tags
    width = _number(page, 322 if tiled else 256, order, 0)
    rows = _number(page, 323 if tiled else 257, order, 0)
    if not tiled:
        rows = min(rows, _number(page, 278, order, rows))
    planar = _number(page, 284, order, 1) == 2
    samples = 1 if planar else _number(page, 277, order, 1)
    bits = max(_whole_numbers(page.tags[258], order)) if 258 in page.tags else 1
    if not planar and 530 in page.tags:  # YCbCr with fewer samples of color than of light: never more than in full
        bits = max(bits, 8)
    return -(-width * samples * bits // 8) * rows


def _written(pages: list[_Page], order: str) -> bytes:
    """Write a classic TIFF file."""
    out = bytearray((b"II" if order == "<" else b"MM") + struct.pack(f"{order}HI", 42, 0))
    link = 4
    for page in pages:
        places = []
        for block in page.blocks:
            out += b"\0" * (len(out) % 2)
            places.append(len(out))
            out += block
        tiled = 322 in page.tags
        lengths = [len(block) for block in page.blocks]
        tags = dict(page.tags)
        tags[_TILES if tiled else _STRIPS] = 4, len(places), struct.pack(f"{order}{len(places)}I", *places)
        tags[_TILE_SIZES if tiled else _STRIP_SIZES] = 4, len(places), struct.pack(f"{order}{len(places)}I", *lengths)
        entries = b""
        for tag, (kind, number, value) in sorted(tags.items()):
            if len(value) > 4:
                out += b"\0" * (len(out) % 2)
                entries += struct.pack(f"{order}HHII", tag, kind, number, len(out))
                out += value
            else:
                entries += struct.pack(f"{order}HHI", tag, kind, number) + value.ljust(4, b"\0")
        out += b"\0" * (len(out) % 2)
        struct.pack_into(f"{order}I", out, link, len(out))
        out += struct.pack(f"{order}H", len(tags)) + entries
        link = len(out)
        out += b"\0\0\0\0"
    return bytes(out)


def _number(page: _Page, tag: int, order: str, otherwise: int) -> int:
    """Read a tag of one whole number."""
    return _whole_numbers(page.tags[tag], order)[0] if tag in page.tags else otherwise


def _whole_numbers(value: tuple[int, int, bytes], order: str) -> tuple[int, ...]:
    """Read whole numbers of any size; of another type it is a KeyError."""
    kind, number, content = value
    letter = {1: "B", 3: "H", 4: "I", 13: "I", 16: "Q", 18: "Q"}[kind]
    return struct.unpack(f"{order}{number}{letter}", content)


def _cut(data: bytes, at: int, size: int) -> bytes:
    """Bytes that must all be there."""
    if size < 0 or at + size > len(data):
        raise IndexError("a part lies outside the file")
    return data[at : at + size]
