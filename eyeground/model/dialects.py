"""How each framework writes a vision transformer's weights down, against timm's names and torch's layouts."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eyeground.model.optimization import Framework
from eyeground.model.weights import Tensors


@dataclass(frozen=True)
class Dialect:
    """A framework's way of writing weights.

    Args:
        renames: Pattern of a canonical name, what it is here, and the way back: pattern and replacement.
        transposed: Which canonical names are stored transposed.
        layer_norm_eps: What a LayerNorm adds to the variance if nobody says otherwise.
        gelu: What GELU is if nobody says otherwise.
        conv_has_bias: Whether a convolution has a bias if nobody says otherwise.

    Example:
        >>> DIALECTS["mindspore"].gelu
        'tanh'

    References:
        Defaults as measured with torch 2.12, Paddle 3.3.1 and MindSpore 2.10.0 (tests/model/test_dialects.py).
    """

    renames: tuple[tuple[str, str, str, str], ...] = ()
    transposed: Callable[[str, int], bool] = lambda name, dimensions: False
    layer_norm_eps: float = 1e-5
    gelu: str = "erf"
    conv_has_bias: bool = True


_NORM = r"((?:^|.*\.)(?:norm\d?|fc_norm))"

DIALECTS: Mapping[Framework, Dialect] = MappingProxyType(
    {
        "torch": Dialect(),
        # Every matrix of a ViT is a Linear's; Paddle keeps it as (in, out).
        "paddle": Dialect(transposed=lambda name, dimensions: name.endswith(".weight") and dimensions == 2),
        "mindspore": Dialect(
            renames=(
                (rf"^{_NORM}\.weight$", r"\1.gamma", rf"^{_NORM}\.gamma$", r"\1.weight"),
                (rf"^{_NORM}\.bias$", r"\1.beta", rf"^{_NORM}\.beta$", r"\1.bias"),
            ),
            layer_norm_eps=1e-7,
            gelu="tanh",
            conv_has_bias=False,
        ),
    }
)


def name_in(framework: Framework, canonical: str) -> str:
    """Give a parameter's name as a framework writes it.

    Args:
        framework: Whose names.
        canonical: timm's name.

    Returns:
        The framework's name.

    Example:
        >>> name_in("mindspore", "blocks.0.norm1.bias")
        'blocks.0.norm1.beta'

    References:
        Our own.
    """
    for pattern, replacement, _, _ in DIALECTS[framework].renames:
        canonical = re.sub(pattern, replacement, canonical)
    return canonical


def to_framework(framework: Framework, tensors: Mapping[str, NDArray[Any]]) -> Tensors:
    """Bring canonical weights to a framework's names and layouts; no number changes.

    Args:
        framework: Whose.
        tensors: Arrays by canonical name, in torch's layouts.

    Returns:
        Arrays by the framework's names, in its layouts.

    Example:
        >>> {k: v.shape for k, v in to_framework("paddle", {"head.weight": np.zeros((5, 8))}).items()}
        {'head.weight': (8, 5)}

    References:
        Our own.
    """
    dialect = DIALECTS[framework]
    return {
        name_in(framework, name): np.ascontiguousarray(array.T) if dialect.transposed(name, array.ndim) else array
        for name, array in tensors.items()
    }


def from_framework(framework: Framework, tensors: Mapping[str, NDArray[Any]]) -> Tensors:
    """Bring a framework's weights to canonical names and torch's layouts; the way back of ``to_framework``.

    Args:
        framework: Whose.
        tensors: Arrays by the framework's names, in its layouts.

    Returns:
        Arrays by canonical name.

    Example:
        >>> weights = {"norm.weight": np.ones(3), "head.weight": np.eye(3)[:2]}
        >>> back = from_framework("mindspore", to_framework("mindspore", weights))
        >>> all((back[name] == array).all() for name, array in weights.items())
        True

    References:
        Our own.
    """
    dialect = DIALECTS[framework]
    found: Tensors = {}
    for name, array in tensors.items():
        for _, _, pattern, replacement in dialect.renames:
            name = re.sub(pattern, replacement, name)
        found[name] = np.ascontiguousarray(array.T) if dialect.transposed(name, array.ndim) else array
    return found


def misfits(tensors: Mapping[str, NDArray[Any]], shapes: Mapping[str, Sequence[int]]) -> list[str]:
    """Say what keeps weights from being a network's.

    Args:
        tensors: Arrays by name.
        shapes: Shape of each of the network's parameters, by the same kind of name.

    Returns:
        Names that are missing, unknown, or have another shape, in words; empty where they fit.

    Example:
        >>> misfits({"a": np.zeros(2), "c": np.zeros(1)}, {"a": (3,), "b": (1,)})
        ['b is missing', 'c is unknown', 'a has shape (2,), the network (3,)']

    References:
        Our own.
    """
    wrong = [f"{name} is missing" for name in shapes if name not in tensors]
    wrong += [f"{name} is unknown" for name in tensors if name not in shapes]
    return wrong + [
        f"{name} has shape {tensors[name].shape}, the network {tuple(shape)}"
        for name, shape in shapes.items()
        if name in tensors and tensors[name].shape != tuple(shape)
    ]
