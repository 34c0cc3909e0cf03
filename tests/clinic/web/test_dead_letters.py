"""Dead letters over HTTP."""

from pathlib import Path

from sqlalchemy import select

from eyeground.clinic.db.tables import AuditRecord
from eyeground.clinic.intake import Arrived
from eyeground.clinic.reviews import Doctor

from ..constant_grader import ConstantGrader
from ..opened import photo, work_off
from .office import ELSEWHERE, HERE, Office, as_json

CANARY = "Zhang-San-4711"


def test_letters_are_listed_without_what_was_sent(office: Office) -> None:
    bodies = [CANARY.encode(), b"[]", as_json({"id": 1})]
    office.service.intake.admit([Arrived("check", body, HERE) for body in bodies])
    reply = office.get("dead-letters", "operator")
    letters = reply.json()["letters"]
    assert [(each["code"], each["queue"], each["site"]) for each in letters] == [
        ("not_json", "check", HERE), ("not_an_object", "check", HERE), ("no_image", "check", HERE),
    ]  # fmt: skip
    assert letters[0]["problems"][0]["zh"].startswith("不是有效的 JSON")
    assert CANARY not in reply.text
    pages = [office.get("dead-letters", "operator", params={"most": 2, "after": after}).json() for after in (0, 2)]
    assert [([each["id"] for each in page["letters"]], page["more"]) for page in pages] == [
        ([1, 2], True),
        ([3], False),
    ]


def test_a_letter_is_sent_round_again_after_a_fix(office: Office, tmp_path: Path) -> None:
    [outcome] = office.service.intake.admit([Arrived("check", as_json({"id": 1, "odFundusImg": "late.png"}), HERE)])
    address = f"dead-letters/{outcome.dead_letter}/replay"
    first = office.post(address, "operator")
    assert (first.status_code, first.json()["outcome"], first.json()["code"]) == (200, "refused", "image_missing")
    (tmp_path / "late.png").write_bytes(photo(1))
    second = office.post(address, "admin")
    assert (second.status_code, second.json()["outcome"]) == (200, "admitted")
    assert office.post(address, "operator").status_code == 404
    assert office.get("dead-letters", "operator").json()["letters"] == []
    [letter] = office.get("dead-letters", "operator", params={"replayed": "true"}).json()["letters"]
    assert (letter["outcome"], letter["replayed_at"] != "") == ("admitted", True)
    work_off(office.service, [ConstantGrader()])
    assert len(office.get("cases", "doctor").json()["cases"]) == 1


def test_a_case_that_failed_every_time_is_sent_round_again(office: Office) -> None:
    case_id = office.send("m1")
    for _ in range(office.service.settings.tries):
        with office.service.database.write() as work:
            work.session.connection().exec_driver_sql("update jobs set patience_s = 0")
        work_off(office.service, [ConstantGrader(fault=RuntimeError(CANARY))])
    [letter] = office.get("dead-letters", "operator").json()["letters"]
    assert (letter["code"], letter["case_id"]) == ("failed_every_time", case_id)
    assert office.case(case_id)["state"] == "in_review"
    replayed = office.post(f"dead-letters/{letter['id']}/replay", "operator").json()
    assert replayed["outcome"] == "requeued"
    work_off(office.service, [ConstantGrader()])
    view = office.case(case_id)
    assert (view["state"], set(view["answered"]["values"])) == ("in_review", {"fundus/OD", "fundus/OS"})


def test_an_operator_of_one_site_sees_and_replays_only_its_own(office: Office) -> None:
    office.service.intake.admit([Arrived("check", b"[1]", HERE), Arrived("check", b"[2]", ELSEWHERE)])

    def seen(who: str) -> list[str]:
        return [each["site"] for each in office.get("dead-letters", who).json()["letters"]]

    assert seen("operator") == [HERE, ELSEWHERE]
    assert (seen("operator_here"), seen("operator_elsewhere")) == ([HERE], [ELSEWHERE])
    assert office.post("dead-letters/1/replay", "operator_elsewhere").status_code == 404
    assert office.post("dead-letters/2/replay", "operator_elsewhere").status_code == 200
    assert office.post("dead-letters/3/replay", "operator").status_code == 404


def test_a_letter_is_dismissed_once_and_by_its_own_site(office: Office) -> None:
    office.service.intake.admit([Arrived("check", b"[1]", HERE), Arrived("check", b"[2]", ELSEWHERE)])
    assert office.post("dead-letters/1/dismiss", "operator_elsewhere").status_code == 404
    assert office.post("dead-letters/1/dismiss", "doctor").status_code == 403
    dismissed = office.post("dead-letters/1/dismiss", "operator_here")
    assert (dismissed.status_code, dismissed.json()["outcome"]) == (200, "dismissed")
    assert office.post("dead-letters/1/dismiss", "operator_here").status_code == 404
    assert office.post("dead-letters/1/replay", "operator_here").status_code == 404
    assert [each["id"] for each in office.get("dead-letters", "operator").json()["letters"]] == [2]
    with office.service.database.read() as session:
        last = session.scalars(select(AuditRecord).order_by(AuditRecord.seq.desc())).first()
        assert last is not None
        assert (last.actor, last.event) == ("operator_here", "dismissed")


def test_the_page_lists_letters_without_what_was_sent(office: Office) -> None:
    bodies = [CANARY.encode(), as_json({"message_id": CANARY, "Patient": {"name": CANARY, "age": CANARY}})]
    office.service.intake.admit(
        [Arrived(queue, body, HERE) for queue, body in zip(("check", "screening"), bodies, strict=True)]
    )
    office.service.letters.dismiss(1, actor=Doctor("operator", "", "operator"))
    page = office.ask("GET", "/dead-letters", "operator", params={"lang": "zh"}).text
    assert 'data-number="2"' in page
    assert 'data-number="1"' not in page
    assert "Patient.patient_id</code> 缺失；请补上" in page
    whole = office.ask("GET", "/dead-letters", "operator", params={"show": "all", "lang": "en"}).text
    closed = whole.partition('data-number="1"')[2].partition("</tr>")[0]
    assert ("dismissed" in closed, "data-deed" in closed) == (True, False)
    assert CANARY not in page + whole
    assert "Nothing to do" in office.ask("GET", "/dead-letters", "operator_elsewhere").text
    assert "built-in method" not in page


def test_many_letters_come_in_pages(office: Office) -> None:
    office.service.intake.admit([Arrived("check", str(number).encode(), HERE) for number in range(105)])
    first = office.ask("GET", "/dead-letters", "operator").text
    assert (first.count("data-number="), "show=open&amp;after=100" in first) == (100, True)
    second = office.ask("GET", "/dead-letters", "operator", params={"after": 100}).text
    assert second.count("data-number=") == 5
