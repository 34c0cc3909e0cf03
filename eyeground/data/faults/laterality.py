"""Eyes that are called left in one place and right in another."""

from collections.abc import Iterator
from typing import Final

from eyeground.data.exam.case import Case
from eyeground.data.exam.finding import Finding, counted
from eyeground.images.laterality import eye_from_name

# The disc alone errs: what it says must be nearly certain before a person is asked to look.
_SURE: Final = 0.9
_MANY: Final = 0.1


def find(case: Case) -> Iterator[Finding]:
    """Compare the table with the file's name, the file's header and the optic disc.

    Args:
        case: The data set.

    Yields:
        A finding for each two that contradict each other.

    Example:
        >>> list(find(Case((), (), (), True)))
        []

    References:
        Our own.
    """
    by_name: list[int] = []
    by_header: list[int] = []
    by_disc: list[int] = []
    judged = 0
    for number, (sample, facts) in enumerate(zip(case.samples, case.facts, strict=True)):
        named = eye_from_name(sample.file)
        stated = sample.eye or named or facts.file_eye
        if named and sample.eye and named != sample.eye:
            by_name.append(number)
        if facts.file_eye and facts.file_eye != (sample.eye or named or facts.file_eye):
            by_header.append(number)
        if facts.disc_eye and stated and facts.disc_confidence >= _SURE:
            judged += 1
            if facts.disc_eye != stated:
                by_disc.append(number)
    for numbers, what in ((by_name, "file name"), (by_header, "file's header")):
        if numbers:
            yield Finding(
                "left and right contradict",
                "fault",
                f"{counted(len(numbers), 'image')}: the table says one eye and the {what} the other",
                "look at them: seen as usual, the optic disc lies to the right in a right eye's photograph",
                case.files(numbers),
            )
    if by_disc:
        many = len(by_disc) > _MANY * judged
        yield Finding(
            "left and right contradict the disc",
            "odd",
            f"{counted(len(by_disc), 'image')} of {judged:,} whose optic disc lies as in the other eye",
            "so many: most likely pictures stand on their heads or are mirrored, or the eye's words are swapped"
            if many
            else "look at them: the eye may be wrong in the table, or the picture mirrored",
            case.files(by_disc),
            {"contradictions": len(by_disc), "judged": judged},
        )
