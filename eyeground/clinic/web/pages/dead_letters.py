"""Dead letters as a page: what was not taken and why, sent round again or dismissed."""

from typing import Annotated, Any, Final, Literal

from fastapi import FastAPI, Query, Request, Response

from eyeground.clinic.dead_letters import Letter
from eyeground.clinic.refusal import codes
from eyeground.clinic.web.desk import Desk
from eyeground.clinic.web.guard import who_asks
from eyeground.clinic.web.paging import Language, language_of, words_of

_MOST: Final = 100
_HIGHEST: Final = 2**31 - 1


def add(app: FastAPI, desk: Desk) -> None:
    """Put the page into an app.

    Args:
        app: The app.
        desk: What routes share.

    References:
        docs/clinic.md.
    """

    @app.get("/dead-letters", include_in_schema=False)
    def page(
        request: Request,
        show: Literal["open", "all"] = "open",
        after: Annotated[int, Query(ge=0, le=_HIGHEST)] = 0,
    ) -> Response:
        """Dead letters, the oldest first; never what was sent."""
        site, language = who_asks(request).site, language_of(request.scope)
        found = desk.service.letters.list(replayed=show == "all", site=site, after=after, most=_MOST + 1)
        words = words_of("dead_letters", language)
        return desk.pages.show(
            request, "dead_letters", lines=[_line(each, language) for each in found[:_MOST]], show=show, after=after,
            more=found[_MOST - 1].id if len(found) > _MOST else 0,
            told={key: words[key] for key in ("outcomes", "done", "confirm", "problems_of", "closed", "whole")},
        )  # fmt: skip


def _line(letter: Letter, language: Language) -> dict[str, Any]:
    """A letter as the page shows it: sentences of ours, and no word of the sender's."""
    return {
        "letter": letter,
        # One that is about the message as a whole has no list: the sentence says it.
        "sentence": codes()[letter.code][language],
        "problems": [
            (each["where"], codes()[each["code"]][language])
            for each in letter.problems
            if len(letter.problems) > 1 or each["where"]
        ],
        "open": not letter.replayed_at,
    }
