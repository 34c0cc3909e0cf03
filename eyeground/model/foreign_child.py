"""The limited process that opens a foreign weights file: it can open nothing else, and only numbers come out of it."""

import errno
import io
import json
import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from types import ModuleType
from typing import Any, BinaryIO

from eyeground.model.formats._stored import Contents, Stored
from eyeground.model.weights import WeightsRefused
from eyeground.pick import names, pick
from eyeground.sandbox import confine

HEAD_BYTES = 4096
_MOST_TENSORS = 100_000
_LONGEST_NAME = 500
_TYPES = {"<f8": "F64", "<f4": "F32", "<i8": "I64", "<i4": "I32", "|u1": "U8", "|b1": "BOOL"}
# What people rename to .pth by mistake, or find on old discs.
_NAMED = (
    (0, b"\x1f\x8b", "a gzip archive: unpack it first"),
    (257, b"ustar", "a tar archive, as the first versions of torch wrote"),
    (0, b"\x89HDF", "an HDF5 file of Keras"), (0, b"GGUF", "a GGUF file of llama.cpp"),
    (0, b"<", "a web page: the download did not give the file"),
    (0, b"version https://git-lfs", "a Git LFS pointer: fetch the file itself"), (0, b"\x93NUMPY", "a numpy file"),
)  # fmt: skip


def main(file_fd: int, out_fd: int, memory_bytes: int, cpu_seconds: int, name: str) -> None:
    """Read one file, write its tensors as safetensors, and say on stdout in one JSON line what it was.

    Args:
        file_fd: The file.
        out_fd: Where the tensors go.
        memory_bytes: Memory it may take, and length of what it may write. Unit: bytes.
        cpu_seconds: Computing time it may take. Unit: s.
        name: The file's name, or its ending.

    Example:
        >>> main.__name__
        'main'

    References:
        Our own.
    """
    shelf = {each: pick("model.formats", each) for each in names("model.formats")}
    file = os.fdopen(file_fd, "rb", closefd=False)
    out = os.fdopen(out_fd, "wb", closefd=False)
    confine(memory_bytes, cpu_seconds)
    try:
        answer = _open(shelf, file, out, name)
        out.flush()
    except WeightsRefused as refused:
        answer = {"refused": str(refused)}
    except MemoryError:
        answer = {"machine": f"needs more than {memory_bytes >> 20:,} MiB to open, far more than its size: not opened"}
    except Exception as error:  # noqa: BLE001  hostile bytes may raise anything
        words = " ".join(f"{type(error).__name__} {error}".split())[:150]
        full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
        answer = {"full": True} if full else {"refused": f"is damaged ({words}): fetch or copy it again"}
        with suppress(OSError):
            os.ftruncate(out_fd, 0)  # or a full disk has no room for the answer either
    sys.stdout.write(json.dumps(answer))
    sys.stdout.flush()


def most_out_bytes(size: int) -> int:
    """Tell how much may come out of a file: half precision doubles, tied weights are written twice.

    Args:
        size: Length of the file. Unit: bytes.

    Returns:
        Bytes.

    Example:
        >>> most_out_bytes(2**20) >> 20
        68

    References:
        Our own.
    """
    return 4 * size + 2**26


def _open(shelf: Mapping[str, ModuleType], file: BinaryIO, out: BinaryIO, name: str) -> dict[str, Any]:
    """Find who reads it, and let the tensors out one by one."""
    most_bytes = most_out_bytes(file.seek(0, io.SEEK_END))
    file.seek(0)
    head = file.read(HEAD_BYTES)
    reader = next((reader for reader in shelf.values() if reader.claims(head)), None)
    if reader is None:
        raise WeightsRefused(_unknown(head))
    contents: Contents = reader.read(file, name=name)
    _write(out, contents.tensors, most_bytes=most_bytes)
    return {"framework": contents.framework, "nest": contents.nest, "left_out": contents.left_out}


def _write(out: BinaryIO, tensors: Mapping[str, Stored], *, most_bytes: int) -> None:
    """Write safetensors: the header first, then one tensor at a time, so that never two lie in memory."""
    if len(tensors) > _MOST_TENSORS:
        raise WeightsRefused(f"holds {len(tensors):,} tensors, more than any network here")
    header: dict[str, Any] = {}
    end = 0
    for name, tensor in tensors.items():
        if name == "__metadata__" or len(name) > _LONGEST_NAME or not name.isprintable() or not name:
            raise WeightsRefused(f"holds a tensor with the name {ascii(name)[:80]}, which cannot be")
        start, end = end, end + tensor.out_bytes
        header[name] = {"dtype": _TYPES[tensor.dtype.str], "shape": tensor.shape, "data_offsets": (start, end)}
    words = json.dumps(header).encode()
    if end + len(words) + 8 > most_bytes:
        raise WeightsRefused(f"says that its tensors take {end >> 20:,} MiB, far more than the file: not opened")
    out.write(len(words).to_bytes(8, "little") + words)
    for tensor in tensors.values():
        out.write(tensor.array().data.cast("B") if tensor.out_bytes else b"")


def _unknown(head: bytes) -> str:
    """Say what a file is that nobody reads."""
    what = next((words for at, mark, words in _NAMED if head[at : at + len(mark)] == mark), "")
    if not head:
        return "is empty: fetch or copy it again"
    if not head.strip(b"\0"):
        return "holds zeros only: fetch or copy it again"
    known = "torch (.pth, .pt, .bin), Paddle (.pdparams), MindSpore (.ckpt), ONNX or safetensors"
    return f"is {what}; what is read: {known}" if what else f"is no weights file of {known}"


if __name__ == "__main__":
    file, out, memory, cpu = (int(word) for word in sys.argv[1:5])
    main(file, out, memory, cpu, sys.argv[5])
