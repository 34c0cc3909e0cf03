"""Drafts of a case's texts: asked for by a doctor, and what the doctor made of them."""

from typing import Final

from anyio import CapacityLimiter, to_thread
from fastapi import FastAPI, Request

from eyeground.clinic.cases import Stale, find
from eyeground.clinic.drafting import draft, open_writer
from eyeground.clinic.drafts import drafts_of
from eyeground.clinic.first_reads import FirstReadWanted
from eyeground.clinic.llm.writing import MOST_AT_ONCE
from eyeground.clinic.web.asked import WantedDraft
from eyeground.clinic.web.bodies import body_of, read_asked
from eyeground.clinic.web.desk import Desk
from eyeground.clinic.web.doors import API
from eyeground.clinic.web.draft_shapes import DraftReply, DraftShape, KeptDraft, KeptDrafts
from eyeground.clinic.web.guard import Who, guarded_answers, who_asks
from eyeground.clinic.web.owning import check_owned, hides_models
from eyeground.clinic.web.refusing import TurnedAway

_CASE: Final = f"{API}/cases/{{case_id}}"


def add(app: FastAPI, desk: Desk) -> None:
    """Put the routes into an app.

    Args:
        app: The app.
        desk: What routes share.

    References:
        docs/clinic.md.
    """
    writer = open_writer(desk.service.settings)
    # Threads of its own, so that waiting drafts hold up nothing else; more than may wait for a model, so that the
    # others have their template at once.
    drafting = CapacityLimiter(2 * MOST_AT_ONCE)

    def drafted(who: Who, case_id: str, asked: WantedDraft) -> DraftReply:
        check_owned(desk.service, case_id, who)
        try:
            made = draft(
                desk.service, case_id, language=asked.language, doctor=who.doctor, version=asked.version, writer=writer
            )
        except Stale as stale:
            raise TurnedAway("stale", version=stale.version) from None
        told = {name: value for name, value in vars(made).items() if name != "template"}
        return DraftReply(draft=DraftShape.model_validate(told), template=dict(made.template))

    @app.post(
        f"{_CASE}/draft",
        summary="Draft the texts of a case",
        responses=guarded_answers(404, 409),
        openapi_extra=body_of(WantedDraft),
    )
    async def draft_texts(case_id: str, request: Request) -> DraftReply:
        """Draft the narrative of a case, or the four texts of a report request, for a doctor to change and sign.

        A language model's draft where one is set and what it wrote was accepted, else the template's, with the reasons.
        """
        asked = await read_asked(request, WantedDraft)
        return await to_thread.run_sync(drafted, who_asks(request), case_id, asked, limiter=drafting)

    @app.get(f"{_CASE}/drafts", summary="The drafts of a case", responses=guarded_answers(404))
    def list_drafts(case_id: str, request: Request) -> KeptDrafts:
        """List the drafts of a case, each word by word against what the doctor made of it."""
        who = who_asks(request)
        check_owned(desk.service, case_id, who)
        desk.sightings.note(who.account, "case_seen", case_id)
        with desk.service.database.read() as session:
            if hides_models(desk.service, session, find(session, case_id), who):
                raise FirstReadWanted("say what you see first; then drafts may tell what the models say")
            return KeptDrafts(drafts=[KeptDraft.model_validate(each) for each in drafts_of(session, case_id)])
