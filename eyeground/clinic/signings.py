"""How urgent each signed revision was, and by which rules: the case itself knows the last alone."""

import json
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from eyeground.clinic.db.tables import AuditRecord, Case


@dataclass(frozen=True)
class Signing:
    """What the rules said when a revision was signed.

    Args:
        urgency: A word of the rule set.
        rules: Rule set and version.

    Example:
        >>> Signing("refer_1_month", "ICO-2017 v2").rules
        'ICO-2017 v2'

    References:
        Our own.
    """

    urgency: str
    rules: str


def signings_of(session: Session, case: Case) -> dict[int, Signing]:
    """Read from the audit trail what the rules said of each signed revision.

    Args:
        session: An open transaction.
        case: The case.

    Returns:
        By revision. A line of a version that did not write down the rules is told with the case's.

    References:
        Our own.
    """
    wanted = select(AuditRecord.detail).filter_by(case_id=case.id, event="sign").order_by(AuditRecord.seq)
    told = [json.loads(line) for line in session.scalars(wanted)]
    return {
        each["revision"]: Signing(each["urgency"], each.get("rules", case.rules)) for each in told if "urgency" in each
    }
