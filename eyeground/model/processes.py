"""The processes that train one network together: what they ask of each other, and one that works alone."""

import os
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Final, Literal, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

T = TypeVar("T")
Strategy = Literal["auto", "ddp", "fsdp"]


class ProcessLost(RuntimeError):
    """A process of the run has ended or answers no more; the others cannot go on."""


class ProcessFailed(RuntimeError):
    """Another process of the run could not do what this one did; the message is its own."""


@dataclass(frozen=True)
class Started:
    """How this process was started beside others.

    Args:
        by: ``"torchrun"``, or ``"slurm"`` for srun.
        rank: Which one it is, from 0.
        local_rank: Which one of its machine, from 0.
        world: How many there are.
        nodes: Machines that they are spread over.

    Example:
        >>> Started("torchrun", rank=1, local_rank=1, world=2, nodes=1).words
        'process 2 of 2'

    References:
        torchrun's and srun's environment variables.
    """

    by: Literal["torchrun", "slurm"]
    rank: int
    local_rank: int
    world: int
    nodes: int

    @property
    def words(self) -> str:
        """Which one it is, for people."""
        return f"process {self.rank + 1} of {self.world}"

    @property
    def neighbors(self) -> int:
        """How many there are on each machine, this one counted."""
        return max(1, self.world // max(1, self.nodes))


def started() -> Started | None:
    """Find out whether torchrun or srun has started this process, perhaps with others.

    Returns:
        How; None if neither has.

    Example:
        >>> started() is None
        True

    References:
        torchrun's and srun's environment variables.
    """

    def number(name: str) -> int:
        return int(os.environ.get(name, 0))

    if "TORCHELASTIC_RUN_ID" in os.environ:
        return Started("torchrun", *map(number, ("RANK", "LOCAL_RANK", "WORLD_SIZE", "GROUP_WORLD_SIZE")))
    # A batch script, or a shell of salloc or of srun --pty, is one process of an allocation, and may start others.
    if number("SLURM_STEP_NUM_TASKS") > 1 and "SLURM_PROCID" in os.environ:
        names = ("SLURM_PROCID", "SLURM_LOCALID", "SLURM_STEP_NUM_TASKS", "SLURM_STEP_NUM_NODES")
        return Started("slurm", *map(number, names))
    return None


class Processes(Protocol):
    """The processes of a run, as one of them sees them.

    Every verb but ``share``, ``own``, ``seed`` and ``guard`` is a meeting: all processes call it, in the same order.

    References:
        Our own.
    """

    @property
    def rank(self) -> int:
        """Which one this is, from 0; the first alone writes files."""
        ...

    @property
    def world(self) -> int:
        """How many there are."""
        ...

    @property
    def sharded(self) -> bool:
        """Whether each holds a part of the weights only, so that none can compute alone."""
        ...

    def share(self, count: int) -> NDArray[np.int64]:
        """Say which places of a batch are this process's.

        Args:
            count: Images of the batch.

        Returns:
            Places in ascending order.

        Raises:
            ValueError: If there are fewer images than processes.
        """
        ...

    def own(self, rows: Any) -> Any:
        """Cut this process's share out of what was made for a whole batch.

        Args:
            rows: A tensor or array, one row per image of the batch.

        Returns:
            The rows of this process's images.
        """
        ...

    def whole(self, rows: Any) -> Any:
        """Put together what each process made of its share of a batch.

        Args:
            rows: A tensor, one row per image of the share.

        Returns:
            A tensor with one row per image, in the order of the batch; a gradient goes back to this process's rows.
        """
        ...

    def total(self, *numbers: float) -> tuple[float, ...]:
        """Add up numbers over all processes.

        Args:
            numbers: As many in each.

        Returns:
            Their sums, the same in each.
        """
        ...

    def every(self, item: T) -> list[T]:
        """Give everybody what each has.

        Args:
            item: Something small.

        Returns:
            One of each process, by rank.
        """
        ...

    def first(self, work: Callable[[], T]) -> T:
        """Let the first process do something, and give everybody its answer.

        Args:
            work: What it does. Should it fail, the error is the first's to tell, and the others end without a word.

        Returns:
            What it gave.
        """
        ...

    def together(self, work: Callable[[], T]) -> T:
        """Do something in every process alike that may fail for reasons a person can mend.

        Args:
            work: What each does. Should one refuse its input, the first process says so, and the others end without a
                word.

        Returns:
            What this one got.

        Raises:
            ProcessFailed: In the first process, if another could not do it.
        """
        ...

    def seed(self, seed: int) -> int:
        """Make a seed of which no two processes draw the same.

        Args:
            seed: The same in each.

        Returns:
            The same seed in the first, others in the others.
        """
        ...

    def guard(self) -> AbstractContextManager[None]:
        """Turn a broken connection inside the block into ``ProcessLost``."""
        ...

    def part(self) -> None:
        """End the work together: the first process goes on alone, the others end here with exit code 0."""
        ...


class Alone:
    """One process; what it asks of the others is answered by itself.

    Example:
        >>> Alone().total(2.0, 3.0), Alone().first(lambda: "done")
        ((2.0, 3.0), 'done')

    References:
        Our own.
    """

    rank = 0
    world = 1
    sharded = False

    def share(self, count: int) -> NDArray[np.int64]:
        """All places of a batch."""
        return np.arange(count)

    def own(self, rows: Any) -> Any:
        """All rows."""
        return rows

    def whole(self, rows: Any) -> Any:
        """The same rows."""
        return rows

    def total(self, *numbers: float) -> tuple[float, ...]:
        """The same numbers."""
        return numbers

    def every(self, item: T) -> list[T]:
        """The item alone."""
        return [item]

    def first(self, work: Callable[[], T]) -> T:
        """Do it."""
        return work()

    def together(self, work: Callable[[], T]) -> T:
        """Do it."""
        return work()

    def seed(self, seed: int) -> int:
        """The same seed."""
        return seed

    def guard(self) -> AbstractContextManager[None]:
        """Nothing can break."""
        return nullcontext()

    def part(self) -> None:
        """Nobody has to leave."""


ALONE: Final = Alone()
