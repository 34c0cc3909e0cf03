"""A case as a DICOM Comprehensive SR after TID 2000: findings of each eye, what was measured, the doctor's words."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from eyeground.clinic.acuity import read_acuity, to_logmar
from eyeground.clinic.export import _codes as codes
from eyeground.clinic.export._codes import OWN_UID, Code, own, uid_of
from eyeground.clinic.export._datasets import MAKER, local, person_name
from eyeground.clinic.export._studies import Instance
from eyeground.clinic.exported import Exported
from eyeground.clinic.findings import UNAVAILABLE
from eyeground.clinic.records import EyeExam
from eyeground.clinic.report.language import words_of
from eyeground.clinic.report.settled import settled
from eyeground.images.retinal_image import Eye

if TYPE_CHECKING:
    from highdicom.sr import CodedConcept, ComprehensiveSR, ContainerContentItem, ContentItem
    from pydicom import Dataset

OWN_SCHEME: Final = "99EYEGROUND"
_SCHEMES: Final = {codes.SCT: "SCT", codes.LOINC: "LN", codes.UCUM: "UCUM", codes.DCM: "DCM", codes.OWN: OWN_SCHEME}
_LONGEST_MEANING: Final = 64


def _dcm(code: str, text: str) -> Code:
    """A word of DICOM's own terminology, PS3.16 annex D."""
    return Code(codes.DCM, code, text)


_LANGUAGE, _OBSERVER_TYPE = _dcm("121049", "Language of Content Item and Descendants"), _dcm("121005", "Observer Type")
_PERSON, _DEVICE = _dcm("121006", "Person"), _dcm("121007", "Device")
_OBSERVER_NAME, _DEVICE_UID = _dcm("121008", "Person Observer Name"), _dcm("121012", "Device Observer UID")
_DEVICE_NAME, _DEVICE_MODEL = _dcm("121013", "Device Observer Name"), _dcm("121015", "Device Observer Model Name")
_PROCEDURE, _FINDINGS = _dcm("121058", "Procedure reported"), _dcm("121070", "Findings")
_CONCLUSIONS, _CONCLUSION = _dcm("121076", "Conclusions"), _dcm("121077", "Conclusion")
_RECOMMENDATIONS, _RECOMMENDATION = _dcm("121074", "Recommendations"), _dcm("121075", "Recommendation")
_QUALITY = _dcm("111101", "Image Quality")
_SITE, _SIDE = Code(codes.SCT, "363698007", "Finding Site"), Code(codes.SCT, "272741003", "Laterality")
_ORIGIN: Final = own("origin", "Origin of the text")
_PROBABILITY: Final = own("score", "Score of the model")
_MMHG, _UNITY = Code(codes.UCUM, "mm[Hg]", "mmHg"), Code(codes.UCUM, "1", "no units")
_EYES: Final[tuple[Eye, ...]] = ("OD", "OS")


def structured_report(
    case: Exported, *, evidence: Sequence["Dataset"], instances: Sequence[Instance], zone: str
) -> "ComprehensiveSR":
    """Write a case as a structured report.

    Args:
        case: The case; somebody has signed it.
        evidence: DICOM objects that the report rests on, the first gives patient and study; our printed reports, and
            the images that came as DICOM.
        instances: The case's images, of which those that came as DICOM are referenced.
        zone: The site's zone.

    Returns:
        The object, with its file meta information.

    Raises:
        ValueError: If nobody has signed it.

    Example:
        >>> from eyeground.clinic.answered import Answered
        >>> from eyeground.clinic.records import Opinion, Order
        >>> from eyeground.clinic.export._datasets import pdf_of
        >>> answered = Answered("0a", Order(door="check", id="7"), 1, values={"fundus/OD": {"DR": 2}},
        ...                     opinion=Opinion(), doctor_name="李医生", signed_at="2026-01-02T03:04:05Z")
        >>> case = Exported(answered, "a", "A", received_at="2026-01-02T03:04:05Z")
        >>> pdf = pdf_of(case, b"%PDF-1.7", language="zh", study="1.2", zone="UTC")
        >>> structured_report(case, evidence=[pdf], instances=(), zone="UTC").VerificationFlag
        'VERIFIED'

    References:
        DICOM PS3.3 A.35.3, PS3.16 TID 2000.
    """
    from highdicom.sr import ComprehensiveSR
    from pydicom import Dataset
    from pydicom.valuerep import DA, DT, TM

    if not case.answered.signed:
        raise ValueError("a structured report names who signed it: nobody has")
    at = local(case.answered.signed_at, zone)
    name = person_name(case.answered.doctor_name or case.doctor or "unknown")
    made = ComprehensiveSR(
        evidence=evidence,
        content=_root(case, instances),
        series_instance_uid=uid_of(case.name, "series", "sr"),
        series_number=902,
        sop_instance_uid=uid_of(case.name, "sr"),
        instance_number=1,
        manufacturer=MAKER,
        is_complete=True,
        is_final=True,
        is_verified=True,
        institution_name=case.organization[:_LONGEST_MEANING],
        verifying_observer_name=_pn(name),
        verifying_organization=case.organization[:_LONGEST_MEANING],
        specific_character_set="ISO_IR 192",
    )
    # The library writes the time at which it runs: the same case would be other bytes tomorrow.
    made.VerifyingObserverSequence[0].VerificationDateTime = DT(at.strftime("%Y%m%d%H%M%S%z"))
    for equipment in made.ContributingEquipmentSequence:
        equipment.ContributionDateTime = DT(at.strftime("%Y%m%d%H%M%S%z"))
    day, hour = DA(at.date()), TM(at.time().replace(microsecond=0))
    made.ContentDate, made.ContentTime, made.InstanceCreationDate, made.InstanceCreationTime = day, hour, day, hour
    made.TimezoneOffsetFromUTC = at.strftime("%z")[:5]
    scheme = Dataset()
    scheme.CodingSchemeDesignator, scheme.CodingSchemeUID = OWN_SCHEME, OWN_UID
    made.CodingSchemeIdentificationSequence = [scheme]
    return made


def _root(case: Exported, instances: Sequence[Instance]) -> "ContainerContentItem":
    """The whole tree."""
    from highdicom.sr import ContentSequence, PnameContentItem

    answered, opinion = case.answered, case.answered.opinion
    root = _container(codes.REPORT, template="2000")
    root.ContentSequence = ContentSequence(is_root=False)
    add = root.ContentSequence.append
    add(_code(_LANGUAGE, _language(case), "HAS CONCEPT MOD"))
    add(_code(_OBSERVER_TYPE, _PERSON, "HAS OBS CONTEXT"))
    doctor = _pn(person_name(answered.doctor_name or case.doctor or "unknown"))
    add(PnameContentItem(_coded(_OBSERVER_NAME), doctor, relationship_type="HAS OBS CONTEXT"))
    add(_code(_PROCEDURE, own("screening", "Retinal screening"), "HAS CONCEPT MOD"))
    add(_filled(_FINDINGS, [*_findings(case), *_unavailable(case), *_exams(case), *_images(instances)]))
    if opinion is not None:
        for head, one, text in (
            (_CONCLUSIONS, _CONCLUSION, opinion.conclusion),
            (_RECOMMENDATIONS, _RECOMMENDATION, opinion.recommendation),
            (own("narrative", "Narrative"), own("narrative", "Narrative"), opinion.narrative),
            (own("texts", "Texts"), own("texts", "Texts"), "\n".join(map(settled, opinion.texts.values()))),
        ):  # fmt: skip
            if text.strip():
                mark = [_code(_ORIGIN, codes.BY_AI)] if answered.drafted_by_ai else []
                add(_filled(head, [_text(one, text), *mark]))
    for container in _assistance(case):
        add(container)
    return root


def _language(case: Exported) -> Code:
    """The language of the doctor's words, told by their signs."""
    opinion = case.answered.opinion
    words = f"{opinion.conclusion}{opinion.recommendation}{opinion.narrative}" if opinion else ""
    chinese = any("\u4e00" <= sign <= "\u9fff" for sign in words)
    return Code("RFC5646", "zh", "Chinese") if chinese else Code("RFC5646", "en", "English")


def _findings(case: Exported) -> Iterator["ContentItem"]:
    """What the doctor says of each eye."""
    for key, values in case.answered.values.items():
        for name, value in values.items():
            yield _of_eye(_code(_finding(name), _value(name, value)), key)


def _unavailable(case: Exported) -> Iterator["ContentItem"]:
    """What has no answer, and why."""
    for where, word in case.answered.unavailable.items():
        key, _, name = where.partition(".")
        code = _finding(name) if name else own(f"{key.partition('/')[0]}.findings", "All findings of this part")
        yield _of_eye(_code(code, own(f"why.{word}", UNAVAILABLE[word]["en"])), key)


def _exams(case: Exported) -> Iterator["ContentItem"]:
    """Visual acuity as it was written, its logMAR, and the pressure."""
    order = case.answered.order
    for eye, exam in zip(_EYES, (order.od, order.os), strict=True):
        if exam.acuity:
            yield _of_eye(_text(codes.ACUITY[exam.correction], exam.acuity), eye)
            if (value := _logmar(exam)) is not None:
                yield _of_eye(_number(own("logmar", "Visual acuity in logMAR"), value, _UNITY), eye)
        if exam.pressure_mmhg is not None:
            yield _of_eye(_number(codes.PRESSURE, exam.pressure_mmhg, _MMHG), eye)


def _images(instances: Sequence[Instance]) -> Iterator["ContentItem"]:
    """The images that came as DICOM."""
    from highdicom.sr import ImageContentItem

    for each in instances:
        if each.real:
            name = own("image", "Image that was looked at")
            yield ImageContentItem(_coded(name), each.sop_class, each.uid, relationship_type="CONTAINS")


def _assistance(case: Exported) -> Iterator["ContainerContentItem"]:
    """What the models said: each its own observer, none the doctor."""
    from highdicom.sr import TextContentItem, UIDRefContentItem

    told: dict[str, list[ContentItem]] = {}
    for key, verdict in case.answered.quality.items():
        told.setdefault(case.source(f"quality.{key}"), []).append(_of_eye(_text(_QUALITY, verdict), key))
    for key, answers in case.answered.said.items():
        for name, said in answers.items():
            found = _of_eye(_code(_finding(name), _value(name, said.value)), key)
            if said.score is not None:
                found.ContentSequence.append(_number(_PROBABILITY, said.score, _UNITY, "HAS PROPERTIES"))
            told.setdefault(case.source(f"{key}.{name}"), []).append(found)
    for model, items in told.items():
        observer: list[ContentItem] = [_code(_OBSERVER_TYPE, _DEVICE, "HAS OBS CONTEXT")]
        if model:
            observer += [
                UIDRefContentItem(_coded(_DEVICE_UID), uid_of("model", model), relationship_type="HAS OBS CONTEXT"),
                TextContentItem(
                    _coded(_DEVICE_NAME), case.models.get(model) or model, relationship_type="HAS OBS CONTEXT"
                ),
                TextContentItem(_coded(_DEVICE_MODEL), model, relationship_type="HAS OBS CONTEXT"),
            ]
        yield _filled(own("ai", "AI decision support, not a diagnosis"), [*observer, *items])


def _of_eye(item: Any, key: str) -> "ContentItem":
    """Say which eye an item is about."""
    from highdicom.sr import ContentSequence

    eye: Eye = "OD" if key.rpartition("/")[2] == "OD" else "OS"
    site = _code(_SITE, codes.EYE, "HAS CONCEPT MOD")
    site.ContentSequence = ContentSequence([_code(_SIDE, codes.SIDE[eye], "HAS CONCEPT MOD")])
    item.ContentSequence = ContentSequence([site])
    found: ContentItem = item
    return found


def _finding(name: str) -> Code:
    """How a finding is called: publicly where that is sure, else by our own word."""
    return codes.DISORDERS.get(name) or own(name, words_of("en").say(f"titles.{name}"))


def _value(name: str, value: int) -> Code:
    """A grade, or present and absent."""
    return codes.GRADES[value] if name == "DR" else codes.PRESENT if value else codes.ABSENT


def _logmar(exam: EyeExam) -> float | None:
    """An acuity in logMAR; None where it is no number."""
    try:
        found = read_acuity(exam.acuity, exam.notation)
        return None if found.sign is not None else float(round(to_logmar(found), 4))
    except ValueError:  # it stays as it was written
        return None


def _container(name: Code, *, template: str | None = None) -> "ContainerContentItem":
    """An empty container."""
    from highdicom.sr import ContainerContentItem

    above: Mapping[str, Any] = {} if template else {"relationship_type": "CONTAINS"}
    return ContainerContentItem(_coded(name), is_content_continuous=False, template_id=template, **above)


def _filled(name: Code, items: Sequence["ContentItem"]) -> "ContainerContentItem":
    """A container with what it holds."""
    from highdicom.sr import ContentSequence

    made = _container(name)
    made.ContentSequence = ContentSequence(items)
    return made


def _code(name: Code, value: Code, relation: str = "CONTAINS") -> "ContentItem":
    """A coded answer."""
    from highdicom.sr import CodeContentItem

    return CodeContentItem(_coded(name), _coded(value), relationship_type=relation)


def _text(name: Code, text: str) -> "ContentItem":
    """An answer in words."""
    from highdicom.sr import TextContentItem

    return TextContentItem(_coded(name), text, relationship_type="CONTAINS")


def _number(name: Code, value: float, unit: Code, relation: str = "CONTAINS") -> "ContentItem":
    """A measured answer."""
    from highdicom.sr import NumContentItem

    return NumContentItem(_coded(name), float(value), _coded(unit), relationship_type=relation)


def _coded(code: Code) -> "CodedConcept":
    """A code as DICOM has it."""
    from highdicom.sr import CodedConcept

    return CodedConcept(code.code, _SCHEMES.get(code.system, code.system), code.text[:_LONGEST_MEANING])


def _pn(text: str) -> Any:
    """A name as the library wants it."""
    from pydicom.valuerep import PersonName

    return PersonName(text)
