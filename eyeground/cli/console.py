"""What the terminal shows: progress with rate and time left, tables, and one JSON line for programs."""

import json
import math
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from eyeground.train.loop import Verdict

# Everything for people goes to stderr, so that stdout holds only answers.
console = Console(stderr=True, highlight=False, force_jupyter=False)


class _Rate(ProgressColumn):
    """Images per second."""

    def render(self, task: Task) -> Text:
        speed = task.fields.get("scale", 1) * (task.finished_speed or task.speed or 0)
        return Text(f"{speed:6.1f} images/s" if speed else "")


def _bar(unit_images: bool = True) -> Progress:
    """One look for every bar."""
    columns = [TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()]
    if unit_images:
        columns.insert(3, _Rate())
    return Progress(*columns, console=console, speed_estimate_period=60, disable=not console.is_terminal)


@contextmanager
def counting(what: str, total: int | None = None) -> Iterator[Callable[[int, int], None]]:
    """Show how far a piece of work is.

    Args:
        what: Name of the work.
        total: How many there are, where known at once.

    Yields:
        A function to call with (done, total). Without a terminal, a plain line at the end.

    Example:
        >>> with counting("reading", 2) as done:
        ...     done(2, 2)

    References:
        Our own.
    """
    started = time.monotonic()
    last = [0]
    with _bar() as bar:
        task = bar.add_task(what, total=total)

        def update(done: int, of: int) -> None:
            last[0] = done
            bar.update(task, completed=done, total=of)

        yield update
    if not console.is_terminal:
        seconds = time.monotonic() - started
        console.print(f"{what}: {last[0]} in {seconds:.1f} s ({last[0] / max(seconds, 1e-9):.0f}/s)", markup=False)


class TrainingWatcher:
    """Shows a training run: a bar in a terminal, a line per epoch everywhere.

    Args:
        also: Told each epoch's number, from 1, and its verdict.
        lines: Print a line per epoch.

    Example:
        >>> watcher = TrainingWatcher()
        >>> watcher.close()

    References:
        Our own.
    """

    def __init__(
        self, *, also: Callable[[int, Verdict], None] = lambda epoch, verdict: None, lines: bool = True
    ) -> None:
        self._also, self._lines = also, lines
        self._bar = _bar()
        self._task: Any = None
        self._seen = 0
        self._started = self._told = time.monotonic()
        self._bar.start()

    def step(self, *, step: int, steps: int, images: int, loss: float, lr: float) -> None:
        """One optimizer step was taken."""
        if self._task is None:
            self._task = self._bar.add_task("training", total=steps, completed=step - 1, scale=images)
        self._seen += images
        if self._lines and not console.is_terminal and time.monotonic() - self._told > 60:
            self._told = time.monotonic()
            rate = self._seen / (self._told - self._started)
            left = (steps - step) * images / rate / 60
            console.print(f"step {step}/{steps}  loss {loss:.3f}  {rate:.1f} images/s  {left:.0f} min left")
        self._bar.update(self._task, completed=step, description=f"training · loss {loss:.3f}")

    def epoch(self, *, epoch: int, epochs: int, verdict: Verdict, train_loss: float, best: bool) -> None:
        """One epoch was validated."""
        self._also(epoch, verdict)
        if not self._lines:
            return
        rate = self._seen / max(time.monotonic() - self._started, 1e-9)
        scores = "  ".join(f"{name} {value:.3f}" for name, value in verdict.scores.items())
        validation = f"val {verdict.loss:.3f}  " if math.isfinite(verdict.loss) else ""
        mark = " *" if best and math.isfinite(verdict.selection) else ""
        console.print(
            f"epoch {epoch:>3}/{epochs}  loss {train_loss:.3f}  {validation}{scores}  {rate:.1f} images/s{mark}",
            markup=False,
            soft_wrap=True,
        )
        for note in verdict.notes if epoch == 1 else ():
            console.print(f"          note: {note}", markup=False)

    def close(self) -> None:
        """Take the bar away."""
        self._bar.stop()


def tell(*words: str) -> None:
    """Say something to a person.

    Args:
        words: Lines of text, shown as they are.

    Example:
        >>> tell("a line")

    References:
        Our own.
    """
    for word in words:
        console.print(harmless(word), markup=False, soft_wrap=True)


def harmless(word: str) -> str:
    """Take out what could move a terminal's cursor or change its colors: names of files are not ours.

    Args:
        word: Any text.

    Returns:
        The text with control characters replaced.

    Example:
        >>> harmless("a\\x1b[31mb")
        'a\ufffd[31mb'

    References:
        Our own.
    """
    return "".join(c if c.isprintable() or c in "\n\u3000" else "\ufffd" for c in word)


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Show a table; numbers stand to the right.

    Args:
        title: What it shows.
        columns: Heads.
        rows: Cells.

    Example:
        >>> table("counts", ["class", "images"], [["normal", 3]])

    References:
        Our own.
    """
    shown = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False)
    for number, column in enumerate(columns):
        right = all(isinstance(row[number], int | float) for row in rows) or number > 0
        shown.add_column(column, justify="right" if right else "left")
    for row in rows:
        shown.add_row(*(Text(harmless(str(cell))) for cell in row))
    console.print(shown)


def answer(payload: Mapping[str, Any], *, as_json: bool, last_line: str) -> None:
    """End a command: one JSON line for a program, or one line that says where the result is.

    Args:
        payload: Plain values, no NaN.
        as_json: Whether a program reads it.
        last_line: For people.

    Example:
        >>> answer({"run": "runs/a"}, as_json=True, last_line="")
        {"run": "runs/a"}

    References:
        Our own.
    """
    if as_json:
        sys.stdout.write(json.dumps(payload, allow_nan=False) + "\n")
    else:
        sys.stdout.write(last_line + "\n")


def interval_words(estimate: Mapping[str, Any]) -> str:
    """Write a value with its interval, or the reason why there is none.

    Args:
        estimate: ``{"value", "low", "high"}`` or ``{"value": None, "reason"}``.

    Returns:
        Words.

    Example:
        >>> interval_words({"value": 0.943, "low": 0.921, "high": 0.961})
        '0.943 [0.921-0.961]'

    References:
        Our own.
    """
    if estimate.get("value") is None:
        return f"undefined: {estimate.get('reason', '')}"
    if estimate.get("low") is None:
        return f"{estimate['value']:.3f}"
    return f"{estimate['value']:.3f} [{estimate['low']:.3f}-{estimate['high']:.3f}]"
