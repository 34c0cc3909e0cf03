"""The contract ``report`` against answers written by hand."""

from eyeground.clinic.answered import Answered
from eyeground.clinic.exchange import report
from eyeground.clinic.exchange.contract import dumps
from eyeground.clinic.records import Opinion, Order
from eyeground.clinic.report.text import draft_report

from .hostile import raw

ORDER = Order(door="report", id="5", texts={"odFundusDisease": "糖尿病视网膜病变", "id_type": "number"})


def test_a_request_becomes_an_order() -> None:
    order = report.read(raw({"id": 5, "odFundusDisease": " 糖尿病视网膜病变 ", "osFundusDisease": None, "more": 1}))
    assert order == ORDER


def test_signed_are_the_doctors_words_and_no_others() -> None:
    opinion = Opinion(texts={"fundusReport": "右眼见微血管瘤。", "fundusInterpret": "建议三月内复查。", "another": "x"})
    found = report.answer(Answered("0a", ORDER, 1, opinion=opinion, signed_at="2026-11-28T01:00:00Z"))
    assert dumps(found).decode() == (
        '{"anteriorInterpret":"","anteriorReport":"","fundusInterpret":"建议三月内复查。",'
        '"fundusReport":"右眼见微血管瘤。","id":5}'
    )


def test_unsigned_is_the_draft() -> None:
    found = report.answer(Answered("0a", ORDER, 0))
    draft = draft_report({"odFundusDisease": "糖尿病视网膜病变"}, "zh")
    assert found == {"id": 5, "unsigned": True, **draft}
    assert "糖尿病视网膜病变" in found["fundusReport"] + found["fundusInterpret"]


def test_an_amended_answer_says_so() -> None:
    found = report.answer(Answered("0a", ORDER, 2, opinion=Opinion(), signed_at="2026-11-28T01:00:00Z"))
    assert found["amended"] == 2
    assert found["fundusReport"] == ""
