"""Cases, for those who treat: the work list, a case, its images, and what doctors do."""

import re
from collections.abc import Callable
from typing import Annotated, Final

from fastapi import FastAPI, Path, Query, Request, Response
from sqlalchemy import select
from starlette.concurrency import run_in_threadpool

from eyeground.clinic.blobs.store import BlobMissing
from eyeground.clinic.cases import NoSuchCase, Stale, find, images_of
from eyeground.clinic.db.tables import Review
from eyeground.clinic.records import Opinion
from eyeground.clinic.states import OPEN, State
from eyeground.clinic.views import case_view, work_list
from eyeground.clinic.web.asked import Amendment, DecidedEye, SavedOpinion, SeenVersion, SignedOpinion
from eyeground.clinic.web.bodies import body_of, read_asked
from eyeground.clinic.web.case_shapes import CaseLine, CaseShape, WorkList
from eyeground.clinic.web.desk import Desk
from eyeground.clinic.web.differences import differences
from eyeground.clinic.web.doors import API
from eyeground.clinic.web.guard import Who, guarded_answers, who_asks
from eyeground.clinic.web.refusing import TurnedAway
from eyeground.clinic.web.shapes import Changed

_CASE: Final = f"{API}/cases/{{case_id}}"
_ID = re.compile(r"[0-9a-f]{32}", re.ASCII)
_MOST: Final = 200
# What a file begins with: its true type, and what its name ends in. Only the first two are shown, the rest is saved.
_KINDS: Final = (
    (b"\xff\xd8\xff", "image/jpeg", ".jpg"), (b"\x89PNG\r\n\x1a\n", "image/png", ".png"),
    (b"II*\0", "image/tiff", ".tif"), (b"MM\0*", "image/tiff", ".tif"), (b"BM", "image/bmp", ".bmp"),
)  # fmt: skip
_SHOWN: Final = ("image/jpeg", "image/png")
_BINARY: Final = {"schema": {"type": "string", "format": "binary"}}


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
    ) -> WorkList:
        """List cases, the most urgent first, then the longest wait."""
        mine = who_asks(request).site
        if mine and site not in ("", mine):
            return WorkList(cases=[], skip=skip, more=False)
        with desk.service.database.read() as session:
            found = work_list(
                session, site=mine or site, states=OPEN if state is None else tuple(state), most=most + 1, skip=skip
            )
        lines = [CaseLine.model_validate(each) for each in found[:most]]
        return WorkList(cases=lines, skip=skip, more=len(found) > most)

    @app.get(_CASE, summary="All of a case", responses=guarded_answers(404))
    def show_case(case_id: str, request: Request) -> CaseShape:
        """Show a case; that somebody looked is written into the audit trail."""
        who = who_asks(request)
        _check(desk, case_id, who)
        desk.sightings.note(who.account, "case_seen", case_id)
        with desk.service.database.read() as session:
            return CaseShape.model_validate(case_view(session, case_id, site=who.site))

    @app.get(
        f"{_CASE}/images/{{place}}",
        summary="An image as it was sent",
        response_class=Response,
        responses={
            200: {
                "content": dict.fromkeys(
                    dict.fromkeys([*(kind for _, kind, _ in _KINDS), "application/dicom"]), _BINARY
                )
            },
            **guarded_answers(404),
        },
    )
    def show_image(case_id: str, place: Annotated[int, Path(ge=0, le=9999)], request: Request) -> Response:
        """Give an image's bytes; that somebody looked is written into the audit trail."""
        who = who_asks(request)
        _check(desk, case_id, who)
        with desk.service.database.read() as session:
            sha256 = next((each.sha256 for each in images_of(session, case_id) if each.place == place), "")
        if not sha256:
            raise TurnedAway("not_found")
        desk.sightings.note(who.account, "image_seen", case_id, place=place)
        try:
            data = desk.service.store.get(sha256)
        except BlobMissing:
            raise TurnedAway("image_gone") from None
        return _image(data, sha256)


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

    @app.post(
        f"{_CASE}/eye",
        summary="Say which eye an image shows",
        responses=guarded_answers(404, 409),
        openapi_extra=body_of(DecidedEye),
    )
    async def decide_eye(case_id: str, request: Request) -> Changed:
        asked = await read_asked(request, DecidedEye)
        return await done(
            request, case_id,
            lambda who: Changed(
                version=reviews.decide_eye(case_id, asked.place, asked.eye, version=asked.version, doctor=who.doctor),
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


def _check(desk: Desk, case_id: str, who: Who) -> None:
    """Refuse a case that is not there or is another site's: both look the same."""
    if not _ID.fullmatch(case_id):
        raise NoSuchCase("there is no such case")
    with desk.service.database.read() as session:
        case = find(session, case_id)
    if who.site and case.site != who.site:
        raise NoSuchCase("there is no such case")


def _carry_out(desk: Desk, who: Who, case_id: str, act: Callable[[Who], Changed], sent: Opinion | None) -> Changed:
    """Do something to a case; in a thread."""
    _check(desk, case_id, who)
    try:
        return act(who)
    except Stale:
        # Both from one look, so that they belong together.
        with desk.service.database.read() as session:
            case = find(session, case_id)
            wanted = select(Review.opinion).filter_by(case_id=case_id, revision=case.revision)
            stored = Opinion.model_validate(session.scalars(wanted).first() or {})
        different = [] if sent is None else differences(sent, stored)
        raise TurnedAway("stale", version=case.version, differences=different) from None


def _now(desk: Desk, case_id: str, version: int) -> Changed:
    """A case after a draft was saved, which changes its version only."""
    with desk.service.database.read() as session:
        state: State = find(session, case_id).state  # type: ignore[assignment]
    return Changed(version=version, state=state)


def _image(data: bytes, sha256: str) -> Response:
    """An image with its true type, and a name that says nothing of the patient."""
    kind, suffix = next(((kind, suffix) for start, kind, suffix in _KINDS if data.startswith(start)), ("", ""))
    if not kind:
        is_dicom = data[128:132] == b"DICM"
        kind, suffix = ("application/dicom", ".dcm") if is_dicom else ("application/octet-stream", ".bin")
    headers = {} if kind in _SHOWN else {"Content-Disposition": f'attachment; filename="{sha256[:16]}{suffix}"'}
    return Response(data, media_type=kind, headers=headers)
