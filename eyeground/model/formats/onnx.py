"""ONNX: the initializers of a graph, under the names and in the layout that the network had before its export."""

from collections.abc import Iterator
from functools import partial
from math import prod
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from eyeground.model.formats._protobuf import message_classes, parse
from eyeground.model.formats._stored import Contents, Stored, from_bytes, raw_type
from eyeground.model.weights import WeightsRefused

_MESSAGES = message_classes(
    "eyeground.onnx",
    {
        "Model": {"graph": (7, "Graph")},
        "Graph": {
            "node": (1, "repeated Node"),
            "initializer": (5, "repeated Tensor"),
            "sparse": (15, "repeated bytes"),
        },
        "Node": {"input": (1, "repeated string"), "output": (2, "repeated string"), "op_type": (4, "string")},
        "Tensor": {
            "dims": (1, "repeated int64"),
            "data_type": (2, "int32"),
            "float_data": (4, "repeated float"),
            "int32_data": (5, "repeated int32"),
            "int64_data": (7, "repeated int64"),
            "name": (8, "string"),
            "raw_data": (9, "bytes"),
            "double_data": (10, "repeated double"),
            "data_location": (14, "int32"),
        },
    },
)
_KINDS = {1: "F32", 2: "U8", 6: "I32", 7: "I64", 9: "BOOL", 10: "F16", 11: "F64", 16: "BF16"}
# Where numbers lie that are not in raw_data; a half is a 32-bit number whose lower part counts.
_FIELDS = {"F32": "float_data", "F64": "double_data", "I64": "int64_data"}
_EXTERNAL = 1
_ANONYMOUS = "onnx::"


def claims(head: bytes) -> bool:
    """Tell whether a file begins with an ONNX version and what may follow it.

    Args:
        head: Its first bytes.

    Returns:
        True if it does.

    Example:
        >>> claims(bytes([8, 9, 18, 7]) + b"pytorch")
        True

    References:
        onnx.proto, ONNX 1.19: ir_version is field 1 of a model, 2 to 8 and 14 follow.
    """
    follows = {number << 3 | 2 for number in (2, 3, 4, 6, 7, 8, 14)} | {5 << 3}
    return len(head) > 2 and head[0] == 1 << 3 and 1 <= head[1] < 64 and head[2] in follows


def read(file: BinaryIO, *, name: str) -> Contents:
    """Find the initializers.

    An exporter may transpose a linear layer's matrix, take its name away, or keep one of several equal tensors. All
    three are undone where the graph tells: a matrix is called after the bias that is added to its product.

    Args:
        file: The file.
        name: Its name, which says nothing here.

    Returns:
        The tensors.

    Raises:
        WeightsRefused: If the file is cut or damaged, holds no tensor, or keeps its numbers in a second file.

    Example:
        >>> import io
        >>> read(io.BytesIO(bytes([8, 9])), name="a.onnx")
        Traceback (most recent call last):
        eyeground.model.weights.WeightsRefused: holds no initializer

    References:
        onnx.proto, ONNX 1.19; torch.onnx of PyTorch 2.12 names and transposes so.
    """
    file.seek(0)
    graph = parse(_MESSAGES["Model"], file.read()).graph
    if graph.sparse:
        raise WeightsRefused("holds sparse tensors, which are not read here")
    if any(each.data_location == _EXTERNAL for each in graph.initializer):
        raise WeightsRefused("keeps its numbers in a second file: save it as one, with save_as_external_data=False")
    tensors: dict[str, Any] = {}
    for each in graph.initializer:
        if each.name in tensors:
            raise WeightsRefused("holds two tensors of one name")
        tensors[each.name] = each
    if not tensors:
        raise WeightsRefused("holds no initializer")
    found = {key: _stored(each) for key, each in tensors.items() if not key.startswith(_ANONYMOUS)}
    aliases = {
        node.output[0]: node.input[0]
        for node in graph.node
        if node.op_type == "Identity" and len(node.input) == len(node.output) == 1 and node.input[0] in tensors
    }
    found |= {alias: _stored(tensors[key]) for alias, key in aliases.items() if not alias.startswith(_ANONYMOUS)}
    named = set()
    for key, bias in _matrices(graph, set(tensors) | set(aliases)):
        original = tensors[aliases.get(key, key)]
        weight = f"{bias.removesuffix('.bias')}.weight"
        if key.startswith(_ANONYMOUS) and weight not in found and len(original.dims) == 2:
            found[weight] = _stored(original, transposed=True)
            named.add(aliases.get(key, key))
    found |= {key: _stored(each) for key, each in tensors.items() if key.startswith(_ANONYMOUS) and key not in named}
    return Contents("onnx", "", found, (f"a graph of {len(graph.node):,} nodes",) if graph.node else ())


def _matrices(graph: Any, known: set[str]) -> Iterator[tuple[str, str]]:
    """Each known matrix that something is multiplied by, and the known bias that is added to the product."""
    products = {
        node.output[0]: node.input[1]
        for node in graph.node
        if node.op_type == "MatMul" and len(node.input) == 2 and node.output and node.input[1] in known
    }
    for node in graph.node:
        if node.op_type != "Add" or len(node.input) != 2:
            continue
        for product, bias in (tuple(node.input), tuple(node.input)[::-1]):
            if product in products and bias in known and bias.endswith(".bias"):
                yield products[product], bias


def _stored(tensor: Any, *, transposed: bool = False) -> Stored:
    """An initializer."""
    kind = _KINDS.get(tensor.data_type, f"ONNX type {tensor.data_type}")
    shape = tuple(tensor.dims)
    return Stored(kind, shape[::-1] if transposed else shape, partial(_numbers, tensor, kind, shape, transposed))


def _numbers(tensor: Any, kind: str, shape: tuple[int, ...], transposed: bool) -> NDArray[Any]:
    """Its numbers, wherever they lie."""
    if tensor.raw_data:
        raw = from_bytes(kind, shape, tensor.raw_data)
    else:
        listed = getattr(tensor, _FIELDS.get(kind, "int32_data"))
        if len(listed) != prod(shape):
            raise WeightsRefused(f"holds {tensor.name[:100]} with {len(listed):,} numbers for the shape {shape}")
        raw = np.array(listed, dtype="<i8" if kind in ("F16", "BF16", "BOOL", "U8") else raw_type(kind))
        if kind in ("F16", "BF16"):
            raw = raw.astype("<u2").view(raw_type(kind))
        raw = raw.astype(raw_type(kind)).reshape(shape)
    return np.ascontiguousarray(raw.T) if transposed else raw
