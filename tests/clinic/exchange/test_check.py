"""The contract ``check`` against answers written by hand."""

from typing import Any

import pytest

from eyeground.clinic.answered import Answered
from eyeground.clinic.exchange import check
from eyeground.clinic.exchange.contract import dumps
from eyeground.clinic.findings import EYES, FINDINGS
from eyeground.clinic.records import Opinion, Order, Picture, Said

from .hostile import raw

ALL_CLEAR = {"AMD": 0, "CSC": 0, "RP": 0, "ON": 0, "GLA": 0, "RVO": 0}
NUMBER = Order(door="check", id="17", texts={"id_type": "number"})


def answered(revision: int = 1, order: Order = NUMBER, **told: Any) -> Answered:
    """A case at its end."""
    return Answered("0a", order, revision, opinion=Opinion() if revision else None, signed_at="2026", **told)


def test_a_request_becomes_an_order() -> None:
    order = check.read(raw({"id": 17, "osFundusImg": "17/os.jpg", "odFundusImg": "", "odAnteriorImg": "17/a b.png",
                            "osAnteriorImg": None, "priority": {"not": ["agreed on"]}}))  # fmt: skip
    assert order == Order(
        door="check",
        id="17",
        texts={"id_type": "number"},
        pictures=(
            Picture(part="fundus", eye="OS", path="17/os.jpg", name="os.jpg", field="osFundusImg"),
            Picture(part="anterior", eye="OD", path="17/a b.png", name="a b.png", field="odAnteriorImg"),
        ),
    )


@pytest.mark.parametrize("identity", [17, 0, -5, 10**17, "17", "a-b_c.d:e", "007"])
def test_an_id_comes_back_as_what_it_was(identity: int | str) -> None:
    order = check.read(raw({"id": identity, "odFundusImg": "a.jpg"}))
    assert order.id == str(identity)
    kept = Order.model_validate(order.model_dump(mode="json", exclude={"pictures"}))  # as the database keeps it
    found = check.answer(answered(order=kept))["id"]
    assert (found, type(found)) == (identity, type(identity))


def test_the_answer_of_a_signed_case() -> None:
    found = check.answer(
        answered(
            values={
                "fundus/OS": {**ALL_CLEAR, "DR": 0},
                "fundus/OD": {**ALL_CLEAR, "DR": 3, "AMD": 1},
                "anterior/OD": {"conjunctivitis": 0, "keratitis": 0, "cataract": 1, "pterygium": 0},
            },
            unavailable={"anterior/OS": "no_image", "anterior/OD.exfoliationSyndrome": "not_installed"},
        )
    )
    assert dumps(found).decode() == (
        '{"id":17,'
        '"odAnteriorResult":{"cataract":1,"conjunctivitis":0,"keratitis":0,"pterygium":0},'
        '"odFundusResult":{"AMD":1,"CSC":0,"DR":3,"GLA":0,"ON":0,"RP":0,"RVO":0},'
        '"osFundusResult":{"AMD":0,"CSC":0,"DR":0,"GLA":0,"ON":0,"RP":0,"RVO":0},'
        '"unavailable":{"odAnteriorResult.exfoliationSyndrome":"not_installed","osAnteriorResult":"no_image"}}'
    )


def test_the_answer_of_a_case_that_nobody_signed() -> None:
    found = check.answer(answered(0, values={"fundus/OS": {"DR": 1}}, unavailable={"fundus/OD": "cannot_grade"}))
    assert found == {
        "id": 17, "osFundusResult": {"DR": 1}, "unavailable": {"odFundusResult": "cannot_grade"}, "unsigned": True
    }  # fmt: skip


def test_the_answer_of_an_amended_case() -> None:
    assert check.answer(answered(3, values={"fundus/OS": {"DR": 4}})) == {
        "id": 17, "osFundusResult": {"DR": 4}, "amended": 3
    }  # fmt: skip


def test_what_is_unavailable_is_not_answered_even_if_something_was_said() -> None:
    found = check.answer(
        answered(
            values={"fundus/OD": {"DR": 0, "AMD": 0}, "fundus/OS": {"DR": 0}},
            unavailable={"fundus/OD": "eye_held", "fundus/OS.DR": "failed"},
        )
    )
    assert found == {"id": 17, "unavailable": {"odFundusResult": "eye_held", "osFundusResult.DR": "failed"}}


@pytest.mark.parametrize("part", sorted(FINDINGS))
@pytest.mark.parametrize("eye", EYES)
def test_no_zero_is_answered_that_nobody_said(part: Any, eye: str) -> None:
    for finding in FINDINGS[part]:
        # What a model said is not what holds once a doctor has signed.
        found = check.answer(
            answered(values={f"{part}/{eye}": {finding: 1}}, said={f"{part}/{eye}": {"DR": Said(value=0)}})
        )
        assert found == {"id": 17, f"{eye.lower()}{part.title()}Result": {finding: 1}}
