"""A service that fails again and again is left alone for a while."""

import threading
import time
from collections.abc import Callable


class Circuit:
    """Counts failures in a row; after some nothing is asked for a while, then one is let through to try.

    Args:
        most: How many failures in a row open it.
        rest_s: How long it stays open. Unit: s.
        clock: Seconds that only ever grow.

    Example:
        >>> circuit = Circuit(most=1)
        >>> circuit.failed()
        >>> circuit.closed()
        False

    References:
        Nygard, "Release It!", 2007: Circuit Breaker.
    """

    def __init__(self, *, most: int = 3, rest_s: float = 60.0, clock: Callable[[], float] = time.monotonic) -> None:
        self.most, self.rest_s, self._clock = most, rest_s, clock
        self._failures, self._until = 0, 0.0
        self._lock = threading.Lock()

    def closed(self) -> bool:
        """Say whether the service may be asked; whoever asks after the rest is alone in trying.

        Returns:
            False while it rests.
        """
        with self._lock:
            if self._failures < self.most:
                return True
            if self._clock() < self._until:
                return False
            self._until = self._clock() + self.rest_s
            return True

    def failed(self) -> None:
        """Count a failure."""
        with self._lock:
            self._failures += 1
            self._until = self._clock() + self.rest_s

    def worked(self) -> None:
        """Forget the failures."""
        with self._lock:
            self._failures = 0
