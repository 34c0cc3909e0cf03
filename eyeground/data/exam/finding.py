"""What the doctor has to say about a data set: one finding is one thing wrong or odd, with every file it is about."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Severity = Literal["fault", "odd", "note"]
SEVERITIES: tuple[Severity, ...] = ("fault", "odd", "note")


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong or odd.

    Args:
        kind: What sort of thing, in a few words that never change, such as ``"patient in two splits"``.
        severity: ``"fault"`` spoils training or its result, ``"odd"`` may, ``"note"`` is only worth knowing.
        sentence: What was found. Never holds what a personal field says.
        advice: What to do about it.
        files: Every image it is about, as the user would open it: data folder, then the path in it.
        figures: Numbers it rests on, by name.

    Example:
        >>> Finding("empty", "fault", "the file is empty", "copy it again", ("data/a.png",)).severity
        'fault'

    References:
        Our own.
    """

    kind: str
    severity: Severity
    sentence: str
    advice: str
    files: tuple[str, ...] = ()
    figures: Mapping[str, float] = field(default_factory=dict)


def counted(number: int, noun: str) -> str:
    """Write a number with its noun.

    Args:
        number: How many.
        noun: In the singular; its plural adds an s (es after s and ss).

    Returns:
        Words.

    Example:
        >>> counted(1, "image"), counted(12000, "class")
        ('1 image', '12,000 classes')

    References:
        Our own.
    """
    ending = "" if number == 1 else "es" if noun.endswith("s") else "s"
    return f"{number:,} {noun}{ending}"
