"""Shards through the command line: made, killed, trained on from a folder and from a store, examined, broken."""

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from eyeground.data.shards.opened import Shards, open_shards
from eyeground.train.checkpoint import Checkpoints
from eyeground.train.journal import TIMING_KEYS, read_journal
from tests.flow.tables import Answer, read_table

from .conftest import TINY

Call = Callable[..., Answer]
COMMAND = [sys.executable, "-c", "from eyeground.cli.main import main; main()"]
PRETRAINING = (
    "method: mae\ndecoder_width: 48\ndecoder_depth: 1\ndecoder_heads: 3\nneighbors: 40\ncheckpoint_steps: 2\n"
    + "".join(f"{word.replace('=', ': ')}\n" for word in TINY if not word.startswith("resamples"))
)


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory, phantoms: Path) -> Path:
    """The phantoms as shards."""
    out = tmp_path_factory.mktemp("packed") / "eyes"
    told = subprocess.run([*COMMAND, *_prepare(phantoms, out)], capture_output=True, check=True).stdout
    assert told.decode() == f"prepared: {out}\n"
    return out


def _prepare(phantoms: Path, out: Path) -> list[str]:
    table = ["--table", str(phantoms / "labels.csv"), "--group-column", "patient", "--keep", "GLA"]
    shards = ["--shards", "--shard-mb", "1", "--store-px", "48", "--workers", "1"]
    return ["data", "prepare", str(phantoms / "images"), *table, *shards, "--unlabelled", "--out", str(out)]


def _opened(path: Path) -> Shards:
    found = open_shards(path)
    assert found is not None
    return found


def _course(run: Path) -> list[dict[str, object]]:
    """A run's journal, without what hangs on the clock, the resumptions, and what was done twice."""
    lines = {
        (line["event"], line.get("step"), line.get("epoch")): {k: v for k, v in line.items() if k not in TIMING_KEYS}
        for line in read_journal(run / "journal.jsonl")
        if line["event"] in ("step", "epoch")
    }
    return list(lines.values())


def _error(answer: Answer, code: int, *words: str) -> None:
    assert answer.code == code, answer.err
    assert "Traceback" not in answer.err
    for word in words:
        assert word in answer.err


def test_it_packs_and_says_what_it_left_out(phantoms: Path, packed: Path, tmp_path: Path, eyeground: Call) -> None:
    shards = _opened(packed)
    assert len(shards) == 60
    assert "GLA" in shards.index.columns
    images = shutil.copytree(phantoms / "images", tmp_path / "photos" / "all")
    next(images.iterdir()).write_bytes(b"no image")
    words = ("data", "prepare", images.parent, "--shards", "--store-px", 48, "--out", tmp_path / "out", "--json")
    answer = eyeground(*words)
    told = json.loads(answer.out)
    assert (answer.code, told["images"], told["left_out"]) == (1, 59, 1)
    _error(eyeground(*words[:-1], "--shard-mb", 9), 2, "shard_bytes=256000000 there, 9000000 asked")
    _error(eyeground("data", "prepare", packed, "--out", tmp_path / "again"), 2, "is a prepared set already")
    _error(eyeground(*_prepare(phantoms, tmp_path / "k"), "--keep", "offset"), 2, "a column of that name of its own")


def test_a_kill_while_it_packs_costs_nothing(phantoms: Path, tmp_path: Path, eyeground: Call) -> None:
    # Phantoms are small: many copies fill several shards.
    folder = tmp_path / "photos" / "all"
    folder.mkdir(parents=True)
    for number in range(4):
        for path in (phantoms / "images").iterdir():
            shutil.copyfile(path, folder / f"{number}{path.name}")
    words = ["data", "prepare", str(tmp_path / "photos"), "--shards", "--shard-mb", "1", "--store-px", "64"]
    words += ["--workers", "1", "--unlabelled"]
    assert eyeground(*words, "--out", tmp_path / "whole").code == 0
    assert len(_opened(tmp_path / "whole").index.shards) >= 2
    cut = tmp_path / "cut"
    with subprocess.Popen([*COMMAND, *words, "--out", str(cut)], stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 400
        while not (cut / "journal.jsonl").is_file() or (cut / "journal.jsonl").read_bytes().count(b"\n") < 3:
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
    assert not (cut / "shards.json").exists(), "it was over before it was killed"
    _error(
        eyeground("data", "inspect", cut), 2, "has not come to an end; run the same 'eyeground data prepare --shards'"
    )
    answer = eyeground(*words, "--out", cut, "--json")
    assert answer.code == 0
    assert 0 < json.loads(answer.out)["kept"] < 240
    for path in (tmp_path / "whole").rglob("*.*"):
        if path.name != ".lock":
            assert (cut / path.relative_to(tmp_path / "whole")).read_bytes() == path.read_bytes(), path.name


def test_finetuning_learns_from_shards_and_knows_what_they_were_made_from(
    trained: Path, phantoms: Path, config: Path, packed: Path, tmp_path: Path, eyeground: Call
) -> None:
    told = eyeground("finetune", config, f"data={packed}", f"out={tmp_path / 'run'}", "epochs=1", "workers=1", "--json")
    assert told.code == 0, told.err
    rows = read_table(tmp_path / "run" / "split.csv")
    assert {row["file"] for row in rows} == {f"{path.name}.tif" for path in (phantoms / "images").iterdir()}
    _error(eyeground("evaluate", trained, packed), 2, "were used in training")
    for name, data in (("raw", [phantoms / "images", "--table", phantoms / "labels.csv"]), ("packed", [packed])):
        judged = eyeground("evaluate", trained, *data, "--allow-seen", "--name", name)
        assert judged.code == 0, judged.err
    scores = [
        sorted(float(row["score_dr3"]) for row in read_table(trained / "evaluations" / name / "predictions.csv"))
        for name in ("raw", "packed")
    ]
    # The images stand in other batches.
    np.testing.assert_allclose(*scores, atol=1e-6)
    other = eyeground("finetune", config, f"data={packed}", f"out={tmp_path / 'other'}", "store_px=40")
    _error(other, 2, "store_px is 48 there and 40 in this run")
    named = eyeground("finetune", config, f"data=[{{path: {packed}, label: GLA}}]", f"out={tmp_path / 'other'}")
    _error(named, 2, "is a prepared set with a table of its own; leave out label")


def test_the_doctor_and_inspect_read_shards(packed: Path, tmp_path: Path, eyeground: Call) -> None:
    seen = eyeground("data", "inspect", packed, "--picture", tmp_path / "sheet.png", "--json")
    assert seen.code == 0, seen.err
    assert (tmp_path / "sheet.png").stat().st_size > 1000
    sick = eyeground("doctor", packed, "--no-cache", "--html", tmp_path / "page.html", "--json")
    assert sick.code in (0, 1), sick.err
    assert json.loads(sick.out)["images"] == 60
    _error(
        eyeground("doctor", packed, "--no-cache", "--fix", tmp_path / "t.csv"), 2, "shards have a table of their own"
    )
    broken = shutil.copytree(packed, tmp_path / "broken")
    shards = _opened(broken)
    path = broken / "shards" / shards.index.shards[0].name
    content = bytearray(path.read_bytes())
    content[int(shards._offset[5]) + 30] ^= 1
    path.write_bytes(bytes(content))
    name = shards.sample(5, "").file
    _error(
        eyeground("doctor", broken, "--no-cache"), 2, path.name, f"1 of its 60 images are other ones: row 5 ({name})"
    )
    _error(eyeground("data", "inspect", broken), 2, f"{path.name}, row 5 ({name})")


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory, packed: Path) -> Path:
    path = tmp_path_factory.mktemp("recipe") / "tiny.yaml"
    path.write_text(f"data: [{{path: {packed}, name: eyes}}]\n{PRETRAINING}", encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory, recipe: Path) -> Path:
    """A run from the folder that nobody disturbed."""
    run = tmp_path_factory.mktemp("straight") / "run"
    subprocess.run([*COMMAND, "pretrain", str(recipe), f"out={run}"], capture_output=True, check=True)
    return run


def test_pretraining_judges_by_the_labels_and_writes_what_it_saw(straight: Path, packed: Path) -> None:
    epochs = [line for line in _course(straight) if line["event"] == "epoch"]
    assert "knn_accuracy" in json.dumps(epochs)
    rows = read_table(straight / "split.csv")
    shards = _opened(packed)
    assert {row["file"]: row["sha256"] for row in rows} == {
        sample.file: shards.origin(sample.file)[2] for sample in (shards.sample(row, "eyes") for row in range(60))
    }
    assert {(row["source"], row["split"], row["label"]) for row in rows} == {("eyes", "train", "")}


@pytest.fixture
def memory(packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The shards in fsspec's memory, which loader processes share with their parent."""
    fsspec = pytest.importorskip("fsspec", reason="needs pip install 'eyeground[shards]'")
    monkeypatch.setenv("EYEGROUND_CACHE", str(tmp_path / "cache"))
    system = fsspec.filesystem("memory")
    system.put(str(packed), "/bucket/eyes", recursive=True)
    yield "memory://bucket/eyes"
    system.rm("/bucket", recursive=True)


def test_an_address_learns_what_the_folder_learns(
    straight: Path, recipe: Path, memory: str, tmp_path: Path, eyeground: Call
) -> None:
    source = f"data=[{{path: '{memory}', name: eyes}}]"
    answer = eyeground("pretrain", recipe, source, f"out={tmp_path / 'run'}", "workers=1")
    assert answer.code == 0, answer.err
    assert len(_course(straight)) > 10
    assert _course(tmp_path / "run") == _course(straight)
    again = eyeground("pretrain", "--resume", tmp_path / "run")
    assert again.code == 0, again.err
    gone = eyeground("pretrain", recipe, "data=[{path: 'memory://elsewhere'}]", f"out={tmp_path / 'no'}")
    _error(gone, 2, "memory://elsewhere: there is no shards.json")


def test_a_kill_while_it_learns_costs_nothing(straight: Path, recipe: Path, tmp_path: Path, eyeground: Call) -> None:
    run = tmp_path / "run"
    journal = run / "journal.jsonl"
    words = [*COMMAND, "pretrain", str(recipe), f"out={run}", "workers=2"]
    with subprocess.Popen(words, stderr=subprocess.PIPE) as process:
        deadline = time.monotonic() + 400
        while not journal.is_file() or journal.read_bytes().count(b'"step"') < 5:
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=60)  # its loader processes end too
    newest = Checkpoints(run / "checkpoints").newest()
    assert newest is not None
    assert newest.step % 7  # in the middle of an epoch of 7 steps
    answer = eyeground("pretrain", "--resume", run)
    assert answer.code == 0, answer.err
    assert _course(run) == _course(straight)


def test_a_shard_that_breaks_while_it_learns_is_named_and_what_was_learned_stays(
    recipe: Path, packed: Path, tmp_path: Path, eyeground: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = shutil.copytree(packed, tmp_path / "broken")
    run = tmp_path / "run"
    shards = _opened(broken)
    path = broken / "shards" / shards.index.shards[0].name
    sound = path.read_bytes()
    plain, reads = Shards.read, [0]

    def read(opened: Shards, file: str) -> bytes:
        reads[0] += 1
        if reads[0] == 130:  # in the midst of training
            path.write_bytes(sound[: len(sound) // 2])
        return plain(opened, file)

    monkeypatch.setattr(Shards, "read", read)
    words = ("pretrain", recipe, f"data=[{{path: {broken}, name: eyes}}]", f"out={run}")
    _error(eyeground(*words), 2, path.name, "so it was cut short; copy it again from where it was made")
    newest = Checkpoints(run / "checkpoints").newest()
    assert newest is not None
    assert newest.step > 0
    path.write_bytes(sound)
    answer = eyeground("pretrain", "--resume", run)
    assert answer.code == 0, answer.err
