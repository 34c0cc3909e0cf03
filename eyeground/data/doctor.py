"""The doctor: everything that is wrong or odd in a data set, from one pass over its images."""

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Final

from eyeground.data.exam.case import Case
from eyeground.data.exam.examination import examine_all
from eyeground.data.exam.finding import SEVERITIES, Finding, counted
from eyeground.data.exam.sameness import find_twins
from eyeground.data.listing import Listing, is_image
from eyeground.data.manifest import Manifest, Source, survey
from eyeground.data.problem import DataProblems, Problem
from eyeground.data.sample import Sample
from eyeground.data.spread import Spread
from eyeground.data.table import open_table
from eyeground.pick import names, pick

Watch = Callable[[str], AbstractContextManager[Callable[[int, int], None]]]

# Endings of pictures that no reader reads: such a file was meant to be an image and is left out in silence.
_PICTURE_ENDINGS: Final = frozenset(
    (".gif", ".webp", ".heic", ".heif", ".avif", ".jp2", ".j2k", ".psd", ".svg", ".jxl")
)
_FOLDERS_DEEP: Final = 6
# Notes of the survey that a file of the shelf says with the files' names.
_TOLD_BETTER: Final = ("has no image of", "tell another eye")
_SPLITS: Final = ("train", "val", "test")


@dataclass(frozen=True, eq=False)
class Checkup:
    """What the doctor found.

    Args:
        case: The data set.
        findings: Faults first, then what is odd, then notes; of one severity, alike ones together.

    Example:
        >>> Checkup(Case((), (), (), True), ()).sick
        False

    References:
        Our own.
    """

    case: Case
    findings: tuple[Finding, ...]

    @property
    def sick(self) -> bool:
        """Whether anything but notes was found."""
        return any(found.severity != "note" for found in self.findings)


def check(
    sources: Sequence[Source],
    *,
    classes: Sequence[str] | None = None,
    split: Path | Callable[[Sequence[Sample]], Sequence[Sample]] | None = None,
    keep: bool = True,
    spread: Spread | None = None,
    watch: Watch | None = None,
) -> Checkup:
    """Examine a data set and name everything wrong or odd.

    Args:
        sources: Where the images are.
        classes: Names of the classes; None takes those found.
        split: A split file, or a function that gives samples their splits; None takes what the sources say.
        keep: Whether to keep what was measured for later runs, and to use what is kept.
        spread: Who looks at the images; None = threads of this process.
        watch: Opens a progress display for a piece of work of some name.

    Returns:
        The findings.

    Raises:
        DataProblems: If a source cannot be read at all, so that there is nothing to examine.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for name in ("a/1.png", "b/2.png"):
        ...         Path(folder, name).parent.mkdir()
        ...         _ = Path(folder, name).write_bytes(b"GIF89a")
        ...     checkup = check([Source(Path(folder))], keep=False)
        >>> [found.kind for found in checkup.findings if found.severity == "fault"]
        ['same image under two labels', 'wrong type of file']

    References:
        Our own.
    """
    named = [replace(s, name=s.name or s.path.absolute().name) for s in sources] if len(sources) > 1 else list(sources)
    manifest, problems = _survey(named, classes)
    placed, more = _with_splits(manifest.samples, split)
    samples, words, spellings, misspelled = _merge_spellings(placed, manifest.classes)
    display = watch or (lambda _: nullcontext(lambda done, of: None))
    with ExitStack() as stack:
        with display("examining images") as done:
            facts, prints = stack.enter_context(examine_all(samples, keep=keep, spread=spread, progress=done))
        with display("comparing look-alikes") as done:
            twins = find_twins(samples, facts, prints, progress=done)
    strays, unlisted = _beside(named, samples)
    notes = [note for note in manifest.notes if not any(words in note for words in _TOLD_BETTER)]
    if unlisted:
        notes.append(f"{counted(unlisted, 'image')} in the data folders stand in no row of the table and are not read")
    case = Case(
        samples=samples,
        facts=facts,
        classes=words,
        patients_known=manifest.patients_known,
        twins=twins,
        problems=(*problems, *more),
        spellings=spellings,
        misspelled=misspelled,
        folders={source.name: source.path for source in named},
        strays=strays,
        notes=tuple(notes),
    )
    found = [each for name in names("data.faults") for each in pick("data.faults", name).find(case)]
    return Checkup(case, tuple(sorted(found, key=lambda each: (SEVERITIES.index(each.severity), each.kind))))


def _survey(sources: Sequence[Source], classes: Sequence[str] | None) -> tuple[Manifest, tuple[Problem, ...]]:
    """Read folders and tables; a folder without any labels is read as such."""
    manifest, problems = survey(sources, classes=classes)
    if not manifest.samples and all(source.table is None for source in sources):
        bare, others = survey(sources, classes=classes, labels_required=False)
        if bare.samples:
            note = "there are no labels here, so only what needs none is checked"
            return replace(bare, notes=(*bare.notes, note)), others
    empty = {source.name for source in sources} - {sample.source for sample in manifest.samples}
    if empty:
        raise DataProblems(problems or [Problem("no images were found; check the path")])
    return manifest, problems


def _with_splits(
    samples: Sequence[Sample], split: Path | Callable[[Sequence[Sample]], Sequence[Sample]] | None
) -> tuple[tuple[Sample, ...], tuple[Problem, ...]]:
    """Give samples the splits of a file or a function, leaks and all."""
    if split is None:
        return tuple(samples), ()
    if not isinstance(split, Path):
        return tuple(split(samples)), ()
    table = open_table(split)
    wanted = ("source", "file", "patient", "split")
    if lacking := [column for column in wanted if column not in table.columns]:
        raise DataProblems([Problem(f"is no split file: it lacks the column {', '.join(lacking)}", split.name)])
    problems = []
    there = {(sample.source, sample.file): sample for sample in samples}
    placed: dict[tuple[str, str], str] = {}
    sliced = "slice" in table.columns
    for row, cells in table.rows([*wanted, "slice"] if sliced else wanted, strip=False):
        source, file, patient, word = cells[:4]
        key = (source, file) if (source, file) in there else ("", file)
        if key not in there:
            problems.append(Problem("stands in the split file but not in the data", file, row, source))
            continue
        if word not in _SPLITS:
            problems.append(
                Problem(f"the split {word!r} of the split file is none of train, val, test", file, row, source)
            )
        elif key in placed and not sliced:
            problems.append(Problem("stands twice in the split file", file, row, source))
        elif there[key].patient != patient:
            what = f"the patient was {patient!r} when the split file was made and is {there[key].patient!r} now"
            problems.append(Problem(what, file, row, source))
        placed[key] = word if word in _SPLITS else ""
    for key, sample in there.items():
        if key not in placed:
            problems.append(Problem(f"is not in the split file {split.name}", sample.file, None, sample.source))
    return tuple(replace(s, split=placed.get((s.source, s.file), "")) for s in samples), tuple(problems)


def _merge_spellings(
    samples: Sequence[Sample], classes: Sequence[str]
) -> tuple[tuple[Sample, ...], tuple[str, ...], dict[str, dict[str, int]], frozenset[str]]:
    """Make one class of labels that differ only in case, spaces or zeros, named as most of its images are."""
    counts = Counter(sample.label for sample in samples if sample.label is not None)
    alike: dict[str, list[int]] = defaultdict(list)
    for number, word in enumerate(classes):
        plain = "".join(word.split()).casefold()
        alike[str(int(plain)) if plain.isascii() and plain.isdigit() else plain].append(number)
    usual = {number: max(same, key=lambda n: counts[n]) for same in alike.values() for number in same}
    words = tuple(classes[number] for number in sorted(set(usual.values())))
    place = {number: words.index(classes[most]) for number, most in usual.items()}
    spellings = {
        classes[usual[same[0]]]: {classes[number]: counts[number] for number in same}
        for same in alike.values()
        if len(same) > 1
    }
    misspelled = frozenset(s.id for s in samples if s.label is not None and usual[s.label] != s.label)
    merged = tuple(s if s.label is None else replace(s, label=place[s.label]) for s in samples)
    return merged, words, spellings, misspelled


def _beside(sources: Sequence[Source], samples: Sequence[Sample]) -> tuple[tuple[str, ...], int]:
    """Find pictures of kinds that are not read, and count images that stand in no table."""
    strays: list[str] = []
    unlisted = 0
    for source in sources:
        listed = {sample.file for sample in samples if sample.source == source.name}
        listing = Listing(source.path)
        waiting = [""]
        while waiting:
            folder = waiting.pop()
            try:
                files, folders = listing.scan(folder)
            except LookupError:
                continue  # told by the survey
            place = f"{folder}/" if folder else ""
            for name in files:
                if PurePosixPath(name).suffix.lower() in _PICTURE_ENDINGS and place + name not in listed:
                    strays.append(str(source.path / (place + name)))
                elif source.table is not None and is_image(name) and place + name not in listed:
                    unlisted += 1
            if place.count("/") < _FOLDERS_DEEP:
                waiting += [
                    place + name
                    for name, refusal in folders.items()
                    if not refusal and place + name not in listed and not listing.is_link(place + name)
                ]
    return tuple(sorted(strays)), unlisted
