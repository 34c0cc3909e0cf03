"""Dead letters, for operators: listed, sent round again after a fix, or dismissed."""

from typing import Annotated, Final

from fastapi import FastAPI, Path, Query, Request

from eyeground.clinic.dead_letters import DeadLetters, NoSuchLetter
from eyeground.clinic.web.desk import Desk
from eyeground.clinic.web.doors import API
from eyeground.clinic.web.guard import Who, guarded_answers, who_asks
from eyeground.clinic.web.shapes import Letters, LetterShape

_HIGHEST: Final = 2**31 - 1  # of a number in the database
_MOST: Final = 500


def add(app: FastAPI, desk: Desk) -> None:
    """Put the routes into an app.

    Args:
        app: The app.
        desk: What routes share.

    References:
        docs/clinic.md.
    """
    letters = desk.service.letters

    @app.get(f"{API}/dead-letters", summary="Dead letters, the oldest first", responses=guarded_answers())
    def list_letters(
        request: Request,
        replayed: Annotated[bool, Query(description="Also those that were replayed.")] = False,
        after: Annotated[int, Query(ge=0, le=_HIGHEST, description="Only higher numbers.")] = 0,
        most: Annotated[int, Query(ge=1, le=_MOST)] = 100,
    ) -> Letters:
        """List messages that were not taken and cases that could not be worked on, without what was sent."""
        found = letters.list(replayed=replayed, site=who_asks(request).site, after=after, most=most + 1)
        return Letters(letters=[LetterShape.model_validate(each) for each in found[:most]], more=len(found) > most)

    @app.post(
        f"{API}/dead-letters/{{number}}/replay",
        summary="Send a dead letter round again",
        responses=guarded_answers(404, 409),
    )
    def replay(number: Annotated[int, Path(ge=1, le=_HIGHEST)], request: Request) -> LetterShape:
        """Send one round again; `outcome` says what became of it, and it stays if it is refused again."""
        who = who_asks(request)
        _check(letters, number, who)
        return LetterShape.model_validate(letters.replay(number, actor=who.doctor))

    @app.post(
        f"{API}/dead-letters/{{number}}/dismiss",
        summary="Close a dead letter that can never be replayed",
        responses=guarded_answers(404),
    )
    def dismiss(number: Annotated[int, Path(ge=1, le=_HIGHEST)], request: Request) -> LetterShape:
        """Close one; it is kept as long as one that was replayed, and the audit trail says who did it."""
        who = who_asks(request)
        _check(letters, number, who)
        return LetterShape.model_validate(letters.dismiss(number, actor=who.doctor))


def _check(letters: DeadLetters, number: int, who: Who) -> None:
    """Refuse a letter that is not open or is another site's: both look the same."""
    mine = letters.list(site=who.site, after=number - 1, most=1)
    if not mine or mine[0].id != number:
        raise NoSuchLetter("there is no such dead letter, or it was replayed or dismissed before")
