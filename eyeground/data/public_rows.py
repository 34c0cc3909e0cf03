"""The rows of a public set that the ordinary readers cannot take as it is: joined tables, folders of slices."""

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from eyeground.atomic_file import atomic_file
from eyeground.data.listing import Listing, is_image
from eyeground.data.problem import DataProblems, Problem
from eyeground.data.public import Images, PublicDataset, TablePart, Tables, Volumes
from eyeground.data.table import nearest, open_table

COLUMNS = ("file", "label", "group", "split")


@dataclass(frozen=True)
class Row:
    """One image, or one volume, of a public set.

    Args:
        file: Path below the set's folder.
        label: Label of its class as the description writes it; ``""`` without one.
        patient: Patient, ``""`` where not known.
        split: ``"train"``, ``"val"``, ``"test"`` or ``""``.

    Example:
        >>> Row("a/1.png", "AMD").patient
        ''

    References:
        Our own.
    """

    file: str
    label: str
    patient: str = ""
    split: str = ""


@dataclass(frozen=True)
class Rows:
    """What a folder holds of a public set.

    Args:
        rows: Its images.
        problems: What is wrong.
        notes: What is worth saying but stops nothing.

    Example:
        >>> Rows((Row("1.png", ""),)).notes
        ()

    References:
        Our own.
    """

    rows: tuple[Row, ...]
    problems: tuple[Problem, ...] = ()
    notes: tuple[str, ...] = ()


def read_tables(dataset: PublicDataset, layout: Tables, root: Path) -> Rows:
    """Join the tables of a set; a row without a label, or whose image is not there, is left out and counted.

    Args:
        dataset: The set.
        layout: How it is laid out.
        root: Folder that the layout's paths are relative to.

    Returns:
        The rows, with labels as the description writes them.

    Example:
        >>> import tempfile
        >>> from eyeground.pick import pick
        >>> aptos = pick("data.datasets", "aptos2019").DATASET
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Path(folder, "train_images").mkdir()
        ...     _ = Path(folder, "train_images", "f00.png").write_bytes(b"x")
        ...     _ = Path(folder, "train.csv").write_text("id_code,diagnosis\\nf00,2\\n")
        ...     read_tables(aptos, aptos.layouts[1], Path(folder)).rows
        (Row(file='train_images/f00.png', label='2', patient='', split=''),)

    References:
        Our own.
    """
    listing = Listing(root)
    rows: list[Row] = []
    problems: list[Problem] = []
    notes: list[str] = []
    for part in layout.parts:
        try:
            cells = _cells(part, root)
        except DataProblems as error:
            problems += error.problems
            continue
        missing: list[str] = []
        bare: list[str] = []
        taken: dict[str, int] = {}
        for line, name, word, patient in cells:
            known = dataset.class_of(word)
            if not word:
                bare.append(name)
                continue
            if known is None:
                labels = ", ".join(each.label for each in dataset.classes)
                what = f"the label {word!r} is none of the classes {labels}; correct it or remove the row"
                problems.append(Problem(what, part.table, line))
                continue
            try:
                file = listing.find(f"{part.images}/{name}" if part.images else name)
            except LookupError:
                missing.append(name)
                continue
            if file in taken:
                problems.append(Problem(f"{name} stands in row {taken[file]} already; remove one", part.table, line))
                continue
            taken[file] = line
            rows.append(Row(file, known.label, patient or patient_of(file, layout.group), part.split))
        notes += _left_out(part.table, "whose images are not in the folder", missing, len(cells))
        notes += _left_out(part.table, "without a label", bare, len(cells))
        notes += _untold(listing, part, set(taken))
    return Rows(tuple(rows), tuple(problems), tuple(notes))


def read_volumes(dataset: PublicDataset, layout: Volumes, root: Path) -> Rows:
    """List the volumes of a set, each a folder of slices.

    Args:
        dataset: The set.
        layout: How it is laid out.
        root: Folder that the layout's paths are relative to.

    Returns:
        A row a volume; the folder's name is its patient.

    Example:
        >>> import tempfile
        >>> from eyeground.pick import pick
        >>> duke = pick("data.datasets", "duke_oct").DATASET
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     slices = Path(folder, "AMD7", "TIFFs", "8bitTIFFs")
        ...     slices.mkdir(parents=True)
        ...     _ = (slices / "001.tif").write_bytes(b"x")
        ...     read_volumes(duke, duke.layouts[0], Path(folder)).rows
        (Row(file='AMD7/TIFFs/8bitTIFFs', label='AMD', patient='AMD7', split=''),)

    References:
        Our own.
    """
    listing = Listing(root)
    rows: list[Row] = []
    problems: list[Problem] = []
    for parent in layout.folders:
        try:
            folders = listing.scan(parent)[1]
        except LookupError:
            continue
        for name, refusal in folders.items():
            match = re.fullmatch(layout.pattern, name)
            if match is None:
                continue
            file = "/".join(filter(None, (parent, name, layout.slices)))
            word = match.groupdict().get("label") or ""
            known = dataset.class_of(word)
            try:
                slices = [slice for slice in listing.files(file) if is_image(slice)]
            except LookupError as error:
                refusal, slices = refusal or str(error), []
            if refusal or not slices:
                problems.append(Problem(refusal or "holds no slices; unpack it again or remove it", file))
            else:
                rows.append(Row(file, known.label if known else "", name))
    return Rows(tuple(rows), tuple(problems))


def read_images(layout: Images, root: Path) -> Rows:
    """List images without labels.

    Args:
        layout: How they are laid out.
        root: Folder that the layout's paths are relative to.

    Returns:
        A row an image.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Path(folder, "a").mkdir()
        ...     _ = Path(folder, "a", "7_left.png").write_bytes(b"x")
        ...     read_images(Images("", "", "", ("a",), r"^(\\d+)_"), Path(folder)).rows
        (Row(file='a/7_left.png', label='', patient='7', split=''),)

    References:
        Our own.
    """
    listing = Listing(root)
    rows: list[Row] = []
    problems: list[Problem] = []
    for folder in layout.folders:
        try:
            files = listing.files(folder)
        except LookupError:
            continue
        for name, refusal in files.items():
            file = f"{folder}/{name}" if folder else name
            if is_image(name) and refusal:
                problems.append(Problem(refusal, file))
            elif is_image(name):
                rows.append(Row(file, "", patient_of(file, layout.group)))
    return Rows(tuple(rows), tuple(problems))


def patient_of(file: str, group: str) -> str:
    """Find the patient in a file's name.

    Args:
        file: Path of the file.
        group: Pattern with one bracket; empty = names do not tell.

    Returns:
        The patient, ``""`` where the name does not tell.

    Example:
        >>> patient_of("train/10_left.jpeg", r"^(\\d+)_")
        '10'

    References:
        Our own.
    """
    match = re.search(group, file.rpartition("/")[2]) if group else None
    return match.group(1) if match else ""


def write_rows(path: Path, rows: Sequence[Row]) -> None:
    """Write rows as a table that every command reads.

    Args:
        path: CSV file to write, columns file, label, group, split; a column without a value is left out.
        rows: The rows.

    Raises:
        OSError: If the file cannot be written; an older one stays as it was.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_rows(Path(folder, "t.csv"), [Row("a.png", "AMD", "7", "test")])
        ...     Path(folder, "t.csv").read_text().splitlines()
        ['file,label,group,split', 'a.png,AMD,7,test']

    References:
        Our own.
    """
    cells = [(row.file, row.label, row.patient, row.split) for row in rows]
    # An empty column named group would be taken for patients that are missing.
    used = [place for place in range(len(COLUMNS)) if any(row[place] for row in cells)]
    with atomic_file(path) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([COLUMNS[place] for place in used])
        writer.writerows([row[place] for place in used] for row in cells)


def _cells(part: TablePart, root: Path) -> list[tuple[int, str, str, str]]:
    """Line, file, label and patient of each row of a table."""
    table = open_table(root / part.table)
    wanted = [part.file, part.label, *filter(None, (part.patient,))]
    problems = [
        Problem(
            f"there is no column {name!r}{nearest(name, table.columns)} It has: {', '.join(table.columns)}", part.table
        )
        for name in wanted
        if name not in table.columns
    ]
    if problems:
        raise DataProblems(problems)
    # Spreadsheets write whole numbers with a point.
    found = [(line, [re.sub(r"^(\d+)\.0+$", r"\1", cell) for cell in cells]) for line, cells in table.rows(wanted)]
    return [(line, cells[0], cells[1], cells[2] if part.patient else "") for line, cells in found if cells[0]]


def _left_out(table: str, why: str, names: Sequence[str], rows: int) -> list[str]:
    """Say how many rows were left out."""
    return [f"{table}: {len(names)} of {rows} rows {why} are left out (first: {names[0]})"] if names else []


def _untold(listing: Listing, part: TablePart, taken: set[str]) -> list[str]:
    """Say how many images of a folder its table does not name."""
    try:
        here = [f"{part.images}/{name}" if part.images else name for name in listing.files(part.images)]
    except LookupError:
        return []
    left = [file for file in here if is_image(file) and file not in taken]
    return [f"{len(left)} images stand in no row with a label and are left out (first: {left[0]})"] if left else []
