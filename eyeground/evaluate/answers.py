"""The table of answers: what a model says of images whose truth nobody knows."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from eyeground.atomic_file import atomic_file
from eyeground.data.task import Head


def answer_columns(head: Head, scores: NDArray[np.float64], *, alone: bool) -> dict[str, list[str]]:
    """Put into words what one head says of images.

    Args:
        head: What was asked.
        scores: Shape (N, columns) as the head has them; a row of NaN is an image that cannot be graded.
        alone: Whether it is the only head: its name is then left out of the columns' names.

    Returns:
        Column to N cells, empty for an image that cannot be graded, for ungradable is never "normal": of classes and
        grades ``prediction`` and ``score_<class>``; of yes or no ``prediction`` and ``score``, that of yes; of a
        quantity ``prediction``. With several heads ``prediction_<head>``, ``score_<head>_<class>``, ``score_<head>``.

    Raises:
        ValueError: If the shape is another, or a row is NaN in part.

    Example:
        >>> answer_columns(Head("AMD"), np.array([[0.75], [np.nan]]), alone=False)
        {'prediction_AMD': ['yes', ''], 'score_AMD': ['0.75', '']}

    References:
        Our own.
    """
    if scores.ndim != 2 or scores.shape[1] != head.columns:
        raise ValueError(f"scores of {head.name!r} have shape {scores.shape}, not (N, {head.columns})")
    finite = np.isfinite(scores)
    if torn := np.flatnonzero(finite.any(axis=1) & ~finite.all(axis=1)).tolist():
        raise ValueError(f"row {torn[0]}: only some scores of {head.name!r} are NaN")
    graded: list[bool] = [bool(row.all()) for row in finite]

    def told(words: Sequence[object]) -> list[str]:
        return [str(word) if known else "" for word, known in zip(words, graded, strict=True)]

    tail = "" if alone else f"_{head.name}"
    if head.kind == "quantity":
        return {f"prediction{tail}": told([repr(value) for value in scores[:, 0].tolist()])}
    whole = np.concatenate([1 - scores, scores], axis=1) if head.kind == "yes_no" else scores
    said = {f"prediction{tail}": told([head.classes[k] for k in whole.argmax(axis=1).tolist()])}
    if head.kind == "yes_no":
        return said | {f"score{tail}": told([repr(value) for value in scores[:, 0].tolist()])}
    columns = zip(head.classes, scores.T.tolist(), strict=True)
    return said | {f"score{tail}_{name}": told([repr(value) for value in values]) for name, values in columns}


def write_answers(
    path: Path,
    *,
    files: Sequence[str],
    eyes: Sequence[str],
    quality: Sequence[str],
    columns: Mapping[str, Sequence[str]],
) -> None:
    """Write what the model says of images without known truth, as CSV, whole or not at all.

    Args:
        path: File to write; its first columns are ``file, eye, quality``.
        files: Path of each image, N.
        eyes: ``"OD"``, ``"OS"`` or ``""``, N.
        quality: ``"good"``, ``"fair"``, ``"cannot grade: <reason>"`` or ``""``, N.
        columns: Further columns: name -> N cells, written as they are.

    Raises:
        ValueError: If lengths differ; all that do are named.
        OSError: If the folder is missing or the disk is full; an older file is then untouched.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> said = answer_columns(Head("x", "classes", ("normal", "cataract")),
        ...                       np.array([[0.25, 0.75], [np.nan, np.nan]]), alone=True)
        >>> with TemporaryDirectory() as folder:
        ...     write_answers(Path(folder) / "answers.csv", files=["a.png", "b.png"], eyes=["OD", ""],
        ...                   quality=["good", "cannot grade: haze"], columns=said)
        ...     print((Path(folder) / "answers.csv").read_text())
        file,eye,quality,prediction,score_normal,score_cataract
        a.png,OD,good,cataract,0.25,0.75
        b.png,,cannot grade: haze,,,

    References:
        RFC 4180.
    """
    write_columns(path, {"file": files, "eye": eyes, "quality": quality, **columns})


def write_columns(path: Path, columns: Mapping[str, Sequence[str]]) -> None:
    """Write a table column by column, as CSV, whole or not at all.

    Args:
        path: File to write.
        columns: Name -> N cells, written as they are.

    Raises:
        ValueError: If lengths differ; all that do are named.
        OSError: If the folder is missing or the disk is full; an older file is then untouched.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     write_columns(Path(folder) / "t.csv", {"file": ["a.png"], "truth": ["yes"]})
        ...     (Path(folder) / "t.csv").read_text().split()
        ['file,truth', 'a.png,yes']

    References:
        RFC 4180.
    """
    rows = len(next(iter(columns.values()), ()))
    wrong = [
        f"{name} has {len(cells)} entries for {rows} rows" for name, cells in columns.items() if len(cells) != rows
    ]
    if wrong:
        raise ValueError(f"{path}: {'; '.join(wrong)}")
    with atomic_file(path) as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))
