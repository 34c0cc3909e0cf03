"""safetensors: a header and bare numbers. Nothing in it can run."""

from functools import partial
from typing import BinaryIO

from eyeground.model.formats._stored import Contents, Stored
from eyeground.model.weights import WeightsRefused, parse_weights, read_metadata

# Who wrote a file, where its header says so in the field "format".
_WRITERS = {"pd": "paddle", "paddle": "paddle", "ms": "mindspore", "mindspore": "mindspore"}
_KINDS = {"<f8": "F64", "<f4": "F32", "<f2": "F16", "<i8": "I64", "<i4": "I32", "|u1": "U8", "|b1": "BOOL"}


def claims(head: bytes) -> bool:
    """Tell whether a file begins with the length of a JSON header, and the header.

    Args:
        head: Its first bytes.

    Returns:
        True if it does.

    Example:
        >>> claims(bytes([40, 0, 0, 0, 0, 0, 0, 0]) + b'{"a"')
        True

    References:
        safetensors format, version 0.3.
    """
    return head[4:9] == b"\0\0\0\0{"


def read(file: BinaryIO, *, name: str) -> Contents:
    """Read the tensors, all at once.

    Args:
        file: The file.
        name: Its name, for messages.

    Returns:
        The tensors. Half precision has become float32 already.

    Raises:
        WeightsRefused: If it is damaged, or holds no tensor.

    Example:
        >>> import io
        >>> read(io.BytesIO(b""), name="a.safetensors")
        Traceback (most recent call last):
        eyeground.model.weights.WeightsRefused: a.safetensors: not a whole safetensors file (...

    References:
        safetensors format, version 0.3; ``"ms"`` is what MindSpore 2.10 writes, ``"pd"`` what PaddleNLP writes.
    """
    file.seek(0)
    tensors = parse_weights(file.read(), source=name)
    if not tensors:
        raise WeightsRefused(f"{name}: holds no tensor")
    found = {
        key: Stored(_KINDS[array.dtype.str], array.shape, partial(lambda array: array, array))
        for key, array in tensors.items()
    }
    return Contents(_WRITERS.get(read_metadata(file).get("format", ""), "safetensors"), "", found, ())
