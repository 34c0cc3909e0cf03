"""A case as FHIR over HTTP: for whom, and what is refused."""

from collections.abc import Iterator

import pytest
from fhir.resources.R4B.bundle import Bundle
from sqlalchemy import select

from eyeground.clinic.db.tables import AuditRecord

from .office import ACCOUNTS, Office, open_office


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    opened = open_office(tmp_path_factory.mktemp("office"))
    yield opened
    opened.service.close()


def test_a_signed_case_is_a_bundle(office: Office) -> None:
    case = office.signed("one")
    reply = office.get(f"cases/{case['id']}/fhir?lang=en", "doctor")
    assert reply.status_code == 200
    assert reply.headers["content-type"] == "application/fhir+json"
    bundle = Bundle.model_validate_json(reply.text)
    [report] = [each.resource for each in bundle.entry if each.resource.get_resource_type() == "DiagnosticReport"]
    assert report.status == "final"
    assert report.presentedForm[0].url == f"/api/v1/cases/{case['id']}/report.pdf?lang=en"
    with office.service.database.read() as session:
        seen = session.scalars(select(AuditRecord).filter_by(event="case_exported", case_id=case["id"])).all()
    assert [each.actor for each in seen] == ["doctor"]
    of_site = Bundle.model_validate_json(office.get(f"cases/{case['id']}/fhir", "site_here").text)
    assert [each.resource for each in of_site.entry][-1].presentedForm is None  # a site may not open that address


def test_other_sites_see_that_there_is_nothing(office: Office) -> None:
    case = office.signed("two")
    statuses = {name: office.get(f"cases/{case['id']}/fhir", name).status_code for name in ACCOUNTS}
    elsewhere = {name for name, (_, site) in ACCOUNTS.items() if site == "elsewhere"}
    assert {name for name, status in statuses.items() if status == 404} == elsewhere
    assert {status for name, status in statuses.items() if name not in elsewhere} == {200}
    assert office.get(f"cases/{case['id']}/fhir").status_code == 401


def test_what_nobody_signed_is_not_given(office: Office) -> None:
    view = office.in_review("three")
    reply = office.get(f"cases/{view['id']}/fhir", "doctor")
    assert (reply.status_code, reply.json()["reason"]) == (409, "wrong_state")
    assert "nobody has signed it yet" in reply.json()["error"]
    assert office.get(f"cases/{'0' * 32}/fhir", "doctor").status_code == 404
    assert office.get("cases/..%2f/fhir", "doctor").status_code == 404
    assert office.get(f"cases/{view['id']}/fhir?lang=xx", "doctor").status_code == 422


def test_an_image_that_is_gone_is_told(office: Office) -> None:
    case = office.signed("four")
    office.service.store.remove(case["images"][0]["sha256"])
    reply = office.get(f"cases/{case['id']}/fhir", "doctor")
    assert (reply.status_code, reply.json()["reason"]) == (404, "image_gone")
