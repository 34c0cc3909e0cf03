"""The contract ``screening`` against orders and answers written by hand."""

from typing import Any

import pytest

from eyeground.clinic.answered import Answered
from eyeground.clinic.exchange import screening
from eyeground.clinic.findings import FINDINGS, UNAVAILABLE
from eyeground.clinic.records import EyeExam, Opinion, Order, Person, Picture, Said, Visit
from eyeground.clinic.refusal import Refused
from eyeground.clinic.report.text import report_text

from .hostile import good, put, raw

ORDER = Order(door="screening", id="m-1", person=Person(patient_id="P1"))


def read(**patient: Any) -> Order:
    """Read a message of one patient."""
    return screening.read(raw({"message_id": "m-1", "Patient": {"patient_id": "P1", "photos": ["a.jpg"], **patient}}))


def test_a_whole_message_becomes_an_order() -> None:
    assert screening.read(raw(good("screening"))) == Order(
        door="screening",
        id="m-1",
        person=Person(patient_id="P1", name="Zq7Canary王小明", age=56, sex="male", phone="13800000000"),
        od=EyeExam(
            acuity="4.9",
            notation="five_mark",
            correction="uncorrected",
            pressure_mmhg=18.0,
            pressure_method="non_contact",
        ),
        os=EyeExam(acuity="0.8", notation="decimal", pressure_mmhg=17.5),
        earlier=(
            Visit(
                time="2025-11-02",
                notes="两年前查过",
                os=EyeExam(acuity="0.8", notation="decimal", pressure_mmhg=17.0),
                results={"left": "NPDR"},
            ),
        ),
        pictures=(
            Picture(part="fundus", eye="OD", path="P1_OD.jpg", name="P1_OD.jpg", field="Patient.photos.0"),
            Picture(
                part="fundus", eye="OS", data=b"\xff\xd8\xff\xe0\x00\x10", name="P1_OS.jpg", field="Patient.photos.1"
            ),
        ),
    )


@pytest.mark.parametrize("eye", ["OD", "od", "right", "Right eye", "右眼", "R"])
def test_eyes_are_told_in_many_words(eye: str) -> None:
    assert read(photos=[{"path": "a.jpg", "eye": eye}]).pictures[0].eye == "OD"


def test_a_word_goes_before_a_name_and_a_name_before_nothing() -> None:
    photos = [{"path": "x_OS.jpg", "eye": "OD"}, "x_OS.jpg", "OS/x.jpg", {"data": "AAAA", "name": "左眼.png"}]
    assert [each.eye for each in read(photos=photos).pictures] == ["OD", "OS", "", "OS"]


def test_photos_by_eye() -> None:
    photos = {
        "left_eye": ["l1.jpg", {"path": "l2.jpg", "eye": "OS"}],
        "right_eye": "r.jpg",
        "right_anterior": {"path": "ra.jpg", "url": ""},
        "left_anterior": None,
    }
    found = [(each.path, each.part, each.eye) for each in read(photos=photos).pictures]
    assert found == [
        ("l1.jpg", "fundus", "OS"), ("l2.jpg", "fundus", "OS"), ("r.jpg", "fundus", "OD"), ("ra.jpg", "anterior", "OD")
    ]  # fmt: skip


def test_a_part_can_be_named_and_base64_may_have_lines() -> None:
    [found] = read(photos=[{"data": "/9j/\r\n4AAQ\n", "part": "anterior", "eye": "OS"}]).pictures
    assert (found.part, found.data) == ("anterior", b"\xff\xd8\xff\xe0\x00\x10")


AGES = [(0, 0), (56, 56), (56.0, 56), ("56", 56), ("56岁", 56), ("056Y", 56), (None, None), ("", None)]


@pytest.mark.parametrize(("told", "age"), AGES)
def test_ages(told: object, age: int | None) -> None:
    assert read(age=told).person.age == age


@pytest.mark.parametrize(
    ("told", "sex"), [("F", "female"), ("男", "male"), ("Other", "other"), ("unknown", ""), (None, "")]
)
def test_genders(told: object, sex: str) -> None:
    assert read(gender=told).person.sex == sex


def test_small_letters_and_another_place_for_the_measurements() -> None:
    patient = {"patient_id": 7, "photos": ["a.jpg"], "phone": 139, "vision_data": {"right_eye": "CF/30cm"}}
    order = screening.read(raw({"message_id": "m", "patient": patient}))
    assert (order.person.patient_id, order.person.phone, order.od.notation) == ("7", "139", "low_vision")
    assert screening.answer(Answered("0a", order, 0))["patient_id"] == 7


def test_the_record_of_the_same_time_is_this_visit() -> None:
    records = [
        {"screening_time": "2026-11-28", "vision_data": {"left_eye": 0.5}},
        {"screening_time": "2024-11-28", "vision_data": {"left_eye": 1.0}},
    ]
    message = put(good("screening"), ("Patient", "screening_records"), records) | {"screening_time": "2026-11-28"}
    del message["vision_data"]
    order = screening.read(raw(message))
    assert (order.os.acuity, [visit.time for visit in order.earlier]) == ("0.5", ["2024-11-28"])
    # Without the time nobody knows which record is today's: an old measurement must not pass for a new one.
    del message["screening_time"]
    order = screening.read(raw(message))
    assert (order.os.acuity, len(order.earlier)) == ("", 2)


@pytest.mark.parametrize("results", [{"a": "b", "n": 3, "t": True, "x": None}, "words", ["one", "two"], None, {}])
def test_earlier_results_come_in_many_forms(results: object) -> None:
    [visit] = read(screening_records=[{"results": results}]).earlier
    wanted = {"words": {"results": "words"}, "['one', 'two']": {"1": "one", "2": "two"}}
    assert visit.results == wanted.get(str(results), {"a": "b", "n": "3", "t": "true"} if results else {})


def diagnosis(**told: Any) -> dict[str, Any]:
    """What is answered of the right eye."""
    found: dict[str, Any] = screening.answer(Answered("0a", ORDER, 0, **told))["ai_diagnosis"]["right_eye"]
    return found


def test_the_answer_of_a_signed_case() -> None:
    case = Answered(
        "0a",
        ORDER,
        1,
        said={
            "fundus/OD": {
                "AMD": Said(value=0, score=0.02),
                "DR": Said(value=2, score=0.81),
                "RVO": Said(value=1, score=0.7),
            },
            "fundus/OS": {"DR": Said(value=0, score=0.9), "AMD": Said(value=0, score=0.25)},
        },
        areas={"fundus/OD": ("macula", "superior arcade")},
        quality={"fundus/OD": "good", "fundus/OS": "fair: dark"},
        unavailable={"anterior/OD": "no_image", "anterior/OS": "no_image", "fundus/OS.CSC": "not_installed"},
        opinion=Opinion(conclusion="右眼中度NPDR", recommendation="三月内转诊"),
        doctor_name="李医生",
        signed_at="2026-11-28T01:00:00Z",
        urgency="refer_6_months",
    )
    found = screening.answer(case)
    assert found["report"] == {"zh": report_text(case, "zh"), "en": report_text(case, "en")}
    del found["report"]
    assert found == {
        "message_id": "m-1",
        "patient_id": "P1",
        "ai_diagnosis": {
            "left_eye": {
                "conclusion": "眼底：AI 未检出年龄相关性黄斑变性、糖尿病视网膜病变。未检出不排除其他疾病。",
                "conclusion_en": "fundus: AI did not detect: age-related macular degeneration, "
                "diabetic retinopathy. Not detected does not exclude other disease.",
                "confidence": 0.75,
                "abnormal_areas": [],
                "findings": {"DR": {"value": 0, "score": 0.9}, "AMD": {"value": 0, "score": 0.25}},
            },
            "right_eye": {
                "conclusion": "眼底：AI 检出视网膜静脉阻塞、中度非增殖期糖尿病视网膜病变。",
                "conclusion_en": "fundus: AI detected: retinal vein occlusion, "
                "moderate non-proliferative diabetic retinopathy.",
                "confidence": 0.7,
                "abnormal_areas": ["macula", "superior arcade"],
                "findings": {
                    "AMD": {"value": 0, "score": 0.02},
                    "DR": {"value": 2, "score": 0.81},
                    "RVO": {"value": 1, "score": 0.7},
                },
            },
        },
        "doctor_review": {
            "final_conclusion": "右眼中度NPDR",
            "doctor_name": "李医生",
            "recommendation": "三月内转诊",
            "signed_at": "2026-11-28T01:00:00Z",
        },
        "urgency": "refer_6_months",
        "status": "signed",
        "note": "AI 辅助，非诊断",
        "unavailable": {
            "right_eye.anterior": "no_image", "left_eye.anterior": "no_image", "left_eye.fundus.CSC": "not_installed"
        },
    }  # fmt: skip


def test_unsigned_has_no_review() -> None:
    found = screening.answer(Answered("0a", ORDER, 0, doctor_name="李医生"))
    assert found["status"] == "unsigned"
    assert set(found["doctor_review"].values()) == {None}


def test_amended_says_so() -> None:
    found = screening.answer(Answered("0a", ORDER, 2, opinion=Opinion(), signed_at="2026-11-28T01:00:00Z"))
    assert found["status"] == "amended"


@pytest.mark.parametrize("said", [{}, {"DR": Said(value=0, score=0.99)}, {"AMD": Said(value=0)}])
@pytest.mark.parametrize(
    "told",
    [
        {"quality": {"fundus/OD": "cannot grade: too dark"}},
        {"unavailable": {"fundus/OD": "cannot_grade", "anterior/OD": "no_image"}},
    ],
)
def test_an_eye_that_cannot_be_graded_says_so(told: dict[str, Any], said: dict[str, Said]) -> None:
    found = diagnosis(said={"fundus/OD": said}, **told)
    assert found["conclusion"] == "眼底：图像无法分级：请重拍或转诊。"
    assert found["conclusion_en"] == "fundus: the image cannot be graded: retake it or refer."
    assert found["confidence"] is None


@pytest.mark.parametrize("word", sorted(UNAVAILABLE))
def test_no_reason_for_silence_sounds_healthy(word: str) -> None:
    found = diagnosis(said={"fundus/OD": {"DR": Said(value=0, score=0.9)}}, unavailable={"fundus/OD": word})
    assert UNAVAILABLE[word]["zh"] in found["conclusion"]
    assert "未检出" not in found["conclusion"]
    assert "did not detect" not in found["conclusion_en"]
    assert found["findings"] == {}


def test_an_eye_without_images_says_so() -> None:
    found = diagnosis(unavailable={"fundus/OD": "no_image", "anterior/OD": "no_image"})
    assert (found["conclusion"], found["conclusion_en"]) == ("未发送图像。", "no image was sent.")


def test_nothing_said_is_said() -> None:
    assert diagnosis()["conclusion"] == "未提供。"


def test_both_parts_of_an_eye_speak() -> None:
    found = diagnosis(
        said={"anterior/OD": {"cataract": Said(value=1, score=0.6)}}, unavailable={"fundus/OD": "cannot_grade"}
    )
    assert found["conclusion"] == "眼底：图像无法分级：请重拍或转诊。眼前节：AI 检出白内障。"
    assert found["confidence"] == 0.6


@pytest.mark.parametrize("part", sorted(FINDINGS))
def test_every_finding_and_grade_has_a_title(part: Any) -> None:
    for finding, most in FINDINGS[part].items():
        for value in range(most + 1):
            found = diagnosis(said={f"{part}/OD": {finding: Said(value=value)}})
            assert finding not in found["conclusion"]
            assert ("AI 检出" in found["conclusion"]) == bool(value)
            assert found["confidence"] is None  # the model gave no score


def test_grades_have_titles_of_their_own() -> None:
    titles = {diagnosis(said={"fundus/OD": {"DR": Said(value=grade)}})["conclusion"] for grade in range(5)}
    assert len(titles) == 5


def test_the_patient_is_named_once_in_either_spelling() -> None:
    with pytest.raises(Refused, match="twice"):
        screening.read(raw(good("screening") | {"patient": {"patient_id": "P2"}}))
