"""An opinion as it is typed: what cannot be kept, or belongs nowhere, is an error."""

from typing import Any

import pytest

from eyeground.cli.clinic_opinion import opinion_of
from eyeground.cli.config import ConfigError


def view(door: str) -> dict[str, Any]:
    return {"revision": 1, "reviews": [], "unavailable": {}, "door": door, "answered": {"values": {}, "quality": {}}}


def test_texts_are_of_the_report_s_four_names() -> None:
    assert opinion_of(view("report"), texts=["fundusReport=So"]).texts == {"fundusReport": "So"}
    for word in ("fundsReport=So", "=So", "fundusReport", "id=7"):
        with pytest.raises(ConfigError, match="fundusInterpret"):
            opinion_of(view("report"), texts=[word])


@pytest.mark.parametrize("door", ["screening", "check"])
def test_a_case_that_is_no_report_has_no_texts(door: str) -> None:
    with pytest.raises(ConfigError, match="only a report request"):
        opinion_of(view(door), texts=["fundusReport=So"])


@pytest.mark.parametrize("words", ["\udcff", "a\x1b[2Jb", "\x00", "a\rb"])
def test_words_that_cannot_be_kept_are_refused(words: str) -> None:
    typed = {
        "--conclusion": {"conclusion": words},
        "--recommendation": {"recommendation": words},
        "--text": {"texts": [f"fundusReport={words}"]},
        "--reason": {"reasons": [f"fundus/OD={words}"]},
    }
    for option, given in typed.items():
        with pytest.raises(ConfigError, match=f"{option}: holds control characters"):
            opinion_of(view("report"), **given)  # type: ignore[arg-type]


def test_a_narrative_that_is_stored_stays() -> None:
    stored = {"revision": 1, "signed_at": "", "opinion": {"conclusion": "so", "narrative": "the whole story"}}
    told = opinion_of(view("check") | {"reviews": [stored]}, conclusion="otherwise")
    assert (told.conclusion, told.narrative) == ("otherwise", "the whole story")


def test_lines_and_any_script_are_kept() -> None:
    words = "右眼\n\tNPDR, 2\u00a0× — ok\u3000👁"
    assert opinion_of(view("check"), conclusion=words).conclusion == words
