"""What is known of a case as FHIR observations: findings of each eye, what was measured, why something is not known."""

from collections.abc import Iterator
from decimal import Decimal
from typing import Any, Final

from eyeground.clinic.acuity import read_acuity, to_logmar
from eyeground.clinic.export import _codes as codes
from eyeground.clinic.export._codes import Code, own, uuid_of
from eyeground.clinic.export._moments import zoned
from eyeground.clinic.exported import Exported
from eyeground.clinic.findings import FINDINGS, UNAVAILABLE
from eyeground.clinic.records import EyeExam, Said
from eyeground.clinic.report.language import languages, words_of
from eyeground.clinic.report.settled import settled
from eyeground.images.retinal_image import Eye

Resource = dict[str, Any]
_CATEGORY: Final = "http://terminology.hl7.org/CodeSystem/observation-category"
_ABSENT: Final = "http://terminology.hl7.org/CodeSystem/data-absent-reason"
# Our words for why something has no answer -> the standard's nearest.
_WHY: Final = {
    "no_image": "not-performed", "cannot_grade": "unknown", "not_installed": "unsupported", "eye_held": "temp-unknown",
    "failed": "error", "not_assessed": "not-performed", "not_told": "unknown",
}  # fmt: skip
_METHODS: Final = {
    "goldmann": "Goldmann applanation tonometry", "non_contact": "Non-contact tonometry",
    "rebound": "Rebound tonometry", "other": "Another method",
}  # fmt: skip
_EYES: Final[tuple[Eye, ...]] = ("OD", "OS")


class Observations:
    """Makes the observations of one case.

    Args:
        case: The case.
        status: FHIR's word for how final it is.
        zone: The site's zone.

    Example:
        >>> from eyeground.clinic.answered import Answered
        >>> from eyeground.clinic.records import Order
        >>> case = Exported(Answered("0a", Order(door="check", id="7"), 1, values={"fundus/OD": {"DR": 2}}), "a", "A")
        >>> [found] = Observations(case, status="final", zone="UTC").findings()
        >>> found["valueCodeableConcept"]["coding"][0]["code"], found["bodySite"]["coding"][0]["display"]
        ('DR.2', 'Right eye structure')

    References:
        https://hl7.org/fhir/R4B/observation.html
    """

    def __init__(self, case: Exported, *, status: str, zone: str) -> None:
        self._case, self._status, self._zone = case, status, zone
        self._words = words_of("en")
        self._seen_at = zoned(case.answered.order.visit_time, zone) or zoned(case.received_at, zone)

    def all(self) -> Iterator[Resource]:
        """Give all of them.

        Yields:
            Resources, what the doctor says first.
        """
        yield from self.findings()
        yield from self.unavailable()
        yield from self.assistance()
        yield from self.quality()
        yield from self.exams()
        yield from self.sentences()

    def findings(self) -> Iterator[Resource]:
        """What holds: the doctor's word, or the models' where nobody signed.

        Yields:
            One an eye and finding.
        """
        performer = self._reference("practitioner") if self._case.answered.signed else None
        for key, values in self._case.answered.values.items():
            for name, value in values.items():
                made = self._of(f"{key}.{name}", self._finding(name), key) | _value(name, value)
                yield made | ({"performer": [performer]} if performer else self._by_model(f"{key}.{name}"))

    def unavailable(self) -> Iterator[Resource]:
        """What has no answer, and why.

        Yields:
            One an eye or finding.
        """
        for where, word in self._case.answered.unavailable.items():
            key, _, name = where.partition(".")
            part = key.partition("/")[0]
            code = self._finding(name) if name else [own(f"{part}.findings", f"All findings of this {part}")]
            yield self._of(where, code, key) | {"dataAbsentReason": _why(word)}

    def assistance(self) -> Iterator[Resource]:
        """What the models said, beside what a doctor signed.

        Yields:
            One an eye and finding; none where nobody signed, for then they are the findings themselves.
        """
        if not self._case.answered.signed:
            return
        for key, answers in self._case.answered.said.items():
            for name, said in answers.items():
                code = [own(f"ai.{name}", f"AI decision support, not a diagnosis: {self._words.say(f'titles.{name}')}")]
                made = self._of(f"ai.{key}.{name}", code, key) | _value(name, said.value) | _score(said)
                yield made | self._by_model(f"{key}.{name}") | {"status": "preliminary"}

    def quality(self) -> Iterator[Resource]:
        """Verdicts of the models' gate on the images, which nobody has signed.

        Yields:
            One a part and eye.
        """
        for key, verdict in self._case.answered.quality.items():
            code = [own("image_quality", "Quality of the images")]
            what = f"quality.{key}"
            yield self._of(what, code, key) | self._by_model(what) | {"valueString": verdict, "status": "preliminary"}

    def exams(self) -> Iterator[Resource]:
        """Visual acuity and pressure; of a patient message also that they were not told.

        Yields:
            One an eye and measurement.
        """
        order = self._case.answered.order
        for eye, exam in zip(_EYES, (order.od, order.os), strict=True):
            if exam.acuity:
                yield self._acuity(eye, exam)
            elif order.door == "screening":
                absent = {"dataAbsentReason": _why("not_told")}
                yield self._of(f"acuity.{eye}", [codes.ACUITY[""]], eye) | absent
            if exam.pressure_mmhg is not None:
                yield self._pressure(eye, exam)
            elif order.door == "screening":
                code = [codes.PRESSURE, codes.PRESSURE_OF[eye]]
                yield self._of(f"pressure.{eye}", code, eye) | {"dataAbsentReason": _why("not_told")}

    def sentences(self) -> Iterator[Resource]:
        """Age, urgency, and the doctor's words that have no place in a FHIR report.

        Yields:
            One each.
        """
        answered = self._case.answered
        age, opinion = answered.order.person.age, answered.opinion
        if age is not None:
            quantity = {"value": age, "unit": "years", "system": codes.UCUM, "code": "a"}
            yield self._of("age", [codes.AGE]) | {"valueQuantity": quantity}
        if answered.urgency and answered.order.door != "report":
            text = "; ".join(self._case.reasons.get("en", ()))
            value = concept([own(f"urgency.{answered.urgency}", answered.urgency.replace("_", " "))], text=text)
            yield self._of("urgency", [own("urgency", "Urgency")]) | {
                "valueCodeableConcept": value, "method": {"text": answered.rules or "rules of urgency"},
            }  # fmt: skip
        said = {} if opinion is None else {
            "recommendation": opinion.recommendation, "narrative": opinion.narrative,
            **{f"text.{name}": settled(text) for name, text in opinion.texts.items()},
        }  # fmt: skip
        for name, text in said.items():
            if text.strip():
                title = name.removeprefix("text.").capitalize()
                mark = _by_ai() if answered.drafted_by_ai else {}
                yield self._of(name, [own(name, title)]) | {"valueString": text} | mark
        for key, areas in answered.areas.items():
            code = [own("ai.areas", "Where the model looked, not a lesion boundary")]
            listed = {"component": [{"code": concept([own(f"area.{a}", a.replace("_", " "))]), "valueBoolean": True}
                                    for a in areas]}  # fmt: skip
            what = f"areas.{key}"
            yield self._of(what, code, key) | self._by_model(what) | listed | {"status": "preliminary"}

    def _acuity(self, eye: Eye, exam: EyeExam) -> Resource:
        """Visual acuity as it was written, and what that is in logMAR where it is a number."""
        parts = [{"code": concept([own("notation", "Notation")]),
                  "valueCodeableConcept": concept([own(f"notation.{exam.notation or 'unknown'}",
                                                       (exam.notation or "unknown").replace("_", " "))])}]  # fmt: skip
        try:
            found = read_acuity(exam.acuity, exam.notation)
        except ValueError:  # kept as it was written all the same
            found = None
        if found is not None and found.sign is not None:
            sign = concept([own(f"low_vision.{found.sign}", found.sign)])
            parts.append({"code": concept([own("low_vision", "Low vision")]), "valueCodeableConcept": sign})
        elif found is not None:
            # logMAR has no dimension, hence UCUM's unity.
            quantity = {"value": round(to_logmar(found), 4), "unit": "logMAR", "system": codes.UCUM, "code": "1"}
            parts.append({"code": concept([own("logmar", "The same in logMAR")]), "valueQuantity": quantity})
        made = self._of(f"acuity.{eye}", [codes.ACUITY[exam.correction]], eye)
        return made | {"valueString": exam.acuity, "component": parts}

    def _pressure(self, eye: Eye, exam: EyeExam) -> Resource:
        """Intraocular pressure."""
        made = self._of(f"pressure.{eye}", [codes.PRESSURE, codes.PRESSURE_OF[eye]], eye)
        made["valueQuantity"] = {
            "value": Decimal(str(exam.pressure_mmhg)), "unit": "mmHg", "system": codes.UCUM, "code": "mm[Hg]",
        }  # fmt: skip
        if exam.pressure_method:
            named = own(f"pressure.{exam.pressure_method}", _METHODS[exam.pressure_method])
            made["method"] = concept([named, *([codes.GOLDMANN] if exam.pressure_method == "goldmann" else [])])
        if at := zoned(exam.pressure_time, self._zone):
            made["effectiveDateTime"] = at
        return made

    def _finding(self, name: str) -> list[Code]:
        """How a finding is called."""
        public = [codes.DISORDERS[name]] if name in codes.DISORDERS else []
        return [own(name, self._words.say(f"titles.{name}")), *public]

    def _of(self, what: str, code: list[Code], key: str = "") -> Resource:
        """The frame of an observation; ``key`` names part and eye, or the eye."""
        part, _, eye = key.rpartition("/")
        made: Resource = {
            "resourceType": "Observation",
            "id": self._id(what),
            "status": self._status,
            "category": [concept([Code(_CATEGORY, "imaging" if part else "exam", "Imaging" if part else "Exam")])],
            "code": concept(code),
            "subject": self._reference("patient"),
            "effectiveDateTime": self._seen_at,
        }
        if eye:
            side: Eye = "OD" if eye == "OD" else "OS"
            about = f"{codes.EYE_STRUCTURE[side].text}{f', {part}' if part else ''}"
            made["bodySite"] = concept([codes.EYE_STRUCTURE[side]], text=about)
        if part:
            made["identifier"] = [{"system": codes.OWN, "value": what}]
        if self._case.answered.signed_at:
            made["issued"] = self._case.answered.signed_at
        return {name: value for name, value in made.items() if value}

    def _by_model(self, what: str) -> Resource:
        """Which device something comes from; where nobody knows, all of them stand in the bundle."""
        model = self._case.source(what)
        return {"device": self._reference(f"device.{model}")} if model else {}

    def _id(self, what: str) -> str:
        """A resource's id."""
        return str(uuid_of(self._case.name, what))

    def _reference(self, what: str) -> dict[str, str]:
        """A reference to another resource of the same case."""
        return {"reference": f"urn:uuid:{self._id(what)}"}


def concept(coded: list[Code], *, text: str = "") -> dict[str, Any]:
    """Write codes as FHIR has them.

    Args:
        coded: All mean the same; the first is the nearest.
        text: For people; empty = the first's.

    Returns:
        A CodeableConcept.

    Example:
        >>> concept([codes.EYE])["text"]
        'Eye'

    References:
        https://hl7.org/fhir/R4B/datatypes.html#CodeableConcept
    """
    return {
        "coding": [{"system": each.system, "code": each.code, "display": each.text} for each in coded],
        "text": text or coded[0].text,
    }


def _by_ai() -> Resource:
    """That a text began as a language model's draft: for programs, and for people in every language."""
    said = " ".join(words_of(language).say("header.by_ai") for language in languages())
    tag = {"system": codes.BY_AI.system, "code": codes.BY_AI.code, "display": codes.BY_AI.text}
    return {"meta": {"tag": [tag]}, "note": [{"text": said}]}


def _value(name: str, value: int) -> Resource:
    """A grade as a code of its scale; yes or no as a truth value."""
    most = next(findings[name] for findings in FINDINGS.values() if name in findings)
    if most == 1:
        return {"valueBoolean": bool(value)}
    return {"valueCodeableConcept": concept([own(f"{name}.{value}", f"Grade {value}"), codes.GRADES[value]])}


def _score(said: Said) -> Resource:
    """How sure a model is."""
    if said.score is None:
        return {}
    quantity = {"value": Decimal(str(said.score)), "unit": "1", "system": codes.UCUM, "code": "1"}
    return {"component": [{"code": concept([own("score", "Score of the model")]), "valueQuantity": quantity}]}


def _why(word: str) -> dict[str, Any]:
    """Why there is no value: the standard's word and ours."""
    text = UNAVAILABLE[word]["en"] if word in UNAVAILABLE else "the site did not tell it"
    return concept(
        [Code(_ABSENT, _WHY[word], _WHY[word].replace("-", " ").capitalize()), own(f"why.{word}", text)], text=text
    )
