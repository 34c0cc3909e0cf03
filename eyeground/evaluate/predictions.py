"""The prediction table: what was true, what was said, and how surely."""

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from eyeground.atomic_file import atomic_file
from eyeground.evaluate.wording import complaint, listed, shown


@dataclass(frozen=True, eq=False)
class Predictions:
    """Scores of N images for K classes, with what is known about each image.

    Args:
        files: Path of each image as the data set names it, N.
        patients: Patient of each image, N; the file where patients are not known.
        eyes: ``"OD"``, ``"OS"`` or ``""``, N.
        sites: Where it was taken, ``""`` when not known, N.
        cameras: What it was taken with, ``""`` when not known, N.
        truth: Index of the true class, shape (N,), each in 0..K-1, or -1 when not known.
        scores: Probabilities, shape (N, K), each in [0, 1], rows add up to 1.
        classes: Names of the classes, K, all different, in clinical order.
        ordered: Whether the order of the classes is a grade, as in retinopathy 0-4.
        patients_known: Whether ``patients`` are real groups; if not, every image counts as its own patient.
        quality: ``"good"``, ``"fair"``, or ``""`` when not known, N.

    Raises:
        ValueError: If shapes differ, a score is NaN or outside [0, 1], a row does not add up to 1, or a truth is no
            class. All problems are named together, with file and row.

    Example:
        >>> table = Predictions(("a.png",), ("p1",), ("OD",), ("",), ("",), np.array([1]), np.array([[0.2, 0.8]]),
        ...                     ("normal", "cataract"), False, True, ("good",))
        >>> table.said.tolist(), len(table)
        ([1], 1)

    References:
        Our own.
    """

    files: tuple[str, ...]
    patients: tuple[str, ...]
    eyes: tuple[str, ...]
    sites: tuple[str, ...]
    cameras: tuple[str, ...]
    truth: NDArray[np.int64]
    scores: NDArray[np.float64]
    classes: tuple[str, ...]
    ordered: bool
    patients_known: bool
    quality: tuple[str, ...]

    def __post_init__(self) -> None:
        problems = _shape_problems(self) or _value_problems(self)
        if problems:
            raise ValueError(complaint("predictions", problems))

    def __len__(self) -> int:
        return len(self.files)

    @property
    def said(self) -> NDArray[np.int64]:
        """Index of the class with the largest score, shape (N,); of equal scores the first class wins."""
        best: NDArray[np.int64] = self.scores.argmax(axis=1)
        return best

    @property
    def labelled(self) -> NDArray[np.bool_]:
        """Which rows have a known truth, shape (N,)."""
        return self.truth >= 0

    def select(self, rows: NDArray[np.bool_]) -> "Predictions":
        """Keep some rows.

        Args:
            rows: True = keep, shape (N,), at least one.

        Returns:
            The same table with those rows.
        """
        kept = np.flatnonzero(rows).tolist()

        def pick(column: tuple[str, ...]) -> tuple[str, ...]:
            return tuple(column[row] for row in kept)

        columns = map(pick, (self.files, self.patients, self.eyes, self.sites, self.cameras))
        files, patients, eyes, sites, cameras = columns
        return replace(
            self,
            files=files,
            patients=patients,
            eyes=eyes,
            sites=sites,
            cameras=cameras,
            truth=self.truth[kept],
            scores=self.scores[kept],
            quality=pick(self.quality),
        )


def write_predictions(path: Path, predictions: Predictions) -> None:
    """Write a prediction table as CSV, whole or not at all.

    Columns are ``patient, eye, file, truth, quality, prediction, score_<class>...``, then ``site, camera`` when any is
    known. Truth and prediction are class names; the patient is empty where patients are not known. Scores are written
    with every digit, so reading gives the same numbers.

    Args:
        path: File to write; an older one is replaced in one step.
        predictions: The table.

    Raises:
        OSError: If the folder is missing or the disk is full; an older file is then untouched.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> table = Predictions(("a.png",), ("p1",), ("OD",), ("",), ("",), np.array([1]), np.array([[0.2, 0.8]]),
        ...                     ("normal", "cataract"), False, True, ("good",))
        >>> with TemporaryDirectory() as folder:
        ...     write_predictions(Path(folder) / "predictions.csv", table)
        ...     print((Path(folder) / "predictions.csv").read_text())
        patient,eye,file,truth,quality,prediction,score_normal,score_cataract
        p1,OD,a.png,cataract,good,cataract,0.2,0.8

    References:
        RFC 4180.
    """
    table, classes = predictions, predictions.classes
    extra = any(table.sites) or any(table.cameras)
    header = ["patient", "eye", "file", "truth", "quality", "prediction", *(f"score_{name}" for name in classes)]
    rows = [
        [
            table.patients[row] if table.patients_known else "",
            table.eyes[row],
            table.files[row],
            classes[truth] if truth >= 0 else "",
            table.quality[row],
            classes[said],
            *map(repr, scores),
            *([table.sites[row], table.cameras[row]] if extra else []),
        ]
        for row, (truth, said, scores) in enumerate(
            zip(table.truth.tolist(), table.said.tolist(), table.scores.tolist(), strict=True)
        )
    ]
    _write(path, [*header, *(["site", "camera"] if extra else [])], rows)


def read_predictions(path: Path, *, ordered: bool = False) -> Predictions:
    """Read a prediction table that ``write_predictions`` wrote.

    Args:
        path: CSV file.
        ordered: Whether the order of the classes is a grade; the file does not say.

    Returns:
        The table, with exactly the numbers that were written.

    Raises:
        ValueError: If a column is missing, a score is no number, or a truth is no class; all problems together, with
            file and line.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     path = Path(folder) / "predictions.csv"
        ...     _ = path.write_text("patient,eye,file,truth,quality,prediction,score_a,score_b\\np,,1.png,b,,a,0.9,0.1")
        ...     read_predictions(path).truth.tolist()
        [1]

    References:
        RFC 4180.
    """
    with path.open(newline="", encoding="utf-8", errors="surrogateescape") as stream:
        reader = csv.reader(stream)
        header = next(reader, [])
        lines = [(reader.line_num, cells) for cells in reader if cells]
    needed = ["patient", "eye", "file", "truth", "quality"]
    classes = tuple(name.removeprefix("score_") for name in header if name.startswith("score_"))
    problems = [f"there is no column {name!r}" for name in needed if name not in header]
    problems += [] if classes else ["there is no column that begins with 'score_'"]
    problems += [] if len(set(header)) == len(header) else ["two columns have the same name"]
    problems += [] if lines else ["there is no row below the header"]
    if problems:
        raise ValueError(complaint(str(path), problems))
    place = {name: column for column, name in enumerate(header)}
    index = {"": -1, **{name: k for k, name in enumerate(classes)}}
    truth, scores = np.full(len(lines), -1), np.full((len(lines), len(classes)), np.nan)
    for row, (line, cells) in enumerate(lines):
        if len(cells) != len(header):
            problems.append(f"line {line}: {len(cells)} cells under {len(header)} columns")
            continue
        if cells[place["truth"]] not in index:
            problems.append(f"line {line}: truth {shown(cells[place['truth']])!r} is none of the score columns")
        truth[row] = index.get(cells[place["truth"]], -1)
        for k, name in enumerate(classes):
            cell = cells[place[f"score_{name}"]]
            try:
                scores[row, k] = float(cell)
            except ValueError:
                problems.append(f"line {line}: score_{name} is no number: {shown(cell)!r}")
    if problems:
        raise ValueError(complaint(str(path), problems))

    def column(name: str) -> tuple[str, ...]:
        return tuple(cells[place[name]] for _, cells in lines) if name in place else ("",) * len(lines)

    patients, files = column("patient"), column("file")
    known = any(patients)
    if known and not all(patients):
        problems = [f"line {lines[row][0]}: the patient is missing" for row, name in enumerate(patients) if not name]
        raise ValueError(complaint(str(path), problems))
    try:
        return Predictions(
            files,
            patients if known else files,
            column("eye"),
            column("site"),
            column("camera"),
            truth=truth,
            scores=scores,
            classes=classes,
            ordered=ordered,
            patients_known=known,
            quality=column("quality"),
        )
    except ValueError as problem:
        raise ValueError(f"{path}: {problem}") from problem


def _shape_problems(table: Predictions) -> list[str]:
    """Everything that does not fit together; values are looked at only when all fits."""
    count, width = len(table.files), len(table.classes)
    problems = [] if count else ["there is no row: nothing was predicted"]
    for name in ("patients", "eyes", "sites", "cameras", "quality"):
        length = len(getattr(table, name))
        if length != count:
            problems.append(f"{name} has {length} entries for {count} files")
    if table.truth.shape != (count,) or not np.issubdtype(table.truth.dtype, np.integer):
        problems.append(f"truth must be {count} whole numbers, got shape {table.truth.shape} {table.truth.dtype}")
    if table.scores.shape != (count, width) or table.scores.dtype != np.float64:
        problems.append(f"scores must be ({count}, {width}) float64, got {table.scores.shape} {table.scores.dtype}")
    if width < 2:
        problems.append(f"at least two classes are needed, got {width}")
    if len(set(table.classes)) != width or not all(table.classes):
        problems.append(
            f"class names must be different and not empty, got {listed(table.classes) if width else 'none'}"
        )
    return problems


def _value_problems(table: Predictions) -> list[str]:
    """Every row whose numbers cannot be right."""
    wrong = np.isnan(table.scores).any(axis=1)
    outside = ~wrong & ((table.scores < 0) | (table.scores > 1)).any(axis=1)
    # float16 scores of many classes add up with an error of this size; a forgotten softmax is far beyond it.
    uneven = ~wrong & ~outside & (np.abs(table.scores.sum(axis=1) - 1) > 1e-2)
    strange = (table.truth < -1) | (table.truth >= len(table.classes))
    problems = []
    for marks, words in (
        (wrong, "a score is NaN"),
        (outside, "a score is outside [0, 1]; logits need a softmax first"),
        (uneven, "the scores do not add up to 1"),
        (strange, f"truth is not in 0..{len(table.classes) - 1} (or -1 when not known)"),
    ):
        problems += [f"row {row} ({shown(table.files[row])}): {words}" for row in np.flatnonzero(marks).tolist()]
    return problems


def _write(path: Path, header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Write a header and rows, whole or not at all."""
    with atomic_file(path) as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)
