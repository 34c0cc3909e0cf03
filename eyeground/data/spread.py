"""Work on many items, and who does it: this process, its threads, or workers that a command hands in."""

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol, TypeVar

from eyeground.data.resumption import ahead

_Item = TypeVar("_Item")
_Answer = TypeVar("_Answer")


def never() -> bool:
    """Wish for no stop.

    Returns:
        False.

    Example:
        >>> never()
        False

    References:
        Our own.
    """
    return False


class Spread(Protocol):
    """Gives items to those who work, and their answers back in the order of the items.

    References:
        Our own.
    """

    def __call__(
        self,
        items: Iterable[_Item],
        work: Callable[[_Item], _Answer],
        *,
        share: int = 1,
        stop_wanted: Callable[[], bool] = never,
    ) -> Iterator[_Answer]:
        """Work on items.

        Args:
            items: What to work on.
            work: Does one item. Where others do the work, it travels to them once, so it holds words and paths, and
                makes what is large (a network) when it is first called.
            share: Items that travel together.
            stop_wanted: True = end; there are then fewer answers than items.

        Yields:
            The answers, in the order of the items.
        """
        ...


def here(
    items: Iterable[_Item],
    work: Callable[[_Item], _Answer],
    *,
    share: int = 1,
    stop_wanted: Callable[[], bool] = never,
) -> Iterator[_Answer]:
    """Work on items in this process, one after the other.

    Args:
        items: What to work on.
        work: Does one item.
        share: Not used.
        stop_wanted: Asked before each item but the first.

    Returns:
        The answers, in the order of the items.

    Example:
        >>> list(here([1, 2], lambda n: n * n))
        [1, 4]

    References:
        Our own.
    """
    return _until_stopped(map(work, items), stop_wanted)


def in_threads(workers: int = 0) -> Spread:
    """Work on items in threads of this process, a few ahead of the one whose answer is given out.

    Args:
        workers: Threads; 0 takes one per core.

    Returns:
        What gives them work.

    Example:
        >>> list(in_threads(2)([1, 2], lambda n: n * n))
        [1, 4]

    References:
        Our own.
    """

    def spread(
        items: Iterable[_Item],
        work: Callable[[_Item], _Answer],
        *,
        share: int = 1,
        stop_wanted: Callable[[], bool] = never,
    ) -> Iterator[_Answer]:
        return _until_stopped(ahead(items, work, workers=workers), stop_wanted)

    return spread


def _until_stopped(answers: Iterable[_Answer], stop_wanted: Callable[[], bool]) -> Iterator[_Answer]:
    """Give answers until somebody wants to stop."""
    for answer in answers:
        yield answer
        if stop_wanted():
            return
