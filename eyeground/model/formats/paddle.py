"""PaddlePaddle's .pdparams: one pickle of numpy arrays."""

import io
from typing import Any, BinaryIO

from eyeground.model.formats._nest import find_tensors
from eyeground.model.formats._stand_ins import Array
from eyeground.model.formats._stored import Contents, Stored
from eyeground.model.formats._unpickler import unpickle
from eyeground.model.weights import WeightsRefused

# What paddle.save puts beside the weights of a Layer.
_NAMES, _CUT = "StructuredToParameterName@@", "UnpackBigParamInfor@@"
_SUFFIXES = (".pdparams", ".pdopt", ".pdtensor")
_TORCH_MAGIC = b"l\xfc\x9cF\xf9 j\xa8P\x19"


def claims(head: bytes) -> bool:
    """Tell whether a file is a pickle of protocol 2 or later, and not one of torch's streams.

    Args:
        head: Its first bytes.

    Returns:
        True if it is.

    Example:
        >>> claims(b"\\x80\\x04\\x95"), claims(b"PK\\x03\\x04")
        (True, False)

    References:
        paddle/framework/io.py, Paddle 3.3.
    """
    return head[:1] == b"\x80" and head[1:2] in (b"\2", b"\3", b"\4", b"\5") and _TORCH_MAGIC not in head[:40]


def read(file: BinaryIO, *, name: str) -> Contents:
    """Find the arrays.

    Args:
        file: The file.
        name: Its name: a pickle without Paddle's own table is taken for Paddle's only if it is called ``.pdparams``,
            because Paddle's matrices are transposed and nothing in the arrays tells.

    Returns:
        The arrays, and what else is in the file.

    Raises:
        WeightsRefused: If it asks for more than arrays, or may not be Paddle's.

    Example:
        >>> read(io.BytesIO(b"\\x80\\x04}."), name="a.pkl")
        Traceback (most recent call last):
        eyeground.model.weights.WeightsRefused: is a pickle that neither torch nor, by its name, Paddle wrote; if Paddle
        did, call it .pdparams

    References:
        paddle/framework/io.py, Paddle 3.3.
    """
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    top = unpickle(file)
    if file.tell() != size:
        raise WeightsRefused("goes on behind its end: no framework writes that")
    tables = [top, *(top.values() if isinstance(top, dict) else ())]
    if any(isinstance(table, dict) and _CUT in table for table in tables):
        raise WeightsRefused("holds tensors cut in pieces; save it again with paddle.save(..., protocol=4)")
    marked = any(isinstance(table, dict) and _NAMES in table for table in tables)
    if not (marked or name.lower().endswith(_SUFFIXES)):
        raise WeightsRefused(
            "is a pickle that neither torch nor, by its name, Paddle wrote; if Paddle did, call it .pdparams"
        )
    if isinstance(top, tuple) and _take(top):
        top = {top[0]: top}
    nest, tensors, left_out = find_tensors(top, _take, silent=frozenset({_NAMES}))
    return Contents("paddle", nest, tensors, left_out)


def _take(value: Any) -> Stored | None:
    """An array, alone or beside its name: the form that a Tensor takes outside a Layer's own table."""
    match value:
        case (str(), Array() as array) | (Array() as array):
            return array.stored(bfloat16=True)
    return None
