"""What every DICOM object of a case begins with, and its printed report as an Encapsulated PDF."""

from datetime import datetime
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo

from eyeground.clinic.export._codes import OWN_UID, uid_of
from eyeground.clinic.export._moments import moment
from eyeground.clinic.exported import Exported

if TYPE_CHECKING:
    from pydicom import Dataset

ENCAPSULATED_PDF: Final = "1.2.840.10008.5.1.4.1.1.104.1"
MAKER: Final = "Eyeground"
_SEXES: Final = {"male": "M", "female": "F", "other": "O", "": ""}
# What ends a component, a group or a value of a person's name.
_SIGNS: Final = str.maketrans("^=\\", "   ")
_LONGEST: Final = 64


def person_name(text: str) -> str:
    """Write a name as DICOM does: Latin letters in the first group, others in the ideographic one.

    Where a family name ends is not known, so that nothing is parted; the caret at the end says that this is meant.

    Args:
        text: As the site writes it.

    Returns:
        A value for a person's name.

    Example:
        >>> person_name("张三"), person_name("Zhang San")
        ('=张三^', 'Zhang San^')

    References:
        DICOM PS3.5 6.2.1.
    """
    plain = " ".join("".join(sign for sign in text.translate(_SIGNS) if sign.isprintable()).split())[: _LONGEST - 1]
    return plain and (f"{plain}^" if plain.isascii() else f"={plain}^")


def pdf_of(case: Exported, content: bytes, *, language: str, study: str, zone: str) -> "Dataset":
    """Put a printed report into a DICOM object.

    Args:
        case: The case.
        content: The PDF.
        language: Its language.
        study: Study instance UID.
        zone: The site's zone.

    Returns:
        The object, with its file meta information.

    Raises:
        ValueError: If it is no PDF.

    Example:
        >>> from eyeground.clinic.answered import Answered
        >>> from eyeground.clinic.records import Order
        >>> answered = Answered("0a", Order(door="check", id="7"), 1, signed_at="2026-01-02T03:04:05Z")
        >>> case = Exported(answered, "a", "A", received_at="2026-01-02T03:04:05Z")
        >>> pdf_of(case, b"%PDF-1.7 ...", language="zh", study="1.2", zone="Asia/Shanghai").ContentTime
        '110405'

    References:
        DICOM PS3.3 A.45.1, C.24.
    """
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.sequence import Sequence
    from pydicom.uid import UID, ExplicitVRLittleEndian

    if not content.startswith(b"%PDF-"):
        raise ValueError("a printed report is a PDF")
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = UID(ENCAPSULATED_PDF)
    meta.MediaStorageSOPInstanceUID = UID(uid_of(case.name, "pdf", language))
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = UID(OWN_UID)
    made = Dataset()
    made.file_meta, made.preamble = meta, b"\0" * 128
    made.SOPClassUID, made.SOPInstanceUID = ENCAPSULATED_PDF, meta.MediaStorageSOPInstanceUID
    _add_patient_and_study(made, case, study=study, zone=zone)
    at = local(case.answered.signed_at or case.received_at, zone)
    made.Modality, made.SeriesInstanceUID, made.SeriesNumber = "DOC", uid_of(case.name, "series", "pdf"), 901
    made.Manufacturer, made.InstitutionName = MAKER, case.organization[:_LONGEST]
    made.ConversionType = "WSD"
    made.InstanceNumber = sorted(("en", "zh")).index(language) + 1 if language in ("en", "zh") else 3
    made.ContentDate, made.ContentTime = at.strftime("%Y%m%d"), at.strftime("%H%M%S")
    made.AcquisitionDateTime = ""
    made.TimezoneOffsetFromUTC = at.strftime("%z")[:5]
    made.BurnedInAnnotation = "YES"  # the page names the patient
    made.DocumentTitle = "Retinal screening report"
    made.ConceptNameCodeSequence = Sequence([_report_code()])
    made.MIMETypeOfEncapsulatedDocument = "application/pdf"
    made.EncapsulatedDocumentLength = len(content)
    made.EncapsulatedDocument = content + b"\0" * (len(content) % 2)
    return made


def local(text: str, zone: str) -> datetime:
    """Read a time as the site's clock shows it.

    Args:
        text: ISO time or date.
        zone: The site's zone.

    Returns:
        The time in that zone.

    Raises:
        ValueError: If it is no ISO time.

    Example:
        >>> local("2026-01-02T03:04:05Z", "Asia/Shanghai").hour
        11

    References:
        Our own.
    """
    return moment(text, zone).astimezone(ZoneInfo(zone))


def _add_patient_and_study(made: "Dataset", case: Exported, *, study: str, zone: str) -> None:
    """Who, and which visit."""
    person, answered = case.answered.order.person, case.answered
    seen_at = local(answered.order.visit_time or case.received_at, zone)
    made.SpecificCharacterSet = "ISO_IR 192"
    made.PatientName, made.PatientID = person_name(person.name), _line(person.patient_id)
    made.IssuerOfPatientID = case.site
    made.PatientBirthDate, made.PatientSex = "", _SEXES[person.sex]
    if person.age is not None and 0 <= person.age <= 999:
        made.PatientAge = f"{person.age:03}Y"
    made.StudyInstanceUID = study
    made.StudyDate, made.StudyTime = seen_at.strftime("%Y%m%d"), seen_at.strftime("%H%M%S")
    made.ReferringPhysicianName, made.StudyID, made.AccessionNumber = "", "", ""


def _report_code() -> "Dataset":
    """What kind of document it is."""
    from pydicom import Dataset

    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = "18748-4", "LN", "Diagnostic Imaging Report"
    return code


def _line(text: str) -> str:
    """A short line of text, without what parts values."""
    return "".join(sign for sign in text.replace("\\", " ") if sign.isprintable())[:_LONGEST]
