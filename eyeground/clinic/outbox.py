"""The outbox: answers go to the queue, each under an id of its own, until the queue has confirmed."""

import asyncio
from contextlib import suppress

from sqlalchemy import ColumnElement, exists, select, update
from sqlalchemy.orm import aliased

from eyeground.clinic.cases import SERVICE
from eyeground.clinic.clock import now
from eyeground.clinic.db.audit import Note
from eyeground.clinic.db.database import Database, DatabaseLost
from eyeground.clinic.db.lease import LeaseLost, Leases, Watcher
from eyeground.clinic.db.tables import Case, Outgoing
from eyeground.clinic.log import say
from eyeground.clinic.moments import reached
from eyeground.clinic.queue.transport import Message, Transport, Undeliverable

_MOST = 50
_LONGEST_PAUSE_S = 60.0


class Outbox:
    """Sends what is waiting to be sent.

    Args:
        database: Where the answers are.
        site: Whose answers go this way.
        lease_s: How long a silent sender keeps an answer. Unit: s.
        watcher: What this process has seen of others' leases.

    References:
        Richardson, "Microservices Patterns", 2018: transactional outbox.
    """

    def __init__(self, database: Database, *, site: str, lease_s: float, watcher: Watcher | None = None) -> None:
        self._database, self._site = database, site
        self._leases = Leases(Outgoing, key=Outgoing.id, order=(Outgoing.id,), lease_s=lease_s, watcher=watcher)

    async def send(self, transport: Transport) -> int:
        """Send a batch.

        An answer is marked as sent only after the queue has it safe. Who dies between leaves it to be sent again, under
        the same id and with the same bytes.

        Args:
            transport: Where to.

        Returns:
            How many were sent; 0 when nothing waits.

        Raises:
            TransportLost: If the queue is gone; what was not confirmed is sent again later.
            DatabaseLost: If the database does not answer, likewise.
        """
        rows = await asyncio.to_thread(self._take)
        if not rows:
            return 0
        keeping = asyncio.ensure_future(self._keep(rows))
        try:
            ends = await asyncio.gather(*(self._send(transport, row) for row in rows), return_exceptions=True)
        finally:
            keeping.cancel()
        reached("published")
        await asyncio.to_thread(self._mark, rows, ends)
        reached("marked_sent")
        for end in ends:
            if isinstance(end, Undeliverable):
                say("answer_undeliverable", error="Undeliverable")
            elif isinstance(end, BaseException):
                raise end
        return sum(end is None for end in ends)

    async def _send(self, transport: Transport, row: Outgoing) -> None:
        """Send one."""
        headers = {"revision": str(row.revision)} | ({} if row.revision else {"unsigned": "true"})
        await transport.send(row.queue, Message(row.body, row.message_id, headers))

    async def _keep(self, rows: list[Outgoing]) -> None:
        """Let nobody else send them while the queue takes its time."""
        while True:
            await asyncio.sleep(self._leases.lease_s / 3)
            with suppress(DatabaseLost):
                await asyncio.to_thread(self._renew, rows)

    def _renew(self, rows: list[Outgoing]) -> None:
        """Renew each lease that is still ours."""
        with self._database.write() as work:
            for row in rows:
                with suppress(LeaseLost):
                    self._leases.keep(work.session, row)

    def _take(self) -> list[Outgoing]:
        """Take what waits, of one case only the first."""
        with self._database.read() as session:
            if session.scalars(select(Outgoing.id).where(Outgoing.sent_at == "").limit(1)).first() is None:
                return []
        ours = exists(select(Case.id).where(Case.id == Outgoing.case_id, Case.site == self._site))
        with self._database.write() as work:
            return self._leases.take(work.session, count=_MOST, where=(Outgoing.sent_at == "", ours, _first_of_case()))

    def _mark(self, rows: list[Outgoing], ends: list[BaseException | None]) -> None:
        """Write what was confirmed, and let the rest be tried again: at once, or later where the queue refused it."""
        with self._database.write() as work:
            for row, end in zip(rows, ends, strict=True):
                if end is None:
                    marked = update(Outgoing).where(Outgoing.id == row.id, Outgoing.sent_at == "").values(sent_at=now())
                    found = work.session.execute(marked.execution_options(synchronize_session=False))
                    if found.rowcount == 1:  # type: ignore[attr-defined]
                        work.notes.append(
                            Note(SERVICE, "sent", row.case_id, {"revision": row.revision, "queue": row.queue})
                        )
                    continue
                refused = isinstance(end, Undeliverable)
                pause_s = min(_LONGEST_PAUSE_S, 0.5 * 2.0 ** min(row.attempts, 9)) if refused else 0.0
                with suppress(LeaseLost):
                    self._leases.rest(work.session, row, pause_s=pause_s)


def _first_of_case() -> ColumnElement[bool]:
    """No earlier answer of the same case waits: an amendment never overtakes what it amends."""
    earlier = aliased(Outgoing)
    waits = select(earlier.id).where(
        earlier.case_id == Outgoing.case_id, earlier.id < Outgoing.id, earlier.sent_at == ""
    )
    return ~exists(waits.correlate(Outgoing))
