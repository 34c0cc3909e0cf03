"""A user's copy of a public set: found in a folder, checked against its description, opened as a data source."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from eyeground.data.layout import SPLIT_WORDS
from eyeground.data.listing import Listing
from eyeground.data.manifest import Source, survey
from eyeground.data.problem import DataProblems, Problem
from eyeground.data.public import ClassFolders, Images, Layout, PublicDataset, PublishedSplit, Tables, Volumes
from eyeground.data.public_rows import Row, Rows, read_images, read_tables, read_volumes, write_rows
from eyeground.data.table import nearest

# What RETFound's paper divides by; the seed is fixed so that every run is judged on the same images.
RATIOS, SEED = "55:15:30", 0
TABLE = "eyeground-labels.csv"
_DEEP, _MOST_FOLDERS = 3, 500
_OWN_SPLIT = ClassFolders("a split of your own", "train|val|test/<class>/<image>", "{n}.png")


@dataclass(frozen=True)
class LayoutReport:
    """What a folder holds of a public set, against what it should hold.

    Args:
        root: Where the set begins; None = it was not found.
        layout: How it is laid out, in words; ``""`` if it was not found.
        problems: What stops it from being used as it is.
        notes: What a user should know: how much of the set is there, what is missing.
        counts: Images per split (``""`` = no splits) and class, by the description's labels.
        images: How many there are.
        complete: Whether every class and split has as many images as expected; None where nothing is expected.

    Example:
        >>> LayoutReport(None, "", (), ()).images
        0

    References:
        Our own.
    """

    root: Path | None
    layout: str
    problems: tuple[Problem, ...]
    notes: tuple[str, ...]
    counts: dict[str, dict[str, int]] | None = None
    images: int = 0
    complete: bool | None = None


@dataclass(frozen=True)
class PublicSource:
    """A copy of a public set as the keys of a configuration.

    Args:
        data: Keys of each data source.
        classes: Names of the classes as they stand there, in the description's order; empty without labels.
        ordered: Whether they are grades.
        split: ``"source"`` where the copy has a split of its own to use, else ratios.
        split_seed: Draws the split.
        notes: What a user should know.

    Example:
        >>> PublicSource(({"path": Path("a")},), ("n", "y"), False, "source").split_seed
        0

    References:
        Our own.
    """

    data: tuple[dict[str, Any], ...]
    classes: tuple[str, ...]
    ordered: bool
    split: str
    split_seed: int = SEED
    notes: tuple[str, ...] = ()

    def keys(self) -> dict[str, Any]:
        """Give the keys of a configuration.

        Returns:
            Keys and values for ``eyeground finetune``; without labels only ``data``, for ``eyeground pretrain``.
        """
        data = [{key: str(value) for key, value in source.items()} for source in self.data]
        if not self.classes:
            return {"data": data}
        return {
            "data": data,
            "classes": list(self.classes),
            "ordered": self.ordered,
            "split": self.split,
            "split_seed": self.split_seed,
        }


def find_copy(dataset: PublicDataset, folder: Path) -> tuple[Path, Layout] | None:
    """Look for a public set in a folder and a few levels below it.

    Args:
        dataset: The set.
        folder: Where to look.

    Returns:
        Where it begins and how it is laid out; None if it is not there.

    Example:
        >>> import tempfile
        >>> from eyeground.pick import pick
        >>> octdl = pick("data.datasets", "octdl").DATASET
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Path(folder, "OCTDL", "AMD").mkdir(parents=True)
        ...     find_copy(octdl, Path(folder))[1].name
        'a folder per class'

    References:
        Our own.
    """
    for level in _levels(folder):
        for layout in (*dataset.layouts, _OWN_SPLIT):
            for place in level:
                if _fits(dataset, layout, place):
                    return place, layout
    return None


def check_layout(dataset: PublicDataset, folder: Path) -> LayoutReport:
    """Hold a folder against the description of a public set; no image is opened.

    A part of a set is accepted, with a note that says how much of it is there.

    Args:
        dataset: The set.
        folder: A user's folder.

    Returns:
        What it holds, with every problem at once, each with what to do.

    Example:
        >>> from eyeground.pick import pick
        >>> check_layout(pick("data.datasets", "octid").DATASET, Path("no/such/folder")).problems[0].what
        'there is no such folder; check the path'

    References:
        Our own.
    """
    copy = find_copy(dataset, folder) if folder.is_dir() else None
    if copy is None:
        return LayoutReport(None, "", (_not_found(dataset, folder),), ())
    root, layout = copy
    found, spelled = _read(dataset, layout, root)
    problems = [*found.problems, *_class_problems(dataset, layout, spelled, root)]
    splits = sorted({row.split for row in found.rows}, key=("train", "val", "test", "").index)
    labels = [each.label for each in dataset.classes]
    counts = {split: Counter(row.label for row in found.rows if row.split == split) for split in splits}
    table = {split: {label: counts[split][label] for label in labels} for split in splits}
    labelled = any(row.label for row in found.rows)
    notes, complete = list(found.notes), not problems
    if not found.rows and not problems:
        problems.append(Problem("holds no images that belong to the set; unpack it again", str(root)))
    for note in _against(dataset, layout, table if labelled else {}, len(found.rows)):
        notes.append(note)
        complete = False
    known = dataset.images is not None or any(each.images is not None for each in dataset.classes)
    return LayoutReport(
        root,
        layout.name,
        tuple(problems),
        tuple(notes),
        table if labelled else None,
        len(found.rows),
        complete if known else None,
    )


def open_source(dataset: PublicDataset, folder: Path, *, table: Path | None = None) -> PublicSource:
    """Give a user's copy of a public set as the keys of a configuration.

    The published split is used where the copy has one; else 55:15:30 by patient with a fixed seed.

    Args:
        dataset: The set.
        folder: A user's folder.
        table: Where to write the table of a set whose own tables cannot be read as they are; None = into the set's
            folder.

    Returns:
        The keys.

    Raises:
        DataProblems: If the set is not there, or not as described; all of it at once.
        OSError: If the table cannot be written.

    Example:
        >>> import tempfile
        >>> from eyeground.pick import pick
        >>> octdl = pick("data.datasets", "octdl").DATASET
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for label in ("NO", "AMD"):
        ...         Path(folder, label).mkdir()
        ...         _ = Path(folder, label, f"{label.lower()}_71_1.jpg").write_bytes(b"x")
        ...     source = open_source(octdl, Path(folder))
        >>> source.classes, source.split, source.data[0]["group"]
        (('NO', 'AMD'), '55:15:30', '^[A-Za-z]+_(\\\\d+)_')

    References:
        Our own.
    """
    report = check_layout(dataset, folder)
    if report.problems:
        raise DataProblems(report.problems)
    root, layout = find_copy(dataset, folder) or (folder, dataset.layouts[0])
    found, spelled = _read(dataset, layout, root)
    has = {row.split for row in found.rows}
    use = {"train", "test"} <= has and not (isinstance(layout, ClassFolders) and layout.resplit)
    patients = bool(found.rows) and all(row.patient for row in found.rows)
    data: tuple[dict[str, Any], ...]
    if isinstance(layout, ClassFolders):
        data = ({"path": root, "name": dataset.name} | ({"group": layout.group} if patients else {}),)
        classes = tuple(word for each in dataset.classes for word, known in spelled.items() if known == each.label)
    elif isinstance(layout, Images):
        group = {"group": layout.group} if patients else {}
        used = [place for place in layout.folders if any(row.file.startswith(f"{place}/") for row in found.rows)]
        names = {place: f"{dataset.name}-{place.replace('/', '-')}" for place in used}
        data = tuple({"path": root / place, "name": name} | group for place, name in names.items())
        classes = ()
    else:
        written = table or root / TABLE
        write_rows(written, found.rows if patients else [replace(row, patient="") for row in found.rows])
        columns = {"table": written, "file": "file"} | ({"group": "group"} if patients else {})
        labelled = any(row.label for row in found.rows)
        columns |= ({"label": "label"} if labelled else {}) | ({"split": "split"} if use else {})
        data = ({"path": root, "name": dataset.name} | columns,)
        present = {row.label for row in found.rows}
        classes = tuple(each.label for each in dataset.classes if each.label in present - {""})
    return PublicSource(data, classes, dataset.ordered, "source" if use else RATIOS, notes=report.notes)


def _levels(folder: Path) -> Iterator[list[Path]]:
    """The folder, then those in it, and so on, a few levels deep; hidden ones and links are not entered."""
    level, seen = [folder], 0
    for _ in range(_DEEP + 1):
        yield level
        below: list[Path] = []
        for place in level:
            try:
                folders = Listing(place).scan("")[1]
            except LookupError:
                continue
            below += [
                place / name for name, refusal in folders.items() if not refusal and not (place / name).is_symlink()
            ]
            seen += len(folders)
            if seen > _MOST_FOLDERS:
                return
        level = below


def _fits(dataset: PublicDataset, layout: Layout, place: Path) -> bool:
    """Tell whether a folder looks like a layout's beginning."""
    if isinstance(layout, Tables):
        return all((place / part.table).is_file() and (place / part.images).is_dir() for part in layout.parts)
    if isinstance(layout, Images):
        return any((place / folder).is_dir() for folder in layout.folders)
    listing = Listing(place)
    if isinstance(layout, Volumes):
        return bool(read_volumes(dataset, layout, place).rows)
    folders = listing.scan("")[1]
    if not (layout.splits or layout is _OWN_SPLIT):
        return any(dataset.class_of(name) for name in folders)
    splits = [name for name in folders if name.lower() in SPLIT_WORDS and not folders[name]]
    below = {inner for name in splits for inner in listing.scan(name)[1]}
    enough = {"train", "test"} <= {SPLIT_WORDS[name.lower()] for name in splits}
    return enough and any(dataset.class_of(name) for name in below)


def _read(dataset: PublicDataset, layout: Layout, root: Path) -> tuple[Rows, dict[str, str]]:
    """Read a copy; also each label as it stands there, with the description's label or ``""`` for it."""
    if isinstance(layout, Tables):
        return read_tables(dataset, layout, root), {}
    if isinstance(layout, Volumes):
        return read_volumes(dataset, layout, root), {}
    if isinstance(layout, Images):
        return read_images(layout, root), {}
    source = Source(root, group=layout.group or None)
    manifest, problems = survey([source])
    notes = list(manifest.notes)
    unnamed = [problem for problem in problems if problem.what.startswith("group=")]
    if unnamed:  # a copy whose files were renamed still has its classes
        manifest, problems = survey([replace(source, group=None)])
        notes = [f"{len(unnamed)} file names do not tell the patient (first: {unnamed[0].file}); so none is used"]
        notes += manifest.notes
    spelled = {word: known.label if (known := dataset.class_of(word)) else "" for word in manifest.classes}
    rows = tuple(
        Row(
            sample.file,
            spelled[manifest.classes[sample.label]] if sample.label is not None else "",
            sample.patient if manifest.patients_known else "",
            sample.split,
        )
        for sample in manifest.samples
    )
    # That patients are not known is said by the description; here only what the copy adds.
    told = [note for note in notes if "patients are not known" not in note]
    return Rows(rows, problems, tuple(told)), spelled


def _class_problems(dataset: PublicDataset, layout: Layout, spelled: dict[str, str], root: Path) -> Iterator[Problem]:
    """Report class folders that are not the set's, and classes that have two folders."""
    words = [word for each in dataset.classes for word in (each.label, *each.also)]
    for word, label in spelled.items():
        if not label:
            count = len(dataset.classes)
            what = f"the class folder {word!r} is none of the {count} classes of {dataset.title}{nearest(word, words)}"
            yield Problem(f"{what.rstrip('?')}; rename it, or move it out", str(root))
    for each in dataset.classes:
        same = [word for word, label in spelled.items() if label == each.label]
        if len(same) > 1:
            yield Problem(f"the folders {' and '.join(same)} are the same class; join them", str(root))


def _against(dataset: PublicDataset, layout: Layout, counts: dict[str, dict[str, int]], images: int) -> Iterator[str]:
    """Compare with what is expected: a note of what is missing, of what is too much, of other splits."""
    missing: list[str] = []
    surplus: list[str] = []

    def compare(what: str, has: int, wanted: int | None) -> None:
        if wanted is not None and has < wanted:
            missing.append(f"{what} {has} of {wanted}")
        elif wanted is not None and has > wanted:
            surplus.append(f"{what} {has}, not {wanted}")

    expected: Sequence[PublishedSplit] = layout.splits if isinstance(layout, ClassFolders | Tables) else ()
    for split in expected:
        here = counts.get(split.name, {})
        if split.by_class:
            for each, wanted in zip(dataset.classes, split.by_class, strict=True):
                compare(f"{split.name} {each.label}", here.get(each.label, 0), wanted)
        else:
            compare(split.name, sum(here.values()), split.images)
    if missing and surplus:
        others = _some([*missing, *surplus])
        yield f"its splits are not the published ones ({others}): its results do not stand beside published ones"
        missing, surplus = [], []
    told = any(split.by_class for split in expected)
    for each in dataset.classes if counts else ():
        total = sum(split.get(each.label, 0) for split in counts.values())
        if not total:
            missing.append(f"no image of {each.label} ({each.en})")
        elif not told:
            compare(each.label, total, each.images)
    if not missing and not surplus:
        compare("images", images, dataset.images)
    if missing:
        whole = f" of {dataset.images}" if dataset.images else ""
        yield f"a part of the set, {images}{whole} images: {_some(missing)}"
    if surplus:
        yield f"more than the set has ({_some(surplus)}): another edition of it, or images that are not its own"


def _some(words: Sequence[str], most: int = 8) -> str:
    """The first of many words."""
    return "; ".join(words[:most]) + (f"; and {len(words) - most} more" if len(words) > most else "")


def _not_found(dataset: PublicDataset, folder: Path) -> Problem:
    """Say that a set is not there, and how it should look."""
    if not folder.is_dir():
        what = "is no folder" if folder.exists() else "there is no such folder"
        return Problem(f"{what}; check the path", str(folder))
    empty = not any(folder.iterdir())
    ways = "; or ".join(f"{layout.name}: {' + '.join(layout.tree.splitlines())}" for layout in dataset.layouts)
    what = "is empty" if empty else f"holds nothing that looks like {dataset.title}"
    labels = ", ".join(each.label for each in dataset.classes[:8]) + (" ..." if len(dataset.classes) > 8 else "")
    return Problem(f"{what}; lay it out as {ways} (classes: {labels})", str(folder))
