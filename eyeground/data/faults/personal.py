"""Personal data in file names and in the headers of the files; what it says is never repeated."""

import re
from collections import defaultdict
from collections.abc import Iterator
from typing import Final

from eyeground.data.exam.case import Case
from eyeground.data.exam.finding import Finding, counted

_KINDS: Final = {
    "a number like that of an identity card": re.compile(
        r"(?<!\d)\d{6}(?:19|20)\d{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])\d{3}[\dXx](?!\d)"
    ),
    "an e-mail address": re.compile(r"[\w.+-]+@[\w-]+\.[A-Za-z]{2,}"),
    "a telephone number": re.compile(r"(?<!\d)(?:\+\d{1,3}[ -]?)?1[3-9]\d{9}(?!\d)|(?<!\d)\+\d{10,14}(?!\d)"),
    "a date, of birth or of a visit": re.compile(
        r"(?<!\d)(?:19\d\d|20[0-3]\d)[-_.]?(?:0[1-9]|1[0-2])[-_.]?(?:0[1-9]|[12]\d|3[01])(?!\d)"
        r"|(?<!\d)(?:0[1-9]|[12]\d|3[01])[-.](?:0[1-9]|1[0-2])[-.](?:19\d\d|20[0-3]\d)(?!\d)"
    ),
    "a word that announces a name or a birthday": re.compile(
        r"(?:^|[^A-Za-z])(?:name|surname|firstname|lastname|patientname|dob|birth(?:day|date)?|ssn|mrn)(?:[^A-Za-z]|$)"
        r"|姓名|身份证|生日|电话",
        re.IGNORECASE,
    ),
}
# Two capitalized words, or a surname in capitals and a given name, or the hat that DICOM puts between them.
_PERSON: Final = re.compile(
    r"^(?:[A-Z][a-z]{2,}[ _,]+[A-Z][a-z]{2,}|[A-Z]{3,}[_, ]+[A-Z][a-z]{2,})(?=[ _,.\d-]|$)|[A-Za-z]+\^[A-Za-z]+"
)
_MOST_FILES_OF_ONE: Final = 10  # a "name" that more files begin with is a word of the set
# Words that two capitalized words of a file name usually are.
_NOT_NAMES: Final = re.compile(
    r"left|right|eye|image|img|scan|normal|retina|fundus|macula|disc|photo|train|test|valid|color|optic|diabetic|"
    r"glaucoma|cataract|drusen|edema|study|series|patient|subject|sample|view|field|center|centre|camera|site|group|"
    r"class|grade|level|data|set|copy|small|large|the|oct|amd|dme|cnv|bscan|volume|slice",
    re.IGNORECASE,
)
# What a header field of such a name says is a person's; others, such as comments, may be.
_SURE: Final = re.compile(
    r"gps|artist|owner|author|patient|name|birth|address|phone|physician|operator|person", re.IGNORECASE
)


def find(case: Case) -> Iterator[Finding]:
    """Name the files whose name or header holds what may tell who was photographed.

    Args:
        case: The data set.

    Yields:
        A finding for each kind of personal data; the kind, never the data.

    Example:
        >>> list(find(Case((), (), (), True)))
        []

    References:
        GB 11643-1999 for the form of Chinese identity numbers. The rest our own.
    """
    in_names: dict[str, list[int]] = defaultdict(list)
    in_headers: dict[str, list[int]] = defaultdict(list)
    people: dict[str, list[int]] = defaultdict(list)
    for number, (sample, facts) in enumerate(zip(case.samples, case.facts, strict=True)):
        kind = told_by_name(sample.file)
        person = "" if kind else person_in(sample.file)
        if kind:
            in_names[kind].append(number)
        elif person:
            people[person].append(number)
        for field in facts.personal:
            in_headers[field].append(number)
    for numbers in people.values():
        if len(numbers) <= _MOST_FILES_OF_ONE:
            in_names["what looks like a person's name"] += numbers
    for kind, numbers in sorted(in_names.items()):
        yield Finding(
            "personal data in file names",
            "fault",
            f"{counted(len(numbers), 'file name')} with {kind}",
            "give the files other names, with 'eyeground data deidentify' or by hand",
            case.files(sorted(numbers)),
        )
    for field, numbers in sorted(in_headers.items()):
        sure = _SURE.search(field) is not None
        yield Finding(
            "personal data in headers",
            "fault" if sure else "odd",
            f"{counted(len(numbers), 'file')} with the header field {field}, which "
            + ("tells who or where" if sure else "may tell who or where"),
            "take it out with 'eyeground data deidentify'",
            case.files(numbers),
        )


def told_by_name(file: str) -> str:
    """Say what kind of personal data a file's name may hold.

    Args:
        file: Path below the data folder.

    Returns:
        The kind in words, the gravest one; ``""`` if nothing strikes the eye.

    Example:
        >>> told_by_name("a/110101199003074514_left.jpg"), told_by_name("cataract/1062_right.jpg")
        ('a number like that of an identity card', '')

    References:
        Our own.
    """
    stem = file.rpartition(".")[0] or file
    return next((kind for kind, pattern in _KINDS.items() if pattern.search(stem)), "")


def person_in(file: str) -> str:
    """Find what looks like a person's name at the beginning of a file's name.

    Args:
        file: Path below the data folder.

    Returns:
        The words; ``""`` if there are none. Only for counting: never show them.

    Example:
        >>> person_in("a/Smith_John_left.jpg"), person_in("Diabetic Retinopathy/Left Eye_3.jpg")
        ('Smith_John', '')

    References:
        Our own.
    """
    match = _PERSON.search(file.rpartition("/")[2].rpartition(".")[0])
    if match is None or ("^" not in match[0] and _NOT_NAMES.search(match[0])):
        return ""
    return match[0]
