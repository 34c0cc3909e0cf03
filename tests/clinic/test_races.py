"""W4: two doctors, one case, at the same moment. One wins, the other is told; what was signed never changes."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, select, text, update
from sqlalchemy.exc import DBAPIError

from eyeground.clinic.cases import find
from eyeground.clinic.db.tables import Review
from eyeground.clinic.seals import broken_seals
from eyeground.clinic.service import signing_key

from .constant_grader import ConstantGrader
from .opened import SECRET, agreed_opinion, patient_message, work_off
from .web.office import Office, open_office

DOCTORS = ("doctor", "doctor_here")


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    found = open_office(tmp_path / "clinic")
    yield found
    found.service.close()


def race(office: Office, views: list[dict[str, Any]]) -> list[str]:
    """Let two doctors sign each case at once, in threads of their own; what went otherwise than it must."""
    replies: dict[tuple[int, str], Any] = {}

    def sign_all(who: str, start: threading.Barrier) -> None:
        for place, view in enumerate(views):
            opinion = agreed_opinion(view, conclusion=f"of {who}").model_dump()
            body = {"version": view["version"], "opinion": opinion}
            start.wait()
            replies[place, who] = office.post(f"cases/{view['id']}/sign", who, json=body)

    start = threading.Barrier(len(DOCTORS))
    threads = [threading.Thread(target=sign_all, args=(who, start)) for who in DOCTORS]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [fault for place, view in enumerate(views) for fault in _faults(office, view, replies, place)]


def _faults(office: Office, view: dict[str, Any], replies: dict[tuple[int, str], Any], place: int) -> Iterator[str]:
    """What is wrong with one race."""
    mine = {who: replies[place, who] for who in DOCTORS}
    statuses = sorted(reply.status_code for reply in mine.values())
    if statuses != [200, 409]:
        yield f"race {place}: {statuses}"
        return
    winner = next(who for who, reply in mine.items() if reply.status_code == 200)
    loser = next(who for who in DOCTORS if who != winner)
    told = mine[loser].json()
    differ = {"where": "conclusion", "sent": f"of {loser}", "stored": f"of {winner}"}
    if (told["reason"], told["version"], told["differences"]) != ("stale", view["version"] + 1, [differ]):
        yield f"race {place}: the loser is told {told}"
    with office.service.database.read() as session:
        reviews = session.scalars(select(Review).filter_by(case_id=view["id"])).all()
    if [(each.doctor, each.opinion["conclusion"]) for each in reviews] != [(winner, f"of {winner}")]:
        yield f"race {place}: what is stored is not the winner's"


def cases(office: Office, count: int) -> list[dict[str, Any]]:
    ids = [office.post("screenings", "site_here", content=patient_message(f"m{number}")).json()["case_id"]
           for number in range(count)]  # fmt: skip
    work_off(office.service, [ConstantGrader()])
    return [office.case(id) for id in ids]


def test_of_two_who_sign_one_wins_and_the_other_is_told(office: Office) -> None:
    assert race(office, cases(office, 50)) == []


@pytest.mark.slow
def test_of_two_who_sign_one_wins_a_thousand_times(office: Office) -> None:
    assert race(office, cases(office, 1000)) == []


def test_a_race_that_nobody_referees_is_found_out(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    def anything(self: Any, work: Any, case_id: str, version: int, doctor: Any) -> Any:
        return find(work.session, case_id, lock=True)

    monkeypatch.setattr("eyeground.clinic.reviews.Reviews._open", anything)
    assert race(office, cases(office, 3)) != []


def test_what_was_signed_cannot_be_changed_by_anybody(office: Office) -> None:
    view = office.signed("m1")
    deeds = (
        update(Review).values(opinion={}), update(Review).values(doctor="me"), update(Review).values(signed_at=""),
        update(Review).values(signed_at="", signature=""), update(Review).values(revision=2),
        text("update reviews set opinion = '{}'"), text("update or replace reviews set doctor_name = 'me'"),
    )  # fmt: skip
    for deed in deeds:
        with pytest.raises(DBAPIError, match="never changed"), office.service.database.write() as work:
            work.session.execute(deed)
    body = {"version": view["version"], "opinion": agreed_opinion(view).model_dump()}
    for method, path in (("PUT", "opinion"), ("POST", "sign")):
        assert office.ask(method, f"/api/v1/cases/{view['id']}/{path}", "doctor", json=body).status_code == 409
    assert office.case(view["id"])["reviews"] == view["reviews"]


@pytest.mark.parametrize("forged", [False, True])
def test_what_was_signed_and_taken_out_is_found_out(office: Office, forged: bool) -> None:
    view = office.signed("m1")
    with office.service.database.write() as work:
        row = dict(work.session.execute(text("select * from reviews")).mappings().one())
        work.session.execute(delete(Review))  # retention has to be able to; nobody else does
        if forged:
            row["opinion"] = "{}"
            names = ", ".join(row)
            places = ", ".join(f":{name}" for name in row)
            work.session.execute(text(f"insert into reviews ({names}) values ({places})"), row)  # noqa: S608
    with office.service.database.read() as session:
        assert [each.case_id for each in broken_seals(session, key=signing_key(SECRET))] == [view["id"]]
