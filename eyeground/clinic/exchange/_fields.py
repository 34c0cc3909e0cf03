"""A JSON object seen as fields that were agreed on: each is read by our name, and all that is wrong is noted."""

import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, Final

from eyeground.clinic.refusal import Problem, Refused
from eyeground.clinic.sources import fault_of

MOST_PROBLEMS: Final = 100
_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}", re.ASCII)
# Control characters, halves of characters, and signs that turn the direction of what follows them on a page.
_BAD = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff\ufffe\uffff\ud800-\udfff]"
)
_BREAK = re.compile(r"[\t\n\r]")


class Fields:
    """One object of a message; fields that nobody asks for are nobody's business.

    Args:
        told: The object.
        where: Our name of it, from the top.
        problems: Where to note what is wrong; None = begin anew.

    Example:
        >>> fields = Fields({"name": 3, "phone": "1"})
        >>> fields.text("phone"), fields.text("name")
        ('1', '')
        >>> fields.finish()
        Traceback (most recent call last):
        eyeground.clinic.refusal.Refused: name: is of another kind than agreed; see docs/clinic.md

    References:
        Our own.
    """

    def __init__(self, told: Mapping[str, Any], where: str = "", problems: dict[Problem, None] | None = None) -> None:
        self.told, self._where = told, where
        self.problems: dict[Problem, None] = {} if problems is None else problems

    def value(self, name: str) -> Any:
        """Say what stands in a field.

        Args:
            name: The field.

        Returns:
            It, unread; None where nothing does.
        """
        return self.told.get(name)

    def place(self, name: object = "") -> str:
        """Name a field from the top.

        Args:
            name: The field.

        Returns:
            Our name of it, such as ``Patient.photos.0``.
        """
        return ".".join(part for part in (self._where, str(name)) if part)

    def wrong(self, code: str, name: object = "") -> None:
        """Note that something is wrong.

        Args:
            code: A code of ``refusals.toml``.
            name: The field; empty for the object itself.
        """
        self.problems[Problem(code=code, where=self.place(name))] = None

    def finish(self) -> None:
        """Refuse the message if anything was noted.

        Raises:
            Refused: With all of it, or the first hundred.
        """
        if self.problems:
            raise Refused(list(self.problems)[:MOST_PROBLEMS])

    def text(self, name: str, *, most: int = 200, required: bool = False, lines: bool = False) -> str:
        """Read a text, stripped; of several lines only where that is agreed.

        Args:
            name: The field.
            most: Its length. Unit: letters.
            required: Whether it has to be there.
            lines: Whether it may have several lines.

        Returns:
            The text; empty where it is not told, or wrong.
        """
        told = self.told.get(name)
        if told is None:
            if required:
                self.wrong("missing", name)
            return ""
        if not isinstance(told, str):
            self.wrong("wrong_type", name)
            return ""
        text = self.clean(told, name, most=most, lines=lines)
        if required and not told.strip():
            self.wrong("empty", name)
        return text

    def clean(self, told: str, name: object, *, most: int, lines: bool = False) -> str:
        """Strip a text; nothing of a bad one is kept.

        Args:
            told: The text.
            name: The field it stands in.
            most: Its length. Unit: letters.
            lines: Whether it may have several lines.

        Returns:
            The text; empty where it is wrong.
        """
        text = told.strip()
        if len(text) > most:
            self.wrong("too_long", name)
            return ""
        if _BAD.search(text) or (not lines and _BREAK.search(text)):
            self.wrong("bad_text", name)
            return ""
        return text

    def word(self, name: str, words: Mapping[str, str], *, otherwise: str | None = None) -> str:
        """Read one of some words, in any case; another one is refused, unless there is a word for those.

        Args:
            name: The field.
            words: What may be sent, in small letters without blanks and hyphens, and what it means.
            otherwise: What any other word means; None = it is wrong.

        Returns:
            What it means; empty where it is not told, or wrong.
        """
        text = self.text(name)
        found = words.get(re.sub(r"[\s_-]+", "", text).casefold(), otherwise) if text else ""
        if found is None:
            self.wrong("bad_word", name)
        return found or ""

    def time(self, name: str) -> str:
        """Read an ISO date or time; it is kept as it was written.

        Args:
            name: The field.

        Returns:
            The text; empty where it is not told, or wrong.
        """
        text = self.text(name, most=40)
        try:
            if text:
                datetime.fromisoformat(text)
        except ValueError:
            self.wrong("bad_time", name)
            return ""
        return text

    def id(self, name: str) -> tuple[str, bool]:
        """Read an id: its text, and whether it was sent as a number.

        Args:
            name: The field.

        Returns:
            Its text, and whether it was sent as a number; empty where it is wrong.
        """
        told = self.told.get(name)
        if told is None:
            self.wrong("missing", name)
        elif isinstance(told, bool) or not isinstance(told, int | str):
            self.wrong("wrong_type", name)
        elif told == "":
            self.wrong("empty", name)
        elif not _ID.fullmatch(str(told)):
            self.wrong("bad_id", name)
        else:
            return str(told), isinstance(told, int)
        return "", False

    def path(self, name: object, told: str) -> str:
        """Read a path; whether there is such a file is seen later.

        Args:
            name: The field.
            told: The path.

        Returns:
            The path; empty where it is wrong.
        """
        fault = fault_of(told) if told else ""
        if fault:
            self.wrong(fault, name)
        return "" if fault else told

    def part(self, name: str) -> "Fields":
        """Go into an object; a missing one is like an empty one.

        Args:
            name: The field.

        Returns:
            Its fields, with the same notes.
        """
        told = self.told.get(name)
        if told is not None and not isinstance(told, dict):
            self.wrong("wrong_type", name)
        return Fields(told if isinstance(told, dict) else {}, self.place(name), self.problems)

    def parts(self, name: str) -> Iterator["Fields"]:
        """Go into a list of objects.

        Args:
            name: The field.

        Yields:
            The fields of each, with the same notes.
        """
        told = self.told.get(name)
        if told is not None and not isinstance(told, list):
            self.wrong("wrong_type", name)
        for place, each in enumerate(told if isinstance(told, list) else ()):
            if isinstance(each, dict):
                yield Fields(each, self.place(f"{name}.{place}"), self.problems)
            else:
                self.wrong("wrong_type", f"{name}.{place}")
