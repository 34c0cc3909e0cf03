"""Drafts over HTTP: whose they are, in which language, and that waiting for one holds up nobody else."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ..llm.stand_in import standing_in, waited
from ..opened import agreed_opinion
from .office import Asked, Office, open_office


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    made = open_office(tmp_path)
    yield made
    made.service.close()


def wanted(view: dict[str, Any], language: str = "zh") -> dict[str, Any]:
    return {"version": view["version"], "language": language}


def test_without_a_model_a_doctor_gets_the_template(office: Office) -> None:
    view = office.in_review("m1")
    reply = office.post(f"cases/{view['id']}/draft", "doctor", json=wanted(view))
    assert reply.status_code == 200, reply.text
    told = reply.json()
    assert told["draft"]["by"] == "template"
    assert told["draft"]["rejected"] == []
    assert told["draft"]["texts"] == told["template"]
    assert told["template"]["narrative"].startswith("右眼（OD）：眼底图像质量：良好。")


def test_a_models_draft_comes_with_the_template_beside_it(tmp_path: Path) -> None:
    with standing_in() as server:
        office = open_office(tmp_path, llm_base_url=server.url, llm_model="m")
        view = office.in_review("m1")
        told = office.post(f"cases/{view['id']}/draft", "doctor", json=wanted(view, "en")).json()
        office.service.close()
    assert told["draft"]["by"] == "llm"
    assert told["draft"]["model"] == "local m"
    assert told["draft"]["texts"] != told["template"]


def test_what_a_model_wrote_is_thrown_away_with_its_reasons(tmp_path: Path) -> None:
    with standing_in(prose=lambda sections: {each["key"]: "Laser today." for each in sections}) as server:
        office = open_office(tmp_path, llm_base_url=server.url, llm_model="m")
        view = office.in_review("m1")
        reply = office.post(f"cases/{view['id']}/draft", "doctor", json=wanted(view, "en"))
        office.service.close()
    told = reply.json()["draft"]
    assert told["by"] == "template"
    assert {"treatment", "time"} <= {each["code"] for each in told["rejected"]}
    assert all(each["en"] and each["zh"] for each in told["rejected"])
    assert "Laser" not in reply.text


def test_drafts_are_listed_with_what_the_doctor_made_of_them(office: Office) -> None:
    view = office.in_review("m1")
    narrative = office.post(f"cases/{view['id']}/draft", "doctor", json=wanted(view)).json()["template"]["narrative"]
    opinion = agreed_opinion(view, narrative=narrative.replace("良好", "很好")).model_dump()
    body = {"version": view["version"], "opinion": opinion}
    assert office.ask("PUT", f"/api/v1/cases/{view['id']}/opinion", "doctor", json=body).status_code == 200
    [kept] = office.get(f"cases/{view['id']}/drafts", "operator").json()["drafts"]
    assert kept["asked_by"] == "doctor"
    assert {each["kind"] for each in kept["difference"]["narrative"]} == {"same", "removed", "added"}
    assert "".join(each["text"] for each in kept["difference"]["narrative"] if each["kind"] == "added") == "很很"


def test_a_narrative_that_contradicts_the_grades_is_not_signed(office: Office) -> None:
    view = office.in_review("m1")
    path = f"cases/{view['id']}"
    saved = {"version": view["version"], "opinion": agreed_opinion(view).model_dump()}
    version = office.ask("PUT", f"/api/v1/{path}/opinion", "doctor", json=saved).json()["version"]
    narrative = office.post(f"{path}/draft", "doctor", json={"version": version, "language": "zh"}).json()["template"]
    opinion = agreed_opinion(view, narrative=narrative["narrative"]).model_dump()
    grade = opinion["eyes"]["fundus/OD"]["findings"]["DR"]
    other = json.loads(json.dumps(opinion))
    other["eyes"]["fundus/OD"] = {"findings": {"DR": (grade + 2) % 5}, "reason": "as I see it", "ungradable": False}
    kept = office.ask("PUT", f"/api/v1/{path}/opinion", "doctor", json={"version": version, "opinion": other})
    assert kept.status_code == 200  # while he writes nobody interrupts him
    version = kept.json()["version"]
    reply = office.post(f"{path}/sign", "doctor", json={"version": version, "opinion": other})
    assert (reply.status_code, reply.json()["reason"]) == (422, "opinion_refused")
    assert f"rewrite these sentences: OD 糖尿病视网膜病变：{grade}" in reply.json()["error"]
    assert office.post(f"{path}/sign", "doctor", json={"version": version, "opinion": opinion}).status_code == 200


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"version": 1}, 422),
        ({"version": 1, "language": "fr"}, 422),
        ({"version": "1", "language": "zh"}, 422),
        ({"version": 1, "language": "zh", "prompt": "x"}, 422),
        ({"version": 10**6, "language": "zh"}, 409),
    ],
)
def test_what_is_asked_wrongly_is_refused(office: Office, body: dict[str, Any], status: int) -> None:
    view = office.in_review("m1")
    reply = office.post(f"cases/{view['id']}/draft", "doctor", json=body)
    assert reply.status_code == status
    if status == 409:
        assert reply.json()["version"] == view["version"]


def test_drafts_are_their_sites_and_their_roles_alone(office: Office) -> None:
    view = office.in_review("m1")
    path = f"cases/{view['id']}/draft"
    told = {who: office.post(path, who, json=wanted(view)).status_code for who in office.tokens}
    assert {who for who, status in told.items() if status == 200} == {"doctor", "doctor_here"}
    assert told["doctor_elsewhere"] == 404
    listed = {who: office.get(f"{path}s", who).status_code for who in office.tokens}
    assert {who for who, status in listed.items() if status == 200} == {
        "doctor", "doctor_here", "operator", "operator_here", "admin",
    }  # fmt: skip
    assert listed["admin_elsewhere"] == listed["operator_elsewhere"] == 404
    assert office.post("cases/nobody/draft", "doctor", json=wanted(view)).status_code == 404
    assert office.ask("POST", f"/api/v1/{path}", json=wanted(view)).status_code == 401


def test_signed_cases_are_not_drafted(office: Office) -> None:
    view = office.signed("m1")
    reply = office.post(f"cases/{view['id']}/draft", "doctor", json=wanted(view))
    assert (reply.status_code, reply.json()["reason"]) == (409, "wrong_state")


def test_drafts_wait_for_the_first_read(tmp_path: Path) -> None:
    office = open_office(tmp_path, blind_first_read=True)
    view = office.in_review("m1")
    for reply in (
        office.post(f"cases/{view['id']}/draft", "doctor", json=wanted(view)),
        office.get(f"cases/{view['id']}/drafts", "doctor"),
    ):
        assert reply.json()["reason"] == "first_read_wanted"
    assert office.get(f"cases/{view['id']}/drafts", "operator").status_code == 200
    office.service.close()


def test_others_are_served_while_drafts_wait(tmp_path: Path) -> None:
    """Six drafts of a model that holds still: two have their template at once, and everybody else his page."""
    with standing_in("held") as server:
        office = open_office(tmp_path, llm_base_url=server.url, llm_model="m", llm_timeout_s=40)
        views = [office.in_review(f"m{number}") for number in range(6)]
        wait = threading.Thread(
            target=lambda: waited(lambda: len(server.requests) == 4, at_most_s=30.0) and looked.append(_look(office))
        )
        looked: list[int] = []
        again = threading.Thread(target=lambda: (wait.join(), server.hold.set()))
        wait.start()
        again.start()
        path = "/api/v1/cases/{}/draft"
        replies = office.all_at_once(
            [Asked("POST", path.format(view["id"]), "doctor", {"json": wanted(view)}) for view in views]
        )
        again.join()
        office.service.close()
    assert looked == [200]
    told = [reply.json()["draft"] for reply in replies]
    assert sorted(each["by"] for each in told) == ["llm"] * 4 + ["template"] * 2
    assert [each["rejected"][0]["code"] for each in told if each["rejected"]] == ["busy", "busy"]


def _look(office: Office) -> int:
    """Whether the work list is served."""
    return office.get("cases", "doctor").status_code
