"""What a reader finds: tensors that are still in the file, and words for the rest."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eyeground.model.weights import WeightsRefused

# Number type, as safetensors calls it -> how it lies in a file, how it comes out. bfloat16 is a float32's upper half.
_KINDS = {
    "F64": ("<f8", "<f8"), "F32": ("<f4", "<f4"), "F16": ("<f2", "<f4"), "BF16": ("<u2", "<f4"),
    "I64": ("<i8", "<i8"), "I32": ("<i4", "<i4"), "U8": ("|u1", "|u1"), "BOOL": ("|u1", "|b1"),
}  # fmt: skip
# May lie beside a network, as part of what is left out.
_ASIDE = {"I16": "<i2", "I8": "|i1"}
_MOST_DIMENSIONS = 32  # numpy 1's limit


@dataclass(frozen=True, eq=False)
class Stored:
    """A tensor that nobody has read yet.

    Args:
        kind: Number type in the file: ``"F64"``, ``"F32"``, ``"F16"``, ``"BF16"``, ``"I64"``, ``"I32"``, ``"U8"`` or
            ``"BOOL"``.
        shape: Its shape.
        read: Gives its numbers as they lie in the file, in that shape.

    Raises:
        WeightsRefused: If the number type or the shape cannot be.

    Example:
        >>> Stored("BF16", (1,), lambda: np.array([0x3FC0], "<u2")).array()
        array([1.5], dtype=float32)

    References:
        Our own.
    """

    kind: str
    shape: tuple[int, ...]
    read: Callable[[], NDArray[Any]]

    def __post_init__(self) -> None:
        if self.kind not in _KINDS:
            raise WeightsRefused(f"holds numbers of the type {self.kind}, which is not read here")
        if len(self.shape) > _MOST_DIMENSIONS or any(type(side) is not int or side < 0 for side in self.shape):
            raise WeightsRefused(f"holds a tensor of the shape {str(self.shape)[:80]}, which cannot be")

    @property
    def dtype(self) -> np.dtype[Any]:
        """Number type that comes out."""
        return np.dtype(_KINDS[self.kind][1])

    @property
    def out_bytes(self) -> int:
        """Bytes that come out."""
        return prod(self.shape) * self.dtype.itemsize

    def array(self) -> NDArray[Any]:
        """Read it: half precision comes as float32, everything else as it is."""
        raw = self.read()
        if self.kind == "BF16":
            wide: NDArray[Any] = (raw.astype("<u4") << 16).view("<f4")
        elif self.kind == "BOOL":
            wide = raw != 0
        else:
            wide = raw.astype(self.dtype, copy=False)
        return wide.reshape(self.shape)


@dataclass(frozen=True, eq=False)
class Contents:
    """What a file holds.

    Args:
        framework: Who wrote it: ``"torch"``, ``"paddle"``, ``"mindspore"``, ``"onnx"`` or ``"safetensors"``.
        nest: Where in it the tensors lie, such as ``"model"``; empty = at the top.
        tensors: By the file's own names.
        left_out: What else lies there, in words.

    Example:
        >>> Contents("torch", "model", {}, ("epoch (799)",)).nest
        'model'

    References:
        Our own.
    """

    framework: str
    nest: str
    tensors: Mapping[str, Stored]
    left_out: tuple[str, ...]


def raw_type(kind: str) -> np.dtype[Any]:
    """Tell how numbers of a type lie in a file.

    Args:
        kind: Number type, as in ``Stored``.

    Returns:
        numpy's type for them; bfloat16 as 16-bit whole numbers.

    Raises:
        KeyError: If no format here has it.

    Example:
        >>> raw_type("BF16").itemsize
        2

    References:
        Our own.
    """
    return np.dtype(_KINDS[kind][0] if kind in _KINDS else _ASIDE[kind])


def from_bytes(kind: str, shape: tuple[int, ...], data: bytes) -> NDArray[Any]:
    """Take numbers out of bytes.

    Args:
        kind: Number type, as in ``Stored``.
        shape: Their shape.
        data: Exactly those numbers, little-endian.

    Returns:
        The numbers as they lie in the file.

    Raises:
        WeightsRefused: If there are too few bytes or too many.

    Example:
        >>> from_bytes("I32", (2,), bytes([1, 0, 0, 0, 2, 0, 0, 0]))
        array([1, 2], dtype=int32)

    References:
        Our own.
    """
    if prod(shape) * raw_type(kind).itemsize != len(data):
        raise WeightsRefused(f"holds a tensor of the shape {str(shape)[:80]} in {len(data):,} bytes: it is damaged")
    return np.frombuffer(data, raw_type(kind)).reshape(shape)
