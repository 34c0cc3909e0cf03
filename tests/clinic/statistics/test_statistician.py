"""Statistics of a database: what is counted, whose, and how often."""

from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from eyeground.clinic.service import Service
from eyeground.clinic.statistics import rows
from eyeground.clinic.statistics.agreement import GRADABLE, Agreement
from eyeground.clinic.statistics.drift import REFERENCE_IMAGES
from eyeground.clinic.statistics.statistician import Days, Statistician, Statistics

from ..constant_grader import ConstantGrader
from ..opened import open_service_in
from ..populated import populated_in
from ..servers import postgres_url
from .seeded import Seeded

YES, NO = {"value": 1, "score": 0.9}, {"value": 0, "score": 0.1}
UNGRADABLE = {"ungradable": True, "reason": "blurred"}


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    """An empty service."""
    found = open_service_in(tmp_path / "clinic")
    yield found
    found.close()


def seeded(service: Service) -> Seeded:
    """What puts rows into it."""
    return Seeded(service.database.engine)


def counted(service: Service, *, site: str = "", days: Days = Days.MONTH, **more: Any) -> Statistics:
    """Its statistics, counted now."""
    return Statistician(service.database, timezone="Asia/Shanghai", kept_s=0, **more).of(site=site, days=days)


def of(found: Statistics, finding: str, source: str = "signed") -> Agreement:
    """The agreement in one finding."""
    return next(each for each in found.agreement if (each.finding, each.source) == (finding, source))


def test_nothing_is_counted_where_there_is_nothing(service: Service) -> None:
    found = counted(service)
    assert (found.agreement, found.rates, found.drift, found.cut) == ((), (), (), False)
    assert len(found.waits.days) == 30
    assert found.waits.whole.median_h.why == "nothing"
    assert all((each.now, each.arrived) in ((0, 0), (None, 0)) for each in found.states)


def test_states_are_those_of_now_and_of_the_days(service: Service) -> None:
    rows_ = seeded(service)
    rows_.case(1)
    rows_.case(2, hours_ago=24 * 60)
    rows_.case(3, state="released")
    rows_.case(4, state="released", hours_ago=24 * 60)
    rows_.write()
    found = {each.state: (each.now, each.arrived) for each in counted(service).states}
    assert (found["in_review"], found["released"], found["signed"]) == ((2, 1), (None, 1), (0, 0))
    assert {each.state: each.arrived for each in counted(service, days=Days.QUARTER).states}["released"] == 2


def test_doctors_are_held_against_what_the_models_said(service: Service) -> None:
    rows_ = seeded(service)
    for number, (models, doctor) in enumerate([(YES, 1), (YES, 0), (NO, 0), (NO, 0)]):
        case_id = rows_.case(number, said={"OD": {"AMD": models}, "OS": {"AMD": NO}})
        rows_.signed(case_id, {"fundus/OD": {"findings": {"AMD": doctor}}, "fundus/OS": UNGRADABLE})
        rows_.signed(case_id, {"fundus/OD": {"findings": {"AMD": 1 - doctor}}}, first=True)
    rows_.write()
    found = counted(service)
    assert of(found, "AMD").matrix == ((2, 1), (0, 1))
    assert of(found, "AMD", "first_read").matrix == ((0, 1), (2, 1))
    assert of(found, GRADABLE).matrix == ((4, 0), (4, 0))


def test_an_eye_that_no_model_answered_is_not_compared(service: Service) -> None:
    rows_ = seeded(service)
    rows_.signed(rows_.case(1), {"fundus/OD": {"findings": {"AMD": 1}}})
    bad = rows_.case(2, quality="cannot grade: too dark")
    rows_.signed(bad, {"fundus/OD": UNGRADABLE, "fundus/OS": {"findings": {"AMD": 1}}, "nonsense": UNGRADABLE})
    rows_.write()
    found = counted(service)
    assert [each.finding for each in found.agreement] == [GRADABLE]
    assert of(found, GRADABLE).matrix == ((0, 1), (0, 1))


def test_the_worst_of_an_eyes_images_speaks_as_it_did_to_the_doctor(service: Service) -> None:
    rows_ = seeded(service)
    case_id = rows_.case(1, said={"OD": {"DR": {"value": 1, "score": 0.5}}}, eyes=("OD",))
    rows_.case(2, said={"OD": {"DR": {"value": 3, "score": 0.5}}}, eyes=("OD",))
    for table in rows_.rows.values():
        for row in table:
            if row.get("case_id") == f"{2:032x}":
                row["case_id"] = case_id
                row |= {"place": 1} if "place" in row else {}
    rows_.signed(case_id, {"fundus/OD": {"findings": {"DR": 3}}})
    rows_.write()
    assert of(counted(service), "DR").matrix[3][3] == 1


def test_an_amended_report_counts_once_and_waits_only_to_its_first_signature(service: Service) -> None:
    rows_ = seeded(service)
    case_id = rows_.case(1, hours_ago=48, said={"OD": {"AMD": YES}})
    rows_.signed(case_id, {"fundus/OD": {"findings": {"AMD": 0}}}, hours_ago=46)
    rows_.signed(case_id, {"fundus/OD": {"findings": {"AMD": 1}}}, hours_ago=1, revision=2)
    rows_.write()
    found = counted(service)
    assert (found.waits.whole.cases, found.waits.whole.median_h.value) == (1, pytest.approx(2.0, abs=0.01))
    assert of(found, "AMD").matrix == ((0, 0), (0, 1))


def test_patients_without_a_number_are_not_one_patient(service: Service) -> None:
    rows_ = seeded(service)
    for number in range(4):
        case_id = rows_.case(number, patient="" if number < 2 else "P7", said={"OD": {"AMD": YES}})
        rows_.signed(case_id, {"fundus/OD": {"findings": {"AMD": 1}}})
    rows_.write()
    assert of(counted(service), "AMD").patients == 3


def test_a_site_sees_its_own_and_nothing_else(service: Service) -> None:
    rows_ = seeded(service)
    for number, site in enumerate(["here", "here", "elsewhere"]):
        case_id = rows_.case(number, site=site, device=f"camera of {site}", model=f"model of {site}",
                             said={"OD": {"AMD": YES}})  # fmt: skip
        rows_.signed(case_id, {"fundus/OD": {"findings": {"AMD": 1}}})
        rows_.signed(case_id, {"fundus/OD": {"findings": {"AMD": 1}}}, first=True)
    rows_.write()
    here, all_ = counted(service, site="here"), counted(service)
    assert "elsewhere" not in repr(here)
    assert (here.waits.whole.cases, all_.waits.whole.cases) == (2, 3)
    assert [of(each, "AMD", source).eyes for each in (here, all_) for source in ("signed", "first_read")] == [
        2,
        2,
        3,
        3,
    ]
    assert sum(each.arrived for each in here.states) == 2


def test_images_that_nobody_has_looked_at_say_nothing_about_quality(service: Service) -> None:
    rows_ = seeded(service)
    told = ("good", "fair: dark", "cannot grade: too dark", "cannot grade: no model looks at it", "",
            "cannot grade: the image is no longer kept")  # fmt: skip
    for number, quality in enumerate(told):
        rows_.case(number, quality=quality, eyes=("OD",))
    rows_.write()
    [found] = counted(service).rates
    assert (found.images, found.ungradable) == (3, 1)


def test_drift_is_held_against_the_first_images_of_the_model(service: Service) -> None:
    rows_ = seeded(service)
    for number in range(REFERENCE_IMAGES // 2):
        rows_.case(number, hours_ago=24 * 60, said={"OD": {"AMD": NO}, "OS": {"AMD": NO}})
    rows_.write()
    assert counted(service).drift == ()
    for number in range(1000, 1100):
        rows_.case(number, said={"OD": {"AMD": YES}, "OS": {"AMD": YES}})
    rows_.write()
    [found] = counted(service).drift
    assert (found.reference_images, found.images, found.patients, found.verdict) == (REFERENCE_IMAGES, 200, 100, "look")
    [whole] = counted(service, days=Days.QUARTER).drift
    assert whole == found


def test_while_the_reference_is_gathered_nothing_is_held_against_it(service: Service) -> None:
    rows_ = seeded(service)
    for number in range(100):
        rows_.case(number, said={"OD": {"AMD": YES}, "OS": {"AMD": NO}})
    rows_.write()
    [found] = counted(service).drift
    assert (found.reference_images, found.images, found.verdict) == (200, 0, "too_few")


def test_more_than_is_looked_at_is_told(service: Service) -> None:
    rows_ = seeded(service)
    for number in range(5):
        case_id = rows_.case(number, said={"OD": {"AMD": YES}})
        rows_.signed(case_id, {"fundus/OD": {"findings": {"AMD": 1}}}, hours_ago=0.1 * number + 0.1)
    rows_.write()
    assert not counted(service, most=5).cut
    found = counted(service, most=3)
    assert (found.cut, found.most, of(found, "AMD").eyes) == (True, 3, 3)


def test_what_was_counted_is_kept_for_a_minute(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    moment, asked = [0.0], []
    real = rows.states
    monkeypatch.setattr(rows, "states", lambda *args, **more: asked.append(more["site"]) or real(*args, **more))
    kept = Statistician(service.database, timezone="UTC", clock=lambda: moment[0])
    first = kept.of(site="", days=Days.WEEK)
    moment[0] = 59.0
    assert kept.of(site="", days=Days.WEEK) is first
    assert kept.of(site="here", days=Days.WEEK) is not first
    moment[0] = 60.0
    assert kept.of(site="", days=Days.WEEK) is not first
    assert asked == ["", "here", ""]


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_real_cases_are_counted_in_either_database(tmp_path: Path, kind: str) -> None:
    with postgres_url() if kind == "postgresql" else nullcontext("") as url:
        service = populated_in(tmp_path / "clinic", released=3, waiting=2, database_url=url)
        try:
            found = counted(service)
        finally:
            service.close()
    assert found.waits.whole.cases == 3
    assert {each.eyes for each in found.agreement} == {6}
    assert all(each.same.value == 1.0 for each in found.agreement)
    assert {each.state: each.now for each in found.states}["in_review"] == 2
    assert [each.images for each in found.rates] == [10]
    assert {each.model for each in found.drift} == {ConstantGrader().title}
