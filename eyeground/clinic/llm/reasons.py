"""Why a language model's draft was not used, in words."""

import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Final

_PLACE: Final = Path(__file__).with_name("reasons.toml")


@cache
def reasons() -> Mapping[str, Mapping[str, str]]:
    """Read the reasons.

    Returns:
        Code -> language -> sentence.

    Example:
        >>> reasons()["digits"]["en"]
        'it holds a number'

    References:
        ``reasons.toml`` beside this file.
    """
    return tomllib.loads(_PLACE.read_text("utf-8"))


def told(code: str, section: str = "") -> dict[str, str]:
    """Say why a draft was not used.

    Args:
        code: A key of ``reasons.toml``.
        section: In which section; empty = in none.

    Returns:
        ``code, section, en, zh``; nothing of what the model wrote.

    Raises:
        KeyError: If there is no such reason.

    Example:
        >>> told("too_slow")["zh"]
        '语言模型未在时限内回答'

    References:
        Our own.
    """
    return {"code": code, "section": section, **reasons()[code]}
