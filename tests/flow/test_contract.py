"""The contract that scripts rely on: folders, columns, JSON lines, exit codes."""

import json
import math
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import roc_auc_score

from tests.flow.tables import Answer, read_table, write_table

KEYS = {
    *("auroc_macro", "ap_macro", "f1_macro", "f1_weighted", "accuracy", "balanced_accuracy"),
    *("kappa", "kappa_quadratic", "mcc", "ece", "brier"),
}
COLUMNS = "val_loss,accuracy,f1,roc_auc,hamming,jaccard,precision,recall,average_precision,kappa"
Call = Callable[..., Answer]


def test_a_run_folder_holds_what_the_contract_says(trained: Path) -> None:
    for name in (
        "config.yaml",
        "journal.jsonl",
        "checkpoints",
        "metrics_val.csv",
        "metrics_test.csv",
        "metrics.json",
        "predictions.csv",
        "report.html",
        "split.csv",
    ):
        assert (trained / name).exists(), name
    for name, rows in (("metrics_val.csv", 2), ("metrics_test.csv", 1)):
        table = read_table(trained / name)
        assert ",".join(table[0]) == COLUMNS
        assert len(table) == rows
    rows = read_table(trained / "predictions.csv")
    assert list(rows[0])[:6] == ["patient", "eye", "file", "truth", "quality", "prediction"]
    assert [name for name in rows[0] if name.startswith("score_")] == ["score_cataract", "score_dr3", "score_normal"]
    headline = json.loads((trained / "metrics.json").read_text())["headline"]
    assert set(headline) >= KEYS


def test_the_reported_numbers_are_those_of_the_table(trained: Path) -> None:
    rows = read_table(trained / "predictions.csv")
    names = [name for name in rows[0] if name.startswith("score_")]
    scores = np.array([[float(row[name]) for name in names] for row in rows])
    truth = [names.index(f"score_{row['truth']}") for row in rows]
    headline = json.loads((trained / "metrics.json").read_text())["headline"]
    expected = roc_auc_score(truth, scores, multi_class="ovr", average="macro")
    assert headline["auroc_macro"]["value"] == pytest.approx(expected, abs=1e-12)
    assert headline["auroc_macro"]["low"] <= expected <= headline["auroc_macro"]["high"]


def test_no_patient_stands_in_two_splits_and_the_file_can_be_reused(
    trained: Path, config: Path, tmp_path: Path, eyeground: Call
) -> None:
    rows = read_table(trained / "split.csv")
    places: dict[str, set[str]] = {}
    for row in rows:
        places.setdefault(row["patient"], set()).add(row["split"])
    assert len(places) == 30
    assert all(len(splits) == 1 for splits in places.values())
    answer = eyeground(
        "finetune", config, f"out={tmp_path / 'again'}", f"split={trained / 'split.csv'}", "seed=1", "epochs=1"
    )
    assert answer.code == 0, answer.err
    assert read_table(tmp_path / "again" / "split.csv") == rows


def test_finetune_ends_with_one_json_line(config: Path, tmp_path: Path, eyeground: Call) -> None:
    answer = eyeground("finetune", config, f"out={tmp_path / 'run'}", "epochs=1", "--json")
    assert answer.code == 0, answer.err
    assert answer.out.count("\n") == 1
    told = json.loads(answer.out)
    assert told["run"] == str(tmp_path / "run")
    assert told["seconds"] > 0
    assert set(told["test"]) >= KEYS
    assert {"value", "low", "high"} <= set(told["test"]["auroc_macro"])
    assert told["test"]["kappa_quadratic"] == {"value": None, "reason": "classes are not ordered"}


def test_evaluate_on_other_patients(trained: Path, tmp_path: Path, eyeground: Call) -> None:
    data = tmp_path / "other"
    assert (
        eyeground(
            "data", "phantom", data, "--diseases", "normal,dr3,cataract", "--patients", 12, "--size-px", 64, "--seed", 7
        ).code
        == 0
    )
    words = (
        "--table",
        data / "labels.csv",
        "--file-column",
        "file",
        "--label-column",
        "label",
        "--group-column",
        "patient",
    )
    answer = eyeground("evaluate", trained, data / "images", *words, "--name", "other", "--resamples", 100, "--json")
    assert answer.code == 0, answer.err
    told = json.loads(answer.out)
    folder = trained / "evaluations" / "other"
    assert told["evaluation"] == str(folder)
    assert told["images"] == 24
    assert set(told["test"]) >= KEYS
    assert (folder / "report.html").is_file()
    assert len(read_table(folder / "predictions.csv")) == 24


def test_evaluate_refuses_what_was_trained_on(trained: Path, phantoms: Path, eyeground: Call) -> None:
    words = ("evaluate", trained, phantoms / "images", "--table", phantoms / "labels.csv", "--resamples", 100)
    answer = eyeground(*words)
    assert answer.code == 2
    assert "looks better than it is" in answer.err
    answer = eyeground(*words, "--allow-seen", "--name", "seen")
    assert answer.code == 0, answer.err
    assert "not an independent test" in (trained / "evaluations" / "seen" / "report.html").read_text()


def test_predict_one_many_and_a_folder(trained: Path, phantoms: Path, tmp_path: Path, eyeground: Call) -> None:
    images = sorted((phantoms / "images").iterdir())
    mixed = tmp_path / "mixed"
    mixed.mkdir()
    for number, image in enumerate(images[:3]):
        shutil.copy(image, mixed / f"patient{number}_{'OD' if number % 2 else 'left'}.jpg")
    (mixed / "broken.jpg").write_bytes(images[0].read_bytes()[:200])
    (mixed / "text.png").write_text("not an image")
    Image.new("RGB", (80, 80)).save(mixed / "black.png")
    out = tmp_path / "predictions.csv"
    answer = eyeground("predict", trained, mixed, images[5], "--out", out, "--json")
    assert answer.code == 0, answer.err
    rows = {Path(row["file"]).name: row for row in read_table(out)}
    assert list(next(iter(rows.values()))) == [
        "file",
        "eye",
        "quality",
        "prediction",
        "score_cataract",
        "score_dr3",
        "score_normal",
    ]
    assert len(rows) == 7
    assert rows["patient0_left.jpg"]["eye"] == "OS"
    assert rows["patient1_OD.jpg"]["eye"] == "OD"
    for name in ("broken.jpg", "text.png", "black.png"):
        assert rows[name]["quality"].startswith("cannot grade")
        assert rows[name]["prediction"] == rows[name]["score_normal"] == ""
    sound = rows["patient0_left.jpg"]
    assert sound["prediction"] in ("normal", "dr3", "cataract")
    assert math.isclose(sum(float(sound[name]) for name in sound if name.startswith("score_")), 1, abs_tol=1e-5)
    told = json.loads(answer.out)
    assert (told["images"], told["graded"], len(told["not_graded"])) == (7, 4, 3)


def test_prediction_sees_the_same_pixels_as_evaluation(
    trained: Path, phantoms: Path, tmp_path: Path, eyeground: Call
) -> None:
    judged = {row["file"]: row for row in read_table(trained / "predictions.csv")}
    out = tmp_path / "p.csv"
    assert (
        eyeground(
            "predict", trained, *[phantoms / "images" / name for name in judged], "--out", out, "--precision", "fp32"
        ).code
        == 0
    )
    rows = [row for row in read_table(out) if not row["quality"].startswith("cannot grade")]
    assert len(rows) > len(judged) / 2  # a photograph of 64 px may well be too little to grade
    for row in rows:
        before = judged[Path(row["file"]).name]
        for name in (name for name in row if name.startswith("score_")):
            assert float(row[name]) == pytest.approx(float(before[name]), abs=1e-5)


def test_a_class_absent_from_validation(config: Path, phantoms: Path, tmp_path: Path, eyeground: Call) -> None:
    # Fault 5: the score became NaN, nothing was ever saved, and the last step crashed.
    rows = read_table(phantoms / "labels.csv")
    patients = sorted({row["patient"] for row in rows})
    # A patient with cataract in either eye never goes to validation.
    hazy = {row["patient"] for row in rows if row["label"] == "cataract"}
    clear = [patient for patient in patients if patient not in hazy]
    for row in rows:
        number = patients.index(row["patient"])
        row["part"] = "val" if row["patient"] in clear[::3] else ("test" if number % 4 == 0 else "train")
    table = write_table(tmp_path / "labels.csv", rows)
    data = f"data=[{{path: {phantoms / 'images'}, table: {table}, split: part, name: phantoms}}]"
    answer = eyeground("finetune", config, data, f"out={tmp_path / 'run'}", "--json")
    assert answer.code == 0, answer.err
    assert json.loads(answer.out)["best_epoch"] in (1, 2)
    assert "val has no image of cataract" in answer.err
    assert "validation auroc_macro is undefined: class 'cataract' is absent" in answer.err
    assert "val has no image of cataract" in (tmp_path / "run" / "report.html").read_text()


def test_a_class_absent_from_test_is_null_with_its_reason(trained: Path, tmp_path: Path, eyeground: Call) -> None:
    data = tmp_path / "two"
    assert (
        eyeground(
            "data", "phantom", data, "--diseases", "normal,dr3", "--patients", 8, "--size-px", 64, "--seed", 9
        ).code
        == 0
    )
    answer = eyeground(
        "evaluate", trained, data / "images", "--table", data / "labels.csv", "--resamples", 100, "--json"
    )
    assert answer.code == 0, answer.err
    told = json.loads(answer.out)["test"]
    assert told["auroc_macro"]["value"] is None
    assert "'cataract' is absent" in told["auroc_macro"]["reason"]
    assert 0 <= told["auroc_macro_present"]["value"] <= 1
    report = (trained / "evaluations" / "two" / "report.html").read_text()
    assert "cataract" in report
    assert "is absent" in report


def test_data_split_and_inspect(phantoms: Path, tmp_path: Path, eyeground: Call) -> None:
    words = (phantoms / "images", "--table", phantoms / "labels.csv")
    answer = eyeground("data", "split", *words, "--ratios", "55:15:30", "--out", tmp_path / "split.csv", "--json")
    assert answer.code == 0, answer.err
    assert sum(sum(classes.values()) for classes in json.loads(answer.out)["counts"].values()) == 60
    assert eyeground("data", "split", *words, "--out", tmp_path / "split.csv").code == 2  # never overwritten
    answer = eyeground("data", "inspect", *words, "--picture", tmp_path / "sheet.png", "--json")
    assert answer.code == 0, answer.err
    told = json.loads(answer.out)
    assert told["images"] == 60
    assert told["patients"] == 30
    with Image.open(tmp_path / "sheet.png") as picture:
        assert picture.size[0] > 500


def test_a_folder_per_class_and_a_run_as_weights(
    trained: Path, phantoms: Path, config: Path, tmp_path: Path, eyeground: Call
) -> None:
    for number, row in enumerate(read_table(phantoms / "labels.csv")):
        part = "test" if number % 5 == 0 else "train"
        place = tmp_path / "folders" / part / row["label"]
        place.mkdir(parents=True, exist_ok=True)
        shutil.copy(phantoms / "images" / row["file"], place / f"{number:03d}_left.jpg")
    words = (f"data={tmp_path / 'folders'}", f"out={tmp_path / 'run'}", f"weights={trained}", "epochs=1")
    answer = eyeground("finetune", config, *words)
    assert answer.code == 0, answer.err
    assert re.search(r"weights  \d\d loaded", answer.err)
    assert "missing" not in answer.err
    rows = read_table(tmp_path / "run" / "split.csv")
    assert {row["split"] for row in rows} == {"train", "val", "test"}
