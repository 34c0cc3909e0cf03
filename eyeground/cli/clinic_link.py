"""Patients' links as they are typed."""

from eyeground.cli.clinic_cases import case_of
from eyeground.clinic.patient_links import NewLink, PatientLinks
from eyeground.clinic.reviews import Doctor
from eyeground.clinic.service import Service


def make_link(service: Service, prefix: str, *, who: Doctor) -> tuple[str, str, NewLink]:
    """Make the link of a case's patient; links made before are revoked.

    Args:
        service: The service.
        prefix: The beginning of the case's id.
        who: Who makes it.

    Returns:
        The case, the address (without the setting ``public_url`` a path), and the link.

    Raises:
        NoSuchCase: If there is none.
        ConfigError: If several are meant.
        DatabaseLost: If the database does not answer.

    References:
        docs/how-to/phone.md.
    """
    case_id, links = _case_and_links(service, prefix)
    link = links.make(case_id, site="", actor=who.account)
    return case_id, service.settings.public_url + link.path, link


def revoke_links(service: Service, prefix: str, *, who: Doctor) -> tuple[str, int]:
    """Revoke the links of a case's patient.

    Args:
        service: The service.
        prefix: The beginning of the case's id.
        who: Who does it.

    Returns:
        The case, and how many were good until now.

    Raises:
        NoSuchCase: If there is none.
        ConfigError: If several are meant.
        DatabaseLost: If the database does not answer.

    References:
        docs/how-to/phone.md.
    """
    case_id, links = _case_and_links(service, prefix)
    return case_id, links.revoke(case_id, site="", actor=who.account)


def _case_and_links(service: Service, prefix: str) -> tuple[str, PatientLinks]:
    """The case that is meant, and the service's links."""
    settings = service.settings
    with service.database.read() as session:
        case_id = case_of(session, prefix)
    return case_id, PatientLinks(service.database, secret=settings.secret.get_secret_value(), days=settings.link_days)
