"""``eyeground doctor`` as it is called: exit codes, the JSON line, the page, the cleaned table."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.data.planting import judge, plant, words
from tests.flow.tables import Answer, read_table, write_table

Call = Callable[..., Answer]


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EYEGROUND_CACHE", str(tmp_path_factory.getbasetemp() / "doctor-cache"))


def _examined(answer: Answer) -> dict[str, list[dict[str, object]]]:
    """The JSON line."""
    told = json.loads(answer.out.splitlines()[-1])
    assert len(answer.out.splitlines()) == 1
    return told  # type: ignore[no-any-return]


def test_a_clean_set_ends_with_0(eyeground: Call, phantoms: Path) -> None:
    answer = eyeground("doctor", phantoms / "images", "--table", phantoms / "labels.csv", "--json")
    told = _examined(answer)
    sick = [found for found in told["findings"] if found["severity"] != "note"]
    # Phantoms of 64 px are below what can be graded well; nothing else may be found.
    assert {found["kind"] for found in sick} <= {"cannot be graded", "left and right contradict the disc"}
    assert answer.code == (1 if sick else 0)


def test_faults_end_with_1_and_every_file_is_named(eyeground: Call, phantoms: Path, tmp_path: Path) -> None:
    folder = tmp_path / "set"
    shutil.copytree(phantoms / "images", folder)
    rows = read_table(phantoms / "labels.csv")
    (folder / rows[0]["file"]).write_bytes(b"")
    (folder / rows[1]["file"]).write_bytes(b"GIF89a")
    other = next(row for row in rows[2:] if row["label"] != rows[2]["label"])
    (folder / other["file"]).write_bytes((folder / rows[2]["file"]).read_bytes())
    table = write_table(tmp_path / "t.csv", rows)
    page, clean = tmp_path / "page.html", tmp_path / "clean.csv"
    answer = eyeground("doctor", folder, "--table", table, "--json", "--html", page, "--fix", clean)
    assert answer.code == 1
    told = {str(found["kind"]): found for found in _examined(answer)["findings"]}
    assert told["empty file"]["files"] == [str(folder / rows[0]["file"])]
    assert told["wrong type of file"]["files"] == [str(folder / rows[1]["file"])]
    assert set(told["same image under two labels"]["files"]) == {  # type: ignore[call-overload]
        str(folder / rows[2]["file"]), str(folder / other["file"])
    }  # fmt: skip
    for kind in told:
        assert kind in answer.err
    html = page.read_text("utf-8")
    assert rows[0]["file"].rpartition("/")[2] in html
    assert "data:image/jpeg;base64," in html
    assert "<script" not in html
    assert not re.search(r"""(?:src|href)=["'](?!data:|#)""", html)
    kept = {row["file"] for row in read_table(clean)}
    gone = {row["file"]: row["reason"] for row in read_table(tmp_path / "clean.left_out.csv")}
    assert kept | set(gone) == {row["file"] for row in rows}
    assert set(gone) == {rows[0]["file"], rows[1]["file"], rows[2]["file"], other["file"]}
    again = eyeground("doctor", folder, "--table", clean, "--json")
    assert [found for found in _examined(again)["findings"] if found["severity"] == "fault"] == []


@pytest.mark.parametrize(
    ("arguments", "words_"),
    [
        (["nowhere"], "no such folder"),
        (["nowhere.yaml"], "cannot be read"),
        (["{set}", "--table", "nowhere.csv"], "cannot be read"),
        (["{set}", "--table", "{table}", "--label-column", "lable"], "there is no column 'lable'"),
        (["{set}", "{set}", "--table", "{table}"], "belongs to one folder"),
        (["{set}", "--table", "{table}", "--html", "nowhere/x.html"], "no file can be written there"),
        (["{set}", "--table", "{table}", "--split", "{table}"], "is no split file"),
    ],
)
def test_what_cannot_be_examined_ends_with_2(
    eyeground: Call, phantoms: Path, arguments: list[str], words_: str
) -> None:
    places = {"set": phantoms / "images", "table": phantoms / "labels.csv"}
    answer = eyeground("doctor", *(word.format(**places) for word in arguments))
    assert answer.code == 2, answer.err
    assert words_ in answer.err
    assert "Traceback" not in answer.err


def test_a_config_is_examined_as_it_would_be_trained(eyeground: Call, config: Path) -> None:
    told = _examined(eyeground("doctor", config, "--json"))
    assert told["images"] == 60
    assert "patient in two splits" not in {found["kind"] for found in told["findings"]}


def test_names_that_are_not_plain_do_no_harm(eyeground: Call, phantoms: Path, tmp_path: Path) -> None:
    folder = tmp_path / "set" / "a"
    folder.mkdir(parents=True)
    one = next((phantoms / "images").rglob("*.png"), None) or next((phantoms / "images").rglob("*.jpg"))
    for name in ("<b>\x1b[31m.png", "名\u202egpj.png"):
        shutil.copy(one, folder / name)
    page = tmp_path / "page.html"
    answer = eyeground("doctor", tmp_path / "set", "--html", page)
    assert answer.code == 1
    assert "\x1b" not in answer.err
    assert "<b>" not in page.read_text("utf-8")
    assert "\u202e" not in page.read_text("utf-8")


@pytest.mark.slow
def test_twenty_planted_faults_of_twelve_kinds_are_named(eyeground: Call, realdata: Path, tmp_path: Path) -> None:
    planted = plant(realdata / "fundus-odir3", tmp_path)
    assert len(planted.faults) == 20
    assert len({kind for kind, _ in planted.faults}) >= 12
    named, false = judge(planted, _examined(eyeground(*words(planted)))["findings"])
    assert all(named), [fault for fault, found in zip(planted.faults, named, strict=True) if not found]
    assert len(false) <= 2, false
