"""The watched folder, looked at by one process at a time."""

import fcntl
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from eyeground.clinic.blobs.store import StoreLost
from eyeground.clinic.db.database import DatabaseLost
from eyeground.clinic.intake import Arrived
from eyeground.clinic.log import failed, say
from eyeground.clinic.refusal import Refused
from eyeground.clinic.service import Service
from eyeground.clinic.watching import Found, Watched

QUEUE: Final = "watch"
_DOOR: Final = "screening"
_LOCK: Final = ".eyeground.lock"
_LOOK_EVERY_S: Final = 1.0
_TRY_EVERY_S: Final = 5.0


def start_watching(service: Service) -> threading.Thread:
    """Watch the folder of the settings from a thread, as long as this process lives.

    Of several workers one watches: the one that holds a lock on the folder. The lock is the kernel's and goes with its
    process, however that ends; another takes over.

    Args:
        service: The service; its settings name the folder.

    Returns:
        The thread, running.

    References:
        flock(2).
    """
    thread = threading.Thread(target=_watch, args=(service,), name="watching", daemon=True)
    thread.start()
    return thread


def take_in(service: Service, watched: Watched) -> int:
    """Take in what lies still; a visit that cannot be read or moved costs the others nothing, and is tried again.

    Args:
        service: The service.
        watched: The folder.

    Returns:
        How many visits were put aside, taken or not.

    Raises:
        DatabaseLost: If the database does not answer; the visits stay where they are.
        StoreLost: If an image cannot be kept, likewise.
        OSError: If the watched folder itself cannot be read.

    References:
        docs/clinic.md.
    """
    count = 0
    for visit in watched.ready():
        try:
            _take_in_one(service, watched, visit)
            count += 1
        except (DatabaseLost, StoreLost):  # they are errors of the system's, too, and hold for all visits
            raise
        except OSError as error:
            watched.leave(visit.name, error)
    return count


def _take_in_one(service: Service, watched: Watched, visit: Found) -> None:
    """A visit becomes a case, or is refused; either way it is put aside."""
    try:
        body = watched.message(visit)
    except Refused as refused:
        _refuse(watched, visit, refused)
        return
    arrived = Arrived(QUEUE, body, service.settings.site, door=_DOOR, keep_refused=False)
    [outcome] = service.intake.admit([arrived])
    if outcome.refused is not None:
        _refuse(watched, visit, outcome.refused)
        return
    watched.done(visit, outcome.case_id)
    say("visit_taken", outcome=outcome.kind, case=outcome.case_id)


def _refuse(watched: Watched, visit: Found, refused: Refused) -> None:
    """Put aside what cannot be taken."""
    watched.refused(visit, refused.problems)
    say("visit_refused", code=refused.code)


def _watch(service: Service) -> None:
    """Look again and again; whatever happens to one look, there is another."""
    folder = service.settings.watch
    assert folder is not None  # noqa: S101 - who starts this has looked
    while True:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with _mine(folder) as mine:
                watched = Watched(
                    folder,
                    max_image_bytes=service.settings.max_image_bytes,
                    max_message_bytes=service.settings.max_message_bytes,
                )
                while mine:
                    take_in(service, watched)
                    time.sleep(_LOOK_EVERY_S)
        except Exception as error:  # noqa: BLE001 - the visits lie where they are and are looked at again
            failed("watching_waits", error)
        time.sleep(_TRY_EVERY_S)


@contextmanager
def _mine(folder: Path) -> Iterator[bool]:
    """Whether this process is the one that watches."""
    handle = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True
    finally:
        os.close(handle)
