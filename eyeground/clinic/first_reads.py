"""The first read without the models: what a doctor thought before seeing what they say, kept as it was."""

import json
from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy import ColumnElement, delete, exists, or_, select
from sqlalchemy.orm import Session

from eyeground.clinic.clock import now
from eyeground.clinic.db.database import Work
from eyeground.clinic.db.opinions import FirstRead
from eyeground.clinic.db.tables import Case
from eyeground.clinic.records import Opinion
from eyeground.clinic.states import Forbidden, OutOfTurn, State

# Until it is signed. An amendment is written of a report that showed what the models said.
UNSIGNED: Final[tuple[State, ...]] = ("received", "gated", "inferred", "in_review")


class FirstReadWanted(Forbidden):
    """A doctor has to say what he sees before he is told what the models say."""


def first_read_of(session: Session, case: Case, *, account: str) -> FirstRead | None:
    """Find what a doctor thought of a case's revision before seeing what the models say.

    Args:
        session: An open transaction.
        case: The case.
        account: The doctor's.

    Returns:
        The first read; None where there is none.

    References:
        Our own.
    """
    wanted = select(FirstRead).filter_by(case_id=case.id, revision=case.revision, doctor=account)
    return session.execute(wanted).scalar_one_or_none()


def is_blind(session: Session, case: Case, *, account: str) -> bool:
    """Tell whether what the models say is hidden from a doctor, where first reads are wanted.

    Args:
        session: An open transaction.
        case: The case.
        account: The doctor's.

    Returns:
        True until he has written a first read, or the case is signed. Where there is nothing to look at (a report
        request) nothing is hidden.

    References:
        Our own.
    """
    wanted = case.state in UNSIGNED and case.door != "report"
    return wanted and first_read_of(session, case, account=account) is None


def is_shown(account: str) -> ColumnElement[bool]:
    """Say for a query the opposite of ``is_blind``.

    Args:
        account: The doctor's.

    Returns:
        A condition on ``Case``.

    References:
        Our own.
    """
    mine = exists().where(
        FirstRead.case_id == Case.id, FirstRead.revision == Case.revision, FirstRead.doctor == account
    )
    return or_(Case.state.not_in(UNSIGNED), Case.door == "report", mine)


def keep_first_read(work: Work, case: Case, opinion: Opinion, *, account: str) -> None:
    """Keep a first read, once for good.

    Args:
        work: An open write transaction that holds the case.
        case: The case.
        opinion: What the doctor thinks; checked by the caller.
        account: The doctor's.

    Raises:
        OutOfTurn: If the case is not before a doctor for the first time, or there is a first read of his.

    References:
        Our own.
    """
    if case.state != "in_review":
        raise OutOfTurn(f"the case is {case.state.replace('_', ' ')}: a first read is written before it is signed")
    if first_read_of(work.session, case, account=account) is not None:
        raise OutOfTurn("there is a first read of yours; it is kept as it was")
    work.session.add(
        FirstRead(
            case_id=case.id, revision=case.revision, doctor=account, opinion=opinion.model_dump(), made_at=now()
        )
    )  # fmt: skip
    work.note(account, "first_read", case, revision=case.revision)


def drop_first_reads(work: Work, case: Case, *, account: str) -> None:
    """Take back all first reads of a case's revision: they speak of other eyes than its images now show.

    Args:
        work: An open write transaction that holds the case.
        case: The case.
        account: Who has exchanged the eyes.

    References:
        Our own.
    """
    mine = delete(FirstRead).filter_by(case_id=case.id, revision=case.revision).returning(FirstRead.doctor)
    if doctors := sorted(work.session.scalars(mine)):
        work.note(account, "first_read_dropped", case, revision=case.revision, doctors=doctors)


def open_words(unavailable: Mapping[str, str]) -> dict[str, str]:
    """Leave of what has no answer only what no model has said.

    Args:
        unavailable: As the case has it.

    Returns:
        That there is no image, or that an eye is not decided.

    Example:
        >>> open_words({"fundus/OD": "cannot_grade", "fundus/OS": "no_image"})
        {'fundus/OS': 'no_image'}

    References:
        Our own.
    """
    return {key: word for key, word in unavailable.items() if word in ("no_image", "eye_held")}


def open_detail(detail: str) -> str:
    """Leave of a line of the audit trail only what no model has said.

    Args:
        detail: JSON text.

    Returns:
        The same without urgency and names of models.

    Example:
        >>> open_detail('{"from": "gated", "models": ["x"]}')
        '{"from": "gated"}'

    References:
        Our own.
    """
    known = ("from", "to", "version", "revision", "place", "eye", "pictures")
    told: dict[str, Any] = json.loads(detail)
    return json.dumps({key: value for key, value in told.items() if key in known})
