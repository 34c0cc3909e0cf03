"""The contract ``screening``: a patient message in, diagnosis per eye, the doctor's review and a report out."""

from collections.abc import Mapping
from typing import Any, Final, cast

from eyeground.clinic.answered import Answered
from eyeground.clinic.exchange._conclusions import conclude
from eyeground.clinic.exchange._exams import read_age, read_exams, read_visits
from eyeground.clinic.exchange._fields import Fields
from eyeground.clinic.exchange._photos import read_photos
from eyeground.clinic.exchange.contract import MOST_BYTES, parse
from eyeground.clinic.findings import FINDINGS
from eyeground.clinic.records import Order, Person
from eyeground.clinic.report.language import words_of
from eyeground.clinic.report.text import report_text
from eyeground.images.retinal_image import Eye

RECEIVES: Final = "screening"
SENDS: Final = "screening_result"
_SIDES: Final[Mapping[str, Eye]] = {"left_eye": "OS", "right_eye": "OD"}
_GENDERS: Final = {
    "male": "male", "m": "male", "男": "male", "female": "female", "f": "female", "女": "female",
    "other": "other", "o": "other", "其他": "other", "unknown": "", "u": "", "未知": "",
}  # fmt: skip


def read(body: bytes) -> Order:
    """Read a patient message.

    ``vision_data`` beside or in the patient is this visit's; so is that of a screening record with the message's own
    ``screening_time``. All other records are earlier visits. Fields that are not agreed on are ignored.

    Args:
        body: ``{message_id, Patient: {patient_id, name, age, gender, phone, photos, screening_records}, vision_data}``;
            docs/clinic.md has each field's forms.

    Returns:
        What is asked for.

    Raises:
        Refused: If it is no such message; everything that is wrong is told.

    Example:
        >>> read(b'{"message_id": "m1", "Patient": {"patient_id": "7", "photos": ["7_OD.jpg"]}}').pictures[0].eye
        'OD'

    References:
        docs/clinic.md.
    """
    fields = Fields(parse(body, max_bytes=MOST_BYTES))
    identity, _ = fields.id("message_id")
    if not isinstance(fields.value("message_id"), str | None):
        fields.wrong("wrong_type", "message_id")
    if fields.value("Patient") is not None and fields.value("patient") is not None:
        fields.wrong("repeated_key", "Patient")
    patient = fields.part("patient" if fields.value("Patient") is None else "Patient")
    if not patient.told:
        fields.wrong("missing", "Patient")
    person, number = _person(patient)
    outside, inside = fields.value("vision_data"), patient.value("vision_data")
    if outside is not None and inside is not None:
        fields.wrong("repeated_key", "vision_data")
    od, os = read_exams((patient if outside is None else fields).part("vision_data"))
    time = fields.time("screening_time")
    earlier = read_visits(patient)
    if time and outside is None and inside is None:
        now = [visit for visit in earlier if visit.time == time]
        if len(now) == 1:
            od, os = now[0].od, now[0].os
            earlier = tuple(visit for visit in earlier if visit is not now[0])
    pictures = read_photos(patient)
    fields.finish()
    return Order(
        door="screening", id=identity, person=person, od=od, os=os, visit_time=time, earlier=earlier,
        # The answer names the patient by the number it was.
        texts={"patient_id_type": "number"} if number else {}, pictures=pictures,
    )  # fmt: skip


def answer(answered: Answered) -> dict[str, Any]:
    """Write the answer.

    Args:
        answered: What is known.

    Returns:
        ``{message_id, patient_id, ai_diagnosis, doctor_review, report, urgency, status, note, unavailable}``. What the
        models said stands under ``ai_diagnosis`` by eye: ``conclusion`` in Chinese and ``conclusion_en``;
        ``confidence`` is that of the least sure answer it rests on, null where one has none. Null in ``doctor_review``
        is what nobody signed.

    Example:
        >>> order = Order(door="screening", id="m1", person=Person(patient_id="7"))
        >>> told = answer(Answered("0a", order, 0, unavailable={"fundus/OD": "cannot_grade"}))
        >>> told["ai_diagnosis"]["right_eye"]["conclusion"], told["status"]
        ('眼底：图像无法分级：请重拍或转诊。', 'unsigned')

    References:
        docs/clinic.md.
    """
    order, opinion = answered.order, answered.opinion if answered.signed else None
    patient: str | int = order.person.patient_id
    if order.texts.get("patient_id_type") == "number":
        patient = int(patient)
    return {
        "message_id": order.id,
        "patient_id": patient,
        "ai_diagnosis": {side: _diagnosis(answered, eye) for side, eye in _SIDES.items()},
        "doctor_review": {
            "final_conclusion": opinion.conclusion if opinion else None,
            "doctor_name": answered.doctor_name if opinion else None,
            "recommendation": opinion.recommendation if opinion else None,
            "signed_at": answered.signed_at if opinion else None,
        },
        "report": {language: report_text(answered, language) for language in ("zh", "en")},
        "urgency": answered.urgency,
        "status": ("amended" if answered.revision > 1 else "signed") if opinion else "unsigned",
        "note": words_of("zh").say("mark"),
        "unavailable": {_ours(key): word for key, word in answered.unavailable.items()},
    }


def _person(patient: Fields) -> tuple[Person, bool]:
    """Read who is examined, and whether the id was sent as a number."""
    told = patient.value("patient_id")
    number = isinstance(told, int) and not isinstance(told, bool)
    identity = str(told) if number else patient.text("patient_id", most=128, required=True)
    sex = patient.word("gender", _GENDERS)
    person = Person(
        patient_id=identity,
        name=patient.text("name"),
        age=read_age(patient),
        sex=cast(Any, sex),
        phone=_phone(patient),
    )
    return person, number


def _phone(patient: Fields) -> str:
    """Read a telephone number, which many send as a number."""
    told = patient.value("phone")
    if isinstance(told, int) and not isinstance(told, bool):
        return str(told)
    return patient.text("phone", most=40)


def _diagnosis(answered: Answered, eye: Eye) -> dict[str, Any]:
    """What the models say of one eye."""
    chinese, english = (conclude(answered, eye, language) for language in ("zh", "en"))
    keys = [f"{part}/{eye}" for part in FINDINGS]
    findings = {
        name: said.model_dump()
        for key in keys
        if key not in answered.unavailable
        for name, said in answered.said.get(key, {}).items()
    }
    return {
        "conclusion": chinese.text,
        "conclusion_en": english.text,
        "confidence": chinese.confidence,
        "abnormal_areas": list(dict.fromkeys(area for key in keys for area in answered.areas.get(key, ()))),
        "findings": findings,
    }


def _ours(key: str) -> str:
    """Bring ``fundus/OD.DR`` to this contract's words: ``right_eye.fundus.DR``."""
    part, _, rest = key.partition("/")
    eye, _, finding = rest.partition(".")
    side = next((side for side, each in _SIDES.items() if each == eye), "eye_not_decided")
    return ".".join(filter(None, (side, part, finding)))
