"""Labels from folders: train/val/test/<class>, train/test/<class>, or <class>."""

import re
from dataclasses import dataclass

from eyeground.data.listing import Listing, is_image
from eyeground.data.problem import Problem
from eyeground.images.laterality import eye_from_name
from eyeground.images.retinal_image import Eye

SPLIT_WORDS = {
    "train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val",
    "test": "test", "testing": "test",
}  # fmt: skip


@dataclass(frozen=True)
class Entry:
    """One image as a folder or a table names it, its label still a word.

    Args:
        file: Path below the data folder.
        label: Name of the class, ``""`` when not labelled.
        patient: Patient or group, ``""`` when not known.
        eye: ``"OD"``, ``"OS"`` or ``""``.
        site: Where it was taken.
        camera: What it was taken with.
        split: ``"train"``, ``"val"``, ``"test"`` or ``""``.
        row: Its line in the table, None for folders.
        values: Truth of each head, where several or a quantity are asked.

    Example:
        >>> Entry("a.png", "normal").split
        ''

    References:
        Our own.
    """

    file: str
    label: str
    patient: str = ""
    eye: Eye = ""
    site: str = ""
    camera: str = ""
    split: str = ""
    row: int | None = None
    values: tuple[float, ...] = ()


@dataclass(frozen=True)
class Found:
    """What a folder or a table holds, with all that is wrong or worth saying.

    Args:
        entries: The images.
        problems: What is wrong.
        notes: What is worth knowing but stops nothing.
        patients_known: Whether every image has its patient.

    Example:
        >>> Found((), (), ()).patients_known
        False

    References:
        Our own.
    """

    entries: tuple[Entry, ...]
    problems: tuple[Problem, ...]
    notes: tuple[str, ...]
    patients_known: bool = False


def read_layout(
    listing: Listing, *, group: str | None, labels_required: bool, volumes: bool = False, source: str = ""
) -> Found:
    """Read labels and splits from the names of folders.

    Folders named train, val (valid, validation) or test hold class folders; else the folders themselves are classes.
    Without labels every image at any depth is taken.

    Args:
        listing: The data folder.
        group: Regular expression with one capturing bracket that finds the patient in the file name; None if the names
            do not tell.
        labels_required: Whether images must lie in class folders.
        volumes: Whether the folders inside a class folder are volumes whose images are slices.
        source: Name for messages.

    Returns:
        The images with problems and notes.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Path(folder, "normal").mkdir()
        ...     _ = Path(folder, "normal", "7_left.png").write_bytes(b"x")
        ...     read_layout(Listing(Path(folder)), group=r"^(\\d+)_", labels_required=True).entries[0].patient
        '7'

    References:
        Our own.
    """
    walk = _Walk(listing, source, volumes)
    try:
        if not labels_required:
            walk.everything("")
        else:
            walk.top()
    except LookupError as error:
        walk.problems.append(Problem(str(error), "", None, source))
    entries = walk.entries
    if group is not None:
        entries = _with_patients(entries, group, walk.problems, source)
    if walk.strays:
        walk.notes.append(f"{len(walk.strays)} files that are not images are ignored (first: {walk.strays[0]})")
    return Found(tuple(entries), tuple(walk.problems), tuple(walk.notes), group is not None)


class _Walk:
    """One pass over a data folder."""

    def __init__(self, listing: Listing, source: str, volumes: bool) -> None:
        self.listing, self.source, self.volumes = listing, source, volumes
        self.entries: list[Entry] = []
        self.problems: list[Problem] = []
        self.notes: list[str] = []
        self.strays: list[str] = []

    def top(self) -> None:
        """Tell the layout and read it."""
        files, folders = self.listing.scan("")
        splits = {name: SPLIT_WORDS[name.lower()] for name in folders if name.lower() in SPLIT_WORDS}
        if not splits:
            self.classes("", "")
            return
        self.loose(files, "", "lies beside the folders train, val, test; move it into a class folder")
        for name, refusal in folders.items():
            if refusal:
                self.problem(refusal, name)
            elif name not in splits:
                self.problem("is a folder beside train, val, test that is not read; move it out or into them", name)
        for split in sorted(set(splits.values())):
            names = [name for name, meant in splits.items() if meant == split]
            if len(names) > 1:
                self.problem(f"the folders {' and '.join(names)} mean the same split; join them", "")
        for name, split in splits.items():
            if not folders[name]:
                self.classes(name, split)

    def classes(self, parent: str, split: str) -> None:
        """Read the class folders below a folder."""
        files, folders = self.listing.scan(parent)
        images = [name for name in files if is_image(name)]
        if images and not folders:
            what = f"holds {len(images)} images but no class folders; make a folder for each class, or give a table"
            self.problem(what, parent or ".")
            return
        self.loose(files, parent, "lies beside the class folders; move it into one of them")
        if not folders:
            self.problem("holds no class folders with images", parent or ".")
        for name, refusal in folders.items():
            folder = f"{parent}/{name}" if parent else name
            if refusal:
                self.problem(refusal, folder)
            else:
                self.one_class(folder, name, split)

    def one_class(self, folder: str, label: str, split: str) -> None:
        """Read one class folder."""
        files, folders = self.listing.scan(folder)
        images = {name: refusal for name, refusal in files.items() if is_image(name)}
        self.strays += [f"{folder}/{name}" for name in files if name not in images]
        if self.volumes:
            for name, refusal in folders.items():
                if refusal:
                    self.problem(refusal, f"{folder}/{name}")
                else:
                    self.entries.append(Entry(f"{folder}/{name}", label, eye=eye_from_name(name), split=split))
        elif folders and not images:
            what = f"holds folders, not images; if they are the classes, add /{folder} to the path, else move images up"
            self.problem(what, folder)
            return
        for name in folders if not self.volumes else ():
            what = "is a folder inside a class folder, which is not read; move its images up, or set volumes: true"
            self.problem(what, f"{folder}/{name}")
        if not images and not (self.volumes and folders):
            if split in ("val", "test"):
                self.notes.append(f"the class folder {folder} is empty")
            else:
                self.problem("is an empty class folder; fill it or remove it", folder)
        for name, refusal in images.items():
            file = f"{folder}/{name}"
            if refusal:
                self.problem(refusal, file)
            else:
                self.entries.append(Entry(file, label, eye=eye_from_name(name), split=split))

    def everything(self, folder: str) -> None:
        """Take every image at any depth, without labels."""
        files, folders = self.listing.scan(folder)
        place = f"{folder}/" if folder else ""
        for name, refusal in files.items():
            if not is_image(name):
                self.strays.append(place + name)
            elif refusal:
                self.problem(refusal, place + name)
            else:
                self.entries.append(Entry(place + name, "", eye=eye_from_name(name)))
        for name, refusal in folders.items():
            if refusal or self.listing.is_link(place + name):
                self.problem(refusal or "is a symbolic link to a folder; give the folder itself", place + name)
            else:
                self.everything(place + name)

    def loose(self, files: dict[str, str], parent: str, what: str) -> None:
        """Report images that lie where no label can be read from their place."""
        for name in files:
            file = f"{parent}/{name}" if parent else name
            if is_image(name):
                self.problem(what, file)
            else:
                self.strays.append(file)

    def problem(self, what: str, file: str) -> None:
        """Note one problem."""
        self.problems.append(Problem(what, file, None, self.source))


def _with_patients(entries: list[Entry], group: str, problems: list[Problem], source: str) -> list[Entry]:
    """Find each image's patient in its file name."""
    try:
        pattern = re.compile(group)
    except re.error as error:
        problems.append(Problem(f"group={group!r} is no regular expression ({error})", "", None, source))
        return entries
    if pattern.groups != 1:
        what = f"group={group!r} must have one capturing bracket, as in ^(\\d+)_; it has {pattern.groups}"
        problems.append(Problem(what, "", None, source))
        return entries
    known = []
    for entry in entries:
        match = pattern.search(entry.file.rpartition("/")[2])
        if match is None or not match.group(1):
            problems.append(Problem(f"group={group!r} finds no patient in this file name", entry.file, None, source))
        else:
            known.append(Entry(entry.file, entry.label, match.group(1), entry.eye, split=entry.split))
    return known
