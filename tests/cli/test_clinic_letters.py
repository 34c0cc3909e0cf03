"""Dead letters by command: one that cannot be replayed is told, and the others are."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from eyeground.cli.clinic_letters import dismiss_letters, replay_letters
from eyeground.clinic.blobs.store import StoreLost
from eyeground.clinic.db.database import DatabaseLost
from eyeground.clinic.dead_letters import Letter
from eyeground.clinic.intake import Arrived
from eyeground.clinic.reviews import Doctor
from eyeground.clinic.service import Service
from eyeground.clinic.states import Forbidden
from tests.clinic.opened import open_service_in

OPERATOR = Doctor("chen", "", "operator")


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    """With three letters."""
    made = open_service_in(tmp_path / "clinic")
    made.intake.admit([Arrived("check", body, "default") for body in (b"a", b"b", b"c")])
    yield made
    made.close()


@pytest.mark.parametrize(
    ("fault", "code"), [(Forbidden("the case is being worked on"), 2), (StoreLost("the store is gone"), 1)]
)
def test_of_all_letters_one_that_cannot_be_replayed_is_told_and_the_others_go_round(
    fault: Exception, code: int, service: Service, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    replay = service.letters.replay

    def some(number: int, *, actor: Doctor) -> Letter:
        if number == 2:
            raise fault
        return replay(number, actor=actor)

    monkeypatch.setattr(service.letters, "replay", some)
    dealt = replay_letters(service, (), every=True, actor=OPERATOR)
    assert [each.id for each in dealt.letters] == [1, 3]
    assert (dealt.faults, dealt.code) == ({2: str(fault)}, code)
    assert dealt.to_json()["error"] == f"2: {fault}"
    assert str(fault) in capfd.readouterr().err


def test_a_database_that_is_gone_ends_it(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(_: int, **__: object) -> Letter:
        raise DatabaseLost("gone")

    monkeypatch.setattr(service.letters, "replay", gone)
    with pytest.raises(DatabaseLost):
        replay_letters(service, (1, 2), every=False, actor=OPERATOR)


def test_some_are_dismissed_and_a_wrong_number_is_told(service: Service) -> None:
    dealt = dismiss_letters(service, (1, 9, 3), actor=OPERATOR)
    assert [(each.id, each.outcome) for each in dealt.letters] == [(1, "dismissed"), (3, "dismissed")]
    assert (list(dealt.faults), dealt.code) == ([9], 2)
    assert [each.id for each in service.letters.list()] == [2]
    assert "error" not in dismiss_letters(service, (2,), actor=OPERATOR).to_json()
