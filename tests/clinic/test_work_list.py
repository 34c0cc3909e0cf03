"""The work list: filters, search, pages, and what a line says."""

import json
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from eyeground.clinic.blobs.store import digest_of
from eyeground.clinic.db.people import Account
from eyeground.clinic.grader import Reading
from eyeground.clinic.intake import Arrived
from eyeground.clinic.leads import Lead
from eyeground.clinic.records import EyeReview, Opinion, Said
from eyeground.clinic.reviews import Doctor
from eyeground.clinic.service import Service
from eyeground.clinic.views import case_view
from eyeground.clinic.waiting import count_waiting, midnight
from eyeground.clinic.work_list import FILTERS, Line, work_list

from .constant_grader import ConstantGrader
from .opened import account_of, agreed_opinion, encoded, open_service_in, photo, work_off
from .servers import postgres_url

LI, CHEN = Doctor("li", "Dr Li"), Doctor("chen", "Dr Chen")
FINDINGS = ("AMD", "CSC", "RP", "ON", "GLA", "RVO", "DR")


@pytest.fixture(params=["sqlite", "postgres"])
def service(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Service]:
    with postgres_url() if request.param == "postgres" else nullcontext("") as url:
        made = open_service_in(tmp_path, database_url=url)
        yield made
        made.close()


class Cases:
    """Cases whose answers are said beforehand."""

    def __init__(self, service: Service) -> None:
        self.service, self.answers = service, dict[str, Reading]()

    def add(self, id: str, od: int | None, os: int | None = 0, *, site: str = "default", **person: Any) -> str:
        """A case with these grades of retinopathy; None cannot be graded."""
        photos = []
        for eye, grade in (("OD", od), ("OS", os)):
            data = photo(f"{id} {eye}")
            said = {name: Said(value=0, score=0.9) for name in FINDINGS} | {"DR": Said(value=grade or 0, score=0.7)}
            self.answers[digest_of(data)] = (
                Reading("cannot grade: too dark") if grade is None else Reading("good", said=said)
            )
            photos.append({"name": f"{id}_{eye}.png", "eye": eye, "data": encoded(data)})
        told = {"message_id": id, "Patient": {"patient_id": f"P-{id}", **person, "photos": photos}}
        [outcome] = self.service.intake.admit([Arrived("screening", json.dumps(told).encode(), site)])
        work_off(self.service, [ConstantGrader(answers=self.answers)])
        return outcome.case_id

    def view(self, case_id: str) -> dict[str, Any]:
        with self.service.database.read() as session:
            return case_view(session, case_id)

    def save(self, case_id: str, doctor: Doctor, *, grade: int | None = None, sign: bool = False) -> None:
        """Say what the models say, or another grade of the right eye."""
        view = self.view(case_id)
        opinion = agreed_opinion(view)
        if grade is not None:
            eyes = {**opinion.eyes, "fundus/OD": EyeReview(findings={"DR": grade}, reason="seen otherwise")}
            opinion = opinion.model_copy(update={"eyes": eyes})
        act = self.service.reviews.sign if sign else self.service.reviews.save
        act(case_id, opinion, version=view["version"], doctor=doctor)


@pytest.fixture
def cases(service: Service) -> Cases:
    return Cases(service)


def ids(service: Service, **asked: Any) -> list[str]:
    return [line.request_id for line in lines(service, **asked)]


def lines(service: Service, **asked: Any) -> list[Line]:
    with service.database.read() as session:
        return work_list(session, **asked)


def test_each_filter_lets_through_what_it_says(service: Service, cases: Cases) -> None:
    found = {
        name: cases.add(name, *grades)
        for name, grades in {
            "ill": (4, 0), "dark": (None, 0), "fine": (0, 0), "argued": (0, 0), "agreed": (1, 0), "graded": (0, None),
        }.items()
    }  # fmt: skip
    cases.save(found["argued"], LI, grade=3)
    cases.save(found["agreed"], CHEN)
    assert set(ids(service)) == set(found)
    assert ids(service)[0] == "ill"
    assert set(ids(service, filter="urgent")) == {"ill", "dark", "graded"}
    assert set(ids(service, filter="ungradable")) == {"dark", "graded"}
    assert ids(service, filter="mine", account="li") == ["argued"]
    assert ids(service, filter="mine", account="chen") == ["agreed"]
    assert ids(service, filter="mine", account="nobody") == []
    assert ids(service, filter="disagreement") == ["argued"]
    view = cases.view(found["graded"])
    opinion = Opinion(
        eyes={eye: EyeReview(findings={"DR": 0}, reason="good enough") for eye in ("fundus/OD", "fundus/OS")},
        conclusion="x",
    )
    service.reviews.sign(found["graded"], opinion, version=view["version"], doctor=LI)
    assert ids(service, filter="disagreement", states=("signed",)) == ["graded"]
    assert set(ids(service, filter="disagreement", states=())) == {"argued", "graded"}
    assert set(ids(service, filter="mine", account="li", states=())) == {"argued", "graded"}


def test_pages_of_every_filter_leave_nothing_out_and_show_nothing_twice(service: Service, cases: Cases) -> None:
    for number in range(7):
        cases.save(cases.add(f"m{number}", number % 2 and 4, None if number % 3 else 1), LI, grade=2)
    for filter in FILTERS:
        whole = ids(service, filter=filter, account="li")
        assert len(whole) > 2
        pages = [ids(service, filter=filter, account="li", most=2, skip=skip) for skip in range(0, 8, 2)]
        assert [each for page in pages for each in page] == whole


def test_a_patient_is_found_by_part_of_id_or_name(service: Service, cases: Cases) -> None:
    cases.add("a1", 0, name="扎西 Tashi")
    cases.add("a2", 0, name="100%_sure")
    cases.add("B3", 0, name="Li\\Wei")
    assert ids(service, search="扎") == ids(service, search="TASHI") == ids(service, search="tash") == ["a1"]
    assert ids(service, search="p-b") == ids(service, search="\\") == ["B3"]
    assert ids(service, search="%") == ids(service, search="_") == ["a2"]
    assert ids(service, search="p-") == ["a1", "a2", "B3"]
    assert ids(service, search="zzz") == []
    assert ids(service, search="' or 1=1 --") == []
    assert ids(service, search="a1", site="elsewhere") == []


def test_a_line_says_who_writes_and_what_is_worst(service: Service, cases: Cases) -> None:
    account_of(service, "li", "doctor", title="Dr Li")
    case_id = cases.add("m1", 2, None)
    [line] = lines(service)
    assert (line.draft_doctor, line.urgent, line.blind, line.waiting_since) == ("", True, False, line.received_at)
    assert line.leads == {"fundus/OD": (Lead("DR", 2, 0.7),)}
    assert line.quality["fundus/OS"] == "cannot grade: too dark"
    assert line.unavailable["fundus/OS"] == "cannot_grade"
    assert line.shown_eyes == ("fundus/OD", "fundus/OS")
    cases.save(case_id, LI)
    [line] = lines(service)
    assert (line.draft_doctor, line.draft_doctor_name) == ("li", "Dr Li")
    with service.database.write() as work:
        account = work.session.get(Account, "li")
        assert account is not None
        account.title = "Professor Li"
    assert lines(service)[0].draft_doctor_name == "Professor Li"


def test_what_was_signed_today_says_what_the_doctor_said(service: Service, cases: Cases) -> None:
    early, late, waits = (cases.add(name, 4, None) for name in ("early", "late", "waits"))
    cases.save(early, LI, grade=1, sign=True)
    cases.save(late, CHEN, sign=True)
    work_off(service, [])
    cases.save(waits, LI)
    since = midnight("UTC")
    found = lines(service, states=("signed", "released", "amended"), signed_since=since)
    assert [line.request_id for line in found] == ["late", "early"]
    assert found[1].leads["fundus/OD"] == (Lead("DR", 1, None),)
    assert found[1].eyes["fundus/OD"]["DR"] == 4
    assert found[1].unavailable["fundus/OS"] == "cannot_grade"
    assert (found[1].signed_by, found[1].draft_doctor) == ("Dr Li", "")
    assert lines(service, states=(), signed_since="2999-01-01") == []
    view = cases.view(early)
    service.reviews.amend(early, reason="typing error", version=view["version"], doctor=CHEN)
    amended = next(line for line in lines(service) if line.request_id == "early")
    assert (amended.state, amended.draft_doctor) == ("amended", "chen")
    assert amended.waiting_since > amended.received_at
    again = lines(service, states=("signed", "released", "amended"), signed_since=since)
    assert [line.request_id for line in again] == ["late", "early"]


def test_counts_are_those_of_the_lists(service: Service, cases: Cases) -> None:
    def counted(**more: Any) -> Any:
        with service.database.read() as session:
            return count_waiting(session, site=more.pop("site", ""), since=midnight("UTC"), **more)

    assert (counted().work, counted().newest, counted().dead_letters) == (0, "", None)
    first, second, _ = cases.add("m1", 4), cases.add("m2", 0), cases.add("m3", 4, site="elsewhere")
    service.intake.admit([Arrived("check", b"nonsense", "default")])
    told = counted(letters=True)
    assert (told.work, told.urgent, told.signed_today, told.dead_letters) == (3, 2, 0, 1)
    assert told.newest == max(cases.view(line.id)["changed_at"] for line in lines(service))
    cases.save(first, LI, sign=True)
    assert (counted().work, counted().urgent, counted().signed_today) == (2, 1, 1)
    assert counted(site="elsewhere", letters=True).work == 1
    assert (counted(site="elsewhere").signed_today, counted(site="elsewhere", letters=True).dead_letters) == (0, 0)
    before = counted().newest
    cases.save(second, LI)
    assert counted().newest > before


def test_midnight_is_that_of_the_zone() -> None:
    shanghai, utc = midnight("Asia/Shanghai"), midnight("UTC")
    assert shanghai[11:] == "16:00:00.000000Z"
    assert utc[11:] == "00:00:00.000000Z"
    assert shanghai != utc
