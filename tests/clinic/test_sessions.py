"""Sessions in two transactions at the same moment, on each kind of database."""

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from eyeground.clinic.accounts import named, revoke, set_subject
from eyeground.clinic.db.database import Work
from eyeground.clinic.passwords import set_password
from eyeground.clinic.service import Service
from eyeground.clinic.sessions import close_all, close_session, open_proved, open_session, seen, signed_in

from .opened import account_of, open_service_in
from .servers import postgres_url

GOOD, OTHER = "seven geese walk home", "eight geese swim away"


@pytest.fixture(params=["sqlite", "postgresql"])
def service(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Service]:
    """A service whose doctor has a password."""
    with ExitStack() as stack:
        more = {"database_url": stack.enter_context(postgres_url())} if request.param == "postgresql" else {}
        found = open_service_in(tmp_path / "clinic", **more)
        stack.callback(found.close)
        account_of(found, "li", "doctor")
        with found.database.write() as work:
            set_password(work, "li", GOOD, actor="tests")
        yield found


def is_in(service: Service, cookie: str) -> bool:
    with service.database.read() as session:
        return signed_in(session, cookie, idle_minutes=30) is not None


@pytest.mark.parametrize("act", [seen, close_session])
def test_who_is_signed_out_meanwhile_is_not_in_and_nothing_fails(
    service: Service, act: Callable[[Work, str], object]
) -> None:
    def signs_out() -> None:
        with service.database.write() as work:
            close_all(work, "li")

    with service.database.write() as work:
        cookie = open_session(work, "li", how="password", hours=1)
    other = threading.Thread(target=signs_out)
    with service.database.write() as work:
        act(work, cookie)
        other.start()
        other.join(0.5)  # it waits, unless nothing is locked
    other.join()
    assert not is_in(service, cookie)
    with service.database.write() as work:
        assert not act(work, cookie)


def test_a_session_is_opened_for_what_was_proved_only(service: Service) -> None:
    with service.database.read() as session:
        proved = named(session, "li")
    with service.database.write() as work:
        assert open_proved(work, proved, how="password", hours=1)
        set_password(work, "li", OTHER, actor="tests")
        set_subject(work, "li", "https://id.example 1", actor="tests")
    with service.database.write() as work:
        assert open_proved(work, proved, how="password", hours=1) is None
        assert open_proved(work, proved, how="oidc", hours=1) is None
        assert open_proved(work, named(work.session, "li"), how="oidc", hours=1)
    with service.database.write() as work:
        now = named(work.session, "li")
        revoke(work, "li", actor="tests")
        assert open_proved(work, now, how="password", hours=1) is None


def test_who_is_somebody_else_at_the_provider_is_signed_out(service: Service) -> None:
    for former, subject, stays in (("", "a", True), ("a", "a", True), ("a", "b", False), ("b", "", False)):
        with service.database.write() as work:
            cookie = open_proved(work, named(work.session, "li"), how="oidc", hours=1)
            assert cookie
            set_subject(work, "li", subject and f"https://id.example {subject}", actor="tests")
        assert is_in(service, cookie) is stays, (former, subject)


def test_who_changes_a_password_comes_after_whoever_signs_in_with_the_old_one(service: Service) -> None:
    def change() -> None:
        with service.database.write() as work:
            set_password(work, "li", OTHER, actor="tests")

    changing = threading.Thread(target=change)
    with service.database.read() as session:
        proved = named(session, "li")
    with service.database.write() as work:
        cookie = open_proved(work, proved, how="password", hours=1)
        changing.start()
        changing.join(0.5)  # it waits, unless nothing is locked
    changing.join()
    assert cookie
    assert not is_in(service, cookie)
