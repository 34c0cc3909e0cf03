"""The work list, and what was signed today."""

from typing import Annotated, Any, Final
from urllib.parse import urlencode

from fastapi import FastAPI, Query, Request, Response

from eyeground.clinic.clock import now
from eyeground.clinic.states import OPEN, State
from eyeground.clinic.waiting import midnight
from eyeground.clinic.web.desk import Desk
from eyeground.clinic.web.guard import who_asks
from eyeground.clinic.web.owning import counts_of, reads_first
from eyeground.clinic.web.paging import language_of, words_of
from eyeground.clinic.web.work_rows import rows_of
from eyeground.clinic.work_list import FILTERS, MOST_SEARCHED, SEARCHED, Filter, work_list

_ON_A_PAGE: Final = 50
_SIGNED: Final[tuple[State, ...]] = ("signed", "released", "amended")
Search = Annotated[str, Query(max_length=MOST_SEARCHED, pattern=SEARCHED)]
Skip = Annotated[int, Query(ge=0, le=1_000_000)]


def add(app: FastAPI, desk: Desk) -> None:
    """Put the pages into an app.

    Args:
        app: The app.
        desk: What routes share.

    References:
        pages.md of the design, section 2.
    """

    @app.get("/work", include_in_schema=False)
    def work(request: Request, filter: Filter = "all", search: Search = "", skip: Skip = 0) -> Response:
        """Show what waits for a doctor, the most urgent first."""
        return _page(desk, request, states=OPEN, filter=filter, search=search, skip=skip)

    @app.get("/signed", include_in_schema=False)
    def signed(request: Request, search: Search = "", skip: Skip = 0) -> Response:
        """Show what was signed since midnight, the last first."""
        since = midnight(desk.service.settings.timezone)
        return _page(desk, request, states=_SIGNED, filter="all", search=search, skip=skip, since=since)


def _page(
    desk: Desk,
    request: Request,
    *,
    states: tuple[State, ...],
    filter: Filter,
    search: str,
    skip: int,
    since: str = "",
) -> Response:
    """One page of cases."""
    who, language = who_asks(request), language_of(request.scope)
    blind = reads_first(desk.service, who)
    counts = counts_of(desk.service, who)  # first, so that what comes meanwhile is new to the page's script
    search = search.strip()
    with desk.service.database.read() as session:
        lines = work_list(
            session, site=who.site, states=states, most=_ON_A_PAGE + 1, skip=skip, filter=filter, search=search,
            account=who.account, blind=blind, signed_since=since,
        )  # fmt: skip
    say = words_of("work", language)
    address = request.scope["path"]
    return desk.pages.show(
        request,
        "work",
        rows=rows_of(lines[:_ON_A_PAGE], language, say=say, account=who.account, moment=now()),
        today=bool(since),
        filters=[(each, _at(address, filter=each, search=search)) for each in FILTERS],
        chosen=filter,
        search=search,
        skip=skip,
        blind=blind,
        numbers=counts,
        everything=_at(address, filter=filter),
        previous=_at(address, filter=filter, search=search, skip=max(0, skip - _ON_A_PAGE)) if skip else "",
        following=_at(address, filter=filter, search=search, skip=skip + _ON_A_PAGE)
        if len(lines) > _ON_A_PAGE
        else "",
        script={
            "work": counts.work, "signed": counts.signed_today, "newest": counts.newest, "today": bool(since),
            "waited": say["waited"], "new": say["new"], "changed": say["changed"], "lost": say["lost"],
        },
    )  # fmt: skip


def _at(address: str, **asked: Any) -> str:
    """An address with what is asked; what is as always is left out."""
    told = {key: value for key, value in asked.items() if value not in ("", "all", 0)}
    return f"{address}?{urlencode(told)}" if told else address
