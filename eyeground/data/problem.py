"""What is wrong with a data set: every problem in one error."""

from collections.abc import Iterable
from dataclasses import dataclass

_SHOWN = 50


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong, and where.

    Args:
        what: What is wrong and what to do.
        file: Image or table it is about, ``""`` if none.
        row: Line in the table, counted from 1 with the header as line 1 (in Parquet: record, counted from 1).
        source: Name of the data source, ``""`` if there is only one.

    Example:
        >>> print(Problem("the image is missing", "a.png", 7))
        row 7, a.png: the image is missing

    References:
        Our own.
    """

    what: str
    file: str = ""
    row: int | None = None
    source: str = ""

    def __str__(self) -> str:
        places = [self.source, f"row {self.row}" if self.row is not None else "", self.file]
        where = ", ".join(place for place in places if place)
        return f"{where}: {self.what}" if where else self.what


class DataProblems(ValueError):
    """All problems of one input, reported together.

    Args:
        problems: The problems, at least one, in the order to show them.

    Example:
        >>> print(DataProblems([Problem("is missing", "a.png"), Problem("is missing", "b.png")]))
        2 problems in the data:
        - a.png: is missing
        - b.png: is missing

    References:
        Our own.
    """

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems: tuple[Problem, ...] = tuple(problems)
        super().__init__(self.problems)

    def __str__(self) -> str:
        count = len(self.problems)
        lines = [f"{count} problem{'s' * (count != 1)} in the data:"]
        lines += [f"- {problem}" for problem in self.problems[:_SHOWN]]
        if count > _SHOWN:
            lines.append(f"... and {count - _SHOWN} more")
        return "\n".join(lines)
