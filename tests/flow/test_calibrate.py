"""A finished run is calibrated from its own tables, and its calibration is used by predict, or refused."""

import hashlib
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eyeground.cli.main import main
from eyeground.evaluate.temperature import tempered
from tests.flow.tables import Answer, read_table, write_table

Call = Callable[..., Answer]
TABLES = ("predictions_val.csv", "predictions.csv", "metrics.json")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, trained: Path) -> Path:
    """A copy of the trained run, calibrated."""
    folder = tmp_path_factory.mktemp("calibrated") / "tiny"
    shutil.copytree(trained, folder)
    with pytest.MonkeyPatch.context() as patch:
        # Few images validate: a low coverage leaves something to rule out.
        patch.setattr(sys, "argv", ["eyeground", "calibrate", str(folder), "--coverage", "0.6", "--resamples", "100"])
        main_ended(0)
    return folder


def main_ended(code: int) -> None:
    with pytest.raises(SystemExit) as stop:
        main()
    assert int(stop.value.code or 0) == code


def tables_of(trained: Path, folder: Path, *names: str) -> Path:
    """A folder with a run's tables alone."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in names or TABLES:
        shutil.copy(trained / name, folder / name)
    return folder


def told_by(run: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run / "calibration.json").read_text(encoding="utf-8"))
    return found


def test_a_run_gets_its_calibration_and_its_page(run: Path) -> None:
    told = told_by(run)
    assert told["weights_sha256"] == json.loads((run / "metrics.json").read_text())["weights_sha256"]
    for name in TABLES[:2]:
        assert told["files"][name] == hashlib.sha256((run / name).read_bytes()).hexdigest()
    assert told["images"] == {"validation": len(read_table(run / TABLES[0])), "test": len(read_table(run / TABLES[1]))}
    assert [line["column"] for line in told["thresholds"]] == [f"positive_{name}" for name in told["classes"]]
    assert {(line["rule"], line["target"]) for line in told["thresholds"]} == {("sensitivity", 0.9)}
    assert len(told["says"]) == 3
    assert "at least 60% of images on average, over images exchangeable with the validation images" in told["promise"]
    page = (run / "calibration.html").read_text(encoding="utf-8")
    assert told["says"][2] in page.replace("&#39;", "'")
    assert "Eyeground calibration" in page


def test_calibrate_ends_with_one_json_line(trained: Path, tmp_path: Path, eyeground: Call) -> None:
    folder = tables_of(trained, tmp_path / "run")
    words = ("--sensitivity", 0.8, "--specificity", 0.9, "--of", "dr3", "--per-class", "--resamples", 100)
    answer = eyeground("calibrate", folder, *words, "--json")
    assert answer.code == 0, answer.err
    assert answer.out.count("\n") == 1
    told = json.loads(answer.out)
    assert set(told) == {"run", "seconds", "calibrations", "notes"}
    [found] = told["calibrations"]
    assert set(found) == {"head", "file", "temperature", "test", "thresholds", "sets", "says"}
    assert [line["column"] for line in found["thresholds"]] == [
        "positive_dr3_sensitivity_0.8",
        "positive_dr3_specificity_0.9",
    ]
    assert set(found["sets"]) == {"coverage", "alone", "accuracy_alone", "empty", "size"}
    assert told_by(folder)["sets"]["per_class"] is True


def test_predict_uses_the_calibration_only_when_told(
    run: Path, phantoms: Path, tmp_path: Path, eyeground: Call
) -> None:
    images = [phantoms / "images" / row["file"] for row in read_table(run / "predictions.csv")]
    (tmp_path / "broken.jpg").write_bytes(images[0].read_bytes()[:200])
    rows = {}
    for name, words in (("plain", ()), ("calibrated", ("--calibrated",))):
        out = tmp_path / f"{name}.csv"
        answer = eyeground("predict", run, *images, tmp_path / "broken.jpg", "--out", out, *words, "--json")
        assert answer.code == 0, answer.err
        assert ("certain" in json.loads(answer.out)) == (name == "calibrated")
        rows[name] = read_table(out)
    plain, calibrated = rows["plain"], rows["calibrated"]
    told = told_by(run)
    scores = [f"score_{name}" for name in told["classes"]]
    columns = ["file", "eye", "quality", "prediction", *scores]
    assert list(plain[0]) == columns
    assert list(calibrated[0]) == [*columns, "set", "certain", *(line["column"] for line in told["thresholds"])]
    assert {calibrated[-1][name] for name in list(calibrated[0])[3:]} == {""}  # what cannot be graded says nothing
    graded = 0
    for before, after in zip(plain[:-1], calibrated[:-1], strict=True):
        assert [before[name] for name in columns[:4]] == [after[name] for name in columns[:4]]
        if not before["prediction"]:
            continue
        graded += 1
        known = np.array([[float(before[name]) for name in scores]])
        mine = tempered(known, told["temperature"]["value"])[0]
        assert [float(after[name]) for name in scores] == pytest.approx(mine.tolist(), abs=1e-5)
        given = dict(zip(told["classes"], (float(after[name]) for name in scores), strict=True))
        limits = told["sets"]["quantiles"]
        inside = [
            name
            for name in sorted(given, key=lambda name: -given[name])
            if limits[name]["value"] is None or 1 - given[name] <= limits[name]["value"]
        ]
        assert after["set"] == "|".join(inside)
        assert after["certain"] == ("yes" if inside == [after["prediction"]] else "no")
        for line in told["thresholds"]:
            expected = "yes" if given[line["class"]] >= line["threshold"]["value"] else "no"
            assert after[line["column"]] == expected
    assert graded


def test_predict_refuses_a_calibration_that_is_not_the_runs(
    run: Path, phantoms: Path, tmp_path: Path, eyeground: Call
) -> None:
    copy = shutil.copytree(run, tmp_path / "copy")
    image = next((phantoms / "images").iterdir())
    out = tmp_path / "out.csv"

    def refused(*words: str) -> None:
        answer = eyeground("predict", copy, image, "--out", out, "--calibrated")
        assert answer.code == 2, answer.err
        assert "Traceback" not in answer.err
        assert not out.exists()
        for word in (*words, f"eyeground calibrate {copy}"):
            assert word in answer.err

    path = copy / "calibration.json"
    path.write_text(json.dumps({**told_by(run), "weights_sha256": "00" * 32}), encoding="utf-8")
    refused("belongs to other weights (0000000000000000, not")
    for broken in ("{", "[]", json.dumps({**told_by(run), "sets": None}), "null"):
        path.write_text(broken, encoding="utf-8")
        refused("not a calibration")
    path.unlink()
    refused("there is no calibration.json")


def test_everything_wrong_is_told_at_once(trained: Path, tmp_path: Path, eyeground: Call) -> None:
    folder = tables_of(trained, tmp_path / "run")
    words = ("--coverage", 1.2, "--sensitivity", 0, "--specificity", 2, "--of", "drusen", "--of", ">=2")
    answer = eyeground("calibrate", folder, *words)
    assert answer.code == 2, answer.err
    for word in (
        "--coverage 1.2: it is above 0 and below 1",
        "--sensitivity 0: it is above 0 and at most 1",
        "--specificity 2",
        "no class 'drusen'; its classes are 'cataract', 'dr3' and 'normal'",
        "'>=2' needs grades",
    ):
        assert word in answer.err
    assert not (folder / "calibration.json").exists()


def test_a_folder_that_cannot_be_calibrated_says_why(trained: Path, tmp_path: Path, eyeground: Call) -> None:
    def refused(folder: Path, *words: str) -> None:
        answer = eyeground("calibrate", folder, "--resamples", 100)
        assert answer.code == 2, answer.err
        assert "Traceback" not in answer.err
        for word in words:
            assert word in answer.err

    refused(tmp_path / "none", "there is no such folder")
    folder = tables_of(trained, tmp_path / "unfinished", "metrics.json")
    refused(folder, "no predictions_val.csv, no predictions.csv", f"eyeground finetune --resume {folder}")
    pretrained = tmp_path / "pretrained"
    pretrained.mkdir()
    (pretrained / "health.json").write_text("{}")
    refused(pretrained, "was pre-trained and knows no classes", f"weights={pretrained}")
    folder = tables_of(trained, tmp_path / "old")
    (folder / "metrics.json").write_text("{}")
    refused(folder, "does not name the weights")
    folder = tables_of(trained, tmp_path / "swapped")
    shutil.copy(folder / "predictions.csv", folder / "predictions_val.csv")
    refused(folder, "in validation and in test")
    folder = tables_of(trained, tmp_path / "torn")
    rows = read_table(folder / "predictions.csv")
    write_table(folder / "predictions.csv", [{**row, "score_dr3": "x"} for row in rows])
    write_table(folder / "predictions_val.csv", [{**row, "truth": ""} for row in rows])
    refused(folder, "score_dr3 is no number", "no image has a known truth")


def test_every_head_of_classes_is_calibrated_and_a_quantity_is_left_out(
    trained: Path, tmp_path: Path, eyeground: Call
) -> None:
    run = tables_of(trained, tmp_path / "run", "metrics.json")
    for head in ("AMD", "DR"):
        folder = tables_of(trained, run / "heads" / head)
        facts = json.loads((folder / "metrics.json").read_text())
        del facts["weights_sha256"]  # the run has them once for all heads
        (folder / "metrics.json").write_text(json.dumps(facts | {"ordered": head == "DR"}))
    (run / "heads" / "IOP").mkdir()
    (run / "heads" / "IOP" / "predictions.csv").write_text("patient,eye,file,truth,prediction\np,,a.png,12,13\n")
    words = ("--of", "DR:>=1", "--of", "DR:dr3", "--resamples", 100, "--json")
    answer = eyeground("calibrate", run, *words)
    assert answer.code == 0, answer.err
    told = json.loads(answer.out)
    assert [found["head"] for found in told["calibrations"]] == ["AMD", "DR"]
    assert [line["class"] for found in told["calibrations"] for line in found["thresholds"]] == [">=dr3", "dr3"]
    assert told["notes"] == ["IOP: a quantity has no classes to calibrate; left out"]
    for head in ("AMD", "DR"):
        assert told_by(run / "heads" / head)["weights_sha256"]
        assert f"run, {head}" in (run / "heads" / head / "calibration.html").read_text()
    answer = eyeground("calibrate", run, "--of", "dr3", "--of", "IOP:high", "--of", "DR:drusen", "--of", "AMD:>=1")
    assert answer.code == 2
    for word in (
        "HEAD:CLASS; the heads are AMD, DR, IOP",
        "--of IOP:high: a quantity has no classes",
        "head DR: there is no class 'drusen'",
        "head AMD: '>=1' needs grades",
    ):
        assert word in answer.err
    shutil.rmtree(run / "heads" / "AMD")
    shutil.rmtree(run / "heads" / "DR")
    answer = eyeground("calibrate", run)
    assert answer.code == 2
    assert "there is nothing to calibrate; IOP: a quantity" in answer.err
