"""Patients' links, and what a patient's app or mini-program reads by one."""

import re
from typing import Annotated, Any, Final

from anyio import CapacityLimiter, to_thread
from fastapi import FastAPI, Path, Query, Request, Response
from starlette.concurrency import run_in_threadpool

from eyeground.clinic.patient_links import Access, CodeWaits, CodeWrong, LinkClosed, NewLink, PatientLinks
from eyeground.clinic.patient_view import Language, PatientReport
from eyeground.clinic.views import find_request
from eyeground.clinic.web.asked import PatientCode
from eyeground.clinic.web.bodies import body_of, read_asked
from eyeground.clinic.web.desk import Desk
from eyeground.clinic.web.doors import API
from eyeground.clinic.web.guard import Who, guarded_answers, is_from_here, who_asks
from eyeground.clinic.web.owning import check_owned
from eyeground.clinic.web.patient_reading import PDFS_AT_ONCE, address_of, links_of, read_pdf, read_photo, read_report
from eyeground.clinic.web.patient_shapes import LinkShape, PassShape, RevokedShape
from eyeground.clinic.web.refusing import TurnedAway, answers

_CASE: Final = f"{API}/cases/{{case_id}}/links"
_SCREENING: Final = f"{API}/screenings/{{message_id}}/link"
_PATIENT: Final = f"{API}/patient"
_MESSAGE_ID: Final = re.compile(r"[A-Za-z0-9._:-]{1,128}", re.ASCII)
_QUEUE: Final = "http"  # of the door /screenings
_LONGEST_PASS: Final = 256
_Lang = Annotated[Language, Query(description="Of the sentences; the doctor's words stay as they are.")]


def add(app: FastAPI, desk: Desk) -> None:
    """Put the routes into an app.

    Args:
        app: The app.
        desk: What routes share.

    References:
        docs/how-to/phone.md.
    """
    _add_links(app, desk)
    _add_patient(app, desk)


def _add_links(app: FastAPI, desk: Desk) -> None:
    """What those do who treat, and the site's own system."""
    links = links_of(desk.service)

    def made(request: Request, case_id: str) -> LinkShape:
        who = who_asks(request)
        link: NewLink = links.make(case_id, site=who.site, actor=who.account)
        return LinkShape(
            address=address_of(request, desk.service, link.path), path=link.path, code=link.code, ends_at=link.ends_at
        )

    def revoked(request: Request, case_id: str) -> RevokedShape:
        who = who_asks(request)
        return RevokedShape(revoked=links.revoke(case_id, site=who.site, actor=who.account))

    @app.post(_CASE, summary="Make the patient's link", status_code=201, responses=guarded_answers(404))
    def make_link(case_id: str, request: Request) -> LinkShape:
        """Make a link and its code, which are shown this once; links made before are revoked.

        Give the code another way than the link. Nothing is shown by it before a doctor has signed.
        """
        check_owned(desk.service, case_id, who_asks(request))
        return made(request, case_id)

    @app.post(f"{_CASE}/revoke", summary="Revoke the patient's link", responses=guarded_answers(404))
    def revoke_links(case_id: str, request: Request) -> RevokedShape:
        """Revoke what links there are; whoever reads by one is out at once."""
        check_owned(desk.service, case_id, who_asks(request))
        return revoked(request, case_id)

    @app.post(
        _SCREENING, summary="Make the link of a request's patient", status_code=201, responses=guarded_answers(404)
    )
    def make_screening_link(message_id: str, request: Request) -> LinkShape:
        """Make a link and its code for the sender's own request, so that its system can send them on.

        They are shown this once; links made before are revoked. Send the code another way than the link.
        """
        return made(request, _case_of(desk, who_asks(request), message_id))

    @app.post(f"{_SCREENING}/revoke", summary="Revoke the link of a request's patient", responses=guarded_answers(404))
    def revoke_screening_link(message_id: str, request: Request) -> RevokedShape:
        """Revoke what links there are of the sender's own request."""
        return revoked(request, _case_of(desk, who_asks(request), message_id))


def _add_patient(app: FastAPI, desk: Desk) -> None:
    """What a patient's program reads. Its bearer is no account's token: it is good for one report, for half an hour."""
    links, typesetting = links_of(desk.service), CapacityLimiter(PDFS_AT_ONCE)

    def bearer(request: Request) -> Access:
        scheme, _, told = request.headers.get("authorization", "").partition(" ")
        access = links.access(told.strip()[:_LONGEST_PASS]) if scheme.lower() == "bearer" else None
        if access is None:
            raise TurnedAway("unauthorized")
        return access

    @app.post(
        f"{_PATIENT}/sessions",
        summary="Change a link's token and code for a bearer",
        responses=answers(403, 404, 408, 410, 413, 422, 429, 500, 503),
        openapi_extra=body_of(PatientCode),
    )
    async def begin(request: Request) -> PassShape:
        """Let a program in that has the token of a link's address and the code that came with it.

        At most five wrong codes in a row; then each costs a wait (`429`, `Retry-After`). After twenty the link is dead.
        """
        asked = await read_asked(request, PatientCode)
        if not is_from_here(request):  # another site's page makes nobody fail
            raise TurnedAway("not_meant")
        return await run_in_threadpool(_opened, links, asked, request.client.host if request.client else "")

    @app.get(f"{_PATIENT}/report", summary="The patient's report", responses=answers(401, 404, 422, 500, 503))
    def show_report(request: Request, lang: _Lang = "en") -> PatientReport:
        """Give the last version that a doctor signed and that was released. For: `bearer` of a patient's session."""
        return read_report(desk, bearer(request), lang)

    @app.get(
        f"{_PATIENT}/images/{{place}}",
        summary="A photograph of the patient's report",
        response_class=Response,
        responses={200: _binary("image/jpeg"), **answers(401, 404, 422, 500, 503)},
    )
    def show_photo(place: Annotated[int, Path(ge=0, le=9999)], request: Request) -> Response:
        """Give a photograph that the report names. For: `bearer` of a patient's session."""
        return Response(read_photo(desk, bearer(request), place), media_type="image/jpeg")

    @app.get(
        f"{_PATIENT}/report.pdf",
        summary="The patient's report as a PDF",
        response_class=Response,
        responses={200: _binary("application/pdf"), **answers(401, 404, 422, 500, 501, 503)},
    )
    async def show_pdf(request: Request, lang: _Lang = "en") -> Response:
        """Give the version that the report shows. For: `bearer` of a patient's session."""
        headers = {"Content-Disposition": 'attachment; filename="report.pdf"'}
        access = await run_in_threadpool(bearer, request)
        paper = await to_thread.run_sync(read_pdf, desk, access, lang, limiter=typesetting)
        return Response(paper, media_type="application/pdf", headers=headers)


def _opened(links: PatientLinks, asked: PatientCode, address: str) -> PassShape:
    """A bearer, or why there is none; in a thread."""
    try:
        bearer = links.open(asked.token, asked.code, address=address)
    except LinkClosed as closed:
        raise TurnedAway("link_expired" if closed.expired else "link_gone") from None
    except CodeWrong:
        raise TurnedAway("code_wrong") from None
    except CodeWaits as waits:
        raise TurnedAway("code_waits", after_s=waits.seconds) from None
    access = links.access(bearer)
    if access is None:  # revoked a moment ago
        raise TurnedAway("link_gone")
    return PassShape(bearer=bearer, ends_at=access.ends_at)


def _case_of(desk: Desk, who: Who, message_id: str) -> str:
    """The case of a request of the asker's own site."""
    if not _MESSAGE_ID.fullmatch(message_id):
        raise TurnedAway("not_found")
    site = who.site or desk.service.settings.site
    with desk.service.database.read() as session:
        return find_request(session, site=site, queue=_QUEUE, request_id=message_id)


def _binary(kind: str) -> dict[str, Any]:
    """A file, for the OpenAPI document."""
    return {"content": {kind: {"schema": {"type": "string", "format": "binary"}}}}
