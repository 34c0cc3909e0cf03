"""The command ``data prepare``: what it says, its exit codes, a kill in the middle."""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from tests.flow.tables import Answer, read_table

Call = Callable[..., Answer]


def _photographs(folder: Path, count: int) -> None:
    rng = np.random.default_rng(0)
    for number in range(count):
        place = folder / ("normal" if number % 2 else "glaucoma")
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (70, 70, 3), np.uint8)).save(place / f"{number}.png", compress_level=0)


def test_it_prepares_goes_on_and_says_what_it_left_out(tmp_path: Path, eyeground: Call) -> None:
    _photographs(tmp_path / "data", 6)
    command = ("data", "prepare", tmp_path / "data", "--out", tmp_path / "ready", "--store-px", 64, "--json")
    first = eyeground(*command)
    assert first.code == 0, first.err
    assert json.loads(first.out)["images"] == 6
    (tmp_path / "data" / "normal" / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    second = eyeground(*command)
    told = json.loads(second.out)
    assert (second.code, told["images"], told["kept"], told["left_out"]) == (1, 6, 6, 1)
    assert "normal/bad.png" in second.err
    refused = eyeground(*command[:-1], "--no-crop-field")
    assert refused.code == 2
    assert "crop_field=True there, False asked" in refused.err
    assert "Traceback" not in refused.err


def test_a_kill_in_the_middle_costs_nothing(tmp_path: Path, eyeground: Call) -> None:
    _photographs(tmp_path / "data", 120)
    words = ["data", "prepare", str(tmp_path / "data"), "--store-px", "32", "--workers", "1"]
    assert eyeground(*words, "--out", tmp_path / "whole").code == 0
    code = "from eyeground.cli.main import main; main()"
    process = subprocess.Popen(
        [sys.executable, "-c", code, *words, "--out", str(tmp_path / "cut")], stderr=subprocess.DEVNULL
    )
    try:
        journal, deadline = tmp_path / "cut" / "journal.jsonl", time.monotonic() + 60
        while not journal.is_file() or journal.read_bytes().count(b"\n") < 10:
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.002)
    finally:
        process.kill()
        process.wait()
    assert not (tmp_path / "cut" / "prepared.json").exists(), "it was over before it was killed"
    answer = eyeground(*words, "--out", tmp_path / "cut", "--json")
    assert answer.code == 0
    assert json.loads(answer.out)["kept"] >= 8
    for name in ("manifest.csv", "prepared.json", "journal.jsonl"):
        assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    for row in read_table(tmp_path / "whole" / "manifest.csv"):
        image = Path("images", row["file"])
        assert (tmp_path / "cut" / image).read_bytes() == (tmp_path / "whole" / image).read_bytes()


def test_a_prepared_folder_trains_and_is_known_as_the_images_it_was_made_from(
    trained: Path, phantoms: Path, config: Path, tmp_path: Path, eyeground: Call
) -> None:
    out = tmp_path / "ready"
    table = ("--table", phantoms / "labels.csv")
    answer = eyeground("data", "prepare", phantoms / "images", *table, "--store-px", "48", "--out", out)
    assert answer.code == 0, answer.err
    seen = eyeground("evaluate", trained, out)
    assert seen.code == 2
    assert "were used in training" in seen.err
    told = eyeground("finetune", config, f"data={out}", f"out={tmp_path / 'run'}", "epochs=1")
    assert told.code == 0, told.err
    other = eyeground("finetune", config, f"data={out}", f"out={tmp_path / 'other'}", "store_px=40")
    assert other.code == 2
    assert "store_px is 48 there and 40 in this run" in other.err
    # The same model gives the same scores for the images and for what was prepared from them.
    for name, data in (("raw", [phantoms / "images", *table]), ("prepared", [out])):
        judged = eyeground("evaluate", trained, *data, "--allow-seen", "--name", name)
        assert judged.code == 0, judged.err
    scores = [
        [row["score_dr3"] for row in read_table(trained / "evaluations" / name / "predictions.csv")]
        for name in ("raw", "prepared")
    ]
    assert scores[0] == scores[1]


def test_the_truth_of_several_heads_goes_with_the_images(eyeground: Call, phantoms: Path, tmp_path: Path) -> None:
    rows = read_table(phantoms / "labels.csv")
    words = ("data", "prepare", phantoms / "images", "--table", phantoms / "labels.csv", "--group-column", "patient")
    assert eyeground(*words, "--store-px", 64, "--keep", "GLA", "--keep", "DR", "--out", tmp_path / "ready").code == 0
    kept = {row["source_file"]: (row["GLA"], row["DR"]) for row in read_table(tmp_path / "ready" / "manifest.csv")}
    assert kept == {row["file"]: (row["GLA"], row["DR"]) for row in rows}
    refused = eyeground(*words, "--keep", "GLB", "--out", tmp_path / "other")
    assert (refused.code, "did you mean 'GLA'" in refused.err) == (2, True)
