"""Labels from a table: its columns found, its rows matched with the files."""

import math
from collections.abc import Sequence
from pathlib import Path

from eyeground.data.layout import SPLIT_WORDS, Entry, Found
from eyeground.data.listing import Listing, Named
from eyeground.data.problem import DataProblems, Problem
from eyeground.data.table import Table, nearest, open_table
from eyeground.data.task import Head
from eyeground.images.laterality import eye_from_name, eye_from_word
from eyeground.images.retinal_image import Eye

_USUAL = {
    "file": ("file",), "label": ("label",), "group": ("group", "patient", "patient_id"), "eye": ("eye", "laterality"),
    "site": ("site",), "camera": ("camera",), "split": (),
}  # fmt: skip


def read_labels(
    listing: Listing | Named,
    path: Path,
    *,
    columns: dict[str, str | None],
    labels_required: bool,
    source: str = "",
    heads: Sequence[Head] = (),
) -> Found:
    """Read the rows of a table and find the file of each.

    Args:
        listing: The folder that the file column is relative to, or what stands for it.
        path: CSV or Parquet table.
        columns: Column named for each of file, label, group, eye, site, camera, split; None takes the usual name.
        labels_required: Whether every row must have a label; with heads, the label of at least one, or it is left out.
        source: Name for messages.
        heads: Questions whose truth stands in a column each, instead of a label.

    Returns:
        The images with problems and notes.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = Path(folder, "7_left.png").write_bytes(b"x")
        ...     _ = Path(folder, "t.csv").write_text("id_code,diagnosis\\n7_left,2\\n")
        ...     found = read_labels(Listing(Path(folder)), Path(folder, "t.csv"), labels_required=True,
        ...                         columns={"file": "id_code", "label": "diagnosis"})
        >>> found.entries[0].file, found.entries[0].label, found.entries[0].eye
        ('7_left.png', '2', 'OS')

    References:
        Our own.
    """
    try:
        table = open_table(path)
        used, problems = _columns(table, columns, labels_required and not heads, source)
        problems += [
            _no_column(table, head, source) for head in heads if (head.column or head.name) not in table.columns
        ]
        if problems:
            return Found((), tuple(problems), ())
        rows = table.rows([*used.values(), *(head.column or head.name for head in heads)])
    except DataProblems as error:
        return Found((), tuple(Problem(each.what, each.file, each.row, source) for each in error.problems), ())
    notes = []
    if table.encoding == "gb18030":
        notes.append(f"the table {path.name} is not UTF-8; it was read as GB18030")
    if "label" not in used and not heads:
        notes.append(f"the table {path.name} has no label column; its images count as not labelled")
    entries, problems, conflicts = _entries(listing, rows, list(used), labels_required, source, heads)
    if heads and labels_required:
        bare = [entry for entry in entries if not any(map(math.isfinite, entry.values))]
        if bare and len(bare) == len(entries):
            named = ", ".join(head.name for head in heads)
            problems.append(Problem(f"no row has a label of {named}; fill its column", path.name, None, source))
        elif bare and not problems:
            notes.append(f"{len(bare)} images have no label of any head and are left out (first: {bare[0].file})")
            entries = [entry for entry in entries if any(map(math.isfinite, entry.values))]
    if not rows:
        problems.append(Problem("the table has no rows", path.name, None, source))
    if conflicts:
        notes.append(
            f"{len(conflicts)} file names tell another eye than the eye column; the column is believed "
            f"(first: {conflicts[0]})"
        )
    return Found(tuple(entries), tuple(problems), tuple(notes), "group" in used)


def _columns(
    table: Table, named: dict[str, str | None], labels_required: bool, source: str
) -> tuple[dict[str, str], list[Problem]]:
    """Settle which column holds what."""
    used: dict[str, str] = {}
    problems = []
    has = ", ".join(table.columns)
    for role, usual in _USUAL.items():
        name = named.get(role)
        if name is not None:
            if name in table.columns:
                used[role] = name
            else:
                what = (
                    f"there is no column {name!r} (named as {role}){nearest(name, table.columns) or '.'} It has: {has}"
                )
                problems.append(Problem(what, table.path.name, None, source))
            continue
        present = [column for column in usual if column in table.columns]
        if present:
            used[role] = present[0]
        elif role == "file" or (role == "label" and labels_required):
            what = f"there is no column {role!r}; say which column it is with {role}=NAME. It has: {has}"
            problems.append(Problem(what, table.path.name, None, source))
    return used, problems


def _no_column(table: Table, head: Head, source: str) -> Problem:
    """Say that the truth of a head is nowhere."""
    name = head.column or head.name
    what = (
        f"there is no column {name!r} for the head {head.name!r}{nearest(name, table.columns) or '.'} It has "
        f"{', '.join(table.columns)}. Where none of its labels is known, a column of empty cells will do"
    )
    return Problem(what, table.path.name, None, source)


def _entries(
    listing: Listing | Named,
    rows: Sequence[tuple[int, list[str]]],
    roles: list[str],
    labels_required: bool,
    source: str,
    heads: Sequence[Head],
) -> tuple[list[Entry], list[Problem], list[str]]:
    """Turn rows to entries; also every problem, and the files whose name tells another eye."""
    entries: list[Entry] = []
    problems: list[Problem] = []
    missing: list[tuple[int, str, str]] = []
    conflicts: list[str] = []
    first_row: dict[str, int] = {}
    eyes: dict[str, Eye] = {}
    for row, cells in rows:
        cell = dict(zip(roles, cells[: len(roles)], strict=True))
        name = cell["file"]
        wrong: list[str] = []
        values = []
        for head, word in zip(heads, cells[len(roles) :], strict=True):
            try:
                values.append(head.read(word))
            except ValueError as error:
                wrong.append(str(error))
                values.append(math.nan)
        file = name
        try:
            file = listing.find(name) if name else ""
        except LookupError as error:
            missing.append((row, name, str(error)))
        if not name:
            wrong.append("the file cell is empty; fill it or remove the row")
        elif file in first_row:
            wrong.append(f"the same file stands in row {first_row[file]} already; remove one")
        else:
            first_row[file] = row
        if labels_required and not heads and not cell["label"]:
            wrong.append("the label is missing; fill it or remove the row")
        if "group" in cell and not cell["group"]:
            wrong.append("the patient (group) is missing; fill it")
        split = SPLIT_WORDS.get(cell.get("split", "").lower(), "")
        if "split" in cell and not split:
            wrong.append(f"the split {cell['split']!r} is none of train, val, test")
        eye = eye_from_name(file)
        word = cell.get("eye", "")
        if word:
            try:
                told = eyes[word] if word in eyes else eyes.setdefault(word, eye_from_word(word))
                if eye and told != eye:
                    conflicts.append(file)
                eye = told
            except ValueError as error:
                wrong.append(str(error))
        problems += [Problem(what, name, row, source) for what in wrong]
        entries.append(
            Entry(
                file, "" if heads else cell.get("label", ""), cell.get("group", ""), eye, cell.get("site", ""),
                cell.get("camera", ""), split, row, tuple(values),
            )
        )  # fmt: skip
    problems = _missing(listing, missing, source) + problems
    return entries, sorted(problems, key=lambda problem: problem.row or 0), conflicts


def _missing(listing: Listing | Named, missing: list[tuple[int, str, str]], source: str) -> list[Problem]:
    """Report the files that were not found; in one sentence if they all lie in images/."""
    inner = Listing(listing.root / "images")
    if missing and inner.root.is_dir() and all(_finds(inner, name) for _, name, _ in missing):
        what = (
            f"{len(missing)} files of the table are not in {listing.root.name}/ but in {listing.root.name}/images/; "
            "the path must be the folder that the file column is relative to, so add /images to it"
        )
        return [Problem(what, "", None, source)]
    return [Problem(what, name, row, source) for row, name, what in missing]


def _finds(listing: Listing, name: str) -> bool:
    """Tell whether a name is found."""
    try:
        listing.find(name)
    except LookupError:
        return False
    return True
