"""Every answer to imbalance trains, reaches the loss or the batches as it says, and is not given twice by accident."""

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eyeground.cli.config_file import load_config
from eyeground.cli.console import TrainingWatcher
from eyeground.cli.experiment import carry_out
from eyeground.cli.training import read_parts, train
from eyeground.evaluate.predictions import read_predictions
from eyeground.model.torch.engine import TorchEngine
from eyeground.train.journal import read_journal
from tests.flow.conftest import TINY
from tests.flow.tables import Answer, Table, read_table, write_table
from tests.flow.test_adapt import after

Call = Callable[..., Answer]
STRATEGIES = ("weighted", "focal", "logit_adjust", "balanced_sampling", "oversample")


def uneven(phantoms: Path) -> Table:
    """All the first patients' eyes but those with cataract, of whom there are three patients only."""
    rows = [{name: row[name] for name in ("file", "label", "patient")} for row in read_table(phantoms / "labels.csv")]
    ill = {row["patient"] for row in rows if row["label"] == "cataract"}
    few, first = sorted(ill)[:3], sorted({row["patient"] for row in rows} - ill)[:12]
    return [row for row in rows if row["patient"] in (*few, *first)]


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory, phantoms: Path) -> Path:
    """A configuration of that set; the ratios leave each part one patient with cataract."""
    folder = tmp_path_factory.mktemp("uneven")
    table = write_table(folder / "labels.csv", uneven(phantoms))
    source = f"data: [{{path: {phantoms / 'images'}, table: {table}, name: phantoms}}]"
    words = [word.replace("=", ": ", 1) for word in TINY if not word.startswith(("epochs", "batch_size"))]
    path = folder / "c.yaml"
    path.write_text("\n".join([source, *words, "epochs: 1", "batch_size: 6"]), encoding="utf-8")
    return path


def losses(run: Path) -> list[float]:
    return [line["loss"] for line in read_journal(run / "journal.jsonl") if line["event"] == "step"]


def trained(eyeground: Call, config: Path, run: Path, *words: str) -> Answer:
    answer = eyeground("finetune", config, f"out={run}", *words)
    assert answer.code == 0, answer.err
    assert (run / "report.html").is_file()
    return answer


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory, config: Path) -> list[float]:
    """Losses of the run without a strategy."""
    run = tmp_path_factory.mktemp("plain") / "run"
    carry_out(load_config(config, [f"out={run}"]), name="plain", resume=None, stop=lambda: after(1000))
    return losses(run)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_each_strategy_trains_and_says_how(
    strategy: str, config: Path, plain: list[float], tmp_path: Path, eyeground: Call
) -> None:
    run = tmp_path / "run"
    answer = trained(eyeground, config, run, f"imbalance={strategy}")
    assert load_config(run / "config.yaml").imbalance == (strategy,)
    counts = Counter(row["label"] for row in read_table(run / "split.csv") if row["split"] == "train")
    words = {
        "weighted": "loss     class weights cataract",
        "focal": "loss     focal, gamma 2",
        "logit_adjust": "loss     logits shifted by",
    }
    assert (words.get(strategy, "loss     ") in answer.err) == (strategy in words)
    found = losses(run)
    if strategy == "oversample":
        assert len(found) == 3 * max(counts.values()) // 6 > len(plain) == counts.total() // 6
    else:
        assert len(found) == len(plain)
    # The same weights, and but for sampling the same images: only the loss can differ.
    assert abs(found[0] - plain[0]) > 1e-6
    table = read_predictions(run / "predictions.csv", ordered=False)
    np.testing.assert_allclose(table.scores.sum(axis=1), 1, atol=1e-6)


@pytest.mark.parametrize(
    ("words", "wanted"),
    [((), None), (("imbalance=balanced_sampling",), 1 / 3), (("imbalance=oversample", "oversample_to=0.5"), 0.2)],
    ids=["plain", "balanced", "half"],
)
def test_sampling_changes_how_often_each_class_is_trained(
    words: tuple[str, ...], wanted: float | None, config: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    seen = np.zeros(3)
    step = TorchEngine.train_step

    def watched(self: TorchEngine, batches: Any, **more: Any) -> float:
        for _, targets in batches:
            seen[:] += targets.sum(axis=0)
        return step(self, batches, **more)

    monkeypatch.setattr(TorchEngine, "train_step", watched)
    settings = load_config(config, ["epochs=8", *words])
    parts = read_parts(settings, resume=None, before=None)
    train(settings, tmp_path, parts, watcher=TrainingWatcher(lines=False), stop_wanted=lambda: False)
    counts = Counter(sample.label for sample in parts.dataset.of("train"))
    natural = counts[0] / counts.total()
    assert natural < 0.15
    share = seen[0] / seen.sum()
    assert abs(share - (natural if wanted is None else wanted)) < 0.07
    if wanted is not None:
        assert share > natural + 0.04


def test_two_corrections_are_refused_unless_they_are_meant(config: Path, tmp_path: Path, eyeground: Call) -> None:
    words = ("finetune", config, f"out={tmp_path / 'run'}", "imbalance=[weighted, balanced_sampling]")
    answer = eyeground(*words)
    assert answer.code == 2
    assert "imbalance would be corrected 2 times (weighted, balanced_sampling)" in answer.err
    assert "double_correction=true" in answer.err
    assert not (tmp_path / "run").exists()
    answer = eyeground(*words, "double_correction=true")
    assert answer.code == 0, answer.err
    assert load_config(tmp_path / "run" / "config.yaml").double_correction


def test_a_class_that_has_no_weight_is_told(config: Path, tmp_path: Path, eyeground: Call) -> None:
    words = ("finetune", config, f"out={tmp_path / 'run'}", "imbalance=weighted")
    answer = eyeground(*words, "class_weights={normal: 1, dr3: 2, catarct: 5}")
    assert answer.code == 2
    assert "class 'cataract' has no weight" in answer.err
    assert "there is no class 'catarct' to weigh" in answer.err
    assert not (tmp_path / "run").exists()


@pytest.fixture(scope="module")
def grid(tmp_path_factory: pytest.TempPathFactory, config: Path) -> Path:
    """A comparison of strategies by a linear head on frozen features of random weights."""
    folder = tmp_path_factory.mktemp("grid")
    keys = "\n".join(f"  {line}" for line in config.read_text(encoding="utf-8").splitlines() if "resamples" not in line)
    path = folder / "c.yaml"
    path.write_text(
        f"finetune:\n{keys}\n  epochs: 12\n".replace("  epochs: 1\n", "")
        + "inits:\n  - {name: plain}\n"
        + "  - {name: weighted, finetune: {imbalance: weighted, class_weights: sqrt_inverse}}\n"
        + "ways: [linear]\nseeds: [0, 1]\nfractions: [1, 0.6]\nresamples: 100\nheadline: balanced_accuracy\n",
        encoding="utf-8",
    )
    return path


def test_strategies_are_compared_by_a_linear_head(grid: Path, tmp_path: Path, eyeground: Call) -> None:
    out = tmp_path / "grid"
    answer = eyeground("compare", grid, f"out={out}", "--json")
    assert answer.code == 0, answer.err
    told = json.loads(answer.out)
    assert {(row["init"], row["way"], row["seed"], row["fraction"]) for row in told["rows"]} == {
        (init, "linear", seed, fraction) for init in ("plain", "weighted") for seed in (0, 1) for fraction in (1, 0.6)
    }
    records = {}
    for path in (out / "runs").glob("*/linear-1-*/run.json"):
        record = json.loads(path.read_text(encoding="utf-8"))
        records[record["init"], record["seed"]] = record
        assert record["settings"]["epochs"] == 12
        assert 1 <= record["best_epoch"] <= 12
        read_predictions(path.with_name("predictions.csv"), ordered=False)
    assert len(records) == 4
    assert records["plain", 0]["settings"]["imbalance"] == ["none"]
    assert records["weighted", 0]["settings"]["imbalance"] == ["weighted"]
    assert records["weighted", 1]["settings"]["class_weights"] == "sqrt_inverse"
    one, other = (
        read_predictions(out / "runs" / init / "linear-1-0" / "predictions.csv", ordered=False)
        for init in ("plain", "weighted")
    )
    assert one.files == other.files
    assert np.abs(one.scores - other.scores).max() > 1e-4
    # Done once, it is not done again; made otherwise, it is refused.
    again = eyeground("compare", grid, f"out={out}", "--json")
    assert again.code == 0, again.err
    assert json.loads(again.out)["rows"] == told["rows"]
    assert "grid     8 runs, 8 of them done before" in again.err
    answer = eyeground("compare", grid, f"out={out}", "finetune.label_smoothing=0.1")
    assert answer.code == 2
    assert "was made with other settings (label_smoothing)" in answer.err


def test_a_comparison_is_of_classes_or_grades(grid: Path, tmp_path: Path, eyeground: Call) -> None:
    answer = eyeground("compare", grid, f"out={tmp_path / 'grid'}", "finetune.task=regression")
    assert answer.code == 2
    assert "a comparison is of classes or grades, not of task: regression" in answer.err
    assert not (tmp_path / "grid").exists()


def test_grades_and_classes_of_the_same_names_are_compared(grid: Path, tmp_path: Path, eyeground: Call) -> None:
    # One data set serves all runs that read it alike; whether its classes are grades is part of that.
    words = ("finetune.classes=[normal, dr3, cataract]", "seeds=[0]", "fractions=[1]", "finetune.epochs=2")
    inits = "inits=[{name: classes}, {name: grades, finetune: {task: ordinal}}]"
    answer = eyeground("compare", grid, f"out={tmp_path / 'grid'}", inits, *words, "--json")
    assert answer.code == 0, answer.err
    settings = json.loads((tmp_path / "grid" / "runs" / "grades" / "linear-1-0" / "run.json").read_text())["settings"]
    assert settings["task"] == "ordinal"
