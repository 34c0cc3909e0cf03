"""Which eye each image is taken for, what failed and is asked again, and what makes a signed case urgent."""

import base64
import json
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import PIL.Image
import pytest
from sqlalchemy import select

from eyeground.clinic.answering import answer_of
from eyeground.clinic.blobs.store import digest_of
from eyeground.clinic.cases import find
from eyeground.clinic.db.opinions import HeatMap
from eyeground.clinic.db.tables import Case, DeadLetter, Finding, Job, Outgoing
from eyeground.clinic.grader import Grader, Reading
from eyeground.clinic.intake import Arrived
from eyeground.clinic.jobs import Jobs
from eyeground.clinic.reading import Reader
from eyeground.clinic.records import EyeReview, Opinion, Said
from eyeground.clinic.reviews import Doctor, OpinionRefused
from eyeground.clinic.seals import broken_seals
from eyeground.clinic.service import Service, signing_key
from eyeground.clinic.states import OutOfTurn
from eyeground.clinic.views import case_view
from eyeground.clinic.worker import _in_thread

from .constant_grader import ConstantGrader
from .opened import open_service_in, photo, work_off

LI = Doctor("li", "Dr Li")
HEALTHY = dict.fromkeys(("AMD", "CSC", "RP", "ON", "GLA", "RVO", "DR"), 0)


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    made = open_service_in(tmp_path)
    yield made
    made.close()


def admit(service: Service, *photos: dict[str, Any], id: str = "v1", **settings: Any) -> str:
    """A patient message with these photos; a photo's ``seed`` makes its bytes."""
    told = [
        {**{key: value for key, value in each.items() if key != "seed"}, "data": _data(each["seed"])} for each in photos
    ]
    body = json.dumps({"message_id": id, "Patient": {"patient_id": "P", "photos": told}}).encode()
    [outcome] = service.intake.admit([Arrived("screening", body, "default")])
    assert outcome.kind == "admitted"
    return outcome.case_id


def _data(seed: str) -> str:
    return base64.b64encode(photo(seed)).decode()


def view(service: Service, case_id: str) -> dict[str, Any]:
    with service.database.read() as session:
        return case_view(session, case_id)


def healthy_grader(**more: Any) -> ConstantGrader:
    """Calls everybody healthy."""

    class Healthy(ConstantGrader):
        def read(self, data: bytes, *, name: str) -> Reading:
            super().read(data, name=name)
            return Reading("good", said={key: Said(value=0, score=0.1) for key in self.offers})

    return Healthy(**more)


def rested(service: Service, graders: list[Grader], *, tries: int) -> None:
    """Try what waits as often as it takes, without the pauses."""
    reader = Reader(service.database, service.store, graders=graders, rules=service.rules)
    jobs = Jobs(service.database, reader, lease_s=30, tries=tries)
    for _ in range(tries + 2):
        with service.database.write() as work:
            for job in work.session.scalars(select(Job)):
                job.patience_s = 0.0
        taken = jobs.take()
        if taken is None:
            return
        try:
            jobs.finish(taken, reader.look(taken.case_id) if taken.kind == "read" else None)
        except Exception:  # noqa: BLE001 - as a worker has it
            jobs.fail(taken)


def test_the_name_of_a_file_counts_where_no_model_looks(service: Service) -> None:
    case_id = admit(service, {"seed": "a", "eye": "OD", "part": "anterior", "name": "17_OS.jpg"})
    work_off(service, [healthy_grader()])
    found = view(service, case_id)
    assert found["held"] == ["anterior/0"]
    assert found["images"][0]["eye"] == ""


def test_the_same_picture_for_both_eyes_is_held(service: Service) -> None:
    case_id = admit(service, {"seed": "a", "eye": "OD", "name": "x.jpg"}, {"seed": "a", "eye": "OS", "name": "y.jpg"})
    work_off(service, [healthy_grader()])
    assert view(service, case_id)["held"] == ["fundus/0", "fundus/1"]


def test_each_name_of_the_same_bytes_is_read(service: Service) -> None:
    case_id = admit(
        service, {"seed": "a", "eye": "OD", "name": "a.jpg"}, {"seed": "a", "eye": "OD", "name": "b_OS.jpg"}
    )
    work_off(service, [healthy_grader()])
    assert view(service, case_id)["held"] == ["fundus/1"]


def test_a_case_that_failed_is_placed_and_cannot_be_signed_without_a_verdict(service: Service) -> None:
    case_id = admit(service, {"seed": "a", "name": "1.jpg"}, {"seed": "b", "eye": "OS", "name": "2.jpg"})
    rested(service, [ConstantGrader(fault=RuntimeError("no"))], tries=2)
    found = view(service, case_id)
    assert found["state"] == "in_review"
    # Nobody says which eye the first shows, so a doctor has to.
    assert found["held"] == ["fundus/0"]
    with pytest.raises(OutOfTurn, match="decide that first"):
        service.reviews.sign(case_id, Opinion(conclusion="c"), version=found["version"], doctor=LI)
    service.reviews.decide_eyes(case_id, {0: "OD"}, version=found["version"], doctor=LI)
    rested(service, [ConstantGrader(fault=RuntimeError("no"))], tries=2)
    found = view(service, case_id)
    assert (found["held"], found["unavailable"]["fundus/OD"]) == ([], "failed")
    with pytest.raises(OpinionRefused, match="fundus/OD: give findings") as refused:
        service.reviews.sign(case_id, Opinion(conclusion="c"), version=found["version"], doctor=LI)
    assert "fundus/OS: give findings" in str(refused.value)
    # What the doctor found is what counts, though no model answered; what he leaves open he has left open.
    eyes = {"fundus/OD": EyeReview(findings={"DR": 3}), "fundus/OS": EyeReview(findings={"DR": 3})}
    spoken = Opinion(eyes=eyes, conclusion="c")
    service.reviews.sign(case_id, spoken, version=found["version"], doctor=LI)
    found = view(service, case_id)
    with service.database.read() as session:
        answered = answer_of(session, find(session, case_id), revision=1)
    assert found["urgency"] == "refer_3_months"
    assert answered.unavailable["fundus/OD.AMD"] == "not_assessed"


def test_a_release_that_fails_again_and_again_stops_nobody(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    first = admit(service, {"seed": "a", "eye": "OD", "name": "1.jpg"}, id="v1")
    work_off(service, [healthy_grader()])
    eyes = {"fundus/OD": EyeReview(findings=HEALTHY)}
    service.reviews.sign(first, Opinion(eyes=eyes, conclusion="c"), version=view(service, first)["version"], doctor=LI)
    second = admit(service, {"seed": "b", "eye": "OD", "name": "2.jpg"}, id="v2")

    def broken(*_: object) -> None:
        raise StopIteration

    with monkeypatch.context() as patch:
        patch.setattr("eyeground.clinic.jobs.release", broken)
        rested(service, [healthy_grader()], tries=3)
        rested(service, [healthy_grader()], tries=3)
    assert view(service, second)["state"] == "in_review"
    assert view(service, first)["state"] == "signed"
    rested(service, [healthy_grader()], tries=3)
    assert view(service, first)["state"] == "released"


async def _escaping() -> None:
    def act() -> None:
        raise StopIteration

    await _in_thread(act)


def test_a_stop_iteration_in_a_thread_is_told() -> None:
    import asyncio

    with pytest.raises(RuntimeError, match="StopIteration"):
        asyncio.run(asyncio.wait_for(_escaping(), 5))


def test_a_report_request_that_fails_reaches_a_doctor(service: Service) -> None:
    body = json.dumps({"id": "r1", "odFundusDisease": "糖尿病视网膜病变"}).encode()
    [outcome] = service.intake.admit([Arrived("report", body, "default")])
    reader = Reader(service.database, service.store, graders=[], rules=service.rules)
    with service.database.write() as work:
        reader.give_up(work, outcome.case_id)
    assert view(service, outcome.case_id)["state"] == "in_review"


def test_the_doctor_s_word_makes_a_case_urgent(service: Service) -> None:
    case_id = admit(service, {"seed": "a", "eye": "OD", "name": "1.jpg"}, {"seed": "b", "eye": "OS", "name": "2.jpg"})
    work_off(service, [healthy_grader()])
    before = view(service, case_id)
    assert before["urgency"] == service.rules.states.normal
    eyes = {
        "fundus/OD": EyeReview(findings={**HEALTHY, "DR": 4}, reason="new vessels"),
        "fundus/OS": EyeReview(ungradable=True, reason="cataract"),
    }
    service.reviews.sign(case_id, Opinion(eyes=eyes, conclusion="c"), version=before["version"], doctor=LI)
    work_off(service, [])
    after = view(service, case_id)
    assert after["urgency"] == "refer_1_month"
    assert after["reasons"]["en"] == ["right eye, fundus: diabetic retinopathy grade 4"]
    with service.database.read() as session:
        answer = json.loads(session.scalars(select(Outgoing.body)).one())
    assert answer["urgency"] == "refer_1_month"
    assert "Nothing found" not in answer["report"]["en"]


def test_an_amendment_with_another_urgency_breaks_no_seal(service: Service) -> None:
    case_id = admit(service, {"seed": "a", "eye": "OD", "name": "1.jpg"})
    work_off(service, [healthy_grader()])
    for grade in (0, 4):
        eyes = {"fundus/OD": EyeReview(findings={**HEALTHY, "DR": grade}, reason="r")}
        version = view(service, case_id)["version"]
        service.reviews.sign(case_id, Opinion(eyes=eyes, conclusion="c"), version=version, doctor=LI)
        work_off(service, [])
        if grade == 0:
            service.reviews.amend(case_id, reason="r", version=view(service, case_id)["version"], doctor=LI)
    assert view(service, case_id)["urgency"] == "refer_1_month"
    with service.database.read() as session:
        assert broken_seals(session, key=signing_key(service.settings.secret.get_secret_value())) == []


def test_a_corrected_side_empties_the_draft_and_an_eye_without_an_image_is_not_signed(service: Service) -> None:
    case_id = admit(service, {"seed": "a", "eye": "OD", "name": "1.jpg"})
    work_off(service, [healthy_grader()])
    words = {"conclusion": "right eye bad", "recommendation": "soon", "narrative": "the right eye is bad"}
    draft = Opinion(eyes={"fundus/OD": EyeReview(findings={**HEALTHY, "DR": 3}, reason="r")}, **words)
    version = service.reviews.save(case_id, draft, version=view(service, case_id)["version"], doctor=LI)
    service.reviews.decide_eyes(case_id, {0: "OS"}, version=version, doctor=LI)
    work_off(service, [healthy_grader()])
    found = view(service, case_id)
    # Neither grades nor sentences about the other eye are left.
    assert Opinion.model_validate(found["reviews"][0]["opinion"]) == Opinion()
    both = Opinion(
        eyes={"fundus/OD": EyeReview(findings=HEALTHY), "fundus/OS": EyeReview(findings=HEALTHY)}, conclusion="c"
    )
    with pytest.raises(OpinionRefused, match="fundus/OD: there is no image of it"):
        service.reviews.sign(case_id, both, version=found["version"], doctor=LI)


def test_what_could_not_be_said_is_asked_again_and_a_model_that_is_gone_is_silent(service: Service) -> None:
    case_id = admit(service, {"seed": "a", "eye": "OD", "name": "1.jpg"})
    [sha256] = list(service.store.hashes())
    kept = service.store.get(sha256)
    service.store.remove(sha256)
    work_off(service, [healthy_grader(id="first")])
    found = view(service, case_id)
    assert found["unavailable"]["fundus/OD"] == "cannot_grade"
    service.store.put(kept)
    service.reviews.reread(case_id, version=found["version"], doctor=LI)
    work_off(service, [healthy_grader(id="first")])
    found = view(service, case_id)
    assert found["answered"]["values"]["fundus/OD"] == HEALTHY
    service.reviews.reread(case_id, version=found["version"], doctor=LI)
    work_off(service, [healthy_grader(id="second", offers=("DR",))])
    found = view(service, case_id)
    assert found["answered"]["values"]["fundus/OD"] == {"DR": 0}
    assert found["unavailable"]["fundus/OD.GLA"] == "not_installed"
    with service.database.read() as session:
        assert session.scalars(select(Finding.model_id)).all() == ["second"]


def test_a_store_that_is_away_costs_no_message_a_try(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    from eyeground.clinic.blobs.store import StoreLost

    body = json.dumps(
        {"message_id": "m", "Patient": {"patient_id": "P", "photos": [{"eye": "OD", "data": _data("a")}]}}
    )
    arrived = Arrived("screening", body.encode(), "default", redelivered=True)

    def away(_: bytes) -> str:
        raise StoreLost("away")

    with monkeypatch.context() as patch:
        patch.setattr(service.store, "put", away)
        for _ in range(20):
            with pytest.raises(StoreLost):
                service.intake.admit([arrived])
    [outcome] = service.intake.admit([arrived])
    assert outcome.kind == "admitted"


def test_of_a_refused_message_no_image_is_kept(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (root / "a.png").write_bytes(photo("a"))
    service = open_service_in(tmp_path / "home", image_root=root)
    body = json.dumps({"id": 1, "odFundusImg": "a.png", "osFundusImg": "missing.png"}).encode()
    [outcome] = service.intake.admit([Arrived("check", body, "default")])
    with service.database.read() as session:
        [letter] = session.scalars(select(DeadLetter)).all()
        assert session.scalars(select(Case)).all() == []
    assert (outcome.kind, [each["where"] for each in letter.problems]) == ("refused", ["osFundusImg"])
    assert list(service.store.hashes()) == []
    service.close()


def test_a_case_obeys_the_release_it_came_under(tmp_path: Path) -> None:
    careful = open_service_in(tmp_path)
    case_id = admit(careful, {"seed": "a", "eye": "OD", "name": "1.jpg"})
    quick = open_service_in(tmp_path, release="unsigned")
    assert work_off(quick, [healthy_grader()]) == 1
    assert view(careful, case_id)["state"] == "in_review"
    careful.close()
    quick.close()


def test_heat_maps_are_kept_once_an_image_and_model_and_go_with_their_findings(service: Service) -> None:
    told = Reading("good", said={"DR": Said(value=2, score=0.8)}, heat=b"a png", heat_of="DR", device="Topcon")
    answers = {digest_of(photo(seed)): told for seed in ("right", "left")}
    case_id = admit(
        service, {"eye": "OD", "name": "a.png", "seed": "right"}, {"eye": "OS", "name": "b.png", "seed": "left"},
        {"eye": "OS", "name": "c.png", "seed": "left"}, {"eye": "OS", "name": "d.png", "seed": "no map"},
    )  # fmt: skip
    graders = [ConstantGrader(id="one", answers=answers), ConstantGrader(id="two", answers=answers)]
    work_off(service, graders)

    def kept() -> list[tuple[str, str, str, bytes]]:
        with service.database.read() as session:
            rows = session.scalars(select(HeatMap).order_by(HeatMap.image_sha256, HeatMap.model_id))
            return [(row.image_sha256, row.model_id, row.target, row.png) for row in rows]

    assert kept() == [(sha256, model, "DR", b"a png") for sha256 in sorted(answers) for model in ("one", "two")]
    shown = view(service, case_id)["images"]
    assert [each["heat"] for each in shown] == [[{"target": "DR"}]] * 3 + [[]]
    assert [each["device"] for each in shown] == ["Topcon"] * 3 + [""]
    service.reviews.reread(case_id, version=view(service, case_id)["version"], doctor=LI)
    work_off(service, graders[1:])
    assert [model for _, model, _, _ in kept()] == ["two", "two"]


def test_the_camera_of_an_image_that_no_model_looks_at_is_told(service: Service) -> None:
    exif = PIL.Image.Exif()
    exif[0x0110] = "SL-D7"
    file = BytesIO()
    PIL.Image.new("RGB", (8, 8)).save(file, "JPEG", exif=exif)
    told = {"eye": "OD", "name": "a.jpg", "part": "anterior", "data": base64.b64encode(file.getvalue()).decode()}
    body = json.dumps({"message_id": "v1", "Patient": {"patient_id": "P", "photos": [told]}}).encode()
    [outcome] = service.intake.admit([Arrived("screening", body, "default")])
    work_off(service, [])
    [image] = view(service, outcome.case_id)["images"]
    assert (image["device"], image["quality"]) == ("SL-D7", "cannot grade: no model looks at it")
