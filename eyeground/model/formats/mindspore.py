"""MindSpore's .ckpt: one protobuf value a tensor, large ones in several pieces."""

import re
from collections.abc import Sequence
from functools import partial
from itertools import groupby
from typing import Any, BinaryIO
from zlib import crc32

from numpy.typing import NDArray

from eyeground.model.formats._protobuf import message_classes, parse
from eyeground.model.formats._stored import Contents, Stored, from_bytes
from eyeground.model.weights import WeightsRefused

_MESSAGES = message_classes(
    "eyeground.mindspore",
    {
        "Checkpoint": {"value": (1, "repeated Value")},
        "Value": {"tag": (1, "string"), "tensor": (2, "Tensor"), "maptensor": (3, "bytes")},
        "Tensor": {"dims": (1, "repeated int64"), "tensor_type": (2, "string"), "tensor_content": (3, "bytes")},
    },
)
_KINDS = {
    "Float64": "F64", "Float32": "F32", "Float16": "F16", "BFloat16": "BF16", "Int64": "I64", "Int32": "I32",
    "UInt8": "U8", "Bool": "BOOL",
}  # fmt: skip
# What save_checkpoint(crc_check=True) puts behind the message: this mark and ten bytes.
_CHECKSUM, _CHECKSUM_BYTES = b"crc_num", 17
# An optimizer's copies carry a parameter's name behind one of these.
_MOMENTS = re.compile(r"^(adam_[mv]|moments?[12]?|vhat|accum|stat|mean_(square|grad)|lamb_[mv]|[mv]_)\.")
_MOST_TOLD = 4
_OPTIMIZER = {"global_step", "learning_rate", "beta1_power", "beta2_power"}


def claims(head: bytes) -> bool:
    """Tell whether a file begins with a value, its tag and a tensor.

    Args:
        head: Its first bytes.

    Returns:
        True if it does.

    Example:
        >>> claims(bytes([10, 30, 10, 1]) + b"a" + bytes([18, 25]))
        True

    References:
        mindspore/train/checkpoint.proto, MindSpore 2.10.
    """
    try:
        behind_size = 1 + next(place for place in range(1, 11) if head[place] < 0x80)
        tag = head[behind_size + 1]
        behind_tag = behind_size + 2 + tag
        named = head[behind_size + 2 : behind_tag].decode("ascii").isprintable()
    except (IndexError, StopIteration, UnicodeDecodeError):
        return False
    return (
        head[0] == head[behind_size] == 0x0A
        and tag < 0x80
        and named
        and head[behind_tag : behind_tag + 1] in b"\x12\x1a"
    )


def read(file: BinaryIO, *, name: str) -> Contents:
    """Find the tensors.

    Args:
        file: The file.
        name: Its name, which says nothing here.

    Returns:
        The tensors; an optimizer's state and counters are left out.

    Raises:
        WeightsRefused: If the file is cut or damaged, or holds no tensor.

    Example:
        >>> import io
        >>> read(io.BytesIO(bytes([10, 100, 10, 1, 97])), name="a.ckpt")
        Traceback (most recent call last):
        eyeground.model.weights.WeightsRefused: is cut or damaged (Error parsing message...): fetch or copy it again

    References:
        mindspore/train/serialization.py, MindSpore 2.10.
    """
    file.seek(0)
    data, checksum = file.read(), b""
    if data[-_CHECKSUM_BYTES:].startswith(_CHECKSUM):
        data, checksum = data[:-_CHECKSUM_BYTES], data[-_CHECKSUM_BYTES + len(_CHECKSUM) :]
    if checksum and int.from_bytes(checksum, "big") != crc32(data):
        raise WeightsRefused("is damaged: its checksum is another; fetch or copy it again")
    message = parse(_MESSAGES["Checkpoint"], data)
    groups = [(tag, list(values)) for tag, values in groupby(message.value, key=lambda value: value.tag)]
    tags = {tag for tag, _ in groups}
    if len(tags) < len(groups):
        raise WeightsRefused("holds two tensors of one name: no framework writes that")
    found: dict[str, Stored] = {}
    aside: dict[str, list[str]] = {}
    for tag, values in groups:
        if reason := _aside(tag, values[0], tags):
            aside.setdefault(reason, []).append(tag[:100])
        else:
            found[tag] = _tensor(values)
    left_out = tuple(f"{_some(names)} ({reason})" for reason, names in aside.items())
    if not found:
        raise WeightsRefused(f"holds no tensor of a network; it holds: {'; '.join(left_out) or 'nothing'}")
    return Contents("mindspore", "", found, left_out)


def _aside(tag: str, value: Any, tags: set[str]) -> str:
    """Why a value belongs to no network; empty = it does."""
    if not value.HasField("tensor"):
        return "a table of keys and values"
    if value.tensor.tensor_type == "str":
        return "a text"
    moment = _MOMENTS.match(tag)
    if tag in _OPTIMIZER or (moment and tag[moment.end() :] in tags):
        return "optimizer state"
    # No layer of MindSpore has a parameter without dimensions; append_dict has (epoch, step, learning rate).
    return "" if value.tensor.dims else "a number"


def _some(names: list[str]) -> str:
    """The first names, and how many more there are."""
    more = len(names) - _MOST_TOLD
    return ", ".join(names[:_MOST_TOLD]) + (f" and {more:,} more" if more > 0 else "")


def _tensor(values: Sequence[Any]) -> Stored:
    """One tensor from its pieces."""
    first = values[0].tensor
    shape, kind = tuple(first.dims), str(first.tensor_type)
    if any((tuple(value.tensor.dims), value.tensor.tensor_type) != (shape, kind) for value in values):
        raise WeightsRefused(f"holds pieces of {values[0].tag[:100]} that do not fit together")
    return Stored(_KINDS.get(kind, kind[:40]), shape, partial(_join, values, shape))


def _join(values: Sequence[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    """Put the pieces of a tensor together."""
    data = b"".join(value.tensor.tensor_content for value in values)
    return from_bytes(_KINDS[values[0].tensor.tensor_type], shape, data)
