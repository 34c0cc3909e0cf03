"""What doctors do: nothing that a model found vanishes unseen, and a first read is about the eyes it was written of."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from eyeground.clinic.blobs.store import digest_of
from eyeground.clinic.db.opinions import FirstRead
from eyeground.clinic.db.tables import AuditRecord, Case
from eyeground.clinic.findings import FINDINGS
from eyeground.clinic.first_reads import FirstReadWanted
from eyeground.clinic.grader import Reading
from eyeground.clinic.intake import Arrived
from eyeground.clinic.records import EyeReview, Opinion, Said
from eyeground.clinic.reviews import Doctor, OpinionRefused
from eyeground.clinic.service import Service
from eyeground.clinic.views import case_view

from .constant_grader import ConstantGrader
from .opened import open_service_in, patient_message, photo, work_off

LI = Doctor("li", "Dr Li")
WU = Doctor("wu", "Dr Wu")
NOTHING = dict.fromkeys(FINDINGS["fundus"], 0)


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    made = open_service_in(tmp_path, blind_first_read=True)
    yield made
    made.close()


def in_review(service: Service, **found: int) -> str:
    """A case of whose right eye a model says this, and of whose left eye that nothing is there."""
    said = {
        eye: {name: Said(value=value, score=0.9) for name, value in (NOTHING | told).items()}
        for eye, told in (("OD", found), ("OS", {}))
    }
    answers = {digest_of(photo(f"m1 {eye}")): Reading("good", eye=eye, said=each) for eye, each in said.items()}  # type: ignore[arg-type]
    [outcome] = service.intake.admit([Arrived("screening", patient_message("m1"), "default")])
    work_off(service, [ConstantGrader(answers=answers)])
    return outcome.case_id


def seen(service: Service, case_id: str, who: Doctor = LI) -> dict[str, Any]:
    with service.database.read() as session:
        return case_view(session, case_id, account=who.account, blind=True)


def opinion(reason: str = "", **right: int) -> Opinion:
    """What a doctor says of the right eye; of the left that nothing is there."""
    eyes = {"fundus/OD": EyeReview(findings=right, reason=reason), "fundus/OS": EyeReview(findings=NOTHING)}
    return Opinion(eyes=eyes, conclusion="c")


def read_first(service: Service, case_id: str, who: Doctor = LI, **right: int) -> None:
    service.reviews.first_read(case_id, opinion(**right), version=seen(service, case_id)["version"], doctor=who)


def ranked(service: Service, case_id: str, told: Opinion) -> str:
    with service.database.read() as session:
        return service.reviews.rank(session, session.get_one(Case, case_id), told).word


def test_a_finding_of_the_model_that_nobody_judges_needs_a_reason_and_stays_as_urgent(service: Service) -> None:
    case_id = in_review(service, ON=1, DR=4)
    read_first(service, case_id, AMD=0)
    before = seen(service, case_id)
    assert before["urgency"] == "refer_1_week"
    open_ones = opinion(AMD=0)
    with pytest.raises(OpinionRefused, match="fundus/OD: the model finds ON, DR: judge it, or give the reason"):
        service.reviews.sign(case_id, open_ones, version=before["version"], doctor=LI)
    # Nobody has judged it yet: the eye as little as a finding of it.
    for told, word in (
        (open_ones, "refer_1_week"), (Opinion(), "refer_1_week"), (opinion(**NOTHING | {"ON": 1}), "refer_1_week"),
        (opinion(ON=0), "refer_1_month"), (opinion(**NOTHING), "return_12_24_months"),
    ):  # fmt: skip
        assert ranked(service, case_id, told) == word
    service.reviews.sign(case_id, opinion("not in the field", AMD=0), version=before["version"], doctor=LI)
    after = seen(service, case_id)
    assert (after["urgency"], after["state"]) == ("refer_1_week", "signed")
    assert after["reasons"]["en"] == ["right eye, fundus: optic neuropathy"]


def test_what_nobody_finds_may_be_left_open(service: Service) -> None:
    case_id = in_review(service, DR=2)
    read_first(service, case_id, DR=2)
    service.reviews.sign(case_id, opinion(DR=2), version=seen(service, case_id)["version"], doctor=LI)


def test_who_exchanges_the_eyes_has_all_first_reads_written_anew(service: Service) -> None:
    case_id = in_review(service, DR=4)
    for who in (LI, WU):
        read_first(service, case_id, who, DR=4)
    assert seen(service, case_id)["first_read"]["opinion"]["eyes"]["fundus/OD"]["findings"] == {"DR": 4}
    version = seen(service, case_id)["version"]
    service.reviews.decide_eyes(case_id, {0: "OS", 1: "OD"}, version=version, doctor=LI)
    work_off(service, [ConstantGrader()])
    view = seen(service, case_id)
    assert [(each["place"], each["eye"]) for each in view["images"]] == [(0, "OS"), (1, "OD")]
    assert (view["state"], view["blind"], view["first_read"]) == ("in_review", True, None)
    with service.database.read() as session:
        assert session.scalars(select(FirstRead)).all() == []
        [line] = session.scalars(select(AuditRecord).filter_by(event="first_read_dropped"))
    assert (line.case_id, line.actor) == (case_id, "li")
    assert json.loads(line.detail) == {"revision": 1, "doctors": ["li", "wu"]}
    with pytest.raises(FirstReadWanted):
        service.reviews.sign(case_id, opinion(DR=4), version=view["version"], doctor=WU)
    read_first(service, case_id, WU, DR=0)


def test_who_says_again_what_an_image_shows_keeps_the_first_reads(service: Service) -> None:
    case_id = in_review(service, DR=4)
    read_first(service, case_id, DR=4)
    service.reviews.decide_eyes(case_id, {0: "OD"}, version=seen(service, case_id)["version"], doctor=LI)
    assert seen(service, case_id)["first_read"] is not None
