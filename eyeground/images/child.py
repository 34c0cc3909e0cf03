"""The limited process that decodes: it can open nothing, take little memory, and says what it found on a pipe."""

import dataclasses
import importlib
import json
import os
import sys
import warnings
from collections.abc import Sequence
from types import ModuleType
from typing import Any

from eyeground.images.contents import Contents
from eyeground.images.refusal import ImageRefused
from eyeground.images.retinal_image import RetinalImage
from eyeground.sandbox import confine

MEMORY_BYTES = 2**30
MAX_SLICES = 10_000

_KNOWN = ("eye", "modality", "mm_per_px", "slice", "slices", "line_mm", "shrunk", "full_size")

_NAMED = ((0, b"GIF8", "GIF"), (8, b"WEBP", "WebP"), (0, b"%PDF", "PDF"), (0, b"<svg", "SVG"),
          (0, b"<?xml", "XML or SVG"), (4, b"ftyp", "HEIF or video"), (0, b"PK\x03\x04", "zip archive"),
          (0, b"CMDb", "Heidelberg E2E"), (0, b"FOCT", "Topcon FDA"))  # fmt: skip


def main(job_fd: int, answer_fd: int, data_fd: int, pixels_fd: int, names: Sequence[str]) -> None:
    """Answer jobs until the pipe closes.

    Args:
        job_fd: Pipe that one JSON line per job comes on.
        answer_fd: Pipe for one JSON line per answer.
        data_fd: Memory file that holds the image file.
        pixels_fd: Memory file to put decoded pixels in.
        names: Readers to load.

    Example:
        >>> reader, writer = os.pipe()
        >>> os.close(writer)
        >>> main.__name__
        'main'
        >>> os.close(reader)

    References:
        Our own.
    """
    warnings.simplefilter("ignore")
    readers = [importlib.import_module(f"eyeground.images.readers.{name}") for name in names]
    confine(MEMORY_BYTES)
    os.write(answer_fd, b'{"ready": true}\n')
    with os.fdopen(job_fd, "rb", closefd=False) as jobs:
        for line in jobs:
            job = json.loads(line)
            answer = _answer(job, readers, data_fd, pixels_fd)
            out = json.dumps(answer).encode() + b"\n"
            while out:
                out = out[os.write(answer_fd, out) :]


def _answer(job: dict[str, Any], readers: Sequence[ModuleType], data_fd: int, pixels_fd: int) -> dict[str, Any]:
    """Do one job; whatever goes wrong is a refusal."""
    try:
        data = os.pread(data_fd, job["bytes"], 0)
        while len(data) < job["bytes"]:  # one call gives at most 2 GiB
            data += os.pread(data_fd, job["bytes"] - len(data), len(data))
        reader = next((reader for reader in readers if reader.claims(data)), None)
        if reader is None:
            return _refusal(_unknown(data))
        if job["job"] == "look":
            return {"contents": dataclasses.asdict(_look(reader, data))}
        number = job["slice"]
        if number is None:
            number = _look(reader, data).slices // 2
        image: RetinalImage = reader.frame(
            data, source="", number=number, max_pixels=job["max_pixels"], **job.get("more", {})
        )
        pixels = memoryview(image.pixels.data if image.pixels.flags.c_contiguous else image.pixels.copy().data).cast(
            "B"
        )
        done = 0
        while done < len(pixels):
            done += os.pwrite(pixels_fd, pixels[done:], done)
        known = {name: getattr(image, name) for name in _KNOWN}
        return {"image": {"shape": image.pixels.shape[:2], **known}}
    except ImageRefused as refused:
        return _refusal(refused)
    except MemoryError:
        return {"refused": ("too_much_memory", f"needs more than {MEMORY_BYTES >> 20} MiB to open; export it smaller")}
    except Exception as error:  # noqa: BLE001  readers raise almost any class on hostile bytes
        words = " ".join(str(error).split())[:200] or type(error).__name__
        return {"refused": ("broken", f"the file is damaged ({words}); copy or export it again")}


def _look(reader: ModuleType, data: bytes) -> Contents:
    """Read a header and hold it to sane numbers."""
    found: Contents = reader.contents(data, source="")
    if not 1 <= found.slices <= MAX_SLICES:
        raise ImageRefused("broken", "", f"the header says {found.slices:,} slices; export it again")
    return found


def _refusal(refused: ImageRefused) -> dict[str, Any]:
    """Bring a refusal to plain words."""
    return {"refused": (refused.reason, refused.sentence)}


def _unknown(data: bytes) -> ImageRefused:
    """Say what a file is that nobody reads."""
    for offset, mark, name in _NAMED:
        if data[offset:].lstrip()[: len(mark)] == mark if offset == 0 else data[offset : offset + len(mark)] == mark:
            return ImageRefused("format_not_allowed", "", f"is {name}, which is not read; convert it first")
    return ImageRefused(
        "not_an_image", "", "is not an image; JPEG, PNG, TIFF, BMP, DICOM, Heidelberg .vol and HEYEX XML are read"
    )


if __name__ == "__main__":
    job, answer, data, pixels = (int(word) for word in sys.argv[1:5])
    main(job, answer, data, pixels, sys.argv[5:])
