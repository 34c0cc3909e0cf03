"""The first read without the models: until it is written, no route says anything that a model said."""

import json
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from sqlalchemy import select

from eyeground.clinic.blobs.store import digest_of
from eyeground.clinic.db.opinions import FirstRead
from eyeground.clinic.grader import Reading
from eyeground.clinic.records import Said
from eyeground.clinic.web.guard import POLICY

from ..constant_grader import ConstantGrader
from ..opened import encoded, work_off
from .office import Office, open_office

MODEL, ID = "Whisperer 9.9", "whisperer-id"
GRADES = {"fundus/OD": 3, "fundus/OS": 0}
# What the models said of the case: every word of it that could stand in an answer.
TOLD = (
    "0.7313", MODEL, ID, "refer_3_months", "diabetic retinopathy grade 3", "糖尿病视网膜病变 3 级", "haze",
    "superior arcade", "上方血管弓",
)  # fmt: skip


def picture(shade: int) -> bytes:
    file = BytesIO()
    Image.fromarray(np.full((40, 60, 3), shade, np.uint8)).save(file, "PNG")
    return file.getvalue()


def grader() -> ConstantGrader:
    """Says of the right eye what is looked for here."""
    heat = BytesIO()
    Image.fromarray(np.full((4, 6), 99, np.uint8)).save(heat, "PNG")
    zero = dict.fromkeys(("AMD", "CSC", "RP", "ON", "GLA", "RVO"), Said(value=0, score=0.7313))
    ill = Reading(
        "fair: haze", said=zero | {"DR": Said(value=3, score=0.7313)}, areas=("superior arcade",), heat=heat.getvalue(),
        heat_of="DR", device="Topcon",
    )  # fmt: skip
    fine = Reading("good", said=zero | {"DR": Said(value=0, score=0.7313)})
    return ConstantGrader(
        id=ID, title=MODEL, answers={digest_of(picture(90)): ill, digest_of(picture(91)): fine}
    )  # fmt: skip


@pytest.fixture
def blind(tmp_path: Path) -> Iterator[Office]:
    """An office where doctors look first."""
    found = open_office(tmp_path / "clinic", image_root=tmp_path, blind_first_read=True)
    yield found
    found.service.close()


def filled(office: Office, id: str = "m1") -> str:
    """A case that a model has spoken of."""
    photos = [
        {"name": f"{eye}.png", "eye": eye, "data": encoded(picture(shade))} for eye, shade in (("OD", 90), ("OS", 91))
    ]
    case_id = office.send(id, photos=photos, patient={"patient_id": "P7"})
    work_off(office.service, [grader()])
    return case_id


def opinion(**grades: int) -> dict[str, Any]:
    told = {"OD": 2, "OS": 0} | grades
    return {"eyes": {f"fundus/{eye}": {"findings": {"DR": grade}} for eye, grade in told.items()}}


def leaks(office: Office, case_id: str, who: str) -> list[str]:
    """Addresses that tell what a model said."""
    names = {
        "case_id": case_id,
        "place": "0",
        "message_id": "m1",
        "number": "1",
        "stamp": "0",
        "name": "x",
        "token": "x",
    }
    found = []
    for (method, path), roles in POLICY.items():
        # Statistics add up all cases; they name the models, and nobody's case.
        if method != "GET" or not roles or path.endswith("/statistics"):
            continue
        for lang in ("en", "zh"):
            reply = office.ask("GET", path.format(**names), who, params={"lang": lang})
            found += [f"{path}: {word}" for word in TOLD if reply.is_success and word in reply.text]
            if path.endswith("/heat") and reply.is_success:
                found.append(f"{path}: a map")
    for filter in ("urgent", "ungradable", "disagreement"):
        if office.get("cases", who, params={"filter": filter}).json()["cases"]:
            found.append(f"filter {filter}")
    version = office.get(f"cases/{case_id}", who).json()["version"]
    for method, path, body in (
        ("POST", "/api/v1/cases/{case_id}/draft", {"version": version, "language": "en"}),
        ("POST", "/cases/{case_id}/foreseen", {"version": version, "opinion": {}}),
        ("POST", "/api/v1/cases/{case_id}/sign", {"version": version, "opinion": opinion()}),
        ("PUT", "/api/v1/cases/{case_id}/opinion", {"version": 0, "opinion": opinion()}),
    ):
        reply = office.ask(method, path.format(case_id=case_id), who, json=body)
        found += [f"{path}: {word}" for word in TOLD if word in reply.text]
        if "differs from the model" in reply.text:
            found.append(f"{path}: that the model differs")
    if office.get("counts", who).json()["urgent"]:
        found.append("counts: urgent")
    return found


def test_no_route_says_what_a_model_said_before_the_first_read(blind: Office) -> None:
    case_id = filled(blind)
    assert leaks(blind, case_id, "doctor") == []
    told = leaks(blind, case_id, "operator")
    for wanted in ("/api/v1/cases/{case_id}: 0.7313", "/api/v1/cases: 0.7313", "counts: urgent", "filter urgent",
                   "/api/v1/cases/{case_id}/images/{place}/heat: a map", "/cases/{case_id}: haze"):  # fmt: skip
        if wanted == "/cases/{case_id}: haze":
            assert any(each.startswith("/cases/{case_id}: ") for each in told), told
        else:
            assert wanted in told
    view, line = blind.case(case_id), blind.get("cases", "doctor").json()["cases"][0]
    assert (view["blind"], view["findings"], view["urgency"], view["urgency_rank"]) == (True, [], "", None)
    assert (view["reasons"], view["rules"], view["answered"]["said"]) == ({}, "", {})
    assert [(each["quality"], each["heat"], each["device"]) for each in view["images"]] == [
        ("", [], "Topcon"),
        ("", [], ""),
    ]
    assert (line["blind"], line["eyes"], line["leads"], line["quality"]) == (True, {}, {}, {})
    heat = blind.get(f"cases/{case_id}/images/0/heat", "doctor")
    assert (heat.status_code, heat.json()["reason"]) == (403, "first_read_wanted")
    assert blind.get(f"cases/{case_id}/images/0/shown", "doctor").status_code == 200


def test_after_the_first_read_all_is_shown_to_this_doctor_alone(blind: Office) -> None:
    case_id = filled(blind)
    version = blind.case(case_id)["version"]
    body = {"version": version, "opinion": opinion()}
    reply = blind.ask("PUT", f"/api/v1/cases/{case_id}/first-read", "doctor", json=body)
    assert (reply.status_code, reply.json()) == (200, {"version": version, "state": "in_review"})
    view = blind.case(case_id)
    assert (view["blind"], view["urgency"], view["answered"]["values"]["fundus/OD"]["DR"]) == (
        False, "refer_3_months", 3,
    )  # fmt: skip
    assert view["first_read"]["opinion"]["eyes"]["fundus/OD"]["findings"] == {"DR": 2}
    assert view["images"][0]["heat"] == [{"target": "DR"}]
    assert blind.get(f"cases/{case_id}/images/0/heat", "doctor").status_code == 200
    assert leaks(blind, case_id, "doctor_here") == []
    assert blind.get(f"cases/{case_id}", "doctor_here").json()["first_read"] is None


def test_a_first_read_is_kept_once_and_as_it_was(blind: Office) -> None:
    case_id = filled(blind)
    version = blind.case(case_id)["version"]
    address = f"/api/v1/cases/{case_id}/first-read"

    def put(who: str = "doctor", version: int = version, **grades: int) -> tuple[int, str]:
        reply = blind.ask("PUT", address, who, json={"version": version, "opinion": opinion(**grades)})
        return reply.status_code, reply.json().get("reason", "")

    incomplete = opinion()
    del incomplete["eyes"]["fundus/OS"]
    reply = blind.ask("PUT", address, "doctor", json={"version": version, "opinion": incomplete})
    assert (reply.status_code, reply.json()["reason"]) == (422, "opinion_refused")
    assert put(version=version - 1) == (409, "stale")
    assert put("operator") == (403, "forbidden")
    assert put("doctor_elsewhere") == (404, "not_found")
    assert put() == (200, "")
    assert put(OD=4) == (409, "wrong_state")
    assert put("doctor_here", OD=1) == (200, "")
    with blind.service.database.read() as session:
        kept = session.scalars(select(FirstRead).order_by(FirstRead.id)).all()
    assert [(each.doctor, each.opinion["eyes"]["fundus/OD"]["findings"]["DR"]) for each in kept] == [
        ("doctor", 2),
        ("doctor_here", 1),
    ]
    events = [each["event"] for each in blind.get(f"cases/{case_id}", "operator").json()["history"]]
    assert events.count("first_read") == 2


def test_nothing_is_saved_or_signed_before_the_first_read(blind: Office) -> None:
    case_id = filled(blind)
    version = blind.case(case_id)["version"]
    whole = opinion(OD=3) | {"conclusion": "severe", "recommendation": "refer"}
    body = {"version": version, "opinion": whole}
    for method, path in (("PUT", "opinion"), ("POST", "sign")):
        reply = blind.ask(method, f"/api/v1/cases/{case_id}/{path}", "doctor", json=body)
        assert (reply.status_code, reply.json()["reason"]) == (403, "first_read_wanted")
        assert not any(word in reply.text for word in TOLD)
    blind.ask("PUT", f"/api/v1/cases/{case_id}/first-read", "doctor", json={"version": version, "opinion": opinion()})
    assert blind.ask("PUT", f"/api/v1/cases/{case_id}/opinion", "doctor", json=body).status_code == 200
    # Another doctor who looks first is not told by a conflict what the first one wrote, who had seen it all.
    reply = blind.ask("PUT", f"/api/v1/cases/{case_id}/opinion", "doctor_here", json=body)
    assert (reply.status_code, reply.json()["differences"]) == (409, [])
    assert blind.get(f"cases/{case_id}", "doctor_here").json()["reviews"] == []
    line = blind.get("cases", "doctor_here").json()["cases"][0]
    assert (line["draft_doctor"], line["blind"]) == ("", True)
    reply = blind.post(f"cases/{case_id}/sign", "doctor", json={"version": version + 1})
    assert reply.status_code == 200
    assert blind.get(f"cases/{case_id}", "doctor_here").json()["blind"] is False  # signed: the report is the report
    work_off(blind.service, [])
    amended = blind.post(f"cases/{case_id}/amend", "doctor_here", json={"version": version + 3, "reason": "x"})
    assert amended.status_code == 200
    assert blind.get(f"cases/{case_id}", "doctor_here").json()["blind"] is False


def test_a_case_that_is_held_is_decided_first(blind: Office) -> None:
    photos = [{"name": "a_OD.png", "eye": "OS", "data": encoded(picture(90))}]
    case_id = blind.send("m1", photos=photos)
    work_off(blind.service, [grader()])
    view = blind.case(case_id)
    assert (view["held"], view["blind"]) == (["fundus/0"], True)
    body = {"version": view["version"], "opinion": {"eyes": {}}}
    reply = blind.ask("PUT", f"/api/v1/cases/{case_id}/first-read", "doctor", json=body)
    assert (reply.status_code, reply.json()["reason"]) == (409, "wrong_state")


def test_a_report_request_has_nothing_to_look_at(blind: Office) -> None:
    blind.post("reports", "site_here", content=json.dumps({"id": "r1", "osFundusDisease": "cataract"}).encode())
    work_off(blind.service, [])
    [line] = blind.get("cases", "doctor").json()["cases"]
    assert line["blind"] is False


def test_where_nobody_asks_for_first_reads_all_is_shown_at_once(office: Office) -> None:
    case_id = filled(office)
    assert office.case(case_id)["blind"] is False
    assert "/api/v1/cases/{case_id}: 0.7313" in leaks(office, case_id, "doctor")
    version = office.case(case_id)["version"]
    body = {"version": version, "opinion": opinion()}
    assert office.ask("PUT", f"/api/v1/cases/{case_id}/first-read", "doctor", json=body).status_code == 200
    assert office.case(case_id)["first_read"]["opinion"]["eyes"]["fundus/OD"]["findings"] == {"DR": 2}


def test_an_earlier_visit_tells_only_what_a_doctor_signed(blind: Office) -> None:
    first = filled(blind)
    second = filled(blind, "m2")
    assert blind.case(first)["earlier"] == []
    [visit] = blind.case(second)["earlier"]
    assert (visit["id"], visit["values"], visit["signed_at"]) == (first, {}, "")
    assert [(each["place"], each["eye"]) for each in visit["images"]] == [(0, "OD"), (1, "OS")]
    [visit] = blind.get(f"cases/{second}", "operator").json()["earlier"]
    assert {key: values["DR"] for key, values in visit["values"].items()} == GRADES


def test_the_models_words_on_one_visit_do_not_leak_through_another_of_the_same_patient(blind: Office) -> None:
    first, second = filled(blind), filled(blind, "m2")
    view = blind.case(second)
    body = {"version": view["version"], "opinion": opinion()}
    assert blind.ask("PUT", f"/api/v1/cases/{second}/first-read", "doctor", json=body).status_code == 200
    view = blind.case(second)
    assert (view["blind"], blind.case(first)["blind"]) == (False, True)
    assert [(each["id"], each["values"]) for each in view["earlier"]] == [(first, {})]
    body = {"version": blind.case(first)["version"], "opinion": opinion()}
    assert blind.ask("PUT", f"/api/v1/cases/{first}/first-read", "doctor", json=body).status_code == 200
    [visit] = blind.case(second)["earlier"]
    assert {key: values["DR"] for key, values in visit["values"].items()} == GRADES
