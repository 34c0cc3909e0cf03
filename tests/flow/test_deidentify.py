"""The command ``data deidentify``: no word of the originals in what it writes or says; exit codes; the mapping."""

import json
from collections.abc import Callable
from pathlib import Path

from PIL import Image, ImageDraw

from tests.data import canaries
from tests.flow.tables import Answer, read_table

Call = Callable[..., Answer]


def test_nothing_that_it_writes_or_says_holds_a_canary(tmp_path: Path, eyeground: Call) -> None:
    source = tmp_path / "in"
    word, files = canaries.write_all(source)
    (source / f"{word()}.txt").write_text(word())
    (source / f"{word()}.vol").write_text("HSF-OCT-103" + word())
    titled = Image.new("RGB", (300, 200))
    ImageDraw.Draw(titled).text((5, 5), f"{word()} 1956", fill="white")
    titled.save(source / f"{word()}.png")
    rows = [f"{file},normal,{word()},{word()},{word()}" for file in files]
    table = source / "labels.csv"
    table.write_text("\n".join(["file,label,patient,site,remark", *rows]))
    out, key, mapping = tmp_path / "out", tmp_path / "key", tmp_path / "mapping.csv"
    command = ("data", "deidentify", source, "--out", out, "--key-file", key, "--table", table, "--json")
    first = eyeground(*command, "--new-key", "--mapping", mapping)
    told = json.loads(first.out)
    assert (first.code, told["written"], told["held"], told["refused"]) == (1, len(files), 1, 2), first.err
    written = [path.read_bytes() + str(path.relative_to(out)).encode() for path in out.rglob("*") if path.is_file()]
    assert len(written) >= len(files) + 3
    for content in (*written, first.out.encode(), first.err.encode()):
        assert canaries.traces(content) == []
    assert (key.stat().st_mode & 0o777, mapping.stat().st_mode & 0o777) == (0o600, 0o600)
    labels = read_table(out / "labels.csv")
    assert {row["label"] for row in labels} == {"normal"}
    assert set(labels[0]) == {"file", "label", "patient", "eye", "site"}
    assert all((out / "images" / row["file"]).is_file() for row in labels)
    held = next(row for row in read_table(mapping) if row["outcome"] == "held")
    second = eyeground(*command, "--confirm", held["copy"])
    assert json.loads(second.out)["held"] == 0


def test_what_cannot_begin_is_said_before_any_work(tmp_path: Path, eyeground: Call) -> None:
    source, out, key = tmp_path / "in", tmp_path / "out", tmp_path / "key"
    source.mkdir()
    canaries.photograph().save(source / "a.png")
    base = ("data", "deidentify", source, "--out", out, "--key-file")
    for words, told in (
        ((*base, key), "make one with --new-key"),
        ((*base, out / "key", "--new-key"), "handed on with the copies"),
        ((*base, key, "--new-key", "--mapping", out / "m.csv"), "handed on with the copies"),
        ((*base, key, "--group-column", "("), "no regular expression"),
        ((*base, key, "--table", tmp_path / "none.csv"), "cannot be read"),
        (("data", "deidentify", tmp_path / "none", "--out", out, "--key-file", key), "no such folder"),
    ):
        answer = eyeground(*words)
        assert answer.code == 2, answer.err
        assert told in answer.err
        assert "Traceback" not in answer.err
        assert not (out / "images").exists()


def test_patients_of_dicom_files_and_of_file_names_reach_the_table(tmp_path: Path, eyeground: Call) -> None:
    source, key = tmp_path / "in", tmp_path / "key"
    source.mkdir()
    (source / "a.dcm").write_bytes(canaries.dicom(canaries.Words()))
    assert eyeground("data", "deidentify", source, "--out", tmp_path / "out", "--key-file", key, "--new-key").code == 0
    (row,) = read_table(tmp_path / "out" / "labels.csv")
    assert row["patient"].startswith("p")
    canaries.photograph().save(source / "KanariPID_left.png")
    out = tmp_path / "two"
    pattern = "^(.+)_(?:left|right)"
    assert eyeground("data", "deidentify", source, "--out", out, "--key-file", key, "--group-column", pattern).code == 0
    assert {row["patient"] for row in read_table(out / "labels.csv")} == {row["patient"]}  # the same person
