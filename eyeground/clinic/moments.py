"""Named moments at which a process may die; tests make it die there."""

from collections.abc import Callable
from typing import Final, Literal, get_args

Moment = Literal[
    "received", "blob_kept", "inbox_committed", "acknowledged", "inferred", "result_committed", "published",
    "marked_sent", "report_rendered", "signed",
]  # fmt: skip
MOMENTS: Final[tuple[Moment, ...]] = get_args(Moment)
_watchers: list[Callable[[Moment], None]] = []


def reached(moment: Moment) -> None:
    """Say that a moment has been reached; costs nothing where nobody watches.

    Args:
        moment: Which.

    Example:
        >>> reached("received")

    References:
        Our own; failpoints, as FreeBSD's fail(9).
    """
    for watcher in _watchers:
        watcher(moment)


def watch(watcher: Callable[[Moment], None]) -> None:
    """Call somebody at every moment from now on, in this process.

    Args:
        watcher: Is told the moment; what it raises, or an end that it makes of the process, is what is tested.

    Example:
        >>> seen = []
        >>> watch(seen.append)
        >>> reached("signed")
        >>> seen
        ['signed']
        >>> _watchers.clear()

    References:
        Our own.
    """
    _watchers.append(watcher)
