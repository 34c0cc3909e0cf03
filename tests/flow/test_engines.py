"""``engine=paddle`` and ``engine=mindspore``: the same folder, the same numbers, resumed and judged like torch's."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from eyeground.model.environment import EngineMissing, python_of
from eyeground.train.checkpoint import Checkpoints
from eyeground.train.journal import read_journal
from tests.flow.tables import Answer, read_table
from tests.flow.test_resume import fingerprints, train_with_kills

Call = Callable[..., Answer]
FRAMEWORKS = ("paddle", "mindspore")


@pytest.fixture(params=FRAMEWORKS, scope="module")
def framework(request: pytest.FixtureRequest) -> str:
    try:
        python_of(request.param)
    except EngineMissing as missing:
        pytest.skip(str(missing))
    return str(request.param)


@pytest.fixture(scope="module")
def run(framework: str, config: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was killed once on the way, and resumed."""
    folder = tmp_path_factory.mktemp(framework) / "run"
    words = ["finetune", str(config), f"engine={framework}", f"out={folder}", "checkpoint_steps=2", "drop_path=0"]
    assert train_with_kills(folder, words, steps=8, kills=1, seed=0) == 1
    return folder


def scores(table: Path) -> np.ndarray:
    """Probabilities; NaN where an image could not be graded."""
    rows = read_table(table)
    return np.array([[float(v or "nan") for key, v in row.items() if key.startswith("score")] for row in rows])


def test_a_killed_run_ends_to_the_same_bits(run: Path, framework: str, config: Path, eyeground: Call) -> None:
    straight = run.parent / "straight"
    words = (config, f"engine={framework}", f"out={straight}", "checkpoint_steps=2", "drop_path=0")
    assert eyeground("finetune", *words).code == 0
    assert fingerprints(run) == fingerprints(straight)


def test_the_folder_is_laid_out_as_torchs(run: Path, trained: Path) -> None:
    def files(folder: Path) -> set[str]:
        return {
            re.sub(r"step-\d+", "step", path.relative_to(folder).as_posix())
            for path in folder.rglob("*")
            if path.is_file() and not {"tensorboard", "evaluations"} & set(path.parts)
        }

    # A resumed run has one more line in its journal, not one more file.
    assert files(run) == files(trained)
    assert set(json.loads((run / "metrics.json").read_text())) == set(
        json.loads((trained / "metrics.json").read_text())
    )


def test_the_run_says_where_it_was_trained(run: Path, framework: str) -> None:
    newest = Checkpoints(run / "checkpoints").newest(parts=())
    assert newest is not None
    assert newest.model["engine"] == framework
    start = next(line for line in read_journal(run / "journal.jsonl") if line["event"] == "start")
    assert start["engine"].startswith(framework)
    assert framework in (run / "report.html").read_text(encoding="utf-8")


def test_it_learns_as_torch_does(run: Path, config: Path, eyeground: Call, tmp_path: Path) -> None:
    torch = tmp_path / "torch"
    assert eyeground("finetune", config, f"out={torch}", "drop_path=0").code == 0

    def losses(folder: Path) -> list[float]:
        return [line["loss"] for line in read_journal(folder / "journal.jsonl") if line["event"] == "step"]

    assert losses(run) == pytest.approx(losses(torch), rel=1e-3)
    assert np.abs(scores(run / "predictions.csv") - scores(torch / "predictions.csv")).max() < 1e-2


def test_its_weights_answer_alike_in_torch(run: Path, phantoms: Path, eyeground: Call, tmp_path: Path) -> None:
    tables = {}
    for engine in (None, "torch"):
        out = tmp_path / f"{engine}.csv"
        words = ("predict", run, phantoms / "images", "--out", out, *(("--engine", engine) if engine else ()))
        done = eyeground(*words)
        assert done.code == 0, done.err
        tables[engine] = scores(out)
    assert tables[None].shape == tables["torch"].shape
    np.testing.assert_allclose(tables[None], tables["torch"], atol=1e-5)


def test_a_torch_run_answers_alike_in_it(
    framework: str, trained: Path, phantoms: Path, eyeground: Call, tmp_path: Path
) -> None:
    answered = [tmp_path / "torch.csv", tmp_path / "other.csv"]
    images = sorted((phantoms / "images").iterdir())[:12]
    assert eyeground("predict", trained, *images, "--out", answered[0]).code == 0
    assert eyeground("predict", trained, *images, "--out", answered[1], "--engine", framework).code == 0
    np.testing.assert_allclose(scores(answered[0]), scores(answered[1]), atol=1e-5)


def test_a_run_is_not_resumed_in_another_framework(run: Path, eyeground: Call, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(run, copy)
    config = copy / "config.yaml"
    config.write_text(config.read_text().replace("epochs: 2", "epochs: 3") + "\n")
    text = config.read_text()
    config.write_text("\n".join("engine: torch" if line.startswith("engine:") else line for line in text.splitlines()))
    done = eyeground("finetune", "--resume", copy)
    assert done.code == 1
    assert "engine (" in done.err


@pytest.mark.parametrize("engine", FRAMEWORKS)
def test_a_framework_that_is_missing_is_one_sentence(
    engine: str, config: Path, eyeground: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"EYEGROUND_{engine.upper()}_PYTHON", str(tmp_path / "nothing"))
    done = eyeground("finetune", config, f"engine={engine}", f"out={tmp_path / 'run'}")
    assert done.code == 2
    assert f"the Python that {engine} is installed in" in done.err
    assert len(done.err.strip().splitlines()) <= 3
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("model=mobilenetv2_100",), "engine=paddle does not offer mobilenetv2_100"),
        (("device=mps",), "engine=paddle knows no device 'mps'"),
        (("precision=fp16",), "engine=paddle offers precision fp32 and bf16"),
    ],
)
def test_what_it_does_not_offer_is_said_before_a_run_begins(
    words: tuple[str, ...], told: str, config: Path, eyeground: Call, tmp_path: Path
) -> None:
    try:
        python_of("paddle")
    except EngineMissing as missing:
        pytest.skip(str(missing))
    done = eyeground("finetune", config, "engine=paddle", f"out={tmp_path / 'run'}", *words)
    assert done.code == 2
    assert told in done.err
    assert not (tmp_path / "run").exists()
