"""What all contracts share: bytes to a plain JSON object, so strict that nothing has two meanings, and back."""

import json
import math
import re
from collections.abc import Mapping
from typing import Any, Final

from eyeground.clinic.refusal import Problem, Refused

MOST_BYTES: Final = 256 * 2**20
MOST_DEPTH: Final = 12
MOST_VALUES: Final = 20_000  # small values cost a hundred times their text in memory
MOST_DIGITS: Final = 18  # what a signed 64-bit number holds in every language
# A text that never ends is taken to the end, so that the search stays linear whatever is sent.
_TEXT = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)', re.DOTALL)
_BRACKET = re.compile(r"[\[\]{}]")


def parse(body: bytes, *, max_bytes: int = MOST_BYTES) -> dict[str, Any]:
    """Read one JSON object.

    Refused are, beside what is no JSON: ``NaN`` and ``Infinity``, a key that stands twice in one object, whole numbers
    of more than 18 digits, numbers too large for a float, more than 12 levels, and more than 20,000 values. How much
    memory and time a message takes is settled before it is parsed.

    Args:
        body: As it came.
        max_bytes: Longest body let in. Unit: bytes.

    Returns:
        The object, of plain values.

    Raises:
        Refused: If it is none.

    Example:
        >>> parse(b'{"id": 17}')
        {'id': 17}
        >>> parse(b'{"id": 17, "id": 18}')
        Traceback (most recent call last):
        eyeground.clinic.refusal.Refused: the same key stands twice in one object; send each once

    References:
        RFC 8259; Seriot, "Parsing JSON is a Minefield", 2016, for what parsers differ on.
    """
    if len(body) > max_bytes:
        raise Refused([Problem(code="too_large")])
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError:
        raise Refused([Problem(code="not_utf8")]) from None
    _check_size(text)
    wrong: dict[str, None] = {}  # codes, each once, in the order they were found
    try:
        told = json.loads(
            text,
            object_pairs_hook=lambda pairs: _object(pairs, wrong),
            parse_int=lambda digits: _whole(digits, wrong),
            parse_float=lambda digits: _finite(digits, wrong),
            parse_constant=_no_number,
        )
    except (ValueError, RecursionError):
        raise Refused([Problem(code="not_json")]) from None
    if wrong:
        raise Refused([Problem(code=code) for code in wrong])
    if not isinstance(told, dict):
        raise Refused([Problem(code="not_an_object")])
    return told


def dumps(answer: Mapping[str, Any]) -> bytes:
    """Write an answer: the same answer is the same bytes, always.

    Args:
        answer: Plain JSON values.

    Returns:
        UTF-8 without spaces, keys sorted. Half a character, which UTF-8 cannot hold, becomes ``?``.

    Raises:
        ValueError: If a number in it is not finite.

    Example:
        >>> dumps({"b": 1, "a": "眼"}).decode()
        '{"a":"眼","b":1}'

    References:
        Our own.
    """
    text = json.dumps(answer, ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return text.encode("utf-8", "replace")


def _check_size(text: str) -> None:
    """Refuse what would be too deep or too many, before anything is built of it."""
    bare = _TEXT.sub("", text)
    if sum(bare.count(mark) for mark in ",[{") > MOST_VALUES:
        raise Refused([Problem(code="too_many_values")])
    depth = 0
    for mark in _BRACKET.finditer(bare):
        depth += 1 if mark[0] in "[{" else -1
        if depth > MOST_DEPTH:
            raise Refused([Problem(code="too_deep")])


def _object(pairs: list[tuple[str, Any]], wrong: dict[str, None]) -> dict[str, Any]:
    """Make an object; of two values under one key different readers would take different ones."""
    made = dict(pairs)
    if len(made) != len(pairs):
        wrong["repeated_key"] = None
    return made


def _whole(digits: str, wrong: dict[str, None]) -> int:
    """Read a whole number; long ones cost quadratic time, and other languages round them."""
    if len(digits.lstrip("-")) > MOST_DIGITS:
        wrong["out_of_range"] = None
        return 0
    return int(digits)


def _finite(digits: str, wrong: dict[str, None]) -> float:
    """Read a fraction; 1e999 is no number."""
    number = float(digits) if len(digits) <= 400 else math.inf
    if not math.isfinite(number):
        wrong["out_of_range"] = None
        return 0.0
    return number


def _no_number(_: str) -> float:
    """NaN and Infinity are no JSON."""
    raise ValueError("no JSON number")
