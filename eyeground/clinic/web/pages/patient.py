"""The patient's page: an address and a code open what a doctor signed; made for a phone, and without any script."""

from typing import Annotated, Any, Final
from urllib.parse import quote

from anyio import CapacityLimiter, to_thread
from fastapi import FastAPI, Path, Request, Response
from starlette.concurrency import run_in_threadpool
from starlette.responses import RedirectResponse

from eyeground.clinic.patient_links import PASS_S, Access, CodeWaits, CodeWrong, LinkClosed
from eyeground.clinic.web.desk import Desk
from eyeground.clinic.web.entrance import read_form
from eyeground.clinic.web.guard import is_from_here
from eyeground.clinic.web.paging import language_of
from eyeground.clinic.web.patient_reading import PDFS_AT_ONCE, links_of, read_pdf, read_photo, read_report
from eyeground.clinic.web.refusing import TurnedAway

_PAGE: Final = "/p/{token}"
_HIDDEN: Final = {"X-Robots-Tag": "noindex, nofollow, noarchive"}


def add(app: FastAPI, desk: Desk) -> None:
    """Put the routes into an app.

    Args:
        app: The app.
        desk: What routes share.

    References:
        pages.md of the design, section 4.
    """
    page, typesetting = _PatientPage(desk), CapacityLimiter(PDFS_AT_ONCE)

    @app.get(_PAGE, include_in_schema=False)
    def show(token: str, request: Request) -> Response:
        """The report, or whatever stands before it."""
        return page.show(request, token)

    @app.post(_PAGE, include_in_schema=False)
    async def enter(token: str, request: Request) -> Response:
        """The code, as a plain form sends it."""
        code = (await read_form(request)).get("code", "")
        if not is_from_here(request):  # another site's page makes nobody fail, and lets nobody in
            return RedirectResponse(f"/p/{quote(token, safe='')}", 303, headers=_HIDDEN)
        return await run_in_threadpool(page.enter, request, token, code)

    @app.get(f"{_PAGE}/images/{{place}}", include_in_schema=False)
    def image(token: str, place: Annotated[int, Path(ge=0, le=9999)], request: Request) -> Response:
        """A photograph."""
        access = page.access(request, token)
        if access is None:
            raise TurnedAway("not_found")
        return Response(read_photo(desk, access, place), media_type="image/jpeg", headers=_HIDDEN)

    @app.get(f"{_PAGE}/report.pdf", include_in_schema=False)
    async def pdf(token: str, request: Request) -> Response:
        """The report on paper; whoever has no pass any more is asked for the code again."""
        access = await run_in_threadpool(page.access, request, token)
        if access is None:
            return RedirectResponse(f"/p/{token}", 303, headers=_HIDDEN)
        headers = {**_HIDDEN, "Content-Disposition": 'inline; filename="report.pdf"'}
        language = language_of(request.scope)
        paper = await to_thread.run_sync(read_pdf, desk, access, language, limiter=typesetting)
        return Response(paper, media_type="application/pdf", headers=headers)


class _PatientPage:
    """The page, in each of its states."""

    def __init__(self, desk: Desk) -> None:
        self._desk, self._links = desk, links_of(desk.service)
        self._secure = desk.service.settings.secure
        # Another path than "/" rules the prefix __Host- out.
        self._cookie = "__Secure-eyeground-link" if self._secure else "eyeground-link"

    def access(self, request: Request, token: str) -> Access | None:
        """What the pass in the cookie is good for, at this link's address alone."""
        return self._links.access(request.cookies.get(self._cookie, ""), token=token)

    def show(self, request: Request, token: str) -> Response:
        """The report, the code's form, or that the link is none."""
        state = self._links.state(token)
        if state != "good":
            return self._closed(request, is_expired=state == "expired")
        access = self.access(request, token)
        if access is None:
            return self._written(request, "code")
        try:
            report = read_report(self._desk, access, language_of(request.scope))
        except TurnedAway:  # the case was taken out a moment ago
            return self._closed(request, is_expired=False)
        name = "reviewing" if report.result is None else "report"
        return self._written(request, name, report=report, token=token, until=access.link_ends_at)

    def enter(self, request: Request, token: str, code: str) -> Response:
        """Let somebody in, or say why not. Afterwards the browser asks for the page anew, so that reloading is free."""
        address = request.client.host if request.client else ""
        try:
            passed = self._links.open(token, code, address=address)
        except LinkClosed as closed:
            return self._closed(request, is_expired=closed.expired)
        except CodeWrong:
            return self._written(request, "code", status=403, error="wrong")
        except CodeWaits as waits:
            minutes = -(-int(waits.seconds) // 60)
            response = self._written(request, "code", status=429, error="waits", minutes=minutes)
            response.headers["Retry-After"] = str(int(waits.seconds))
            return response
        response = RedirectResponse(f"/p/{token}", 303, headers=_HIDDEN)
        response.set_cookie(
            self._cookie, passed, max_age=PASS_S, path=f"/p/{token}", secure=self._secure, httponly=True,
            samesite="strict",
        )  # fmt: skip
        return response

    def _closed(self, request: Request, *, is_expired: bool) -> Response:
        """A link that opens nothing."""
        return self._written(request, "expired" if is_expired else "gone", status=410 if is_expired else 404)

    def _written(
        self, request: Request, state: str, *, status: int = 200, error: str = "", minutes: int = 0, **told: Any
    ) -> Response:
        """The page in a state."""
        contact = self._desk.service.settings.contact
        shown: dict[str, Any] = {"report": None, "token": "", "until": "", "contact": contact, **told}
        response = self._desk.pages.show(
            request, "patient", status=status, state=state, error=error, minutes=minutes, **shown
        )
        response.headers.update(_HIDDEN)
        return response
