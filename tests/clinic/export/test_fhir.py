"""FHIR bundles read back: what they say is what the database says."""

import base64
import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from fhir.resources.R4B.bundle import Bundle
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from pydicom import dcmread
from sqlalchemy import select

from eyeground.clinic.acuity import read_acuity, to_logmar
from eyeground.clinic.answered import Answered
from eyeground.clinic.db.tables import Case, Review
from eyeground.clinic.export._codes import OWN
from eyeground.clinic.export.fhir import Form, bundle_of
from eyeground.clinic.exported import Exported, NotSigned
from eyeground.clinic.findings import FINDINGS
from eyeground.clinic.records import EyeExam, EyeReview, Opinion, Order, Person
from eyeground.clinic.service import Service

from ..pictures import dicom, photograph
from .visits import LI, amend, both_eyes, drafted, encoded, exported, send, service_in, sign, signed, two_models

SHANGHAI = "Asia/Shanghai"
FUNDUS = FINDINGS["fundus"]
EYE_OF = {"18944008": "OD", "8966001": "OS"}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One for all: each visit has an id of its own."""
    opened = service_in(tmp_path_factory.mktemp("clinic"))
    yield opened
    opened.close()


def written(service: Service, case: Exported, **more: Any) -> list[dict[str, Any]]:
    """A case's resources, as a receiver parses them."""
    text = bundle_of(case, get=service.store.get, zone=SHANGHAI, **more).model_dump_json()
    Bundle.model_validate_json(text)
    return [each["resource"] for each in json.loads(text)["entry"]]


def of_type(resources: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    """Those of a type."""
    return [each for each in resources if each["resourceType"] == kind]


def own_code(concept: dict[str, Any]) -> str:
    """Our own word of a concept."""
    return next((each["code"] for each in concept["coding"] if each["system"] == OWN), "")


def by_code(resources: list[dict[str, Any]], code: str) -> list[dict[str, Any]]:
    """Observations of a code, whoever defines it."""
    return [
        each
        for each in of_type(resources, "Observation")
        if code in [coding["code"] for coding in each["code"]["coding"]]
    ]


def eye_of(observation: dict[str, Any]) -> str:
    """Which eye it is about."""
    return EYE_OF[observation["bodySite"]["coding"][0]["code"]]


def value_of(observation: dict[str, Any]) -> int:
    """A finding's value."""
    if "valueBoolean" in observation:
        return int(observation["valueBoolean"])
    return int(own_code(observation["valueCodeableConcept"]).partition(".")[2])


def findings_of(resources: list[dict[str, Any]], prefix: str = "") -> dict[str, dict[str, int]]:
    """Findings by part, eye and name."""
    found: dict[str, dict[str, int]] = {}
    for each in of_type(resources, "Observation"):
        name = own_code(each["code"]).removeprefix(prefix)
        known = any(name in findings for findings in FINDINGS.values())
        if known and own_code(each["code"]) == prefix + name and "dataAbsentReason" not in each:
            part = each["bodySite"]["text"].rpartition(", ")[2]
            found.setdefault(f"{part}/{eye_of(each)}", {})[name] = value_of(each)
    return found


def unavailable_of(resources: list[dict[str, Any]]) -> dict[str, str]:
    """What has no answer, and why, in our words."""
    return {
        each["identifier"][0]["value"]: own_code(each["dataAbsentReason"]).removeprefix("why.")
        for each in of_type(resources, "Observation")
        if "dataAbsentReason" in each and "identifier" in each
    }


def exams_of(resources: list[dict[str, Any]]) -> dict[str, EyeExam]:
    """What was measured of each eye."""
    told: dict[str, dict[str, Any]] = {"OD": {}, "OS": {}}
    corrections = {"363983007": "", "420050001": "uncorrected", "397536007": "corrected", "419475002": "pinhole"}
    for each in of_type(resources, "Observation"):
        code = each["code"]["coding"][0]["code"]
        if "dataAbsentReason" in each:
            continue
        if code in corrections:
            parts = {own_code(part["code"]): part for part in each["component"]}
            notation = own_code(parts["notation"]["valueCodeableConcept"]).removeprefix("notation.")
            told[eye_of(each)] |= {
                "acuity": each["valueString"], "notation": notation, "correction": corrections[code],
            }  # fmt: skip
            acuity = read_acuity(each["valueString"], notation)
            if acuity.sign is None:
                quantity = parts["logmar"]["valueQuantity"]
                assert quantity["value"] == pytest.approx(float(to_logmar(acuity)), abs=5e-5)
            else:
                assert "logmar" not in parts
        elif code == "41633001":
            assert (each["valueQuantity"]["code"], each["valueQuantity"]["system"]) == (
                "mm[Hg]", "http://unitsofmeasure.org",
            )  # fmt: skip
            method = own_code(each["method"]).removeprefix("pressure.") if "method" in each else ""
            told[eye_of(each)] |= {"pressure_mmhg": each["valueQuantity"]["value"], "pressure_method": method}
    return {eye: EyeExam(**told[eye]) for eye in told}


def person_of(resources: list[dict[str, Any]]) -> Person:
    """Who is examined."""
    [patient] = of_type(resources, "Patient")
    ages = by_code(resources, "30525-0")
    return Person(
        patient_id=patient.get("identifier", [{"value": ""}])[0]["value"],
        name=patient.get("name", [{"text": ""}])[0]["text"],
        phone=patient.get("telecom", [{"value": ""}])[0]["value"],
        sex=patient.get("gender", ""),
        age=int(ages[0]["valueQuantity"]["value"]) if ages else None,
    )


def sentence_of(resources: list[dict[str, Any]], code: str) -> str:
    """The doctor's words under one of our codes."""
    return next((each["valueString"] for each in by_code(resources, code)), "")


WORDS = st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "Zs")), min_size=1, max_size=40).filter(
    lambda text: text.strip() == text and text
)
ACUITIES = st.sampled_from(["0.8", "1.0", "4.9", "5.0", "20/25", "6/7.5", "CF/30cm", "手动/20cm", "无光感", "0.12"])
EXAMS = st.fixed_dictionaries(
    {},
    optional={
        "value": ACUITIES, "correction": st.sampled_from(["uncorrected", "corrected", "pinhole"]),
    },
)  # fmt: skip
PRESSURES = st.one_of(
    st.none(),
    st.builds(
        lambda value, method: {"value": value / 10, **({"method": method} if method else {})},
        st.integers(0, 900),
        st.sampled_from(["", "goldmann", "non_contact", "rebound", "other"]),
    ),
)
EYES = st.one_of(
    st.builds(lambda reason: EyeReview(ungradable=True, reason=reason), WORDS),
    st.builds(
        lambda told, reason: EyeReview(findings=told, reason=reason),
        st.fixed_dictionaries({}, optional={name: st.integers(0, most) for name, most in FUNDUS.items()}).filter(bool),
        WORDS,
    ),
)
NUMBER = iter(range(10**6))


# No shrinking: each example is a visit in a database.
@settings(max_examples=100, deadline=None, phases=[Phase.generate])
@given(
    name=st.one_of(WORDS, st.sampled_from(["张三", "扎西 O'Neil", "欧阳^明=月"])),
    age=st.one_of(st.none(), st.integers(0, 120)),
    gender=st.sampled_from(["male", "female", "other", "unknown"]),
    od=EXAMS,
    os=EXAMS,
    pressures=st.tuples(PRESSURES, PRESSURES),
    eyes=st.tuples(EYES, EYES),
    conclusion=WORDS,
    recommendation=WORDS,
    visit=st.sampled_from(["", "2026-01-31", "2026-01-31T08:15", "2026-01-31T08:15:30+08:00", "20260131"]),
)
def test_what_a_bundle_says_is_what_the_database_says(
    service: Service,
    name: str,
    age: int | None,
    gender: str,
    od: dict[str, Any],
    os: dict[str, Any],
    pressures: tuple[Any, Any],
    eyes: tuple[EyeReview, EyeReview],
    conclusion: str,
    recommendation: str,
    visit: str,
) -> None:
    number = next(NUMBER)
    vision: dict[str, Any] = {
        side: told if "value" in told else None for side, told in (("right_eye", od), ("left_eye", os))
    }
    told = {side: each for side, each in zip(("right", "left"), pressures, strict=True) if each is not None}
    vision = {side: each for side, each in vision.items() if each} | ({"intraocular_pressure": told} if told else {})
    case_id = send(
        service,
        f"property-{number}",
        photos=both_eyes(1),
        patient={"name": name, "gender": gender, **({} if age is None else {"age": age})},
        vision_data=vision,
        **({"screening_time": visit} if visit else {}),
    )
    opinion = Opinion(
        eyes=dict(zip(("fundus/OD", "fundus/OS"), eyes, strict=True)), conclusion=conclusion,
        recommendation=recommendation,
    )  # fmt: skip
    sign(service, case_id, lambda _: opinion)

    resources = written(service, exported(service, case_id))

    with service.database.read() as session:
        case = session.get_one(Case, case_id)
        review = session.scalars(select(Review).filter_by(case_id=case_id)).one()
    order, kept = Order.model_validate(case.order), Opinion.model_validate(review.opinion)
    person = person_of(resources)
    assert person == order.person
    assert exams_of(resources) == {"OD": order.od, "OS": order.os}
    wanted = {key: each.findings for key, each in kept.eyes.items() if each.findings and not each.ungradable}
    assert findings_of(resources) == wanted
    reasons = unavailable_of(resources)
    for key, each in kept.eyes.items():
        if each.ungradable:
            assert reasons[key] == "cannot_grade"
        else:
            missing = {f"{key}.{finding}" for finding in FUNDUS if finding not in each.findings}
            assert missing == {where for where in reasons if where.startswith(f"{key}.")}
    [report] = of_type(resources, "DiagnosticReport")
    assert report["conclusion"] == kept.conclusion
    assert sentence_of(resources, "recommendation") == kept.recommendation
    assert report["status"] == "final"
    assert report["issued"] == review.signed_at
    assert {each["reference"] for each in report["result"]} == {
        f"urn:uuid:{each['id']}" for each in of_type(resources, "Observation")
    }
    times = [each["effectiveDateTime"] for each in of_type(resources, "Observation")]
    assert all("T" not in time or time.endswith("Z") or time[-6] in "+-" for time in times)


def test_the_models_answers_stand_beside_the_doctors_and_never_as_final(service: Service) -> None:
    case_id = send(service, "ai", photos=both_eyes(3))
    other = EyeReview(findings={"DR": 4}, reason="new vessels")
    sign(service, case_id, lambda opinion: opinion.model_copy(update={"eyes": {**opinion.eyes, "fundus/OD": other}}))
    case = exported(service, case_id)
    resources = written(service, case)
    said = {key: {name: each.value for name, each in told.items()} for key, told in case.answered.said.items()}
    assert findings_of(resources, "ai.") == said
    assert findings_of(resources)["fundus/OD"] == {"DR": 4}
    [device] = of_type(resources, "Device")
    for each in of_type(resources, "Observation"):
        if own_code(each["code"]).startswith("ai."):
            assert each["status"] == "preliminary"
            assert each["device"]["reference"] == f"urn:uuid:{device['id']}"
            assert "performer" not in each


def test_an_amended_report_says_so_and_is_another_resource(service: Service) -> None:
    case_id = signed(service, "amended")
    before = written(service, exported(service, case_id))
    amend(service, case_id, lambda opinion: opinion.model_copy(update={"conclusion": "on second thought"}))
    [report] = of_type(written(service, exported(service, case_id)), "DiagnosticReport")
    assert (report["status"], report["conclusion"]) == ("amended", "on second thought")
    assert report["id"] != of_type(before, "DiagnosticReport")[0]["id"]


def test_what_was_released_unsigned_is_preliminary_and_what_was_not_released_is_nothing(tmp_path: Path) -> None:
    service = service_in(tmp_path, release="unsigned")
    case_id = send(service, "early", photos=both_eyes(4))
    resources = written(service, exported(service, case_id))
    assert {each["status"] for each in resources if "result" in each or each["resourceType"] == "Observation"} == {
        "preliminary"
    }
    assert of_type(resources, "Practitioner") == []
    service.close()
    waiting = service_in(tmp_path / "two")
    case_id = send(waiting, "waits", photos=both_eyes(4))
    with pytest.raises(NotSigned, match="in review"):
        exported(waiting, case_id)
    waiting.close()


def test_images_that_came_as_dicom_keep_their_uids(service: Service) -> None:
    data = dicom(photograph(seed=9, size_px=96), laterality="R")
    header = dcmread(BytesIO(data))
    header.StudyInstanceUID, header.SeriesInstanceUID = "1.2.840.99.1", "1.2.840.99.2"
    out = BytesIO()
    header.save_as(out)
    case_id = signed(service, "dicom", photos=[{"name": "x.dcm", "eye": "OD", "data": encoded(out.getvalue())}])
    [study] = of_type(written(service, exported(service, case_id)), "ImagingStudy")
    assert study["identifier"][0]["value"] == "urn:oid:1.2.840.99.1"
    [series] = study["series"]
    assert (series["uid"], series["instance"][0]["uid"]) == ("1.2.840.99.2", header.SOPInstanceUID)
    assert series["laterality"]["display"] == "Right"
    assert "description" not in study
    [derived] = of_type(written(service, exported(service, signed(service, "photos"))), "ImagingStudy")
    assert "derived" in derived["description"]
    assert all(each["uid"].startswith("2.25.") for each in derived["series"])


def test_a_printed_report_is_named_with_its_hash(service: Service) -> None:
    case = exported(service, signed(service, "printed"))
    content = b"%PDF-1.7 a page"
    [report] = of_type(written(service, case, forms=[Form("zh", "report_zh.pdf", content)]), "DiagnosticReport")
    [form] = report["presentedForm"]
    assert form["contentType"] == "application/pdf"
    assert base64.b64decode(form["hash"]) == hashlib.sha1(content, usedforsecurity=False).digest()
    assert form["size"] == len(content)


def test_the_doctor_and_the_site_are_named(service: Service) -> None:
    resources = written(service, exported(service, signed(service, "named")))
    [practitioner], [organization] = of_type(resources, "Practitioner"), of_type(resources, "Organization")
    assert practitioner["name"] == [{"text": LI.title}]
    assert organization["name"] == "County Hospital 县医院"


def test_the_texts_of_a_report_request_leave_too(service: Service) -> None:
    answered = Answered(
        "0a" * 16, Order(door="report", id="9"), 1, opinion=Opinion(texts={"fundusReport": "黄斑未见异常"}),
        doctor_name="李", signed_at="2026-01-02T03:04:05Z",
    )  # fmt: skip
    resources = written(service, Exported(answered, "here", "Here", doctor="li", received_at="2026-01-01T00:00:00Z"))
    assert sentence_of(resources, "text.fundusReport") == "黄斑未见异常"
    assert of_type(resources, "ImagingStudy") == []


def test_of_several_models_each_answer_names_its_own_device(service: Service) -> None:
    case = two_models(service, "devices-fhir")
    resources = written(service, case)
    devices = {each["id"]: each["deviceName"][0]["name"] for each in of_type(resources, "Device")}
    assert set(devices.values()) == {"Grades 1.0", "Rest 2.0"}
    checked = 0
    for each in of_type(resources, "Observation"):
        word = own_code(each["code"])
        if word.startswith("ai.") and word != "ai.areas":
            name = devices[each["device"]["reference"].removeprefix("urn:uuid:")]
            assert name == ("Grades 1.0" if word == "ai.DR" else "Rest 2.0")
            checked += 1
    assert checked == 2 * len(FUNDUS)


def test_what_the_gate_says_of_images_is_its_own_word_and_nobody_s_signature(service: Service) -> None:
    verdicts = by_code(written(service, exported(service, signed(service, "gate"))), "image_quality")
    assert len(verdicts) == 2
    assert {(each["status"], "device" in each, "performer" in each) for each in verdicts} == {
        ("preliminary", True, False)
    }  # fmt: skip


@pytest.mark.parametrize("by_ai", [True, False])
def test_what_a_model_has_drafted_says_so_when_it_leaves(service: Service, by_ai: bool) -> None:
    case = drafted(by_ai=by_ai)
    resources = written(service, case)
    for name in ("narrative", "text.fundusReport", "recommendation"):
        [told] = by_code(resources, name)
        marks = [each["code"] for each in told.get("meta", {}).get("tag", ())]
        assert (marks == ["drafted_by_ai"], "note" in told) == (by_ai, by_ai)
        assert not by_ai or ("由 AI 起草" in told["note"][0]["text"] and "drafted by AI" in told["note"][0]["text"])
        assert "请由医生审核" not in told["valueString"]


def test_a_report_request_has_no_urgency_of_eyes_that_nobody_saw(service: Service) -> None:
    answered = replace(drafted(by_ai=False).answered, order=Order(door="report", id="9"), urgency="look_yourself")
    case = Exported(answered, "here", "Here", doctor="li", received_at="2026-01-01T00:00:00Z")
    assert by_code(written(service, case), "urgency") == []
