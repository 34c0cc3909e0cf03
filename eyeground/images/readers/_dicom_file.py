"""The container of a DICOM file: its header, and where the encoded pixels of each frame lie."""

import codecs
import logging
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from typing import Final

import pydicom.charset
import pydicom.filewriter
import pydicom.values
from pydicom import dcmread
from pydicom.tag import BaseTag
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian

from eyeground.images.refusal import ImageRefused

MOST_INFLATED_BYTES: Final = 512 * 1024 * 1024  # what a file may hold, too
_MOST_FRAGMENTS: Final = 1_000_000
_PIXEL_DATA: Final = 0x7FE00010
_UNDEFINED: Final = 0xFFFFFFFF
_ITEM, _END_OF_ITEMS = b"\xfe\xff\x00\xe0", b"\xfe\xff\xdd\xe0"
_LONG_FORM: Final = (b"OB", b"OW", b"OF", b"OD", b"OL", b"OV", b"SQ", b"UC", b"UN", b"UR", b"UT")
_EXPLICIT_LITTLE: Final = b"1.2.840.10008.1.2.1\0"

# In the child process that reads hostile bytes no file can be opened after start-up, so the modules that pydicom
# imports while it reads (filewriter, values) and every codec of a character set are loaded now.
for _codec in {*pydicom.charset.python_encoding.values(), "utf-8", "ascii", "latin-1"}:
    codecs.lookup(_codec)


@dataclass(frozen=True)
class DicomFile:
    """A DICOM file whose header was read, and whose pixels were not.

    Args:
        header: Every element before the pixels.
        syntax: Transfer syntax: how the pixels are encoded.
        frames: How many frames the pixels hold.
        pixels: The encoded pixels of all frames: the value of the pixel element.
        pixel_vr: Value representation of the pixel element, ``""`` when the syntax does not write it.
        fragments: For compressed pixels, where the fragments begin and end, without the offset table; else empty.
        offsets: What the offset table says, counted from the first fragment's item; empty when there is none.

    Example:
        >>> DicomFile(pydicom.Dataset(), UID("1.2.840.10008.1.2.1"), 1, memoryview(b"")).fragments
        ()

    References:
        DICOM PS3.5, annex A.4, and PS3.10.
    """

    header: pydicom.Dataset
    syntax: UID
    frames: int
    pixels: memoryview
    pixel_vr: str = ""
    fragments: tuple[tuple[int, int], ...] = ()
    offsets: tuple[int, ...] = ()

    def compressed(self, number: int, source: str) -> bytes:
        """Put one frame's compressed bytes together.

        The offset table is used only if it fits the fragments. Without it, one fragment is one frame, or all fragments
        are the only frame, or a frame ends with a fragment that ends with the end-of-image marker.

        Args:
            number: Which frame, from 0.
            source: Where the file came from, for messages.

        Returns:
            The frame's codestream.

        Raises:
            ImageRefused: If the frames cannot be told apart (``broken``).

        Example:
            >>> file = DicomFile(pydicom.Dataset(), UID("1"), 1, memoryview(b"abcd"), "OB", ((0, 2), (2, 4)))
            >>> file.compressed(0, "a.dcm")
            b'abcd'

        References:
            DICOM PS3.5, annex A.4.
        """
        firsts = self._firsts()
        if len(firsts) != self.frames:
            raise ImageRefused("broken", source, "the frames cannot be told apart; export it again")
        end = firsts[number + 1] if number + 1 < self.frames else len(self.fragments)
        return b"".join(self.pixels[start:stop] for start, stop in self.fragments[firsts[number] : end])

    def _firsts(self) -> list[int]:
        """Which fragment each frame begins with."""
        items = {start - 8: index for index, (start, _) in enumerate(self.fragments)}
        base = self.fragments[0][0] - 8 if self.fragments else 0
        by_table = [items.get(base + offset, -1) for offset in self.offsets]
        if len(by_table) == self.frames and by_table[0] == 0 and by_table == sorted({*by_table}):
            return by_table
        if len(self.fragments) == self.frames:
            return list(range(self.frames))
        if self.frames == 1:
            return [0]
        tails = (bytes(self.pixels[max(start, stop - 10) : stop]) for start, stop in self.fragments)
        ends = [index for index, tail in enumerate(tails) if b"\xff\xd9" in tail]
        return [0, *(index + 1 for index in ends[:-1])]


@contextmanager
def quiet() -> Iterator[None]:
    """Keep pydicom from warning and logging: its words repeat the header's values, which may name a patient.

    Yields:
        Nothing.

    Example:
        >>> with quiet():
        ...     warnings.warn("a patient's name", stacklevel=1)

    References:
        Our own.
    """
    logger = logging.getLogger("pydicom")
    before, logger.propagate = logger.propagate, False
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.propagate = before


def open_header(data: bytes, source: str) -> tuple[pydicom.Dataset, UID, bytes, int]:
    """Read everything before the pixels.

    Args:
        data: The whole file.
        source: Where it came from, for messages.

    Returns:
        The header, the transfer syntax, the bytes of the file (inflated, up to 512 MiB, if it was deflated), and where
        in them the pixel element begins.

    Raises:
        ImageRefused: If it is cut short, damaged, or inflates to too much.

    Example:
        >>> open_header(b"", "a.dcm")
        Traceback (most recent call last):
        eyeground.images.refusal.ImageRefused: a.dcm: the file ends too early; copy or export it again

    References:
        DICOM PS3.10, section 7.
    """
    word, end_of_meta = _transfer_syntax(data, source)
    syntax = UID(word)
    if syntax == DeflatedExplicitVRLittleEndian:
        plain = _inflate(data[end_of_meta:], source)
        start = b"\0" * 128 + b"DICM\x02\0\x10\0UI" + struct.pack("<H", len(_EXPLICIT_LITTLE)) + _EXPLICIT_LITTLE
        data = start + plain
    stream = BytesIO(data)
    header = dcmread(stream, stop_before_pixels=True)
    return header, syntax, data, stream.tell()


def find_pixels(header: pydicom.Dataset, syntax: UID, data: bytes, at: int, *, frames: int, source: str) -> DicomFile:
    """Find where the pixels of each frame lie.

    Args:
        header: As ``open_header`` gives it.
        syntax: As ``open_header`` gives it.
        data: As ``open_header`` gives it.
        at: Where the pixel element begins, as ``open_header`` gives it.
        frames: How many frames there must be.
        source: Where it came from, for messages.

    Returns:
        The file with its pixels still encoded.

    Raises:
        ImageRefused: If there are no pixels, or fewer bytes or fragments than the header promises.

    Example:
        >>> find_pixels(pydicom.Dataset(), UID("1.2.840.10008.1.2.1"), b"", 0, frames=1, source="a.dcm")
        Traceback (most recent call last):
        eyeground.images.refusal.ImageRefused: a.dcm: the file ends before the pixels; copy or export it again

    References:
        DICOM PS3.5, sections 7.1 and A.4.
    """
    view = memoryview(data)
    order = ">" if syntax == ExplicitVRBigEndian else "<"
    implicit = syntax == ImplicitVRLittleEndian
    if at + (8 if implicit else 12) > len(view):
        raise ImageRefused("truncated", source, "the file ends before the pixels; copy or export it again")
    group, element = struct.unpack_from(f"{order}HH", view, at)
    if BaseTag(group << 16 | element) != _PIXEL_DATA:
        raise ImageRefused("format_not_allowed", source, "holds numbers, not pixels; export the image itself")
    length: int = struct.unpack_from(f"{order}I", view, at + (4 if implicit else 8))[0]
    vr = "" if implicit else bytes(view[at + 4 : at + 6]).decode("ascii", "replace")
    value = view[at + (8 if implicit else 12) :]
    if syntax.is_encapsulated:
        if length != _UNDEFINED:
            raise ImageRefused("broken", source, "compressed pixels are not in fragments; export it again")
        fragments = _fragments(value, source)
        offsets = _offsets(value, header, fragments[0], frames)
        if len(fragments) - 1 < frames:
            raise ImageRefused("broken", source, f"has fewer than {frames} compressed frames; export it again")
        return DicomFile(header, syntax, frames, value, vr, fragments[1:], offsets)
    if length == _UNDEFINED:
        raise ImageRefused("broken", source, "the pixels have no length; export it again")
    if length > len(value):
        raise ImageRefused("truncated", source, "the file ends within the pixels; copy or export it again")
    return DicomFile(header, syntax, frames, value[:length], vr)


def _transfer_syntax(data: bytes, source: str) -> tuple[str, int]:
    """Read the transfer syntax from the file meta information, and where that ends."""
    at, word = 132, ""
    while True:
        if at + 8 > len(data):
            raise ImageRefused("truncated", source, "the file ends too early; copy or export it again")
        group, element, vr, length = struct.unpack_from("<HH2sH", data, at)
        if group != 2:
            break
        at += 8
        if vr in _LONG_FORM:
            if at + 4 > len(data):
                raise ImageRefused("truncated", source, "the file ends too early; copy or export it again")
            length = struct.unpack_from("<I", data, at)[0]
            at += 4
        if element == 0x0010:
            word = data[at : at + length].strip(b"\0 ").decode("ascii", "replace")
        at += length
    if not word:
        raise ImageRefused("broken", source, "does not say how its pixels are encoded; export it again")
    return word, at


def _inflate(deflated: bytes, source: str) -> bytes:
    """Undo the compression of a whole data set, with a limit."""
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        plain = inflater.decompress(deflated, MOST_INFLATED_BYTES)
    except zlib.error:
        raise ImageRefused("broken", source, "the compressed file is damaged; export it again") from None
    if not inflater.eof:
        if inflater.unconsumed_tail:
            raise ImageRefused("too_large", source, "unpacks to more than 512 MiB; export it smaller")
        raise ImageRefused("truncated", source, "the compressed file ends too early; copy or export it again")
    return plain


def _fragments(value: memoryview, source: str) -> tuple[tuple[int, int], ...]:
    """Where each fragment begins and ends; the first is the offset table."""
    found: list[tuple[int, int]] = []
    at = 0
    while True:
        if at + 8 > len(value):
            raise ImageRefused("truncated", source, "the file ends within the pixels; copy or export it again")
        tag, length = bytes(value[at : at + 4]), struct.unpack_from("<I", value, at + 4)[0]
        if tag == _END_OF_ITEMS:
            break
        if tag != _ITEM or length == _UNDEFINED or len(found) >= _MOST_FRAGMENTS:
            raise ImageRefused("broken", source, "the compressed pixels are damaged; export it again")
        if at + 8 + length > len(value):
            raise ImageRefused("truncated", source, "the file ends within the pixels; copy or export it again")
        found.append((at + 8, at + 8 + length))
        at += 8 + length
    if not found:
        raise ImageRefused("broken", source, "holds no pixels; export it again")
    return tuple(found)


def _offsets(value: memoryview, header: pydicom.Dataset, table: tuple[int, int], frames: int) -> tuple[int, ...]:
    """The extended offset table, or else the basic one."""
    extended = header.get("ExtendedOffsetTable")
    if isinstance(extended, bytes) and len(extended) >= 8 * frames:
        return struct.unpack_from(f"<{frames}Q", extended)
    start, stop = table
    return struct.unpack_from(f"<{(stop - start) // 4}I", value, start)
