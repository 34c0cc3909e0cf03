"""Pre-training through the command line: what it leaves, how it ends, how it goes on, what it refuses."""

import hashlib
import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from PIL import Image

from eyeground.cli.main import main
from eyeground.data.phantom import write_set
from eyeground.train.checkpoint import Checkpoints
from eyeground.train.health import Health
from eyeground.train.journal import TIMING_KEYS, read_journal

from .conftest import TINY
from .tables import Answer, read_table

Call = Callable[..., Answer]
COMMAND = [sys.executable, "-c", "from eyeground.cli.main import main; main()"]
KEYS = {
    **dict(word.split("=") for word in TINY if not word.startswith("resamples")),
    "method": "mae",
    "decoder_width": "48",
    "decoder_depth": "1",
    "decoder_heads": "3",
    "projector": "[64, 32]",
    "neighbors": "40",
    "vertical_flip": "0.5",
}


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory, phantoms: Path) -> Path:
    """A masked autoencoder of phantoms; ``method=simclr`` makes it a contrastive network."""
    path = tmp_path_factory.mktemp("recipe") / "tiny.yaml"
    source = f"data: [{{path: {phantoms / 'images'}, table: {phantoms / 'labels.csv'}, name: phantoms}}]\n"
    path.write_text(source + "".join(f"{key}: {value}\n" for key, value in KEYS.items()), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory: pytest.TempPathFactory, recipe: Path) -> Path:
    """A finished run."""
    folder = tmp_path_factory.mktemp("pretrained") / "mae"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["eyeground", "pretrain", str(recipe), f"out={folder}", "picture_epochs=1"])
        with pytest.raises(SystemExit) as stop:
            main()
    assert not stop.value.code
    return folder


def refused(answer: Answer, *words: str, code: int = 2) -> None:
    assert answer.code == code, answer.err
    assert "Traceback" not in answer.err
    for word in words:
        assert word in answer.err


def test_a_run_leaves_weights_a_journal_and_pictures(pretrained: Path, phantoms: Path) -> None:
    for name in ("config.yaml", "journal.jsonl", "health.json"):
        assert (pretrained / name).is_file(), name
    for name in ("reconstruction.png", "pictures/epoch-0001.png", "pictures/epoch-0002.png"):
        with Image.open(pretrained / name) as picture:
            assert picture.width > 500
    for name in ("learning.svg", "embedding.svg"):
        assert ET.fromstring((pretrained / name).read_text("utf-8")).tag.endswith("svg")  # noqa: S314 - ours
    rows = read_table(pretrained / "split.csv")
    assert {row["file"] for row in rows} == {path.name for path in (phantoms / "images").iterdir()}
    assert {row["split"] for row in rows} == {"train"}
    told = json.loads((pretrained / "health.json").read_text("utf-8"))
    assert (told["status"], told["reasons"], told["finished"], told["epochs"]) == ("ok", [], True, 2)
    lines = list(read_journal(pretrained / "journal.jsonl"))
    assert len([line for line in lines if line["event"] == "step"]) == 14
    epochs = [line for line in lines if line["event"] == "epoch"]
    assert all(0 <= line["scores"]["knn_accuracy"] <= 1 for line in epochs)
    assert Checkpoints(pretrained / "checkpoints").best().step == 14
    again = Health(steps_per_epoch=7, contrastive=False)
    again.replay(lines)
    assert again.findings == []


def test_simclr_ends_with_one_json_line(recipe: Path, tmp_path: Path, eyeground: Call) -> None:
    out = tmp_path / "run"
    answer = eyeground("pretrain", recipe, "method=simclr", f"out={out}", "--json")
    assert answer.code == 0, answer.err
    assert answer.out.count("\n") == 1
    told = json.loads(answer.out)
    assert set(told) == {"run", "seconds", "health"}
    assert told["run"] == str(out)
    assert told["seconds"] > 0
    assert told["health"] == {"status": "ok", "reasons": []}
    for name in ("health.json", "learning.svg", "embedding.svg", "split.csv"):
        assert (out / name).is_file(), name
    assert not (out / "reconstruction.png").exists()


@pytest.mark.parametrize(
    ("words", "status", "reason"),
    [
        (("method=simclr", "temperature=1e-6"), "diverged", "saturated loss"),
        (("method=simclr", "lr=1", "epochs=8", "warmup_epochs=0"), "diverged", "overturned weights"),
        (("mean=[1e9, 1e9, 1e9]", "std=[1e9, 1e9, 1e9]"), "collapsed", "identical images"),
    ],
)
def test_a_sick_run_fails_with_its_reason(
    words: tuple[str, ...], status: str, reason: str, recipe: Path, tmp_path: Path, eyeground: Call
) -> None:
    out = tmp_path / "run"
    answer = eyeground("pretrain", recipe, *words, f"out={out}", "--json")
    refused(answer, f"{status}  {reason}", f"it has {status}", code=1)
    assert answer.out.count("\n") == 1
    told = json.loads(answer.out)
    assert set(told) == {"run", "seconds", "health"}
    assert told["health"]["status"] == status
    assert told["health"]["reasons"][-1].startswith(f"{reason}: ")
    kept = json.loads((out / "health.json").read_text("utf-8"))
    assert (kept["status"], kept["reasons"]) == (status, told["health"]["reasons"])
    assert not kept["finished"]
    assert (out / "learning.svg").is_file()


def test_a_loss_that_is_not_finite_is_a_diverged_run(recipe: Path, tmp_path: Path, eyeground: Call) -> None:
    answer = eyeground("pretrain", recipe, "std=[1e-25, 1e-25, 1e-25]", f"out={tmp_path / 'run'}", "--json")
    refused(answer, "it has diverged", code=1)
    told = json.loads(answer.out)["health"]
    assert told["status"] == "diverged"
    assert told["reasons"][-1].startswith("not finite: ")


def fingerprints(run: Path) -> dict[str, Any]:
    """Hash what must not depend on interruptions."""
    newest = Checkpoints(run / "checkpoints").newest()
    assert newest is not None
    lines = [
        {key: value for key, value in line.items() if key not in TIMING_KEYS}
        for line in read_journal(run / "journal.jsonl")
        if line["event"] != "resume"
    ]
    return {
        "step": newest.step,
        "weights": newest.sha256["weights"],
        "optimizer": newest.sha256["optimizer"],
        "journal": hashlib.sha256(json.dumps(lines).encode()).hexdigest(),
        "embedding": hashlib.sha256((run / "embedding.svg").read_bytes()).hexdigest(),
    }


def steps_done(run: Path) -> int:
    return max((line["step"] for line in read_journal(run / "journal.jsonl") if line["event"] == "step"), default=0)


@pytest.mark.parametrize(
    ("method", "workers"),
    [
        ("mae", 2),
        ("simclr", 0),
        pytest.param("mae", 0, marks=pytest.mark.slow),
        pytest.param("simclr", 2, marks=pytest.mark.slow),
    ],
)
def test_killed_in_the_middle_of_an_epoch(
    method: str, workers: int, recipe: Path, tmp_path: Path, eyeground: Call
) -> None:
    words = [str(recipe), f"method={method}", "epochs=4", "checkpoint_steps=3"]
    # The straight run takes the other number of workers: it must not matter.
    straight = tmp_path / "straight"
    answer = eyeground("pretrain", *words, f"workers={2 - workers}", f"out={straight}")
    assert answer.code == 0, answer.err
    broken = tmp_path / "broken"
    process = subprocess.Popen(
        [*COMMAND, "pretrain", *words, f"workers={workers}", f"out={broken}"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    while process.poll() is None and steps_done(broken) < 11:
        time.sleep(0.003)
    process.send_signal(signal.SIGKILL)
    _, err = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL, err.decode()
    newest = Checkpoints(broken / "checkpoints").newest()
    assert newest is not None
    assert 9 <= newest.step < 28
    assert not (broken / "health.json").exists()
    answer = eyeground("pretrain", "--resume", broken, "--json")
    assert answer.code == 0, answer.err
    assert json.loads(answer.out)["health"]["status"] == "ok"
    assert [line["step"] for line in read_journal(broken / "journal.jsonl") if line["event"] == "resume"] == [
        newest.step
    ]
    assert fingerprints(broken) == fingerprints(straight)


def test_another_seed_is_another_run(pretrained: Path, recipe: Path, tmp_path: Path, eyeground: Call) -> None:
    # The control of the test above.
    assert eyeground("pretrain", recipe, "seed=1", f"out={tmp_path / 'run'}").code == 0
    one, two = fingerprints(pretrained), fingerprints(tmp_path / "run")
    assert {key for key in one if one[key] == two[key]} == {"step"}


def test_going_on_with_another_configuration_names_the_key(pretrained: Path, tmp_path: Path, eyeground: Call) -> None:
    run = shutil.copytree(pretrained, tmp_path / "run")
    config = run / "config.yaml"
    sound = config.read_text("utf-8")
    for before, after, told in (
        ("mask_ratio: 0.75", "mask_ratio: 0.5", "mask_ratio (0.75 then, 0.5 now)"),
        ("method: mae", "method: simclr", "method (mae then, simclr now)"),
    ):
        assert before in sound
        config.write_text(sound.replace(before, after), encoding="utf-8")
        refused(eyeground("pretrain", "--resume", run), "belongs to another task", told, code=1)
    config.write_text(sound.replace("keep_checkpoints: 2", "keep_checkpoints: 3"), encoding="utf-8")
    assert eyeground("pretrain", "--resume", run).code == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("batch_size=70",), "60 images do not fill one step of 70"),
        (("batch_size=20", "accumulation=4"), "60 images do not fill one step of 80"),
        (("mask_ratio=0.99",), "it leaves 0 visible"),
        (("mask_ratio=1",), "mask_ratio"),
        (("image_px=36",), "not divisible by the patch of 8 px; try 32 or 40"),
        (("method=simclr", "batch_size=1"), "at least 2"),
        (("method=byol",), "method"),
        (("maskratio=0.5",), "maskratio: unknown key; did you mean 'mask_ratio'?"),
        (("model=resnet18",), "needs one of our ViT shapes"),
        (("decoder_heads=5",), "decoder_heads is 5"),
        (("weights=no/such.safetensors",), "no such weights file"),
        (("data=no/such/folder",), "no/such/folder"),
    ],
)
def test_bad_input_is_told_and_nothing_is_written(
    words: tuple[str, ...], message: str, recipe: Path, tmp_path: Path, eyeground: Call
) -> None:
    answer = eyeground("pretrain", recipe, *words, f"out={tmp_path / 'run'}", "--json")
    refused(answer, message)
    assert message in json.loads(answer.out)["error"]
    assert not (tmp_path / "run").exists()


def test_what_the_command_itself_refuses(pretrained: Path, recipe: Path, tmp_path: Path, eyeground: Call) -> None:
    refused(eyeground("pretrain"), "give a CONFIG, or --resume RUN")
    refused(eyeground("pretrain", tmp_path / "none.yaml", f"out={tmp_path / 'run'}"), "none.yaml")
    refused(eyeground("pretrain", "--resume", pretrained, recipe, "epochs=3"), "--resume takes the run's own")
    refused(eyeground("pretrain", "--resume", tmp_path), "no config.yaml there")
    before = (pretrained / "journal.jsonl").read_bytes()
    refused(eyeground("pretrain", recipe, f"out={pretrained}"), "already there")
    assert (pretrained / "journal.jsonl").read_bytes() == before
    assert not (tmp_path / "run").exists()


def test_scans_and_weights_of_photographs(pretrained: Path, recipe: Path, tmp_path: Path, eyeground: Call) -> None:
    scans = tmp_path / "oct"
    write_set(scans, modality="oct", diseases=("normal", "drusen"), patients=8, seed=3, size_px=96)
    data = f"data=[{{path: {scans / 'images'}, table: {scans / 'labels.csv'}, name: oct}}]"
    out = f"out={tmp_path / 'run'}"
    answer = eyeground("pretrain", recipe, data, f"weights={pretrained}", "epochs=1", out, "--json")
    assert answer.code == 0, answer.err
    assert "these images are OCT scans, but the weights were made from photographs of the fundus" in answer.err
    assert json.loads((tmp_path / "run" / "health.json").read_text("utf-8"))["modality"] == "oct"


def test_a_pretrained_run_knows_no_classes(pretrained: Path, phantoms: Path, eyeground: Call) -> None:
    image = next((phantoms / "images").iterdir())
    answer = eyeground("predict", pretrained, image)
    refused(answer, "fine-tune it first", f"weights={pretrained}", code=1)


def test_finetuning_loads_every_key_of_the_encoder(
    pretrained: Path, config: Path, tmp_path: Path, eyeground: Call
) -> None:
    words = ("finetune", config, "pool=cls", "epochs=1")
    answer = eyeground(*words, f"weights={pretrained}", f"out={tmp_path / 'run'}")
    assert answer.code == 0, answer.err
    before = Checkpoints(pretrained / "checkpoints").best()
    encoder = {name for name in before.state["weights"] if not name.startswith(("decoder_", "mask_token"))}
    report = Checkpoints(tmp_path / "run" / "checkpoints").best().model["weights_report"]
    assert set(report["loaded"]) == encoder
    assert set(report) == {"loaded", "new", "left_out"}
    assert set(report["new"]) == {"head.weight", "head.bias"}
    assert all("pre-training only" in key for key in report["left_out"])

    renamed = {
        name.replace("blocks.2.attn.qkv.weight", "blocks.2.attn.kqv.weight"): array
        for name, array in before.state["weights"].items()
    }
    Checkpoints(tmp_path / "renamed" / "checkpoints").save(
        step=before.step,
        state={"weights": renamed},
        progress=before.progress,
        model=before.model,
        best_step=before.step,
    )
    answer = eyeground(*words, f"weights={tmp_path / 'renamed'}", f"out={tmp_path / 'second'}")
    refused(answer, "1 missing: blocks.2.attn.qkv.weight", "1 unexpected: blocks.2.attn.kqv.weight")
    assert not (tmp_path / "second").exists()
