"""Pickles, opened without running anything of theirs: every name that one may ask for is a stand-in of ours.

The only file that imports pickle.
"""

import pickle
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, BinaryIO

from eyeground.model.formats._opcodes import scan
from eyeground.model.formats._stand_ins import Array, DType, Function, Region, StorageType, Table, Tensor, inert
from eyeground.model.weights import WeightsRefused

_STORAGES = {
    "DoubleStorage": "F64", "FloatStorage": "F32", "HalfStorage": "F16", "BFloat16Storage": "BF16",
    "LongStorage": "I64", "IntStorage": "I32", "ShortStorage": "I16", "CharStorage": "I8", "ByteStorage": "U8",
    "BoolStorage": "BOOL",
}  # fmt: skip
_TORCH_TYPES = (
    "float64", "float32", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool", "complex64",
    "complex128",
)  # fmt: skip


def unpickle(file: BinaryIO, region: Callable[[tuple[Any, ...]], Region] | None = None) -> Any:
    """Open one pickle: tensors, numpy arrays and plain containers come out, anything else is refused beforehand.

    Args:
        file: Stands where the pickle begins; afterwards, behind it.
        region: Finds the numbers that a persistent id means; None = the format knows no such ids.

    Returns:
        What the pickle holds, of stand-ins.

    Raises:
        WeightsRefused: If it asks for a name that no tensor needs, or is damaged.

    Example:
        >>> import io
        >>> unpickle(io.BytesIO(b"ccollections\\nOrderedDict\\n)R(S'epoch'\\nI3\\nu."))
        {'epoch': 3}

    References:
        Python's manual: restricting globals of a pickle.
    """
    start = file.tell()
    scan(file, ALLOWED)
    end = file.tell()
    file.seek(start)
    try:
        found = _Unpickler(file, region).load()
    except (WeightsRefused, MemoryError):
        raise
    except Exception as error:
        words = " ".join(str(error).split())[:100]
        raise WeightsRefused(f"is no pickle that a framework writes ({words}): fetch or copy it again") from error
    file.seek(end)
    return found


class _Unpickler(pickle.Unpickler):
    """Knows stand-ins only."""

    def __init__(self, file: BinaryIO, region: Callable[[tuple[Any, ...]], Region] | None) -> None:
        # Python 2 wrote its texts as bytes.
        super().__init__(file, encoding="latin1")
        self._region = region

    def find_class(self, module: str, name: str) -> Any:
        """Give the stand-in; the scan has refused all others, and this is the wall behind it."""
        if (module, name) not in ALLOWED:
            raise WeightsRefused(f"asks for {module[:100]}.{name[:100]}, which no tensor needs: not opened")
        return ALLOWED[module, name]

    def persistent_load(self, pid: Any) -> Any:
        """Find a tensor's numbers."""
        if self._region is None or not isinstance(pid, tuple):
            raise WeightsRefused(f"points to something outside itself ({str(pid)[:60]})")
        return self._region(pid)


def torch_region(pid: tuple[Any, ...]) -> tuple[str, Region]:
    """Read the persistent id by which torch names a tensor's numbers.

    Args:
        pid: ``("storage", type, key, place, count)`` and, in older files, one more: a view of another storage.

    Returns:
        The key, and the numbers, not found yet.

    Raises:
        WeightsRefused: If it is another thing, such as a whole module.

    Example:
        >>> key, found = torch_region(("storage", StorageType("F32"), "0", "cpu", 6))
        >>> key, found.kind, found.count
        ('0', 'F32', 6)

    References:
        torch/serialization.py, PyTorch 2.12.
    """
    match pid:
        case ("storage", StorageType(kind=kind), str(key), str(), int(count)) if count >= 0:
            return key, Region(kind, count)
        case ("storage", StorageType(kind=kind), str(key), str(), int(count), None) if count >= 0:
            return key, Region(kind, count)
    raise WeightsRefused(f"points to numbers in a way that torch does not ({str(pid)[:80]})")


def _rebuild_tensor(region: object, offset: object, size: object, stride: object, *_: object) -> Tensor:
    """A tensor, without gradients and hooks."""
    return Tensor(region, offset, size, stride)


def _rebuild_parameter(data: object, *_: object) -> Tensor:
    """A parameter is its tensor."""
    if not isinstance(data, Tensor):
        raise WeightsRefused("holds a parameter without a tensor")
    return data


def _tuple(items: object = ()) -> tuple[object, ...]:
    """A tuple of what is listed already."""
    if not isinstance(items, tuple | list):
        raise WeightsRefused("holds a tuple of what is no list")
    return tuple(items)


def _encode(text: object, encoding: object = "latin1") -> bytes:
    """Bytes, as pickles of protocol 2 hold them."""
    if not isinstance(text, str) or encoding != "latin1":
        raise WeightsRefused("holds bytes in an unknown encoding")
    return text.encode("latin1")


def _reconstruct(of: object, *_: object) -> Array:
    """An empty array, which its state fills."""
    if of is not _NDARRAY:
        raise WeightsRefused("holds a numpy array of a class of its own")
    return Array()


def _scalar(dtype: object, data: object) -> Array:
    """A single number."""
    return Array().fill(dtype, (), data)


def _frombuffer(data: object, dtype: object, shape: object, order: object = "C") -> Array:
    """An array, as pickles of protocol 5 hold it."""
    return Array().fill(dtype, shape, data, columns_first=order == "F")


_NDARRAY = inert("numpy.ndarray")


def _names() -> dict[tuple[str, str], Any]:
    """Everything that a pickle may ask for, and what it gets."""
    found: dict[tuple[str, str], Any] = {
        ("torch._utils", "_rebuild_tensor"): Function(_rebuild_tensor),
        ("torch._utils", "_rebuild_tensor_v2"): Function(_rebuild_tensor),
        ("torch._utils", "_rebuild_parameter"): Function(_rebuild_parameter),
        ("torch.storage", "UntypedStorage"): StorageType("U8"),
        ("torch", "Size"): Function(_tuple),
        ("torch", "device"): inert("torch.device"),
        ("collections", "OrderedDict"): Table,
        ("argparse", "Namespace"): inert("argparse.Namespace"),
        ("_codecs", "encode"): Function(_encode),
        ("numpy", "ndarray"): _NDARRAY,
        ("numpy", "dtype"): Function(DType),
    }
    found |= {("torch", name): StorageType(kind) for name, kind in _STORAGES.items()}
    found |= {("torch", name): inert(f"torch.{name}")() for name in _TORCH_TYPES}
    for module in ("numpy.core", "numpy._core"):
        found[f"{module}.multiarray", "_reconstruct"] = Function(_reconstruct)
        found[f"{module}.multiarray", "scalar"] = Function(_scalar)
        found[f"{module}.numeric", "_frombuffer"] = Function(_frombuffer)
    for module in ("builtins", "__builtin__"):
        found[module, "tuple"] = Function(_tuple)
    for module in ("pathlib", "pathlib._local"):
        for name in ("Path", "PosixPath", "WindowsPath", "PurePath", "PurePosixPath", "PureWindowsPath"):
            found[module, name] = inert("a path")
    return found


ALLOWED: Mapping[tuple[str, str], Any] = MappingProxyType(_names())
