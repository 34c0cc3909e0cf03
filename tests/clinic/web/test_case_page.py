"""The case page without a browser: who sees it, in which words, and what it tells its scripts."""

import json
import re
from html import unescape
from typing import Any

import pytest
from sqlalchemy import select

from eyeground.clinic.db.tables import AuditRecord
from eyeground.clinic.web.case_sheet import conflict_words

from ..constant_grader import ConstantGrader
from ..opened import agreed_opinion, encoded, photo, work_off
from .office import Office

PAGE = {"Accept": "text/html"}


def page(office: Office, case_id: str, who: str = "doctor", language: str = "en") -> str:
    """The page, as somebody sees it."""
    reply = office.ask("GET", f"/cases/{case_id}?lang={language}", who, headers=PAGE)
    assert reply.status_code == 200, reply.text
    return reply.text


def data(html: str, name: str = "case") -> dict[str, Any]:
    """What the page tells its scripts."""
    found = re.search(rf'<script type="application/json" id="{name}">(.*?)</script>', html, re.DOTALL)
    assert found
    told: dict[str, Any] = json.loads(found[1])
    return told


def words(html: str) -> str:
    """What is to be read."""
    return " ".join(unescape(re.sub(r"<script.*?</script>|<[^>]*>", " ", html, flags=re.DOTALL)).split())


def test_a_doctor_sees_the_case_and_may_write(office: Office) -> None:
    view = office.in_review("m1", patient={"name": "扎西", "age": 45, "gender": "male"})
    html = page(office, view["id"])
    told = data(html)
    assert "P-m1 扎西 45 years male" in words(html)
    assert (told["write"], told["version"], told["blind"]) == (True, view["version"], False)
    assert [image["eye"] for image in told["images"]] == ["OD", "OS"]
    assert told["opinion"]["eyes"] == {}, "nothing is prefilled with the AI's answers"
    assert told["said"]["fundus/OD"] == view["answered"]["said"]["fundus/OD"]
    assert "<title>Case" in html, "no patient in the title, which browsers keep in their history"


@pytest.mark.parametrize("language", ["en", "zh"])
def test_every_word_is_there_in_both_languages(office: Office, language: str) -> None:
    view = office.in_review("m1")
    html = page(office, view["id"], language=language)
    for en, zh in (("AI decision support", "AI 辅助"), ("Acuity and pressure", "视力与眼压"), ("Sign", "签署")):
        assert (en if language == "en" else zh) in html
    if language == "zh":
        shown = words(html)
        assert not re.findall(r"(?<![A-Za-z_])(?:the|what|image|grade|eye|urgent)(?![A-Za-z_])", shown), shown
    assert office.ask("GET", f"/cases/{view['id']}?lang=zh", "doctor", headers=PAGE).headers["content-language"] == "zh"


@pytest.mark.parametrize("who", ["operator", "admin"])
def test_who_is_no_doctor_reads_and_writes_nothing(office: Office, who: str) -> None:
    view = office.in_review("m1")
    html = page(office, view["id"], who)
    assert data(html)["write"] is False
    assert 'id="form"' not in html
    assert "Only doctors grade and sign" in html
    reply = office.ask("POST", f"/cases/{view['id']}/foreseen", who, json={"version": 1, "opinion": {}})
    assert reply.status_code == 403


@pytest.mark.parametrize("path", ["", "/standing"])
def test_another_sites_case_looks_as_if_it_were_not_there(office: Office, path: str) -> None:
    view = office.in_review("m1")
    for case_id in (view["id"], "0" * 32, "x"):
        reply = office.ask("GET", f"/cases/{case_id}{path}", "doctor_elsewhere", headers=PAGE)
        assert reply.status_code == 404
        assert "P-m1" not in reply.text
    body = {"version": 1, "opinion": {}}
    assert office.ask("POST", f"/cases/{view['id']}/foreseen", "doctor_elsewhere", json=body).status_code == 404


def test_that_somebody_looked_is_written_down_but_not_that_a_page_waits(office: Office) -> None:
    view = office.in_review("m1")
    seen = data(page(office, view["id"], "doctor_here"))["seen"]
    told = office.ask("GET", f"/cases/{view['id']}/standing", "operator").json()
    assert told == {"state": "in_review", "version": view["version"], "working": False, "doctor": "", "seen": seen}
    with office.service.database.read() as session:
        lines = session.scalars(select(AuditRecord).filter_by(case_id=view["id"], event="case_seen")).all()
    assert [line.actor for line in lines] == ["doctor", "doctor_here"]


def test_what_signing_would_say_is_what_signing_says(office: Office) -> None:
    view = office.in_review("m1")
    opinion = {"eyes": {"fundus/OD": {"findings": {"DR": 4}}, "fundus/OS": {"findings": {"DR": 0}}}, "conclusion": "c"}
    for eye in opinion["eyes"].values():  # type: ignore[attr-defined]
        eye["reason"] = "seen"
    body = {"version": view["version"], "opinion": opinion}
    told = office.ask("POST", f"/cases/{view['id']}/foreseen?lang=zh", "doctor", json=body).json()
    assert told["title"] == "1 个月内转诊眼科"
    assert office.post(f"cases/{view['id']}/sign", "doctor", json=body).status_code == 200
    assert office.case(view["id"])["urgency"] == told["urgency"] == "refer_1_month"


def test_cases_beside_are_those_of_the_work_list(office: Office) -> None:
    ids = [office.send(f"m{number}") for number in range(4)]
    other = office.send("elsewhere", who="site_elsewhere")
    work_off(office.service, [ConstantGrader()])
    listed = [line["id"] for line in office.get("cases", "doctor_here").json()["cases"]]
    assert sorted(listed) == sorted(ids)
    assert other not in listed
    for place, case_id in enumerate(listed):
        html = page(office, case_id, "doctor_here")
        leads = dict(re.findall(r'href="/cases/(\w+)" id="(previous|next)"', html))
        wanted = {}
        if place:
            wanted[listed[place - 1]] = "previous"
        if place + 1 < len(listed):
            wanted[listed[place + 1]] = "next"
        assert leads == wanted


def test_a_signed_case_is_read_only_with_signature_and_version(office: Office) -> None:
    view = office.signed("m1")
    html = page(office, view["id"])
    assert 'id="form"' not in html
    assert 'id="amend"' in html
    review = view["reviews"][0]
    assert review["signature"][:16] in html
    assert "As the models say" in html
    assert "report.pdf?lang=zh" in html
    body = {"version": view["version"], "reason": "typing error"}
    assert office.post(f"cases/{view['id']}/amend", "doctor", json=body).status_code == 200
    again = page(office, view["id"])
    assert data(again)["opinion"]["conclusion"] == "As the models say", "an amendment begins with what was signed"
    assert "typing error" in again
    assert "Version 2 is being written" in again


def test_a_case_that_is_worked_on_says_so(office: Office) -> None:
    case_id = office.send("m1")
    html = page(office, case_id)
    assert "still being worked on" in html
    assert 'id="form"' not in html
    assert data(html)["working"] is True


def test_a_held_eye_is_told_in_both_languages(office: Office) -> None:
    photos = [{"eye": "OD", "name": "p_OS.png", "data": encoded(photo("a"))}]
    case_id = office.send("m1", photos=photos)
    work_off(office.service, [ConstantGrader()])
    assert "request says OD" in page(office, case_id)
    html = page(office, case_id, language="zh")
    assert "申请为 OD" in html
    assert "此图为 OS 左眼" in html


def test_a_report_request_shows_what_was_sent_and_four_texts(office: Office) -> None:
    body = {"id": "r1", "odFundusFeatures": "微血管瘤", "osAnteriorDisease": "cataract"}
    case_id = office.post("reports", "site_here", json=body).json()["case_id"]
    work_off(office.service, [])
    html = page(office, case_id, language="zh")
    assert "微血管瘤" in html
    told = data(html)
    assert told["texts"] == ["anteriorReport", "anteriorInterpret", "fundusReport", "fundusInterpret"]
    assert "白内障" in told["opinion"]["texts"]["anteriorInterpret"]


def test_anterior_photographs_have_findings_of_their_own(office: Office) -> None:
    photos = [
        {"eye": "OD", "name": "a.png", "data": encoded(photo("a")), "part": "anterior"},
        {"eye": "OD", "name": "b.png", "data": encoded(photo("b"))},
    ]
    case_id = office.send("m1", photos=photos)
    work_off(office.service, [ConstantGrader(), ConstantGrader("anterior", id="anterior-0")])
    html = page(office, case_id)
    assert data(html)["parts"] == ["fundus", "anterior"]
    assert 'data-key="anterior/OD" data-finding="cataract"' in html
    assert 'data-key="anterior/OS"' not in html, "of what there is no image nothing is asked"


def test_what_no_model_answers_says_why(office: Office) -> None:
    case_id = office.send("m1")
    work_off(office.service, [ConstantGrader(offers=["DR"])])
    html = page(office, case_id)
    assert "AMD, CSC, RP, ON, GLA, RVO: no model that answers this is installed" in words(html)


def test_words_of_a_conflict_are_translated() -> None:
    assert conflict_words("request says OD, image says OS", "zh") == "申请为 OD，图像为 OS"
    assert conflict_words("the same picture was sent for both eyes", "zh") == "双眼发送了同一张图像"
    assert conflict_words("nobody says which eye it is", "en") == "nobody says which eye it is"


def test_an_agreed_opinion_that_was_saved_is_what_the_form_goes_on_with(office: Office) -> None:
    view = office.in_review("m1")
    opinion = agreed_opinion(view, narrative="told in sentences").model_dump()
    body = {"version": view["version"], "opinion": opinion}
    assert office.ask("PUT", f"/api/v1/cases/{view['id']}/opinion", "doctor_here", json=body).status_code == 200
    html = page(office, view["id"])
    assert data(html)["opinion"] == opinion
    assert "draft saved by doctor_here" in html
