"""A site's patient reads that site's name, and never the telephone of another."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from eyeground.clinic.exported import gather
from eyeground.clinic.patient_view import patient_report
from eyeground.clinic.reports import preview_html, signed_facts, signed_html
from eyeground.clinic.sites import site_of

from .constant_grader import ConstantGrader
from .opened import agreed_opinion, work_off
from .web.office import ELSEWHERE, HERE, Office, open_office


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    found = open_office(tmp_path / "clinic", site_title="县人民医院", contact="0970-1")
    yield found
    found.service.close()


@pytest.mark.parametrize(
    ("who", "title", "contact"), [("site_here", "县人民医院", "0970-1"), ("site_elsewhere", ELSEWHERE, "")]
)
def test_every_paper_names_the_site_that_asked(office: Office, who: str, title: str, contact: str) -> None:
    case_id, settings = office.send("m1", who=who), office.service.settings
    work_off(office.service, [ConstantGrader()])
    draft = preview_html(office.service, case_id, language="zh")
    with office.service.database.read() as session:
        early = patient_report(session, case_id, language="zh", settings=settings)
    view = office.case(case_id)
    body = {"version": view["version"], "opinion": agreed_opinion(view).model_dump()}
    assert office.post(f"cases/{case_id}/sign", "doctor", json=body).status_code == 200
    work_off(office.service, [])
    facts = signed_facts(office.service, case_id, language="zh")
    with office.service.database.read() as session:
        patient = patient_report(session, case_id, language="zh", settings=settings)
        left = gather(session, case_id, settings=settings)
    told = [(facts.site, facts.contact), (patient.site, patient.contact), (early.site, early.contact)]
    assert told == [(title, contact)] * 3
    assert (left.site, left.organization) == (HERE if contact else ELSEWHERE, title)
    for html in (draft, signed_html(office.service, case_id, language="zh")):
        assert title in html
        assert ("0970-1" in html) is bool(contact)
        assert ("县人民医院" in html) is bool(contact)
    assert site_of("", settings).title == ""
