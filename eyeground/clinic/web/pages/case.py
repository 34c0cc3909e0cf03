"""The page on which a doctor reads a case, grades it and signs."""

import json
from typing import Any, Final, Literal

from fastapi import FastAPI, Request, Response
from pydantic import BaseModel, ConfigDict
from sqlalchemy import select, tuple_
from sqlalchemy.orm import Session
from starlette.concurrency import run_in_threadpool

from eyeground.clinic.blobs.store import digest_of
from eyeground.clinic.cases import find, findings_of, images_of, stands_in
from eyeground.clinic.db.people import Account
from eyeground.clinic.db.tables import Case, Job, Review
from eyeground.clinic.patient_links import link_ends
from eyeground.clinic.report.language import languages, words_of
from eyeground.clinic.states import OPEN
from eyeground.clinic.urgency import titles
from eyeground.clinic.web.asked import SavedOpinion
from eyeground.clinic.web.bodies import read_asked
from eyeground.clinic.web.case_sheet import sheet_of
from eyeground.clinic.web.desk import Desk
from eyeground.clinic.web.guard import who_asks
from eyeground.clinic.web.owning import check_owned, hides_models, view_of
from eyeground.clinic.web.paging import language_of
from eyeground.clinic.web.refusing import TurnedAway

_CASE: Final = "/cases/{case_id}"
_Step = Literal["previous", "next"]
_STEPS: Final[tuple[_Step, ...]] = ("previous", "next")
_ORDER: Final = (Case.urgency_rank, Case.received_at, Case.id)


class Standing(BaseModel):
    """Where a case is.

    Args:
        state: Where.
        version: Of the case.
        working: Whether something is being done, or is in line to be done.
        doctor: Who wrote the opinion that is stored now; empty where there is none, or it is hidden.
        seen: Changes when an image is another eye's, or the models say something else: what a page was filled in
            beside is then no longer what there is.

    Example:
        >>> Standing(state="received", version=1, working=True, doctor="", seen="").working
        True

    References:
        Our own.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    state: str
    version: int
    working: bool
    doctor: str
    seen: str


class Foreseen(BaseModel):
    """What signing an opinion would say of a case.

    Args:
        urgency: A word of the rule set.
        title: What it is called.
        rank: Where it stands among the rule set's; 0 is the most urgent.
        refer: Whether the patient is to see an ophthalmologist.
        reasons: What makes it so.
        rules: Rule set and version.

    Example:
        >>> told = {"title": "1 month", "rank": 2, "refer": True, "reasons": [], "rules": "ICO-2017 v2"}
        >>> Foreseen(urgency="refer_1_month", **told).urgency
        'refer_1_month'

    References:
        Our own.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    urgency: str
    title: str
    rank: int
    refer: bool
    reasons: list[str]
    rules: str


def add(app: FastAPI, desk: Desk) -> None:
    """Put the page into an app.

    Args:
        app: The app.
        desk: What routes share.

    Raises:
        TurnedAway: If a first read is wanted before anything is told.

    References:
        pages.md of the design, section 3.
    """

    @app.get(_CASE, include_in_schema=False)
    def case(case_id: str, request: Request) -> Response:
        """Show a case; that somebody looked is written into the audit trail."""
        who, language = who_asks(request), language_of(request.scope)
        check_owned(desk.service, case_id, who)
        desk.sightings.note(who.account, "case_seen", case_id)
        with desk.service.database.read() as session:
            view = view_of(desk.service, session, case_id, who)
            row = find(session, case_id)
            beside = {step: _beside(session, row, who.site, step) for step in _STEPS}
            ends_at = link_ends(session, case_id)
            seen = _seen(session, row, blind=view["blind"])
        sheet = sheet_of(view, language, rules=desk.service.rules, role=who.role)
        zone = desk.service.settings.timezone
        sheet["script"] |= {"zone": zone, "link_ends": ends_at[:10], "seen": seen}
        sheet["script"] |= {"drafts": dict(view["draft"]), "notes": _notes()}
        return desk.pages.show(request, "case", view=view, beside=beside, **sheet)

    @app.get(f"{_CASE}/standing", include_in_schema=False)
    def standing(case_id: str, request: Request) -> Standing:
        """Say where a case is, for a page that waits for it; nothing of the patient, so nothing is written down."""
        who = who_asks(request)
        check_owned(desk.service, case_id, who)
        with desk.service.database.read() as session:
            row = find(session, case_id)
            blind = hides_models(desk.service, session, row, who)
            return Standing(
                state=row.state,
                version=row.version,
                working=session.get(Job, case_id) is not None,
                doctor="" if blind else _writer(session, row),
                seen=_seen(session, row, blind=blind),
            )

    @app.post(f"{_CASE}/foreseen", include_in_schema=False)
    async def foreseen(case_id: str, request: Request) -> Foreseen:
        """Say how urgent a case would be if this opinion were signed."""
        asked = await read_asked(request, SavedOpinion)
        language = language_of(request.scope)

        def rank() -> Foreseen:
            who = who_asks(request)
            check_owned(desk.service, case_id, who)
            with desk.service.database.read() as session:
                row = find(session, case_id)
                if hides_models(desk.service, session, row, who):
                    raise TurnedAway("first_read_wanted")
                found = desk.service.reviews.rank(session, row, asked.opinion)
            title = titles(found.word, found.rules)[language]
            return Foreseen(
                urgency=found.word, title=title, rank=found.rank, refer=found.refer,
                reasons=list(found.reasons[language]), rules=found.rules,
            )  # fmt: skip

        return await run_in_threadpool(rank)


def _seen(session: Session, row: Case, *, blind: bool) -> str:
    """Fingerprint of what is seen of a case: which eyes the images show, and what the models say if that is shown."""
    images = [(image.place, image.sha256, image.eye) for image in images_of(session, row.id)]
    said = [] if blind else [(each.image_sha256, each.model_id, each.said) for each in findings_of(session, row.id)]
    return digest_of(json.dumps([images, said], sort_keys=True).encode())


def _notes() -> list[str]:
    """What drafts carry below their sentences: a text that holds nothing else is empty, as ``settled`` has it."""
    return [words_of(each).say(f"draft.{note}") for each in languages() for note in ("note", "note_by_ai")]


def _writer(session: Session, row: Case) -> str:
    """Who wrote the opinion of the case's revision last."""
    ours = select(Account.title, Account.name).join(Review, Review.doctor == Account.name)
    found = session.execute(ours.where(Review.case_id == row.id, Review.revision == row.revision)).first()
    return (found.title or found.name) if found else ""


def _beside(session: Session, row: Case, site: str, step: _Step) -> str:
    """The case before or after in the work list, or nothing; after one that is done comes the first that waits."""
    waiting = select(Case.id).where(stands_in(*OPEN), Case.id != row.id)
    if site:
        waiting = waiting.where(Case.site == site)
    place: Any = tuple_(*_ORDER)
    here = tuple_(row.urgency_rank, row.received_at, row.id)
    if row.state not in OPEN:
        waiting = waiting.order_by(*_ORDER) if step == "next" else waiting.where(Case.id == "")
    elif step == "next":
        waiting = waiting.where(place > here).order_by(*_ORDER)
    else:
        waiting = waiting.where(place < here).order_by(*(column.desc() for column in _ORDER))
    return session.scalars(waiting.limit(1)).first() or ""
