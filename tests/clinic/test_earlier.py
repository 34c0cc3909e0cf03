"""Earlier visits: the same patient, the same site, before this one."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from eyeground.clinic.db.tables import Case
from eyeground.clinic.earlier import earlier_of
from eyeground.clinic.intake import Arrived
from eyeground.clinic.records import EyeReview, Opinion
from eyeground.clinic.reviews import Doctor
from eyeground.clinic.service import Service

from .constant_grader import ConstantGrader
from .opened import open_service_in, patient_message, work_off

LI = Doctor("li", "Dr Li")


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    made = open_service_in(tmp_path)
    yield made
    made.close()


def visit(service: Service, id: str, patient: str, *, site: str = "default", time: str = "") -> str:
    told = json.loads(patient_message(id, patient={"patient_id": patient, "name": "扎西"}))
    body = json.dumps(told | ({"screening_time": time} if time else {})).encode()
    [outcome] = service.intake.admit([Arrived("screening", body, site)])
    work_off(service, [ConstantGrader()])
    return outcome.case_id


def earlier(service: Service, case_id: str, **more: Any) -> list[dict[str, Any]]:
    with service.database.read() as session:
        case = session.get(Case, case_id)
        assert case is not None
        return earlier_of(session, case, **more)


def test_only_the_same_patient_of_the_same_site_came_before(service: Service) -> None:
    first, _, _ = visit(service, "v1", "P1"), visit(service, "v2", "P2"), visit(service, "v3", "P1", site="elsewhere")
    second = visit(service, "v4", "P1")
    third = visit(service, "v5", "P1")
    assert earlier(service, first) == []
    assert [each["id"] for each in earlier(service, second)] == [first]
    assert [each["id"] for each in earlier(service, third)] == [second, first]


def test_a_patient_without_a_number_has_no_earlier_visits(service: Service) -> None:
    ids = [visit(service, f"v{number}", "P1") for number in range(2)]
    with service.database.write() as work:
        for id in ids:
            case = work.session.get(Case, id)
            assert case is not None
            case.patient_id = ""
    assert earlier(service, ids[1]) == []


def test_the_doctor_s_word_goes_before_the_models(service: Service) -> None:
    first, second = visit(service, "v1", "P1"), visit(service, "v2", "P1")
    [told] = earlier(service, second)
    assert set(told["values"]) == {"fundus/OD", "fundus/OS"}
    assert (told["signed_at"], told["state"]) == ("", "in_review")
    assert earlier(service, second, signed_only=True)[0]["values"] == {}
    eyes = {
        "fundus/OD": EyeReview(findings={"DR": 4}, reason="seen"), "fundus/OS": EyeReview(ungradable=True, reason="x")
    }  # fmt: skip
    opinion = Opinion(eyes=eyes, conclusion="x")
    with service.database.read() as session:
        case = session.get(Case, first)
        assert case is not None
        version = case.version
    service.reviews.sign(first, opinion, version=version, doctor=LI)
    for signed_only in (False, True):
        [told] = earlier(service, second, signed_only=signed_only)
        assert told["values"] == {"fundus/OD": {"DR": 4}}
        assert told["signed_at"]
    assert told["images"] == [
        {"place": 0, "part": "fundus", "eye": "OD"},
        {"place": 1, "part": "fundus", "eye": "OS"},
    ]


def test_a_long_history_is_cut_at_twenty(service: Service) -> None:
    ids = [visit(service, f"v{number:02d}", "P1") for number in range(22)]
    assert [each["id"] for each in earlier(service, ids[-1])] == ids[-2:0:-1]


def blind_to(service: Service, case_id: str) -> dict[str, Any]:
    """The one visit before, as a doctor sees it who reads first."""
    [told] = earlier(service, case_id, account="li", blind=True)
    return told


def test_a_visit_tells_its_models_only_to_whom_the_visit_itself_tells_them(service: Service) -> None:
    first, second = visit(service, "v1", "P1"), visit(service, "v2", "P1")
    assert blind_to(service, second)["values"] == {}
    eyes = {f"fundus/{eye}": EyeReview(findings={"DR": 1}) for eye in ("OD", "OS")}
    with service.database.read() as session:
        version = session.get_one(Case, first).version
    service.reviews.first_read(first, Opinion(eyes=eyes), version=version, doctor=LI)
    assert set(blind_to(service, second)["values"]) == {"fundus/OD", "fundus/OS"}
    assert earlier(service, second, account="wu", blind=True)[0]["values"] == {}


def test_visits_come_in_the_order_in_which_they_were_not_in_which_they_arrived(service: Service) -> None:
    ids = {
        time: visit(service, f"v{number}", "P1", time=time)
        for number, time in enumerate(
            (
                "2026-05-01",
                "0001-01-01T00:00:00+14:00",
                "2024-05-01T08:00",
                "",
                "2024-05-01T08:00:00+08:00",
                "2026-05-01",
            )
        )
    }
    before = [each["visit_time"] for each in earlier(service, ids["2026-05-01"])]  # the last to arrive of that day
    assert before[:2] == ["2026-05-01", "2024-05-01T08:00"]
    assert before[2:] == ["2024-05-01T08:00:00+08:00", "0001-01-01T00:00:00+14:00"]
    assert earlier(service, ids["0001-01-01T00:00:00+14:00"]) == []
    assert len(earlier(service, ids[""])) == 5  # it arrived today
