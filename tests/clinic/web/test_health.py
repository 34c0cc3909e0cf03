"""Whether the service says truly how it stands."""

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from eyeground.clinic.blobs.store import StoreLost
from eyeground.clinic.exchange.report import ANSWERED
from eyeground.clinic.intake import Arrived
from eyeground.clinic.service import open_service
from eyeground.clinic.web.app import make_app
from eyeground.clinic.web.figures import FiguresCollector

from ..constant_grader import ConstantGrader
from ..opened import work_off
from .office import HERE, Office


def numbers(page: str) -> dict[str, float]:
    """Read Prometheus' text."""
    lines = [line for line in page.splitlines() if not line.startswith("#")]
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines}


def figures(office: Office) -> dict[str, float]:
    """What is counted now, by a collector that has counted nothing yet."""
    told = {}
    for metric in FiguresCollector(office.service.database).collect():
        for sample in metric.samples:
            label = ",".join(sample.labels.values())
            told[f"{sample.name.removeprefix('eyeground_clinic_')} {label}".strip()] = sample.value
    return told


def test_the_figures_are_those_of_the_database(office: Office) -> None:
    before = figures(office)
    assert before["database_up"] == 1
    assert {name: before[name] for name in before if name.startswith("cases")} == dict.fromkeys(
        (f"cases {state}" for state in ("received", "gated", "inferred", "in_review", "signed", "released", "amended")),
        0,
    )
    assert [before[f"oldest_seconds {what}"] for what in ("job", "answer", "review")] == [0, 0, 0]
    office.signed("m1")
    office.in_review("m2")
    office.send("m3")
    office.service.intake.admit([Arrived("check", body, HERE) for body in (b"{", b"[", b"[]")])
    after = figures(office)
    assert (after["cases released"], after["cases in_review"], after["cases received"]) == (1, 1, 1)
    assert after["jobs read"] == 1
    assert (after["dead_letters_open not_json"], after["dead_letters_open not_an_object"]) == (2, 1)
    assert after["oldest_seconds job"] > 0
    assert after["oldest_seconds review"] > 0
    assert (after["answers_unsent"], after["oldest_seconds answer"]) == (0, 0)
    with office.service.database.read() as session:
        lines = session.connection().exec_driver_sql("select count(*) from audit").scalar()
    assert after["audit_lines"] == lines


def test_an_answer_that_no_queue_has_is_counted(office: Office) -> None:
    office.service.intake.admit([Arrived("report", b'{"id": 1, "osFundusDisease": "RVO"}', HERE)])
    work_off(office.service, [ConstantGrader()])
    [line] = office.get("cases", "doctor").json()["cases"]
    opinion = {"conclusion": "x", "texts": dict.fromkeys(ANSWERED, "y")}
    reply = office.post(f"cases/{line['id']}/sign", "doctor", json={"version": line["version"], "opinion": opinion})
    assert reply.status_code == 200, reply.text
    work_off(office.service, [])
    found = figures(office)
    assert found["answers_unsent"] == 1
    assert found["oldest_seconds answer"] > 0


def test_two_processes_tell_the_same_of_the_database_and_each_its_own_of_requests(office: Office) -> None:
    office.send("m1")
    other = Office.__new__(Office)
    other.service, other.tokens = office.service, office.tokens
    other.app = make_app(open_service(office.service.settings))
    pages = [numbers(each.ask("GET", "/metrics").text) for each in (office, other)]
    name = 'eyeground_clinic_cases{state="received"}'
    assert [page[name] for page in pages] == [1, 1]
    route = 'eyeground_clinic_requests_total{method="POST",route="/api/v1/screenings",status="201"}'
    assert [page.get(route) for page in pages] == [1, None]


def test_requests_are_counted_by_route_and_never_by_what_was_asked_for(office: Office) -> None:
    office.get("screenings/Zhang-San", "site_here")
    office.get("Zhang-San/there", "site_here")
    office.ask("ZHANG", "/api/v1/cases")
    page = office.ask("GET", "/metrics").text
    assert "zhang" not in page.lower()
    found = numbers(page)
    path = "/api/v1/screenings/{message_id}"
    assert found[f'eyeground_clinic_requests_total{{method="GET",route="{path}",status="404"}}'] == 1
    assert found['eyeground_clinic_requests_total{method="GET",route="none",status="404"}'] == 1


def test_figures_are_counted_at_most_every_two_seconds(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    counted: list[float] = []
    moment = [0.0]
    count = FiguresCollector.__init__.__globals__["count"]
    monkeypatch.setitem(
        FiguresCollector.__init__.__globals__, "count", lambda session: counted.append(moment[0]) or count(session)
    )
    collector = FiguresCollector(office.service.database, clock=lambda: moment[0])
    for at in (0.0, 1.0, 1.9, 2.0, 3.9, 4.0):
        moment[0] = at
        assert len(list(collector.collect())) == 7
    assert counted == [0.0, 2.0, 4.0]


def test_a_database_that_is_gone_is_told_and_costs_no_page(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    with office.service.database.write() as work:
        work.session.execute(text("alter table cases rename to elsewhere"))
    reply = office.ask("GET", "/metrics")
    found = numbers(reply.text)
    assert (reply.status_code, found["eyeground_clinic_database_up"]) == (200, 0)
    assert not [name for name in found if name.startswith("eyeground_clinic_cases")]


def test_it_is_ready_when_database_and_store_answer(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    assert office.ask("GET", "/healthz").json() == office.ask("GET", "/readyz").json() == {"status": "ok"}


@pytest.mark.parametrize("what", ["database", "schema", "store"])
def test_it_is_not_ready_while_something_does_not_answer(
    office: Office, what: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def lost(*_: Any) -> None:
        raise StoreLost("Zhang San")

    if what == "store":
        monkeypatch.setattr(type(office.service.store), "get", lost)
    elif what == "schema":
        with office.service.database.write() as work:
            work.session.execute(text("delete from alembic_version"))
    else:
        office.service.close()
        office.service.database.engine.pool._creator = lambda *_: lost()
        monkeypatch.setattr("eyeground.clinic.web.routes.health.check_schema", _not_there)
    reply = office.ask("GET", "/readyz")
    assert (reply.status_code, reply.json()["reason"]) == (503, "not_ready")
    assert reply.json()["error"] == f"no answer from: {what}"
    assert reply.headers["retry-after"] == "5"
    assert office.ask("GET", "/healthz").status_code == 200


def _not_there(engine: Any) -> None:
    """As SQLAlchemy has it when nobody listens."""
    raise OperationalError("select 1", {}, Exception("Zhang San"))
