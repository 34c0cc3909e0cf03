"""What a training step costs for any batch: memory, matrix work, traffic, and the time they take on a device (pure)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from eyeground.model.devices import Gpu


@dataclass(frozen=True)
class Line:
    """A quantity that grows with the batch: a part that is always there, and a part for each image.

    Args:
        fixed: Part that every batch has.
        per_image: Part that each image adds.

    Example:
        >>> Line.through(2, 10.0, 4, 14.0)
        Line(fixed=6.0, per_image=2.0)

    References:
        Our own.
    """

    fixed: float
    per_image: float

    @classmethod
    def through(cls, few: int, at_few: float, many: int, at_many: float) -> "Line":
        """Lay the line through two batches.

        Args:
            few: Images of the smaller batch.
            at_few: The quantity there.
            many: Images of the larger batch.
            at_many: The quantity there.

        Returns:
            The line.
        """
        slope = (at_many - at_few) / (many - few)
        return cls(at_few - few * slope, slope)

    def at(self, images: float) -> float:
        """The quantity for a batch.

        Args:
            images: Its size.

        Returns:
            Fixed part and the images' together.
        """
        return self.fixed + self.per_image * images


@dataclass(frozen=True)
class Operation:
    """One operation of a step.

    Args:
        name: What torch calls it.
        dtype: Type of its numbers, as torch writes it.
        flops: Matrix work.
        traffic: What it reads and writes. Unit: bytes.
        seconds: What it took here; NaN = not rehearsed. Unit: s.

    Example:
        >>> Operation("_fused_adamw_", "float32", Line(0, 0), Line(28e6, 0)).once
        True

    References:
        Our own.
    """

    name: str
    dtype: str
    flops: Line
    traffic: Line
    seconds: Line = Line(math.nan, 0.0)

    @property
    def once(self) -> bool:
        """Whether it is done once a step, however many micro-batches that has."""
        return self.name in _OF_THE_OPTIMIZER

    def seconds_on(self, gpu: Gpu, images: float) -> float:
        """The time on a GPU: the longer of computing and moving, and no less than a launch.

        Args:
            gpu: Which.
            images: Size of the batch.

        Returns:
            Seconds; 0 for what only looks at memory in another way.
        """
        moved = max(0.0, self.traffic.at(images))
        if not moved:
            return 0.0
        computed = max(0.0, self.flops.at(images)) / gpu.flops_per_s(self.dtype)
        return max(computed, moved / gpu.bytes_per_s, gpu.launch_s)


_OF_THE_OPTIMIZER = {"_fused_adamw_", "_foreach_add_", "_foreach_norm", "linalg_vector_norm", "_foreach_mul_"}


@dataclass(frozen=True)
class StepCost:
    """A training step of any batch.

    Args:
        operations: In order.
        passes: Micro-batches that they are of.
        held: What is alive at each moment. Unit: bytes.
        state_bytes: Weights and the optimizer's averages. Unit: bytes.

    Example:
        >>> step = StepCost((), 1, (Line(100, 10), Line(150, 5)), state_bytes=90)
        >>> step.memory_bytes(4), step.memory_bytes(20), step.most_images(400)
        (170, 300, 30)

    References:
        docs/scale.md for the formulas in symbols.
    """

    operations: tuple[Operation, ...]
    passes: int
    held: tuple[Line, ...]
    state_bytes: float

    def flops(self, images: int, *, accumulation: int = 1) -> float:
        """Matrix work of a step.

        Args:
            images: Size of a micro-batch.
            accumulation: Micro-batches of a step.

        Returns:
            Floating-point operations.
        """
        return self._sum([each.flops.at(images) for each in self.operations], accumulation)

    def memory_bytes(self, images: int) -> float:
        """Most that is alive at once: the highest of the lines.

        Args:
            images: Size of a micro-batch.

        Returns:
            Bytes.
        """
        return max((line.at(images) for line in self.held), default=0.0)

    def most_images(self, limit_bytes: float) -> int:
        """The largest micro-batch that stays below a limit.

        Args:
            limit_bytes: What there is. Unit: bytes.

        Returns:
            Images; 0 where not even one fits.
        """
        rooms = [math.floor((limit_bytes - line.fixed) / line.per_image) for line in self.held if line.per_image > 0]
        full = any(line.fixed > limit_bytes for line in self.held if line.per_image <= 0)
        return 0 if full else max(0, min(rooms, default=0))

    def seconds_on(self, gpu: Gpu, images: int, *, accumulation: int = 1) -> float:
        """The time of a step on one GPU, by the roofline of each operation.

        Args:
            gpu: Which.
            images: Size of a micro-batch.
            accumulation: Micro-batches of a step.

        Returns:
            Seconds.
        """
        return self._sum([each.seconds_on(gpu, images) for each in self.operations], accumulation)

    def seconds_here(self, images: int, *, accumulation: int = 1) -> float:
        """The time of a step on this machine, by what each operation took.

        Args:
            images: Size of a micro-batch.
            accumulation: Micro-batches of a step.

        Returns:
            Seconds; NaN where nothing was rehearsed.
        """
        return self._sum([each.seconds.at(images) for each in self.operations], accumulation)

    def _sum(self, each: Sequence[float], accumulation: int) -> float:
        """Add up, the optimizer's part once and the rest for every micro-batch."""
        once = math.fsum(value for value, of in zip(each, self.operations, strict=True) if of.once)
        return once + (math.fsum(each) - once) * accumulation / self.passes


def shared(gradient_bytes: float, devices: int, gpu: Gpu) -> float:
    """The time in which devices add up their gradients in a ring.

    Args:
        gradient_bytes: Of all parameters that learn. Unit: bytes.
        devices: How many.
        gpu: Which.

    Returns:
        Seconds; it goes on beside the backward pass.

    Example:
        >>> from eyeground.model.devices import gpus
        >>> shared(1e9, 1, gpus()["A100-80"])
        0.0

    References:
        Patarasuk & Yuan, "Bandwidth optimal all-reduce algorithms for clusters of workstations", JPDC 2009.
    """
    return 2 * (devices - 1) / devices * gradient_bytes / gpu.link_bytes_per_s
