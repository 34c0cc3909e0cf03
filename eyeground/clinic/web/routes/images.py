"""Images of a case: as they were sent, as they are shown, and where a model looked."""

from typing import Annotated, Final

from fastapi import FastAPI, Path, Query, Request, Response
from sqlalchemy import select

from eyeground.clinic.blobs.store import BlobMissing
from eyeground.clinic.cases import find, images_of
from eyeground.clinic.db.opinions import HeatMap
from eyeground.clinic.views import heat_maps
from eyeground.clinic.web.desk import Desk
from eyeground.clinic.web.doors import API
from eyeground.clinic.web.guard import guarded_answers, who_asks
from eyeground.clinic.web.owning import check_owned, hides_models
from eyeground.clinic.web.refusing import TurnedAway
from eyeground.images.refusal import ImageRefused

_IMAGE: Final = f"{API}/cases/{{case_id}}/images/{{place}}"
_MOST_SLICES: Final = 9999
# What a file begins with: its true type, and what its name ends in. Only the first two are shown, the rest is saved.
_KINDS: Final = (
    (b"\xff\xd8\xff", "image/jpeg", ".jpg"), (b"\x89PNG\r\n\x1a\n", "image/png", ".png"),
    (b"II*\0", "image/tiff", ".tif"), (b"MM\0*", "image/tiff", ".tif"), (b"BM", "image/bmp", ".bmp"),
)  # fmt: skip
_SHOWN: Final = ("image/jpeg", "image/png")
_BINARY: Final = {"schema": {"type": "string", "format": "binary"}}
# A browser may keep it, but asks each time: somebody else may sit before it.
_ASKED: Final = {"Cache-Control": "private, no-cache"}
Place = Annotated[int, Path(ge=0, le=9999)]


def add(app: FastAPI, desk: Desk) -> None:
    """Put the routes into an app.

    Args:
        app: The app.
        desk: What routes share.

    Raises:
        TurnedAway: If there is no such image or map, it is not kept, cannot be decoded, or is hidden for now.

    References:
        docs/clinic.md.
    """
    service = desk.service

    def image_of(case_id: str, place: int, request: Request) -> str:
        """Hash of an image that whoever asks may see; that he looked is written into the audit trail."""
        who = who_asks(request)
        check_owned(service, case_id, who)
        with service.database.read() as session:
            sha256 = next((each.sha256 for each in images_of(session, case_id) if each.place == place), "")
        if not sha256:
            raise TurnedAway("not_found")
        desk.sightings.note(who.account, "image_seen", case_id, place=place)
        return sha256

    @app.get(
        _IMAGE,
        summary="An image as it was sent",
        response_class=Response,
        responses={
            200: {"content": dict.fromkeys([*(kind for _, kind, _ in _KINDS), "application/dicom"], _BINARY)},
            **guarded_answers(404),
        },
    )
    def show_image(case_id: str, place: Place, request: Request) -> Response:
        """Give an image's bytes; that somebody looked is written into the audit trail."""
        sha256 = image_of(case_id, place, request)
        try:
            data = service.store.get(sha256)
        except BlobMissing:
            raise TurnedAway("image_gone") from None
        return _image(data, sha256)

    @app.get(
        f"{_IMAGE}/shown",
        summary="An image as people see it: decoded here, upright, in color",
        response_class=Response,
        responses={200: {"content": {"image/jpeg": _BINARY}}, **guarded_answers(404)},
    )
    def show(
        case_id: str,
        place: Place,
        request: Request,
        slice: Annotated[
            int | None, Query(ge=0, le=_MOST_SLICES, description="Which B-scan or page, from 0; none = the middle one.")
        ] = None,
    ) -> Response:
        """Give a JPEG; the header `X-Slices` says how many B-scans or pages there are."""
        sha256 = image_of(case_id, place, request)
        kept = _ASKED | {"ETag": f'"{sha256}-{"middle" if slice is None else slice}"'}
        known = service.showing.slices(sha256)
        if known is not None and request.headers.get("If-None-Match") == kept["ETag"]:
            return Response(status_code=304, headers=kept | {"X-Slices": str(known)})
        try:
            made = service.showing.shown(sha256, slice=slice)
        except BlobMissing:
            raise TurnedAway("image_gone") from None
        except ImageRefused as refused:
            raise TurnedAway("image_refused", said=refused.sentence) from None
        known = service.showing.slices(sha256)
        headers = kept | ({"X-Slices": str(known)} if known is not None else {})
        return Response(made, media_type="image/jpeg", headers=headers)

    @app.get(
        f"{_IMAGE}/heat",
        summary="Where the model looked: gray, over the whole image as it is shown",
        response_class=Response,
        responses={200: {"content": {"image/png": _BINARY}}, **guarded_answers(404)},
    )
    def show_heat(
        case_id: str,
        place: Place,
        request: Request,
        target: Annotated[
            str | None,
            Query(
                pattern="^[A-Za-z]{0,40}$", description="Of which finding, as the case lists them; none = its first."
            ),
        ] = None,
    ) -> Response:
        """Give a PNG of one channel: 0 is nothing, 255 is 16 times the even share and above."""
        who = who_asks(request)
        sha256 = image_of(case_id, place, request)
        with service.database.read() as session:
            if hides_models(service, session, find(session, case_id), who):
                raise TurnedAway("first_read_wanted")
            maps = heat_maps(session, case_id).get(sha256, {})
            number = next((each for of, each in maps.items() if target in (None, of)), None)
            if number is None:
                raise TurnedAway("not_found")
            png = session.scalars(select(HeatMap.png).filter_by(id=number)).one()
        # No cache: a first read may be wanted of whoever sits here next.
        return Response(png, media_type="image/png")


def _image(data: bytes, sha256: str) -> Response:
    """An image with its true type, and a name that says nothing of the patient."""
    kind, suffix = next(((kind, suffix) for start, kind, suffix in _KINDS if data.startswith(start)), ("", ""))
    if not kind:
        is_dicom = data[128:132] == b"DICM"
        kind, suffix = ("application/dicom", ".dcm") if is_dicom else ("application/octet-stream", ".bin")
    headers = {} if kind in _SHOWN else {"Content-Disposition": f'attachment; filename="{sha256[:16]}{suffix}"'}
    return Response(data, media_type=kind, headers=headers)
