"""PyTorch before 1.6: five pickles in a row, then every storage."""

import io
from typing import Any, BinaryIO

from eyeground.model.formats._nest import find_tensors, take_tensor
from eyeground.model.formats._stand_ins import Region
from eyeground.model.formats._stored import Contents, raw_type
from eyeground.model.formats._unpickler import torch_region, unpickle
from eyeground.model.weights import WeightsRefused

_MAGIC = 0x1950A86A20F9469CFC6C
_VERSION = 1001
_COUNT_BYTES = 8


def claims(head: bytes) -> bool:
    """Tell whether a file begins as torch's streams do.

    Args:
        head: Its first bytes.

    Returns:
        True if it does.

    Example:
        >>> claims(b"\\x80\\x02\\x8a\\n" + _MAGIC.to_bytes(10, "little"))
        True

    References:
        torch/serialization.py, PyTorch 2.12.
    """
    return head.startswith(b"\x80") and _MAGIC.to_bytes(10, "little") in head[:40]


def read(file: BinaryIO, *, name: str) -> Contents:
    """Find the tensors; their numbers are read only when they are asked for.

    Args:
        file: The file.
        name: Its name, which says nothing here.

    Returns:
        The tensors, and what else is in the file.

    Raises:
        WeightsRefused: If it is not what ``torch.save`` wrote, asks for more than tensors, or is cut.

    Example:
        >>> read(io.BytesIO(b"I3\\n."), name="a.pth")
        Traceback (most recent call last):
        eyeground.model.weights.WeightsRefused: is no file of torch.save

    References:
        torch/serialization.py, PyTorch 2.12, the legacy format.
    """
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    if unpickle(file) != _MAGIC or unpickle(file) != _VERSION:
        raise WeightsRefused("is no file of torch.save")
    machine = unpickle(file)
    if not isinstance(machine, dict) or machine.get("little_endian") is not True:
        raise WeightsRefused("was written on a big-endian machine, which is not read here: save it again on another")
    regions: dict[str, Region] = {}

    def region(pid: tuple[Any, ...]) -> Region:
        key, found = torch_region(pid)
        known = regions.setdefault(key, found)
        if (known.kind, known.count) != (found.kind, found.count):
            raise WeightsRefused(f"describes storage {key[:40]} in two ways")
        return known

    top = unpickle(file, region)
    keys = unpickle(file)
    if not isinstance(keys, list) or any(type(key) is not str for key in keys) or set(keys) != set(regions):
        raise WeightsRefused("does not list the storages that it uses: fetch or copy it again")
    for key in keys:
        found = regions[key]
        start = file.tell() + _COUNT_BYTES
        end = start + found.count * raw_type(found.kind).itemsize
        if int.from_bytes(file.read(_COUNT_BYTES), "little", signed=True) != found.count or end > size:
            raise WeightsRefused(f"ends before its storage {key[:40]} does: fetch or copy it again")
        found.start = start
        file.seek(end)
    nest, tensors, left_out = find_tensors(top, take_tensor(file))
    return Contents("torch", nest, tensors, left_out)
