"""Files become a patient message that its contract takes, and the same files the same request."""

import json
import random
from typing import Any

import pytest

from eyeground.clinic.exchange import screening
from eyeground.clinic.uploads import is_image, may_be_image, message_of, sealed

FILES = [("P1_OD.jpg", b"\xff\xd8\xff right"), ("P1_OS.jpg", b"\xff\xd8\xff left"), ("IM1", bytes(128) + b"DICM rest")]


def test_the_message_is_taken_and_holds_the_files() -> None:
    order = screening.read(message_of(FILES, patient={"patient_id": "P1", "name": "王小明", "age": 50, "gender": "F"}))
    assert [(each.name, each.data, each.eye) for each in order.pictures] == [
        ("IM1", FILES[2][1], ""), ("P1_OD.jpg", FILES[0][1], "OD"), ("P1_OS.jpg", FILES[1][1], "OS"),
    ]  # fmt: skip
    assert (order.person.patient_id, order.person.name, order.person.age, order.person.sex) == (
        "P1",
        "王小明",
        50,
        "female",
    )


def test_eyes_and_parts_can_be_said() -> None:
    body = message_of(FILES, eyes=["OS", "", "OD"], parts=["anterior", "", ""])
    assert {each.name: (each.eye, each.part) for each in screening.read(body).pictures} == {
        "P1_OD.jpg": ("OS", "anterior"), "P1_OS.jpg": ("OS", "fundus"), "IM1": ("OD", "fundus"),
    }  # fmt: skip


@pytest.mark.parametrize("words", [{"eyes": ["OD"]}, {"parts": ["fundus"] * 4}])
def test_one_word_for_each_file_or_none(words: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="of each file, or of none"):
        message_of(FILES, **words)


def test_the_same_files_in_any_order_are_the_same_request() -> None:
    random_ = random.Random(4)
    bodies = set()
    for _ in range(20):
        order = random_.sample(range(3), k=3)
        bodies.add(message_of([FILES[n] for n in order], eyes=[["OD", "OS", ""][n] for n in order]))
    assert len(bodies) == 1


def test_anything_else_is_another_request() -> None:
    bodies = [
        message_of(FILES),
        message_of(FILES[:2]),
        message_of([*FILES[:2], ("IM1", b"other")]),
        message_of([*FILES[:2], ("IM2", FILES[2][1])]),
        message_of(FILES, eyes=["OD", "OS", "OS"]),
        message_of(FILES, parts=["anterior", "", ""]),
        message_of(FILES, patient={"patient_id": "P1"}),
        message_of(FILES, patient={"patient_id": "P2"}),
    ]
    ids = [screening.read(body).id for body in bodies]
    assert len(set(ids)) == len(ids)
    assert all(len(each) == 64 for each in ids)


def test_two_unknown_patients_are_two() -> None:
    people = {screening.read(message_of([("a.jpg", bytes([n + 1]))])).person.patient_id for n in range(20)}
    assert len(people) == 20
    assert all(each.startswith("visit-") for each in people)


def test_an_id_that_is_given_is_kept() -> None:
    assert screening.read(message_of(FILES, message_id="m7")).id == "m7"
    assert json.loads(sealed({"message_id": "a", "Patient": {"patient_id": "7"}}, message_id="b"))["message_id"] == "a"


@pytest.mark.parametrize(
    ("name", "head", "may", "does"),
    [
        ("a.JPEG", b"", True, True),
        ("a.dcm", b"", True, True),
        ("IM0001", bytes(128) + b"DICM", True, True),
        ("1.2.276.5", bytes(128) + b"DICM", True, True),
        ("IM0001", b"text", True, False),
        ("DICOMDIR.txt", b"\xff\xd8\xff", False, True),
        ("a/.hidden.jpg", b"", False, True),
        ("notes.pdf", b"%PDF", False, False),
    ],
)
def test_what_is_an_image(name: str, head: bytes, may: bool, does: bool) -> None:
    assert (may_be_image(name), is_image(name, head)) == (may, does)
