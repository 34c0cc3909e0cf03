"""What a doctor made of a draft, and when a report needs the AI mark."""

import difflib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as some
from sqlalchemy.orm import Session

from eyeground.clinic import drafts
from eyeground.clinic.clock import now
from eyeground.clinic.db.opinions import Draft
from eyeground.clinic.db.tables import Review
from eyeground.clinic.drafts import by_llm, changes, drafts_of

from .opened import open_service_in
from .populated import take_in

TEXT = some.text(some.sampled_from("右眼左眼视力 fundus 17.5\n。"), max_size=60)


@given(TEXT, TEXT)
def test_a_difference_leads_from_one_text_to_the_other(before: str, after: str) -> None:
    stretches = changes(before, after)
    assert "".join(each.text for each in stretches if each.kind != "added") == before
    assert "".join(each.text for each in stretches if each.kind != "removed") == after


def test_a_word_is_changed_as_a_whole() -> None:
    told = [(each.kind, each.text) for each in changes("眼压 17.5 mmHg", "眼压 18 mmHg")]
    assert told == [("same", "眼压 "), ("removed", "17.5"), ("added", "18"), ("same", " mmHg")]


def test_long_texts_are_compared_by_line() -> None:
    before = "\n".join(["右眼所见如下" * 10] * 100)
    told = changes(before, before.replace("右", "左", 1))
    assert [each.kind for each in told] == ["removed", "added", "same"]


def _put(
    session: Session, case_id: str, *, by: str, revision: int = 1, text: str = "a draft", number: str = ""
) -> None:
    session.add(
        Draft(
            case_id=case_id, revision=revision, language="en", by=by, texts={"narrative": text}, made_at=now(),
            facts_sha256=f"{by}{number}",
        )
    )  # fmt: skip


def _write(session: Session, case_id: str, *, revision: int = 1, **opinion: object) -> None:
    session.add(Review(case_id=case_id, revision=revision, opinion=opinion, doctor="li", saved_at=now()))


DRAFT = "Right eye (OD): The visual acuity is 0.8 and the intraocular pressure is 17 mmHg. 眼底图像质量为良好。"


@pytest.mark.parametrize(
    ("by", "drafted", "asked", "opinion", "expected"),
    [
        ("llm", 1, 1, {"narrative": DRAFT}, True),
        ("llm", 1, 1, {"narrative": "Seen by me; the  VISUAL acuity is, now, bad"}, True),
        ("llm", 1, 1, {"narrative": "眼底图像：质量为良，好"}, True),
        ("llm", 1, 1, {"narrative": "眼底图像质量差"}, False),
        ("llm", 1, 1, {"narrative": "I wrote every word of this by hand, acuity 0.8"}, False),
        ("llm", 1, 1, {"narrative": "", "texts": {"fundusReport": "x", "anteriorReport": "pressure is 17 mmHg"}}, True),
        ("llm", 1, 1, {"narrative": "  ", "conclusion": DRAFT}, True),
        ("llm", 1, 1, {"recommendation": "Because the visual acuity is 0.8"}, True),
        ("template", 1, 1, {"narrative": DRAFT}, False),
        ("llm", 1, 2, {"narrative": "Amended. The visual acuity is 0.9"}, True),
        ("llm", 2, 1, {"narrative": DRAFT}, False),
    ],
)
def test_the_mark_follows_the_words(
    tmp_path: Path, by: str, drafted: int, asked: int, opinion: dict[str, object], expected: bool
) -> None:
    service = open_service_in(tmp_path)
    case_id = take_in(service, "m1")
    with service.database.write() as work:
        _put(work.session, case_id, by=by, revision=drafted, text=DRAFT)
        _write(work.session, case_id, revision=asked, **opinion)
        work.session.flush()
        assert by_llm(work.session, case_id, asked) is expected
        assert not by_llm(work.session, "0" * 32, asked)
    service.close()


def test_only_the_newest_drafts_are_compared(tmp_path: Path) -> None:
    service = open_service_in(tmp_path)
    case_id = take_in(service, "m1")
    with service.database.write() as work:
        for number in range(6):
            _put(work.session, case_id, by="template", number=str(number))
        _write(work.session, case_id, narrative="another")
        work.session.flush()
        told = drafts_of(work.session, case_id)
    assert [bool(each["difference"]) for each in told] == [True] * 4 + [False] * 2
    service.close()


@pytest.mark.parametrize("piece", ["的", "\n", "的\n"])
def test_a_difference_never_takes_long(piece: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What difflib is given is never more than a million pairs, whatever the texts are made of."""
    given: list[int] = []
    original = drafts.difflib.SequenceMatcher

    def counted(junk: None, old: list[str], new: list[str], *, autojunk: bool) -> difflib.SequenceMatcher[str]:
        given.append(len(old) * len(new))
        return original(junk, old, new, autojunk=autojunk)

    monkeypatch.setattr(drafts.difflib, "SequenceMatcher", counted)
    before, after = piece * 4000, piece * 3999 + "一"
    stretches = changes(before, after)
    assert "".join(each.text for each in stretches if each.kind != "added") == before
    assert given
    assert max(given) <= 1_000_000


def test_drafts_are_listed_with_what_became_of_them(tmp_path: Path) -> None:
    service = open_service_in(tmp_path)
    case_id = take_in(service, "m1")
    with service.database.write() as work:
        _put(work.session, case_id, by="template", text="The right eye")
        work.session.flush()
        assert drafts_of(work.session, case_id)[0]["difference"] == {}
        _write(work.session, case_id, narrative="The left eye")
        _put(work.session, case_id, by="llm", text="The left eye")
        work.session.flush()
        newest, oldest = drafts_of(work.session, case_id)
    assert newest["difference"]["narrative"] == [{"kind": "same", "text": "The left eye"}]
    kinds = [each["kind"] for each in oldest["difference"]["narrative"]]
    assert kinds == ["same", "removed", "added", "same"]
    service.close()
