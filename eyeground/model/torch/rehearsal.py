"""How long the operations of a step take here: each different one is done alone, a few times, with made-up numbers."""

import math
import statistics
import time
from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate
from typing import Any

import torch
from torch.utils._pytree import tree_map_only, tree_unflatten

from eyeground.model.torch.allocator import keep_freed_memory
from eyeground.model.torch.dry_run import Call, Shape

# Of an operation over many tensors, such as the optimizer's, so much is done; the rest takes as long by the byte.
_MOST_BYTES = 512 * 2**20
_ROUNDS = 3


def rehearse(calls: Sequence[Call]) -> list[float]:
    """Time operations on this machine's processor, each different one in its turn, a few rounds of all.

    In turn, not one again and again: between two times of an operation the others' numbers go through the caches, as
    they do in a step.

    Args:
        calls: As a dry run gives them.

    Returns:
        How long each takes. Unit: s.

    Example:
        >>> rehearse([])
        []

    References:
        Our own: a processor's rate hangs on the shapes, so that a peak rate says little.
    """
    keep_freed_memory()
    distinct = {call.key: _ready(call) for call in calls if call.bytes}
    took: dict[str, list[float]] = {key: [] for key in distinct}
    with torch.no_grad():
        for _ in range(1 + _ROUNDS):
            for key, (function, args, kwargs, _) in distinct.items():
                took[key].append(_once(function, args, kwargs))
    free = _of_a_view()
    return [statistics.median(took[call.key][1:]) / distinct[call.key][3] if call.bytes else free for call in calls]


def operand_bytes(calls: Sequence[Call]) -> int:
    """Say what a rehearsal needs to hold.

    Args:
        calls: As a dry run gives them.

    Returns:
        Bytes of the operands of all different operations.

    Example:
        >>> operand_bytes([])
        0

    References:
        Our own.
    """
    distinct = {call.key: call for call in calls if call.bytes}
    return sum(
        min(_MOST_BYTES, sum(_bytes(leaf) for leaf in call.leaves if isinstance(leaf, Shape)))
        for call in distinct.values()
    )


def _of_a_view() -> float:
    """What an operation takes that moves nothing."""
    tensor = torch.zeros(4, 4)
    return min(_once(torch.ops.aten.view.default, (tensor, [16]), {}) for _ in range(20))


def _ready(call: Call) -> tuple[Any, Any, Any, float]:
    """An operation with its operands, and which share of it is done."""
    given, share = _cut(tree_unflatten(list(call.leaves), call.tree))
    if "batch_norm" in call.name:  # without numbers torch says bf16 of statistics that a processor keeps in fp32
        given = tree_map_only(Shape, _statistics_in_fp32, given)
    args, kwargs = tree_map_only(Shape, _drawn, given)
    return call.function, args, kwargs, share


def _once(function: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> float:
    """Do it, and say how long it took. Unit: s."""
    begun = time.perf_counter()
    function(*args, **kwargs)
    return time.perf_counter() - begun


def _cut(given: Any) -> tuple[Any, float]:
    """Leave tensors out where an operation is over a great many, and say which share of the bytes is left."""
    lists = [each for each in given[0] if isinstance(each, list) and each and isinstance(each[0], Shape)]
    sizes = [_bytes(shape) * len(lists) for shape in lists[0]] if lists else []
    sums = list(accumulate(sizes))
    if not sums or sums[-1] <= _MOST_BYTES:
        return given, 1.0
    kept = max(1, sum(each <= _MOST_BYTES for each in sums))
    args = [each[:kept] if isinstance(each, list) and len(each) == len(sizes) else each for each in given[0]]
    return (args, given[1]), sums[kept - 1] / sums[-1]


def _statistics_in_fp32(shape: Shape) -> Shape:
    """What a batch norm knows of each channel."""
    return replace(shape, dtype=torch.float32) if len(shape.size) == 1 else shape


def _bytes(shape: Shape) -> int:
    """How large a tensor is."""
    return math.prod(shape.size) * shape.dtype.itemsize


def _drawn(shape: Shape) -> torch.Tensor:
    """A tensor of that shape, every page of it written: fresh zeros would be one page read again and again."""
    tensor = torch.empty_strided(shape.size, shape.stride, dtype=shape.dtype)
    return tensor.fill_(0.5 if shape.dtype.is_floating_point else shape.dtype == torch.bool)
