"""Files that are not the images they should be: truncated, empty, of a wrong type, wrongly named, not to be graded."""

from collections import defaultdict
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Final

from eyeground.data.exam.case import Case
from eyeground.data.exam.finding import Finding, counted

_ENDINGS: Final = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "PNG": (".png",),
    "TIFF": (".tif", ".tiff"),
    "BMP": (".bmp", ".dib"),
    "DICOM": (".dcm", ".dicom", ""),
}
_KINDS: Final = {
    "empty": "empty file",
    "truncated": "truncated file",
    "not_an_image": "wrong type of file",
    "format_not_allowed": "wrong type of file",
}
_ADVICE: Final = {
    "empty": "copy the files again from where they came",
    "truncated": "copy the files again from where they came; the copy broke off",
    "not_an_image": "find out what the files are, and leave them out or replace them",
    "format_not_allowed": "convert the files, or leave them out",
}


def find(case: Case) -> Iterator[Finding]:
    """Name the files that cannot be read, that lie about their format, and that cannot be graded.

    Args:
        case: The data set.

    Yields:
        A finding for each reason.

    Example:
        >>> list(find(Case((), (), (), True)))
        []

    References:
        Our own.
    """
    refused: dict[tuple[str, str], list[int]] = defaultdict(list)
    named: dict[tuple[str, str], list[int]] = defaultdict(list)
    poor: dict[str, list[int]] = defaultdict(list)
    fair = 0
    for number, (sample, facts) in enumerate(zip(case.samples, case.facts, strict=True)):
        if not facts.sound:
            refused[facts.refusal, facts.sentence].append(number)
            continue
        ending = PurePosixPath(sample.file).suffix.lower()
        if not sample.path.is_dir() and ending not in _ENDINGS.get(facts.format, (ending,)):
            named[ending or "no ending", facts.format].append(number)
        if facts.quality == "cannot grade":
            poor["; ".join(facts.reasons)].append(number)
        fair += facts.quality == "fair"
    for (reason, sentence), numbers in sorted(refused.items()):
        yield Finding(
            _KINDS.get(reason, "unreadable file"),
            "fault",
            f"{counted(len(numbers), 'file')}: {sentence}",
            _ADVICE.get(reason, "put the files right, or leave them out"),
            case.files(numbers),
        )
    for (ending, true), numbers in sorted(named.items()):
        yield Finding(
            "wrong file ending",
            "odd",
            f"{counted(len(numbers), 'file')} named {ending} that hold {true}",
            "find out how they were made: files that were converted may differ from the others in more than the name",
            case.files(numbers),
        )
    if poor:
        why = ", ".join(f"{reason} ({len(numbers):,})" for reason, numbers in sorted(poor.items()))
        everyone = sorted(number for numbers in poor.values() for number in numbers)
        yield Finding(
            "cannot be graded",
            "odd",
            f"{counted(len(everyone), 'image')} that nobody could grade: {why}",
            "look at them; leave out what shows no retina",
            case.files(everyone),
        )
    if fair:
        yield Finding(
            "fair quality",
            "note",
            f"{counted(fair, 'image')} of fair quality only",
            "keep them: the model will meet such images; a hazy picture may be what a cataract looks like",
        )
