"""What ``submit --wait`` tells: of the message that was sent, not of another one."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from eyeground.cli.clinic_messages import NotInTime, last_letter, wait_for_case
from eyeground.clinic.intake import Arrived
from eyeground.clinic.refusal import Refused
from eyeground.clinic.service import Service
from tests.clinic.constant_grader import ConstantGrader
from tests.clinic.opened import open_service_in, patient_message, photo, work_off

LATE = json.dumps({"message_id": "late", "Patient": {"patient_id": "P1", "photos": ["late_OD.png"]}}).encode()


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    made = open_service_in(tmp_path / "clinic", image_root=tmp_path)
    yield made
    made.close()


def taken_in(service: Service, body: bytes) -> None:
    """As a worker does."""
    service.intake.admit([Arrived("screening", body, "default")])
    work_off(service, [ConstantGrader()])


def test_the_same_id_with_other_files_is_not_the_old_case(service: Service) -> None:
    old, other = patient_message("one"), patient_message("one", patient={"age": 61})
    taken_in(service, old)
    newest = last_letter(service)
    assert wait_for_case(service, old, after=newest, timeout_s=1)[1] == "in_review"
    with pytest.raises(NotInTime):  # nobody has looked at it yet
        wait_for_case(service, other, after=newest, timeout_s=0.3)
    taken_in(service, other)
    with pytest.raises(Refused) as caught:
        wait_for_case(service, other, after=newest, timeout_s=1)
    assert [problem.code for problem in caught.value.problems] == ["idempotency_conflict"]


def test_a_letter_that_lay_there_before_says_nothing_of_this_sending(service: Service, tmp_path: Path) -> None:
    taken_in(service, LATE)
    newest = last_letter(service)
    assert newest == 1
    with pytest.raises(Refused, match="no such image"):
        wait_for_case(service, LATE, after=0, timeout_s=1)
    with pytest.raises(NotInTime, match="dead letter 1"):
        wait_for_case(service, LATE, after=newest, timeout_s=0.3)
    (tmp_path / "late_OD.png").write_bytes(photo(1))
    taken_in(service, LATE)
    assert wait_for_case(service, LATE, after=newest, timeout_s=1)[1] == "in_review"
