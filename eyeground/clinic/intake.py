"""The inbox: messages become cases, each once and for good, or dead letters; nothing in between."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from sqlalchemy import select, tuple_
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from eyeground.clinic.blobs.store import Store, StoreLost, digest_of
from eyeground.clinic.cases import SERVICE, add_job, new_id
from eyeground.clinic.clock import now
from eyeground.clinic.contracts import contract_for
from eyeground.clinic.db.database import Database, DatabaseLost, Work
from eyeground.clinic.db.tables import Case, DeadLetter, Image, Redelivered
from eyeground.clinic.log import failed
from eyeground.clinic.moments import reached
from eyeground.clinic.records import Order, Picture
from eyeground.clinic.refusal import Problem, Refused
from eyeground.clinic.sources import fetch
from eyeground.clinic.states import Release


@dataclass(frozen=True)
class Arrived:
    """A message at the door.

    Args:
        queue: The queue or door it came through; names the request together with site and id.
        body: What was sent.
        site: Who sent it.
        door: Contract it is written under; empty = the one that receives from ``queue``.
        redelivered: Whether somebody took it before and died, or gave it back.
        keep_refused: Whether a refusal is kept as a dead letter; not where the sender is told at once.
        actor: Account that sent it.

    Example:
        >>> Arrived("check", b"{}", "default").redelivered
        False

    References:
        Our own.
    """

    queue: str
    body: bytes
    site: str
    door: str = ""
    redelivered: bool = False
    keep_refused: bool = True
    actor: str = SERVICE


@dataclass(frozen=True)
class Outcome:
    """What became of a message.

    Args:
        kind: A new case, one that was there, or none.
        case_id: The case; empty where there is none.
        refused: Why not; None where it was taken.
        dead_letter: Number under which it is kept; None where it is not.

    Example:
        >>> Outcome("admitted", "0a1b").refused

    References:
        Our own.
    """

    kind: Literal["admitted", "repeated", "refused"]
    case_id: str = ""
    refused: Refused | None = None
    dead_letter: int | None = None


@dataclass(frozen=True)
class _Kept:
    """An image that lies in the store by now."""

    picture: Picture
    sha256: str
    size_bytes: int


@dataclass(frozen=True)
class _Ready:
    """A message that was read, with its images in the store."""

    order: Order
    images: tuple[_Kept, ...]


class Intake:
    """Turns messages into cases.

    Args:
        database: Where cases live.
        store: Where images go.
        image_root: The one folder that paths may lead into; None = no paths.
        max_message_bytes: Longest message. Unit: bytes.
        max_image_bytes: Longest image. Unit: bytes.
        max_images: Most images of one request.
        tries: How often a message may come back because who took it died.
        release: Whether results wait for a signature; is kept with each case.

    References:
        Helland, "Life beyond Distributed Transactions", 2007: the inbox.
    """

    def __init__(
        self,
        database: Database,
        store: Store,
        *,
        image_root: Path | None = None,
        max_message_bytes: int = 48 * 2**20,
        max_image_bytes: int = 32 * 2**20,
        max_images: int = 16,
        tries: int = 5,
        release: Release = "signed",
    ) -> None:
        self._database, self._store, self._image_root, self._tries = database, store, image_root, tries
        self._max_message_bytes, self._max_image_bytes = max_message_bytes, max_image_bytes
        self._max_images, self._release = max_images, release

    def admit(self, arrived: Sequence[Arrived]) -> list[Outcome]:
        """Take messages in; when this returns, each is a case or a dead letter for good, and may be acknowledged.

        Images are in the store, and on the disk, before the case that speaks of them is written.

        Args:
            arrived: The messages.

        Returns:
            What became of each, in order.

        Raises:
            DatabaseLost: If the database does not answer; nothing is known of these messages, so have them come again.
            StoreLost: If an image cannot be kept, likewise.
        """
        counted: list[Arrived] = []
        try:
            read = [self._read(each, counted) for each in arrived]
            known = self._known(arrived, read)
            ready = [
                self._with_images(one) if isinstance(one, Order) and key not in known else one
                for one, key in zip(read, _keys(arrived, read), strict=True)
            ]
        except StoreLost:
            for each in counted:  # nobody died of it
                self._count(each, -1)
            raise
        with self._database.write() as work:
            outcomes = [self._settle(work, each, one) for each, one in zip(arrived, ready, strict=True)]
        reached("inbox_committed")
        return outcomes

    def _read(self, arrived: Arrived, counted: list[Arrived]) -> Order | Refused:
        """Read a message, unless it has killed its readers before."""
        try:
            if len(arrived.body) > self._max_message_bytes:
                raise Refused([Problem(code="too_large")])
            if arrived.redelivered:
                times = self._count(arrived, 1)
                counted.append(arrived)
                if times >= self._tries:
                    raise Refused([Problem(code="killed_the_worker")])
            order: Order = contract_for(arrived.queue, arrived.door).read(arrived.body)
        except Refused as refused:
            return refused
        except DatabaseLost:
            raise
        except Exception as error:  # noqa: BLE001 - a message that nobody thought of must not cost the others theirs
            failed("message_failed", error, queue=arrived.queue)
            return Refused([Problem(code="failed_every_time")])
        if len(order.pictures) > self._max_images:
            return Refused([Problem(code="too_many_images")])
        return order

    def _count(self, arrived: Arrived, by: int) -> int:
        """Count that a message has come back, before anything is done with it."""
        key = (arrived.queue, digest_of(arrived.body))
        with self._database.write() as work:
            found = work.session.get(Redelivered, key, with_for_update=True)
            if found is None:
                found = Redelivered(queue=key[0], body_sha256=key[1], times=0)
                work.session.add(found)
            found.times += by
            return found.times

    def _known(self, arrived: Sequence[Arrived], read: Sequence[Order | Refused]) -> set[tuple[str, str, str]]:
        """Which of these were taken before: their images are not fetched again."""
        keys = [key for key in _keys(arrived, read) if key]
        with self._database.read() as session:
            columns = tuple_(Case.site, Case.queue, Case.request_id)
            rows = session.execute(select(Case.site, Case.queue, Case.request_id).where(columns.in_(keys)))
            return {(site, queue, request) for site, queue, request in rows}

    def _with_images(self, order: Order) -> _Ready | Refused:
        """Fetch all images and put them into the store."""
        fetched: list[tuple[Picture, bytes]] = []
        problems: list[Problem] = []
        for place, picture in enumerate(order.pictures):
            where = picture.field or f"images[{place}]"
            try:
                data = fetch(picture, root=self._image_root, max_bytes=self._max_image_bytes, where=where)
            except Refused as refused:
                problems += refused.problems
                continue
            fetched.append((picture, data))
        if problems:
            return Refused(problems)
        # Only now: of a message that is refused nothing is kept.
        kept = tuple(_Kept(picture, self._store.put(data), len(data)) for picture, data in fetched)
        reached("blob_kept")
        return _Ready(order, kept)

    def _settle(self, work: Work, arrived: Arrived, ready: _Ready | Order | Refused) -> Outcome:
        """Write one message's end into the transaction."""
        if isinstance(ready, Refused):
            return self._refuse(work, arrived, ready)
        order = ready.order if isinstance(ready, _Ready) else ready
        digest = digest_of(arrived.body)
        key = {"site": arrived.site, "queue": arrived.queue, "request_id": order.id}
        moment = now()
        case_id = new_id()
        written = {
            **key, "id": case_id, "door": order.door, "body_sha256": digest, "state": "received", "version": 1,
            "revision": 1, "order": order.model_dump(mode="json", exclude={"pictures"}), "held": [], "unavailable": {},
            "urgency": "", "urgency_rank": 50, "reasons": {}, "rules": "", "release": self._release,
            "received_at": moment, "changed_at": moment,
            "patient_id": order.person.patient_id, "patient_name": order.person.name,
        }  # fmt: skip
        insert: Any = sqlite.insert if self._database.is_sqlite else postgresql.insert
        added = insert(Case).values(**written).on_conflict_do_nothing(index_elements=list(key)).returning(Case.id)
        if work.session.execute(added).scalar_one_or_none() is None:
            there = work.session.execute(select(Case).filter_by(**key)).scalar_one()
            if there.body_sha256 != digest:
                return self._refuse(work, arrived, Refused([Problem(code="idempotency_conflict")]), there)
            work.note(arrived.actor, "repeated", there, queue=arrived.queue)
            return Outcome("repeated", there.id)
        if not isinstance(ready, _Ready):  # it was there a moment ago, and somebody has taken it out since
            raise RuntimeError("a case disappeared while it was repeated")
        case = work.session.get_one(Case, case_id)
        work.session.add_all(
            Image(
                case_id=case_id, place=place, part=kept.picture.part, claimed_eye=kept.picture.eye, sha256=kept.sha256,
                size_bytes=kept.size_bytes, name=kept.picture.name or kept.picture.path.rpartition("/")[2],
            )
            for place, kept in enumerate(ready.images)
        )  # fmt: skip
        add_job(work, case, "read")
        work.note(arrived.actor, "received", case, queue=arrived.queue, images=len(ready.images), body=digest)
        return Outcome("admitted", case_id)

    def _refuse(self, work: Work, arrived: Arrived, refused: Refused, case: Case | None = None) -> Outcome:
        """Keep a message that was not taken; the same one twice is kept once."""
        if not arrived.keep_refused:
            return Outcome("refused", refused=refused)
        digest = digest_of(arrived.body)
        letter = open_letter(work.session, queue=arrived.queue, body_sha256=digest, code=refused.code)
        if letter is None:
            letter = DeadLetter(
                site=arrived.site, queue=arrived.queue, code=refused.code, problems=refused.to_json(),
                body=arrived.body, body_sha256=digest, arrived_at=now(),
            )  # fmt: skip
            work.session.add(letter)
            work.session.flush()
            work.note(arrived.actor, "refused", case, queue=arrived.queue, code=refused.code, letter=letter.id)
        return Outcome("refused", refused=refused, dead_letter=letter.id)


def open_letter(session: Session, *, queue: str, body_sha256: str, code: str) -> DeadLetter | None:
    """Find a dead letter that nobody has replayed yet.

    Args:
        session: An open transaction.
        queue: Where the message came from.
        body_sha256: Hash of the message.
        code: Why it was not taken.

    Returns:
        The letter; None if there is none.

    References:
        Our own.
    """
    wanted = select(DeadLetter).filter_by(queue=queue, body_sha256=body_sha256, code=code, replayed_at="")
    return session.scalars(wanted.limit(1)).first()


def _keys(arrived: Sequence[Arrived], read: Sequence[Order | Refused]) -> list[tuple[str, str, str] | None]:
    """What names each request; None where it could not be read."""
    return [
        (each.site, each.queue, order.id) if isinstance(order, Order) else None
        for each, order in zip(arrived, read, strict=True)
    ]
