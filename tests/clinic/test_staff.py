"""Accounts as an administrator has them: what may be done to them, by whom, and what is written down."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import select

from eyeground.clinic.accounts import add_account, holder, named
from eyeground.clinic.db.people import Account, BrowserSession
from eyeground.clinic.db.tables import AuditRecord
from eyeground.clinic.passwords import check_password
from eyeground.clinic.service import Service
from eyeground.clinic.sessions import open_session
from eyeground.clinic.staff import (
    Admin,
    StaffRefused,
    disengage,
    engage,
    members,
    renew_password,
    sign_out_everywhere,
)  # fmt: skip

from .opened import account_of, open_service_in

ROOT, LOCAL = Admin("root", ""), Admin("local", "here")


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    """A service with an administrator of all sites, one of one site, and a doctor of each kind."""
    found = open_service_in(tmp_path / "clinic")
    account_of(found, "root", "admin")
    account_of(found, "local", "admin", site="here")
    account_of(found, "li", "doctor", title="Dr Li")
    account_of(found, "here.doctor", "doctor", site="here")
    yield found
    found.close()


def refused(service: Service, act: Callable[..., object], *args: str, **more: object) -> str:
    """Why something is refused."""
    with pytest.raises(StaffRefused) as caught, service.database.write() as work:
        act(work, *args, **more)
    return caught.value.reason


def good(service: Service) -> list[str]:
    """Names of accounts that are good."""
    with service.database.read() as session:
        return sorted(session.scalars(select(Account.name).where(Account.revoked_at == "")))


def events(service: Service) -> list[tuple[str, str, str]]:
    """Who did what, from the audit trail."""
    with service.database.read() as session:
        rows = session.scalars(select(AuditRecord).order_by(AuditRecord.seq))
        return [(each.actor, each.event, each.detail) for each in rows]


def test_a_person_gets_a_password_and_a_program_a_token(service: Service) -> None:
    with service.database.write() as work:
        person = engage(work, "chen", role="operator", title="Chen Yu", site="", admin=ROOT)
        program = engage(work, "gate", role="site", title="", site="here", admin=ROOT)
    assert (person.kind, program.kind) == ("password", "token")
    found = check_password(service.database, "chen", person.secret)
    assert found is not None
    assert (found.name, found.must_change) == ("chen", True), "the administrator has seen it"
    with service.database.read() as session:
        assert [each.name for each in (holder(session, program.secret),) if each] == ["gate"]
        assert holder(session, person.secret) is None
    told = events(service)
    assert [(actor, event) for actor, event, _ in told[-3:]] == [
        ("root", "account_made"), ("root", "password_set"), ("root", "account_made"),
    ]  # fmt: skip
    assert not any(person.secret in each or program.secret in each for _, _, each in told)


def test_a_lost_password_is_replaced_and_has_to_be_changed(service: Service) -> None:
    with service.database.write() as work:
        first = engage(work, "nu", role="doctor", title="", site="here", admin=LOCAL).secret
        named(work.session, "nu").must_change = False
        open_session(work, "nu", how="password", hours=1)
    with service.database.write() as work:
        second = renew_password(work, "nu", admin=LOCAL)
    assert check_password(service.database, "nu", first) is None
    account = check_password(service.database, "nu", second)
    assert account is not None
    assert account.must_change
    with service.database.read() as session:
        assert list(session.scalars(select(BrowserSession).filter_by(account="nu"))) == []
    assert refused(service, renew_password, "li", admin=LOCAL) == "not_found"
    assert refused(service, renew_password, "li", admin=ROOT) == "no_password"
    assert refused(service, renew_password, "root", admin=ROOT) == "own_account"


def test_a_name_that_is_none_or_taken_is_refused(service: Service) -> None:
    def why(name: str) -> str:
        return refused(service, engage, name, role="doctor", title="", site="", admin=ROOT)

    assert [why(name) for name in ("", "Li", "service", "a b", "x" * 65, "../x")] == ["account_unusable"] * 6
    assert why("li") == "account_taken"
    with service.database.write() as work:
        disengage(work, "li", admin=ROOT)
    assert why("li") == "account_taken", "who stands in the audit trail is not somebody else later"


def test_an_administrator_of_a_site_looks_after_its_accounts_only(service: Service) -> None:
    with service.database.read() as session:
        assert [each.name for each in members(session, site="here")] == ["here.doctor", "local"]
    for act in (disengage, sign_out_everywhere):
        assert refused(service, act, "li", admin=LOCAL) == "not_found"
    assert refused(service, engage, "x", role="admin", title="", site="elsewhere", admin=LOCAL) == "forbidden"
    with service.database.write() as work:
        engage(work, "y", role="doctor", title="", site="", admin=LOCAL)
        assert named(work.session, "y").site == "here", "an account for all sites would be more than he has himself"


def test_nobody_revokes_himself_or_the_last_administrator(service: Service) -> None:
    assert refused(service, disengage, "root", admin=ROOT) == "own_account"
    assert refused(service, disengage, "nobody", admin=ROOT) == "not_found"
    account_of(service, "local2", "admin", site="here")
    assert refused(service, disengage, "root", admin=Admin("local2", "")) == "last_admin"
    with service.database.write() as work:
        disengage(work, "local", admin=ROOT)
    assert refused(service, disengage, "local", admin=ROOT) == "not_found"
    assert refused(service, disengage, "here.doctor", admin=LOCAL) == "forbidden", (
        "who was revoked meanwhile revokes nobody"
    )


def test_two_administrators_who_revoke_each_other_leave_one(service: Service) -> None:
    account_of(service, "second", "admin")
    outcomes: list[str] = []

    def against(mine: str, other: str) -> None:
        try:
            with service.database.write() as work:
                disengage(work, other, admin=Admin(mine, ""))
            outcomes.append("done")
        except StaffRefused as error:
            outcomes.append(error.reason)

    threads = [threading.Thread(target=against, args=pair) for pair in (("root", "second"), ("second", "root"))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["done", "forbidden"]
    assert len({"root", "second"} & set(good(service))) == 1


def test_revoked_is_signed_out_and_both_are_written_down(service: Service) -> None:
    with service.database.write() as work:
        open_session(work, "li", how="password", hours=1)
        open_session(work, "li", how="password", hours=1)
    with service.database.read() as session:
        [li] = [each for each in members(session) if each.name == "li"]
    assert (li.sessions, bool(li.seen_at), li.how, li.title) == (2, True, "token", "Dr Li")
    with service.database.write() as work:
        sign_out_everywhere(work, "li", admin=ROOT)
    with service.database.read() as session:
        assert session.scalars(select(BrowserSession)).all() == []
    with service.database.write() as work:
        open_session(work, "li", how="password", hours=1)
        disengage(work, "li", admin=ROOT)
    with service.database.read() as session:
        [li] = [each for each in members(session) if each.name == "li"]
        assert (li.sessions, bool(li.revoked_at)) == (0, True)
        assert members(session)[-1].name == "li", "those that are good come first"
    assert [(actor, event, detail) for actor, event, detail in events(service) if actor == "root"] == [
        ("root", "signed_out_everywhere", '{"account":"li"}'), ("root", "account_revoked", '{"account":"li"}'),
    ]  # fmt: skip


def test_how_somebody_signs_in_is_told(service: Service) -> None:
    with service.database.write() as work:
        add_account(work, "sso", role="doctor", actor="tests")
        work.session.flush()
        named(work.session, "sso").subject = "https://id.example 17"
        engage(work, "pw", role="doctor", title="", site="", admin=ROOT)
    with service.database.read() as session:
        found = {each.name: each.how for each in members(session)}
    assert (found["sso"], found["pw"], found["li"]) == ("single_sign_on", "password", "token")
