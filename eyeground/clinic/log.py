"""One line of JSON an event, made of words and numbers that no patient stands in."""

import json
import logging
import sys
import traceback
from typing import Any, Final

from eyeground.clinic.clock import now

NAME: Final = "eyeground.clinic"
_LOG = logging.getLogger(NAME)
# Nothing else is ever written. A value must be a number, a truth value, or a word as our own code makes them.
FIELDS: Final = frozenset(
    {
        "attempts", "case", "code", "count", "door", "error", "event", "kind", "outcome", "place", "port", "process",
        "queue", "revision", "seconds", "signal", "state", "status", "version",
    }
)  # fmt: skip
_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.:/-")
_LONGEST = 128


def say(event: str, *, level: int = logging.INFO, **told: Any) -> None:
    """Write a line to the log.

    Args:
        event: What happened, such as ``"case_read"``.
        level: As ``logging`` has them.
        told: Fields of ``FIELDS``; values that are neither numbers nor plain words are replaced by ``"?"``.

    Raises:
        ValueError: If a field is not one of ``FIELDS``: it might hold a patient.

    Example:
        >>> say("case_read", case="0a1b", seconds=0.2)

    References:
        Our own.
    """
    unknown = set(told) - FIELDS
    if unknown:
        raise ValueError(
            f"{', '.join(sorted(unknown))}: not a field that may be logged; add it to FIELDS if it is safe"
        )
    if _LOG.isEnabledFor(level):
        _LOG.log(level, "%s", event, extra={"told": {name: _plain(value) for name, value in told.items()}})


def failed(event: str, error: BaseException, **told: Any) -> None:
    """Write a line about a failure: its kind and place, never its message, which may repeat what was sent.

    Args:
        event: What failed.
        error: What was raised.
        told: As ``say``.

    Example:
        >>> failed("case_failed", ValueError("Zhang San"), case="0a1b")

    References:
        Our own.
    """
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if "eyeground" in frame.filename] or frames
    place = f"{ours[-1].filename.rpartition('eyeground/')[2]}:{ours[-1].lineno}" if ours else ""
    say(event, level=logging.WARNING, error=type(error).__name__, place=place, **told)


class _Lines(logging.Formatter):
    """A record as one line of JSON; of what other libraries say only who spoke and how gravely."""

    def format(self, record: logging.LogRecord) -> str:
        told = getattr(record, "told", None)
        line = {"at": now(), "level": record.levelname.lower(), "process": record.process}
        if record.name == NAME and told is not None:
            line |= {"event": record.getMessage(), **told}
        else:
            kind = record.exc_info[0].__name__ if record.exc_info and record.exc_info[0] else ""
            line |= {"event": "library", "kind": record.name, "error": kind}
        return json.dumps(line, ensure_ascii=False)


def write_lines(level: int = logging.INFO) -> None:
    """Send this process's log to its standard error, and silence what libraries would add.

    Args:
        level: Least grave level that is written.

    Example:
        >>> write_lines(logging.CRITICAL)

    References:
        Our own.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Lines())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    _LOG.setLevel(level)


def _plain(value: Any) -> Any:
    """A number, or a word that our own code could have made."""
    if value is None or isinstance(value, bool | int | float):
        return value
    word = str(value)
    return word if len(word) <= _LONGEST and set(word) <= _PLAIN else "?"
