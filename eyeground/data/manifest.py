"""Folders and tables of several sources joined into one list of samples, or every problem at once."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from eyeground.data.classes import Label, are_grades, settle_classes
from eyeground.data.labels import read_labels
from eyeground.data.layout import Entry, Found, read_layout
from eyeground.data.listing import Listing, Named
from eyeground.data.problem import DataProblems, Problem
from eyeground.data.sample import Pack, Sample
from eyeground.data.task import Head
from eyeground.data.verify import same_image_two_patients, verify

# The room's front door: what else a caller of read_manifest needs comes from here too.
__all__ = [
    "Count", "DataProblems", "Manifest", "Problem", "Source", "read_manifest", "same_image_two_patients", "survey",
    "verify",
]  # fmt: skip


@dataclass(frozen=True)
class Source:
    """Where one set of images lies and how its labels are told.

    Args:
        path: Folder of the images; the table's file column is relative to it.
        name: Name for counts and messages; part of each sample's id. With several sources an empty name becomes the
            folder's.
        table: CSV or Parquet file with labels; None when the folders are the labels.
        file: Column of the file names, ``"file"`` when None. Names may lack the suffix.
        label: Column of the class names, ``"label"`` when None.
        group: Column of the patients; when None the first there is of group, patient, patient_id. Without a table: a
            regular expression with one capturing bracket, searched in the file name.
        eye: Column of the eye; when None eye or laterality if there is one, else the file name tells.
        site: Column of the site, ``"site"`` when None.
        camera: Column of the camera, ``"camera"`` when None.
        split: Column of the split; None when the table does not say.
        volumes: Without a table: the folders inside a class folder are volumes whose images are slices.
        pack: Where the images lie that the table names, if they have no files of their own in the folder.

    Example:
        >>> Source(Path("images"), table=Path("train.csv"), file="id_code", label="diagnosis").label
        'diagnosis'

    References:
        Our own.
    """

    path: Path
    name: str = ""
    table: Path | None = None
    file: str | None = None
    label: str | None = None
    group: str | None = None
    eye: str | None = None
    site: str | None = None
    camera: str | None = None
    split: str | None = None
    volumes: bool = False
    pack: Pack | None = None


@dataclass(frozen=True)
class Count:
    """How many images one class has in one split of one source.

    Args:
        source: Name of the source.
        split: Name of the split, ``""`` before splitting.
        label: Name of the class, ``""`` when not labelled.
        images: Number of images.
        patients: Number of patients among them; the images' number where patients are not known.

    Example:
        >>> Count("a", "train", "normal", 3, 2).images
        3

    References:
        Our own.
    """

    source: str
    split: str
    label: str
    images: int
    patients: int


@dataclass(frozen=True)
class Manifest:
    """All samples of all sources, with their classes.

    Args:
        samples: The samples, in the order of sources, then rows or file names.
        classes: Names of the classes; a sample's label is an index into them.
        ordered: Whether the classes are grades, each more than the one before.
        patients_known: Whether every sample has its patient. If not, such an image counts as a patient of its own.
        notes: What is worth telling the user but stops nothing.

    Example:
        >>> Manifest((Sample("a.png", Path("d"), 0, "p"),), ("normal",), False, True, ()).counts()
        (Count(source='', split='', label='normal', images=1, patients=1),)

    References:
        Our own.
    """

    samples: tuple[Sample, ...]
    classes: tuple[str, ...]
    ordered: bool
    patients_known: bool
    notes: tuple[str, ...]

    def counts(self) -> tuple[Count, ...]:
        """Count images and patients per source, split and class.

        Returns:
            One count for each combination that occurs, sorted.
        """
        patients: dict[tuple[str, str, int], list[str]] = defaultdict(list)
        for sample in self.samples:
            patients[sample.source, sample.split, -1 if sample.label is None else sample.label].append(sample.patient)
        return tuple(
            Count(source, split, self.classes[label] if label >= 0 else "", len(seen), len(set(seen)))
            for (source, split, label), seen in sorted(patients.items())
        )


def read_manifest(
    sources: Sequence[Source],
    *,
    classes: Sequence[str] | None = None,
    ordered: bool | None = None,
    labels_required: bool = True,
    heads: Sequence[Head] = (),
) -> Manifest:
    """Read the folders and tables of all sources; no image is opened.

    A patient's id means the same person in every source, so that nobody stands in two splits by way of two sources.
    Labels that are all whole numbers are sorted by value and taken as grades; others are sorted by name.

    Args:
        sources: Where the images are.
        classes: Names of the classes in their order; None takes those found.
        ordered: Whether they are grades; None: they are if all are whole numbers.
        labels_required: Whether an image without a label is a problem.
        heads: Questions whose truth stands in a column each of the sources' tables, instead of classes; with a single
            one, a source's ``label`` names its column there.

    Returns:
        The samples with their classes and notes.

    Raises:
        DataProblems: With every problem of every source: missing files, labels and columns, rows that stand twice,
            labels that differ only in case, unknown classes, paths that leave the folder, empty or stray folders.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for name in ("glaucoma", "normal"):
        ...         Path(folder, name).mkdir()
        ...         _ = Path(folder, name, "1.png").write_bytes(b"x")
        ...     read_manifest([Source(Path(folder))]).classes
        ('glaucoma', 'normal')

    References:
        Our own.
    """
    manifest, problems = survey(sources, classes=classes, ordered=ordered, labels_required=labels_required, heads=heads)
    if problems:
        raise DataProblems(problems)
    return manifest


def survey(
    sources: Sequence[Source],
    *,
    classes: Sequence[str] | None = None,
    ordered: bool | None = None,
    labels_required: bool = True,
    heads: Sequence[Head] = (),
) -> tuple[Manifest, tuple[Problem, ...]]:
    """Read the folders and tables of all sources as far as they can be read; no image is opened.

    Args:
        sources: Where the images are.
        classes: Names of the classes in their order; None takes those found.
        ordered: Whether they are grades; None: they are if all are whole numbers.
        labels_required: Whether an image without a label is a problem.
        heads: Questions whose truth stands in a column each of the sources' tables, instead of classes; with a single
            one, a source's ``label`` names its column there.

    Returns:
        What is there, and every problem. With problems, the samples are those whose file exists, each file once; a
        sample without a usable label has none, and labels that are spelled in two ways are two classes.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = Path(folder, "1.png").write_bytes(b"x")
        ...     _ = Path(folder, "t.csv").write_text("file,label\\n1.png,a\\n2.png,b\\n")
        ...     manifest, problems = survey([Source(Path(folder), table=Path(folder, "t.csv"))])
        >>> len(manifest.samples), [str(problem) for problem in problems]
        (1, ['row 3, 2.png: is missing'])

    References:
        Our own.
    """
    problems: list[Problem] = []
    notes: list[str] = []
    found = [(source, _found(source, labels_required, heads)) for source in _named(sources, problems)]
    for source, each in found:
        problems += each.problems
        notes += [f"{source.name}: {note}" if source.name else note for note in each.notes]
        if each.entries and not each.patients_known:
            where = f"{source.name}: " if source.name else ""
            notes.append(
                f"{where}patients are not known, so each image counts as its own patient; name them with group="
            )
    pairs = [(source, entry) for source, each in found for entry in each.entries]
    if not pairs and not problems:
        problems.append(Problem("no images were found; check the path"))
    names, index, wrong = settle_classes(_labels(pairs), classes)
    problems += wrong
    samples = tuple(_sample(source, entry, index) for source, entry in pairs)
    problems += _split_problems(samples, names)
    problems += _one_file_two_sources(samples)
    if problems:
        samples = _there(samples)
    notes += _across_sources(samples, {source.name for source, each in found if each.patients_known})
    notes += _absent(samples, names)
    patients_known = all(each.patients_known for _, each in found)
    grades = are_grades(names) if ordered is None else ordered
    return Manifest(samples, names, grades, patients_known, tuple(notes)), tuple(problems)


def _there(samples: Sequence[Sample]) -> tuple[Sample, ...]:
    """Keep the samples whose file lies in their folder, each file once."""
    listings = {folder: Listing(folder) for folder in {sample.folder for sample in samples}}
    kept: dict[tuple[Path, str], Sample] = {}
    for sample in samples:
        key = (sample.folder, sample.file)
        if not sample.file or key in kept:
            continue
        try:
            if sample.pack is not None or listings[sample.folder].find(sample.file) == sample.file:
                kept[key] = sample
        except LookupError:
            continue
    return tuple(kept.values())


def _named(sources: Sequence[Source], problems: list[Problem]) -> list[Source]:
    """Give every one of several sources a name of its own."""
    named = [replace(s, name=s.name or s.path.absolute().name) for s in sources] if len(sources) > 1 else list(sources)
    for name, count in Counter(source.name for source in named).items():
        if count > 1:
            problems.append(Problem(f"{count} sources are named {name!r}; give each a name of its own"))
    if not named:
        problems.append(Problem("no data source was given; name a folder"))
    return named


def _found(source: Source, labels_required: bool, heads: Sequence[Head]) -> Found:
    """Read one source."""
    if not source.path.is_dir():
        what = "is no folder" if source.path.exists() else "there is no such folder"
        return Found((), (Problem(f"{what}; check the path", str(source.path), None, source.name),), ())
    listing = Listing(source.path)
    if source.table is None and heads:
        what = f"the truth of {', '.join(head.name for head in heads)} stands in a table: give table=FILE"
        return Found((), (Problem(what, str(source.path), None, source.name),), ())
    if source.table is None:
        named = [
            role for role in ("file", "label", "eye", "site", "camera", "split") if getattr(source, role) is not None
        ]
        if named:
            what = f"{', '.join(named)} name{'s' * (len(named) == 1)} columns, but there is no table; give table=FILE"
            return Found((), (Problem(what, "", None, source.name),), ())
        return read_layout(
            listing,
            group=source.group,
            labels_required=labels_required,
            volumes=source.volumes,
            source=source.name,
        )
    roles = ("file", "label", "group", "eye", "site", "camera", "split")
    columns: dict[str, str | None] = {role: getattr(source, role) for role in roles}
    if len(heads) == 1 and source.label and not heads[0].column:
        heads = [replace(heads[0], column=source.label)]
    return read_labels(
        listing if source.pack is None else Named(source.path),
        source.table,
        columns=columns if not heads else {**columns, "label": None},
        labels_required=labels_required,
        source=source.name,
        heads=heads,
    )


def _sample(source: Source, entry: Entry, index: Mapping[str, int]) -> Sample:
    """Bring an entry to a sample; an image whose patient is not known is a patient of its own."""
    return Sample(
        file=entry.file,
        folder=source.path,
        label=index.get(entry.label) if entry.label else None,
        patient=entry.patient or f"{source.name}:{entry.file}",
        eye=entry.eye,
        site=entry.site,
        camera=entry.camera,
        split=entry.split,
        source=source.name,
        values=entry.values,
        pack=source.pack,
    )


def _labels(pairs: Sequence[tuple[Source, Entry]]) -> list[Label]:
    """Each label of each source, with its count and its first image."""
    first: dict[tuple[str, str], Entry] = {}
    count: Counter[tuple[str, str]] = Counter()
    for source, entry in pairs:
        if entry.label:
            first.setdefault((entry.label, source.name), entry)
            count[entry.label, source.name] += 1
    return [Label(word, count[word, name], name, entry.file, entry.row) for (word, name), entry in first.items()]


def _split_problems(samples: Sequence[Sample], names: tuple[str, ...]) -> list[Problem]:
    """Report sources without a split beside others with one, and classes that training would never see."""
    problems = []
    splits = {sample.split for sample in samples}
    bare = sorted({sample.source for sample in samples} - {sample.source for sample in samples if sample.split})
    if bare and len(splits) > 1:
        what = f"{', '.join(bare)} has no splits while other sources have; give splits to all of them or to none"
        problems.append(Problem(what))
    if "train" in splits:
        trained = {sample.label for sample in samples if sample.split == "train"}
        for label in sorted({sample.label for sample in samples if sample.label is not None} - trained):
            what = f"the class {names[label]!r} stands in val or test but not in train; it could not be learned"
            problems.append(Problem(what))
    return problems


def _one_file_two_sources(samples: Sequence[Sample]) -> list[Problem]:
    """Report files that two sources list."""
    roots = {folder: folder.resolve() for folder in {sample.folder for sample in samples}}
    if len({sample.source for sample in samples}) < 2:
        return []
    first: dict[Path, Sample] = {}
    problems = []
    for sample in samples:
        other = first.setdefault(roots[sample.folder] / sample.file, sample)
        if other is not sample:
            what = f"is the same file as {other.file} of {other.source}; leave it out of one source"
            problems.append(Problem(what, sample.file, None, sample.source))
    return problems


def _across_sources(samples: Sequence[Sample], known: set[str]) -> list[str]:
    """Say how many patients stand in more than one source."""
    sources: dict[str, set[str]] = defaultdict(set)
    for sample in samples:
        if sample.source in known:
            sources[sample.patient].add(sample.source)
    shared = sorted(patient for patient, names in sources.items() if len(names) > 1)
    if not shared:
        return []
    return [
        f"{len(shared)} patient ids stand in more than one source and are taken for the same people "
        f"(first: {shared[0]}); if they are not, make the ids different"
    ]


def _absent(samples: Sequence[Sample], names: tuple[str, ...]) -> list[str]:
    """Name the classes without any image, and those that a validation or test split lacks."""
    notes = []
    splits = sorted({sample.split for sample in samples})
    everywhere = {sample.label for sample in samples}
    missing = [name for label, name in enumerate(names) if label not in everywhere]
    if missing:
        notes.append(f"no image of: {', '.join(missing)}")
    for split in splits if len(splits) > 1 else []:
        present = {sample.label for sample in samples if sample.split == split}
        lacking = [name for label, name in enumerate(names) if label not in present and label in everywhere]
        if lacking:
            notes.append(f"{split} has no image of: {', '.join(lacking)}")
    return notes
