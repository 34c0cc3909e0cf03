"""What an engine's steps cost: two dry runs give the lines between them, a rehearsal the times of this machine."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from eyeground.model.cost import Line, Operation, StepCost
from eyeground.model.optimization import Optimization
from eyeground.model.spec import ModelSpec
from eyeground.model.torch.dry_run import DryRun, Trace, dry_run
from eyeground.model.torch.engine import TorchEngine
from eyeground.model.torch.rehearsal import operand_bytes, rehearse

_MOST_OPERANDS_BYTES = 3 * 2**30


@dataclass(frozen=True)
class Work:
    """An engine, and what is asked of it.

    Args:
        build: Makes it, on the processor.
        step: Takes a training step of so many micro-batches of so many images with it.
        answer: Asks it about a batch of so many images.

    Example:
        >>> Work(dict, lambda engine, images, passes: None, lambda engine, images: images).answer({}, 2)
        2

    References:
        Our own.
    """

    build: Callable[[], Any]
    step: Callable[[Any, int, int], object]
    answer: Callable[[Any, int], object]


@dataclass(frozen=True)
class Costs:
    """What an engine's work costs for any batch.

    Args:
        parameters: How many numbers the network has.
        learning: How many of them learn.
        step: A training step.
        answer: A batch in evaluation.

    Example:
        >>> nothing = StepCost((), 1, (), 0)
        >>> Costs(10, 2, nothing, nothing).learning
        2

    References:
        Our own.
    """

    parameters: int
    learning: int
    step: StepCost
    answer: StepCost


def awaken() -> None:
    """Let torch load what it loads only with a first step, so that a process's size says what it is without a network.

    Example:
        >>> awaken()

    References:
        Our own.
    """
    engine = TorchEngine(ModelSpec("vit_demo_patch8", 2, image_px=8), optimization=Optimization(), device="cpu")
    engine.train_step([(np.zeros((1, 3, 8, 8), np.float32), np.eye(2, dtype=np.float32)[:1])], lr=1e-4, seed=0)


def costs_of(
    work: Work, *, images: int, passes: int, here: bool, kept_share: float = 1.0, fused_attention: bool = False
) -> Costs:
    """Count what an engine does and holds, for any batch.

    Args:
        work: The engine, and what is asked of it.
        images: Size of the micro-batch that is counted, at least 2; the lines go through it and twice as many. Fewer
            where their rehearsal would need too much memory. Unit: images.
        passes: Micro-batches of the step that is counted: 1, or 2 where there are several.
        here: Rehearse the operations on this machine's processor.
        kept_share: As ``dry_run`` takes it.
        fused_attention: As ``dry_run`` takes it.

    Returns:
        The costs.

    Raises:
        ValueError: If the network does other operations for another batch, or cannot be built.

    Example:
        >>> from eyeground.model.spec import MaeSpec
        >>> from eyeground.model.torch.pretraining import MaeEngine
        >>> def some(images):
        ...     return np.empty((images, 3, 32, 32), np.float32)
        >>> work = Work(
        ...     lambda: MaeEngine(MaeSpec("vit_demo_patch8", image_px=32), optimization=Optimization(),
        ...                       device="cpu", precision="fp32"),
        ...     lambda engine, images, passes: engine.train_step([(some(images),)] * passes, lr=1e-4, seed=0),
        ...     lambda engine, images: engine.features(some(images)))
        >>> costs = costs_of(work, images=2, passes=1, here=False)
        >>> costs.step.memory_bytes(8) > costs.step.memory_bytes(4) > costs.step.state_bytes
        True

    References:
        docs/scale.md.
    """

    def run(count: int) -> DryRun:
        return dry_run(
            work.build,
            lambda engine: work.step(engine, count, passes),
            lambda engine: work.answer(engine, count),
            kept_share=kept_share,
            fused_attention=fused_attention,
        )

    few = run(images)
    # Of four images drop path leaves several in a branch; of one alone torch would leave steps out.
    least = 4 if kept_share < 1 else 2
    while here and images > least and operand_bytes(few.step.calls) > _MOST_OPERANDS_BYTES:
        images = max(least, (images + 1) // 2)
        few = run(images)
    many = run(2 * images)
    return Costs(
        few.parameters,
        few.learning,
        _joined(few.step, many.step, images, passes=passes, state_bytes=few.state_bytes, here=here),
        _joined(few.answer, many.answer, images, passes=1, state_bytes=few.state_bytes, here=here),
    )


def _joined(few: Trace, many: Trace, images: int, *, passes: int, state_bytes: int, here: bool) -> StepCost:
    """Lay lines through what a batch and one of twice the size did."""
    if [call.name for call in few.calls] != [call.name for call in many.calls]:
        raise ValueError("this network does other operations for another batch: what it costs cannot be planned")

    def line(one: float, two: float) -> Line:
        return Line.through(images, one, 2 * images, two)

    took = rehearse(few.calls) if here else [math.nan] * len(few.calls)
    operations = []
    for call, again, seconds in zip(few.calls, many.calls, took, strict=True):
        grows = again.bytes > call.bytes
        operations.append(
            Operation(
                call.name,
                call.dtype,
                line(call.flops, again.flops),
                line(call.bytes, again.bytes),
                Line(0.0, seconds / images) if grows else Line(seconds, 0.0),
            )
        )
    moments = zip(few.held, many.held, strict=True)
    held = dict.fromkeys(line(one, two) for one, two in moments)
    return StepCost(tuple(operations), passes, tuple(held), state_bytes)
