"""Who works on what, without a clock that anybody could set.

A row may be taken by whoever has seen its token unchanged for as long as the row's patience. Fresh work has none; work
that is being done has the lease's length, and its owner changes the token now and then; work that failed has a pause.
Each process measures with its own monotonic clock, so clocks that differ, or are set back, change nothing.
"""

import secrets
import time
from collections.abc import Callable, Sequence
from typing import Any, Final, Generic, TypeVar

from sqlalchemy import ColumnElement, delete, select, update
from sqlalchemy.orm import InstrumentedAttribute, Session

from eyeground.clinic.db.tables import Leased

_MOST_WATCHED: Final = 1000
_LOOK_EVERY_S: Final = 0.5
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
            rows = session.execute(held.where(*where).order_by(*self._order).limit(_MOST_WATCHED)).tuples().all()
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
        self._touch(session, row, self.lease_s)

    def rest(self, session: Session, row: Row, *, pause_s: float) -> None:
        """Give a row back, to be tried again after a pause.

        Args:
            session: An open write transaction.
            row: What was taken.
            pause_s: 0 = at once. Unit: s.

        Raises:
            LeaseLost: If somebody else has it.
        """
        self._touch(session, row, pause_s)

    def undo(self, session: Session, row: Row) -> None:
        """Give a row back as if it had never been taken.

        Args:
            session: An open write transaction.
            row: What was taken.

        Raises:
            LeaseLost: If somebody else has it.
        """
        self._touch(session, row, 0.0, attempts=max(0, row.attempts - 1))

    def drop(self, session: Session, row: Row) -> None:
        """Take a row out, for its work is done.

        Args:
            session: An open write transaction.
            row: What was taken.

        Raises:
            LeaseLost: If somebody else has it.
        """
        gone = session.execute(delete(self._table).where(self._key == self._of(row), self._table.token == row.token))
        if gone.rowcount != 1:  # type: ignore[attr-defined]
            raise LeaseLost("somebody else took over")

    def _seize(self, session: Session, unchanged: ColumnElement[bool], key: Any) -> list[Row]:
        """Take one row, if nobody was faster."""
        token = secrets.token_hex(8)
        changed = (
            update(self._table)
            .where(self._key == key, unchanged)
            .values(token=token, patience_s=self.lease_s, attempts=self._table.attempts + 1)
            .execution_options(synchronize_session=False)
        )
        if session.execute(changed).rowcount != 1:  # type: ignore[attr-defined]
            return []
        row = session.execute(
            select(self._table).where(self._key == key).execution_options(populate_existing=True)
        ).scalar_one()
        session.expunge(row)  # its owner keeps it beyond the transaction
        return [row]

    def _touch(self, session: Session, row: Row, patience_s: float, **more: Any) -> None:
        """Change the token of a row that is still ours."""
        token = secrets.token_hex(8)
        changed = (
            update(self._table)
            .where(self._key == self._of(row), self._table.token == row.token)
            .values(token=token, patience_s=patience_s, **more)
            .execution_options(synchronize_session=False)
        )
        if session.execute(changed).rowcount != 1:  # type: ignore[attr-defined]
            raise LeaseLost("somebody else took over")
        row.token = token

    def _of(self, row: Row) -> Any:
        """The key of a row."""
        return getattr(row, self._key.key)
