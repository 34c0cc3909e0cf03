"""Whose case it is, and what of it may be seen by whoever asks: the same for every route."""

import re
from typing import Any

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from eyeground.clinic.cases import NoSuchCase, find
from eyeground.clinic.db.database import DatabaseLost
from eyeground.clinic.db.tables import Case
from eyeground.clinic.first_reads import is_blind
from eyeground.clinic.log import failed
from eyeground.clinic.service import Service
from eyeground.clinic.views import case_view
from eyeground.clinic.waiting import Counts, count_waiting, midnight
from eyeground.clinic.web.guard import OPERATORS, STAFF, Who

_ID = re.compile(r"[0-9a-f]{32}", re.ASCII)


def check_owned(service: Service, case_id: str, who: Who) -> None:
    """Refuse a case that is not there or is another site's: both look the same.

    Args:
        service: The service.
        case_id: The case.
        who: Who asks.

    Raises:
        NoSuchCase: If there is none, or it is another site's.

    References:
        Our own.
    """
    if not _ID.fullmatch(case_id):
        raise NoSuchCase("there is no such case")
    with service.database.read() as session:
        find(session, case_id, site=who.site)


def reads_first(service: Service, who: Who) -> bool:
    """Tell whether somebody has to look for himself before he sees what the models say.

    Args:
        service: The service.
        who: Who asks.

    Returns:
        Whether that is how the service is set, and this is a doctor: who cannot sign may see all.

    References:
        Our own.
    """
    return service.settings.blind_first_read and who.role == "doctor"


def hides_models(service: Service, session: Session, case: Case, who: Who) -> bool:
    """Tell whether what the models say of a case is hidden from somebody now.

    Args:
        service: The service.
        session: An open transaction.
        case: The case.
        who: Who asks.

    Returns:
        Whether it is.

    References:
        Our own.
    """
    return reads_first(service, who) and is_blind(session, case, account=who.account)


def view_of(service: Service, session: Session, case_id: str, who: Who) -> dict[str, Any]:
    """Show all of a case that somebody may see now.

    Args:
        service: The service.
        session: An open transaction.
        case_id: The case.
        who: Who asks.

    Returns:
        As ``case_view``.

    Raises:
        NoSuchCase: If there is none, or it is another site's.

    References:
        Our own.
    """
    view = case_view(session, case_id, site=who.site, account=who.account, blind=reads_first(service, who))
    for image in view["images"]:
        image["slices"] = service.showing.slices(image["sha256"])
    return view


def counts_of(service: Service, who: Who) -> Counts:
    """Count what waits for somebody.

    Args:
        service: The service.
        who: Who asks.

    Returns:
        The numbers; dead letters for operators only.

    Raises:
        DatabaseLost: If the database does not answer.

    References:
        Our own.
    """
    settings = service.settings
    with service.database.read() as session:
        return count_waiting(
            session, site=who.site, since=midnight(settings.timezone), account=who.account,
            blind=reads_first(service, who), letters=who.role in OPERATORS,
        )  # fmt: skip


def head_counts(service: Service, who: Who) -> dict[str, int]:
    """Count what stands in the head of every page.

    Args:
        service: The service.
        who: Who looks.

    Returns:
        Numbers by the address of their place; none where the database does not answer, for the page that says so has
        a head, too.

    References:
        pages.md of the design.
    """
    if who.role not in STAFF:
        return {}
    try:
        counts = counts_of(service, who)
    except (DatabaseLost, SQLAlchemyError) as error:
        failed("counts_missing", error)
        return {}
    letters = {} if counts.dead_letters is None else {"/dead-letters": counts.dead_letters}
    return {"/work": counts.work, "/signed": counts.signed_today, **letters}
