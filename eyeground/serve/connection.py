"""A connection that is not waited for: who sends no whole request head in time is let go."""

import asyncio

from uvicorn.protocols.http.h11_impl import H11Protocol


class Impatient(H11Protocol):
    """uvicorn's protocol, which by itself waits forever for the end of a request's head.

    A head is a few hundred bytes. Thousands of senders who never finish theirs would take up every file number of the
    process, and nobody else could be answered.

    Args:
        head_s: How long a head may take. Unit: s.
        most_connections: More than this at once are not taken.

    Example:
        >>> issubclass(Impatient, H11Protocol), Impatient.head_s
        (True, 10.0)

    References:
        Slowloris, CVE-2007-6750. How long a body may take is ``limits.UploadLimits``' business.
    """

    head_s: float = 10.0
    most_connections: int = 512

    _until: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a connection, if there are not too many.

        Args:
            transport: The connection.
        """
        super().connection_made(transport)
        if len(self.connections) > self.most_connections:
            transport.abort()
        else:
            self._wait()

    def data_received(self, data: bytes) -> None:
        """Take what was sent; from a whole head on time is the app's business.

        Args:
            data: Bytes.
        """
        super().data_received(data)
        if self.cycle is not None and not self.cycle.response_complete:
            self._stop_waiting()
        elif self._until is None:
            self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget a connection.

        Args:
            exc: Why it ended; None where somebody closed it.
        """
        self._stop_waiting()
        super().connection_lost(exc)

    def _wait(self) -> None:
        """Give the head its time."""
        self._until = self.loop.call_later(self.head_s, self.transport.abort)

    def _stop_waiting(self) -> None:
        """Nothing is awaited."""
        if self._until is not None:
            self._until.cancel()
            self._until = None
