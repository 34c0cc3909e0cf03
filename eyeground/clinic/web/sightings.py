"""Who has looked at a patient's case: a line in the audit trail, but not one for every reload of a page."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from eyeground.clinic.cases import find
from eyeground.clinic.db.database import Database

_MOST = 10_000


class Sightings:
    """Writes down who looks at what.

    Args:
        database: Where the audit trail is.
        again_s: Who looks at the same thing again within this time is not written down once more. Unit: s.
        clock: Seconds that only ever grow.

    Example:
        >>> Sightings(Database("sqlite://", key=b"")).again_s
        900.0

    References:
        IHE ITI-20, "Record Audit Event": patient record access.
    """

    def __init__(
        self, database: Database, *, again_s: float = 900.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.database, self.again_s, self._clock = database, again_s, clock
        self._seen: OrderedDict[tuple[object, ...], float] = OrderedDict()
        self._lock = threading.Lock()

    def note(self, account: str, event: str, case_id: str, **detail: Any) -> None:
        """Write down that somebody looks at a case, or at a part of it; call it before it is shown.

        Args:
            account: Who.
            event: ``"case_seen"`` or ``"image_seen"``.
            case_id: Which case.
            detail: Which part of it.

        Raises:
            NoSuchCase: If there is none.
            DatabaseLost: If it cannot be written down; then it is not to be shown, either.
        """
        key, moment = (account, event, case_id, *detail.values()), self._clock()
        with self._lock:
            seen = self._seen.get(key)
        if seen is not None and moment - seen < self.again_s:
            return
        with self.database.write() as work:
            work.note(account, event, find(work.session, case_id), **detail)
        with self._lock:
            self._seen[key] = moment
            self._seen.move_to_end(key)
            while len(self._seen) > _MOST:
                self._seen.popitem(last=False)
