"""Cases as a terminal shows them: every time says its zone."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from eyeground.cli.clinic_cases import list_cases, look_at, show_case
from eyeground.clinic.service import Service
from tests.clinic.constant_grader import ConstantGrader
from tests.clinic.opened import open_service_in, work_off
from tests.clinic.populated import sign, take_in


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    made = open_service_in(tmp_path / "clinic")
    yield made
    made.close()


def test_times_say_that_they_are_utc(service: Service, capfd: pytest.CaptureFixture[str]) -> None:
    case_id = take_in(service, "one")
    work_off(service, [ConstantGrader()])
    list_cases(service, states=(), most=9)
    assert "since (UTC)" in capfd.readouterr().err
    sign(service, case_id)
    work_off(service, [])
    show_case(look_at(service, case_id))
    shown = capfd.readouterr().err
    times = re.findall(r"\d\d:\d\d:\d\d.{4}", shown)
    assert len(times) >= 5
    assert {each[8:] for each in times} == {" UTC"}
