"""What ``sign --wait`` gives: the answer that was signed, and none before it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select, update

from eyeground.cli.clinic_messages import NotInTime
from eyeground.cli.clinic_signing import amend_case, preview, save_draft, sign_case, wait_for_answer
from eyeground.clinic.clock import now
from eyeground.clinic.db.opinions import Draft
from eyeground.clinic.db.tables import Outgoing
from eyeground.clinic.drafts import LLM
from eyeground.clinic.records import EyeReview, Opinion
from eyeground.clinic.reviews import Doctor
from eyeground.clinic.service import Service
from eyeground.clinic.views import case_view
from tests.clinic.constant_grader import ConstantGrader
from tests.clinic.opened import agreed_opinion, open_service_in, work_off
from tests.clinic.populated import take_in

DOCTOR = Doctor("li", "Dr Li")


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    made = open_service_in(tmp_path / "clinic", release="unsigned")
    yield made
    made.close()


def sent(service: Service, revision: int) -> None:
    """As if the queue had confirmed it."""
    with service.database.write() as work:
        found = update(Outgoing).where(Outgoing.revision == revision).values(sent_at="2026-11-28T01:00:00.000000Z")
        assert work.session.execute(found).rowcount == 1  # type: ignore[attr-defined]


def test_what_went_out_unsigned_is_not_what_was_signed(service: Service) -> None:
    case_id = take_in(service, "one")
    work_off(service, [ConstantGrader()])
    sent(service, 0)
    amend_case(service, case_id, reason="a doctor has looked", doctor=DOCTOR)
    with service.database.read() as session:
        view = case_view(session, case_id)
    save_draft(service, view, agreed_opinion(view), doctor=DOCTOR)
    case, version, revision = sign_case(service, case_id[:8], version=None, doctor=DOCTOR, yes=True)
    assert (case, version > view["version"], revision) == (case_id, True, 1)
    work_off(service, [])
    with service.database.read() as session:
        assert sorted(session.scalars(select(Outgoing.revision))) == [0, 1]
    with pytest.raises(NotInTime):
        wait_for_answer(service, case_id, revision=revision, timeout_s=0.3)
    sent(service, 1)
    answer = wait_for_answer(service, case_id, revision=revision, timeout_s=1)
    assert answer["doctor_review"]["doctor_name"] == "Dr Li"
    assert answer["status"] != "unsigned"


@pytest.mark.parametrize("grade", [0, 4])
def test_what_is_shown_before_signing_is_what_goes_out(grade: int, tmp_path: Path) -> None:
    """The urgency follows from the doctor's findings, not from the models'."""
    service = open_service_in(tmp_path / "signed")
    case_id = take_in(service, "one")
    work_off(service, [ConstantGrader()])
    with service.database.read() as session:
        view = case_view(session, case_id)
    keys = {f"{each['part']}/{each['eye']}" for each in view["images"]}
    eyes = {key: EyeReview(findings={"DR": grade}, reason="I see it so") for key in keys}
    story = "Both eyes were seen, and this is what was found."
    with service.database.write() as work:
        made = {"language": "en", "by": LLM, "texts": {"narrative": story}, "made_at": now(), "facts_sha256": "a"}
        work.session.add(Draft(case_id=case_id, revision=1, **made))
    spoken = Opinion(eyes=eyes, conclusion="So", recommendation="So", narrative=story)
    save_draft(service, view, spoken, doctor=DOCTOR)
    shown = preview(service, case_id, doctor=DOCTOR)
    sign_case(service, case_id, version=None, doctor=DOCTOR, yes=True)
    work_off(service, [])
    sent(service, 1)
    answer = wait_for_answer(service, case_id, revision=1, timeout_s=1)
    assert {name: shown[name] for name in shown if name not in ("doctor_review", "report")} == {
        name: answer[name] for name in answer if name not in ("doctor_review", "report")
    }
    assert [str(told["report"]).count("drafted by AI") for told in (shown, answer)] == [1, 1]
    service.close()
