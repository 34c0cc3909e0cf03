"""Drafts that come late, and drafts that are out of date: neither changes nor contradicts what is signed."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from eyeground.clinic.clock import now
from eyeground.clinic.db.opinions import Draft
from eyeground.clinic.db.tables import Review
from eyeground.clinic.llm.slots import Plan, clauses, fill
from eyeground.clinic.llm.telling import template_of
from eyeground.clinic.llm.writing import Written
from eyeground.clinic.records import EyeReview, Opinion
from eyeground.clinic.report.facts import Facts
from eyeground.clinic.reports import signed_facts
from eyeground.clinic.reviews import Doctor, OpinionRefused
from eyeground.clinic.seals import broken_seals
from eyeground.clinic.service import Service, signing_key
from eyeground.clinic.views import case_view

from .opened import SECRET, agreed_opinion, open_service_in, work_off
from .test_drafting import LI, drafted, in_review, message


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    made = open_service_in(tmp_path)
    yield made
    made.close()


@dataclass
class Meanwhile:
    """A model that writes well, and while it writes a doctor does something."""

    doing: Callable[[], object]

    def write(self, plan: Plan) -> Written:
        """The template's words, as a model's."""
        self.doing()
        prose = template_of(plan)
        return Written(fill(plan, prose), "local m", told=clauses(plan, prose))


def test_a_draft_that_comes_after_the_signature_changes_nothing_of_it(service: Service) -> None:
    [view] = in_review(service, message())
    before: list[Facts] = []

    def sign() -> None:
        opinion = agreed_opinion(view, narrative="I wrote every word of this by hand.")
        service.reviews.sign(view["id"], opinion, version=view["version"], doctor=Doctor("wang", "Dr Wang"))
        work_off(service, [])
        before.append(signed_facts(service, view["id"], language="en"))

    made = drafted(service, view, writer=Meanwhile(sign))
    assert (made.by, made.id) == ("template", 0)
    assert signed_facts(service, view["id"], language="en") == before[0]
    assert not before[0].drafted_by_ai


def test_a_draft_of_facts_that_were_changed_meanwhile_is_the_templates_of_what_they_are_now(service: Service) -> None:
    [view] = in_review(service, message())
    grade = (view["answered"]["values"]["fundus/OD"]["DR"] + 1) % 5
    opinion = Opinion(eyes={"fundus/OD": EyeReview(findings={"DR": grade})})
    made = drafted(
        service, view,
        writer=Meanwhile(lambda: service.reviews.save(view["id"], opinion, version=view["version"], doctor=LI)),
    )  # fmt: skip
    assert made.by == "template"
    assert [each["code"] for each in made.rejected] == ["changed"]
    assert f"grade {grade}," in made.texts["narrative"].split("\n")[0]
    with service.database.read() as session:
        assert [each.by for each in session.scalars(select(Draft))] == ["template"]


def test_a_draft_of_a_revision_that_is_over_is_not_kept(service: Service) -> None:
    [view] = in_review(service, message())

    def amend() -> None:
        version = service.reviews.sign(view["id"], agreed_opinion(view), version=view["version"], doctor=LI)
        work_off(service, [])
        with service.database.read() as session:
            version = case_view(session, view["id"])["version"]
        service.reviews.amend(view["id"], reason="a slip", version=version, doctor=LI)

    made = drafted(service, view, writer=Meanwhile(amend))
    assert (made.id, made.revision) == (0, 1)
    with service.database.read() as session:
        assert session.scalars(select(Draft)).all() == []


@pytest.mark.parametrize(("keeps", "marked"), [(True, True), (False, False)])
def test_the_mark_is_decided_when_it_is_signed_and_sealed(service: Service, keeps: bool, marked: bool) -> None:
    [view] = in_review(service, message())
    version = service.reviews.save(view["id"], agreed_opinion(view), version=view["version"], doctor=LI)
    made = drafted(service, view, version=version, writer=Meanwhile(lambda: None))
    assert made.by == "llm"
    narrative = made.texts["narrative"].split("\n")[0] if keeps else "My own words, typed by hand."
    service.reviews.sign(view["id"], agreed_opinion(view, narrative=narrative), version=version, doctor=LI)
    work_off(service, [])
    with service.database.write() as work:
        [review] = work.session.scalars(select(Review)).all()
        assert review.drafted_by == ("llm" if marked else "")
        work.session.add(
            Draft(
                case_id=view["id"], revision=1, language="zh", by="llm", facts_sha256="00", made_at=now(),
                texts={"narrative": "My own words, typed by hand."},
            )
        )  # fmt: skip
    assert signed_facts(service, view["id"], language="en").drafted_by_ai is marked
    with service.database.read() as session:
        assert broken_seals(session, key=signing_key(SECRET)) == []


def opinion_of(view: dict[str, Any], *, add: tuple[int, int] = (0, 0), **more: Any) -> Opinion:
    """What the models say, the grades of right and left changed by so much; the reason is given."""
    agreed = agreed_opinion(view, **more)
    eyes = {}
    for (key, eye), by in zip(sorted(agreed.eyes.items()), add, strict=True):
        eyes[key] = EyeReview(findings={**eye.findings, "DR": (eye.findings["DR"] + by) % 5}, reason="as I see it")
    return agreed.model_copy(update={"eyes": eyes})


def drafted_after(service: Service, view: dict[str, Any], opinion: Opinion, language: str = "en", **more: Any) -> str:
    """The narrative that is drafted of a saved opinion; the view's version is the new one then."""
    view["version"] = service.reviews.save(view["id"], opinion, version=view["version"], doctor=LI)
    return drafted(service, view, language, **more).texts["narrative"]


def refused(service: Service, view: dict[str, Any], opinion: Opinion) -> str:
    """Why it is not signed; empty when it is."""
    try:
        service.reviews.sign(view["id"], opinion, version=view["version"], doctor=LI)
    except OpinionRefused as why:
        return str(why)
    return ""


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("writer", [None, Meanwhile(lambda: None)], ids=["template", "llm"])
def test_a_narrative_of_other_grades_is_not_signed(service: Service, language: str, writer: Meanwhile | None) -> None:
    [view] = in_review(service, message())
    narrative = drafted_after(service, view, opinion_of(view), language, writer=writer)
    said = refused(service, view, opinion_of(view, add=(2, 0), narrative=narrative))
    assert "the draft was made from other findings: draft again, or rewrite these sentences: OD " in said
    assert narrative.split("\n")[0].split("。" if language == "zh" else ". ")[3] in said  # the grade of the right eye
    assert "OS " not in said
    again = drafted_after(service, view, opinion_of(view, add=(2, 0)), language, writer=writer)
    assert refused(service, view, opinion_of(view, add=(2, 0), narrative=again)) == ""


def test_eyes_that_change_places_are_told_apart(service: Service) -> None:
    """Each sentence still holds, of the other eye."""
    [view] = in_review(service, message())
    agreed = opinion_of(view)
    right, left = (agreed.eyes[f"fundus/{eye}"].findings["DR"] for eye in ("OD", "OS"))
    by = 1 if right == left else 0
    first = opinion_of(view, add=(by, 0))
    narrative = drafted_after(service, view, first)
    swapped = opinion_of(view, add=((left - right) % 5, (right + by - left) % 5), narrative=narrative)
    said = refused(service, view, swapped)
    assert "OD Diabetic retinopathy" in said
    assert "OS Diabetic retinopathy" in said


def test_the_same_grade_of_both_eyes_told_twice_holds_of_one(service: Service) -> None:
    """Whoever takes out the eyes' names: a sentence that stands twice has to hold twice."""
    [view] = in_review(service, message())
    grades = [each.findings["DR"] for each in opinion_of(view).eyes.values()]
    same = opinion_of(view, add=(0, (grades[0] - grades[1]) % 5))
    narrative = drafted_after(service, view, same)
    bare = narrative.replace("Right eye (OD): ", "").replace("Left eye (OS): ", "")
    other = opinion_of(view, add=(1, (grades[0] - grades[1]) % 5), narrative=bare)
    assert "OD Diabetic retinopathy" in refused(service, view, other)
    assert refused(service, view, same.model_copy(update={"narrative": bare})) == ""


def test_what_the_models_said_is_not_the_doctors_word(service: Service) -> None:
    """A draft from before anything was judged says AI detected; once judged, that is not what is signed."""
    [view] = in_review(service, message())
    narrative = drafted(service, view).texts["narrative"]
    assert "AI detected" in narrative
    assert "AI detected" in refused(service, view, opinion_of(view, narrative=narrative))
    after = drafted_after(service, view, opinion_of(view))
    assert "AI" not in after
    assert refused(service, view, opinion_of(view, narrative=after)) == ""


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("", "", True),
        (":", " -", True),  # punctuation and blanks make no other sentence
        ("Diabetic", "The diabetic", True),
        ("Diabetic retinopathy", "I graded it", False),
        ("grade ", "an outdated grade of ", False),
    ],
)
def test_sentences_that_a_doctor_rewrote_are_his(service: Service, old: str, new: str, *, expected: bool) -> None:
    [view] = in_review(service, message())
    narrative = drafted_after(service, view, opinion_of(view)).replace(old, new)
    said = refused(service, view, opinion_of(view, add=(2, 2), narrative=narrative))
    assert ("other findings" in said) is expected


def test_a_sentence_that_begins_as_an_old_one_is_not_it(service: Service) -> None:
    [view] = in_review(service, message())
    key = "fundus/OD"

    def seen(*names: str) -> Opinion:
        agreed = opinion_of(view)
        eye = agreed.eyes[key]
        findings = {name: int(name in names) for name in eye.findings if name != "DR"} | {"DR": eye.findings["DR"]}
        return agreed.model_copy(update={"eyes": {**agreed.eyes, key: EyeReview(findings=findings, reason="x")}})

    drafted_after(service, view, seen("AMD"))
    longer = drafted_after(service, view, seen("AMD", "GLA"))
    assert refused(service, view, seen("AMD", "GLA").model_copy(update={"narrative": longer})) == ""


def test_an_amendment_begins_with_a_narrative_of_what_was_signed_before(service: Service) -> None:
    [view] = in_review(service, message())
    narrative = drafted_after(service, view, opinion_of(view))
    assert refused(service, view, opinion_of(view, narrative=narrative)) == ""
    work_off(service, [])
    with service.database.read() as session:
        version = case_view(session, view["id"])["version"]
    view["version"] = service.reviews.amend(view["id"], reason="a slip", version=version, doctor=LI)
    assert "other findings" in refused(service, view, opinion_of(view, add=(1, 0), narrative=narrative))


def test_a_refusal_repeats_no_word_of_a_doctor(service: Service) -> None:
    [view] = in_review(service, message())
    agreed = opinion_of(view)
    blind = {**agreed.eyes, "fundus/OD": EyeReview(ungradable=True, reason="Frau Quillfeather blinked")}
    narrative = drafted_after(service, view, agreed.model_copy(update={"eyes": blind}))
    assert "Quillfeather" in narrative
    said = refused(service, view, opinion_of(view, narrative=narrative))
    assert "OD Findings of the fundus" in said
    assert "Quillfeather" not in said
