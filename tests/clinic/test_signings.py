"""A version keeps the rules that it was signed by, whatever rules the service follows afterwards."""

import json
from datetime import date
from pathlib import Path

from sqlalchemy import text

from eyeground.clinic.db.tables import Case
from eyeground.clinic.intake import Arrived
from eyeground.clinic.opinion_checks import FINDINGS
from eyeground.clinic.patient_view import patient_report
from eyeground.clinic.records import EyeReview, Opinion
from eyeground.clinic.reports import signed_facts
from eyeground.clinic.reviews import Doctor
from eyeground.clinic.service import Service
from eyeground.clinic.signings import Signing, signings_of
from eyeground.clinic.urgency import read_rules

from .constant_grader import ConstantGrader
from .opened import open_service_in, patient_message, work_off

LI = Doctor("li", "Dr Li")


def sign(service: Service, case_id: str, *, grade: int) -> None:
    """Sign what stands, of both eyes the same."""
    findings = dict.fromkeys(FINDINGS["fundus"], 0) | {"DR": grade}
    eyes = {f"fundus/{eye}": EyeReview(findings=findings, reason="seen") for eye in ("OD", "OS")}
    with service.database.read() as session:
        version = session.get_one(Case, case_id).version
    service.reviews.sign(case_id, Opinion(eyes=eyes, conclusion="c"), version=version, doctor=LI)
    work_off(service, [])


def test_the_first_version_names_the_rules_it_was_signed_by(tmp_path: Path) -> None:
    service = open_service_in(tmp_path, rules="ico")
    [outcome] = service.intake.admit([Arrived("screening", patient_message("m1"), "default")])
    case_id = outcome.case_id
    work_off(service, [ConstantGrader()])
    sign(service, case_id, grade=4)
    before = signed_facts(service, case_id, language="en")
    with service.database.read() as session:
        version = session.get_one(Case, case_id).version
    service.reviews.amend(case_id, reason="again", version=version, doctor=LI)
    service.close()
    service = open_service_in(tmp_path, rules="china")
    sign(service, case_id, grade=0)
    facts = [signed_facts(service, case_id, language="en", revision=revision) for revision in (1, 2)]
    assert read_rules("ico").title in before.rules
    assert facts[0] == before
    assert facts[0].sha256 == before.sha256
    assert read_rules("china").title in facts[1].rules
    with service.database.read() as session:
        told = signings_of(session, session.get_one(Case, case_id))
    assert {revision: each.rules for revision, each in told.items()} == {
        1: read_rules("ico").title,
        2: read_rules("china").title,
    }
    service.close()


def test_a_line_of_before_rules_were_written_down_is_read_with_the_case_s(tmp_path: Path) -> None:
    service = open_service_in(tmp_path)
    [outcome] = service.intake.admit([Arrived("screening", patient_message("m1"), "default")])
    work_off(service, [ConstantGrader()])
    sign(service, outcome.case_id, grade=4)
    with service.database.write() as work:
        work.session.execute(text("drop trigger audit_no_update"))
        for seq, detail in work.session.execute(text("select seq, detail from audit where event = 'sign'")).all():
            told = {key: value for key, value in json.loads(detail).items() if key != "rules"}
            new = {"detail": json.dumps(told), "seq": seq}
            work.session.execute(text("update audit set detail = :detail where seq = :seq"), new)
    with service.database.read() as session:
        found = signings_of(session, session.get_one(Case, outcome.case_id))
        assert found == {1: Signing("refer_1_month", read_rules("ico").title)}
        report = patient_report(session, outcome.case_id, language="en", settings=service.settings)
    assert report.result is not None
    assert date.fromisoformat(report.result.todo.by) > date(2026, 1, 1)
    service.close()
