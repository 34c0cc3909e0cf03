"""Passwords: what may be one, who has which, at what cost, and who is signed out by another one."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from argon2 import PasswordHasher, extract_parameters
from argon2.profiles import RFC_9106_LOW_MEMORY

from eyeground.clinic import passwords
from eyeground.clinic.accounts import AccountRefused, revoke
from eyeground.clinic.db.people import Account
from eyeground.clinic.passwords import (
    PasswordRefused,
    check_password,
    faults_of,
    new_password,
    set_password,
)  # fmt: skip
from eyeground.clinic.service import Service
from eyeground.clinic.sessions import open_session, signed_in

from .opened import account_of, open_service_in

GOOD = "seven geese walk home"


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    """A service with a doctor and a site."""
    found = open_service_in(tmp_path / "clinic")
    account_of(found, "li", "doctor")
    account_of(found, "machine", "site")
    yield found
    found.close()


def given(service: Service, name: str, password: str) -> None:
    with service.database.write() as work:
        set_password(work, name, password, actor="tests")


def kept(service: Service, name: str = "li") -> str:
    with service.database.read() as session:
        return session.get_one(Account, name).password_hash


@pytest.mark.parametrize(
    ("password", "name", "faults"),
    [
        ("short", "chen", ("too_short",)),
        ("aaaaaaaaaaaaaaaa", "chen", ("few_signs",)),
        ("a" * 300, "chen", ("too_long", "few_signs")),
        ("chen walks home", "chen", ("holds_name",)),
        ("Chen-Chen", "chen", ("too_short", "holds_name")),
        ("Password-2026!", "chen", ("common",)),
        ("qwertyuiop 1234", "chen", ("common",)),
        ("138001380009", "chen", ("common",)),
        ("1234567890123", "chen", ("common",)),
        ("ＰＡＳＳＷＯＲＤ2026!", "chen", ("common",)),  # full width
        (GOOD, "chen", ()),
        ("七只大鹅一起走回家吃晚饭", "chen", ()),
    ],
)
def test_all_that_is_wrong_with_a_password_is_said(password: str, name: str, faults: tuple[str, ...]) -> None:
    assert faults_of(password, name=name) == faults


def test_a_made_password_is_good_and_never_the_same() -> None:
    made = {new_password() for _ in range(200)}
    assert len(made) == 200
    assert all(faults_of(each, name="li") == () for each in made)


def test_who_has_a_password_is_found_and_nobody_else(service: Service) -> None:
    given(service, "li", GOOD)
    found = check_password(service.database, "li", GOOD)
    assert found is not None
    assert found.name == "li"
    for name, password in (
        ("li", GOOD + " "), ("li", ""), ("LI", GOOD), ("machine", ""), ("nobody", GOOD), ("li\0", GOOD), ("", ""),
    ):  # fmt: skip
        assert check_password(service.database, name, password) is None, (name, password)
    # The same word as another keyboard composes it.
    given(service, "li", "Zoe\u0308 walks home late")
    assert check_password(service.database, "li", "Zo\u00eb walks home late") is not None
    with service.database.write() as work:
        revoke(work, "li", actor="tests")
    assert check_password(service.database, "li", "Zo\u00eb walks home late") is None


def test_it_is_kept_as_rfc_9106_wants_it(service: Service) -> None:
    given(service, "li", GOOD)
    found = extract_parameters(kept(service))
    assert (found.type.name, found.memory_cost, found.time_cost, found.parallelism) == ("ID", 65536, 3, 4)
    assert GOOD not in kept(service)
    first = kept(service)
    given(service, "li", GOOD)
    assert kept(service) != first, "another salt"


def test_a_hash_of_an_older_cost_is_renewed_when_its_password_is_known(service: Service) -> None:
    with service.database.write() as work:
        work.session.get_one(Account, "li").password_hash = PasswordHasher(
            time_cost=1, memory_cost=8, parallelism=1
        ).hash(GOOD.encode())
    old = kept(service)
    assert check_password(service.database, "li", "another word here") is None
    assert kept(service) == old
    assert check_password(service.database, "li", GOOD) is not None
    assert extract_parameters(kept(service)) == RFC_9106_LOW_MEMORY
    assert check_password(service.database, "li", GOOD) is not None


def test_a_password_that_is_too_long_is_cut_alike_wherever_it_is_hashed(service: Service) -> None:
    """Or renewing a hash would shut somebody out whose keyboard sends more than was kept."""
    whole = "seven geese walk home " * 20
    with service.database.write() as work:
        work.session.get_one(Account, "li").password_hash = PasswordHasher(
            time_cost=1, memory_cost=8, parallelism=1
        ).hash(whole[:256].encode())
    for _ in range(2):
        assert check_password(service.database, "li", whole) is not None
    assert check_password(service.database, "li", whole[:256]) is not None


def test_an_unknown_name_costs_a_hash_like_a_known_one(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    given(service, "li", GOOD)
    checked: list[str] = []

    class Counting(PasswordHasher):
        def verify(self, hash: str | bytes, password: str | bytes) -> bool:  # type: ignore[override]
            checked.append(str(hash)[:30])
            return bool(super().verify(hash, password))

    hasher = Counting()
    monkeypatch.setattr(passwords, "_hasher", lambda: hasher)
    passwords._nobody.cache_clear()
    for name in ("li", "nobody", "machine", "Not A Name"):
        assert check_password(service.database, name, "not that one") is None
    passwords._nobody.cache_clear()
    assert len(checked) == 4
    assert len(set(checked)) == 1, "the same cost"


def test_no_transaction_is_open_while_it_computes(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    given(service, "li", GOOD)
    seen: list[int] = []

    class Looking(PasswordHasher):
        def verify(self, hash: str | bytes, password: str | bytes) -> bool:  # type: ignore[override]
            seen.append(service.database.engine.pool.checkedout())  # type: ignore[attr-defined]
            time.sleep(0)
            return bool(super().verify(hash, password))

    monkeypatch.setattr(passwords, "_hasher", Looking)
    assert check_password(service.database, "li", GOOD) is not None
    assert seen == [0]


def test_another_password_signs_everybody_out_and_is_written_down(service: Service) -> None:
    given(service, "li", GOOD)
    with service.database.write() as work:
        cookies = [open_session(work, "li", how="password", hours=1) for _ in range(2)]
    given(service, "li", "eight geese walk home")
    with service.database.read() as session:
        assert [signed_in(session, each, idle_minutes=30) for each in cookies] == [None, None]
    assert check_password(service.database, "li", GOOD) is None


def test_a_password_that_is_refused_changes_nothing(service: Service) -> None:
    given(service, "li", GOOD)
    with service.database.write() as work:
        cookie = open_session(work, "li", how="password", hours=1)
    with pytest.raises(PasswordRefused, match="fewer than 12 characters; has fewer than 5 different") as caught:
        given(service, "li", "abab")
    assert caught.value.faults == ("too_short", "few_signs")
    assert "abab" not in str(caught.value)
    for name, said in (("machine", "a program's"), ("nobody", "no such account")):
        with pytest.raises(AccountRefused, match=said):
            given(service, name, GOOD)
    assert check_password(service.database, "li", GOOD) is not None
    with service.database.read() as session:
        assert signed_in(session, cookie, idle_minutes=30) is not None
