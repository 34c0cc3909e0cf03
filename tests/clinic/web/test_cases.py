"""What doctors see and do over HTTP."""

import json
from collections import Counter
from typing import Any

import pytest
from sqlalchemy import select

from eyeground.clinic.db.tables import AuditRecord, Image, Outgoing, Review

from ..constant_grader import ConstantGrader
from ..opened import agreed_opinion, encoded, photo, work_off
from .office import Asked, Office, as_json

WORK = [ConstantGrader()]


def events(office: Office, case_id: str) -> list[tuple[str, str]]:
    """What the audit trail says of a case."""
    with office.service.database.read() as session:
        lines = session.scalars(select(AuditRecord).filter_by(case_id=case_id).order_by(AuditRecord.seq))
        return [(line.event, line.actor) for line in lines]


def test_the_work_list_holds_what_waits_for_a_doctor(office: Office) -> None:
    for number in range(5):
        office.send(f"m{number}", patient={"name": f"patient {number}"})
    assert office.get("cases", "doctor").json() == {"cases": [], "skip": 0, "more": False}
    work_off(office.service, WORK)
    office.send("later")
    office.send("other", who="site_elsewhere")
    told = office.get("cases", "doctor").json()["cases"]
    assert sorted(line["request_id"] for line in told) == [f"m{number}" for number in range(5)]
    keys = [(line["urgency_rank"], line["received_at"]) for line in told]
    assert keys == sorted(keys)
    assert {line["name"] for line in told} == {f"patient {number}" for number in range(5)}
    ids = [line["id"] for line in told]
    pages = [office.get("cases", "doctor", params={"most": 2, "skip": skip}).json() for skip in (0, 2, 4)]
    assert [[line["id"] for line in page["cases"]] for page in pages] == [ids[:2], ids[2:4], ids[4:]]
    assert [page["more"] for page in pages] == [True, True, False]
    received = office.get("cases", "doctor", params={"state": ["received"]}).json()["cases"]
    assert sorted(line["request_id"] for line in received) == ["later", "other"]
    both = office.get("cases", "doctor", params={"state": ["received", "in_review"]}).json()["cases"]
    assert len(both) == 7


def test_the_work_list_holds_another_sites_cases_only_for_those_who_may_see_all(office: Office) -> None:
    office.send("m1")
    office.send("m2", who="site_elsewhere")
    state = {"state": ["received"]}

    def seen(who: str, **more: str) -> list[str]:
        told = office.get("cases", who, params={**state, **more}).json()["cases"]
        return sorted(line["request_id"] for line in told)

    assert seen("doctor") == seen("admin") == ["m1", "m2"]
    assert (seen("doctor_here"), seen("doctor_elsewhere")) == (["m1"], ["m2"])
    assert (seen("doctor", site="here"), seen("doctor_here", site="here")) == (["m1"], ["m1"])
    assert seen("doctor_here", site="elsewhere") == []


@pytest.mark.parametrize(
    "query",
    [
        {"state": "gone"},
        {"most": 0},
        {"most": 201},
        {"skip": -1},
        {"skip": 10**30},
        {"site": "a b"},
        {"most": "x"},
        {"search": "a\0"},
        {"search": "\x7f"},
    ],
)
def test_a_bad_query_is_refused(office: Office, query: dict[str, Any]) -> None:
    reply = office.get("cases", "doctor", params=query)
    assert (reply.status_code, reply.json()["reason"]) == (422, "bad_query")


def test_all_of_a_case_is_shown_and_that_it_was_is_written_down_once(office: Office) -> None:
    case_id = office.send("m1", patient={"name": "张三", "age": 61})
    work_off(office.service, WORK)
    before = events(office, case_id)
    view = office.case(case_id)
    assert (view["order"]["person"]["name"], view["state"], view["door"]) == ("张三", "in_review", "screening")
    assert [(each["place"], each["eye"], each["quality"]) for each in view["images"]] == [
        (0, "OD", "good"),
        (1, "OS", "good"),
    ]
    assert set(view["answered"]["values"]) == {"fundus/OD", "fundus/OS"}
    assert [each["model"] for each in view["findings"]] == ["Constant 1.0"] * 2
    assert view["history"][-1]["event"] == "case_seen"
    office.case(case_id)
    office.get(f"cases/{case_id}", "operator")
    office.get(f"cases/{case_id}", "doctor_elsewhere")
    assert events(office, case_id) == [*before, ("case_seen", "doctor"), ("case_seen", "operator")]


KINDS = [
    (b"\xff\xd8\xff\xe0", "image/jpeg", ""), (b"\x89PNG\r\n\x1a\n", "image/png", ""), (b"II*\0", "image/tiff", ".tif"),
    (b"MM\0*", "image/tiff", ".tif"), (b"BM", "image/bmp", ".bmp"), (bytes(128) + b"DICM", "application/dicom", ".dcm"),
    (b"<html><script>alert(1)</script>", "application/octet-stream", ".bin"),
    (b"<svg onload=alert(1)>", "application/octet-stream", ".bin"), (b"%PDF-1.7", "application/octet-stream", ".bin"),
    (b"GIF89a", "application/octet-stream", ".bin"),
]  # fmt: skip


def test_an_image_is_what_it_is_and_not_what_it_is_called(office: Office) -> None:
    photos = [
        {"name": f"Zhang San {place}_OD.html", "data": encoded(start + b"rest")}
        for place, (start, *_) in enumerate(KINDS)
    ]
    case_id = office.send("m1", photos=photos)
    for place, (start, kind, suffix) in enumerate(KINDS):
        reply = office.get(f"cases/{case_id}/images/{place}", "doctor")
        assert (reply.status_code, reply.content, reply.headers["content-type"]) == (200, start + b"rest", kind)
        assert reply.headers["x-content-type-options"] == "nosniff"
        assert reply.headers["content-security-policy"].startswith("default-src 'none'")
        saved = reply.headers.get("content-disposition", "")
        assert saved.startswith("attachment; filename=") == bool(suffix)
        assert saved.endswith(f'{suffix}"' if suffix else "")
        assert "Zhang" not in str(reply.headers)
    seen = Counter(event for event, _ in events(office, case_id))
    assert seen["image_seen"] == len(KINDS)
    office.get(f"cases/{case_id}/images/0", "doctor")
    assert Counter(event for event, _ in events(office, case_id)) == seen


def test_an_image_that_is_gone_or_was_changed_is_not_shown(office: Office) -> None:
    case_id = office.send("m1")
    with office.service.database.read() as session:
        first, second = session.scalars(select(Image.sha256).order_by(Image.place))
    office.service.store.remove(first)
    reply = office.get(f"cases/{case_id}/images/0", "doctor")
    assert (reply.status_code, reply.json()["reason"]) == (404, "image_gone")
    assert office.get(f"cases/{case_id}/images/1", "doctor").status_code == 200
    assert second != first
    assert office.get(f"cases/{case_id}/images/2", "doctor").json()["reason"] == "not_found"


def test_an_opinion_is_saved_signed_released_and_amended(office: Office) -> None:
    view = office.in_review("m1")
    case, opinion = f"cases/{view['id']}", agreed_opinion(view).model_dump()

    def put(version: int, **more: Any) -> dict[str, Any]:
        reply = office.ask(
            "PUT", f"/api/v1/{case}/opinion", "doctor", json={"version": version, "opinion": opinion | more}
        )
        assert reply.status_code == 200, reply.text
        told: dict[str, Any] = reply.json()
        return told

    saved = put(view["version"], conclusion="first")
    saved = put(saved["version"], conclusion="second")
    assert saved == {"version": view["version"] + 2, "state": "in_review"}
    assert office.case(view["id"])["reviews"][0]["opinion"]["conclusion"] == "second"
    signed = office.post(f"{case}/sign", "doctor", json={"version": saved["version"]}).json()
    assert signed["state"] == "signed"
    work_off(office.service, [])
    answer = office.get("screenings/m1", "site_here").json()
    assert answer["answer"]["doctor_review"]["final_conclusion"] == "second"
    version = office.case(view["id"])["version"]
    amended = office.post(f"{case}/amend", "doctor", json={"version": version, "reason": "typing error"}).json()
    assert amended["state"] == "amended"
    assert office.get("screenings/m1", "site_here").json() == answer | {"state": "amended"}
    assert put(amended["version"], conclusion="third")["state"] == "amended"
    signed = office.post(
        f"{case}/sign",
        "doctor",
        json={"version": amended["version"] + 1, "opinion": opinion | {"conclusion": "fourth"}},
    ).json()
    work_off(office.service, [])
    told = office.get("screenings/m1", "site_here").json()["answer"]
    assert (told["doctor_review"]["final_conclusion"], told["status"]) == ("fourth", "amended")
    found = office.case(view["id"])
    assert [(each["revision"], each["reason"]) for each in found["reviews"]] == [(1, ""), (2, "typing error")]
    assert [each["revision"] for each in found["answers"]] == [1, 2]


def test_who_saw_an_older_version_is_told_what_is_different_now(office: Office) -> None:
    view = office.in_review("m1")
    mine = agreed_opinion(view, conclusion="mine").model_dump()
    theirs = agreed_opinion(view, conclusion="theirs").model_dump()
    dr = mine["eyes"]["fundus/OD"]["findings"]["DR"]
    theirs["eyes"]["fundus/OD"]["findings"]["DR"] = (dr + 1) % 5
    theirs["eyes"].pop("fundus/OS")
    address = f"cases/{view['id']}"
    first = {"version": view["version"], "opinion": theirs}
    assert office.ask("PUT", f"/api/v1/{address}/opinion", "doctor_here", json=first).status_code == 200
    for method, path in (("PUT", "opinion"), ("POST", "sign")):
        body = {"version": view["version"], "opinion": mine}
        reply = office.ask(method, f"/api/v1/{address}/{path}", "doctor", json=body)
        told = reply.json()
        assert (reply.status_code, told["reason"], told["version"]) == (409, "stale", view["version"] + 1)
        differ = {each["where"]: (each["sent"], each["stored"]) for each in told["differences"]}
        assert differ["conclusion"] == ("mine", "theirs")
        assert differ["eyes.fundus/OD.findings.DR"] == (dr, (dr + 1) % 5)
        assert differ["eyes.fundus/OS.ungradable"] == (False, None)
        assert all(where.startswith(("conclusion", "eyes.")) for where in differ)
    for path, more in (
        ("amend", {"reason": "x"}),
        ("reread", {}),
        ("eye", {"eyes": [{"place": 0, "eye": "OD"}]}),
        ("sign", {}),
    ):
        reply = office.post(f"{address}/{path}", "doctor", json={"version": view["version"], **more})
        assert (reply.status_code, reply.json()["version"], reply.json()["differences"]) == (
            409,
            view["version"] + 1,
            [],
        )


def test_of_fifty_who_sign_at_once_one_wins(office: Office) -> None:
    view = office.in_review("m1")
    opinions = [agreed_opinion(view, conclusion=f"of {place}").model_dump() for place in range(50)]
    asked = [
        Asked(
            "POST", f"/api/v1/cases/{view['id']}/sign", ("doctor", "doctor_here")[place % 2],
            {"json": {"version": view["version"], "opinion": opinion}},
        )
        for place, opinion in enumerate(opinions)
    ]  # fmt: skip
    replies = office.all_at_once(asked)
    assert Counter(reply.status_code for reply in replies) == {200: 1, 409: 49}
    [winner] = [place for place, reply in enumerate(replies) if reply.status_code == 200]
    for place, reply in enumerate(replies):
        if place != winner:
            [difference] = reply.json()["differences"]
            assert difference == {"where": "conclusion", "sent": f"of {place}", "stored": f"of {winner}"}
    with office.service.database.read() as session:
        [review] = session.scalars(select(Review))
    assert (review.opinion["conclusion"], review.doctor) == (f"of {winner}", ("doctor", "doctor_here")[winner % 2])
    work_off(office.service, [])
    with office.service.database.read() as session:
        [body] = session.scalars(select(Outgoing.body))
    assert json.loads(body)["doctor_review"]["final_conclusion"] == f"of {winner}"


def test_an_opinion_that_is_not_complete_says_all_that_is_missing(office: Office) -> None:
    view = office.in_review("m1")
    opinion = agreed_opinion(view, conclusion=" ").model_dump()
    value = opinion["eyes"]["fundus/OD"]["findings"]["AMD"]
    opinion["eyes"]["fundus/OD"]["findings"]["AMD"] = 1 - value
    del opinion["eyes"]["fundus/OS"]
    body = {"version": view["version"], "opinion": opinion}
    reply = office.post(f"cases/{view['id']}/sign", "doctor", json=body)
    assert (reply.status_code, reply.json()["reason"]) == (422, "opinion_refused")
    for words in ("fundus/OS: give findings", "fundus/OD: differs from the model in AMD", "conclusion: is empty"):
        assert words in reply.json()["error"]
    chinese = office.post(f"cases/{view['id']}/sign", "doctor", json=body, params={"lang": "zh"}).json()
    assert chinese["error"].startswith("意见不完整")
    assert office.case(view["id"])["state"] == "in_review"


def test_what_may_not_be_done_now_is_said_in_a_sentence(office: Office) -> None:
    view = office.signed("m1")
    body = {"version": view["version"], "opinion": {}}
    reply = office.ask("PUT", f"/api/v1/cases/{view['id']}/opinion", "doctor", json=body)
    assert (reply.status_code, reply.json()) == (
        409, {"error": "the case is released: nothing is written now", "reason": "wrong_state"},
    )  # fmt: skip


def test_a_doctor_decides_which_eye_an_image_shows(office: Office) -> None:
    photos = [{"name": "a_OD.png", "eye": "OS", "data": encoded(photo(1))}]
    view = office.in_review("m1", photos=photos)
    assert view["held"] == ["fundus/0"]
    signing = {"version": view["version"], "opinion": {"conclusion": "x"}}
    assert office.post(f"cases/{view['id']}/sign", "doctor", json=signing).status_code == 409

    def told(*places: int) -> dict[str, Any]:
        return {"version": view["version"], "eyes": [{"place": place, "eye": "OS"} for place in places]}

    for wrong in (told(3), told(0, 3), told(0, 0), told()):
        assert office.post(f"cases/{view['id']}/eye", "doctor", json=wrong).status_code in (400, 422), wrong
    assert office.case(view["id"])["held"] == ["fundus/0"], "all or nothing"
    reply = office.post(f"cases/{view['id']}/eye", "doctor", json=told(0))
    assert (reply.status_code, reply.json()["state"]) == (200, "received")
    work_off(office.service, WORK)
    found = office.case(view["id"])
    assert (found["held"], found["images"][0]["eye"], found["images"][0]["decided_by"]) == ([], "OS", "doctor")
    again = office.post(f"cases/{view['id']}/reread", "operator", json={"version": found["version"]})
    assert (again.status_code, again.json()["state"]) == (200, "received")


CANARY = "Zhang-San-4711"
GOOD: dict[str, Any] = {"version": 1, "opinion": {}}


@pytest.mark.parametrize(
    ("body", "problems"),
    [
        (b"", {("not_json", "")}),
        (b'{"version": 1, "version": 1, "opinion": {}}', {("repeated_key", "")}),
        (as_json({}), {("missing", "version"), ("missing", "opinion")}),
        (
            as_json({"version": "1", "opinion": [], CANARY: 1}),
            {("wrong_type", "version"), ("wrong_type", "opinion"), ("unknown_field", "?")},
        ),
        (
            as_json(
                {"version": True, "opinion": {"eyes": {CANARY: {"findings": {CANARY: CANARY}, "reason": "x" * 501}}}}
            ),
            {
                ("wrong_type", "version"),
                ("wrong_type", "opinion.eyes.?.findings.?"),
                ("too_long", "opinion.eyes.?.reason"),
            },
        ),
        (
            as_json({"version": 1.5, "opinion": {"eyes": {"fundus/OD": {"findings": {"DR": 2.0}}}}}),
            {("wrong_type", "version"), ("wrong_type", "opinion.eyes.fundus/OD.findings.DR")},
        ),
        (as_json(GOOD | {"opinion": {"conclusion": "a\x00b"}}), {("bad_text", "opinion.conclusion")}),
        (b'{"version": 1, "opinion": {"conclusion": "\\ud800"}}', {("bad_text", "opinion.conclusion")}),
        (b'{"version": 1, "opinion": {"texts": {"\\u202e": "a"}}}', {("bad_text", "opinion.texts.?")}),
        (as_json(GOOD | {"opinion": {"recommendation": "x" * 4001}}), {("too_long", "opinion.recommendation")}),
    ],
)
def test_an_opinion_of_another_shape_is_refused_whole_and_not_repeated(
    office: Office, body: bytes, problems: set[tuple[str, str]]
) -> None:
    reply = office.ask("PUT", f"/api/v1/cases/{'0' * 32}/opinion", "doctor", content=body)
    assert reply.status_code == 422
    assert {(each["code"], each["where"]) for each in reply.json()["problems"]} == problems
    assert CANARY not in reply.text


@pytest.mark.parametrize(
    ("path", "body", "code"),
    [
        ("eye", {"version": 1, "eyes": [{"place": 0, "eye": "third"}]}, "bad_word"),
        ("eye", {"version": 1, "eyes": [{"place": "0", "eye": "OD"}]}, "wrong_type"),
        ("amend", {"version": 1, "reason": "x" * 501}, "too_long"),
        ("amend", {"version": 1, "reason": "a\x00"}, "bad_text"),
        ("sign", {"version": None}, "wrong_type"),
    ],
)
def test_other_bodies_are_held_to_their_shape_too(office: Office, path: str, body: dict[str, Any], code: str) -> None:
    reply = office.post(f"cases/{'0' * 32}/{path}", "doctor", json=body)
    assert (reply.status_code, [each["code"] for each in reply.json()["problems"]]) == (422, [code])


def test_an_opinion_that_names_what_there_is_not_is_refused_without_repeating_it(office: Office) -> None:
    view = office.in_review("m1")
    opinion = {"eyes": {CANARY: {"findings": {CANARY: 1}}, "fundus/OD": {"findings": {"DR": 9, CANARY: 1}}}}
    body = {"version": view["version"], "opinion": opinion}
    reply = office.ask("PUT", f"/api/v1/cases/{view['id']}/opinion", "doctor", json=body)
    assert (reply.status_code, reply.json()["reason"]) == (422, "opinion_refused")
    assert "fundus/OD: DR is 0 to 4" in reply.json()["error"]
    assert CANARY not in reply.text
