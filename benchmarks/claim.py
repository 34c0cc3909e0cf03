"""What a benchmark answers, and how a ratio is measured."""

import math
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass


class NotHere(Exception):
    """What a benchmark needs is not on this machine: says what, and how to have it."""


@dataclass(frozen=True)
class Claim:
    """One measured ratio.

    Args:
        what: What was measured.
        ours: Our median. Unit: ``unit``.
        reference: The reference's median. Unit: ``unit``.
        against: Name of the reference.
        unit: Unit of both; of one that ends in ``/s`` more is better, of any other less.
        note: What it is made of, or what bounds it.
        ceiling: What this machine could do at most, measured in the same run; NaN = not known. Unit: ``unit``.
        goal: How many times better it should be; NaN = no goal.
        gains: How many times better ours was in each round in which both had their turn; none = rounds were not paired.
    """

    what: str
    ours: float
    reference: float
    against: str
    unit: str
    note: str = ""
    ceiling: float = math.nan
    goal: float = math.nan
    gains: tuple[float, ...] = ()

    @property
    def gain(self) -> float:
        """How many times better ours is, the median of paired rounds where there are any; below 1 it is worse."""
        return statistics.median(self.gains) if self.gains else gain(self.ours, self.reference, unit=self.unit)


def gain(ours: float, reference: float, *, unit: str) -> float:
    """How many times better a figure is than the reference's."""
    return ours / reference if unit.endswith("/s") else reference / ours


def paired(
    what: str,
    ours: list[float],
    reference: list[float],
    against: str,
    unit: str,
    *,
    note: str = "",
    ceiling: float = math.nan,
    goal: float = math.nan,
) -> Claim:
    """Make a claim of rounds in which both had their turn: what else the machine did fell on both."""
    gains = tuple(gain(one, other, unit=unit) for one, other in zip(ours, reference, strict=True))
    return Claim(what, statistics.median(ours), statistics.median(reference), against, unit, note, ceiling, goal, gains)


def turns(
    works: Mapping[str, Callable[[], object]], *, rounds: int = 5, least_s: float = 0.5
) -> dict[str, list[float]]:
    """Time several pieces of work in turn, after one warm-up of each.

    Args:
        works: Name -> what to do.
        rounds: How many turns each has.
        least_s: A turn repeats its work until so much time has passed. Unit: s.

    Returns:
        Name -> mean time of one piece of work, by round. Unit: s.
    """
    for work in works.values():
        work()
    took: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            before, count = time.perf_counter(), 0
            while (spent := time.perf_counter() - before) < least_s or not count:
                work()
                count += 1
            took[name].append(spent / count)
    return took


def seconds(work: Callable[[], object], *, repeats: int = 5) -> float:
    """Median time of a piece of work after one warm-up. Unit: s."""
    return statistics.median(turns({"": work}, rounds=repeats, least_s=0)[""])
