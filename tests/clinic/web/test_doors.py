"""Requests over HTTP: taken once for good, refused with all that is wrong, and followed to their answer."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select
from sqlalchemy.exc import TimeoutError as PoolExhausted

from eyeground.clinic.blobs.store import StoreLost, digest_of
from eyeground.clinic.db.database import DatabaseLost
from eyeground.clinic.db.tables import AuditRecord, Case, DeadLetter, Image, Outgoing
from eyeground.clinic.refusal import codes
from eyeground.clinic.web.routes.uploads import _NAMES

from ..constant_grader import ConstantGrader
from ..opened import encoded, patient_message, photo, work_off
from .office import Asked, Office, as_json, deep, open_office

WORK = [ConstantGrader()]
MISSING = {
    "code": "missing", "where": "message_id", "en": "message_id: is missing; send it",
    "zh": "message_id: 缺失；请补上",
}  # fmt: skip


def count(office: Office, table: Any) -> int:
    """Rows of a table."""
    with office.service.database.read() as session:
        return int(session.execute(select(func.count()).select_from(table)).scalar_one())


def test_a_message_is_taken_once_however_often_it_is_sent(office: Office) -> None:
    replies = [office.post("screenings", "site_here", content=patient_message("m1")) for _ in range(3)]
    assert [reply.status_code for reply in replies] == [201, 200, 200]
    assert len({reply.content for reply in replies}) == 1
    work_off(office.service, WORK)
    again = office.post("screenings", "site_here", content=patient_message("m1"))
    assert (again.status_code, again.content) == (200, replies[0].content), "whatever has become of it since"
    told = replies[0].json()
    assert replies[0].headers["location"] == told["address"] == "/api/v1/screenings/m1"
    assert (told["message_id"], told["site"], len(told["case_id"])) == ("m1", "here", 32)
    assert (count(office, Case), count(office, Image)) == (1, 2)


def test_another_message_under_the_same_id_is_a_conflict(office: Office) -> None:
    office.send("m1")
    other = patient_message("m1", patient={"name": "Zhang San"})
    reply = office.post("screenings", "site_here", content=other)
    assert (reply.status_code, reply.json()["reason"]) == (409, "idempotency_conflict")
    assert [each["code"] for each in reply.json()["problems"]] == ["idempotency_conflict"]
    assert "Zhang" not in reply.text
    assert (count(office, Case), count(office, DeadLetter)) == (1, 0), "the sender was told; nothing is kept"


def test_twenty_senders_of_one_message_make_one_case(office: Office) -> None:
    same = Asked("POST", "/api/v1/screenings", "site_here", {"content": patient_message("m1")})
    replies = office.all_at_once([same] * 20)
    assert sorted(reply.status_code for reply in replies) == [200] * 19 + [201]
    assert len({reply.content for reply in replies}) == 1
    assert count(office, Case) == 1


def test_everything_that_is_wrong_is_told_at_once(office: Office) -> None:
    bad = {
        "message_id": "no good id",
        "Patient": {
            "age": -3, "gender": "dog", "phone": [], "name": "\x00",
            "photos": [{"path": "../x.jpg"}, {"url": "http://a/b.jpg"}, {"data": "???"}, {"eye": "third", "path": "a"}],
        },
        "vision_data": {"left_eye": "9.9"},
    }  # fmt: skip
    reply = office.post("screenings", "site_here", content=as_json(bad))
    told = reply.json()
    assert (reply.status_code, told["reason"]) == (422, "refused")
    found = {(each["where"], each["code"]) for each in told["problems"]}
    assert {
        ("message_id", "bad_id"), ("Patient.patient_id", "missing"), ("Patient.photos.0.path", "bad_path"),
        ("Patient.photos.1.url", "url_refused"), ("Patient.photos.2.data", "bad_base64"),
        ("Patient.photos.3.eye", "bad_word"), ("Patient.gender", "bad_word"), ("Patient.phone", "wrong_type"),
    } <= {(where.replace("patient.", "Patient."), code) for where, code in found}  # fmt: skip
    for each in told["problems"]:
        assert {"code", "where", "en", "zh"} == set(each)
        assert each["en"].endswith(codes()[each["code"]]["en"])
        assert each["zh"].endswith(codes()[each["code"]]["zh"])
    chinese = office.post("screenings", "site_here", content=as_json(bad), params={"lang": "zh"}).json()
    assert chinese["error"] == "消息未被接收；问题见 problems"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "not_json"), (b"\xff\xfe", "not_utf8"), (b"[]", "not_an_object"), (deep(40), "too_deep"),
        (deep(15_000), "too_deep"),
        (deep(100_000), "too_many_values"),
        (b'{"a": 1, "a": 2}', "repeated_key"), (b'{"message_id": NaN}', "not_json"),
        (b"[" + b"1," * 30_000 + b"1]", "too_many_values"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("door", ["screenings", "checks", "reports"])
def test_the_contract_reads_the_bytes_and_nobody_else(office: Office, door: str, body: bytes, code: str) -> None:
    reply = office.post(door, "site_here", content=body)
    assert (reply.status_code, reply.json()["problems"][0]["code"]) == (422, code)


def test_a_message_that_is_too_long_for_its_contract_is_too_large(office: Office) -> None:
    reply = office.post("reports", "site_here", content=as_json({"id": "1", "osFundusDisease": "x" * 2**20}))
    assert (reply.status_code, reply.json()["reason"]) == (413, "too_large")


def test_a_request_is_followed_to_its_answer_which_is_what_a_queue_would_have_had(office: Office) -> None:
    office.send("m1")
    follow = [office.get("screenings/m1", "site_here").json()]
    view = office.signed("m2")
    office.send("m3")
    work_off(office.service, WORK)
    follow += [office.get(f"screenings/{each}", "site_here").json() for each in ("m1", "m3")]
    assert [each["state"] for each in follow] == ["received", "in_review", "in_review"]
    assert [each["answer"] for each in follow] == [None] * 3, "nothing goes out before a doctor has signed"
    with office.service.database.read() as session:
        body = session.execute(select(Outgoing.body).filter_by(case_id=view["id"])).scalar_one()
    replies = [office.get("screenings/m2", "site_here") for _ in range(3)]
    assert len({reply.content for reply in replies}) == 1
    assert replies[0].content.endswith(b', "answer": ' + body + b"}")
    told = replies[0].json()
    assert (told["message_id"], told["case_id"], told["state"]) == ("m2", view["id"], "released")
    assert told["answer"] == json.loads(body)
    assert told["answer"]["doctor_review"]["final_conclusion"] == "As the models say"


def test_each_door_has_ids_of_its_own(office: Office, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(photo(7))
    check, report = {"id": 17, "odFundusImg": "a.png"}, {"id": 17, "odFundusDisease": "RVO"}
    office.send("17")
    replies = [
        office.post("checks", "site_here", content=as_json(check)),
        office.post("reports", "site_here", content=as_json(report)),
        office.post("uploads", "site_here", files={"OD": ("a.png", photo(7))}, data={"message_id": "17"}),
        office.post("checks", "site_elsewhere", content=as_json(check)),
    ]
    assert [reply.status_code for reply in replies] == [201] * 4
    assert count(office, Case) == 5
    work_off(office.service, WORK)
    addresses = [reply.json()["address"] for reply in replies[:3]]
    assert addresses == [f"/api/v1/{door}/17" for door in ("checks", "reports", "uploads")]
    found = [office.ask("GET", address, "site_here").json() for address in addresses]
    assert [each["case_id"] for each in found] == [reply.json()["case_id"] for reply in replies[:3]]
    queues = [office.case(each["case_id"])["queue"] for each in found]
    assert queues == ["http_check", "http_report", "upload"]


def test_an_answer_waits_for_its_sender_and_goes_into_no_queue(office: Office, tmp_path: Path) -> None:
    service = open_office(tmp_path / "unsigned", release="unsigned")
    service.send("m1")
    work_off(service.service, WORK)
    with service.service.database.read() as session:
        [row] = session.scalars(select(Outgoing))
    assert (row.queue, row.sent_at != "") == ("", True)
    assert service.get("screenings/m1", "site_here").json()["answer"]["status"] == "unsigned"
    service.service.close()


def test_files_become_a_message_with_the_eyes_that_their_fields_say(office: Office) -> None:
    files = [(name, (f"{name}.png", photo(name))) for name in _NAMES if "O" in name]
    files += [("images", ("7_left.png", photo("left"))), ("anterior", ("dir\\7_R.png", photo("right")))]
    patient = {"patient_id": "P7", "name": "张三", "vision_data": {"left_eye": "4.9"}}
    reply = office.post("uploads", "site_here", files=files, data={"patient": json.dumps(patient)})
    assert reply.status_code == 201, reply.text
    work_off(office.service, WORK)
    view = office.case(reply.json()["case_id"])
    assert view["door"] == "screening"
    assert (view["order"]["person"]["name"], view["order"]["os"]["acuity"]) == ("张三", "4.9")
    found = {(each["name"], each["part"], each["claimed_eye"], each["sha256"]) for each in view["images"]}
    assert found == {
        ("OD.png", "fundus", "OD", digest_of(photo("OD"))),
        ("OS.png", "fundus", "OS", digest_of(photo("OS"))),
        ("anterior_OD.png", "anterior", "OD", digest_of(photo("anterior_OD"))),
        ("anterior_OS.png", "anterior", "OS", digest_of(photo("anterior_OS"))),
        ("7_left.png", "fundus", "OS", digest_of(photo("left"))),
        ("7_R.png", "anterior", "OD", digest_of(photo("right"))),
    }


def test_the_same_files_are_the_same_request(office: Office) -> None:
    files = [("OD", ("a.png", photo(1))), ("OS", ("b.png", photo(2)))]
    replies = [office.post("uploads", "site_here", files=files) for _ in range(2)]
    replies.append(office.post("uploads", "site_here", files=files[::-1]))
    assert [reply.status_code for reply in replies] == [201, 200, 200]
    assert len({reply.content for reply in replies}) == 1
    other = office.post("uploads", "site_here", files=files[:1])
    assert other.status_code == 201
    assert other.json()["case_id"] != replies[0].json()["case_id"]


@pytest.mark.parametrize(
    ("more", "problems"),
    [
        ({"files": {"patient": ("p.json", b"{}")}}, [("unknown_field", ""), ("no_image", "")]),
        ({"files": [("OD", (f"{each}.png", photo(each))) for each in range(17)]}, [("too_many_images", "")]),
        (
            {"files": {"OD": ("a.png", photo(1))}, "data": {"patient": "{'", "name": "Zhang"}},
            [("unknown_field", ""), ("not_json", "patient")],
        ),
        ({"files": {"OD": ("a.png", b"")}, "data": {"message_id": "a b"}}, [("bad_id", "message_id")]),
    ],
    ids=["no image", "too many", "no JSON", "empty image"],
)
def test_a_form_is_refused_with_all_that_is_wrong(
    office: Office, more: dict[str, Any], problems: list[tuple[str, str]]
) -> None:
    reply = office.post("uploads", "site_here", **more)
    assert reply.status_code == 422
    found = [(each["code"], each["where"]) for each in reply.json()["problems"]]
    assert found[: len(problems)] == problems
    assert "Zhang" not in reply.text


@pytest.mark.parametrize(
    ("kind", "content", "status", "reason"),
    [
        ("image/png", photo(1), 415, "unsupported_media_type"),
        ("application/json", patient_message("m1"), 415, "unsupported_media_type"),
        ("multipart/form-data", b"x", 422, "bad_form"),
        ("multipart/form-data; boundary=a", b"--a\r\nno form", 422, None),
    ],
)
def test_what_is_no_form_is_refused(office: Office, kind: str, content: bytes, status: int, reason: str | None) -> None:
    reply = office.post("uploads", "site_here", content=content, headers={"Content-Type": kind})
    assert reply.status_code == status
    assert reason is None or reply.json()["reason"] == reason


def test_a_hundred_uploads_at_once_are_a_hundred_cases(office: Office) -> None:
    asked = [
        Asked("POST", "/api/v1/uploads", "site_here", {"files": {"OD": (f"{each}.png", photo(each))}})
        for each in range(100)
    ]
    replies = office.all_at_once(asked)
    assert [reply.status_code for reply in replies] == [201] * 100
    assert len({reply.json()["case_id"] for reply in replies}) == 100
    assert count(office, Case) == count(office, Image) == 100


@pytest.mark.parametrize(
    "error",
    [DatabaseLost("Zhang San"), StoreLost("Zhang San"), PoolExhausted("Zhang San")],
    ids=lambda each: type(each).__name__,
)
def test_what_is_lost_is_worth_another_try(office: Office, error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def lost(*_: Any) -> None:
        raise error

    monkeypatch.setattr(type(office.service.store), "put", lost)
    reply = office.post("screenings", "site_here", content=patient_message("m1"))
    assert (reply.status_code, reply.json()["reason"], reply.headers["retry-after"]) == (503, "unavailable", "5")
    assert "Zhang" not in reply.text
    monkeypatch.undo()
    assert office.post("screenings", "site_here", content=patient_message("m1")).status_code == 201


def test_a_message_that_the_program_itself_fails_on_is_no_fault_of_its_sender(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: bytes) -> None:
        raise KeyError("Zhang San")

    monkeypatch.setattr("eyeground.clinic.exchange.screening.read", broken)
    reply = office.post("screenings", "site_here", content=patient_message("m1"))
    assert (reply.status_code, reply.json()["reason"]) == (500, "failed")
    assert [each["code"] for each in reply.json()["problems"]] == ["failed_every_time"]
    assert "Zhang" not in reply.text


def test_who_sent_it_stands_in_the_audit_trail(office: Office) -> None:
    case_id = office.send("m1")
    office.post("screenings", "site_here", content=patient_message("m1"))
    with office.service.database.read() as session:
        lines = session.execute(select(AuditRecord.event, AuditRecord.actor).filter_by(case_id=case_id)).all()
    assert [tuple(line) for line in lines] == [("received", "site_here"), ("repeated", "site_here")]


def test_images_come_back_as_they_were_sent(office: Office) -> None:
    every = bytes(range(256)) * 8
    photos = [{"name": "a_OD.png", "data": encoded(photo("x") + every)}]
    case_id = office.send("m1", photos=photos)
    reply = office.get(f"cases/{case_id}/images/0", "doctor")
    assert base64.b64encode(reply.content).decode() == photos[0]["data"]
