"""What reading folders and tables had to complain of: missing files, rows that stand twice, labels in two spellings."""

from collections import defaultdict
from collections.abc import Iterator
from typing import Final

from eyeground.data.exam.case import Case, listed
from eyeground.data.exam.finding import Finding, Severity, counted
from eyeground.data.problem import Problem

# The beginning or a part of a problem's sentence -> what sort of thing it is. Others are "table" faults.
_KINDS: Final = (
    ("is missing", "missing file"),
    ("is the same file as", "file in two sources"),
    ("the same file stands in row", "row twice"),
    ("stands twice in the split file", "row twice"),
    ("the label is missing", "missing label"),
    ("differ only in case", "label spelling"),
    ("is none of the classes", "unknown class"),
    ("the patient (group) is missing", "missing patient"),
    ("names no eye", "unknown eye"),
    ("is none of train, val, test", "unknown split"),
    ("stands in val or test but not in train", "class absent from a split"),
    ("leads out of the data folder", "path out of the folder"),
    ("is an absolute path", "path out of the folder"),
    ("split file", "split file"),
)


def find(case: Case) -> Iterator[Finding]:
    """Bring the problems of folders and tables to findings.

    Args:
        case: The data set.

    Yields:
        One finding for each problem; those of the same words about several files are joined.

    Example:
        >>> [found.kind for found in find(Case((), (), (), True, problems=(Problem("is missing", "a.png", 3),)))]
        ['missing file']

    References:
        Our own.
    """
    alike: dict[tuple[str, str], list[Problem]] = defaultdict(list)
    for problem in case.problems:
        kind = next((kind for words, kind in _KINDS if words in problem.what), "folder or table")
        if kind not in ("label spelling", "class absent from a split"):  # told with more by other files of this shelf
            alike[kind, problem.what].append(problem)
    for (kind, what), problems in alike.items():
        rows = [f"row {problem.row}" for problem in problems if problem.row is not None]
        words, _, advice = what.partition("; ")
        where = f"{listed(rows)}: " if rows else ""
        yield Finding(
            kind,
            "fault",
            where + words,
            advice or "put it right in the table, or bring the file",
            tuple(dict.fromkeys(_file(case, problem) for problem in problems if problem.file)),
        )
    for name, words_of in case.spellings.items():
        told = ", ".join(f"{word!r} ({counted(count, 'image')})" for word, count in words_of.items())
        yield Finding(
            "label spelling",
            "fault",
            f"the class {name!r} is written in {len(words_of)} ways: {told}; they count as one below",
            "write them alike",
            case.files(
                number for number in range(len(case.samples)) if case.label(number) == name and _odd(case, number)
            ),
        )
    if case.strays:
        severity: Severity = "odd"
        yield Finding(
            "file not read",
            severity,
            f"{counted(len(case.strays), 'file')} among the images of a kind that is not read",
            "convert them to PNG if they belong to the set, or move them out",
            case.strays,
        )
    for note in case.notes:
        yield Finding("reading", "note", note, "")


def _file(case: Case, problem: Problem) -> str:
    """Name a problem's file as the user would open it; a table is named as it is."""
    folder = case.folders.get(problem.source)
    plain = problem.file.replace("\\", "/")
    if folder is None or plain.startswith("/") or plain == str(folder):
        return problem.file
    return str(folder / plain)


def _odd(case: Case, number: int) -> bool:
    """Whether an image's label was written in another way than most of its class."""
    return case.samples[number].id in case.misspelled
