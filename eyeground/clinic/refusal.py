"""Why a message was not taken: codes of a closed list, each with a sentence in English and Chinese."""

import tomllib
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field

LANGUAGES: Final = ("en", "zh")
_PLACE = Path(__file__).with_name("refusals.toml")


class Problem(BaseModel):
    """One thing that is wrong with a message.

    Args:
        code: A key of ``codes()``.
        where: Names of our own fields that lead to it, such as ``vision_data.left_eye``; never a word of the sender's,
            for it may be a patient's name.

    Raises:
        ValueError: If the code is not of the list.

    Example:
        >>> Problem(code="missing", where="patient_id").sentence("en")
        'patient_id: is missing; send it'

    References:
        Our own.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    code: str
    where: str = Field("", max_length=200)

    def model_post_init(self, _: Any) -> None:
        """Refuse a code that nobody could look up.

        Args:
            _: Pydantic's context; not used.

        Raises:
            ValueError: If the code is not of the list.
        """
        if self.code not in codes():
            raise ValueError(f"{self.code!r} is no code of refusals.toml")

    def sentence(self, language: str) -> str:
        """Say it.

        Args:
            language: ``"en"`` or ``"zh"``.

        Returns:
            What is wrong and what to do; it repeats nothing that was sent.
        """
        words = codes()[self.code][language]
        return f"{self.where}: {words}" if self.where else words


class Refused(ValueError):
    """A message that is not taken, with everything that is wrong with it.

    Args:
        problems: At least one; the first gives the whole its code.

    Example:
        >>> Refused([Problem(code="not_json")]).code
        'not_json'

    References:
        Our own.
    """

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(problem.sentence("en") for problem in self.problems))

    @property
    def code(self) -> str:
        """The code of the first problem."""
        return self.problems[0].code

    def to_json(self) -> list[dict[str, str]]:
        """Plain values: ``code, where, en, zh`` of each problem."""
        return [
            {"code": each.code, "where": each.where, **{lang: each.sentence(lang) for lang in LANGUAGES}}
            for each in self.problems
        ]


@cache
def codes() -> Mapping[str, Mapping[str, str]]:
    """Read the closed list.

    Returns:
        Code -> ``{"en": ..., "zh": ...}``.

    Example:
        >>> codes()["not_json"]["zh"]
        '不是有效的 JSON；请按约定的格式发送'

    References:
        ``refusals.toml`` beside this file.
    """
    return tomllib.loads(_PLACE.read_text("utf-8"))
