"""A password that somebody else made and has seen is changed before anything else is done with it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from eyeground.cli.clinic_demo import ACCOUNTS
from eyeground.cli.clinic_people import NewAccount, add_person, give_password
from eyeground.clinic.accounts import new_token
from eyeground.clinic.passwords import check_password
from eyeground.clinic.sessions import open_session
from eyeground.clinic.staff import Admin, engage

from .office import Office, open_office
from .visitor import OTHER, Visitor


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    found = open_office(tmp_path / "clinic")
    yield found
    found.service.close()


def test_nothing_but_the_change_before_the_change(office: Office) -> None:
    with office.service.database.write() as work:
        first = engage(work, "chen", role="doctor", title="Dr Chen", site="", admin=Admin("admin", "")).secret
    visitor = Visitor(office)
    reply = visitor.signs_in("chen", first, path="/sign-in?next=/work")
    assert reply.status_code == 303
    for path in ("/", "/work", "/statistics", f"/cases/{'0' * 32}"):
        led = visitor.ask("GET", path)
        assert (led.status_code, led.headers["location"]) == (303, "/password")
    program = {"headers": {"Accept": "application/json"}}
    for path in ("/api/v1/cases", "/api/v1/counts", f"/api/v1/cases/{'0' * 32}"):
        reply = visitor.ask("GET", path, **program)
        assert (reply.status_code, reply.json()["reason"]) == (403, "password_first")
    assert visitor.does("/password/elsewhere").json() == {"signed_out": True}
    page = visitor.ask("GET", "/password").text
    assert "Somebody else has made and seen this password." in page
    assert 'href="/work"' not in page, "places that lead nowhere yet"
    assert visitor.ask("GET", "/session", **program).status_code == 200
    assert visitor.does("/password", {"old": first, "new": OTHER}).json() == {"changed": True}
    assert visitor.ask("GET", "/work").status_code == 200
    assert "has made and seen" not in visitor.ask("GET", "/password").text
    assert Visitor(office).signs_in("chen", OTHER).headers["location"] == "/work"


def test_who_waits_to_change_it_may_sign_out_and_a_program_s_token_is_no_password(office: Office) -> None:
    made = add_person(office.service, NewAccount("wu", "operator"))
    with office.service.database.write() as work:
        office.tokens["wu"] = new_token(work, "wu", actor="tests")
        single = open_session(work, "wu", how="oidc", hours=1)
    assert office.get("cases", "wu").status_code == 200
    visitor = Visitor(office)
    visitor.cookies["eyeground"] = single
    assert visitor.ask("GET", "/work").status_code == 200, "who came by single sign-on used no password"
    visitor = Visitor(office)
    visitor.signs_in("wu", made.password)
    assert visitor.does("/sign-out").json() == {"signed_out": True}


def test_whose_password_is_his_own_need_not(office: Office) -> None:
    def must_change(name: str, password: str) -> bool:
        found = check_password(office.service.database, name, password)
        assert found is not None
        return found.must_change

    add_person(office.service, NewAccount("own", "doctor", password=OTHER))
    assert not must_change("own", OTHER)
    assert must_change("own", give_password(office.service, "own").password)
    give_password(office.service, "own", OTHER)
    assert not must_change("own", OTHER)
    [li] = [each for each in ACCOUNTS if each.name == "li"]
    assert not must_change("li", add_person(office.service, li).password), "a demonstration is nobody's"
