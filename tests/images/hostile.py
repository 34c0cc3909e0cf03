"""Broken and hostile image files, each kind with its name: what the one door must survive."""

import io
import struct
import zlib
from collections.abc import Callable, Iterator

import numpy as np
from PIL import Image, PngImagePlugin

RNG = np.random.default_rng(7)
PHOTO = np.clip(
    np.add.outer(np.arange(96), np.arange(128))[:, :, None] * [0.9, 0.5, 0.2] + RNG.normal(0, 8, (96, 128, 3)), 0, 255
).astype(np.uint8)


def saved(picture: Image.Image, format: str, **options: object) -> bytes:
    out = io.BytesIO()
    picture.save(out, format, **options)
    return out.getvalue()


def jpeg(**options: object) -> bytes:
    return saved(Image.fromarray(PHOTO), "JPEG", quality=85, **options)


def png(**options: object) -> bytes:
    return saved(Image.fromarray(PHOTO), "PNG", **options)


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def raw_png(width: int, height: int, *, color: int = 2, depth: int = 8, body: bytes = b"", extra: bytes = b"") -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + extra + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def zeros(count: int) -> bytes:
    """Deflate many zeros without holding them."""
    deflate, block = zlib.compressobj(9), bytes(1 << 20)
    parts = [deflate.compress(block[: count - start]) for start in range(0, count, len(block))]
    return b"".join([*parts, deflate.flush()])


def tiff(entries: list[tuple[int, int, int, int]], *, next_ifd: int = 0, tail: bytes = b"") -> bytes:
    """A little-endian TIFF of one IFD: (tag, type, count, value)."""
    ifd = struct.pack("<H", len(entries)) + b"".join(struct.pack("<HHII", *e) for e in entries)
    return b"II*\0" + struct.pack("<I", 8) + ifd + struct.pack("<I", next_ifd) + tail


def gray_tiff(width: int, height: int, *, bits: int = 8, where: int = 8, bytes_: int = 64, **more: int) -> bytes:
    how = more.get("compression", 1)
    entries = [(256, 4, 1, width), (257, 4, 1, height), (258, 3, 1, bits), (259, 3, 1, how),
               (262, 3, 1, 1), (273, 4, 1, where), (277, 3, 1, 1), (278, 4, 1, height),
               (279, 4, 1, bytes_)]  # fmt: skip
    return tiff(entries, next_ifd=more.get("next_ifd", 0), tail=bytes(64))


def bmp(width: int, height: int, *, bits: int = 24, compression: int = 0, body: bytes = bytes(300)) -> bytes:
    info = struct.pack("<IiiHHIIiiII", 40, width, height, 1, bits, compression, len(body), 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", 54 + len(body), 0, 0, 54) + info + body


def patched(data: bytes, mark: bytes, offset: int, value: bytes) -> bytes:
    place = data.index(mark) + offset
    return data[:place] + value + data[place + len(value) :]


def flipped(data: bytes, start: int, count: int) -> bytes:
    out = bytearray(data)
    for place in np.random.default_rng(start).integers(start, len(data), count):
        out[place] ^= 0xFF
    return bytes(out)


def animated() -> bytes:
    pages = [Image.fromarray(PHOTO), Image.fromarray(255 - PHOTO)]
    return saved(pages[0], "PNG", save_all=True, append_images=pages[1:])


def with_text(key: str, value: str) -> bytes:
    notes = PngImagePlugin.PngInfo()
    notes.add_itxt(key, value, zip=True)
    return png(pnginfo=notes)


def many_scans() -> bytes:
    """A progressive JPEG whose scans come again and again."""
    data = saved(Image.new("RGB", (4000, 4000), (90, 40, 10)), "JPEG", progressive=True)
    scans = [place for place in range(len(data) - 1) if data[place : place + 2] == b"\xff\xda"]
    first = data[scans[0] : scans[1]]
    return data[: scans[1]] + first * 900 + data[scans[1] :]


def billion_laughs() -> bytes:
    levels = "".join(f'<!ENTITY l{n} "{"".join(f"&l{n - 1};" for _ in range(10))}">' for n in range(1, 10))
    return f'<?xml version="1.0"?><!DOCTYPE HEDX [<!ENTITY l0 "ha">{levels}]><HEDX><BODY>&l9;</BODY></HEDX>'.encode()


# name -> makes the bytes. Sound oddities stand among them: what is odd but sound must come out as an image.
KINDS: dict[str, Callable[[], bytes]] = {
    "empty": lambda: b"",
    "zero bytes": lambda: bytes(100_000),
    "noise": lambda: RNG.bytes(100_000),
    "text": lambda: b"file,label\na.png,0\n",
    "html": lambda: b"<html><script>alert(1)</script></html>",
    "program": lambda: b"\x7fELF" + bytes(200),
    "gif": lambda: saved(Image.fromarray(PHOTO), "GIF"),
    "webp": lambda: saved(Image.fromarray(PHOTO), "WEBP"),
    "pdf": lambda: saved(Image.fromarray(PHOTO), "PDF"),
    "svg": lambda: b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>",
    "zip": lambda: b"PK\x03\x04" + bytes(100),
    "video": lambda: b"\0\0\0\x18ftypmp42" + bytes(100),
    "jpeg marker only": lambda: b"\xff\xd8\xff",
    "jpeg end only": lambda: b"\xff\xd8\xff\xd9",
    "jpeg header flipped": lambda: flipped(jpeg(), 4, 40),
    "jpeg body flipped": lambda: flipped(jpeg(), 700, 40),
    "jpeg asks for 65535 x 65535": lambda: patched(jpeg(), b"\xff\xc0", 5, b"\xff\xff\xff\xff"),
    "jpeg of no height": lambda: patched(jpeg(), b"\xff\xc0", 5, b"\0\0"),
    "jpeg of 12 bits": lambda: patched(jpeg(), b"\xff\xc0", 4, b"\x0c"),
    "jpeg arithmetic": lambda: patched(jpeg(), b"\xff\xc0", 1, b"\xc9"),
    "jpeg without tables": lambda: patched(jpeg(), b"\xff\xdb", 1, b"\xe9"),
    "jpeg huffman nonsense": lambda: patched(jpeg(), b"\xff\xc4", 5, b"\xff" * 16),
    "jpeg of many scans": many_scans,
    "jpeg with 100 comments": lambda: jpeg()[:2] + (b"\xff\xfe\xff\xff" + bytes(65533)) * 100 + jpeg()[2:],
    "jpeg with a zip behind": lambda: jpeg() + b"PK\x03\x04" + bytes(1000),
    "jpeg in html": lambda: jpeg(comment=b"<script>alert(1)</script>"),
    "jpeg cmyk": lambda: saved(Image.fromarray(PHOTO).convert("CMYK"), "JPEG"),
    "jpeg exif nonsense": lambda: jpeg(exif=b"Exif\0\0II*\0\xff\xff\xff\xff"),
    "jpeg exif turned": lambda: jpeg(exif=b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0"),
    "png bomb in the header": lambda: raw_png(60_000, 60_000, body=zlib.compress(bytes(100))),
    "png bomb": lambda: raw_png(20_000, 20_000, body=zeros(20_000 * 60_001)),
    "png within the cap, too much memory": lambda: raw_png(8000, 8000, color=6, body=zeros(8000 * 32_001)),
    "png wrong checksum": lambda: flipped(png(), len(png()) // 2, 1),
    "png cut": lambda: png()[:2000],
    "png without end": lambda: png()[:-12],
    "png of no width": lambda: raw_png(0, 10, body=zlib.compress(b"")),
    "png palette missing": lambda: raw_png(8, 8, color=3, body=zlib.compress(bytes(72))),
    "png pixels missing": lambda: raw_png(100, 100, body=zlib.compress(bytes(10))),
    "png pixels nonsense": lambda: raw_png(100, 100, body=b"nonsense"),
    "png depth nonsense": lambda: raw_png(8, 8, depth=7, body=zlib.compress(bytes(72))),
    "png text bomb": lambda: with_text("Comment", "a" * 70_000_000),
    "png profile bomb": lambda: raw_png(8, 8, body=zlib.compress(bytes(200)),
                                        extra=chunk(b"iCCP", b"p\0\0" + zeros(200_000_000))),
    "png animated": animated,
    "png 16 bit": lambda: saved(Image.fromarray(np.arange(10_000, dtype=np.uint16).reshape(100, 100)), "PNG"),
    "png see-through": lambda: saved(Image.new("RGBA", (70, 70), (200, 90, 30, 128)), "PNG"),
    "tiff loop": lambda: gray_tiff(8, 8, next_ifd=8),
    "tiff table beyond the end": lambda: b"II*\0\xff\xff\xff\x7f" + bytes(50),
    "tiff of no entries": lambda: tiff([]),
    "tiff 65535 entries": lambda: b"II*\0\x08\0\0\0\xff\xff" + bytes(200),
    "tiff pixels beyond the end": lambda: gray_tiff(100, 100, where=10_000_000, bytes_=10_000),
    "tiff bomb in the header": lambda: gray_tiff(100_000, 100_000),
    "tiff of 64 bits": lambda: gray_tiff(8, 8, bits=64, bytes_=512),
    "tiff compression nonsense": lambda: gray_tiff(8, 8, compression=34_999),
    "tiff fax nonsense": lambda: gray_tiff(3000, 3000, bits=1, compression=4),
    "tiff deflate bomb": lambda: tiff([(256, 4, 1, 100), (257, 4, 1, 100), (258, 3, 1, 8), (259, 3, 1, 8),
                                       (262, 3, 1, 1), (273, 4, 1, 134), (277, 3, 1, 1), (278, 4, 1, 100),
                                       (279, 4, 1, 200_000)], tail=bytes(10) + zeros(200_000_000)),
    "tiff of nan": lambda: saved(Image.fromarray(np.full((20, 20), np.nan, np.float32)), "TIFF"),
    "tiff of 3000 pages": lambda: saved(Image.new("L", (4, 4)), "TIFF", save_all=True,
                                        append_images=[Image.new("L", (4, 4))] * 2999),
    "bigtiff nonsense": lambda: b"II+\0\x08\0\0\0" + b"\xff" * 40,
    "bmp upside down": lambda: bmp(10, -10, body=bytes(320)),
    "bmp bomb in the header": lambda: bmp(40_000, 40_000),
    "bmp negative width": lambda: bmp(-10, 10),
    "bmp run lengths nonsense": lambda: bmp(100, 100, bits=8, compression=1, body=b"\xff\xff" * 200),
    "bmp 5 bits": lambda: bmp(10, 10, bits=5),
    "xml billion laughs": billion_laughs,
    "xml outside entity": lambda: b'<!DOCTYPE HEDX [<!ENTITY x SYSTEM "file:///etc/passwd">]><HEDX>&x;</HEDX>',
    "xml deep": lambda: b"<HEDX>" + b"<a>" * 200_000,
    "vol header only": lambda: b"HSF-OCT-103\0" + bytes(2036),
    "vol of negative sizes": lambda: b"HSF-OCT-103\0" + b"\xff" * 2036,
    "vol of huge sizes": lambda: b"HSF-OCT-103\0" + b"\xff\xff\xff\x7f" * 509,
    "dicom of nothing": lambda: bytes(128) + b"DICM",
    "dicom noise": lambda: bytes(128) + b"DICM" + RNG.bytes(5000),
    "dicom in a jpeg": lambda: jpeg()[:128].ljust(128, b"\0") + b"DICM" + bytes(300),
    "dicom deep": lambda: dicom_deep(),
    "dicom deflate bomb": lambda: dicom_bomb(),
}  # fmt: skip


def dicom_meta(syntax: str) -> bytes:
    """File meta of a photograph in explicit little endian."""

    def element(group: int, number: int, vr: bytes, value: bytes) -> bytes:
        return struct.pack("<HH2sH", group, number, vr, len(value)) + value

    def uid(word: str) -> bytes:
        return (word + "\0" * (len(word) % 2)).encode()

    body = element(2, 2, b"UI", uid("1.2.840.10008.5.1.4.1.1.77.1.5.1")) + element(2, 3, b"UI", uid("2.25.1"))
    body += element(2, 0x10, b"UI", uid(syntax))
    return bytes(128) + b"DICM" + element(2, 0, b"UL", struct.pack("<I", len(body))) + body


def dicom_deep() -> bytes:
    nested = (struct.pack("<HH2sHI", 0x40, 0x275, b"SQ", 0, 0xFFFFFFFF) + b"\xfe\xff\x00\xe0\xff\xff\xff\xff") * 5000
    return dicom_meta("1.2.840.10008.1.2.1") + nested


def dicom_bomb() -> bytes:
    deflate = zlib.compressobj(9, wbits=-15)
    head = deflate.compress(struct.pack("<HH2sHI", 0x7FE0, 0x10, b"OW", 0, 0xF0000000))
    parts = [deflate.compress(bytes(1 << 20)) for _ in range(2048)]
    return dicom_meta("1.2.840.10008.1.2.1.99") + b"".join([head, *parts, deflate.flush()])


def cuts() -> Iterator[tuple[str, bytes]]:
    """A JPEG cut at 100 places."""
    whole = jpeg()
    for place in np.linspace(1, len(whole) - 1, 100).astype(int):
        yield f"jpeg cut at {place}", whole[:place]
