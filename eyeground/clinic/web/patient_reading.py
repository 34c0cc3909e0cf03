"""What a patient may fetch with a pass: the report, its photographs, its PDF; for the page and for programs alike."""

from typing import Final

from fastapi import Request

from eyeground.clinic.blobs.store import BlobMissing
from eyeground.clinic.cases import NoSuchCase, images_of
from eyeground.clinic.log import failed
from eyeground.clinic.patient_links import Access, PatientLinks
from eyeground.clinic.patient_view import Language, PatientReport, patient_report
from eyeground.clinic.report.fonts import FontMissing
from eyeground.clinic.report.pdf import PdfFailed
from eyeground.clinic.reports import signed_pdf
from eyeground.clinic.safety import LOOPBACK
from eyeground.clinic.service import Service
from eyeground.clinic.web.desk import Desk
from eyeground.clinic.web.refusing import TurnedAway
from eyeground.images.refusal import ImageRefused

PDFS_AT_ONCE: Final = 2  # each takes a core while it lasts
_MOST_PX: Final = 1600  # a phone shows no more, and one of these is about 300 kB


def links_of(service: Service) -> PatientLinks:
    """Open the links of a service.

    Args:
        service: The service.

    Returns:
        Its links.

    References:
        Our own.
    """
    settings = service.settings
    return PatientLinks(service.database, secret=settings.secret.get_secret_value(), days=settings.link_days)


def address_of(request: Request, service: Service, path: str) -> str:
    """Give the whole address of a page of ours, to be sent to somebody.

    Args:
        request: Who asks for it.
        service: Its settings may say under which address it is reached.
        path: The page's path.

    Returns:
        The address. Without ``public_url`` it is a path, for the host that a request claims may be anybody's; on this
        machine alone that host will do.

    References:
        CWE-644, host header injection.
    """
    if service.settings.public_url:
        return service.settings.public_url + path
    return f"{request.url.scheme}://{request.url.netloc}{path}" if request.url.hostname in LOOPBACK else path


def read_report(desk: Desk, access: Access, language: Language) -> PatientReport:
    """Read what a patient sees; that somebody did is written into the audit trail first.

    Args:
        desk: What routes share.
        access: What may be read.
        language: Of the sentences.

    Returns:
        The report.

    Raises:
        TurnedAway: If the case was taken out meanwhile.
        DatabaseLost: If the database does not answer.

    References:
        Our own.
    """
    service = desk.service
    try:
        with service.database.read() as session:
            report = patient_report(session, access.case_id, language=language, settings=service.settings)
        desk.sightings.note(access.actor, "patient_report_seen", access.case_id, revision=report.revision)
    except NoSuchCase:
        raise TurnedAway("link_gone") from None
    return report


def read_photo(desk: Desk, access: Access, place: int) -> bytes:
    """Read a photograph, written anew for a phone.

    Args:
        desk: What routes share.
        access: What may be read.
        place: Which, as the report names it.

    Returns:
        A JPEG without a word about the patient.

    Raises:
        TurnedAway: If the report shows no such photograph, or it cannot be shown.
        DatabaseLost: If the database does not answer.

    References:
        Our own.
    """
    service = desk.service
    result = read_report(desk, access, "en").result
    if result is None or place not in [photo.place for photo in result.photos]:
        raise TurnedAway("not_found")
    with service.database.read() as session:
        sha256 = next((each.sha256 for each in images_of(session, access.case_id) if each.place == place), "")
    try:
        return service.showing.shown(sha256, most_px=_MOST_PX)
    except (BlobMissing, ImageRefused):
        raise TurnedAway("image_gone") from None


def read_pdf(desk: Desk, access: Access, language: Language) -> bytes:
    """Read the report as a PDF.

    Args:
        desk: What routes share.
        access: What may be read.
        language: Of the report.

    Returns:
        The very version that the page shows.

    Raises:
        TurnedAway: If nothing was signed and released yet, or no PDF can be written here.
        DatabaseLost: If the database does not answer.

    References:
        Our own.
    """
    report = read_report(desk, access, language)
    if report.result is None:
        raise TurnedAway("not_found")
    try:
        return signed_pdf(desk.service, access.case_id, language=language, revision=report.revision)
    except (FontMissing, PdfFailed) as error:
        failed("report_not_written", error, case=access.case_id)
        raise TurnedAway("no_pdf") from None
