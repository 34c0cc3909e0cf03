"""A comparison from its file to its verdict: done once, refused when it would not be fair."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from eyeground.evaluate.predictions import read_predictions
from tests.flow.tables import Answer, read_table

Call = Callable[..., Answer]

PRETRAIN = """
method: mae
model: vit_demo_patch8
image_px: 32
store_px: 48
decoder_width: 32
decoder_depth: 1
decoder_heads: 2
epochs: 1
batch_size: 12
warmup_epochs: 0
threads: 1
device: cpu
precision: fp32
"""


def write_configs(folder: Path, phantoms: Path, *, part: str = "60:20:20") -> Path:
    """A comparison of random weights with a MAE's, and the MAE's own configuration."""
    data = f"path: {phantoms / 'images'}, table: {phantoms / 'labels.csv'}, name: phantoms"
    training = f', training_part_of: "{part}"' if part else ""
    (folder / "mae.yaml").write_text(f"data: {{{data}{training}}}\n{PRETRAIN}", encoding="utf-8")
    path = folder / "pair.yaml"
    path.write_text(
        f"""
finetune:
  data: {{{data}}}
  split: "60:20:20"
  model: vit_demo_patch8
  image_px: 32
  store_px: 48
  epochs: 1
  batch_size: 8
  warmup_epochs: 0
  rand_augment: ""
  threads: 1
  device: cpu
  precision: fp32
inits:
  - name: random
  - name: own MAE
    pretrain: {folder / "mae.yaml"}
ways: [probe, neighbors, finetune]
seeds: [0, 1]
fractions: [1, 0.5]
profiles: [standard, retfound2023]
resamples: 100
""",
        encoding="utf-8",
    )
    return path


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory, phantoms: Path) -> Path:
    return write_configs(tmp_path_factory.mktemp("compare"), phantoms)


@pytest.fixture(scope="module")
def done(settings: Path) -> Path:
    """The folder of the comparison that the first test carries out."""
    return settings.parent / "grid"


def answer_of(answer: Answer) -> dict[str, Any]:
    assert answer.code == 0, answer.err
    found: dict[str, Any] = json.loads(answer.out.splitlines()[-1])
    return found


def test_the_whole_grid_ends_in_rows_tests_and_a_verdict(settings: Path, done: Path, eyeground: Call) -> None:
    found = answer_of(eyeground("compare", settings, f"out={done}", "--json"))
    keys = {"init", "way", "seed", "fraction", "metric", "value", "low", "high"}
    assert all(keys <= set(row) for row in found["rows"])
    runs = {(row["init"], row["way"], row["seed"], row["fraction"]) for row in found["rows"]}
    assert len(runs) == 2 * 3 * 2 * 2
    assert {row["profile"] for row in found["rows"]} == {"standard", "retfound2023"}
    assert {test["test"] for test in found["tests"]} == {"bootstrap", "delong", "mcnemar"}
    assert all({"p", "p_holm", "difference", "low", "high"} <= set(test) for test in found["tests"])
    assert len(found["verdict"]) == 3
    assert all("'own MAE'" in sentence and "'random'" in sentence for sentence in found["verdict"])
    for name in ("report.html", "comparison.json", "table.md", "split.csv", "config.yaml"):
        assert (done / name).stat().st_size > 0


def test_a_row_is_what_the_run_says_of_the_test_images(settings: Path, done: Path, eyeground: Call) -> None:
    rows = json.loads((done / "comparison.json").read_text())["rows"]
    for way in ("probe", "neighbors", "finetune"):
        table = read_predictions(done / "runs" / "own-mae" / f"{way}-1-0" / "predictions.csv")
        expected = roc_auc_score(table.truth, table.scores, multi_class="ovr", average="macro")
        [row] = [
            row
            for row in rows
            if (row["init"], row["way"], row["seed"], row["fraction"], row["metric"], row["profile"])
            == ("own MAE", way, 0, 1, "auroc_macro", "standard")
        ]
        assert row["value"] == pytest.approx(expected, abs=1e-12)


def test_no_test_patient_is_learned_from(done: Path) -> None:
    test = {row["patient"] for row in read_table(done / "split.csv") if row["split"] == "test"}
    learned = {row["patient"] for row in read_table(done / "pretrained" / "mae" / "split.csv")}
    train = {row["patient"] for row in read_table(done / "split.csv") if row["split"] == "train"}
    assert test
    assert not test & learned
    assert learned == train


def test_every_run_says_what_was_loaded(done: Path) -> None:
    encoder = 4 * 12 + 4  # of each block 12 tensors; class token, positions, patch weight and bias
    for way in ("probe", "finetune"):
        report = json.loads((done / "runs" / "own-mae" / f"{way}-1-1" / "run.json").read_text())["weights_report"]
        assert len(report["loaded"]) == encoder
        assert set(report) == {"loaded", "new", "left_out"}
        assert json.loads((done / "runs" / "random" / f"{way}-1-1" / "run.json").read_text())["weights_report"] == {}
    page = (done / "report.html").read_text()
    assert "own MAE, finetune, seed 1" in page


def test_half_of_the_labels_is_half_of_the_patients(done: Path) -> None:
    def images(way: str, fraction: str) -> int:
        record = json.loads((done / "runs" / "random" / f"{way}-{fraction}-0" / "run.json").read_text())
        return int(record["images"])

    assert images("probe", "1") == images("finetune", "1") == 36
    assert images("probe", "0.5") == images("finetune", "0.5")
    assert 16 <= images("probe", "0.5") <= 20


def test_what_is_done_is_not_done_again_and_more_may_be_added(settings: Path, done: Path, eyeground: Call) -> None:
    before = {path: path.stat().st_mtime_ns for path in (done / "runs").rglob("run.json")}
    again = eyeground("compare", settings, f"out={done}", "seeds=[0, 1, 2]", "ways=[probe]", "fractions=[1]")
    assert again.code == 0, again.err
    assert "grid     6 runs, 4 of them done before" in again.err
    after = {path: path.stat().st_mtime_ns for path in (done / "runs").rglob("run.json")}
    assert {path: after[path] for path in before} == before
    assert len(after) == len(before) + 2


def test_a_missing_run_alone_is_done_again(settings: Path, done: Path, eyeground: Call) -> None:
    run = done / "runs" / "own-mae" / "finetune-1-0"
    before = np.array([list(map(float, row.values())) for row in scores(run)])
    (run / "run.json").unlink()
    answer = eyeground("compare", settings, f"out={done}")
    assert "24 runs, 23 of them done before" in answer.err
    assert np.array_equal(before, [list(map(float, row.values())) for row in scores(run)])


def scores(run: Path) -> list[dict[str, str]]:
    """The score columns of a run's predictions."""
    rows = read_table(run / "predictions.csv")
    return [{name: value for name, value in row.items() if name.startswith("score_")} for row in rows]


def test_runs_of_other_settings_are_refused_by_name(settings: Path, done: Path, eyeground: Call) -> None:
    answer = eyeground("compare", settings, f"out={done}", "finetune.label_smoothing=0.2")
    assert answer.code == 2
    assert "made with other settings (label_smoothing)" in answer.err


def test_weights_that_have_seen_the_test_patients_are_refused(tmp_path: Path, phantoms: Path, eyeground: Call) -> None:
    leaky = write_configs(tmp_path, phantoms, part="")
    answer = eyeground("compare", leaky, f"out={tmp_path / 'grid'}", "ways=[probe]", "seeds=[0]", "fractions=[1]")
    assert answer.code == 2
    assert "own MAE" in answer.err
    assert "has learned from 12 of the test images" in answer.err
    assert "training_part_of" in answer.err


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("inits=[{name: a}, {name: a}]", "inits: 'a' stands twice"),
        ("inits=[{name: a, against: b}]", "'a' is compared with 'b', which is no other one"),
        ("inits=[{name: a, after: b, pretrain: c.yaml}]", "'a' goes on after 'b', which must stand above it"),
        ("inits=[{name: a, weights: b, pretrain: c.yaml}]", "weights and pretrain both say where it starts"),
        ("finetune.weights=b", "weights is set by the comparison itself"),
        ("finetune.epoch=3", "epoch: unknown key; did you mean 'epochs'?"),
        ("fractions=[0, 1]", "fractions are different numbers in (0, 1]"),
        ("seed=[0]", "seed: unknown key; did you mean 'seeds'?"),
    ],
)
def test_a_comparison_that_makes_no_sense_is_refused(
    settings: Path, tmp_path: Path, eyeground: Call, change: str, told: str
) -> None:
    answer = eyeground("compare", settings, f"out={tmp_path / 'grid'}", change)
    assert answer.code == 2
    assert told in answer.err
    assert not (tmp_path / "grid").exists()
