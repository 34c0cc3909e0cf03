"""Dead letters as an operator sees them, and sends them round again."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from rich.table import Table
from rich.text import Text

from eyeground.cli.config import ConfigError
from eyeground.cli.console import console, harmless, tell
from eyeground.cli.exit_codes import EXIT_CODES, kind_of
from eyeground.clinic.db.database import DatabaseLost
from eyeground.clinic.dead_letters import Letter
from eyeground.clinic.reviews import Doctor
from eyeground.clinic.service import Service

_PAGE: Final = 100


@dataclass(frozen=True)
class Dealt:
    """What became of several letters.

    Args:
        letters: Those that were dealt with, as they stand now.
        faults: Number of each that was not, with the reason.
        code: What a command ends with: 0 if there are no faults.

    Example:
        >>> Dealt((), {7: "no such letter"}, 2).code
        2

    References:
        docs/run.md for the exit codes.
    """

    letters: tuple[Letter, ...]
    faults: dict[int, str]
    code: int

    def to_json(self) -> dict[str, Any]:
        """Plain values; ``error`` is there where something is wrong, as of any command."""
        told: dict[str, Any] = {"letters": [letter_json(each) for each in self.letters]}
        if self.faults:
            told["error"] = "\n".join(f"{number}: {words}" for number, words in self.faults.items())
        return told


def list_letters(service: Service, *, replayed: bool) -> list[Letter]:
    """List all, the oldest first, and show them.

    Args:
        service: The service.
        replayed: Those that were replayed, too.

    Returns:
        The letters.

    Raises:
        DatabaseLost: If the database does not answer.

    References:
        docs/clinic.md.
    """
    letters = _all(service, replayed=replayed)
    show_letters(letters)
    return letters


def replay_letters(service: Service, numbers: Sequence[int], *, every: bool, actor: Doctor) -> Dealt:
    """Send some round again, or all; one that cannot be costs the others nothing.

    Args:
        service: The service.
        numbers: Of the letters.
        every: All that nobody has replayed yet.
        actor: Who asks.

    Returns:
        What became of them.

    Raises:
        ConfigError: If both or neither are given.
        DatabaseLost: If the database does not answer.

    References:
        docs/clinic.md.
    """
    if bool(numbers) == every:
        raise ConfigError("say which: numbers of 'eyeground clinic dead-letters', or --all")
    wanted = [each.id for each in _all(service, replayed=False)] if every else numbers
    return _deal(wanted, lambda number: service.letters.replay(number, actor=actor))


def dismiss_letters(service: Service, numbers: Sequence[int], *, actor: Doctor) -> Dealt:
    """Close some that can never be replayed.

    Args:
        service: The service.
        numbers: Of the letters.
        actor: Who decides.

    Returns:
        What became of them.

    Raises:
        DatabaseLost: If the database does not answer.

    References:
        docs/clinic.md.
    """
    return _deal(numbers, lambda number: service.letters.dismiss(number, actor=actor))


def letter_json(letter: Letter) -> dict[str, Any]:
    """Say what a letter is.

    Args:
        letter: The letter.

    Returns:
        Plain values.

    Example:
        >>> letter_json(Letter(1, "check", "default", "not_json", (), "", "", "", ""))["code"]
        'not_json'

    References:
        Our own.
    """
    return asdict(letter)


def show_letters(letters: Sequence[Letter]) -> None:
    """Show letters, each with everything that is wrong.

    Args:
        letters: The letters.

    Example:
        >>> show_letters([])

    References:
        Our own.
    """
    if not letters:
        return
    shown = Table(box=None, pad_edge=False)
    for head in ("number", "since (UTC)", "queue", "site", "case", "what is wrong", "dealt with"):
        shown.add_column(head, overflow="fold")
    for each in letters:
        wrong = "\n".join(
            f"{problem['code']}: {problem['where']}: {problem['en']}".replace(": : ", ": ") for problem in each.problems
        )
        again = f"{each.replayed_at[:16].replace('T', ' ')} {each.outcome}".strip()
        cells = (str(each.id), each.arrived_at[:16].replace("T", " "), each.queue, each.site, each.case_id[:8])
        shown.add_row(*(Text(harmless(cell)) for cell in (*cells, wrong, again)))
    console.print(shown)


def _deal(numbers: Sequence[int], how: Callable[[int], Letter]) -> Dealt:
    """Deal with each, tell what cannot be dealt with, and show the rest."""
    letters, faults, code = [], {}, 0
    for number in dict.fromkeys(numbers):
        try:
            letters.append(how(number))
        except DatabaseLost:
            raise
        except Exception as error:
            kind = kind_of(error)
            if kind is None:
                raise
            faults[number] = str(error)
            code = max(code, EXIT_CODES[kind])
            tell(f"letter {number}: {error}")
    show_letters(letters)
    return Dealt(tuple(letters), faults, code)


def _all(service: Service, *, replayed: bool) -> list[Letter]:
    """Every letter, a page at a time."""
    letters: list[Letter] = []
    while page := service.letters.list(replayed=replayed, after=letters[-1].id if letters else 0, most=_PAGE):
        letters += page
    return letters
