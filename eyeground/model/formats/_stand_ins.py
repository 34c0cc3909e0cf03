"""What a pickle gets instead of a framework's tensors, arrays and other things: inert objects of ours."""

from collections.abc import Callable
from functools import partial
from math import prod
from typing import Any, BinaryIO

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from eyeground.model.formats._stored import Stored, raw_type
from eyeground.model.weights import WeightsRefused

# No objects, no texts, no dates: an array of those could hold anything. "U16" is what Paddle keeps bfloat16 as.
_NUMPY_TYPES = {
    "f8": "F64", "f4": "F32", "f2": "F16", "i8": "I64", "i4": "I32", "i2": "I16", "i1": "I8", "u1": "U8", "b1": "BOOL",
    "u2": "U16",
}  # fmt: skip


class _Sealed:
    """A stand-in whose state a pickle cannot set."""

    __slots__ = ()

    def __setstate__(self, state: object) -> None:
        raise WeightsRefused("sets the state of what has none: no framework writes that")


class Region(_Sealed):
    """Numbers in a file that tensors look at.

    Args:
        kind: Number type, as in ``Stored``.
        count: How many.
        start: Where they begin, -1 = not known yet. Unit: bytes.

    Example:
        >>> Region("F32", 4).start
        -1

    References:
        PyTorch calls it a storage.
    """

    __slots__ = ("count", "kind", "start")

    def __init__(self, kind: str, count: int, start: int = -1) -> None:
        self.kind, self.count, self.start = kind, count, start


class StorageType(_Sealed):
    """A number type, as torch writes it beside each region.

    Args:
        kind: Number type, as in ``Stored``.

    Example:
        >>> StorageType("F32").kind
        'F32'

    References:
        Our own.
    """

    __slots__ = ("kind",)

    def __init__(self, kind: str) -> None:
        self.kind = kind


class Tensor(_Sealed):
    """A view of a region, of which nothing is read yet.

    Args:
        region: What it looks at.
        offset: First number.
        size: Its shape.
        stride: Numbers from one to the next, per dimension.

    Raises:
        WeightsRefused: If it looks outside its region.

    Example:
        >>> Tensor(Region("F32", 6), 0, (3, 2), (1, 3)).size
        (3, 2)

    References:
        Our own.
    """

    __slots__ = ("_offset", "_reach", "_region", "_stride", "size")

    def __init__(self, region: object, offset: object, size: object, stride: object) -> None:
        told = f"offset {str(offset)[:20]}, shape {str(size)[:60]}, stride {str(stride)[:60]}"
        if not isinstance(region, Region):
            raise WeightsRefused(f"holds a tensor without numbers ({told})")
        (self._offset,) = _whole((offset,), told)
        self.size, self._stride = _whole(size, told), _whole(stride, told)
        self._region, self._reach = region, 0
        if len(self.size) != len(self._stride):
            raise WeightsRefused(f"holds a tensor that cannot be ({told})")
        if 0 not in self.size:
            self._reach = 1 + sum((side - 1) * step for side, step in zip(self.size, self._stride, strict=True))
        if self._reach and self._offset + self._reach > region.count:
            raise WeightsRefused(f"holds a tensor that looks outside its {region.count:,} numbers ({told})")

    def stored(self, file: BinaryIO) -> Stored:
        """Say how to read it.

        Args:
            file: What its region lies in.

        Returns:
            The tensor.
        """
        return Stored(self._region.kind, self.size, partial(self._read, file))

    def _read(self, file: BinaryIO) -> NDArray[Any]:
        """Read no more bytes than it looks at."""
        raw = raw_type(self._region.kind)
        if self._region.start < 0:
            raise WeightsRefused("holds a tensor whose numbers are not there: fetch or copy it again")
        file.seek(self._region.start + self._offset * raw.itemsize)
        data = file.read(self._reach * raw.itemsize)
        if len(data) != self._reach * raw.itemsize:
            raise WeightsRefused("ends before its numbers do: fetch or copy it again")
        steps = tuple(raw.itemsize * step for step in self._stride)
        return np.ascontiguousarray(as_strided(np.frombuffer(data, raw), self.size, steps, writeable=False))


class DType(_Sealed):
    """The number type of a numpy array.

    Args:
        code: Kind and bytes, such as ``"f4"``.
        _: Whether to align and copy, which says nothing here.

    Raises:
        WeightsRefused: If it is none of plain numbers.

    Example:
        >>> DType("O8")
        Traceback (most recent call last):
        eyeground.model.weights.WeightsRefused: holds a numpy array of the type O8, which is not plain numbers

    References:
        Our own.
    """

    __slots__ = ("code", "order")

    def __init__(self, code: object, *_: object) -> None:
        if not isinstance(code, str) or code not in _NUMPY_TYPES:
            raise WeightsRefused(f"holds a numpy array of the type {str(code)[:20]}, which is not plain numbers")
        self.code, self.order = code, "<"

    def __setstate__(self, state: object) -> None:
        match state:
            case (int(), ("<" | ">" | "|") as order, *_):
                self.order = order
            case _:
                raise WeightsRefused("holds a numpy array of an unknown type")


class Array(_Sealed):
    """A numpy array or number, rebuilt from its bytes.

    Example:
        >>> Array().fill(DType("u1"), (2,), bytes([1, 2])).stored(bfloat16=False).array()
        array([1, 2], dtype=uint8)

    References:
        Its state is what ``numpy.ndarray.__reduce__`` gives.
    """

    __slots__ = ("_columns_first", "_data", "_dtype", "shape")

    def __init__(self) -> None:
        self._dtype: DType | None = None
        self.shape: tuple[int, ...] = ()
        self._data, self._columns_first = b"", False

    def __setstate__(self, state: object) -> None:
        match state:
            case (int(), shape, dtype, bool(columns_first), data) if self._dtype is None:
                self.fill(dtype, shape, data, columns_first=columns_first)
            case _:
                raise WeightsRefused("holds a numpy array that is not plain numbers")

    def fill(self, dtype: object, shape: object, data: object, *, columns_first: bool = False) -> "Array":
        """Take numbers in.

        Args:
            dtype: Their type.
            shape: Their shape.
            data: Exactly those numbers.
            columns_first: Whether the first dimension runs fastest.

        Returns:
            Itself.

        Raises:
            WeightsRefused: If these are not plain numbers, or shape and bytes do not agree.
        """
        if not isinstance(dtype, DType) or not isinstance(data, bytes | bytearray):
            raise WeightsRefused("holds a numpy array that is not plain numbers")
        told = f"a numpy array of the shape {str(shape)[:60]} in {len(data):,} bytes"
        self.shape = _whole(shape, told)
        if prod(self.shape) * int(dtype.code[1:]) != len(data):
            raise WeightsRefused(f"holds {told}, which cannot be")
        self._dtype, self._data, self._columns_first = dtype, bytes(data), columns_first
        return self

    def stored(self, *, bfloat16: bool) -> Stored:
        """Say how to read it.

        Args:
            bfloat16: Whether 16-bit whole numbers stand for bfloat16, as Paddle writes it.

        Returns:
            The tensor.

        Raises:
            WeightsRefused: If the array was never filled, or holds a type that no network has.
        """
        if self._dtype is None:
            raise WeightsRefused("holds a numpy array without numbers")
        kind = _NUMPY_TYPES[self._dtype.code]
        return Stored("BF16" if kind == "U16" and bfloat16 else kind, self.shape, partial(self._read, self._dtype))

    def _read(self, dtype: DType) -> NDArray[Any]:
        """Lay its numbers out."""
        raw = np.frombuffer(self._data, ("<" if dtype.order == "|" else dtype.order) + dtype.code)
        shaped = raw.reshape(self.shape, order="F" if self._columns_first else "C")
        return np.ascontiguousarray(shaped.astype(f"<{dtype.code}", copy=False))


class Table(dict[Any, Any]):
    """An OrderedDict, without the attributes that torch hangs on it.

    Example:
        >>> Table([("a", 1)])
        {'a': 1}

    References:
        Our own.
    """

    __slots__ = ()

    def __setstate__(self, state: object) -> None:
        """Throw the state away."""


class Inert(_Sealed):
    """Something that is thrown away, whatever it is made with.

    Args:
        _: Whatever it is made with.
        __: Whatever it is made with.

    Example:
        >>> inert("a path")("/", root=1).what
        'a path'

    References:
        Our own.
    """

    __slots__ = ()
    what = ""

    def __init__(self, *_: object, **__: object) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        """Throw the state away."""


def inert(what: str) -> type[Inert]:
    """Make a class of things that are thrown away.

    Args:
        what: What they are, in words.

    Returns:
        The class.

    Example:
        >>> inert("argparse.Namespace")().what
        'argparse.Namespace'

    References:
        Our own.
    """
    return type("Thrown", (Inert,), {"__slots__": (), "what": what})


class Function(_Sealed):
    """What stands for a function of a framework.

    Args:
        act: What is done instead.

    Example:
        >>> Function(len)("abc")
        3

    References:
        Our own.
    """

    __slots__ = ("_act",)

    def __init__(self, act: Callable[..., object]) -> None:
        self._act = act

    def __call__(self, *given: object) -> object:
        return self._act(*given)


def _whole(numbers: object, told: str) -> tuple[int, ...]:
    """Whole numbers from 0, or a refusal."""
    if not isinstance(numbers, tuple) or any(type(number) is not int or number < 0 for number in numbers):
        raise WeightsRefused(f"holds a tensor that cannot be ({told})")
    return numbers
