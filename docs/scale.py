"""Simulates ten million people screened in a year: how many wait at the peak, and how many workers are enough.

python -m docs.scale                               # as docs/scale.md has it
python -m docs.scale --people 1e6 --seconds 0.25   # fewer people, a smaller network
"""

import argparse
import heapq
import math
import sys
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# Share of a week's people by day, Monday first, and of a day's by hour from 8 to 18. Assumed, as no clinic's calendar
# is to hand: mornings are full, and sites send in bursts what they took.
DAYS = (0.21, 0.19, 0.18, 0.18, 0.17, 0.05, 0.02)
HOURS = (0.06, 0.14, 0.17, 0.15, 0.07, 0.05, 0.12, 0.12, 0.08, 0.04)
FIRST_HOUR, HOUR_S = 8, 3600
QUANTILES = (0.5, 0.95, 1.0)


@dataclass(frozen=True)
class Queue:
    """What became of everybody who came.

    Args:
        wait_s: From coming to the answer, the median, the 95th percentile and the longest. Unit: s.
        mean_wait_s: Mean time before a worker was free, without the work itself. Unit: s.
        depth: How many were waiting when somebody came, the same three.
    """

    wait_s: tuple[float, ...]
    mean_wait_s: float
    depth: tuple[float, ...]


def a_day(people: float, weekday: int, *, burst: int, draw: np.random.Generator) -> NDArray[np.float64]:
    """Draw when people's cases arrive in one day.

    Args:
        people: How many come in a year.
        weekday: 0 = Monday.
        burst: Cases that a site sends at once.
        draw: The generator.

    Returns:
        Times from midnight, ascending. Unit: s.
    """
    expected = people / (365.25 / 7) * DAYS[weekday] * np.array(HOURS) / burst
    sendings = draw.poisson(expected)
    begun = np.repeat(FIRST_HOUR + np.arange(len(HOURS)), sendings)
    return np.sort(np.repeat((begun + draw.random(len(begun))) * HOUR_S, burst))


def serve(arrivals: NDArray[np.float64], service_s: NDArray[np.float64], workers: int) -> Queue:
    """Let workers take cases in the order in which they came.

    Args:
        arrivals: When each came, ascending. Unit: s.
        service_s: How long each takes a worker. Unit: s.
        workers: How many there are.

    Returns:
        Waits and depths.
    """
    free = [0.0] * workers
    begun = np.empty(len(arrivals))
    for number, (came, takes) in enumerate(zip(arrivals.tolist(), service_s.tolist(), strict=True)):
        begun[number] = start = max(came, heapq.heappop(free))
        heapq.heappush(free, start + takes)
    # Those before one who had not begun when it came: begun ascends, as cases are taken in order.
    depth = np.arange(len(arrivals)) - np.searchsorted(begun, arrivals, side="right").clip(max=np.arange(len(arrivals)))
    wait = begun + service_s - arrivals
    return Queue(
        tuple(float(q) for q in np.quantile(wait, QUANTILES)),
        float((begun - arrivals).mean()),
        tuple(float(q) for q in np.quantile(depth, QUANTILES)),
    )


def erlang_c(load: float, workers: int) -> float:
    """Chance that somebody has to wait, in a queue of Poisson arrivals and exponential work.

    Args:
        load: Arrivals per second times mean work; below ``workers``.
        workers: How many there are.

    Returns:
        A probability.
    """
    blocked = 1.0
    for number in range(1, workers + 1):
        blocked = load * blocked / (number + load * blocked)
    return blocked / (1 - load / workers * (1 - blocked))


def enough(arrivals: NDArray[np.float64], service_s: NDArray[np.float64], *, within_s: float) -> int:
    """Find the fewest workers with which 95 of 100 are answered in time.

    Args:
        arrivals: When each came. Unit: s.
        service_s: How long each takes. Unit: s.
        within_s: The time. Unit: s.

    Returns:
        Workers.

    Raises:
        ValueError: If the work alone takes longer.
    """
    if np.quantile(service_s, 0.95) > within_s:
        raise ValueError(f"the work alone takes longer than {within_s:g} s: use a faster model, or promise less")
    few, many = 0, 1
    while serve(arrivals, service_s, many).wait_s[1] > within_s:
        few, many = many, 2 * many
    while many - few > 1:
        middle = (few + many) // 2
        few, many = (few, middle) if serve(arrivals, service_s, middle).wait_s[1] <= within_s else (middle, many)
    return many


def report(people: float, seconds: float, *, burst: int, seed: int) -> list[str]:
    """Tell the busiest day of the week: its peak hour, the workers for some promises, and the queue with each.

    Args:
        people: How many come in a year.
        seconds: What a case takes a worker on average; each takes between half and three halves of it. Unit: s.
        burst: Cases that a site sends at once.
        seed: Draws the day.

    Returns:
        Lines of Markdown.
    """
    draw = np.random.default_rng(seed)
    arrivals = a_day(people, 0, burst=burst, draw=draw)
    service_s = seconds * draw.uniform(0.5, 1.5, len(arrivals))
    peak = np.bincount((arrivals // HOUR_S).astype(int)).max()
    busy = math.ceil(peak / HOUR_S * seconds)
    lines = [
        f"{people:,.0f} people a year, {seconds:g} s a case, sent {burst} at a time: {len(arrivals):,} on a Monday, "
        f"{peak:,} in its fullest hour ({peak / HOUR_S:.1f}/s, the work of {busy} workers)",
        "",
        "| 95 of 100 answered within | workers | answered after, p50 / p95 / longest | waiting, p50 / p95 / most |",
        "|---|---|---|---|",
    ]
    for promise, within_s in (("1 min", 60), ("15 min", 900), ("2 h", 7200), ("8 h", 28_800)):
        workers = enough(arrivals, service_s, within_s=within_s)
        queue = serve(arrivals, service_s, workers)
        waits = " / ".join(_time(wait) for wait in queue.wait_s)
        lines.append(f"| {promise} | {workers} | {waits} | {' / '.join(f'{depth:,.0f}' for depth in queue.depth)} |")
    return lines


def _time(seconds: float) -> str:
    """Write a wait."""
    return (
        f"{seconds:.1f} s"
        if seconds < 60
        else f"{seconds / 60:.0f} min"
        if seconds < 7200
        else f"{seconds / 3600:.1f} h"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--people", type=float, default=10e6, help="people a year")
    parser.add_argument("--seconds", type=float, default=4.7, help="a worker's time for a case")
    parser.add_argument("--burst", type=int, default=20, help="cases that a site sends at once")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    sys.stdout.write("\n".join(report(given.people, given.seconds, burst=given.burst, seed=given.seed)) + "\n")
