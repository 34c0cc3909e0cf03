"""Dead letters over HTTP."""

from pathlib import Path

from eyeground.clinic.intake import Arrived

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
