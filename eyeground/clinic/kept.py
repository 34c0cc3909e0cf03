"""What another server answered, kept for a while: one asks at a time, and nobody waits long for one that hangs."""

import threading
import time
from collections.abc import Callable
from typing import Final, Generic, TypeVar

_KEPT_S: Final = 3600.0
_AGAIN_S: Final = 60.0
_LOST_S: Final = 30.0
_WAITED_S: Final = 1.0
_Answer = TypeVar("_Answer")


class ProviderLost(ConnectionError):
    """The provider of single sign-on does not answer, or not as one; passwords work all the same."""


class Kept(Generic[_Answer]):
    """An answer that is asked for once an hour.

    Nothing is locked while it is asked for. Whoever comes meanwhile gets the last answer, or waits for a second; after
    one failure it is left alone for half a minute.

    Args:
        ask: Asks for it.

    Example:
        >>> kept = Kept(lambda: [1])
        >>> kept.get() is kept.get()
        True

    References:
        Nygard, "Release It!": Circuit Breaker, Fail Fast.
    """

    def __init__(self, ask: Callable[[], _Answer]) -> None:
        self._ask = ask
        self._turn = threading.Condition()
        self._is_asking = False
        self._answer: _Answer | None = None
        self._at = self._lost_at = float("-inf")

    def get(self, *, other_than: _Answer | None = None) -> _Answer:
        """Give the answer.

        Args:
            other_than: One that turned out not to be good any more; it is asked for again, at most once a minute.

        Returns:
            The answer; the same one where it is too early for another.

        Raises:
            ProviderLost: If there is none.
        """
        with self._turn:
            if self._is_asking and (self._answer is None or self._answer is other_than):
                self._turn.wait_for(lambda: not self._is_asking, _WAITED_S)
            answer, moment = self._answer, time.monotonic()
            keep_s = _AGAIN_S if answer is other_than else _KEPT_S
            if answer is not None and (self._is_asking or moment - self._at <= keep_s):
                return answer
            if self._is_asking or moment - self._lost_at < _LOST_S:
                raise ProviderLost("the provider of single sign-on did not answer a moment ago")
            self._is_asking = True
        try:
            answer = self._ask()
        except BaseException:
            self._settle(None)
            raise
        self._settle(answer)
        return answer

    def _settle(self, answer: _Answer | None) -> None:
        """Let the others go on; None = it failed."""
        with self._turn:
            self._is_asking = False
            if answer is None:
                self._lost_at = time.monotonic()
            else:
                self._answer, self._at, self._lost_at = answer, time.monotonic(), float("-inf")
            self._turn.notify_all()
