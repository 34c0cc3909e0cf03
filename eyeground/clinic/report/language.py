"""The words of a report: one TOML file a language."""

import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

SHELF: Final = Path(__file__).with_name("lang")


class Words:
    """The words of one language.

    Args:
        code: The language.
        told: What its file says.

    Example:
        >>> words_of("zh").say("eyes.OD")
        '右眼（OD）'

    References:
        Our own.
    """

    def __init__(self, code: str, told: Mapping[str, Any]) -> None:
        self.code, self._told = code, told

    def say(self, key: str, **holes: object) -> str:
        """Say something.

        Args:
            key: Table and key, such as ``"eyes.OD"``; what follows the first point is one key.
            holes: What stands for ``{name}`` in it.

        Returns:
            The words.

        Raises:
            KeyError: If the language has no such key.
        """
        table, _, name = key.partition(".")
        found: str = self._told[table][name] if name else self._told[table]
        return found.format(**holes) if holes else found

    def known(self, table: str) -> Mapping[str, str]:
        """List a table.

        Args:
            table: Its name.

        Returns:
            Key -> words.
        """
        found: Mapping[str, str] = self._told[table]
        return found

    def braced(self, text: str) -> str:
        """Put a remark behind something.

        Args:
            text: The remark.

        Returns:
            It in the language's brackets; nothing where it is empty.
        """
        return f"{self.say('open')}{text}{self.say('close')}" if text else ""

    def labelled(self, label: str, text: str) -> str:
        """Put a label before something.

        Args:
            label: The label.
            text: What it labels.

        Returns:
            Both with the language's colon.
        """
        return f"{label}{self.say('colon')}{text}"


def languages() -> tuple[str, ...]:
    """List the languages of the shelf.

    Returns:
        Their codes, sorted.

    Example:
        >>> languages()
        ('en', 'zh')

    References:
        Our own.
    """
    return tuple(sorted(path.stem for path in SHELF.glob("*.toml")))


@cache
def words_of(language: str) -> Words:
    """Open a language.

    Args:
        language: Its code.

    Returns:
        Its words.

    Raises:
        LookupError: If the shelf has no such language; the message lists what it has.

    Example:
        >>> words_of("en").say("exam.years", age=63)
        '63 years'

    References:
        Our own.
    """
    if language not in languages():
        raise LookupError(f"no report is written in that language; there are: {', '.join(languages())}")
    return Words(language, tomllib.loads((SHELF / f"{language}.toml").read_text("utf-8")))
