"""What a narrative tells: what is known, by whom, and why something is not."""

import tomllib

from eyeground.clinic.answered import Answered
from eyeground.clinic.llm.lexicon import SHELF
from eyeground.clinic.llm.prompt import messages_of
from eyeground.clinic.llm.slots import Plan, Slot
from eyeground.clinic.llm.telling import narrative_of, template_of, texts_of
from eyeground.clinic.records import EyeExam, EyeReview, Opinion, Order
from eyeground.clinic.report.language import languages
from eyeground.clinic.report.text import draft_report

from .plans import full_plan


def told(answered: Answered, opinion: Opinion | None = None, language: str = "en") -> dict[str, str]:
    plan = narrative_of(answered, opinion, language)
    return {slot.name: slot.value for section in plan.sections for slot in section.slots}


def case(**more: object) -> Answered:
    return Answered("0a", Order(door="check", id="17"), 0, **more)  # type: ignore[arg-type]


def test_of_an_eye_without_an_image_nothing_is_said_but_that() -> None:
    assert told(case()) == {"OD_FUNDUS_FINDINGS": "no image was sent", "OS_FUNDUS_FINDINGS": "no image was sent"}


def test_the_models_are_named_as_such_and_what_they_left_out_has_its_reason() -> None:
    found = told(
        case(
            quality={"fundus/OD": "good"},
            values={"fundus/OD": {"DR": 0, "AMD": 1, "GLA": 0}},
            unavailable={"fundus/OD.RP": "failed", "fundus/OD.CSC": "not_installed", "fundus/OD.ON": "not_installed"}
            | {"fundus/OD.RVO": "not_installed", "fundus/OS": "no_image"},
        )
    )
    assert found["OD_FUNDUS_QUALITY"] == "good"
    assert found["OD_FUNDUS_GRADE"] == "grade 0, no diabetic retinopathy"
    assert found["OD_FUNDUS_FINDINGS"] == (
        "AI detected: age-related macular degeneration; AI did not detect: glaucoma; not assessed: central serous "
        "chorioretinopathy, optic neuropathy, retinal vein occlusion (no model that answers this is installed); "
        "not assessed: retinitis pigmentosa (the model failed on this image)"
    )


def test_what_cannot_be_graded_is_never_normal() -> None:
    found = told(
        case(quality={"fundus/OS": "cannot grade: haze"}, unavailable={"fundus/OS": "cannot_grade"}), language="zh"
    )
    assert found["OS_FUNDUS_QUALITY"] == "无法分级（图像朦胧）"
    assert found["OS_FUNDUS_GRADE"] == "未分级（图像无法分级：请重拍或转诊）"
    assert found["OS_FUNDUS_FINDINGS"] == "图像无法分级：请重拍或转诊"


def test_an_eye_that_the_doctor_has_not_judged_yet_is_the_models() -> None:
    answered = case(values={"fundus/OD": {"DR": 1}}, quality={"fundus/OD": "good"})
    assert told(answered, Opinion(eyes={"fundus/OD": EyeReview()})) == told(answered)
    judged = told(answered, Opinion(eyes={"fundus/OD": EyeReview(findings={"AMD": 0})}))
    assert judged["OD_FUNDUS_GRADE"] == "not graded (the doctor gave no verdict on this)"
    assert judged["OD_FUNDUS_FINDINGS"].startswith("not seen: age-related macular degeneration; not assessed: ")


def test_measured_values_are_told_where_they_are_known() -> None:
    order = Order(
        door="check", id="17", od=EyeExam(acuity="CF/30cm"),
        os=EyeExam(pressure_mmhg=21, pressure_method="goldmann", pressure_time="2026-01-02T09:30"),
    )  # fmt: skip
    found = told(Answered("0a", order, 0))
    assert found["OD_ACUITY"] == "CF/30cm"
    assert found["OS_PRESSURE"] == "21 mmHg (Goldmann, 2026-01-02 09:30)"
    assert "OS_ACUITY" not in found


def test_an_anterior_part_is_told_where_there_is_an_image_or_a_verdict() -> None:
    assert "OD_ANTERIOR_FINDINGS" in told(case(unavailable={"anterior/OD": "not_installed"}))
    assert "OD_ANTERIOR_FINDINGS" in told(case(), Opinion(eyes={"anterior/OD": EyeReview(findings={"cataract": 1})}))
    assert "OD_ANTERIOR_FINDINGS" not in told(case(unavailable={"anterior/OD": "no_image"}))


def test_the_texts_of_a_request_hold_the_same_facts_as_the_draft_that_goes_out() -> None:
    sent = {"odFundusFeatures": "豹纹状眼底，视盘边界清", "osFundusDisease": "AMD、dr"}
    plan = texts_of(sent, "zh")
    told_before = draft_report(sent, "zh")
    for section in plan.open:
        for slot in section.slots:
            assert slot.value in told_before[section.text]
    assert [section.key for section in plan.open] == ["fundusReport_OD", "fundusInterpret_OS"]


def test_what_a_model_is_told_does_not_depend_on_the_facts() -> None:
    for language in languages():
        bodies = {str(messages_of(full_plan(seed, language))) for seed in range(50)}
        hashes = {full_plan(seed, language).sha256 for seed in range(50)}
        assert len(bodies) == 1
        assert len(hashes) == 50


def test_the_facts_hash_changes_with_every_fact_and_language() -> None:
    plan = full_plan(1, "en")
    section = plan.sections[0]
    seen = {plan.sha256, full_plan(1, "zh").sha256}
    for place, slot in enumerate(section.slots):
        other = Slot(slot.eye, slot.part, slot.kind, slot.value + "x")
        slots = (*section.slots[:place], other, *section.slots[place + 1 :])
        changed = type(section)(section.text, section.eye, section.lead, slots)
        seen.add(Plan("en", (changed, *plan.sections[1:])).sha256)
    assert len(seen) == 2 + len(section.slots)


def test_every_language_has_the_same_tables_and_a_template() -> None:
    keys = {}
    for language in languages():
        words = tomllib.loads((SHELF / f"{language}.toml").read_text("utf-8"))
        keys[language] = {
            (table, key) for table, each in words.items() for key in (each if type(each) is dict else [""])
        }
        assert all("[[" in text for text in template_of(full_plan(1, language)).values())
    assert len({frozenset(each) for each in keys.values()}) == 1
