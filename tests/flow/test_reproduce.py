"""Published benchmarks run again: set by set, each once, and no number in the table that was not run."""

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from eyeground.cli import reproducing
from eyeground.cli.benchmark import Copy, find_copy, recipe_with, with_data
from eyeground.cli.main import main
from eyeground.cli.public_sets import public_set
from eyeground.cli.rerun import state_of
from eyeground.data.problem import DataProblems, Problem
from eyeground.evaluate.predictions import read_predictions
from eyeground.evaluate.profiles import retfound2023
from eyeground.evaluate.published import published
from eyeground.evaluate.reproduction import METRICS
from eyeground.train.journal import read_journal
from tests.flow.benchmark_copies import draw_aptos, draw_octid, list_octid
from tests.flow.tables import Answer, Table, read_table, write_table
from tests.flow.test_resume import COMMAND, fingerprints, steps_done

Call = Callable[..., Answer]

EPOCHS = 5
# No part of these runs takes a tenth of it, even on a machine that has more to do.
DEADLINE_S = 240.0
# A network and a schedule that take a second.
TINY = (
    "weights=random",
    "model=vit_demo_patch8",
    "image_px=32",
    f"epochs={EPOCHS}",
    "batch_size=4",
    "lr=1e-3",
    "warmup_epochs=1",
    "resamples=100",
    "device=cpu",
    "precision=fp32",
    "threads=1",
    "workers=0",
    "checkpoint_steps=2",
)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two sets that can be used, and one that cannot."""
    folder = tmp_path_factory.mktemp("sets")
    draw_octid(folder / "OCTID")
    draw_aptos(folder / "APTOS2019")
    for split in ("train", "test"):
        (folder / "retina" / split / "1_normal").mkdir(parents=True)
        (folder / "retina" / split / "eyes of my cat").mkdir()
        scan = next((folder / "OCTID" / split / "ARMD").iterdir())
        shutil.copy(scan, folder / "retina" / split / "eyes of my cat" / "cat.jpeg")
    return folder


def words(data: Path, out: Path, *more: str) -> list[str]:
    """What is typed."""
    return ["reproduce", "octid", "aptos2019", "retina", "--data", str(data), "--out", str(out), *TINY, *more]


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory, data: Path) -> Path:
    """All that can be run, without an interruption."""
    out = tmp_path_factory.mktemp("straight") / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["eyeground", *words(data, out)])
        with pytest.raises(SystemExit) as stop:
            main()
    assert stop.value.code == 2, "retina cannot be used"
    return out


def rows_of(out: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads((out / "table.json").read_text("utf-8"))["rows"]
    return rows


def test_our_cells_are_the_run_s_own_numbers(straight: Path) -> None:
    for name in ("octid", "aptos2019"):
        metrics = json.loads((straight / "torch" / name / "metrics.json").read_text("utf-8"))
        ours = [row for row in rows_of(straight) if (row["set"], row["study"]) == (name, "ours")]
        ours = [row for row in ours if row["profile"] == "retfound2025"]
        assert [row["metric"] for row in ours] == list(METRICS)
        for row in ours:
            assert {key: row[key] for key in ("value", "low", "high")} == metrics["headline"][row["metric"]]
            assert (row["test_images"], row["seeds"], row["state"]) == (metrics["n"], 1, "done")


def test_published_cells_are_the_published_rows(straight: Path) -> None:
    rows = [row for row in rows_of(straight) if row["study"] != "ours"]
    assert {row["low"] for row in rows} == {None}
    for name in ("octid", "aptos2019", "retina"):
        for known in published(name):
            system = known.system.rpartition(", ")[2] if known.study == "Paddle study" else known.system
            mine = [row for row in rows if (row["set"], row["study"], row["system"]) == (name, known.study, system)]
            by_metric = {METRICS.get(row["metric"], row["metric"]): row["value"] for row in mine}
            assert by_metric == dict(known.values)
            assert {row["test_images"] for row in mine} == {known.test_images}


def test_a_set_that_cannot_be_used_has_reasons_and_no_numbers(straight: Path) -> None:
    rows = [row for row in rows_of(straight) if (row["set"], row["study"]) == ("retina", "ours")]
    assert {row["value"] for row in rows} == {None}
    [state] = {row["state"] for row in rows}
    assert state.startswith("skipped: ")
    assert "'eyes of my cat'" in state
    cells = [row for row in read_table(straight / "table.csv") if (row["set"], row["study"]) == ("retina", "ours")]
    assert {cell["value"] + cell["low"] + cell["high"] + cell["seeds"] for cell in cells} == {""}
    assert state in (straight / "table.md").read_text("utf-8")
    assert "eyes of my cat" in (straight / "table.html").read_text("utf-8")


def test_what_was_done_otherwise_is_said_in_the_row(straight: Path) -> None:
    done = [row for row in rows_of(straight) if row["state"] == "done"]
    assert all(row["not_comparable"].startswith("not comparable: weights random") for row in done)
    said = {row["set"]: row["not_comparable"] for row in done if row["profile"] == "retfound2025"}
    for words_of_set in said.values():
        assert words_of_set.startswith("not comparable: weights random, not RETFound_mae_meh; model vit_demo_patch8")
        assert "image_px 32, not 224; epochs 5, not 50" in words_of_set
        assert "workers" not in words_of_set
    assert "other test images: 15, published 174" in said["octid"]
    assert "split 55:15:30 drawn here, not the published one" in said["aptos2019"]
    assert "split" not in said["octid"]
    assert "one seed each and have no intervals" in (straight / "table.md").read_text("utf-8")


def test_octid_stands_beside_the_oct_study_by_its_own_conventions(straight: Path) -> None:
    table = read_predictions(straight / "torch" / "octid" / "predictions.csv")
    assert table.classes[0] == "ANormal"  # the class that is left out
    expected = retfound2023.values(table.truth, table.scores)
    ours = {
        row["metric"]: row
        for row in rows_of(straight)
        if (row["set"], row["study"], row["profile"]) == ("octid", "ours", "retfound2023")
    }
    assert set(ours) == set(expected)
    for metric, value in expected.items():
        known = ours[metric]["value"]
        assert known == pytest.approx(value, abs=1e-12) if known is not None else value != value
        assert known is None or ours[metric]["low"] <= ours[metric]["high"]
        assert known is not None or "never predicted" in ours[metric]["reason"]
    assert not [row for row in rows_of(straight) if row["study"] == "OCT study" and row["set"] != "octid"]


def test_a_run_is_an_ordinary_run(straight: Path) -> None:
    run = straight / "torch" / "octid"
    for name in ("report.html", "metrics.json", "predictions.csv", "metrics_val.csv", "config.yaml", "split.csv"):
        assert (run / name).stat().st_size > 0
    assert {row["split"] for row in read_table(run / "split.csv")} == {"train", "val", "test"}
    assert 'href="torch/octid/report.html"' in (straight / "table.html").read_text("utf-8")


def test_run_again_nothing_is_run(straight: Path, data: Path, eyeground: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    before = {path: path.stat().st_mtime_ns for path in (straight / "torch" / "octid").rglob("*") if path.is_file()}
    monkeypatch.setattr(reproducing, "carry_out", lambda *_, **__: pytest.fail("a finished set was run again"))
    table = (straight / "table.csv").read_bytes()
    answer = eyeground(*words(data, straight, "--json"))
    assert answer.code == 2
    assert "3 sets, 2 of them done before" in answer.err
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert (straight / "table.csv").read_bytes() == table
    [line] = answer.out.splitlines()
    found = json.loads(line)
    assert {name: each["state"].partition(":")[0] for name, each in found["sets"].items()} == {
        "octid": "done", "aptos2019": "done", "retina": "skipped",
    }  # fmt: skip
    assert found["rows"] == rows_of(straight)
    # What needs not be the same: where it is computed, and how it is loaded.
    assert eyeground(*words(data, straight, "device=auto", "workers=1", "checkpoint_steps=0")).code == 2


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("epochs=7", "epochs (5 then, 7 now)"),
        ("model=vit_mini_patch16", "model (vit_demo_patch8 then, vit_mini_patch16 now)"),
        ("seed=3", "seed (0 then, 3 now)"),
        ("resamples=200", "resamples (100 then, 200 now)"),
    ],
)
def test_changed_settings_are_refused(straight: Path, data: Path, eyeground: Call, change: str, told: str) -> None:
    table = (straight / "table.html").read_bytes()
    answer = eyeground(*words(data, straight, change))
    assert answer.code == 2
    assert f"{straight / 'torch' / 'octid'}: {told}" in answer.err
    assert f"{straight / 'torch' / 'aptos2019'}: {told}" in answer.err, "all in one message"
    assert "choose another --out" in answer.err
    assert (straight / "table.html").read_bytes() == table


def test_other_images_are_refused(straight: Path, data: Path, eyeground: Call, tmp_path: Path) -> None:
    shutil.copytree(data / "OCTID", tmp_path / "octid")
    next((tmp_path / "octid" / "train" / "CSR").iterdir()).unlink()
    answer = eyeground("reproduce", "octid", "--data", tmp_path, "--out", straight, *TINY)
    assert answer.code == 2
    assert "images (45 then, 44 now)" in answer.err


def test_other_labels_of_as_many_images_are_refused(
    straight: Path, data: Path, eyeground: Call, tmp_path: Path
) -> None:
    shutil.copytree(data / "OCTID", tmp_path / "octid")
    files = sorted(path.relative_to(tmp_path / "octid") for path in (tmp_path / "octid").rglob("*.jpeg"))
    rows = [{"file": file.as_posix(), "split": file.parts[0], "label": file.parts[1]} for file in files]
    command = ("reproduce", "octid", "--data", tmp_path, "--out", straight, *TINY)
    write_table(tmp_path / "octid.csv", rows)
    assert eyeground(*command).code == 0, "it says the same as the folders"
    rows[0]["label"], rows[-1]["label"] = rows[-1]["label"], rows[0]["label"]
    write_table(tmp_path / "octid.csv", rows)
    answer = eyeground(*command)
    assert answer.code == 2
    told = "octid.csv: 2 images under another label; 45 images, not 572 now)"
    assert f"labels or splits (45 images, not 572 then, {told}" in answer.err


@dataclass(frozen=True)
class Running:
    """A command that runs beside the test."""

    process: subprocess.Popen[bytes]
    said: Path

    def told(self) -> str:
        """What it has said so far."""
        return self.said.read_text("utf-8", "replace") or "nothing was said"


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Running]]:
    """Start a command beside the test; none outlives it."""
    started: list[Running] = []

    def begin(*command: str) -> Running:
        said = tmp_path / f"said_{len(started)}.txt"
        with said.open("wb") as file:
            process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=file)
        started.append(Running(process, said))
        return started[-1]

    yield begin
    for each in started:
        each.process.kill()
        each.process.wait()


def signal_when(waiting: Sequence[tuple[Running, Callable[[], bool], int]], within_s: float = DEADLINE_S) -> None:
    """Send each its signal as soon as it is ripe; fail with what it said if it ends before, or never gets there."""
    deadline = time.monotonic() + within_s
    left = list(waiting)
    while left:
        for each in list(left):
            running, is_ripe, number = each
            if running.process.poll() is not None:
                pytest.fail(f"ended with {running.process.returncode} before its signal: {running.told()}")
            if is_ripe():
                running.process.send_signal(number)
                left.remove(each)
            elif time.monotonic() > deadline:
                pytest.fail(f"not there after {within_s:g} s: {running.told()}")
        time.sleep(0.005)


def test_waiting_for_a_run_that_fails_or_hangs_ends_with_what_it_said(start: Callable[..., Running]) -> None:
    failing = start(sys.executable, "-c", "raise SystemExit('no such weights')")
    with pytest.raises(pytest.fail.Exception, match="ended with 1 before its signal: no such weights"):
        signal_when([(failing, lambda: False, signal.SIGKILL)])
    hanging = start(sys.executable, "-c", "import time; time.sleep(600)")
    with pytest.raises(pytest.fail.Exception, match=r"not there after 0\.1 s: nothing was said"):
        signal_when([(hanging, lambda: False, signal.SIGKILL)], within_s=0.1)


def test_killed_inside_a_set_or_between_sets_it_comes_to_the_same(
    straight: Path, data: Path, eyeground: Call, start: Callable[..., Running], tmp_path: Path
) -> None:
    inside, between = tmp_path / "inside", tmp_path / "between"
    ripe = {
        inside: lambda: steps_done(inside / "torch" / "octid") >= 7,
        between: lambda: (between / "torch" / "octid" / "report.html").exists(),
    }
    # Side by side, because most of their time goes by before they begin.
    running = {out: start(*COMMAND, *words(data, out)) for out in ripe}
    signal_when([(running[out], is_ripe, signal.SIGKILL) for out, is_ripe in ripe.items()])
    for each in running.values():
        assert each.process.wait(DEADLINE_S) == -signal.SIGKILL, each.told()
    state = state_of(inside / "torch" / "octid")
    assert state.startswith("not finished (epoch ")
    assert state.endswith(f" of {EPOCHS})")
    assert state_of(between / "torch" / "octid") == "done"
    assert state_of(between / "torch" / "aptos2019") != "done"
    for out in (inside, between):
        assert eyeground(*words(data, out)).code == 2
        for name in ("octid", "aptos2019"):
            assert fingerprints(out / "torch" / name) == fingerprints(straight / "torch" / name)
        for name in ("table.csv", "table.json", "table.md"):
            assert (out / name).read_bytes() == (straight / name).read_bytes()
    assert "resume" in {line["event"] for line in read_journal(inside / "torch" / "octid" / "journal.jsonl")}


def test_asked_to_stop_it_saves_and_says_how_to_go_on(
    data: Path, start: Callable[..., Running], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    running = start(*COMMAND, *words(data, out, "epochs=200"))
    signal_when([(running, lambda: steps_done(out / "torch" / "octid") >= 6, signal.SIGTERM)])
    assert running.process.wait(DEADLINE_S) == 130, running.told()
    again = f"Go on with: eyeground reproduce octid aptos2019 retina --data {data} --out {out}"
    assert again in " ".join(running.told().split())
    states = {row["set"]: row["state"] for row in rows_of(out) if row["study"] == "ours"}
    assert states["octid"].startswith("not finished (epoch ")
    assert states["octid"].endswith(" of 200)")
    assert states["aptos2019"] == "not run"
    assert {row["value"] for row in rows_of(out) if row["study"] == "ours"} == {None}


def test_a_set_that_fails_does_not_stop_the_others(
    data: Path, eyeground: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EYEGROUND_CACHE", str(tmp_path / "cache"))
    out = tmp_path / "out"
    answer = eyeground("reproduce", "octid", "aptos2019", "--data", data, "--out", out, "--json")
    assert answer.code == 2
    states = {name: each["state"] for name, each in json.loads(answer.out)["sets"].items()}
    assert set(states) == {"octid", "aptos2019"}
    assert all(state.startswith("failed: RETFound_mae_meh was not fetched yet") for state in states.values())
    assert "eyeground weights fetch RETFound_mae_meh" in (out / "table.md").read_text("utf-8")


def test_the_same_image_in_two_splits_is_refused_until_a_clean_table_is_there(
    data: Path, eyeground: Call, tmp_path: Path
) -> None:
    copy = tmp_path / "sets" / "octid"
    shutil.copytree(data / "OCTID", copy)
    twin = sorted((copy / "test" / "CSR").iterdir())[0]
    shutil.copy(twin, copy / "train" / "CSR" / "again.jpeg")
    command = ("reproduce", "octid", "--data", copy.parent, "--out", tmp_path / "out", *TINY, "epochs=1")
    first = eyeground(*command)
    assert first.code == 2
    assert f"eyeground doctor {copy} --fix {copy.parent / 'octid.csv'}" in first.err
    assert state_of(tmp_path / "out" / "torch" / "octid").startswith("failed: ")
    eyeground("doctor", copy, "--fix", copy.parent / "octid.csv", "--no-cache")
    second = eyeground(*command)
    assert second.code == 0, second.err
    test = {
        row["file"] for row in read_table(tmp_path / "out" / "torch" / "octid" / "split.csv") if row["split"] == "test"
    }
    assert f"test/CSR/{twin.name}" in test, "the test set keeps it; training loses the copy"
    said = {row["not_comparable"] for row in rows_of(tmp_path / "out") if row["state"] == "done"}
    assert all("octid.csv: 1 image left out; 45 images, not 572" in each for each in said)
    assert said


def test_a_table_without_splits_has_one_drawn_and_the_row_says_so(data: Path, eyeground: Call, tmp_path: Path) -> None:
    copy = tmp_path / "sets" / "octid"
    shutil.copytree(data / "OCTID", copy)
    files = sorted(path.relative_to(copy) for path in copy.rglob("*.jpeg"))
    write_table(copy.parent / "octid.csv", [{"file": file.as_posix(), "label": file.parts[1]} for file in files])
    out = tmp_path / "out"
    answer = eyeground("reproduce", "octid", "--data", copy.parent, "--out", out, *TINY, "epochs=1")
    assert answer.code == 0, answer.err
    assert "labels are those of" in answer.err
    said = {row["not_comparable"] for row in rows_of(out) if row["state"] == "done"}
    assert all("split 55:15:30 drawn here, not the published one" in each for each in said)
    assert said


def beside(folder: Path, dataset: str, rows: Table | None) -> Copy:
    """A copy with a table beside it, and none if there are no rows."""
    if rows is not None:
        write_table(folder / f"{dataset}.csv", rows)
    found = find_copy(public_set(dataset), folder, folder / "run" / "labels.csv")
    assert not found.problems
    assert with_data(recipe_with(), found.keys, where=dataset).split == found.keys["split"]
    return found


def test_a_table_of_the_published_size_says_what_it_does_otherwise(tmp_path: Path) -> None:
    rows = list_octid(tmp_path / "octid")
    assert beside(tmp_path, "octid", None).differences == ()
    same = beside(tmp_path, "octid", rows)
    assert (same.images, same.keys["split"], same.differences) == (572, "source", ())
    tests = [place for place, row in enumerate(rows) if row["split"] == "test"]
    one, other = tests[0], tests[-1]  # of the first and of the last class: 174 images are tested as before
    swapped = [dict(row) for row in rows]
    swapped[one]["label"], swapped[other]["label"] = rows[other]["label"], rows[one]["label"]
    assert beside(tmp_path, "octid", swapped).differences == ("octid.csv: 2 images under another label",)
    moved = [dict(row) for row in rows]
    moved[0]["split"], moved[one]["split"] = "test", "train"
    assert beside(tmp_path, "octid", moved).differences == ("octid.csv: 2 images in another split",)
    bare = beside(tmp_path, "octid", [{"file": row["file"], "label": row["label"]} for row in rows])
    assert bare.keys["split"] == "55:15:30"
    assert bare.differences == ("split 55:15:30 drawn here, not the published one",)
    fewer = beside(tmp_path, "octid", swapped[1:])
    assert fewer.differences == (
        "octid.csv: 2 images under another label, 1 image left out",
        "571 images, not 572",
    )


def test_a_table_with_splits_for_a_copy_without_has_its_own(data: Path, tmp_path: Path) -> None:
    (tmp_path / "aptos2019").symlink_to(data / "APTOS2019")
    files = [f"train_images/a{100 * grade + number:03d}.png" for grade in range(5) for number in range(8)]
    rows = [
        {"file": file, "label": file[14], "split": ("train", "val", "test", "train")[number % 4]}
        for number, file in enumerate(files)
    ]
    found = beside(tmp_path, "aptos2019", rows)
    assert found.keys["split"] == "source"
    assert found.differences == ("aptos2019.csv: splits of its own", "40 images, not 3,662")


def test_a_table_with_a_label_that_the_set_does_not_have_is_refused(tmp_path: Path) -> None:
    rows = list_octid(tmp_path / "octid")
    rows[0]["label"] = "cat"
    with pytest.raises(DataProblems, match="the label 'cat'"):
        beside(tmp_path, "octid", rows)


def test_the_advice_for_twice_the_same_image_keeps_the_splits() -> None:
    source = {"path": "sets/octid", "name": "octid", "table": "sets/octid.csv", "split": "split"}
    copy = Copy(Path("sets/octid"), Path("sets/octid"), keys={"data": [source]})
    task = reproducing.Task("octid", Path("out"), copy, None)
    problems = DataProblems([Problem("the very same image stands in train and test", "a.png")])
    [line] = reproducing._advice(problems, task)
    assert line.endswith("eyeground doctor sets/octid --table sets/octid.csv --split-column split --fix sets/octid.csv")


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (("octit",), "there is no public set 'octit'"),
        (("octid", "epoch=3"), "did you mean 'epochs'?"),
        (("octid", "split=60:20:20"), "split: reproduce takes this from the set itself"),
        (("octid", "--data", "no/such/folder"), "there is no such folder; name the one that holds the sets"),
        (("octid", "--out", "."), "holds something else than a reproduction"),
    ],
)
def test_wrong_words_are_refused_before_anything_is_run(
    data: Path, eyeground: Call, monkeypatch: pytest.MonkeyPatch, more: tuple[str, ...], told: str
) -> None:
    monkeypatch.chdir(data)
    before = sorted(data.rglob("*"))
    answer = eyeground("reproduce", "--data", data, *more)
    assert answer.code == 2
    assert told in answer.err
    assert sorted(data.rglob("*")) == before


def test_the_recipe_is_that_of_the_published_rows() -> None:
    recipe = recipe_with()
    # run.sh of the study: --epochs 50 --warmup_epochs 10 --batch_size 16 --lr 5e-4 --layer_decay 0.65
    assert (recipe.epochs, recipe.warmup_epochs, recipe.batch_size, recipe.lr) == (50, 10, 16, 5e-4)
    assert (recipe.layer_decay, recipe.weights, recipe.model) == (0.65, "RETFound_mae_meh", "vit_large_patch16")
    # Its main_finetune.py: plain cross-entropy, no mixup, nothing cropped before the transforms.
    assert (recipe.label_smoothing, recipe.mixup, recipe.crop_field, recipe.store_px) == (0, 0, False, 0)
