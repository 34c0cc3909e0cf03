"""The classes of a data set: their names and their order, settled from the labels of all sources."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from eyeground.data.problem import Problem
from eyeground.data.table import nearest

_WHOLE = re.compile(r"[+-]?\d+")
_WHOLE_AS_FLOAT = re.compile(r"([+-]?\d+)\.0+")


@dataclass(frozen=True)
class Label:
    """One label as it was written, and where it was seen first.

    Args:
        word: The label.
        images: How many images have it.
        source: Name of the source.
        file: First image that has it.
        row: Its row, None for folders.

    Example:
        >>> Label("normal", 3, "", "a.png", 2).images
        3

    References:
        Our own.
    """

    word: str
    images: int
    source: str
    file: str
    row: int | None


def settle_classes(
    labels: Sequence[Label], wanted: Sequence[str] | None
) -> tuple[tuple[str, ...], dict[str, int], tuple[Problem, ...]]:
    """Decide names and order of the classes.

    Whole numbers are sorted by value, everything else by name; ``"2.0"``, as spreadsheets write a whole number, is 2.

    Args:
        labels: Every label of every source.
        wanted: Names of the classes in their order; None takes those found.

    Returns:
        The names, each label's index, and what is wrong: labels that are alike but for case or spaces, labels that are
        not wanted.

    Example:
        >>> settle_classes([Label("10", 1, "", "a", 2), Label("9.0", 1, "", "b", 3)], None)[:2]
        (('9', '10'), {'10': 1, '9.0': 0})

    References:
        Our own.
    """
    problems: list[Problem] = []
    spelled = {label.word: _plain(label.word) for label in labels}
    if wanted is not None:
        names = tuple(_plain(str(name)) for name in wanted)
        twice = sorted({name for name in names if names.count(name) > 1 or not name})
        problems += [Problem(f"the class {name!r} is empty or stands twice among the classes wanted") for name in twice]
        for label in labels:
            if spelled[label.word] not in names:
                what = (
                    f"the label {label.word!r} ({label.images} image{'s' * (label.images > 1)}, this is the first) "
                    f"is none of the classes {', '.join(names)}{nearest(label.word, names)}"
                )
                problems.append(Problem(what, label.file, label.row, label.source))
    else:
        problems += _alike(labels, spelled)
        found = sorted(set(spelled.values()))
        numbers = all(_WHOLE.fullmatch(name) for name in found)
        names = tuple(sorted(found, key=int) if numbers else found)
    index = {name: place for place, name in enumerate(names)}
    return names, {word: index[name] for word, name in spelled.items() if name in index}, tuple(problems)


def are_grades(names: Sequence[str]) -> bool:
    """Tell whether class names are whole numbers in rising order, so that each is more than the one before.

    Args:
        names: Names of the classes.

    Returns:
        True for grades.

    Example:
        >>> are_grades(["0", "1", "4"]), are_grades(["normal", "glaucoma"])
        (True, False)

    References:
        Our own.
    """
    if not names or not all(_WHOLE.fullmatch(name) for name in names):
        return False
    values = [int(name) for name in names]
    return values == sorted(set(values))


def looks_like_quantity(names: Sequence[str], images: int) -> bool:
    """Tell whether labels are the values of a quantity, not names of classes or grades.

    Args:
        names: Different labels.
        images: How many images they stand for.

    Returns:
        True where all are numbers, more than 20 of them, and most stand for a few images only.

    Example:
        >>> looks_like_quantity([str(micron) for micron in range(200, 260)], 120), looks_like_quantity(["0", "4"], 120)
        (True, False)

    References:
        Our own.
    """

    def number(name: str) -> bool:
        try:
            return math.isfinite(float(name))
        except ValueError:
            return False

    return len(names) > 20 and images < 5 * len(names) and all(map(number, names))


def _plain(word: str) -> str:
    """Write a whole number without the point that spreadsheets add."""
    match = _WHOLE_AS_FLOAT.fullmatch(word)
    return match.group(1) if match else word


def _alike(labels: Sequence[Label], spelled: Mapping[str, str]) -> list[Problem]:
    """Report labels that differ only in case, spaces, or leading zeros."""
    first: dict[str, dict[str, Label]] = {}
    for label in labels:
        name = spelled[label.word]
        key = str(int(name)) if _WHOLE.fullmatch(name) else "".join(name.split()).casefold()
        first.setdefault(key, {}).setdefault(name, label)
    problems = []
    for same in first.values():
        if len(same) > 1:
            words = " and ".join(repr(name) for name in same)
            label = list(same.values())[1]
            what = f"the labels {words} differ only in case, spaces or zeros; write them alike"
            problems.append(Problem(what, label.file, label.row, label.source))
    return problems
