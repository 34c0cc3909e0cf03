"""What a benchmark answers, and how a ratio is measured."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Claim:
    """One measured ratio.

    Args:
        what: What was measured.
        ours: Our median. Unit: ``unit``.
        reference: The reference's median. Unit: ``unit``.
        against: Name of the reference.
        unit: Unit of both.
        note: What it is made of, or what bounds it.
    """

    what: str
    ours: float
    reference: float
    against: str
    unit: str
    note: str = ""

    @property
    def ratio(self) -> float:
        """Ours over the reference's."""
        return self.ours / self.reference


def seconds(work: Callable[[], object], *, repeats: int = 5) -> float:
    """Median time of a piece of work after one warm-up. Unit: s."""
    work()
    times = []
    for _ in range(repeats):
        before = time.perf_counter()
        work()
        times.append(time.perf_counter() - before)
    return statistics.median(times)
