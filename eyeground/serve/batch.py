"""A folder of files -> a table of answers: one line a file, killed at any moment and taken up again."""

import fcntl
import json
import os
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eyeground.data.resumption import read_journal
from eyeground.evaluate.answers import write_columns
from eyeground.serve.gate import Gated, gate_file
from eyeground.serve.predictor import Predictor

_FIXED = ("file", "eye", "quality")


class TableBegun(ValueError):
    """A table that another model, or another process, has begun."""


@dataclass(frozen=True)
class Row:
    """A file's line in the table.

    Args:
        file: Its path as given.
        eye: ``"OD"``, ``"OS"`` or ``""``.
        quality: ``"good"``, ``"fair: <reasons>"`` or ``"cannot grade: <reasons>"``.
        cells: What the model says, by column; empty words where nothing was graded.
        scores: As the task has them; None where nothing was graded.
        conflict: Who contradicts whom about the eye.
        problem: Why the file cannot be read.
        stamp: Size and time of the file when it was looked at.

    Example:
        >>> Row("a.png", "OD", "cannot grade: broken", {"prediction": ""}, None, "", "is cut short", (0, 0)).graded
        False

    References:
        Our own.
    """

    file: str
    eye: str
    quality: str
    cells: Mapping[str, str]
    scores: tuple[float, ...] | None
    conflict: str
    problem: str
    stamp: tuple[int, int]

    @property
    def graded(self) -> bool:
        """Whether the model said anything."""
        return self.scores is not None


@dataclass(frozen=True, eq=False)
class Elsewhere:
    """Others that hold the same model, and answer in this process's stead.

    Args:
        computes: What their runtimes are, as ``Runtime.description`` has it.
        ask: Gives the rows of runs of files, in order.

    Example:
        >>> list(Elsewhere("none", lambda runs: ([] for _ in runs)).ask([]))
        []

    References:
        Our own.
    """

    computes: str
    ask: Callable[[Sequence[Sequence[Path]]], Generator[list[Row], None, None]]


@dataclass(frozen=True)
class Table:
    """A finished table.

    Args:
        rows: One for each file, in order.
        resumed: How many of them an earlier, interrupted call had made.

    Example:
        >>> Table((), 0).not_graded
        ()

    References:
        Our own.
    """

    rows: tuple[Row, ...]
    resumed: int

    @property
    def not_graded(self) -> tuple[Row, ...]:
        """Files without an answer."""
        return tuple(row for row in self.rows if not row.graded)

    def counts(self, column: str) -> dict[str, int]:
        """Count the words of a column, empty ones left out.

        Args:
            column: Its name.

        Returns:
            Word -> count, the most frequent first.
        """
        return dict(Counter(filter(None, (row.cells.get(column, "") for row in self.rows))).most_common())


def answer_files(
    predictor: Predictor,
    files: Sequence[Path],
    *,
    out: Path,
    slices: str | None = None,
    workers: int = 2,
    elsewhere: Elsewhere | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Table:
    """Ask a model about files, and write the table when all are done.

    Files are taken in runs of ``predictor.batch_size``, each noted in a journal beside the table when it is whole. A
    later call with the same files goes on after the last whole run, so that a table that was interrupted holds the same
    bytes as one that was not.

    Args:
        predictor: The model.
        files: Photographs, scans, folders of slices.
        out: The table; its columns are ``file, eye, quality`` and the answers'.
        slices: Which B-scans of a volume; None = as the model's contract says.
        workers: Threads that read files.
        elsewhere: Who answers; None = this process.
        progress: Called with (files done, files in all).

    Returns:
        The table.

    Raises:
        TableBegun: If the journal beside it was begun with another model or other settings, or is in use.
        OSError: If the disk is full; what was done is kept.

    References:
        RFC 4180.
    """
    settings = {
        "model": predictor.id,
        "contract": predictor.contract.key,
        "runtime": elsewhere.computes if elsewhere else predictor.runtime.description,
        "batch_size": predictor.batch_size,
        "slices": slices or predictor.contract.slices,
    }
    journal = journal_of(out)
    with _claimed(journal, settings):
        earlier = {row.file: row for row in map(_row, read_journal(journal)) if row is not None}
        runs = [files[start : start + predictor.batch_size] for start in range(0, len(files), predictor.batch_size)]
        kept = [_unchanged(run, earlier) for run in runs]
        todo = [run for run, rows in zip(runs, kept, strict=True) if rows is None]
        rows: list[Row] = []
        asked = elsewhere.ask(todo) if elsewhere else _asked(predictor, todo, slices, workers)
        with journal.open("ab") as notes, closing(asked):
            notes.write(b"\n")  # ends a line that a kill cut short
            for before in kept:
                found = before or next(asked)
                if before is None:
                    notes.write(b"".join(json.dumps(_line(row)).encode() + b"\n" for row in found))
                    notes.flush()
                rows += found
                if progress is not None:
                    progress(len(rows), len(files))
        write_table(out, rows)
        journal.unlink()
    return Table(tuple(rows), sum(len(each) for each in kept if each))


def write_table(out: Path, rows: Sequence[Row]) -> None:
    """Write rows as CSV, whole or not at all.

    Args:
        out: The table.
        rows: At least one.

    Raises:
        OSError: If the disk is full.

    Example:
        >>> import tempfile
        >>> out = Path(tempfile.mkdtemp()) / "t.csv"
        >>> write_table(out, [Row("a.png", "OD", "good", {"prediction": "normal"}, (1.0, 0.0), "", "", (0, 0))])
        >>> out.read_text().split()
        ['file,eye,quality,prediction', 'a.png,OD,good,normal']

    References:
        RFC 4180.
    """
    columns = {name: [str(getattr(row, name)) for row in rows] for name in _FIXED}
    write_columns(out, columns | {name: [row.cells[name] for row in rows] for name in rows[0].cells})


def journal_of(out: Path) -> Path:
    """Say where the journal of an unfinished table lies.

    Args:
        out: The table.

    Returns:
        A file beside it.

    Example:
        >>> journal_of(Path("results.csv")).name
        'results.csv.unfinished'

    References:
        Our own.
    """
    return out.with_name(f"{out.name}.unfinished")


def answer_run(predictor: Predictor, run: Sequence[Path], *, slices: str | None = None) -> list[Row]:
    """Ask a model about one run of files, one after the other.

    Args:
        predictor: The model.
        run: At most ``predictor.batch_size`` files.
        slices: Which B-scans of a volume; None = as the model's contract says.

    Returns:
        A row for each, in order.

    Example:
        >>> from eyeground.data.preprocessing import Preprocessing
        >>> from eyeground.data.task import classification
        >>> from eyeground.model.spec import ModelSpec
        >>> from eyeground.serve.contract import Contract
        >>> contract = Contract(ModelSpec("vit_demo_patch8", 2, image_px=32), classification(("normal", "drusen")),
        ...                     False, Preprocessing(image_px=32), "center", "fundus", "00")
        >>> class Silent:
        ...     description = "never asked"
        ...     def close(self): ...
        >>> answer_run(Predictor(contract, Silent(), id="00"), [Path("nowhere.png")])[0].quality
        'cannot grade: unreadable'

    References:
        Our own.
    """
    return _ask(predictor, [_look(path, predictor, slices) for path in run])


def _asked(
    predictor: Predictor, runs: Sequence[Sequence[Path]], slices: str | None, workers: int
) -> Generator[list[Row], None, None]:
    """Ask about runs of files, which threads read meanwhile."""
    with ThreadPoolExecutor(workers) as pool:
        looked_at = _looked_at(pool, [path for run in runs for path in run], predictor, slices)
        try:
            for run in runs:
                yield _ask(predictor, [next(looked_at) for _ in run])
        except BaseException:  # Ctrl-C must not wait for what is queued
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _look(path: Path, predictor: Predictor, slices: str | None) -> tuple[Gated, tuple[int, int]]:
    """Read a file."""
    # The stamp first: a file that changes while it is read will be read again.
    stamp = _stamp(path)
    return gate_file(path, predictor.contract, slices=slices), stamp


def _looked_at(
    pool: ThreadPoolExecutor, files: Sequence[Path], predictor: Predictor, slices: str | None
) -> Iterator[tuple[Gated, tuple[int, int]]]:
    """Read files ahead of the network, two runs of them at most."""
    waiting: deque[Future[tuple[Gated, tuple[int, int]]]] = deque()
    queue = iter(files)
    while True:
        while len(waiting) < 2 * predictor.batch_size and (path := next(queue, None)) is not None:
            waiting.append(pool.submit(_look, path, predictor, slices))
        if not waiting:
            return
        yield waiting.popleft().result()


def _ask(predictor: Predictor, files: Sequence[tuple[Gated, tuple[int, int]]]) -> list[Row]:
    """Answer one run of files."""
    answers = predictor.answer([gated for gated, _ in files])
    return [
        Row(
            answer.gated.name,
            answer.gated.eye,
            answer.gated.quality,
            answer.columns,
            tuple(answer.scores.tolist()) if answer.gated.graded else None,
            answer.gated.conflict,
            answer.gated.problem,
            stamp,
        )
        for answer, (_, stamp) in zip(answers, files, strict=True)
    ]


def _unchanged(run: Sequence[Path], earlier: Mapping[str, Row]) -> list[Row] | None:
    """Give the rows of a run that was noted whole, and whose files are as they were then."""
    rows = [earlier.get(str(path)) for path in run]
    whole = [row for row, path in zip(rows, run, strict=True) if row is not None and row.stamp == _stamp(path)]
    return whole if len(whole) == len(run) else None


def _stamp(path: Path) -> tuple[int, int]:
    """Size and time of a file; of a folder of slices those of all its files."""
    try:
        found = [each.stat() for each in (path, *(sorted(path.iterdir()) if path.is_dir() else ()))]
    except OSError:
        return -1, -1
    return sum(each.st_size for each in found), max(each.st_mtime_ns for each in found)


def _line(row: Row) -> dict[str, Any]:
    """A row for the journal."""
    return {**vars(row), "cells": dict(row.cells)}


def _row(line: Mapping[str, Any]) -> Row | None:
    """A row from the journal; None for a line of another kind."""
    if set(line) != set(Row.__dataclass_fields__):
        return None
    scores = None if line["scores"] is None else tuple(map(float, line["scores"]))
    return Row(**{**line, "scores": scores, "stamp": tuple(line["stamp"])})


@contextmanager
def _claimed(journal: Path, settings: Mapping[str, Any]) -> Iterator[None]:
    """Take a journal up or begin it, and keep a second process out of it."""
    with journal.open("ab") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise TableBegun(f"{journal}: another process writes this table; wait for it or stop it first") from error
        if not journal.exists() or os.fstat(held.fileno()).st_ino != journal.stat().st_ino:
            raise TableBegun(f"{journal}: another process has just finished this table; say the command again")
        first, end, _ = journal.read_text("utf-8", errors="replace").partition("\n")
        if not end:  # new, or killed while this very line was written
            held.truncate(0)
            held.write(json.dumps(settings).encode() + b"\n")
            held.flush()
            yield
            return
        try:
            before = json.loads(first)
        except ValueError:
            before = {}
        other = [name.replace("_", " ") for name in settings if before.get(name) != settings[name]]
        if other:
            raise TableBegun(
                f"{journal}: this table was begun with another {', '.join(other)}; finish it as it was begun, "
                "remove that file, or choose another --out"
            )
        yield
