"""Bytes on their way, shown: a bar with rate and time left, or now and then a line."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from eyeground.cli.console import console, tell

# Seconds between two lines where no bar can be drawn.
_EVERY_S = 15.0


@contextmanager
def transferring() -> Iterator[Callable[[str, int, int], None]]:
    """Show how far files are that are loaded or unpacked.

    Yields:
        A function to call with (what is being done, bytes done, bytes in all, 0 = not known). What goes on where an
        earlier try was cut may begin anywhere. Without a terminal, a plain line now and then and one at each end.

    Example:
        >>> with transferring() as moved:
        ...     moved("loading a.zip", 5, 5)

    References:
        Our own.
    """
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    began: dict[str, tuple[float, int]] = {}
    told: dict[str, float] = {}
    with Progress(*columns, console=console, speed_estimate_period=60, disable=not console.is_terminal) as bar:
        tasks = {}

        def moved(what: str, done: int, total: int) -> None:
            now = time.monotonic()
            if what not in tasks:
                tasks[what] = bar.add_task(what, total=total or None, completed=done)
                began[what], told[what] = (now, done), now
            bar.update(tasks[what], completed=done, total=total or None)
            if not console.is_terminal and (done == total or now - told[what] > _EVERY_S):
                told[what] = now
                tell(_line(what, done, total, now - began[what][0], done - began[what][1]))

        yield moved


def _line(what: str, done: int, total: int, seconds: float, fresh: int) -> str:
    """How far it is, how fast, and how long it will still take."""
    rate = fresh / max(seconds, 1e-9)
    left = f", {(total - done) / rate / 60:.0f} min left" if total > done and rate > 0 else ""
    whole = f" of {total / 1e6:,.1f}" if total else ""
    return f"{what}: {done / 1e6:,.1f}{whole} MB, {rate / 1e6:.1f} MB/s{left}"
