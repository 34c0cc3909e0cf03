"""Titles: complete in both languages, a site's own first."""

import tomllib
from pathlib import Path

import pytest

from eyeground.data.task import Head, Task, classification
from eyeground.serve import titles as room
from eyeground.serve.titles import LANGUAGES, read_titles, titles_of, untitled

from .contracts import SCREENING


def test_every_title_of_ours_is_complete() -> None:
    known = tomllib.loads(Path(room.__file__).with_suffix(".toml").read_text("utf-8"))
    assert len(known) > 30
    assert [name for name, words in known.items() if set(words) != set(LANGUAGES) or not all(words.values())] == []
    assert [name for name in known if name != name.casefold()] == []


def test_grades_have_titles_where_their_scale_is_known() -> None:
    found = titles_of(SCREENING)
    assert found["DR/2"]["zh"] == "中度非增殖期糖尿病视网膜病变"
    other = Task("heads", (Head("haze", "grades", ("0", "1", "2", "3", "4")),))
    assert titles_of(other) == {}
    assert untitled(other, {}) == ["haze", "0", "1", "2", "3", "4"]
    assert untitled(SCREENING, found) == ["ratio"]


def test_a_sites_own_titles_come_first(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('[Normal]\nen = "Fine"\nzh = "好"\n', "utf-8")
    assert titles_of(classification(("normal", "xq")), read_titles(path))["normal"]["en"] == "Fine"


def test_all_faults_of_a_file_are_told_together(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('[a]\nen = "A"\n[b]\nen = ""\nzh = "B"\n', "utf-8")
    with pytest.raises(ValueError, match=r"\[a\].*\[b\]"):
        read_titles(path)
    with pytest.raises(ValueError, match="cannot be read"):
        read_titles(tmp_path / "gone.toml")


def test_a_class_called_no_is_healthy_and_an_answer_no_is_an_answer() -> None:
    assert titles_of(classification(("NO", "AMD")))["NO"]["en"] == "No disease found"
    assert titles_of(SCREENING)["AMD/no"] == {"en": "No", "zh": "否"}
