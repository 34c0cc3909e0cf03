"""FHIR R4B: a bundle a case, with the report, all observations, who made them, and the images they rest on.

A ``collection``, not a ``document``: a document has a composition and is attested as a whole by its author; what a
doctor attested here is the report, which the bundle names with its hash (https://hl7.org/fhir/R4B/bundle.html).
"""

import base64
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from eyeground.clinic.export import _codes as codes
from eyeground.clinic.export._codes import Code, own, uuid_of
from eyeground.clinic.export._means import Means, written
from eyeground.clinic.export._moments import zoned
from eyeground.clinic.export._observations import Observations, Resource, concept
from eyeground.clinic.export._studies import Instance, instances_of
from eyeground.clinic.exported import Exported

if TYPE_CHECKING:
    from fhir.resources.R4B.bundle import Bundle

_V2_0074: Final = "http://terminology.hl7.org/CodeSystem/v2-0074"
_LATERALITY: Final = {"OD": codes.SIDE["OD"], "OS": codes.SIDE["OS"]}


@dataclass(frozen=True)
class Form:
    """A printed report that a bundle names.

    Args:
        language: Its language.
        url: Where it is.
        content: Its bytes; empty where only the address is told.

    Example:
        >>> Form("zh", "report_zh.pdf").content
        b''

    References:
        Our own.
    """

    language: str
    url: str
    content: bytes = b""


def bundle_of(case: Exported, *, get: Callable[[str], bytes], zone: str, forms: Sequence[Form] = ()) -> "Bundle":
    """Write a case as a FHIR bundle, checked by the library.

    A report that nobody signed is ``preliminary``, the first that somebody signed ``final``, a later one ``amended``.

    Args:
        case: The case.
        get: Gives an image's bytes by its hash, for the UIDs in its header.
        zone: The site's zone.
        forms: Printed reports.

    Returns:
        The bundle.

    Raises:
        BlobMissing: If an image is gone.
        StoreLost: If the store does not answer.

    Example:
        >>> from eyeground.clinic.answered import Answered
        >>> from eyeground.clinic.records import Order
        >>> answered = Answered("0a", Order(door="check", id="7"), 0)
        >>> case = Exported(answered, "a", "A", received_at="2026-01-02T03:04:05Z")
        >>> bundle_of(case, get=lambda sha256: b"", zone="UTC").entry[-1].resource.status
        'preliminary'

    References:
        https://hl7.org/fhir/R4B/diagnosticreport.html
    """
    from fhir.resources.R4B.bundle import Bundle

    status = ("amended" if case.answered.revision > 1 else "final") if case.answered.signed else "preliminary"
    instances = instances_of(case, get)
    observations = list(Observations(case, status=status, zone=zone).all())
    studies = _studies(case, instances, zone)
    resources = [_patient(case), _organization(case), *_practitioner(case), *_devices(case), *studies, *observations]
    resources.append(_report(case, status, observations, studies, forms, zone))
    return Bundle.model_validate(
        {
            "resourceType": "Bundle",
            "id": str(uuid_of(case.name, "bundle")),
            "identifier": {"system": codes.OWN, "value": case.name},
            "type": "collection",
            "timestamp": case.answered.signed_at or case.received_at,
            "entry": [{"fullUrl": f"urn:uuid:{each['id']}", "resource": each} for each in resources],
        }
    )


class Writer:
    """Writes a folder a case: the bundle and the printed reports that it names.

    Args:
        into: The folder.
        means: What an export works with.

    Example:
        >>> Writer.VERSIONED
        False

    References:
        Our own.
    """

    VERSIONED: Final = False

    def __init__(self, into: Path, means: Means) -> None:
        self._into, self._means = into, means

    def add(self, case: Exported) -> int:
        """Write a case.

        Args:
            case: The case.

        Returns:
            How many files.

        Raises:
            BlobMissing: If an image is gone.
            StoreLost: If the store does not answer.
        """
        means = self._means
        forms = [Form(each, f"report_{each}.pdf", means.printed(case, each)) for each in means.languages]
        bundle = bundle_of(case, get=means.store.get, zone=means.zone, forms=forms)
        files = {"bundle.json": bundle.model_dump_json(indent=2).encode()}
        files |= {form.url: form.content for form in forms}
        return written(self._into / case.answered.case_id, files)

    def close(self) -> str:
        """End it.

        Returns:
            Nothing: there are no versions.
        """
        return ""


def _patient(case: Exported) -> Resource:
    """Who is examined."""
    person = case.answered.order.person
    made: Resource = {"resourceType": "Patient", "id": _id(case, "patient")}
    if person.patient_id:
        system = f"urn:oid:{codes.uid_of('patients', case.site)}"
        made["identifier"] = [{"use": "usual", "system": system, "value": person.patient_id}]
    if person.name.strip():
        made["name"] = [{"text": person.name}]
    if person.sex:
        made["gender"] = person.sex
    if person.phone.strip():
        made["telecom"] = [{"system": "phone", "value": person.phone}]
    made["managingOrganization"] = _reference(case, "organization")
    return made


def _organization(case: Exported) -> Resource:
    """Where."""
    return {
        "resourceType": "Organization",
        "id": _id(case, "organization"),
        "identifier": [{"system": codes.OWN, "value": f"site.{case.site}"}],
        "name": case.organization,
    }


def _practitioner(case: Exported) -> list[Resource]:
    """Who signed."""
    if not case.answered.signed:
        return []
    made: Resource = {
        "resourceType": "Practitioner",
        "id": _id(case, "practitioner"),
        "identifier": [{"system": f"urn:oid:{codes.uid_of('accounts', case.site)}", "value": case.doctor}],
    }
    return [made | ({"name": [{"text": case.answered.doctor_name}]} if case.answered.doctor_name.strip() else {})]


def _devices(case: Exported) -> list[Resource]:
    """The models."""
    return [
        {
            "resourceType": "Device",
            "id": _id(case, f"device.{model}"),
            "identifier": [{"system": codes.OWN, "value": f"model.{model}"}],
            "deviceName": [{"name": title or model, "type": "model-name"}],
            "type": concept([own("model", "AI decision support, not a diagnosis")]),
        }
        for model, title in case.models.items()
    ]


def _studies(case: Exported, instances: Sequence[Instance], zone: str) -> list[Resource]:
    """The images: a study an UID, a series an UID of it."""
    studies: dict[str, dict[str, list[Instance]]] = {}
    for each in instances:
        studies.setdefault(each.study, {}).setdefault(each.series, []).append(each)
    started = zoned(case.answered.order.visit_time, zone)
    made = []
    for uid, series in studies.items():
        real = all(each.real for many in series.values() for each in many)
        study: Resource = {
            "resourceType": "ImagingStudy",
            "id": _id(case, f"study.{uid}"),
            "identifier": [{"system": "urn:dicom:uid", "value": f"urn:oid:{uid}"}],
            "status": "available",
            "subject": _reference(case, "patient"),
            "numberOfSeries": len(series),
            "numberOfInstances": sum(map(len, series.values())),
            "series": [_series(number, many) for number, many in enumerate(series.values(), 1)],
        }
        if not real:
            study["description"] = "Photographs that did not come as DICOM: their UIDs are derived from case and place"
        made.append(study | ({"started": started} if started else {}))
    return made


def _series(number: int, instances: Sequence[Instance]) -> Resource:
    """Images that belong together."""
    photo = instances[0].photo
    made: Resource = {
        "uid": instances[0].series,
        "number": number,
        "modality": {"system": codes.DCM, "code": instances[0].modality},
        "description": photo.part,
        "numberOfInstances": len(instances),
        "bodySite": _coding(codes.EYE),
        "instance": [
            {
                "uid": each.uid, "sopClass": {"system": "urn:ietf:rfc:3986", "code": f"urn:oid:{each.sop_class}"},
                "number": each.photo.place + 1, "title": f"sha256:{each.photo.sha256}",
            }
            for each in instances
        ],
    }  # fmt: skip
    eyes = {each.photo.eye for each in instances}
    return made | ({"laterality": _coding(_LATERALITY[photo.eye])} if len(eyes) == 1 and photo.eye else {})


def _report(
    case: Exported, status: str, results: Sequence[Resource], studies: Sequence[Resource], forms: Sequence[Form],
    zone: str,
) -> Resource:  # fmt: skip
    """The report itself."""
    answered = case.answered
    made: Resource = {
        "resourceType": "DiagnosticReport",
        "id": _id(case, "report"),
        "identifier": [{"system": codes.OWN, "value": case.name}],
        "status": status,
        "category": [concept([Code(_V2_0074, "IMG", "Diagnostic Imaging")])],
        "code": concept([codes.REPORT], text="Retinal screening"),
        "subject": _reference(case, "patient"),
        "effectiveDateTime": zoned(answered.order.visit_time, zone) or zoned(case.received_at, zone),
        "performer": [_reference(case, "organization")],
        "result": [{"reference": f"urn:uuid:{each['id']}"} for each in results],
        "imagingStudy": [{"reference": f"urn:uuid:{each['id']}"} for each in studies],
    }
    if answered.signed:
        made["resultsInterpreter"] = [_reference(case, "practitioner")]
        made["issued"] = answered.signed_at
    if answered.opinion is not None and answered.opinion.conclusion.strip():
        made["conclusion"] = answered.opinion.conclusion
    if forms:
        made["presentedForm"] = [_attachment(form) for form in forms]
    return {name: value for name, value in made.items() if value}


def _attachment(form: Form) -> Mapping[str, Any]:
    """A printed report: where it is and, where it was printed, its size and its hash, which FHIR wants as SHA-1."""
    made: dict[str, Any] = {"contentType": "application/pdf", "language": form.language, "url": form.url}
    if form.content:
        digest = hashlib.sha1(form.content, usedforsecurity=False).digest()
        made |= {"size": len(form.content), "hash": base64.b64encode(digest).decode()}
    return made


def _coding(code: Code) -> dict[str, str]:
    """One code."""
    return {"system": code.system, "code": code.code, "display": code.text}


def _id(case: Exported, what: str) -> str:
    """A resource's id."""
    return str(uuid_of(case.name, what))


def _reference(case: Exported, what: str) -> dict[str, str]:
    """A reference to a resource of this case."""
    return {"reference": f"urn:uuid:{_id(case, what)}"}
