"""The table of a quantity: what was measured, such as pressure in mmHg, and what the model says it is."""

import csv
import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eyeground.atomic_file import atomic_file
from eyeground.evaluate.wording import complaint, shown

_WORDS = ("patients", "eyes", "sites", "cameras", "quality")
_COLUMNS = ("patient", "eye", "file", "truth", "quality", "prediction")


@dataclass(frozen=True, eq=False)
class Measurements:
    """A quantity of N images, as it is known and as the model says it, with what is known about each image.

    Args:
        files: Path of each image as the data set names it, N.
        patients: Patient of each image, N; the file where patients are not known.
        eyes: ``"OD"``, ``"OS"`` or ``""``, N.
        sites: Where it was taken, ``""`` when not known, N.
        cameras: What it was taken with, ``""`` when not known, N.
        truth: The quantity, shape (N,), NaN when not known. Unit: ``unit``.
        said: What the model says, shape (N,), no NaN. Unit: ``unit``.
        name: What the quantity is called, such as ``"IOP"``.
        unit: Its unit, such as ``"mmHg"``; ``""`` for a pure number such as a cup-to-disc ratio.
        patients_known: Whether ``patients`` are real groups; if not, every image counts as its own patient.
        quality: ``"good"``, ``"fair"``, or ``""`` when not known, N.

    Raises:
        ValueError: If shapes differ, a prediction is not finite, a truth is infinite, or the quantity has no name. All
            problems are named together, with file and row.

    Example:
        >>> table = Measurements(("a.png", "b.png"), ("p1", "p2"), ("OD", ""), ("",) * 2, ("",) * 2,
        ...                      np.array([15.0, np.nan]), np.array([16.5, 12.0]), "IOP", "mmHg", True, ("good",) * 2)
        >>> table.labelled.tolist(), len(table.select(table.labelled))
        ([True, False], 1)

    References:
        Our own.
    """

    files: tuple[str, ...]
    patients: tuple[str, ...]
    eyes: tuple[str, ...]
    sites: tuple[str, ...]
    cameras: tuple[str, ...]
    truth: NDArray[np.float64]
    said: NDArray[np.float64]
    name: str
    unit: str
    patients_known: bool
    quality: tuple[str, ...]

    def __post_init__(self) -> None:
        problems = _shape_problems(self) or _value_problems(self)
        if problems:
            raise ValueError(complaint("measurements", problems))

    def __len__(self) -> int:
        return len(self.files)

    @property
    def labelled(self) -> NDArray[np.bool_]:
        """Which rows have a known truth, shape (N,)."""
        return ~np.isnan(self.truth)

    def select(self, rows: NDArray[np.bool_]) -> "Measurements":
        """Keep some rows.

        Args:
            rows: True = keep, shape (N,), at least one.

        Returns:
            The same table with those rows.
        """
        kept = np.flatnonzero(rows).tolist()
        changed: dict[str, Any] = {name: tuple(getattr(self, name)[row] for row in kept) for name in ("files", *_WORDS)}
        return replace(self, truth=self.truth[kept], said=self.said[kept], **changed)


def write_measurements(path: Path, table: Measurements) -> None:
    """Write a quantity's table as CSV, whole or not at all.

    Columns are ``patient, eye, file, truth, quality, prediction``, then ``site, camera`` when any is known. The truth
    is empty where it is not known, the patient where patients are not. Numbers are written with every digit, so reading
    gives the same ones. Name and unit are not in the file.

    Args:
        path: File to write; an older one is replaced in one step.
        table: The table.

    Raises:
        OSError: If the folder is missing or the disk is full; an older file is then untouched.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> table = Measurements(("a.png", "b.png"), ("p1", "p2"), ("OD", ""), ("",) * 2, ("",) * 2,
        ...                      np.array([15.0, np.nan]), np.array([16.5, 12.0]), "IOP", "mmHg", True, ("good", ""))
        >>> with TemporaryDirectory() as folder:
        ...     write_measurements(Path(folder) / "predictions.csv", table)
        ...     print((Path(folder) / "predictions.csv").read_text())
        patient,eye,file,truth,quality,prediction
        p1,OD,a.png,15.0,good,16.5
        p2,,b.png,,,12.0

    References:
        RFC 4180.
    """
    extra = any(table.sites) or any(table.cameras)
    with atomic_file(path) as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow([*_COLUMNS, *(["site", "camera"] if extra else [])])
        for row, (truth, said) in enumerate(zip(table.truth.tolist(), table.said.tolist(), strict=True)):
            writer.writerow(
                [
                    table.patients[row] if table.patients_known else "",
                    table.eyes[row],
                    table.files[row],
                    "" if math.isnan(truth) else repr(truth),
                    table.quality[row],
                    repr(said),
                    *([table.sites[row], table.cameras[row]] if extra else []),
                ]
            )


def read_measurements(path: Path, *, name: str, unit: str) -> Measurements:
    """Read a table that ``write_measurements`` wrote.

    Args:
        path: CSV file.
        name: What the quantity is called; the file does not say.
        unit: Its unit; the file does not say.

    Returns:
        The table, with exactly the numbers that were written.

    Raises:
        ValueError: If a column is missing, a truth or prediction is no finite number, or a patient is missing; all
            problems together, with file and line.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     path = Path(folder) / "predictions.csv"
        ...     _ = path.write_text("patient,eye,file,truth,quality,prediction\\np,,1.png,,,16.5")
        ...     read_measurements(path, name="IOP", unit="mmHg").truth.tolist()
        [nan]

    References:
        RFC 4180.
    """
    with path.open(newline="", encoding="utf-8", errors="surrogateescape") as stream:
        reader = csv.DictReader(stream)
        lines = [(reader.line_num, cells) for cells in reader]
        header = list(reader.fieldnames or [])
    problems = [f"there is no column {title!r}" for title in _COLUMNS if title not in header]
    problems += [] if len(set(header)) == len(header) else ["two columns have the same name"]
    problems += [] if lines else ["there is no row below the header"]
    if problems:
        raise ValueError(complaint(str(path), problems))
    known = any(cells["patient"] for _, cells in lines)
    numbers = np.full((len(lines), 2), np.nan)
    for row, (line, cells) in enumerate(lines):
        if None in cells or None in cells.values():  # the csv module's marks for too many cells and for too few
            problems.append(f"line {line}: not as many cells as the header has columns ({len(header)})")
            continue
        if known and not cells["patient"]:
            problems.append(f"line {line}: the patient is missing")
        for place, title in enumerate(("truth", "prediction")):
            if title == "truth" and not cells[title]:
                continue
            try:
                numbers[row, place] = float(cells[title])
            except ValueError:
                numbers[row, place] = math.nan
            if not math.isfinite(numbers[row, place]):
                problems.append(f"line {line}: {title} is no finite number: {shown(cells[title])!r}")
    if problems:
        raise ValueError(complaint(str(path), problems))

    def column(title: str) -> tuple[str, ...]:
        return tuple(cells.get(title, "") for _, cells in lines)

    try:
        return Measurements(
            files=column("file"),
            patients=column("patient" if known else "file"),
            eyes=column("eye"),
            sites=column("site"),
            cameras=column("camera"),
            truth=numbers[:, 0].copy(),
            said=numbers[:, 1].copy(),
            name=name,
            unit=unit,
            patients_known=known,
            quality=column("quality"),
        )
    except ValueError as problem:
        raise ValueError(f"{path}: {problem}") from problem


def _shape_problems(table: Measurements) -> list[str]:
    """Everything that does not fit together; values are looked at only when all fits."""
    count = len(table.files)
    problems = [] if count else ["there is no row: nothing was predicted"]
    problems += [] if table.name else ["the quantity has no name"]
    for name in _WORDS:
        length = len(getattr(table, name))
        if length != count:
            problems.append(f"{name} has {length} entries for {count} files")
    for name, values in (("truth", table.truth), ("said", table.said)):
        if values.shape != (count,) or values.dtype != np.float64:
            problems.append(f"{name} must be ({count},) float64, got {values.shape} {values.dtype}")
    return problems


def _value_problems(table: Measurements) -> list[str]:
    """Every row whose numbers cannot be right."""
    problems = []
    for marks, words in (
        (~np.isfinite(table.said), "the prediction is not finite"),
        (np.isinf(table.truth), "the truth is infinite; NaN means not known"),
    ):
        problems += [f"row {row} ({shown(table.files[row])}): {words}" for row in np.flatnonzero(marks).tolist()]
    return problems
