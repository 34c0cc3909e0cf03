"""Messages that were not taken and cases that could not be worked on: listed, and sent round again after a fix."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select

from eyeground.clinic.cases import find
from eyeground.clinic.clock import now
from eyeground.clinic.db.database import Database, Work
from eyeground.clinic.db.tables import DeadLetter
from eyeground.clinic.intake import Arrived, Intake
from eyeground.clinic.refusal import Problem, Refused
from eyeground.clinic.reviews import Doctor, Reviews


class NoSuchLetter(LookupError):
    """There is no dead letter of that number, or it was replayed before."""


@dataclass(frozen=True)
class Letter:
    """A dead letter as an operator sees it, without the message.

    Args:
        id: Number.
        queue: Where it came from.
        site: Who sent it.
        code: Why it was not taken.
        problems: All of it: ``code, where, en, zh`` of each.
        case_id: The case that could not be worked on; empty of a message.
        arrived_at: UTC, ISO.
        replayed_at: UTC, ISO; empty while nobody has.
        outcome: What became of the replay.

    Example:
        >>> Letter(1, "check", "default", "not_json", (), "", "", "", "").code
        'not_json'

    References:
        Our own.
    """

    id: int
    queue: str
    site: str
    code: str
    problems: tuple[dict[str, str], ...]
    case_id: str
    arrived_at: str
    replayed_at: str
    outcome: str


class DeadLetters:
    """Lists and replays.

    Args:
        database: Where they are.
        intake: Takes messages in again.
        reviews: Sends cases back to the models.

    References:
        docs/clinic.md.
    """

    def __init__(self, database: Database, intake: Intake, reviews: Reviews) -> None:
        self._database, self._intake, self._reviews = database, intake, reviews

    def list(self, *, replayed: bool = False, site: str = "", after: int = 0, most: int = 100) -> list[Letter]:
        """List letters, the oldest first.

        Args:
            replayed: Whether those that were replayed are listed, too.
            site: Only those of this site; empty = all.
            after: Only those with a higher number.
            most: How many at most.

        Returns:
            The letters, without their messages.

        Raises:
            DatabaseLost: If the database does not answer.
        """
        wanted = select(DeadLetter).where(DeadLetter.id > after).order_by(DeadLetter.id).limit(most)
        if not replayed:
            wanted = wanted.where(DeadLetter.replayed_at == "")
        if site:
            wanted = wanted.where(DeadLetter.site == site)
        with self._database.read() as session:
            return [_letter(row) for row in session.scalars(wanted)]

    def replay(self, number: int, *, actor: Doctor) -> Letter:
        """Send one round again; it stays where it is if it is refused again.

        Args:
            number: Of the letter.
            actor: Who asks.

        Returns:
            The letter as it stands now: ``outcome`` says what became of it.

        Raises:
            NoSuchLetter: If there is none, or it was replayed before.
            Forbidden: If the case has gone on.
            DatabaseLost: If the database does not answer.
            StoreLost: If an image cannot be kept.
        """
        with self._database.read() as session:
            row = session.get(DeadLetter, number)
            if row is None or row.replayed_at:
                raise NoSuchLetter("there is no such dead letter, or it was replayed before")
            case_id, version = row.case_id, find(session, row.case_id).version if row.case_id else 0
        outcome, problems = "requeued", list[dict[str, str]]()
        if case_id:
            self._reviews.reread(case_id, version=version, doctor=actor)
        else:
            [found] = self._intake.admit(
                [Arrived(row.queue, row.body, row.site, keep_refused=False, actor=actor.account)]
            )
            outcome = found.kind
            problems = found.refused.to_json() if found.refused else []
        with self._database.write() as work:
            row = work.session.get_one(DeadLetter, number, with_for_update=True)
            row.outcome = outcome
            if problems:
                row.problems, row.code = problems, problems[0]["code"]
            else:
                row.replayed_at = now()
            work.note(actor.account, "replayed", None, letter=number, outcome=outcome)
            return _letter(row)


def bury(work: Work, case_id: str, *, code: str, case_queue: str, site: str) -> None:
    """Keep a letter about a case that could not be worked on.

    Args:
        work: An open write transaction.
        case_id: The case.
        code: Why.
        case_queue: Where its message came from.
        site: Who sent it.

    References:
        Our own.
    """
    refused = Refused([Problem(code=code)])
    work.session.add(
        DeadLetter(
            site=site, queue=case_queue, code=code, problems=refused.to_json(), body=b"", body_sha256="",
            case_id=case_id, arrived_at=now(),
        )
    )  # fmt: skip
    work.note("service", "put_aside", find(work.session, case_id), code=code)


def _letter(row: DeadLetter) -> Letter:
    """A row without its message."""
    problems: Sequence[dict[str, Any]] = row.problems
    return Letter(
        row.id,
        row.queue,
        row.site,
        row.code,
        tuple(problems),
        row.case_id,
        row.arrived_at,
        row.replayed_at,
        row.outcome,
    )
