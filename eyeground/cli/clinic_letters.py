"""Dead letters as an operator sees them, and sends them round again."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Final

from rich.table import Table
from rich.text import Text

from eyeground.cli.config import ConfigError
from eyeground.cli.console import console, harmless
from eyeground.clinic.dead_letters import Letter
from eyeground.clinic.reviews import Doctor
from eyeground.clinic.service import Service

_PAGE: Final = 100


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


def replay_letters(service: Service, numbers: Sequence[int], *, every: bool, actor: Doctor) -> list[Letter]:
    """Send some round again, or all.

    Args:
        service: The service.
        numbers: Of the letters.
        every: All that nobody has replayed yet.
        actor: Who asks.

    Returns:
        The letters as they stand now.

    Raises:
        ConfigError: If both or neither are given.
        NoSuchLetter: If there is none of a number, or it was replayed before.
        Forbidden: If a case has gone on.
        DatabaseLost: If the database does not answer.
        StoreLost: If an image cannot be kept.

    References:
        docs/clinic.md.
    """
    if bool(numbers) == every:
        raise ConfigError("say which: numbers of 'eyeground clinic dead-letters', or --all")
    wanted = [each.id for each in _all(service, replayed=False)] if every else numbers
    letters = [service.letters.replay(number, actor=actor) for number in dict.fromkeys(wanted)]
    show_letters(letters)
    return letters


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
    for head in ("number", "since", "queue", "site", "case", "what is wrong", "replayed"):
        shown.add_column(head, overflow="fold")
    for each in letters:
        wrong = "\n".join(
            f"{problem['code']}: {problem['where']}: {problem['en']}".replace(": : ", ": ") for problem in each.problems
        )
        again = f"{each.replayed_at[:16]} {each.outcome}".strip()
        cells = (str(each.id), each.arrived_at[:16], each.queue, each.site, each.case_id[:8])
        shown.add_row(*(Text(harmless(cell)) for cell in (*cells, wrong, again)))
    console.print(shown)


def _all(service: Service, *, replayed: bool) -> list[Letter]:
    """Every letter, a page at a time."""
    letters: list[Letter] = []
    while page := service.letters.list(replayed=replayed, after=letters[-1].id if letters else 0, most=_PAGE):
        letters += page
    return letters
