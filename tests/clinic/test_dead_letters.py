"""Dead letters replayed and dismissed: none is stuck for ever, and nothing is done twice."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import delete, select, update

from eyeground.clinic.db.tables import AuditRecord, DeadLetter, Job
from eyeground.clinic.dead_letters import NoSuchLetter, bury
from eyeground.clinic.intake import Arrived
from eyeground.clinic.retention import purge
from eyeground.clinic.reviews import Doctor
from eyeground.clinic.service import Service
from eyeground.clinic.states import Forbidden
from eyeground.clinic.views import case_view

from .constant_grader import ConstantGrader
from .opened import open_service_in, work_off
from .populated import sign, take_in

OPERATOR = Doctor("chen", "", "operator")


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    made = open_service_in(tmp_path / "clinic")
    yield made
    made.close()


def buried(service: Service, case_id: str) -> int:
    """A letter about a case; its number."""
    with service.database.write() as work:
        bury(work, case_id, code="failed_every_time", case_queue="screening", site="default")
    with service.database.read() as session:
        return session.scalars(select(DeadLetter.id).order_by(DeadLetter.id.desc())).first() or 0


def state(service: Service, case_id: str) -> str:
    with service.database.read() as session:
        return str(case_view(session, case_id)["state"])


def jobs(service: Service) -> list[str]:
    with service.database.read() as session:
        return list(session.scalars(select(Job.case_id)))


@pytest.mark.parametrize("end", ["signed", "released", "amended"])
def test_a_letter_whose_case_went_on_is_settled(end: str, service: Service) -> None:
    case_id = take_in(service, "one")
    work_off(service, [ConstantGrader()])
    number = buried(service, case_id)
    sign(service, case_id)
    if end != "signed":
        work_off(service, [])
    if end == "amended":
        with service.database.read() as session:
            version = case_view(session, case_id)["version"]
        service.reviews.amend(case_id, reason="so", version=version, doctor=Doctor("li", "Dr Li"))
    assert state(service, case_id) == end
    waiting = jobs(service)
    letter = service.letters.replay(number, actor=OPERATOR)
    assert (letter.outcome, letter.replayed_at != "") == ("settled", True)
    assert (state(service, case_id), jobs(service)) == (end, waiting)
    assert service.letters.list() == []


def test_a_kill_between_the_step_back_and_the_mark_does_not_stop_the_letter(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    case_id = take_in(service, "one")
    work_off(service, [ConstantGrader()])
    number = buried(service, case_id)
    with service.database.read() as session:
        version = case_view(session, case_id)["version"]
    service.reviews.reread(case_id, version=version, doctor=OPERATOR)  # and then it was killed
    assert service.letters.replay(number, actor=OPERATOR).outcome == "requeued"
    assert jobs(service) == [case_id]
    work_off(service, [ConstantGrader()])
    assert state(service, case_id) == "in_review"


def test_a_case_that_nobody_has_in_line_is_put_there(service: Service) -> None:
    case_id = take_in(service, "one")
    with service.database.write() as work:
        work.session.execute(delete(Job))
    assert service.letters.replay(buried(service, case_id), actor=OPERATOR).outcome == "requeued"
    work_off(service, [ConstantGrader()])
    assert state(service, case_id) == "in_review"


def test_rubbish_is_dismissed_by_an_operator_once_and_that_is_written_down(service: Service) -> None:
    [outcome] = service.intake.admit([Arrived("check", b"no json", "default")])
    number = outcome.dead_letter or 0
    for role in ("doctor", "site"):
        with pytest.raises(Forbidden, match="operator or admin"):
            service.letters.dismiss(number, actor=Doctor("li", "", role))  # type: ignore[arg-type]
    assert [each.id for each in service.letters.list()] == [number]
    letter = service.letters.dismiss(number, actor=OPERATOR)
    assert (letter.outcome, letter.replayed_at != "") == ("dismissed", True)
    assert service.letters.list() == []
    for again in (service.letters.dismiss, service.letters.replay):
        with pytest.raises(NoSuchLetter):
            again(number, actor=OPERATOR)
    with service.database.read() as session:
        lines = session.execute(select(AuditRecord.actor, AuditRecord.detail).filter_by(event="dismissed")).all()
    assert [tuple(line) for line in lines] == [("chen", f'{{"letter":{number}}}')]


def test_what_was_dismissed_goes_with_what_was_replayed(service: Service) -> None:
    service.intake.admit([Arrived("check", body, "default") for body in (b"no json", b"[]")])
    service.letters.dismiss(1, actor=OPERATOR)
    with service.database.write() as work:
        work.session.execute(update(DeadLetter).where(DeadLetter.replayed_at != "").values(replayed_at="2005-03-01"))
    assert purge(service.database, service.store, years=15, really=True).letters == 1
    assert [each.id for each in service.letters.list(replayed=True)] == [2]
