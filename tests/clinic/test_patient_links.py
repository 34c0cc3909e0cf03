"""Patients' links: nobody guesses one, and none outlives its end."""

import hmac
import re
import secrets
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from eyeground.clinic import attempts, patient_links
from eyeground.clinic.cases import NoSuchCase
from eyeground.clinic.db.audit import verify
from eyeground.clinic.db.people import PatientLink
from eyeground.clinic.db.tables import AuditRecord
from eyeground.clinic.intake import Arrived
from eyeground.clinic.patient_links import MOST_FAILURES, CodeWaits, CodeWrong, LinkClosed, NewLink, PatientLinks
from eyeground.clinic.service import Service

from .opened import SECRET, open_service_in, patient_message

DAYS = 30.0


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.moment = datetime(2026, 11, 28, 12, tzinfo=UTC)

    def now(self) -> str:
        return self.moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")

    def forward(self, **more: float) -> None:
        self.moment += timedelta(**more)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The time that links and attempts go by."""
    made = Clock()
    monkeypatch.setattr(patient_links, "now", made.now)
    monkeypatch.setattr(attempts, "now", made.now)
    return made


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    """A service with nothing in it."""
    found = open_service_in(tmp_path / "clinic", site="here")
    yield found
    found.close()


@pytest.fixture
def links(service: Service) -> PatientLinks:
    """Its links."""
    return PatientLinks(service.database, secret=SECRET, days=DAYS)


def case_of(service: Service, message_id: str = "m1") -> str:
    """A case that was just received."""
    [outcome] = service.intake.admit([Arrived("http", patient_message(message_id), "here", door="screening")])
    return outcome.case_id


def new_link(service: Service, links: PatientLinks, message_id: str = "m1") -> NewLink:
    """A link to a case of its own."""
    return links.make(case_of(service, message_id), site="here", actor="doctor")


def wrong(code: str) -> str:
    """A code that this is not."""
    return f"{(int(code) + 1) % 10**6:06}"


def guess(
    links: PatientLinks, tried: Iterator[tuple[str, str]], *, between: Callable[[], object] = lambda: None
) -> dict[str, int]:
    """Guess tokens and codes; how often each thing happened."""
    found: dict[str, int] = {}
    for place, (token, code) in enumerate(tried):
        try:
            links.open(token, code, address=f"198.51.{place // 250 % 250}.{place % 250}")
            what = "opened"
        except (LinkClosed, CodeWrong, CodeWaits) as refused:
            what = type(refused).__name__
        found[what] = found.get(what, 0) + 1
        between()
    return found


def test_token_and_code_are_long_enough_and_kept_nowhere(service: Service, links: PatientLinks) -> None:
    link = new_link(service, links)
    assert re.fullmatch(r"[A-Za-z0-9_-]{32}", link.token)  # 192 bit
    assert re.fullmatch(r"\d{6}", link.code)
    kept = b"".join(path.read_bytes() for path in service.settings.home.rglob("*") if path.is_file())
    assert link.token.encode() not in kept
    with service.database.read() as session:
        row = session.scalars(select(PatientLink)).one()
        assert (row.case_id, row.made_by, row.failures, row.opened_at, row.revoked_at) == (
            row.case_id,
            "doctor",
            0,
            "",
            "",
        )
        assert link.code not in row.code_digest
        assert len(row.code_digest) == 64
    other = PatientLinks(service.database, secret="another phrase of the tests", days=DAYS)  # noqa: S106
    with pytest.raises(CodeWrong):
        other.open(link.token, link.code, address="")


@pytest.mark.parametrize(
    "typed", ["{}", " {} ", "{0[0]}{0[1]}{0[2]} {0[3]}{0[4]}{0[5]}", "{0[0]}{0[1]}{0[2]}-{0[3]}{0[4]}{0[5]}"]
)
def test_the_right_code_opens_however_it_is_typed(service: Service, links: PatientLinks, typed: str) -> None:
    link = new_link(service, links)
    access = links.access(links.open(link.token, typed.format(link.code), address="192.0.2.1"), token=link.token)
    assert access is not None
    assert access.case_id == case_of(service)
    full_width = link.code.translate({ord("0") + n: 0xFF10 + n for n in range(10)})
    assert links.open(link.token, full_width, address="192.0.2.1")


@pytest.mark.parametrize("typed", ["", "12345", "1234567", "abcdef", "12 34", "٣٣٣٣٣٣", "0" * 5000])
def test_what_can_be_no_code_costs_nothing(service: Service, links: PatientLinks, typed: str) -> None:
    link = new_link(service, links)
    for _ in range(30):
        with pytest.raises(CodeWrong, match="six digits"):
            links.open(link.token, typed, address="")
    assert links.open(link.token, link.code, address="")


def test_five_wrong_codes_in_a_row_cost_a_wait_and_the_right_one_counts_anew(
    service: Service, links: PatientLinks, clock: Clock
) -> None:
    link = new_link(service, links)
    for _ in range(4):
        with pytest.raises(CodeWrong):
            links.open(link.token, wrong(link.code), address="")
    assert links.open(link.token, link.code, address="")
    for _ in range(5):
        with pytest.raises(CodeWrong):
            links.open(link.token, wrong(link.code), address="")
    waits = []
    for _ in range(3):
        with pytest.raises(CodeWaits) as waiting:
            links.open(link.token, link.code, address="")  # not even the right one
        waits.append(waiting.value.seconds)
        clock.forward(seconds=waiting.value.seconds)
        with pytest.raises(CodeWrong):
            links.open(link.token, wrong(link.code), address="")
    assert waits == sorted(set(waits))
    clock.forward(seconds=2 * max(waits) + 60)
    assert links.open(link.token, link.code, address="")


def test_a_wait_does_not_last_longer_because_the_clock_went_back(
    service: Service, links: PatientLinks, clock: Clock
) -> None:
    link = new_link(service, links)
    for _ in range(5):
        with pytest.raises(CodeWrong):
            links.open(link.token, wrong(link.code), address="")
    with pytest.raises(CodeWaits):
        links.open(link.token, link.code, address="")
    clock.forward(days=-1)
    assert links.open(link.token, link.code, address="")


def test_after_twenty_wrong_codes_in_all_a_link_is_dead(service: Service, links: PatientLinks, clock: Clock) -> None:
    link = new_link(service, links)
    found = guess(
        links, ((link.token, wrong(link.code)) for _ in range(MOST_FAILURES)), between=lambda: clock.forward(minutes=20)
    )
    assert found == {"CodeWrong": MOST_FAILURES}
    assert links.state(link.token) == "gone"
    with pytest.raises(LinkClosed):
        links.open(link.token, link.code, address="")


def codes(link: NewLink, count: int) -> Iterator[tuple[str, str]]:
    """Every code but the right one, then the right one: by then it must be too late."""
    others = (f"{number:06}" for number in range(10**6) if f"{number:06}" != link.code)
    yield from ((link.token, next(others)) for _ in range(count))
    yield link.token, link.code


@pytest.mark.parametrize("count", [300, pytest.param(10_000, marks=pytest.mark.slow)])
def test_nobody_guesses_a_code(service: Service, links: PatientLinks, clock: Clock, count: int) -> None:
    link = new_link(service, links)
    found = guess(links, codes(link, count), between=lambda: clock.forward(minutes=20))
    assert found == {"CodeWrong": MOST_FAILURES, "LinkClosed": count + 1 - MOST_FAILURES}


@pytest.mark.parametrize("count", [300, pytest.param(10_000, marks=pytest.mark.slow)])
def test_nobody_guesses_a_token(service: Service, links: PatientLinks, count: int) -> None:
    link = new_link(service, links)
    near = (
        link.token[:place] + ("B" if link.token[place] == "A" else "A") + link.token[place + 1 :] for place in range(32)
    )
    strange = ["", "%00", "\0" * 32, "A" * 5000, "é" * 32, link.token + "A", link.token[:-1], link.token.swapcase()]
    made_up = (secrets.token_urlsafe(24) for _ in range(count))
    found = guess(links, ((token, link.code) for token in (*near, *strange, *made_up)))
    assert found == {"LinkClosed": count + 40}
    assert links.state(link.token) == "good"


def test_a_link_that_ignores_its_code_is_found_out(
    service: Service, links: PatientLinks, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = new_link(service, links)
    monkeypatch.setattr(hmac, "compare_digest", lambda one, other: True)
    assert "opened" in guess(links, codes(link, 5))


def test_a_link_that_is_never_dead_is_found_out(
    service: Service, links: PatientLinks, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = new_link(service, links)
    monkeypatch.setattr(patient_links, "MOST_FAILURES", 10**9)
    assert "opened" in guess(links, codes(link, 30), between=lambda: clock.forward(minutes=20))


def test_a_hundred_at_once_are_no_more_than_five(service: Service, links: PatientLinks) -> None:
    link, found = new_link(service, links), []

    def one() -> None:
        try:
            links.open(link.token, wrong(link.code), address="")
        except (CodeWrong, CodeWaits) as refused:
            found.append(type(refused))

    threads = [threading.Thread(target=one) for _ in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found.count(CodeWrong) == 5
    assert found.count(CodeWaits) == 35


def test_one_address_does_not_guess_at_many_links(service: Service, links: PatientLinks) -> None:
    many = [new_link(service, links, f"m{number}") for number in range(30)]
    found = []
    for link in many:
        try:
            links.open(link.token, wrong(link.code), address="203.0.113.9")
        except (CodeWrong, CodeWaits) as refused:
            found.append(type(refused))
    assert found[:20] == [CodeWrong] * 20
    assert CodeWaits in found[20:]
    assert links.open(many[-1].token, many[-1].code, address="203.0.113.10")


def test_links_that_there_are_not_cost_nobody_anything(service: Service, links: PatientLinks) -> None:
    """Or a stranger who makes addresses up shuts out whoever shares his."""
    for number in range(50):
        with pytest.raises(LinkClosed):
            links.open(secrets.token_urlsafe(24), f"{number:06}", address="203.0.113.9")
    link = new_link(service, links)
    assert links.open(link.token, link.code, address="203.0.113.9")


def test_a_link_ends_and_stays_so_when_the_clock_goes_back(service: Service, links: PatientLinks, clock: Clock) -> None:
    link = new_link(service, links)
    passed = links.open(link.token, link.code, address="")
    clock.forward(days=DAYS - 0.001)
    assert links.state(link.token) == "good"
    late = links.access(links.open(link.token, link.code, address=""))
    assert late is not None
    assert late.ends_at - clock.moment.timestamp() == pytest.approx(86.4, abs=1)  # no longer than the link
    clock.forward(days=0.002)
    assert links.access(passed) is None
    assert links.state(link.token) == "expired"
    with pytest.raises(LinkClosed) as closed:
        links.open(link.token, link.code, address="")
    assert closed.value.expired
    clock.forward(days=-1)
    assert links.state(link.token) == "expired"
    with pytest.raises(LinkClosed):
        links.open(link.token, link.code, address="")


def test_a_new_link_revokes_the_one_before_and_whoever_reads_by_it_is_out(
    service: Service, links: PatientLinks
) -> None:
    first = new_link(service, links)
    passed = links.open(first.token, first.code, address="")
    assert links.access(passed) is not None
    second = links.make(case_of(service), site="", actor="doctor")
    assert links.access(passed) is None
    assert links.state(first.token) == "gone"
    assert links.open(second.token, second.code, address="")
    assert links.revoke(case_of(service), site="here", actor="doctor") == 1
    assert links.revoke(case_of(service), site="here", actor="doctor") == 0
    assert links.state(second.token) == "gone"


def test_a_pass_is_good_for_its_own_link_and_its_half_hour(service: Service, links: PatientLinks, clock: Clock) -> None:
    one, other = new_link(service, links, "m1"), new_link(service, links, "m2")
    mine, theirs = (links.open(link.token, link.code, address="") for link in (one, other))
    assert links.access(mine, token=one.token) is not None
    assert links.access(theirs, token=one.token) is None
    link_id, since, seal = mine.split(".")
    assert links.access(f"{theirs.split('.')[0]}.{since}.{seal}") is None
    assert links.access(f"{link_id}.{int(since) + 60}.{seal}") is None
    assert links.access(f"{link_id}.{since}.{'0' * 64}") is None
    for strange in ("", "..", "a.b.c", f"{mine}x", mine.upper(), "é" * 141):
        assert links.access(strange) is None
    clock.forward(minutes=29)
    assert links.access(mine) is not None
    clock.forward(minutes=1)
    assert links.access(mine) is None
    clock.forward(days=-1)
    assert links.access(mine) is None


def test_another_sites_case_is_none(service: Service, links: PatientLinks) -> None:
    case_id = case_of(service)
    for refused in (
        lambda: links.make(case_id, site="elsewhere", actor="x"),
        lambda: links.make("0" * 32, site="", actor="x"),
    ):
        with pytest.raises(NoSuchCase):
            refused()
    with pytest.raises(NoSuchCase):
        links.revoke(case_id, site="elsewhere", actor="x")


def test_the_trail_tells_of_links_without_token_or_code(service: Service, links: PatientLinks) -> None:
    link = new_link(service, links)
    with pytest.raises(CodeWrong):
        links.open(link.token, wrong(link.code), address="192.0.2.1")
    links.open(link.token, link.code, address="192.0.2.1")
    links.revoke(case_of(service), site="", actor="doctor")
    with service.database.read() as session:
        lines = session.scalars(select(AuditRecord).where(AuditRecord.event.startswith("link_"))).all()
        assert [line.event for line in lines] == ["link_made", "link_code_wrong", "link_opened", "link_revoked"]
        assert {line.actor for line in lines} == {"doctor", f"link:{patient_links._link_id(link.token)[:8]}"}
        told = " ".join(line.detail for line in lines)
        assert link.token not in told
        assert "192.0.2.1" not in told
        assert verify(session, key=service.database.key).broken_at is None
