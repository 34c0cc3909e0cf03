"""``metrics_val.csv`` and ``metrics_test.csv``: a line an epoch, and one for the test."""

import csv
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from eyeground.atomic_file import atomic_file
from eyeground.cli.prediction import Predicted
from eyeground.data.task import Task
from eyeground.evaluate.profiles import retfound2025
from eyeground.train.journal import read_journal


def record_epoch(folder: Path, epoch: int, columns: Mapping[str, float]) -> None:
    """Write an epoch's line of ``metrics_val.csv``; a table that somebody changed is made again from the journal.

    Args:
        folder: The run's folder.
        epoch: Which epoch, from 1.
        columns: RETFound's metrics.

    Example:
        >>> import tempfile
        >>> run = Path(tempfile.mkdtemp())
        >>> record_epoch(run, 1, dict.fromkeys(retfound2025.COLUMNS, 0.5))
        >>> (run / "metrics_val.csv").read_text().count("0.5")
        10

    References:
        RETFound_MAE at 897d71c for the columns.
    """
    path = folder / "metrics_val.csv"
    try:
        retfound2025.append_row(path, columns, row=epoch)
    except ValueError:  # another task's columns, or a table that somebody changed
        lines = [line for line in read_journal(folder / "journal.jsonl") if line["event"] == "epoch"]
        rows = [{k: math.nan if v is None else v for k, v in line["columns"].items()} for line in lines]
        replace_rows(path, rows)


def replace_rows(path: Path, rows: Sequence[Mapping[str, float]]) -> None:
    """Write a table of metrics anew, whole or not at all.

    Args:
        path: CSV file.
        rows: Metrics by name; where all hold RETFound's columns these are written, else whatever they hold.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "metrics_test.csv"
        >>> replace_rows(path, [{"mae": 0.5}])
        >>> path.read_text().split()
        ['mae', '0.5']

    References:
        RFC 4180.
    """
    if all(set(retfound2025.COLUMNS) <= set(row) for row in rows):
        path.unlink(missing_ok=True)
        for row in rows:
            retfound2025.append_row(path, row)
        return
    names = list(dict.fromkeys(name for row in rows for name in row))
    with atomic_file(path) as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(names)
        writer.writerows([repr(float(row.get(name, math.nan))) for name in names] for row in rows)


def row_of(task: Task, test: Predicted, headline: Mapping[str, Any]) -> dict[str, float]:
    """Make the line of ``metrics_test.csv``.

    Args:
        task: What was asked.
        test: What the network says.
        headline: As in ``metrics.json``.

    Returns:
        Of classes and grades RETFound's columns, else the headline's values.

    References:
        RETFound_MAE at 897d71c for the columns.
    """
    if task.single and task.single.kind != "quantity":
        known = np.isfinite(test.truth[:, 0])
        return retfound2025.values(test.truth[known, 0].astype(np.int64), test.scores[known], val_loss=test.loss)
    values = {name: math.nan if found["value"] is None else found["value"] for name, found in headline.items()}
    return {"val_loss": test.loss, **values}
