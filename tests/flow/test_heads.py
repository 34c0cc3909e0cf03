"""Every kind of label from table to report: several heads with holes, yes/no columns, grades, a quantity, volumes."""

import json
import math
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import roc_auc_score

from eyeground.evaluate.measurements import read_measurements
from eyeground.evaluate.predictions import read_predictions
from tests.flow.conftest import TINY
from tests.flow.tables import Answer, Table, read_table, write_table

Call = Callable[..., Answer]
LABELS = ("HAZE", "SICK", "GRADE", "cup_disc_ratio")
HEADS = (
    "heads=[{name: HAZE}, {name: GRADE, kind: grades, classes: [0, 1, 2]}, "
    "{name: CDR, kind: quantity, column: cup_disc_ratio, low: 0, high: 1, unit: ratio}]"
)


def screened(phantoms: Path, *, patients: slice, missing: float = 0.0, seed: int = 0) -> Table:
    """Rows of some of the phantoms' patients with columns of every kind; a share of the cells is left empty."""
    rows = read_table(phantoms / "labels.csv")
    chosen = sorted({row["patient"] for row in rows})[patients]
    found = []
    for row in (row for row in rows if row["patient"] in chosen):
        told = {
            "HAZE": str(int(row["label"] == "cataract")),
            "SICK": "no" if row["label"] == "normal" else "yes",
            "GRADE": str(("normal", "cataract", "dr3").index(row["label"])),
            "cup_disc_ratio": row["cup_disc_ratio"],
        }
        found.append({"file": row["file"], "patient": row["patient"], **told})
    draw = random.Random(seed)
    return [{k: "" if k in LABELS and draw.random() < missing else word for k, word in row.items()} for row in found]


def config_for(folder: Path, phantoms: Path, rows: Table, *, label: str = "", task: str = "heads") -> Path:
    """A table and a configuration that names it."""
    table = write_table(folder / "labels.csv", rows)
    source = f"path: {phantoms / 'images'}, table: {table}, name: phantoms" + (f", label: {label}" if label else "")
    path = folder / "c.yaml"
    lines = [f"data: [{{{source}}}]", f"task: {task}", *(word.replace("=", ": ", 1) for word in TINY)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def finetuned(eyeground: Call, *words: object) -> dict[str, object]:
    answer = eyeground("finetune", *words, "epochs=1", "batch_size=4", "--json")
    assert answer.code == 0, answer.err
    told: dict[str, object] = json.loads(answer.out)
    return told


def refused(answer: Answer, *words: str) -> None:
    assert answer.code == 2, answer.err
    assert "Traceback" not in answer.err
    for word in words:
        assert word in answer.err


def by_file(path: Path) -> dict[str, dict[str, str]]:
    return {Path(row["file"]).name: row for row in read_table(path)}


@pytest.fixture(scope="module")
def masked(phantoms: Path) -> Table:
    """Forty images, four in ten of their labels unknown."""
    return screened(phantoms, patients=slice(20), missing=0.4)


@pytest.fixture(scope="module")
def several(tmp_path_factory: pytest.TempPathFactory, phantoms: Path, masked: Table) -> Path:
    """A finished run of three heads on them."""
    folder = tmp_path_factory.mktemp("several")
    with pytest.MonkeyPatch.context() as patch:
        config = config_for(folder, phantoms, masked)
        words = [
            "finetune",
            str(config),
            HEADS,
            f"out={folder / 'run'}",
            "epochs=2",
            "batch_size=4",
            "imbalance=weighted",
        ]
        patch.setattr("sys.argv", ["eyeground", *words])
        from eyeground.cli.main import main

        with pytest.raises(SystemExit) as stop:
            main()
    assert not stop.value.code
    return folder / "run"


def test_a_run_of_several_heads_holds_a_folder_for_each_and_one_page_for_all(several: Path) -> None:
    for name in ("HAZE", "GRADE", "CDR"):
        for file in ("predictions.csv", "predictions_val.csv", "metrics.json", "report.html"):
            assert (several / "heads" / name / file).is_file(), (name, file)
        assert f"heads/{name}/report.html" in (several / "report.html").read_text(encoding="utf-8")
    for file in ("predictions.csv", "predictions_val.csv", "metrics.json", "metrics_val.csv", "metrics_test.csv",
                 "report.html", "config.yaml", "split.csv"):  # fmt: skip
        assert (several / file).is_file(), file
    whole = json.loads((several / "metrics.json").read_text())
    assert whole["task"] == "heads"
    assert [line["name"] for line in whole["heads"]] == ["HAZE", "GRADE", "CDR"]
    assert {"auroc_mean", "f1_mean", "kappa_mean"} <= set(whole["headline"])
    assert len(whole["weights_sha256"]) == 64
    own = json.loads((several / "heads" / "HAZE" / "metrics.json").read_text())
    assert own["weights_sha256"] == whole["weights_sha256"]
    assert len(read_table(several / "metrics_val.csv")) == 2
    assert {"val_loss", "auroc_mean"} <= set(read_table(several / "metrics_test.csv")[0])


def test_a_missing_label_is_empty_in_every_table_and_counts_for_nothing(several: Path, masked: Table) -> None:
    known = {row["file"]: row for row in masked}
    splits = {row["file"]: row["split"] for row in read_table(several / "split.csv")}
    assert 30 < len(splits) <= 40
    assert set(splits) == {
        row["file"] for row in masked if any(row[name] for name in ("HAZE", "GRADE", "cup_disc_ratio"))
    }
    wide = by_file(several / "predictions.csv")
    assert set(wide) == {file for file, split in splits.items() if split == "test"}
    counted = {line["name"]: line for line in json.loads((several / "metrics.json").read_text())["heads"]}
    words = {"HAZE": {"": "", "0": "no", "1": "yes"}, "GRADE": {word: word for word in ("", "0", "1", "2")}}
    for head, column in (("HAZE", "HAZE"), ("GRADE", "GRADE"), ("CDR", "cup_disc_ratio")):
        own = by_file(several / "heads" / head / "predictions.csv")
        assert set(own) == set(wide)
        for file, row in wide.items():
            cell = known[file][column]
            if head == "CDR":
                assert row[f"truth_{head}"] == own[file]["truth"] == (repr(float(cell)) if cell else "")
            else:
                assert row[f"truth_{head}"] == own[file]["truth"] == words[head][cell]
        labelled = sum(bool(known[file][column]) for file in wide)
        assert labelled > 0
        assert counted[head]["n"] == labelled
        assert counted[head]["unlabelled"] == len(wide) - labelled
    assert any(not row["truth_HAZE"] for row in wide.values())


def test_the_tables_of_heads_read_back_and_agree_with_the_wide_one(several: Path) -> None:
    wide = read_table(several / "predictions.csv")
    haze = read_predictions(several / "heads" / "HAZE" / "predictions.csv", ordered=False)
    assert haze.classes == ("no", "yes")
    assert [float(row["score_HAZE"]) for row in wide] == pytest.approx(haze.scores[:, 1].tolist(), abs=1e-7)
    grade = read_predictions(several / "heads" / "GRADE" / "predictions.csv", ordered=True)
    assert grade.classes == ("0", "1", "2")
    for place, name in enumerate(grade.classes):
        scores = [float(row[f"score_GRADE_{name}"]) for row in wide]
        assert scores == pytest.approx(grade.scores[:, place].tolist(), abs=1e-6)
    cdr = read_measurements(several / "heads" / "CDR" / "predictions.csv", name="CDR", unit="ratio")
    assert [float(row["prediction_CDR"]) for row in wide] == cdr.said.tolist()
    assert [row["prediction_GRADE"] for row in wide] == [grade.classes[k] for k in grade.scores.argmax(axis=1)]
    assert all(0 < value < 1 for value in cdr.said)  # it is learned in standard units, and told in its own


def test_the_reported_numbers_are_those_of_the_labelled_rows(several: Path) -> None:
    rows = [row for row in read_table(several / "heads" / "HAZE" / "predictions.csv") if row["truth"]]
    expected = roc_auc_score([row["truth"] == "yes" for row in rows], [float(row["score_yes"]) for row in rows])
    own = json.loads((several / "heads" / "HAZE" / "metrics.json").read_text())
    assert own["headline"]["auroc_macro"]["value"] == pytest.approx(expected)
    line = json.loads((several / "metrics.json").read_text())["heads"][0]
    assert line["auroc"]["value"] == pytest.approx(expected)
    measured = [row for row in read_table(several / "heads" / "CDR" / "predictions.csv") if row["truth"]]
    error = np.mean([abs(float(row["truth"]) - float(row["prediction"])) for row in measured])
    assert json.loads((several / "heads" / "CDR" / "metrics.json").read_text())["headline"]["mae"][
        "value"
    ] == pytest.approx(error)


def test_other_patients_are_judged_by_the_labels_there_are(
    several: Path, phantoms: Path, tmp_path: Path, eyeground: Call
) -> None:
    rows = screened(phantoms, patients=slice(20, 30), missing=0.3, seed=1)
    rows = [{**row, "HAZE": ""} for row in rows]  # nobody was asked about haze
    table = write_table(tmp_path / "other.csv", rows)
    words = ("evaluate", several, phantoms / "images", "--table", table, "--resamples", 100)
    answer = eyeground(*words, "--name", "other", "--json")
    assert answer.code == 0, answer.err
    told = json.loads(answer.out)
    assert told["images"] == sum(bool(row["GRADE"] or row["cup_disc_ratio"]) for row in rows)
    assert told["test"]["auroc_mean"]["value"] is None
    assert "HAZE" in told["test"]["auroc_mean"]["reason"]
    assert told["test"]["auroc_mean_present"]["value"] > 0
    folder = several / "evaluations" / "other"
    assert len(read_table(folder / "predictions.csv")) == told["images"]
    assert "test has no label of HAZE: it is not judged" in answer.err
    assert not (folder / "heads" / "HAZE" / "report.html").exists()
    assert (folder / "heads" / "GRADE" / "report.html").is_file()
    rows[4]["GRADE"], rows[6]["cup_disc_ratio"], rows[6]["HAZE"] = "3", "1.4", "perhaps"
    write_table(table, rows)
    refused(
        eyeground(*words, "--name", "bad"),
        f"row 6, {rows[4]['file']}: GRADE is '3': outside its scale 0, 1, 2",
        f"row 8, {rows[6]['file']}: CDR is 1.4: outside its scale, 0 to 1",
        f"row 8, {rows[6]['file']}: HAZE is 'perhaps'",
    )
    assert not (several / "evaluations" / "bad").exists()


def test_images_without_truth_are_answered_by_every_head(
    several: Path, phantoms: Path, tmp_path: Path, eyeground: Call
) -> None:
    judged = by_file(several / "predictions.csv")
    files = [phantoms / "images" / name for name in judged]
    answer = eyeground("predict", several, *files, "--out", tmp_path / "p.csv", "--json")
    assert answer.code == 0, answer.err
    rows = by_file(tmp_path / "p.csv")
    assert set(rows) == set(judged)
    graded = {name: row for name, row in rows.items() if not row["quality"].startswith("cannot grade")}
    assert len(graded) > len(judged) / 2
    for name, row in graded.items():
        for column in (column for column in row if column.startswith(("score_", "prediction_CDR"))):
            assert float(row[column]) == pytest.approx(float(judged[name][column]), abs=1e-5), column
        assert row["prediction_HAZE"] in ("no", "yes")
    for row in (row for name, row in rows.items() if name not in graded):
        assert row["score_HAZE"] == row["prediction_CDR"] == ""
    assert set(json.loads(answer.out)["predictions"]) == {"HAZE", "GRADE", "CDR"}


def test_columns_of_yes_and_no(phantoms: Path, tmp_path: Path, eyeground: Call) -> None:
    config = config_for(tmp_path, phantoms, screened(phantoms, patients=slice(15)), task="multilabel")
    run = tmp_path / "run"
    told = finetuned(eyeground, config, "classes=[HAZE, SICK]", f"out={run}", "imbalance=logit_adjust")
    assert {"auroc_mean", "exact_match", "hamming_loss"} <= set(told["test"])  # type: ignore[call-overload]
    whole = json.loads((run / "metrics.json").read_text())
    assert whole["task"] == "multilabel"
    assert whole["complete"] == whole["n"]
    columns = list(read_table(run / "predictions.csv")[0])
    assert columns == ["patient", "eye", "file", "truth_HAZE", "prediction_HAZE", "score_HAZE", "truth_SICK",
                       "prediction_SICK", "score_SICK"]  # fmt: skip
    rows = [{**row, "SICK": "" if row["SICK"] == "no" else row["SICK"]} for row in
            screened(phantoms, patients=slice(15, 30))]  # fmt: skip
    table = write_table(tmp_path / "other.csv", rows)
    answer = eyeground("evaluate", run, phantoms / "images", "--table", table, "--resamples", 100, "--json")
    assert answer.code == 0, answer.err
    lines = {
        line["name"]: line
        for line in json.loads((Path(json.loads(answer.out)["evaluation"]) / "metrics.json").read_text())["heads"]
    }
    assert lines["HAZE"]["n"] == len(rows)
    assert lines["SICK"]["n"] == sum(bool(row["SICK"]) for row in rows)
    # Every known answer is yes: there is no area under a curve, and it says so.
    assert lines["SICK"]["auroc"]["value"] is None
    assert lines["SICK"]["auroc"]["reason"]


def test_grades_end_in_the_report_of_one_task(phantoms: Path, tmp_path: Path, eyeground: Call) -> None:
    rows = screened(phantoms, patients=slice(15))
    config = config_for(tmp_path, phantoms, rows, task="ordinal", label="GRADE")
    run = tmp_path / "run"
    told = finetuned(eyeground, config, f"out={run}", "imbalance=weighted")
    assert "classes are not ordered" not in json.dumps(told["test"])
    assert not (run / "heads").exists()
    table = read_predictions(run / "predictions.csv", ordered=True)
    assert table.classes == ("0", "1", "2")
    np.testing.assert_allclose(table.scores.sum(axis=1), 1, atol=1e-6)
    other = write_table(tmp_path / "other.csv", screened(phantoms, patients=slice(15, 30)))
    words = ("evaluate", run, phantoms / "images", "--table", other, "--label-column", "GRADE", "--resamples", 100)
    answer = eyeground(*words, "--json")
    assert answer.code == 0, answer.err
    assert json.loads(answer.out)["images"] == 30
    answer = eyeground("predict", run, phantoms / "images", "--out", tmp_path / "p.csv")
    assert answer.code == 0, answer.err
    assert {"prediction", "score_0", "score_1", "score_2"} <= set(read_table(tmp_path / "p.csv")[0])


def test_grades_that_are_none_are_refused(phantoms: Path, tmp_path: Path, eyeground: Call) -> None:
    config = config_for(tmp_path, phantoms, screened(phantoms, patients=slice(3)), task="ordinal", label="SICK")
    refused(eyeground("finetune", config, f"out={tmp_path / 'run'}"), "task: ordinal needs grades", "no, yes")
    assert not (tmp_path / "run").exists()


def test_a_quantity_ends_in_limits_of_agreement(phantoms: Path, tmp_path: Path, eyeground: Call) -> None:
    rows = screened(phantoms, patients=slice(15))
    config = config_for(tmp_path, phantoms, rows, task="regression", label="cup_disc_ratio")
    run = tmp_path / "run"
    told = finetuned(eyeground, config, f"out={run}", "scale=[0, 1]", "unit=ratio")
    assert {"mae", "rmse", "r2", "loa_low", "loa_high"} <= set(told["test"])  # type: ignore[call-overload]
    assert not (run / "heads").exists()
    table = read_measurements(run / "predictions.csv", name="cup_disc_ratio", unit="ratio")
    known = {row["file"]: float(row["cup_disc_ratio"]) for row in rows}
    assert table.truth.tolist() == [known[file] for file in table.files]
    assert list(read_table(run / "metrics_val.csv")[0]) == ["val_loss", "selection", "concordance", "r2", "mae", "rmse"]
    assert float(read_table(run / "metrics_test.csv")[0]["mae"]) == pytest.approx(
        np.abs(table.truth - table.said).mean()
    )
    answer = eyeground("predict", run, phantoms / "images", "--out", tmp_path / "p.csv", "--json")
    assert answer.code == 0, answer.err
    answers = by_file(tmp_path / "p.csv")
    for file, said in zip(table.files, table.said.tolist(), strict=True):
        if answers[file]["prediction"]:
            assert float(answers[file]["prediction"]) == pytest.approx(said, abs=1e-5)
    other = screened(phantoms, patients=slice(15, 30), missing=0.2)
    words = ("evaluate", run, phantoms / "images", "--table", tmp_path / "other.csv", "--resamples", 100, "--json")
    write_table(tmp_path / "other.csv", other)
    answer = eyeground(*words, "--label-column", "cup_disc_ratio")
    assert answer.code == 0, answer.err
    told = json.loads(answer.out)
    assert told["images"] == sum(bool(row["cup_disc_ratio"]) for row in other)
    other[2]["cup_disc_ratio"] = "55"
    write_table(tmp_path / "other.csv", other)
    refused(eyeground(*words), f"row 4, {other[2]['file']}: cup_disc_ratio is 55: outside its scale, 0 to 1")
    rows[7]["cup_disc_ratio"] = "-0.1"
    config = config_for(tmp_path, phantoms, rows, task="regression", label="cup_disc_ratio")
    answer = eyeground("finetune", config, "scale=[0, 1]", f"out={tmp_path / 'none'}")
    refused(answer, f"row 9, {rows[7]['file']}: cup_disc_ratio is -0.1: outside its scale, 0 to 1")
    assert not (tmp_path / "none").exists()


def test_a_head_without_labels_in_the_test_part_costs_nothing_else(
    phantoms: Path, tmp_path: Path, eyeground: Call
) -> None:
    rows = screened(phantoms, patients=slice(12))
    patients = sorted({row["patient"] for row in rows})
    for row in rows:
        row["part"] = ("train", "train", "val", "test")[patients.index(row["patient"]) % 4]
        if row["part"] != "train":
            row["HAZE"] = ""
    config = config_for(tmp_path, phantoms, rows)
    data = f"data=[{{path: {phantoms / 'images'}, table: {tmp_path / 'labels.csv'}, split: part, name: phantoms}}]"
    run = tmp_path / "run"
    answer = eyeground("finetune", config, HEADS, data, f"out={run}", "epochs=1", "batch_size=4", "--json")
    assert answer.code == 0, answer.err
    assert "test has no label of HAZE: it is not judged" in answer.err
    assert "validation has no label of HAZE" in answer.err
    assert json.loads(answer.out)["best_epoch"] == 1
    assert not (run / "heads" / "HAZE" / "metrics.json").exists()
    assert all(not row["truth_HAZE"] and row["score_HAZE"] for row in read_table(run / "predictions.csv"))
    assert (run / "heads" / "CDR" / "report.html").is_file()


def test_heads_that_cannot_be_are_one_message(phantoms: Path, tmp_path: Path, eyeground: Call) -> None:
    rows = [{**row, "HAZE": "0"} for row in screened(phantoms, patients=slice(4))]
    config = config_for(tmp_path, phantoms, rows)
    out = f"out={tmp_path / 'run'}"
    refused(
        eyeground("finetune", config, "heads=[{name: HAZE}, {name: SICK}]", out),
        "head 'HAZE': every label in train is no",
    )
    refused(eyeground("finetune", config, "heads=[{name: HAZY}]", out), "no column 'HAZY'", "did you mean 'HAZE'?")
    folder = f"data={phantoms / 'images'}"
    refused(eyeground("finetune", config, "heads=[{name: HAZE}]", folder, out), "stands in a table: give table=FILE")
    refused(eyeground("finetune", config, "heads=[{name: SICK}, {name: SICK}]", out), "two heads are called 'SICK'")
    refused(eyeground("finetune", config, "heads=[{name: a/b, column: SICK}]", out), "cannot be called 'a/b'")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "words",
    [(HEADS,), ("task=multilabel", "classes=[HAZE, SICK]"), ("task=regression",)],
    ids=["heads", "multilabel", "regression"],
)
def test_a_probe_of_what_are_no_classes_is_refused(
    words: tuple[str, ...], phantoms: Path, tmp_path: Path, eyeground: Call
) -> None:
    # Not answered with the labels of a column that the task never named.
    rows = [{**row, "label": row["SICK"]} for row in screened(phantoms, patients=slice(6))]
    config, places = config_for(tmp_path, phantoms, rows), ("--out", tmp_path / "probe", "--cache", tmp_path / "kept")
    answer = eyeground("probe", config, *words, "--fractions", "1", "--seeds", "0", "--layout", "pca", *places)
    refused(answer, "classes or grades")


@pytest.fixture(scope="module")
def volumes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Fourteen volumes of three B-scans, all labelled but for some pressures."""
    folder = tmp_path_factory.mktemp("volumes")
    rng = np.random.default_rng(0)
    rows = []
    for number in range(14):
        pages = [Image.fromarray(rng.integers(0, 255, (70, 80), np.uint8)) for _ in range(3)]
        pages[0].save(folder / f"v{number}.tif", save_all=True, append_images=pages[1:])
        pressure = "" if number % 7 == 6 else f"{12 + number / 2}"
        rows.append({"file": f"v{number}.tif", "patient": f"p{number}", "FLUID": str(number % 2),
                     "GRADE": str(number % 3), "IOP": pressure})  # fmt: skip
    write_table(folder / "labels.csv", rows)
    return folder


@pytest.mark.parametrize("task", ["heads", "ordinal", "regression"])
def test_b_scans_of_a_volume_are_pooled_to_one_answer(
    task: str, volumes: Path, tmp_path: Path, eyeground: Call
) -> None:
    label = {"ordinal": ", label: GRADE", "regression": ", label: IOP"}.get(task, "")
    config = tmp_path / "c.yaml"
    source = f"path: {volumes}, table: {volumes / 'labels.csv'}, name: oct{label}"
    config.write_text("\n".join([f"data: [{{{source}}}]", *(word.replace("=", ": ", 1) for word in TINY)]))
    heads = ["heads=[{name: FLUID}, {name: IOP, kind: quantity, low: 0}]"] if task == "heads" else []
    run = tmp_path / "run"
    finetuned(eyeground, config, f"task={task}", *heads, f"out={run}", "slices=all")
    split = read_table(run / "split.csv")
    kept = 12 if task == "regression" else 14
    assert len(split) == 3 * kept
    for row in split:
        assert {other["split"] for other in split if other["file"] == row["file"]} == {row["split"]}
    rows = read_table(run / "predictions.csv")
    assert len(rows) == len({row["file"] for row in rows}) == len({r["file"] for r in split if r["split"] == "test"})
    known = by_file(volumes / "labels.csv")
    for row in rows:
        told = known[row["file"]]
        if task == "heads":
            assert row["truth_FLUID"] == ("no", "yes")[int(told["FLUID"])]
            assert row["truth_IOP"] == (repr(float(told["IOP"])) if told["IOP"] else "")
        else:
            assert float(row["truth"]) == float(told["GRADE" if task == "ordinal" else "IOP"])
    # Asked again without truth, a volume gets the same answer: its B-scans are pooled there too.
    files = [volumes / row["file"] for row in rows]
    answer = eyeground("predict", run, *files, "--out", tmp_path / "p.csv")
    assert answer.code == 0, answer.err
    for row, again in zip(rows, read_table(tmp_path / "p.csv"), strict=True):
        for column in (
            name for name in row if name.startswith("score_") or (task != "ordinal" and name.startswith("pred"))
        ):
            if again[column] and not column.startswith("prediction_FLUID"):
                assert float(again[column]) == pytest.approx(float(row[column]), abs=1e-5), column
    assert not math.isnan(float(read_table(run / "metrics_val.csv")[0]["val_loss"]))
