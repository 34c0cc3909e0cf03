"""A cleaned table of a data set, and what was left out of it and why; no image is touched."""

import csv
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from eyeground.atomic_file import atomic_file
from eyeground.data.exam.case import Case
from eyeground.data.sample import Sample

COLUMNS: Final = ("file", "label", "patient", "eye", "site", "camera", "split")
_STRONGER: Final = ("test", "val", "train")  # which split keeps a patient that stands in several


@dataclass(frozen=True)
class LeftOut:
    """One image or row that the cleaned table lacks.

    Args:
        source: Name of its source.
        file: As the table or the folder names it.
        reason: Why, in words.

    Example:
        >>> LeftOut("", "a.png", "the file is empty").reason
        'the file is empty'

    References:
        Our own.
    """

    source: str
    file: str
    reason: str


@dataclass(frozen=True)
class Remedy:
    """A cleaned data set.

    Args:
        samples: What is kept; patients that share a picture are joined to one.
        labels: Class of each of them, in words.
        left_out: What is not.
        patients_known: Whether the patients mean more than "this image".

    Example:
        >>> Remedy((), (), (), True).samples
        ()

    References:
        Our own.
    """

    samples: tuple[Sample, ...]
    labels: tuple[str, ...]
    left_out: tuple[LeftOut, ...]
    patients_known: bool


def cure(case: Case) -> Remedy:
    """Decide what to keep.

    Out go: files that cannot be read; rows without file, label, patient or with an unknown split; every copy of a
    picture that stands under two labels; all but the first of identical files of one patient and split. Patients that
    share a picture become one. A patient in several splits keeps the images of one of them, test before val before
    train: what others have tested on stays, and training loses the leak. Labels take their commonest spelling. What is
    merely odd (quality, near-identical pictures of one patient, contradicting eyes) stays.

    Args:
        case: The data set.

    Returns:
        What is kept, and what is not.

    Example:
        >>> cure(Case((), (), (), True)).left_out
        ()

    References:
        Our own.
    """
    reasons: dict[int, str] = {}
    left_out = [
        LeftOut(problem.source, problem.file, problem.what.partition("; ")[0])
        for problem in case.problems
        if problem.file and _loses_row(case, problem.what)
    ]
    troubled = {(each.source, each.file) for each in left_out}
    for number, (sample, facts) in enumerate(zip(case.samples, case.facts, strict=True)):
        if not facts.sound:
            reasons[number] = f"cannot be read: {facts.sentence}"
        elif sample.label is None and case.classes:
            reasons[number] = "has no usable label"
        elif not sample.split and case.splits:
            reasons[number] = "has no split while others have one"
        elif (sample.source, sample.file) in troubled and _lost_itself(case, sample):
            reasons[number] = next(e.reason for e in left_out if (e.source, e.file) == (sample.source, sample.file))
    home = _joined_patients(case)
    for twins in case.twins:
        if len({case.samples[number].label for number in twins.members} - {None}) > 1:
            for number in twins.members:
                reasons.setdefault(number, "the same picture stands under another label too")
    _one_split_each(case, home, reasons)
    for twins in case.twins:
        seen: dict[str, str] = {}
        for number in twins.members:
            digest = case.facts[number].sha256
            if number not in reasons and digest in seen:
                reasons[number] = f"the same file as {seen[digest]}"
            elif number not in reasons:
                seen[digest] = case.samples[number].file
    kept = [number for number in range(len(case.samples)) if number not in reasons]
    samples = tuple(replace(case.samples[number], patient=home[number]) for number in kept)
    told = {(each.source, each.file) for each in left_out}
    left_out += [
        LeftOut(case.samples[number].source, case.samples[number].file, why)
        for number, why in sorted(reasons.items())
        if (case.samples[number].source, case.samples[number].file) not in told
    ]
    joined = len({sample.patient for sample in case.samples}) > len(set(home))
    return Remedy(samples, tuple(case.label(n) for n in kept), tuple(left_out), case.patients_known or joined)


def write_remedy(path: Path, remedy: Remedy, sources: Sequence[str]) -> tuple[Path, ...]:
    """Write the cleaned table and, beside it, what was left out.

    Args:
        path: CSV file to write. With several sources each has a table of its own: ``name.SOURCE.csv``.
        remedy: What to write.
        sources: Names of the sources.

    Returns:
        The files written, the list of what was left out (``name.left_out.csv``) last. The column ``patient`` is
        written where patients are known, ``split`` where images have splits: an empty one would be read as a fault.

    Raises:
        OSError: If they cannot be written; older files stay as they were.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     [file.name for file in write_remedy(Path(folder, "clean.csv"), Remedy((), (), (), True), [""])]
        ['clean.csv', 'clean.left_out.csv']

    References:
        Our own.
    """
    written = []
    split = any(sample.split for sample in remedy.samples)
    columns = [c for c in COLUMNS if (c != "patient" or remedy.patients_known) and (c != "split" or split)]
    for source in sources:
        target = path if len(sources) == 1 else path.with_name(f"{path.stem}.{source}{path.suffix}")
        with atomic_file(target) as stream:
            writer = csv.writer(stream, lineterminator="\n")
            writer.writerow(columns)
            for sample, label in zip(remedy.samples, remedy.labels, strict=True):
                if sample.source == source:
                    cells = {"label": label, "patient": _patient(sample)}
                    writer.writerow([cells.get(column) or getattr(sample, column) or "" for column in columns])
        written.append(target)
    beside = path.with_name(f"{path.stem}.left_out.csv")
    with atomic_file(beside) as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(("source", "file", "reason"))
        writer.writerows((each.source, each.file, each.reason) for each in remedy.left_out)
    return (*written, beside)


def _patient(sample: Sample) -> str:
    """A patient's id as it was; of an image that is its own patient, the file."""
    return sample.patient.removeprefix(f"{sample.source}:") if sample.patient.endswith(sample.file) else sample.patient


def _loses_row(case: Case, what: str) -> bool:
    """Whether a problem costs its row a place in the cleaned table."""
    kept = ("differ only in case", "stands in val or test", "names no eye", "when the split file was made")
    return not any(words in what for words in kept)


def _lost_itself(case: Case, sample: Sample) -> bool:
    """Whether a problem is about the sample itself, not about another row of the same file."""
    return any(
        problem.source == sample.source and problem.file == sample.file and "stands in row" not in problem.what
        and "stands twice" not in problem.what and _loses_row(case, problem.what)
        for problem in case.problems
    )  # fmt: skip


def _joined_patients(case: Case) -> list[str]:
    """Each sample's patient, those who share a picture joined under the first one's id."""
    above: dict[str, str] = {}

    def first(patient: str) -> str:
        while above.get(patient, patient) != patient:
            patient = above[patient]
        return patient

    for twins in case.twins:
        roots = [first(case.samples[number].patient) for number in twins.members]
        for root in roots[1:]:
            if first(root) != roots[0]:
                above[first(root)] = roots[0]
    return [first(sample.patient) for sample in case.samples]


def _one_split_each(case: Case, home: Sequence[str], reasons: dict[int, str]) -> None:
    """Leave out the images of a patient in the weaker of its splits."""
    splits: dict[str, set[str]] = defaultdict(set)
    for number, sample in enumerate(case.samples):
        if number not in reasons and sample.split:
            splits[home[number]].add(sample.split)
    for number, sample in enumerate(case.samples):
        strongest = next((split for split in _STRONGER if split in splits[home[number]]), sample.split)
        if number not in reasons and sample.split and sample.split != strongest:
            reasons[number] = f"its patient, or a copy of it, stands in {strongest}"
