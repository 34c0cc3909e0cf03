"""What a patient sees: only what is signed and released, and nothing called unremarkable that nobody knows of."""

import random
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from eyeground.clinic import patient_view
from eyeground.clinic.db.opinions import Draft
from eyeground.clinic.findings import FINDINGS
from eyeground.clinic.intake import Arrived
from eyeground.clinic.patient_view import Language, PatientReport, deadline, patient_report
from eyeground.clinic.records import EyeReview, Opinion
from eyeground.clinic.reviews import Doctor
from eyeground.clinic.service import Service
from eyeground.clinic.urgency import read_rules, rule_sets
from eyeground.clinic.views import case_view

from .constant_grader import ConstantGrader
from .opened import agreed_opinion, open_service_in, patient_message, work_off

LI = Doctor("li", "Dr Li")
FINE = {"AMD": 0, "CSC": 0, "RP": 0, "ON": 0, "GLA": 0, "RVO": 0, "DR": 0}


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    """A service that releases what is signed."""
    found = open_service_in(
        tmp_path / "clinic", site="here", site_title="The Site", contact="Call 120", timezone="Asia/Shanghai"
    )
    yield found
    found.close()


class Visit:
    """One case, and what is done to it."""

    def __init__(self, service: Service, message_id: str = "m1", **more: Any) -> None:
        self.service = service
        message = patient_message(message_id, **more)
        [outcome] = service.intake.admit([Arrived("http", message, "here", door="screening")])
        self.id = outcome.case_id
        work_off(service, [ConstantGrader()])

    @property
    def view(self) -> dict[str, Any]:
        """As doctors see it."""
        with self.service.database.read() as session:
            return case_view(session, self.id)

    def report(self, language: Language = "en") -> PatientReport:
        """As the patient sees it."""
        with self.service.database.read() as session:
            return patient_report(session, self.id, language=language, settings=self.service.settings)

    def opinion(self, right: EyeReview | None = None, left: EyeReview | None = None, **more: Any) -> Opinion:
        """Agreed with the models, but for what is given."""
        agreed = agreed_opinion(self.view, **more)
        given = {"fundus/OD": right, "fundus/OS": left}
        return agreed.model_copy(update={"eyes": {**agreed.eyes, **{key: each for key, each in given.items() if each}}})

    def sign(self, opinion: Opinion | None = None, *, release: bool = True) -> PatientReport:
        """Sign, and release."""
        self.service.reviews.sign(self.id, opinion or self.opinion(), version=self.view["version"], doctor=LI)
        if release:
            work_off(self.service, [])
        return self.report()

    def amend(self) -> None:
        """Open it again."""
        self.service.reviews.amend(self.id, reason="a slip", version=self.view["version"], doctor=LI)


def graded(**findings: int) -> EyeReview:
    """An eye with findings that differ from whatever the model says."""
    return EyeReview(findings={**FINE, **findings}, reason="looked at it")


UNGRADABLE = EyeReview(ungradable=True, reason="haze")


def test_nothing_is_shown_before_it_is_signed_and_released(service: Service) -> None:
    visit = Visit(service, patient={"name": "Tenzin"})
    draft = visit.opinion(conclusion="only a draft", recommendation="not yet")
    service.reviews.save(visit.id, draft, version=visit.view["version"], doctor=LI)
    assert visit.report() == PatientReport(
        standing="reviewing", language="en", site="The Site", contact="Call 120", name="Tenzin"
    )
    assert visit.sign(draft, release=False).result is None
    work_off(service, [])
    report = visit.report()
    assert report.standing == "ready"
    assert report.result is not None
    assert (report.result.conclusion, report.result.recommendation) == ("only a draft", "not yet")
    assert (report.revision, report.result.version, report.result.replaces_at) == (1, 1, "")
    assert report.result.doctor == "Dr Li"
    assert report.result.models == ["Constant 1.0"]
    assert [(photo.place, photo.eye) for photo in report.result.photos] == [(0, "OD"), (1, "OS")]


def test_what_went_out_unsigned_is_not_shown(tmp_path: Path) -> None:
    service = open_service_in(tmp_path / "clinic", site="here", release="unsigned")
    visit = Visit(service)
    assert visit.view["state"] == "released"
    assert visit.view["answers"][0]["revision"] == 0
    assert visit.report().standing == "reviewing"
    visit.amend()
    service.reviews.save(visit.id, visit.opinion(conclusion="a draft"), version=visit.view["version"], doctor=LI)
    assert visit.report().result is None
    assert visit.sign().standing == "ready"
    result = visit.report().result
    assert result is not None
    assert (result.version, result.replaces_at) == (1, "")  # the first that a doctor signed
    service.close()


def test_while_it_is_amended_the_last_version_stays_and_says_so(service: Service) -> None:
    visit = Visit(service)
    first = visit.sign(visit.opinion(conclusion="the first")).result
    visit.amend()
    assert visit.report().standing == "revising"
    service.reviews.save(visit.id, visit.opinion(conclusion="the second"), version=visit.view["version"], doctor=LI)
    assert visit.report().result == first
    assert visit.sign(visit.opinion(conclusion="the second"), release=False).result == first
    work_off(service, [])
    report = visit.report()
    assert report.standing == "ready"
    assert first is not None
    assert report.result is not None
    assert (report.result.conclusion, report.result.version) == ("the second", 2)
    assert report.result.replaces_at == first.signed_at


def test_the_urgency_is_that_of_the_version_that_is_shown(service: Service) -> None:
    visit = Visit(service)
    first = visit.sign(visit.opinion(graded(), graded())).result
    visit.amend()
    later = visit.sign(visit.opinion(graded(ON=1), graded()), release=False).result
    assert visit.view["urgency"] == "refer_1_week"
    assert first is not None
    assert later is not None
    assert later.todo == first.todo
    assert not first.todo.refer
    work_off(service, [])
    released = visit.report().result
    assert released is not None
    assert released.todo.refer


def test_a_patient_reads_one_deadline_and_why(service: Service) -> None:
    pressed = {"vision_data": {"right_eye": "1.0", "intraocular_pressure": {"right": 44, "left": 15}}}
    visit = Visit(service, patient=pressed)
    preset = "6～12 个月后复查"
    told = visit.sign(visit.opinion(graded(), graded(), recommendation=f" {preset} ")).result
    assert told is not None
    assert told.recommendation == "", "a later day of the rules' own is not printed beside the earlier one"
    assert told.todo.refer
    assert told.todo.because == ["The pressure in your right eye was high: 44 mmHg"]
    assert told.todo.text.startswith("This is urgent: see an eye doctor today (")
    visit.amend()
    again = visit.sign(visit.opinion(graded(), graded(), recommendation="drops twice a day")).result
    assert again is not None
    assert again.recommendation == "drops twice a day"


def test_an_amendment_that_leaves_the_urgency_does_not_put_the_day_off(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    visit, days = Visit(service), []
    moments = iter(["2026-11-30T10:00:00.000000Z", "2027-01-05T10:00:00.000000Z", "2027-02-01T10:00:00.000000Z"])
    monkeypatch.setattr("eyeground.clinic.patient_view.now", lambda: "2027-02-01T12:00:00.000000Z")
    for right in (graded(DR=3), graded(DR=3), graded(DR=4)):
        moment = next(moments)
        monkeypatch.setattr("eyeground.clinic.reviews.now", lambda moment=moment: moment)
        result = visit.sign(visit.opinion(right, graded())).result
        assert result is not None
        days.append(result.todo.by)
        visit.amend()
    assert days == ["2027-02-28", "2027-02-28", "2027-03-01"]
    monkeypatch.setattr("eyeground.clinic.patient_view.now", lambda: "2027-03-01T15:59:00.000000Z")
    assert not visit.report().result.todo.passed  # type: ignore[union-attr]
    monkeypatch.setattr("eyeground.clinic.patient_view.now", lambda: "2027-03-01T16:01:00.000000Z")  # midnight there
    assert visit.report().result.todo.passed  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("signed", "within", "last"),
    [
        (date(2026, 11, 28), "1 week", date(2026, 12, 5)), (date(2026, 11, 30), "3 months", date(2027, 2, 28)),
        (date(2027, 11, 30), "3 months", date(2028, 2, 29)), (date(2026, 12, 31), "1 month", date(2027, 1, 31)),
        (date(2026, 1, 1), "12 months", date(2027, 1, 1)), (date(2028, 2, 29), "1 year", date(2029, 2, 28)),
        (date(2026, 11, 28), "10 days", date(2026, 12, 8)), (date(2026, 11, 28), "", None),
        (date(2026, 11, 28), "soon", None), (date(2026, 11, 28), "2 quarters", None),
        (date(2026, 11, 28), "1 2 months", None),
    ],
)  # fmt: skip
def test_an_interval_ends_on_a_day(signed: date, within: str, last: date | None) -> None:
    assert deadline(signed, within) == last


CALM = ("Nothing unusual was found", "nothing unusual was found")


@pytest.mark.parametrize(
    ("right", "text"),
    [
        (graded(), "Nothing unusual was found in your right eye."),
        (
            EyeReview(findings={"DR": 0}, reason="r"),
            "In what was examined of your right eye, nothing unusual was found.",
        ),
        (graded(DR=1), "Your right eye shows signs of: slight changes of the retina from diabetes."),
        (
            graded(DR=4, RVO=1),
            "Your right eye shows signs of: very advanced changes of the retina from diabetes, which can threaten your "
            "sight; a blocked vein of the retina.",
        ),
        (
            UNGRADABLE,
            "The photograph of the inside of your right eye could not be judged; please have a new photograph taken.",
        ),
    ],
)  # fmt: skip
def test_each_eye_has_a_sentence(service: Service, right: EyeReview, text: str) -> None:
    visit = Visit(service)
    result = visit.sign(visit.opinion(right, graded())).result
    assert result is not None
    assert [(eye.eye, eye.text) for eye in result.eyes] == [
        ("OD", text), ("OS", "Nothing unusual was found in your left eye."),
    ]  # fmt: skip


def test_an_eye_without_a_photograph_is_not_called_fine(service: Service) -> None:
    visit = Visit(service, photos=[{"name": "a_OD.png", "eye": "OD", "data": "iVBORw0KGgo="}])
    result = visit.sign(visit.opinion(graded())).result
    assert result is not None
    assert result.eyes[1].text == "Your left eye was not examined."
    assert result.eyes[1].looked_for == []
    assert result.todo.text == "Have your other eye examined, too"


def test_what_cannot_be_graded_is_never_calm(service: Service) -> None:
    chance = random.Random(4)
    for number in range(25):
        visit = Visit(service, f"m{number}")
        choices = [UNGRADABLE, graded(), graded(DR=chance.randint(1, 4)), EyeReview(findings={"DR": 0}, reason="r")]
        right, left = chance.choice(choices), chance.choice(choices)
        result = visit.sign(visit.opinion(right, left)).result
        assert result is not None
        for review, eye in zip((right, left), result.eyes, strict=True):
            calm = any(words in eye.text for words in CALM)
            assert calm == (not review.ungradable and not any(review.findings.values()))
            assert ("could not be judged" in eye.text) == review.ungradable
        if right.ungradable or left.ungradable:
            assert result.todo.refer


@pytest.mark.parametrize("language", ["zh", "en"])
def test_every_finding_and_every_urgency_has_its_words(language: Language) -> None:
    words = patient_view._words()
    for findings in FINDINGS.values():
        for name, most in findings.items():
            assert words["looked_for"][name][language]
            assert all(words["findings"][name][str(value)][language] for value in range(1, most + 1))
    for rules in map(read_rules, rule_sets()):
        for level in rules.levels:
            last = deadline(date(2026, 11, 28), level.within)
            assert (last is None) == (not level.within), (
                f"{rules.title} {level.word}: an interval that is not understood"
            )
    flat = [each for table in words.values() for each in table.values() if set(each) == {"zh", "en"}]
    assert len(flat) > 20
    assert all(("{" in each["zh"]) == ("{" in each["en"]) for each in flat)


def test_a_request_for_texts_shows_the_doctors_texts_and_their_mark(service: Service) -> None:
    body = '{"id": "r1", "osFundusDisease": "糖尿病视网膜病变"}'.encode()
    [outcome] = service.intake.admit([Arrived("report", body, "here")])
    work_off(service, [])
    visit = Visit.__new__(Visit)
    visit.service, visit.id = service, outcome.case_id
    names, drafted = ("anteriorReport", "anteriorInterpret", "fundusReport", "fundusInterpret"), "右眼眼底所见如下："
    with service.database.write() as work:
        work.session.add(
            Draft(
                case_id=visit.id, revision=1, language="zh", by="llm", model="a/b", rejected=[],
                texts={"fundusReport": drafted}, facts_sha256="0", made_at="2026-11-28T00:00:00.000000Z",
            )
        )  # fmt: skip
    result = visit.sign(Opinion(texts={name: f"{drafted} {name}" for name in names})).result
    assert result is not None
    assert result.texts == [f"{drafted} {name}" for name in names]
    assert result.texts_by_ai
    assert result.eyes == []
    assert result.todo.text == "Read what your doctor writes below"


def lives(service: Service, seed: int, steps: int, *, show: Any = None) -> list[str]:
    """Do things to a case at random; what a patient saw that was not signed and released, or missed that was."""
    chance, faults = random.Random(seed), []
    visit = Visit(service, f"life{seed}")
    show = show or visit.report
    released = signed = ""
    hidden: set[str] = set()
    for step in range(steps):
        word = f"word{seed}x{step}x"
        view, reviews = visit.view, service.reviews
        told = visit.opinion(conclusion=word, recommendation=word, narrative=f"n{word}")
        deeds = {
            "in_review": ["save", "save", "sign", "reread"], "amended": ["save", "save", "sign"],
            "released": ["amend", "nothing"], "signed": ["work", "nothing"], "received": ["work", "nothing"],
        }[view["state"]]  # fmt: skip
        deed = chance.choice(deeds)
        if deed == "save":
            reviews.save(visit.id, told, version=view["version"], doctor=LI)
            hidden.add(word)
        elif deed == "sign":
            reviews.sign(visit.id, told, version=view["version"], doctor=LI)
            hidden.add(word)
            signed = word
        elif deed == "reread":
            reviews.reread(visit.id, version=view["version"], doctor=LI)
        elif deed == "amend":
            visit.amend()
        elif deed == "work":
            was = view["state"]
            work_off(service, [ConstantGrader()])
            if was == "signed":
                hidden = (hidden | {released}) - {signed, ""}
                released = signed
        page = str(show().model_dump_json())
        faults += [f"{seed}.{step} {deed}: shows {each}" for each in hidden if each in page]
        if released and f'"conclusion":"{released}"' not in page:
            faults.append(f"{seed}.{step} {deed}: does not show {released}")
        if not released and '"result":null' not in page:
            faults.append(f"{seed}.{step} {deed}: shows something")
    return faults


@pytest.mark.parametrize(
    ("release", "count", "steps"),
    [
        ("signed", 4, 15), ("unsigned", 4, 15),
        pytest.param("signed", 40, 60, marks=pytest.mark.slow),
        pytest.param("unsigned", 40, 60, marks=pytest.mark.slow),
    ],
)  # fmt: skip
def test_whatever_happens_to_a_case_its_patient_sees_the_last_signed_and_released_version(
    tmp_path: Path, release: str, count: int, steps: int
) -> None:
    service = open_service_in(tmp_path / "clinic", site="here", release=release)
    assert [fault for seed in range(count) for fault in lives(service, seed, steps)] == []
    service.close()


def test_a_page_that_shows_what_is_signed_before_it_is_released_is_found_out(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    def signed_ones(session: Any, case_id: str) -> list[Any]:
        return [each for each in patient_view.reviews_of(session, case_id) if each.signed_at]

    monkeypatch.setattr(patient_view, "_released", signed_ones)
    assert [fault for seed in range(3) for fault in lives(service, seed, 15)]
