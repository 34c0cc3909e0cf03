"""Cases, for those who treat: the work list, a case, and what doctors do."""

from collections.abc import Callable
from typing import Annotated, Final

from fastapi import FastAPI, Query, Request
from sqlalchemy import select
from starlette.concurrency import run_in_threadpool

from eyeground.clinic.cases import Stale, find
from eyeground.clinic.db.tables import Review
from eyeground.clinic.records import Opinion
from eyeground.clinic.states import OPEN, State
from eyeground.clinic.web.asked import Amendment, DecidedEyes, SavedOpinion, SeenVersion, SignedOpinion
from eyeground.clinic.web.bodies import body_of, read_asked
from eyeground.clinic.web.case_shapes import CaseShape
from eyeground.clinic.web.desk import Desk
from eyeground.clinic.web.differences import differences
from eyeground.clinic.web.doors import API
from eyeground.clinic.web.guard import Who, guarded_answers, who_asks
from eyeground.clinic.web.line_shapes import CaseLine, CountsShape, WorkList
from eyeground.clinic.web.owning import check_owned, counts_of, hides_models, reads_first, view_of
from eyeground.clinic.web.refusing import TurnedAway
from eyeground.clinic.web.shapes import Changed
from eyeground.clinic.work_list import MOST_SEARCHED, SEARCHED, Filter, work_list

_CASE: Final = f"{API}/cases/{{case_id}}"
_MOST: Final = 200


def add(app: FastAPI, desk: Desk) -> None:
    """Put the routes into an app.

    Args:
        app: The app.
        desk: What routes share.

    References:
        docs/clinic.md.
    """
    _add_views(app, desk)
    _add_deeds(app, desk)


def _add_views(app: FastAPI, desk: Desk) -> None:
    """What is looked at."""

    @app.get(f"{API}/cases", summary="The work list", responses=guarded_answers())
    def list_cases(
        request: Request,
        state: Annotated[list[State] | None, Query(description="Only these; none = those that wait.")] = None,
        site: Annotated[str, Query(max_length=64, pattern="^[A-Za-z0-9_.-]*$", description="Only this site's.")] = "",
        most: Annotated[int, Query(ge=1, le=_MOST)] = 50,
        skip: Annotated[int, Query(ge=0, le=1_000_000)] = 0,
        filter: Annotated[Filter, Query(description="Only these, as the work list's page names them.")] = "all",
        search: Annotated[
            str, Query(max_length=MOST_SEARCHED, pattern=SEARCHED, description="Part of a patient's id or name.")
        ] = "",
    ) -> WorkList:
        """List cases, the most urgent first, then the longest wait."""
        who = who_asks(request)
        if who.site and site not in ("", who.site):
            return WorkList(cases=[], skip=skip, more=False)
        with desk.service.database.read() as session:
            found = work_list(
                session, site=who.site or site, states=OPEN if state is None else tuple(state), most=most + 1,
                skip=skip, filter=filter, search=search, account=who.account, blind=reads_first(desk.service, who),
            )  # fmt: skip
        lines = [CaseLine.model_validate(each) for each in found[:most]]
        return WorkList(cases=lines, skip=skip, more=len(found) > most)

    @app.get(_CASE, summary="All of a case", responses=guarded_answers(404))
    def show_case(case_id: str, request: Request) -> CaseShape:
        """Show a case; that somebody looked is written into the audit trail."""
        who = who_asks(request)
        check_owned(desk.service, case_id, who)
        desk.sightings.note(who.account, "case_seen", case_id)
        with desk.service.database.read() as session:
            return CaseShape.model_validate(view_of(desk.service, session, case_id, who))

    @app.get(f"{API}/counts", summary="How much waits", responses=guarded_answers())
    def count(request: Request) -> CountsShape:
        """Count, for whoever keeps the work list open; nothing of a patient, so nothing is written down."""
        return CountsShape.model_validate(counts_of(desk.service, who_asks(request)))


def _add_deeds(app: FastAPI, desk: Desk) -> None:
    """What doctors do. Whoever saw an older version than there is gets 409, with what is different now."""
    reviews = desk.service.reviews

    async def done(
        request: Request, case_id: str, act: Callable[[Who], Changed], sent: Opinion | None = None
    ) -> Changed:
        return await run_in_threadpool(_carry_out, desk, who_asks(request), case_id, act, sent)

    @app.put(
        f"{_CASE}/opinion",
        summary="Keep an opinion as a draft",
        responses=guarded_answers(404, 409),
        openapi_extra=body_of(SavedOpinion),
    )
    async def save_opinion(case_id: str, request: Request) -> Changed:
        asked = await read_asked(request, SavedOpinion)
        return await done(
            request, case_id,
            lambda who: _now(
                desk, case_id, reviews.save(case_id, asked.opinion, version=asked.version, doctor=who.doctor)
            ),
            asked.opinion,
        )  # fmt: skip

    @app.put(
        f"{_CASE}/first-read",
        summary="Keep what a doctor thinks before seeing what the models say",
        responses=guarded_answers(404, 409),
        openapi_extra=body_of(SavedOpinion),
    )
    async def first_read(case_id: str, request: Request) -> Changed:
        asked = await read_asked(request, SavedOpinion)
        return await done(
            request, case_id,
            lambda who: _now(
                desk, case_id, reviews.first_read(case_id, asked.opinion, version=asked.version, doctor=who.doctor)
            ),
        )  # fmt: skip

    @app.post(
        f"{_CASE}/eye",
        summary="Say which eyes images show",
        responses=guarded_answers(404, 409),
        openapi_extra=body_of(DecidedEyes),
    )
    async def decide_eyes(case_id: str, request: Request) -> Changed:
        asked = await read_asked(request, DecidedEyes)
        return await done(
            request, case_id,
            lambda who: Changed(
                version=reviews.decide_eyes(case_id, asked.by_place, version=asked.version, doctor=who.doctor),
                state="received",
            ),
        )  # fmt: skip

    @app.post(
        f"{_CASE}/sign",
        summary="Sign an opinion, which releases it",
        responses=guarded_answers(404, 409),
        openapi_extra=body_of(SignedOpinion),
    )
    async def sign(case_id: str, request: Request) -> Changed:
        asked = await read_asked(request, SignedOpinion)
        return await done(
            request, case_id,
            lambda who: Changed(
                version=reviews.sign(case_id, asked.opinion, version=asked.version, doctor=who.doctor), state="signed"
            ),
            asked.opinion,
        )  # fmt: skip

    @app.post(
        f"{_CASE}/amend",
        summary="Open a report that is out for a new version",
        responses=guarded_answers(404, 409),
        openapi_extra=body_of(Amendment),
    )
    async def amend(case_id: str, request: Request) -> Changed:
        asked = await read_asked(request, Amendment)
        return await done(
            request, case_id,
            lambda who: Changed(
                version=reviews.amend(case_id, reason=asked.reason, version=asked.version, doctor=who.doctor),
                state="amended",
            ),
        )  # fmt: skip

    @app.post(
        f"{_CASE}/reread",
        summary="Have the models look at a case again",
        responses=guarded_answers(404, 409),
        openapi_extra=body_of(SeenVersion),
    )
    async def reread(case_id: str, request: Request) -> Changed:
        asked = await read_asked(request, SeenVersion)
        return await done(
            request, case_id,
            lambda who: Changed(
                version=reviews.reread(case_id, version=asked.version, doctor=who.doctor), state="received"
            ),
        )  # fmt: skip


def _carry_out(desk: Desk, who: Who, case_id: str, act: Callable[[Who], Changed], sent: Opinion | None) -> Changed:
    """Do something to a case; in a thread."""
    check_owned(desk.service, case_id, who)
    try:
        return act(who)
    except Stale:
        # Both from one look, so that they belong together.
        with desk.service.database.read() as session:
            case = find(session, case_id)
            wanted = select(Review.opinion).filter_by(case_id=case_id, revision=case.revision)
            stored = Opinion.model_validate(session.scalars(wanted).first() or {})
            hidden = hides_models(desk.service, session, case, who)
        different = [] if sent is None or hidden else differences(sent, stored)
        raise TurnedAway("stale", version=case.version, differences=different) from None


def _now(desk: Desk, case_id: str, version: int) -> Changed:
    """A case after a draft was saved, which changes its version only."""
    with desk.service.database.read() as session:
        state: State = find(session, case_id).state  # type: ignore[assignment]
    return Changed(version=version, state=state)
