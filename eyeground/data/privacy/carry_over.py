"""A table of labels carried over to de-identified copies: files and patients under pseudonyms, the rest left behind."""

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from eyeground.atomic_file import atomic_file
from eyeground.data.labels import read_labels
from eyeground.data.layout import Entry
from eyeground.data.listing import Listing
from eyeground.data.privacy.pseudonym import Pseudonyms
from eyeground.data.problem import DataProblems, Problem
from eyeground.data.table import open_table
from eyeground.images.laterality import eye_from_name

_MOST_LABELS = 50  # more different words than this are no classes but remarks


@dataclass(frozen=True)
class Carried:
    """What a table says of each file, before pseudonyms.

    Args:
        entries: One for each row, or for each file if only the file names say the patient.
        kept: Columns to keep as they are -> a cell for each entry.
        clear: Which of site and camera stay as they are.

    Example:
        >>> Carried((Entry("a.png", "normal"),), {}).entries[0].label
        'normal'

    References:
        Our own.
    """

    entries: tuple[Entry, ...]
    kept: Mapping[str, tuple[str, ...]]
    clear: frozenset[str] = frozenset()


def read_carried(source: Path, table: Path, *, columns: Mapping[str, str | None], keep: Sequence[str] = ()) -> Carried:
    """Read the table of the originals.

    Args:
        source: Folder of the originals.
        table: CSV or Parquet table.
        columns: Column named for each of file, label, group, eye, site, camera, split; None takes the usual name.
        keep: Further columns to keep, as they are; or the column of the site or camera, to keep it clear.

    Returns:
        Its rows.

    Raises:
        DataProblems: If it has faults, lacks a column, or its labels look like remarks.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = Path(folder, "smith.png").write_bytes(b"x")
        ...     _ = Path(folder, "t.csv").write_text("file,label,age\\nsmith.png,normal,71\\n")
        ...     read_carried(Path(folder), Path(folder, "t.csv"), columns={}, keep=["age"]).kept
        {'age': ('71',)}

    References:
        Our own.
    """
    found = read_labels(Listing(source), table, columns=dict(columns), labels_required=False)
    if found.problems:
        raise DataProblems(found.problems)
    opened = open_table(table)
    problems = [
        Problem(f"there is no column {name!r} to keep", table.name) for name in keep if name not in opened.columns
    ]
    labels = {entry.label for entry in found.entries}
    label_column = columns.get("label") or "label"
    if len(labels) > _MOST_LABELS and label_column not in keep:
        what = (
            f"the label column holds {len(labels)} different words, so it may hold remarks about people; "
            f"look at it, then keep it with --keep-column {label_column}"
        )
        problems.append(Problem(what, table.name))
    if problems:
        raise DataProblems(problems)
    roles = {columns.get(role) or role for role in ("label", "site", "camera")}
    cells = dict(opened.rows([name for name in keep if name not in roles]))
    kept = {
        name: tuple(cells[entry.row][place] for entry in found.entries if entry.row is not None)
        for place, name in enumerate(name for name in keep if name not in roles)
    }
    clear = frozenset(role for role in ("site", "camera") if (columns.get(role) or role) in keep)
    return Carried(found.entries, kept, clear)


def carried_from_names(files: Sequence[str], pattern: str) -> Carried:
    """Read the patients out of file names.

    Args:
        files: Paths of the originals.
        pattern: Regular expression with one bracket, searched in each file's name.

    Returns:
        An entry for each file.

    Raises:
        ValueError: If it is no such expression.

    Example:
        >>> carried_from_names(["a/7_left.jpg"], r"^(\\d+)_").entries[0].patient
        '7'

    References:
        Our own.
    """
    try:
        search = re.compile(pattern)
    except re.error as error:
        raise ValueError(f"{pattern!r} is no regular expression ({error})") from error
    if search.groups != 1:
        raise ValueError(f"{pattern!r} must have one bracket, as in ^(\\d+)_; it has {search.groups}")
    entries = []
    for file in files:
        name = file.rpartition("/")[2]
        match = search.search(name)
        entries.append(Entry(file, "", (match[1] or "") if match else "", eye_from_name(name)))
    return Carried(tuple(entries), {})


def write_carried(
    path: Path, carried: Carried, copies: Mapping[str, str], pseudonyms: Pseudonyms, patients: Mapping[str, str]
) -> int:
    """Write the table of the copies; a column that nobody fills is left away.

    Args:
        path: CSV file to write.
        carried: What the originals' table says.
        copies: Original -> its copy; what was not copied gets no row.
        pseudonyms: Stand for patients, sites and cameras.
        patients: Copy -> the pseudonym that its own header says, for rows without a patient.

    Returns:
        Rows written.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     carried = Carried((Entry("smith.png", "normal", "SMITH"),), {})
        ...     _ = write_carried(Path(folder, "t.csv"), carried, {"smith.png": "i1.png"}, Pseudonyms(b"k" * 32), {})
        ...     Path(folder, "t.csv").read_text()[:32]
        'file,label,patient\\ni1.png,normal'

    References:
        Our own.
    """
    rows = list(_rows(carried, copies, pseudonyms, patients))
    columns = [name for name in rows[0] if any(row[name] for row in rows)] if rows else ["file"]
    with atomic_file(path) as file:
        writer = csv.DictWriter(file, columns, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return len(rows)


def _rows(
    carried: Carried, copies: Mapping[str, str], pseudonyms: Pseudonyms, patients: Mapping[str, str]
) -> Iterator[dict[str, str]]:
    """Each copy's row."""

    def veiled(role: str, word: str) -> str:
        return word if role in carried.clear or not word else pseudonyms.of(word, kind=role[0])

    for number, entry in enumerate(carried.entries):
        if entry.file not in copies:
            continue
        copy = copies[entry.file]
        yield {
            "file": copy,
            "label": entry.label,
            "patient": pseudonyms.of(entry.patient) if entry.patient else patients.get(copy, ""),
            "eye": entry.eye,
            "site": veiled("site", entry.site),
            "camera": veiled("camera", entry.camera),
            "split": entry.split,
            **{name: cells[number] for name, cells in carried.kept.items()},
        }
