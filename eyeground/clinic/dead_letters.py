"""Messages that were not taken and cases that could not be worked on: listed, and sent round again after a fix."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from sqlalchemy import select

from eyeground.clinic.cases import add_job, find
from eyeground.clinic.clock import now
from eyeground.clinic.db.database import Database, Work
from eyeground.clinic.db.tables import DeadLetter, Job
from eyeground.clinic.intake import Arrived, Intake
from eyeground.clinic.refusal import Problem, Refused
from eyeground.clinic.reviews import Doctor, Reviews
from eyeground.clinic.states import Forbidden, State

# Where the models have nothing to do any more.
_PAST: Final[tuple[State, ...]] = ("signed", "released", "amended")
# Where they have not been asked yet.
_BEFORE: Final[tuple[State, ...]] = ("received", "gated", "inferred")


class NoSuchLetter(LookupError):
    """There is no dead letter of that number, or it was replayed or dismissed before."""


_NONE: Final = "there is no such dead letter, or it was replayed or dismissed before"


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
        outcome: What became of the replay, or ``"dismissed"``.

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
    """Lists, replays and dismisses.

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
            The letter as it stands now: ``outcome`` says what became of it. ``"settled"``: its case has gone on past
            review without it.

        Raises:
            NoSuchLetter: If there is none, or it was dealt with before.
            NoSuchCase: If its case is gone.
            Forbidden: If the case may not be sent back by this person, or is being worked on.
            Stale: If somebody changes the case at this moment.
            DatabaseLost: If the database does not answer.
            StoreLost: If an image cannot be kept.
        """
        with self._database.read() as session:
            row = session.get(DeadLetter, number)
            if row is None or row.replayed_at:
                raise NoSuchLetter(_NONE)
        problems: list[dict[str, str]] = []
        outcome: str
        if row.case_id:
            outcome = self._read_again(row.case_id, actor)
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

    def dismiss(self, number: int, *, actor: Doctor) -> Letter:
        """Close one that can never be replayed; it is kept as long as one that was.

        Args:
            number: Of the letter.
            actor: Who decides.

        Returns:
            The letter as it stands now.

        Raises:
            NoSuchLetter: If there is none, or it was dealt with before.
            Forbidden: If this is neither an operator nor an admin.
            DatabaseLost: If the database does not answer.
        """
        if actor.role not in ("operator", "admin"):
            raise Forbidden(f"to dismiss a dead letter is a matter of operator or admin, not of {actor.role}")
        with self._database.write() as work:
            row = work.session.get(DeadLetter, number, with_for_update=True)
            if row is None or row.replayed_at:
                raise NoSuchLetter(_NONE)
            row.outcome, row.replayed_at = "dismissed", now()
            work.note(actor.account, "dismissed", None, letter=number)
            return _letter(row)

    def _read_again(self, case_id: str, actor: Doctor) -> Literal["requeued", "settled"]:
        """Send a case back to the models, unless that has happened, or nobody needs them any more."""
        with self._database.write() as work:
            case = find(work.session, case_id, lock=True)
            version = case.version
            if case.state in _PAST:
                return "settled"
            if case.state in _BEFORE:
                # Somebody was killed between the step back and the letter's mark; or nothing is in line by some mishap.
                if work.session.get(Job, case_id) is None:
                    add_job(work, case, "read")
                return "requeued"
        self._reviews.reread(case_id, version=version, doctor=actor)
        return "requeued"


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
