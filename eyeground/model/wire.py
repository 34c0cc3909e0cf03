"""Words and arrays over a pipe, between the main process and an engine's own."""

import json
import struct
from collections.abc import Mapping
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

_LENGTH = struct.Struct("<Q")
_MOST_WORDS_BYTES = 2**26


class WireCut(EOFError):
    """The other side is gone."""


def send(stream: BinaryIO, words: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]] | None = None) -> None:
    """Write one message.

    Args:
        stream: An open pipe.
        words: What JSON can hold.
        arrays: Arrays of any shape and plain number type, by name.

    Raises:
        WireCut: If the other side is gone.

    Example:
        >>> import io
        >>> pipe = io.BytesIO()
        >>> send(pipe, {"verb": "predict"}, {"images": np.zeros((1, 2), np.float32)})
        >>> _ = pipe.seek(0)
        >>> receive(pipe)
        ({'verb': 'predict'}, {'images': array([[0., 0.]], dtype=float32)})

    References:
        Our own.
    """
    laid = {name: np.asarray(array, order="C") for name, array in (arrays or {}).items()}
    table = [[name, array.dtype.str, array.shape] for name, array in laid.items()]
    head = json.dumps({"words": words, "arrays": table}).encode()
    try:
        stream.write(_LENGTH.pack(len(head)) + head)
        for array in laid.values():
            stream.write(array.reshape(-1).view(np.uint8).data)
        stream.flush()
    except BrokenPipeError as error:
        raise WireCut("the other side is gone") from error


def receive(stream: BinaryIO) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Read one message.

    Args:
        stream: An open pipe.

    Returns:
        Words and arrays, as they were sent.

    Raises:
        WireCut: If the other side is gone, or what came is no message.

    Example:
        >>> import io
        >>> receive(io.BytesIO())
        Traceback (most recent call last):
        ...
        eyeground.model.wire.WireCut: the other side is gone

    References:
        Our own.
    """
    (length,) = _LENGTH.unpack(_exactly(stream, _LENGTH.size))
    if length > _MOST_WORDS_BYTES:
        raise WireCut("what came is no message")
    head = json.loads(_exactly(stream, length))
    arrays = {}
    for name, dtype, shape in head["arrays"]:
        array = np.empty(shape, np.dtype(dtype))
        _fill(stream, array.reshape(-1).view(np.uint8).data)
        arrays[name] = array
    return head["words"], arrays


def _exactly(stream: BinaryIO, count: int) -> bytes:
    """Read so many bytes."""
    content = bytearray(count)
    _fill(stream, memoryview(content))
    return bytes(content)


def _fill(stream: BinaryIO, place: memoryview) -> None:
    """Read until a piece of memory is full."""
    done = 0
    while done < len(place):
        got = stream.readinto(place[done:])  # type: ignore[attr-defined]
        if not got:
            raise WireCut("the other side is gone")
        done += got
