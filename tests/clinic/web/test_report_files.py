"""Reports over HTTP: who may have one, what a browser may do with it, and nothing of the patient around it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from eyeground.clinic.report.html import content_policy

from ..opened import agreed_opinion
from ..report.papers import chinese_font, text_of
from .office import Asked, Office, open_office
from .test_cases import events

NAME = "CANARYNAME"


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    """An office with a font."""
    found = open_office(tmp_path / "clinic", font=chinese_font())
    yield found
    found.service.close()


def signed(office: Office, message_id: str = "m1") -> dict[str, Any]:
    """A signed case of somebody with a name."""
    view = office.in_review(message_id, patient={"name": NAME, "patient_id": "CANARYID"})
    body = {"version": view["version"], "opinion": agreed_opinion(view).model_dump()}
    assert office.post(f"cases/{view['id']}/sign", "doctor", json=body).status_code == 200
    return office.case(view["id"])


def test_a_signed_report_is_a_pdf_and_a_page(office: Office) -> None:
    view = signed(office)
    for language, headline in (("zh", "眼科筛查报告"), ("en", "Eye screening report")):
        pdf = office.get(f"cases/{view['id']}/report.pdf", "doctor", params={"lang": language})
        assert (pdf.status_code, pdf.headers["content-type"]) == (200, "application/pdf")
        assert NAME in text_of(pdf.content)
        assert headline in text_of(pdf.content)
        html = office.get(f"cases/{view['id']}/report.html", "doctor", params={"lang": language})
        assert html.status_code == 200
        assert headline in html.text
        assert NAME in html.text
        assert html.headers["content-security-policy"] == content_policy()
        for told in (pdf, html):
            assert told.headers["cache-control"] == "no-store"
            assert told.headers["x-content-type-options"] == "nosniff"
            assert told.headers["content-language"] == language
            assert "CANARY" not in str(told.headers)
        assert pdf.headers["content-disposition"] == f'inline; filename="report-{view["id"][:8]}-{language}.pdf"'


def test_that_somebody_looked_is_written_down(office: Office) -> None:
    view = signed(office)
    office.get(f"cases/{view['id']}/report.pdf", "doctor_here")
    assert ("report_seen", "doctor_here") in events(office, view["id"])


def test_a_case_in_review_has_a_marked_preview_and_no_pdf(office: Office) -> None:
    view = office.in_review("m1")
    pdf = office.get(f"cases/{view['id']}/report.pdf", "doctor")
    assert (pdf.status_code, pdf.json()["reason"]) == (409, "not_signed")
    html = office.get(f"cases/{view['id']}/report.html", "doctor", params={"lang": "zh"})
    assert html.status_code == 200
    assert "草稿" in html.text
    old = office.get(f"cases/{view['id']}/report.html", "doctor", params={"revision": 1})
    assert (old.status_code, old.json()["reason"]) == (409, "not_signed")


@pytest.mark.parametrize("kind", ["pdf", "html"])
def test_who_may_not_have_it_gets_nothing_of_it(office: Office, kind: str) -> None:
    view = signed(office)
    path = f"/api/v1/cases/{view['id']}/report.{kind}"
    strangers = {"": 401, "no-token": 401, "site_here": 403, "doctor_elsewhere": 404, "operator_elsewhere": 404}
    for who, status in strangers.items():
        told = office.ask("GET", path, who)
        assert told.status_code == status
        assert "CANARY" not in told.text
    for who in ("doctor_here", "operator_here", "admin"):
        assert office.ask("GET", path, who).status_code == 200
    for case_id in ("0" * 32, "..", "%2e%2e", "a" * 500, view["id"].upper()):
        assert office.ask("GET", f"/api/v1/cases/{case_id}/report.{kind}", "doctor").status_code == 404


@pytest.mark.parametrize("query", [{"lang": "fr"}, {"revision": "x"}, {"revision": -1}, {"lang": "../zh"}])
def test_a_query_that_is_none(office: Office, query: dict[str, Any]) -> None:
    view = signed(office)
    for kind in ("pdf", "html"):
        assert office.get(f"cases/{view['id']}/report.{kind}", "doctor", params=query).status_code == 422


def test_without_a_font_the_page_still_comes(tmp_path: Path) -> None:
    (tmp_path / "bare.ttf").write_bytes(b"no font")
    office = open_office(tmp_path / "clinic", font=tmp_path / "bare.ttf")
    try:
        view = signed(office)
        pdf = office.get(f"cases/{view['id']}/report.pdf", "doctor")
        assert (pdf.status_code, pdf.json()["reason"]) == (501, "no_pdf")
        assert str(tmp_path) not in pdf.text
        assert office.get(f"cases/{view['id']}/report.html", "doctor").status_code == 200
    finally:
        office.service.close()


def test_many_at_once_are_all_the_same(office: Office) -> None:
    view = signed(office)
    path = f"/api/v1/cases/{view['id']}/report.pdf"
    told = office.all_at_once([Asked("GET", path, "doctor", {"params": {"lang": "zh"}}) for _ in range(24)])
    assert {each.status_code for each in told} == {200}
    assert len({each.content for each in told}) == 1


def test_whoever_reads_first_sees_no_report_before(tmp_path: Path) -> None:
    office = open_office(tmp_path / "clinic", font=chinese_font(), blind_first_read=True)
    try:
        view = office.in_review("m1")
        told = office.get(f"cases/{view['id']}/report.html", "doctor")
        assert (told.status_code, told.json()["reason"]) == (403, "first_read_wanted")
        assert office.get(f"cases/{view['id']}/report.html", "operator").status_code == 200
    finally:
        office.service.close()
