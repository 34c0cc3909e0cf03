"""Who works on what, without a clock that anybody could set.

A row may be taken by whoever has seen its token unchanged for as long as the row's patience. Fresh work has none; work
that is being done has the lease's length, and its owner changes the token now and then; work that failed has a pause.
Each process measures with its own monotonic clock, so clocks that differ, or are set back, change nothing. The first
half of a token names who took the row and stays; the second changes with every touch. So an owner knows its own row
even where a touch was undone, or where nobody knows whether it was written.
"""

import secrets
import time
from collections.abc import Callable, Sequence
from typing import Any, Final, Generic, TypeVar

from sqlalchemy import ColumnElement, delete, select, update
from sqlalchemy.orm import InstrumentedAttribute, Session

from eyeground.clinic.db.table import Leased

_MOST_WATCHED: Final = 1000
_LOOK_EVERY_S: Final = 0.5
_OWNER: Final = 16  # characters of a token that name its owner
Row = TypeVar("Row", bound=Leased)


class LeaseLost(RuntimeError):
    """Somebody else has the work by now; what was made of it must not be written."""


class Watcher:
    """What one process has seen of others' tokens.

    Args:
        clock: Seconds that only ever grow.

    Example:
        >>> seconds = iter([0.0, 1.0, 31.0])
        >>> watcher = Watcher(clock=lambda: next(seconds))
        >>> [watcher.overdue([("a", "t", 30.0)]) for _ in range(3)]
        [[], [], ['a']]

    References:
        The lease counter of Amazon's Kinesis Client Library.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seen: dict[Any, tuple[str, float]] = {}
        self._looked = float("-inf")

    def due(self) -> bool:
        """Whether it is time to look again."""
        return self._clock() - self._looked >= _LOOK_EVERY_S

    def overdue(self, rows: Sequence[tuple[Any, str, float]]) -> list[Any]:
        """Say whose token was seen unchanged for long enough.

        Args:
            rows: Key, token and patience in seconds of everything that is taken or resting.

        Returns:
            Keys.
        """
        moment = self._looked = self._clock()
        before, self._seen = self._seen, {}
        late = []
        for key, token, patience_s in rows:
            seen_token, since = before.get(key, ("", moment))
            since = since if seen_token == token else moment
            self._seen[key] = (token, since)
            if moment - since >= patience_s:
                late.append(key)
        return late


class Leases(Generic[Row]):
    """Takes, keeps and gives back the rows of one table.

    Args:
        table: A table with the columns of ``Leased``.
        key: Its primary key.
        order: What goes first.
        lease_s: How long a silent owner keeps what it took. Unit: s.
        watcher: What this process has seen.

    Example:
        >>> from eyeground.clinic.db.database import Database
        >>> from eyeground.clinic.db.migrate import migrate
        >>> from eyeground.clinic.db.tables import QueuedMessage as Row
        >>> database = Database("sqlite://", key=b"")
        >>> _ = migrate(database.engine)
        >>> leases = Leases(Row, key=Row.id, order=[Row.id], lease_s=30)
        >>> with database.write() as work:
        ...     work.session.add(Row(queue="check", body=b"{}"))
        ...     work.session.flush()
        ...     [first], second = leases.take(work.session, count=4), leases.take(work.session, count=4)
        >>> first.attempts, second
        (1, [])

    References:
        Our own.
    """

    def __init__(
        self,
        table: type[Row],
        *,
        key: InstrumentedAttribute[Any],
        order: Sequence[ColumnElement[Any] | InstrumentedAttribute[Any]],
        lease_s: float,
        watcher: Watcher | None = None,
    ) -> None:
        self._table, self._key, self._order, self.lease_s = table, key, tuple(order), lease_s
        self._watcher = Watcher() if watcher is None else watcher

    def take(self, session: Session, *, count: int, where: Sequence[ColumnElement[bool]] = ()) -> list[Row]:
        """Take what is free, what was left behind, and what has rested.

        Args:
            session: An open write transaction.
            count: Most rows.
            where: Which rows are meant.

        Returns:
            The rows, with a new token each and one more attempt; none when there are none.
        """
        taken: list[Row] = []
        if self._watcher.due():
            held = select(self._key, self._table.token, self._table.patience_s).where(self._table.patience_s > 0)
            rows = session.execute(held.where(*where).order_by(*self._order).limit(_MOST_WATCHED)).all()
            tokens = {key: token for key, token, _ in rows}
            for key in self._watcher.overdue([(key, token, patience) for key, token, patience in rows])[:count]:
                taken += self._seize(session, self._table.token == tokens[key], key)
        if len(taken) < count:
            fresh = select(self._key).where(self._table.patience_s == 0, *where).order_by(*self._order)
            locked = fresh.limit(count - len(taken)).with_for_update(skip_locked=True)
            for key in session.scalars(locked).all():
                taken += self._seize(session, self._table.patience_s == 0, key)
        return taken

    def keep(self, session: Session, row: Row) -> None:
        """Say that the owner lives.

        Args:
            session: An open write transaction.
            row: What was taken; its token is changed.

        Raises:
            LeaseLost: If somebody else has it.
        """
        row.token = self._touch(session, row, row.token[:_OWNER], patience_s=self.lease_s)

    def rest(self, session: Session, row: Row, *, pause_s: float) -> None:
        """Give a row back, to be tried again after a pause.

        Args:
            session: An open write transaction.
            row: What was taken.
            pause_s: 0 = at once. Unit: s.

        Raises:
            LeaseLost: If somebody else has it.
        """
        self._touch(session, row, _half(), patience_s=pause_s)

    def undo(self, session: Session, row: Row) -> None:
        """Give a row back as if it had never been taken.

        Args:
            session: An open write transaction.
            row: What was taken.

        Raises:
            LeaseLost: If somebody else has it.
        """
        self._touch(session, row, _half(), patience_s=0.0, attempts=max(0, row.attempts - 1))

    def drop(self, session: Session, row: Row) -> None:
        """Take a row out, for its work is done.

        Args:
            session: An open write transaction.
            row: What was taken.

        Raises:
            LeaseLost: If somebody else has it.
        """
        gone = delete(self._table).where(*self._ours(row)).execution_options(synchronize_session=False)
        if session.execute(gone).rowcount != 1:  # type: ignore[attr-defined]
            raise LeaseLost("somebody else took over")

    def _seize(self, session: Session, unchanged: ColumnElement[bool], key: Any) -> list[Row]:
        """Take one row, if nobody was faster."""
        changed = (
            update(self._table)
            .where(self._key == key, unchanged)
            .values(token=_half() + _half(), patience_s=self.lease_s, attempts=self._table.attempts + 1)
            .returning(self._table)
            .execution_options(synchronize_session=False, populate_existing=True)
        )
        row = session.scalars(changed).one_or_none()
        if row is None:
            return []
        session.expunge(row)  # its owner keeps it beyond the transaction
        return [row]

    def _touch(self, session: Session, row: Row, owner: str, **values: Any) -> str:
        """Change the token of a row that is still ours; gives the new one."""
        token = owner + _half()
        changed = update(self._table).where(*self._ours(row)).values(token=token, **values)
        if session.execute(changed.execution_options(synchronize_session=False)).rowcount != 1:  # type: ignore[attr-defined]
            raise LeaseLost("somebody else took over")
        return token

    def _ours(self, row: Row) -> tuple[ColumnElement[bool], ...]:
        """What holds while nobody else has taken the row."""
        owner = row.token[:_OWNER] or "nobody"  # every token begins with nothing
        return self._key == self._of(row), self._table.token.startswith(owner)

    def _of(self, row: Row) -> Any:
        """The key of a row."""
        return getattr(row, self._key.key)


def _half() -> str:
    """Half of a token."""
    return secrets.token_hex(_OWNER // 2)
