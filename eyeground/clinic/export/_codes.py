"""Codes of public terminologies for what we say, where we are sure of them, and our own for the rest.

Looked up one by one and used only where two independent sources agree. Pydicom's dictionary of DICOM PS3.16 (CID 244,
4209, 4216, 240) has laterality, eye, the kinds of visual acuity, present and absent, cataract and 18748-4. HL7's draft
guide "Ophthalmology Retinal" has 41633001, 389152008 and the structures of one eye; eyematics-kds (University of
Muenster) 79892-6 and 79893-4. The disorders stand in OpenEyes and in several national guides. Keratitis, pterygium,
exfoliation, vein occlusion and optic neuropathy have none here, for sources disagree or there is none. LOINC 71490-7
and 71491-5 are severities "by ophthalmoscopy", which a photograph is not: their answers are given, not they.
"""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from eyeground.images.retinal_image import Eye

SCT: Final = "http://snomed.info/sct"
LOINC: Final = "http://loinc.org"
UCUM: Final = "http://unitsofmeasure.org"
DCM: Final = "http://dicom.nema.org/resources/ontology/DCM"
# A UUID as an object identifier needs no registry: ITU-T X.667.
NAMESPACE: Final = uuid.UUID("6f3d1b7e-5a0c-4c39-9d0e-0c7f8f6a2d51")
OWN_UID: Final = f"2.25.{uuid.uuid5(NAMESPACE, 'codes').int}"
OWN: Final = f"urn:oid:{OWN_UID}"


@dataclass(frozen=True)
class Code:
    """A word of a terminology.

    Args:
        system: Its address.
        code: The code.
        text: What it means, in English.

    Example:
        >>> Code(SCT, "24028007", "Right").code
        '24028007'

    References:
        Our own.
    """

    system: str
    code: str
    text: str


EYE_STRUCTURE: Final[Mapping[Eye, Code]] = {
    "OD": Code(SCT, "18944008", "Right eye structure"), "OS": Code(SCT, "8966001", "Left eye structure"),
}  # fmt: skip
SIDE: Final[Mapping[Eye, Code]] = {"OD": Code(SCT, "24028007", "Right"), "OS": Code(SCT, "7771000", "Left")}
EYE: Final = Code(SCT, "81745001", "Eye")
PRESENT, ABSENT = Code(SCT, "52101004", "Present"), Code(SCT, "272519000", "Absent")
REPORT: Final = Code(LOINC, "18748-4", "Diagnostic imaging report")
AGE: Final = Code(LOINC, "30525-0", "Age")
PRESSURE: Final = Code(SCT, "41633001", "Intraocular pressure")
PRESSURE_OF: Final[Mapping[Eye, Code]] = {
    "OD": Code(LOINC, "79892-6", "Right eye Intraocular pressure"),
    "OS": Code(LOINC, "79893-4", "Left eye Intraocular pressure"),
}
ACUITY: Final[Mapping[str, Code]] = {
    "": Code(SCT, "363983007", "Visual acuity"),
    "uncorrected": Code(SCT, "420050001", "Uncorrected visual acuity"),
    "corrected": Code(SCT, "397536007", "Corrected visual acuity"),
    "pinhole": Code(SCT, "419475002", "Pinhole visual acuity"),
}
GOLDMANN: Final = Code(SCT, "389152008", "Goldmann applanation tonometry")
DISORDERS: Final[Mapping[str, Code]] = {
    "AMD": Code(SCT, "267718000", "Age-related macular degeneration"),
    "CSC": Code(SCT, "312956001", "Central serous chorioretinopathy"),
    "RP": Code(SCT, "28835009", "Retinitis pigmentosa"),
    "GLA": Code(SCT, "23986001", "Glaucoma"),
    "DR": Code(SCT, "4855003", "Diabetic retinopathy"),
    "cataract": Code(SCT, "193570009", "Cataract"),
    "conjunctivitis": Code(SCT, "9826008", "Conjunctivitis"),
}
# Answers of LOINC 71490-7 and 71491-5, grade 0 to 4 of the international scale (Wilkinson 2003).
GRADES: Final = tuple(
    Code(LOINC, code, text)
    for code, text in (
        ("LA18643-9", "No apparent retinopathy"),
        ("LA18644-7", "Mild non-proliferative retinopathy"),
        ("LA18645-4", "Moderate non-proliferative retinopathy"),
        ("LA18646-2", "Severe non-proliferative retinopathy"),
        ("LA18648-8", "Proliferative retinopathy"),
    )
)


BY_AI: Final = Code(OWN, "drafted_by_ai", "Drafted by AI, then checked and signed by the doctor")


def own(code: str, text: str) -> Code:
    """Make a word of our own terminology.

    Args:
        code: The word.
        text: What it means.

    Returns:
        The code.

    Example:
        >>> own("urgency", "Urgency").system == OWN
        True

    References:
        Our own.
    """
    return Code(OWN, code, text)


def uid_of(*what: object) -> str:
    """Derive a UID: the same for the same, in every process and for ever.

    Args:
        what: What it names; no word about the patient, for it is not keyed.

    Returns:
        A UID below 2.25.

    Example:
        >>> uid_of("0a", 1) == uid_of("0a", 1), len(uid_of("0a", 1)) <= 64
        (True, True)

    References:
        DICOM PS3.5 B.2; RFC 9562, version 5.
    """
    return f"2.25.{uuid_of(*what).int}"


def uuid_of(*what: object) -> uuid.UUID:
    """Derive a UUID, as ``uid_of``.

    Args:
        what: What it names.

    Returns:
        Version 5.

    Example:
        >>> uuid_of("0a").version
        5

    References:
        RFC 9562.
    """
    return uuid.uuid5(NAMESPACE, "/".join(map(str, what)))
