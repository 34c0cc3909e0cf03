"""A signed case for other systems: ``GET /api/v1/cases/{case_id}/fhir``."""

from typing import Annotated, Final

from fastapi import FastAPI, Query, Request, Response

from eyeground.clinic.blobs.store import BlobMissing
from eyeground.clinic.exported import NotSigned, gather
from eyeground.clinic.web.desk import Desk
from eyeground.clinic.web.doors import API
from eyeground.clinic.web.guard import POLICY, guarded_answers, who_asks
from eyeground.clinic.web.owning import check_owned
from eyeground.clinic.web.refusing import TurnedAway

_MEDIA: Final = "application/fhir+json"


def add(app: FastAPI, desk: Desk) -> None:
    """Put the route into an app.

    Args:
        app: The app.
        desk: What routes share.

    References:
        https://hl7.org/fhir/R4B/http.html#mime-type
    """

    @app.get(
        f"{API}/cases/{{case_id}}/fhir",
        summary="A case as a FHIR R4B bundle",
        response_class=Response,
        responses={200: {"content": {_MEDIA: {"schema": {"type": "object"}}}}, **guarded_answers(404, 409)},
    )
    def show_bundle(
        case_id: str,
        request: Request,
        lang: Annotated[str, Query(pattern="^(zh|en)$", description="Language of the printed report.")] = "zh",
    ) -> Response:
        """Give the last revision that somebody signed, or what was released unsigned, which is ``preliminary``."""
        from eyeground.clinic.export.fhir import Form, bundle_of

        who, service = who_asks(request), desk.service
        check_owned(service, case_id, who)
        settings = service.settings
        with service.database.read() as session:
            try:
                found = gather(session, case_id, settings=settings)
            except NotSigned as error:
                raise TurnedAway("wrong_state", said=str(error)) from None
        desk.sightings.note(who.account, "case_exported", case_id, kind="fhir")
        printed = "GET", f"{API}/cases/{{case_id}}/report.pdf"
        may = found.answered.signed and who.role in POLICY.get(printed, ())
        forms = [Form(lang, f"{settings.public_url}{API}/cases/{case_id}/report.pdf?lang={lang}")] if may else []
        try:
            bundle = bundle_of(found, get=service.store.get, zone=settings.timezone, forms=forms)
        except BlobMissing:
            raise TurnedAway("image_gone") from None
        return Response(bundle.model_dump_json(), media_type=_MEDIA)
