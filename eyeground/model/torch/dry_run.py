"""A training step without numbers: what it computes and what it holds, for any batch, in seconds and no memory."""

import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from timm.layers.drop import DropPath
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import TreeSpec, tree_flatten, tree_leaves
from torch.utils.flop_counter import flop_registry

from eyeground.model.torch.learner import Learner
from eyeground.model.torch.vit import SparingBlock

aten = torch.ops.aten
E = TypeVar("E")


@dataclass(frozen=True)
class Shape:
    """A tensor without its numbers.

    Args:
        size: Its shape.
        stride: How it lies in memory.
        dtype: Type of its numbers.

    Example:
        >>> Shape((2, 3), (3, 1), torch.float32).size
        (2, 3)

    References:
        Our own.
    """

    size: tuple[int, ...]
    stride: tuple[int, ...]
    dtype: torch.dtype


@dataclass(frozen=True)
class Call:
    """One operation of torch's, with all that is needed to do it again.

    Args:
        function: The operation.
        leaves: Its arguments in a row; tensors as ``Shape``.
        tree: How they are nested.
        dtype: Type of its first floating-point tensor.
        flops: Multiplications and additions of its matrix work.
        bytes: What it reads and writes; 0 where it only looks at memory in another way. Unit: bytes.

    Example:
        >>> from torch.utils._pytree import tree_flatten
        >>> shape = Shape((2,), (1,), torch.float32)
        >>> _, tree = tree_flatten(((shape,), {}))
        >>> Call(torch.ops.aten.neg.default, (shape,), tree, "float32", 0, 16).name
        'neg'

    References:
        Our own.
    """

    function: Any
    leaves: tuple[Any, ...]
    tree: TreeSpec
    dtype: str
    flops: int
    bytes: int

    @property
    def name(self) -> str:
        """What torch calls it, without its overload."""
        return str(self.function.overloadpacket.__name__)

    @property
    def key(self) -> str:
        """The same for calls that take the same time."""
        return f"{self.function} {self.leaves}"


@dataclass(frozen=True)
class Trace:
    """What a piece of work did.

    Args:
        calls: Its operations in order.
        held: Bytes of all tensors that were alive, each time that one was made. Unit: bytes.

    Example:
        >>> Trace((), (3, 5, 4)).peak_bytes
        5

    References:
        Our own.
    """

    calls: tuple[Call, ...]
    held: tuple[int, ...]

    @property
    def peak_bytes(self) -> int:
        """Most that was alive at once. Unit: bytes."""
        return max(self.held, default=0)


@dataclass(frozen=True)
class DryRun:
    """A network's training step and its answer, without numbers.

    Args:
        step: The second step of a run: the optimizer has its averages.
        answer: One batch answered in evaluation.
        state_bytes: What stays between steps: weights and the optimizer's averages. Unit: bytes.
        parameters: How many numbers the network has.
        learning: How many of them learn.

    Example:
        >>> DryRun(Trace((), (12,)), Trace((), (8,)), 12, 2, 1).step.peak_bytes
        12

    References:
        Our own.
    """

    step: Trace
    answer: Trace
    state_bytes: int
    parameters: int
    learning: int


def dry_run(
    build: Callable[[], E],
    step: Callable[[E], object],
    answer: Callable[[E], object],
    *,
    kept_share: float = 1.0,
    fused_attention: bool = False,
) -> DryRun:
    """Let an engine take its steps on tensors that have shapes and no numbers.

    It is the very code that trains, so that what is frozen, recomputed or cast is counted as it happens.

    Args:
        build: Makes the engine, on the processor.
        step: Takes one training step with it.
        answer: Asks it about one batch.
        kept_share: Share of the images that go through a branch which drop path may leave out, (0, 1].
        fused_attention: Attention in torch's fused form, as a GPU has it.

    Returns:
        What it did and held.

    Example:
        >>> from eyeground.model.optimization import Optimization
        >>> from eyeground.model.spec import ModelSpec
        >>> from eyeground.model.torch.engine import TorchEngine
        >>> images, targets = np.empty((2, 3, 32, 32), np.float32), np.eye(3, dtype=np.float32)[:2]
        >>> found = dry_run(
        ...     lambda: TorchEngine(ModelSpec("vit_demo_patch8", 3, image_px=32), optimization=Optimization(),
        ...                         device="cpu", precision="fp32"),
        ...     lambda engine: engine.train_step([(images, targets)], lr=1e-4, seed=0),
        ...     lambda engine: engine.outputs(images))
        >>> found.step.peak_bytes > found.state_bytes > 12 * 449_000
        True

    References:
        torch's FakeTensorMode and flop counter; a scalar that code looks at is 0.
    """
    tape = _Tape(kept_share)
    with FakeTensorMode(allow_non_fake_inputs=True), _NoArrays(), _staying(), tape:
        engine = build()
        learner = _learner(engine)
        _make_ready(learner.network, kept_share=kept_share, fused_attention=fused_attention)
        tape.answer = True
        step(engine)
        tape.rewind()
        state_bytes = tape.held_now
        step(engine)
        stepped = tape.rewind()
        answer(engine)
        answered = tape.rewind()
        told = learner.adapted.learning
    return DryRun(stepped, answered, state_bytes, told.parameters + told.frozen.parameters, told.parameters)


def _learner(engine: object) -> Learner:
    """What every engine of torch's has around its network."""
    found: Learner = engine._learner  # type: ignore[attr-defined]
    return found


def _make_ready(network: nn.Module, *, kept_share: float, fused_attention: bool) -> None:
    """Put in what hangs on numbers, and take back what a processor alone needs."""
    for module in network.modules():
        if fused_attention and hasattr(module, "fused_attn"):
            module.fused_attn = True  # type: ignore[assignment]
        if kept_share < 1 and isinstance(module, SparingBlock):
            module.drop_path1, module.drop_path2 = DropPath(1 - kept_share), DropPath(1 - kept_share)


class _NoArrays(TorchFunctionMode):
    """Numbers that leave torch are zeros."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.Tensor.numpy:
            return np.zeros(tuple(args[0].shape), np.float32)
        return func(*args, **(kwargs or {}))


@contextmanager
def _staying() -> Iterator[None]:
    """Leave modules where they are: there is nothing to move, and torch cannot move what has no numbers."""
    move = nn.Module._apply
    nn.Module._apply = lambda self, fn, recurse=True: self  # type: ignore[method-assign]
    try:
        yield
    finally:
        nn.Module._apply = move  # type: ignore[method-assign]


class _Tape(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Writes down every operation, and what is alive."""

    def __init__(self, kept_share: float) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._share, self._due = kept_share, 0.0
        self._calls: list[Call] = []
        self._held: list[int] = []
        self._known: weakref.WeakKeyDictionary[Any, int] = weakref.WeakKeyDictionary()
        self.held_now = 0
        self.answer = (
            False  # to what code asks of numbers: first that nothing needs drawing again, then that all is well
        )

    def rewind(self) -> Trace:
        """Give what was written down, and begin anew."""
        trace = Trace(tuple(self._calls), tuple(self._held))
        self._calls, self._held = [], [self.held_now]
        return trace

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is torch.ops.prim.device.default:
            return func(*args, **kwargs)
        if func is aten._local_scalar_dense.default:
            return self.answer and args[0].dtype == torch.bool
        if func is aten.nonzero.default:  # which images a branch keeps
            return args[0].new_zeros((self._kept(args[0].numel()), args[0].ndim), dtype=torch.int64)
        if func is aten.index.Tensor:  # which labels are known
            args = (args[0], [each for index in args[1] for each in _all_of(index)])
        if func.overloadpacket not in flop_registry and not func.is_view:
            with self:
                parts = func.decompose(*args, **kwargs)
            if parts is not NotImplemented:
                return parts
        before = {id(storage) for storage in _storages((args, kwargs))}
        leaves, tree = tree_flatten((args, kwargs))
        shapes = tuple(_shape(leaf) if isinstance(leaf, torch.Tensor) else leaf for leaf in leaves)
        made = func(*args, **kwargs)
        fresh = any(id(storage) not in before for storage in _storages(made)) or func._schema.is_mutable
        tensors = [leaf for leaf in (*leaves, *tree_leaves(made)) if isinstance(leaf, torch.Tensor)]
        if tensors:
            size = sum(_bytes(tensor) for tensor in tensors) if fresh and not func.is_view else 0
            dtype = next((str(tensor.dtype) for tensor in tensors if tensor.is_floating_point()), "")
            self._calls.append(
                Call(func, shapes, tree, dtype.removeprefix("torch."), _flops(func, args, kwargs, made), size)
            )
        for storage in _storages(made):
            self._hold(storage)
        return made

    def _hold(self, storage: Any) -> None:
        """Count a tensor's memory until it is let go."""
        if storage not in self._known:
            size = self._known[storage] = int(storage.nbytes())
            self.held_now += size
            self._held.append(self.held_now)
            weakref.finalize(storage, self._release, size).atexit = False

    def _release(self, size: int) -> None:
        self.held_now -= size

    def _kept(self, images: int) -> int:
        """How many images a branch sees; over many branches, their share."""
        if self._share == 1 or images < 2:
            return images
        self._due += images * self._share
        kept = min(images - 1, max(1, round(self._due)))  # all or none would be computed another way
        self._due = min(self._due - kept, 1.0)
        return kept


def _all_of(index: torch.Tensor | None) -> list[torch.Tensor | None]:
    """A mask that lets everything through, as torch takes it apart."""
    if index is None or index.dtype != torch.bool:
        return [index]
    return [index.new_zeros(index.numel(), dtype=torch.int64)] * index.ndim


def _flops(func: Any, args: Any, kwargs: Any, made: Any) -> int:
    """Operations of matrix work."""
    if func is aten.convolution_backward.default:
        # torch's own count knows no groups here. Input and weights each cost what the way forth cost.
        gradient, weight, asked = args[0], args[2], args[10]
        return int(2 * gradient.numel() * (weight.numel() // weight.shape[0]) * (int(asked[0]) + int(asked[1])))
    count = flop_registry.get(func.overloadpacket)
    return int(count(*args, **kwargs, out_val=made)) if count else 0


def _storages(nested: Any) -> list[Any]:
    """The memory behind all tensors."""
    return [leaf.untyped_storage() for leaf in tree_leaves(nested) if isinstance(leaf, torch.Tensor)]


def _bytes(tensor: torch.Tensor) -> int:
    """What of its memory a tensor shows."""
    return int(min(tensor.numel() * tensor.element_size(), tensor.untyped_storage().nbytes()))


def _shape(tensor: torch.Tensor) -> Shape:
    """Forget the numbers."""
    return Shape(tuple(tensor.shape), tuple(tensor.stride()), tensor.dtype)
