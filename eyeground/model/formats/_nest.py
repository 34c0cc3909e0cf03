"""Where in an unpickled file the network's tensors lie."""

from collections.abc import Callable
from typing import Any, BinaryIO

from eyeground.model.formats._stand_ins import Array, Inert, Tensor
from eyeground.model.formats._stored import Stored
from eyeground.model.weights import WeightsRefused

# In the order of preference. An averaged copy (model_ema) is another network and is never taken for this one.
_NESTS = ("model", "teacher", "state_dict", "model_state_dict", "module", "net", "params")
_DEEPEST = 3
_MOST_TOLD = 40


def find_tensors(
    top: Any, take: Callable[[Any], Stored | None], *, silent: frozenset[str] = frozenset()
) -> tuple[str, dict[str, Stored], tuple[str, ...]]:
    """Find the table that holds the network: the top, or what lies under one of the usual names.

    Args:
        top: What the file holds.
        take: Gives the tensor that a value is, None if it is none.
        silent: Names at any level that mean nothing.

    Returns:
        Where the table lies, such as ``"model"``, empty = at the top; its tensors; what else the file holds, in words.

    Raises:
        WeightsRefused: If there is no such table.

    Example:
        >>> one = Stored("U8", (), lambda: 0)
        >>> nest, tensors, left_out = find_tensors({"model": {"a": one}, "epoch": 799, "optimizer": {}}, lambda v: v)
        >>> nest, list(tensors), left_out
        ('model', ['a'], ('epoch (799)', 'optimizer (an empty table)'))

    References:
        Where MAE, DINOv2, timm, Lightning and Paddle put a network's weights.
    """
    table, path = top, list[str]()
    left_out: list[str] = []
    while isinstance(table, dict) and len(path) <= _DEEPEST:
        nest = next((name for name in _NESTS if _holds_tensors(table.get(name), take)), None)
        if nest is None:
            break
        left_out += [_words(path, key, value) for key, value in table.items() if key != nest and key not in silent]
        path.append(nest)
        table = table[nest]
    if not isinstance(table, dict):
        raise WeightsRefused(f"holds {_kind(table)}, no table of tensors")
    found = {}
    for key, value in table.items():
        tensor = take(value)
        if tensor is None or not isinstance(key, str):
            if key not in silent:
                left_out.append(_words(path, key, value))
        else:
            found[key] = tensor
    if not found:
        raise WeightsRefused(
            f"holds no table of tensors at its top or under {', '.join(_NESTS)}; it holds: "
            f"{', '.join(left_out[:8]) or 'nothing'}"
        )
    more = len(left_out) - _MOST_TOLD
    return ".".join(path), found, (*left_out[:_MOST_TOLD], *([f"{more} things more"] if more > 0 else []))


def take_tensor(file: BinaryIO) -> Callable[[Any], Stored | None]:
    """Take torch's tensors, and numpy's arrays beside them.

    Args:
        file: What the tensors lie in.

    Returns:
        What ``find_tensors`` asks for.

    Example:
        >>> import io
        >>> take_tensor(io.BytesIO())(3) is None
        True

    References:
        Our own.
    """

    def take(value: Any) -> Stored | None:
        if isinstance(value, Tensor):
            return value.stored(file)
        return value.stored(bfloat16=False) if isinstance(value, Array) else None

    return take


def _holds_tensors(value: Any, take: Callable[[Any], Stored | None]) -> bool:
    """Whether a value is a table of tensors, or of another one."""
    if not isinstance(value, dict):
        return False
    return any(take(each) is not None for each in value.values()) or any(isinstance(value.get(n), dict) for n in _NESTS)


def _words(path: list[str], key: Any, value: Any) -> str:
    """Say what is left out."""
    return f"{'.'.join([*path, str(key)[:100]])} ({_kind(value)})"


def _kind(value: Any) -> str:
    """Say what a value is; it is not ours, so little of it is shown."""
    match value:
        case dict() | list() | tuple() | set():
            noun = "table" if isinstance(value, dict) else "list"
            return f"a {noun} of {len(value):,}" if value else f"an empty {noun}"
        case Tensor():
            return f"a tensor of the shape {value.size}"[:80]
        case Array():
            return f"an array of the shape {value.shape}"[:80] if value.shape else "a number"
        case Inert():
            return f"{value.what}, thrown away"
        case str() | bool() | float() | None:
            return repr(value)[:80]
        case int():
            return repr(value) if abs(value) < 10**18 else "a huge number"
        case _:
            return "something else"
