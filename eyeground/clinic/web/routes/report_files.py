"""A case's report as HTML and PDF, for those who treat."""

from typing import Annotated, Final

from anyio import CapacityLimiter, to_thread
from fastapi import FastAPI, Query, Request, Response
from starlette.responses import HTMLResponse

from eyeground.clinic.cases import find
from eyeground.clinic.log import failed
from eyeground.clinic.report.fonts import FontMissing
from eyeground.clinic.report.html import content_policy
from eyeground.clinic.report.pdf import PdfFailed
from eyeground.clinic.reports import NotSigned, preview_html, signed_html, signed_pdf
from eyeground.clinic.web.desk import Desk
from eyeground.clinic.web.doors import API
from eyeground.clinic.web.guard import Who, guarded_answers, who_asks
from eyeground.clinic.web.owning import check_owned, hides_models
from eyeground.clinic.web.paging import Language, language_of
from eyeground.clinic.web.refusing import TurnedAway

_CASE: Final = f"{API}/cases/{{case_id}}"
_AT_ONCE: Final = 4  # two of them typeset, which costs a processor each
_Revision = Annotated[int | None, Query(ge=0, le=10_000, description="Which version; none = the last.")]
_Lang = Annotated[Language | None, Query(description="Which language; none = as the browser prefers.")]
_ENCODINGS: Final = {"pdf": "application/pdf", "html": "text/html"}


def add(app: FastAPI, desk: Desk) -> None:
    """Put the routes into an app.

    Args:
        app: The app.
        desk: What routes share.

    References:
        docs/clinic.md.
    """
    limiter = CapacityLimiter(_AT_ONCE)

    @app.get(
        f"{_CASE}/report.html",
        summary="The report as a page",
        response_class=Response,
        responses=_described("html"),
    )
    async def report_html(
        case_id: str, request: Request, lang: _Lang = None, revision: _Revision = None
    ) -> HTMLResponse:
        """Give a version that was signed; none named = what stands now, and a draft says on every page that it is."""
        language, who = lang or language_of(request.scope), who_asks(request)
        html = await to_thread.run_sync(_html, desk, who, case_id, language, revision, limiter=limiter)
        headers = {"Content-Security-Policy": content_policy(), "Content-Language": language}
        return HTMLResponse(html, headers=headers)

    @app.get(
        f"{_CASE}/report.pdf",
        summary="The report as PDF",
        response_class=Response,
        responses=_described("pdf"),
    )
    async def report_pdf(case_id: str, request: Request, lang: _Lang = None, revision: _Revision = None) -> Response:
        """Give a version that was signed, or what went out unsigned, marked so; 409 where there is neither."""
        language, who = lang or language_of(request.scope), who_asks(request)
        pdf = await to_thread.run_sync(_pdf, desk, who, case_id, language, revision, limiter=limiter)
        name = f"report-{case_id[:8]}-{language}.pdf"
        headers = {"Content-Disposition": f'inline; filename="{name}"', "Content-Language": language}
        return Response(pdf, media_type=_ENCODINGS["pdf"], headers=headers)


def _html(desk: Desk, who: Who, case_id: str, language: Language, revision: int | None) -> str:
    """The page; in a thread."""
    _look(desk, who, case_id)
    try:
        if revision is None:
            return preview_html(desk.service, case_id, language=language, site=who.site)
        return signed_html(
            desk.service, case_id, language=language, revision=revision, site=who.site, unsigned=True
        )  # fmt: skip
    except NotSigned:
        raise TurnedAway("not_signed") from None


def _pdf(desk: Desk, who: Who, case_id: str, language: Language, revision: int | None) -> bytes:
    """The file; in a thread."""
    _look(desk, who, case_id)
    try:
        return signed_pdf(desk.service, case_id, language=language, revision=revision, site=who.site, unsigned=True)
    except NotSigned:
        raise TurnedAway("not_signed") from None
    except (FontMissing, PdfFailed) as error:
        failed("report_not_written", error, case=case_id)
        raise TurnedAway("no_pdf") from None


def _look(desk: Desk, who: Who, case_id: str) -> None:
    """Refuse who may not look, or not yet; who may is written down."""
    check_owned(desk.service, case_id, who)
    with desk.service.database.read() as session:
        if hides_models(desk.service, session, find(session, case_id), who):
            raise TurnedAway("first_read_wanted")
    desk.sightings.note(who.account, "report_seen", case_id)


def _described(kind: str) -> dict[int | str, dict[str, object]]:
    """The answers of a route for the OpenAPI document."""
    shape = {"schema": {"type": "string", **({"format": "binary"} if kind == "pdf" else {})}}
    more = (404, 409, 501) if kind == "pdf" else (404, 409)
    return {200: {"content": {_ENCODINGS[kind]: shape}}, **guarded_answers(*more)}
