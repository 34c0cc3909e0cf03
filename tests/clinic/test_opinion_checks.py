"""What an opinion lacks before it is signed, and in what it differs from the models."""

import pytest

from eyeground.clinic.db.tables import Case, Image
from eyeground.clinic.findings import Merged
from eyeground.clinic.opinion_checks import differing, strange, unready, unseen
from eyeground.clinic.records import EyeReview, Opinion, Said
from eyeground.clinic.report.language import words_of

OD = Image(part="fundus", eye="OD", place=0)
SAID = Merged({"fundus/OD": {"DR": Said(value=2, score=0.8), "AMD": Said(value=0, score=0.9)}})


def of(**eye: object) -> Opinion:
    return Opinion(eyes={"fundus/OD": EyeReview(**eye)}, conclusion="x")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("eye", "unavailable", "differ"),
    [
        ({"findings": {"DR": 2, "AMD": 0}}, {}, ()),
        ({"findings": {"DR": 2}}, {}, ()),  # open is what the models do not find, either
        ({"findings": {"AMD": 0}}, {}, ("DR",)),  # what they find does not vanish because nobody says anything of it
        ({"findings": {"AMD": 1}}, {}, ("AMD", "DR")),
        ({"findings": {"DR": 2, "RVO": 1}}, {}, ()),  # what no model said neither
        ({"findings": {"DR": 3, "AMD": 1}}, {}, ("DR", "AMD")),
        ({"ungradable": True}, {}, ("ungradable",)),
        ({"findings": {"DR": 2}}, {"fundus/OD": "cannot_grade"}, ("graded",)),
        ({"findings": {"DR": 2}}, {"fundus/OD": "not_installed"}, ()),
    ],
)
def test_what_differs_is_named(eye: dict[str, object], unavailable: dict[str, str], differ: tuple[str, ...]) -> None:
    found = differing(SAID, unavailable, of(**eye))
    assert found.get("fundus/OD", ()) == differ
    merged = SAID if "fundus/OD" not in unavailable else Merged()
    missing = unready(Case(door="screening", unavailable=unavailable), [OD], merged, of(**eye))
    assert bool(missing) == bool(differ)
    with_reason = of(**eye, reason="haze over the macula")
    assert unready(Case(door="screening", unavailable=unavailable), [OD], merged, with_reason) == []


def test_of_a_doctor_alone_what_cannot_be_graded_needs_a_reason_too() -> None:
    case = Case(door="screening", unavailable={"fundus/OD": "not_installed"})
    assert unready(case, [OD], Merged(), of(ungradable=True)) == ["fundus/OD: cannot be graded: give the reason"]


def test_everything_that_is_missing_is_said_at_once() -> None:
    opinion = Opinion(eyes={"fundus/OS": EyeReview(findings={"DR": 0})}, conclusion=" ")
    assert unready(Case(door="screening", unavailable={}), [OD], SAID, opinion) == [
        "fundus/OD: give findings, or say that it cannot be graded",
        "fundus/OS: there is no image of it",
        "conclusion: is empty",
    ]
    assert len(unready(Case(door="report", unavailable={}), [], Merged(), Opinion())) == 4
    held = Image(part="fundus", eye="", place=3)
    assert unseen([held], Opinion()) == ["fundus/image 3: give findings, or say that it cannot be graded"]


def test_what_there_is_not_is_named_without_repeating_it() -> None:
    opinion = Opinion(
        eyes={
            "Zhang San": EyeReview(),
            "fundus/OD": EyeReview(findings={"DR": 5, "Zhang": 1}, ungradable=True),
            "anterior/OS": EyeReview(findings={"DR": 1}),
        }
    )
    wrong = strange(opinion)
    assert len(wrong) == 5
    assert "Zhang" not in " ".join(wrong)
    assert strange(of(findings={"DR": 4})) == []


def test_what_is_left_open_is_told_apart_from_what_is_denied() -> None:
    case = Case(door="screening", unavailable={})
    assert unready(case, [OD], SAID, of(findings={"AMD": 1})) == [
        "fundus/OD: the model finds DR: judge it, or give the reason",
        "fundus/OD: differs from the model in AMD: give the reason",
    ]
    assert differing(SAID, {}, of()) == {}  # nothing is said of the eye yet


def test_a_text_that_is_only_a_draft_s_note_is_empty() -> None:
    note = words_of("zh").say("draft.note_by_ai")
    texts = {"anteriorReport": note, "anteriorInterpret": f"\n{note}\n", "fundusReport": "x", "fundusInterpret": "y"}
    missing = unready(Case(door="report", unavailable={}), [], Merged(), Opinion(texts=texts))
    assert missing == ["anteriorReport: is empty", "anteriorInterpret: is empty"]
