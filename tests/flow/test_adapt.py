"""Every way of adapting: what learns, what a checkpoint holds, and what happens when the weights below it move."""

import io
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path

import numpy as np
import pytest

from eyeground.cli.config_file import load_config
from eyeground.cli.experiment import carry_out
from eyeground.cli.main import main
from eyeground.model.weights import read_weights
from eyeground.train.checkpoint import Checkpoints
from eyeground.train.loop import Interrupted
from tests.flow.conftest import TINY
from tests.flow.tables import Answer, read_table, write_table
from tests.flow.test_heads import config_for, screened
from tests.flow.test_resume import fingerprints

Call = Callable[..., Answer]
# Way -> its numbers, and a word of what it says learns.
WAYS = {
    "head": ((), "classifier: 2 tensors"),
    "last_n": (("last_blocks=1",), "blocks 3: 12 tensors"),
    "bitfit": ((), "biases: 26 tensors"),
    "lora": (("lora_rank=2",), "LoRA rank 2 on attn.qkv, attn.proj: 16 tensors"),
    "adapter": (("adapter_width=4",), "adapters of width 4: 48 tensors"),
    "gradual": ((), "layers after the blocks: 2 tensors"),
    "full": ((), ""),
}
DELTA = ("head", "last_n", "bitfit", "lora", "adapter")


# Words of a fine-tuning -> its run: made once in a session, for this file and for test_merge.py.
MADE: dict[tuple[str, ...], Path] = {}


def run_of(factory: pytest.TempPathFactory, phantoms: Path, *words: str) -> Path:
    """Fine-tune on twenty-four images of three classes; what the terminal got lies beside the run."""
    if words not in MADE:
        folder = factory.mktemp("adapted") / "run"
        told = io.StringIO()
        with pytest.MonkeyPatch.context() as patch:
            config = config_of(folder.parent, phantoms)
            patch.setattr("sys.argv", ["eyeground", "finetune", str(config), f"out={folder}", *words])
            with redirect_stderr(told), redirect_stdout(told), pytest.raises(SystemExit) as stop:
                main()
        assert not stop.value.code, told.getvalue()
        folder.with_suffix(".txt").write_text(told.getvalue(), encoding="utf-8")
        MADE[words] = folder
    return MADE[words]


def config_of(folder: Path, phantoms: Path) -> Path:
    """A configuration of a few seconds."""
    chosen = {row["file"] for row in screened(phantoms, patients=slice(12))}
    rows = [{name: row[name] for name in ("file", "label", "patient")} for row in read_table(phantoms / "labels.csv")]
    table = write_table(folder / "labels.csv", [row for row in rows if row["file"] in chosen])
    words = [word.replace("=", ": ", 1) for word in TINY if not word.startswith(("epochs", "batch_size"))]
    source = f"data: [{{path: {phantoms / 'images'}, table: {table}, name: phantoms}}]"
    path = folder / "c.yaml"
    path.write_text("\n".join([source, *words, "epochs: 1", "batch_size: 4"]) + "\n", encoding="utf-8")
    return path


def base_of(factory: pytest.TempPathFactory, phantoms: Path) -> Path:
    """What all ways start from."""
    return run_of(factory, phantoms, "seed=1")


def adapted_of(factory: pytest.TempPathFactory, phantoms: Path, way: str) -> Path:
    """A run of one way on top of it, not to be changed."""
    return run_of(factory, phantoms, f"weights={base_of(factory, phantoms)}", f"adapt={way}", *WAYS[way][0], "lr=3e-2")


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory, phantoms: Path) -> Path:
    return config_of(tmp_path_factory.mktemp("small"), phantoms)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory, phantoms: Path) -> Path:
    return base_of(tmp_path_factory, phantoms)


@pytest.fixture(scope="module")
def adapted(tmp_path_factory: pytest.TempPathFactory, phantoms: Path) -> Callable[[str], Path]:
    return lambda way: adapted_of(tmp_path_factory, phantoms, way)


def best(run: Path) -> Path:
    return Checkpoints(run / "checkpoints").best().folder / "weights.safetensors"


def scores(table: Path) -> np.ndarray:
    rows = read_table(table)
    return np.array([[float(v or "nan") for key, v in row.items() if key.startswith("score")] for row in rows])


def predicted(eyeground: Call, run: Path, phantoms: Path, out: Path, *words: str) -> np.ndarray:
    images = sorted((phantoms / "images").iterdir())[:6]
    answer = eyeground("predict", run, *images, "--out", out, *words)
    assert answer.code == 0, answer.err
    return scores(out)


@contextmanager
def moved(folder: Path) -> Iterator[Path]:
    """A folder that is elsewhere for a while."""
    elsewhere = folder.with_name("elsewhere")
    folder.rename(elsewhere)
    try:
        yield elsewhere
    finally:
        if folder.exists():
            shutil.rmtree(folder)
        elsewhere.rename(folder)


@contextmanager
def after(steps: int) -> Iterator[Callable[[], bool]]:
    """Somebody who wants training to stop after so many steps."""
    asked = iter(range(1, 1000))
    yield lambda: next(asked) >= steps


def refused(answer: Answer, *words: str, code: int = 2) -> None:
    assert answer.code == code, answer.err
    assert "Traceback" not in answer.err
    for word in words:
        assert word in answer.err


@pytest.mark.parametrize("way", WAYS)
def test_each_way_says_what_learns_and_changes_nothing_else(
    way: str, base: Path, adapted: Callable[[str], Path]
) -> None:
    run = adapted(way)
    said = run.with_suffix(".txt").read_text(encoding="utf-8")
    assert ("learns   " + WAYS[way][1] in said) == (way != "full")
    before, after = read_weights(best(base)), read_weights(best(run))
    changed = {name for name in after if name not in before or not np.array_equal(after[name], before[name])}
    kept = set(after)
    if way in DELTA:
        model = Checkpoints(run / "checkpoints").best().model
        told = model["base"]
        assert model["places"] == {"base": str(base)}
        assert len(told["sha256"]) == 64
        assert best(run).stat().st_size < best(base).stat().st_size / (2 if way == "last_n" else 20)
    else:
        assert kept == set(before)
        assert Checkpoints(run / "checkpoints").best().model["base"] is None
    allowed = {
        "head": lambda name: name.startswith("head."),
        "last_n": lambda name: name.startswith(("head.", "blocks.3.", "fc_norm.")),
        "bitfit": lambda name: name.startswith("head.") or name.endswith("bias"),
        "lora": lambda name: name.startswith("head.") or ".lora_" in name,
        "adapter": lambda name: name.startswith("head.") or ".adapter_" in name,
        "gradual": lambda name: name.startswith(("head.", "fc_norm.")),
        "full": lambda name: True,
    }[way]
    assert len(changed) >= 2
    assert all(map(allowed, changed)), changed
    if way in DELTA:
        assert all(map(allowed, kept)), kept
    rows = read_table(run / "predictions.csv")
    assert rows
    assert (run / "report.html").is_file()


def test_the_learned_part_can_be_learned_on(
    adapted: Callable[[str], Path], small: Path, phantoms: Path, tmp_path: Path, eyeground: Call
) -> None:
    # Adapters stay in the network, whatever learns next.
    run = adapted("adapter")
    words = ("finetune", small, f"weights={run}")
    answer = eyeground(*words, f"out={tmp_path / 'on'}", "adapt=adapter", "adapter_width=4")
    assert answer.code == 0, answer.err
    assert Checkpoints(tmp_path / "on" / "checkpoints").best().model["places"]["base"] == str(run)
    assert np.isfinite(predicted(eyeground, tmp_path / "on", phantoms, tmp_path / "p.csv")).any()
    answer = eyeground(*words, f"out={tmp_path / 'all'}")
    assert answer.code == 0, answer.err
    model = Checkpoints(tmp_path / "all" / "checkpoints").best().model
    assert (model["spec"]["adapter_width"], model["base"]) == (4, None)
    refused(eyeground(*words, f"out={tmp_path / 'none'}", "adapt=adapter", "adapter_width=8"), "adapter_width=4")
    assert not (tmp_path / "none").exists()


def test_weights_that_moved_are_told_with_what_to_do(
    adapted: Callable[[str], Path], base: Path, small: Path, phantoms: Path, tmp_path: Path, eyeground: Call
) -> None:
    run, image = adapted("lora"), next((phantoms / "images").iterdir())
    before = predicted(eyeground, run, phantoms, tmp_path / "before.csv")
    told = (f"holds only what was learned on top of {base}", "cannot be read", f"eyeground merge {run} --base FILE")
    with moved(base):
        refused(eyeground("predict", run, image, "--out", tmp_path / "p.csv"), *told)
        words = ("--table", phantoms / "labels.csv", "--allow-seen", "--name", "moved")
        refused(eyeground("evaluate", run, phantoms / "images", *words), *told)
        assert not (run / "evaluations").exists()
        refused(eyeground("finetune", small, f"weights={run}", f"out={tmp_path / 'run'}"), *told)
        assert not (tmp_path / "run").exists()
    # Back in its place, it is found again.
    np.testing.assert_array_equal(predicted(eyeground, run, phantoms, tmp_path / "p.csv"), before)


def test_other_weights_in_the_same_place_are_refused(
    adapted: Callable[[str], Path],
    base: Path,
    phantoms: Path,
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    eyeground: Call,
) -> None:
    run, other = adapted("lora"), run_of(tmp_path_factory, phantoms, "seed=2")
    image = next((phantoms / "images").iterdir())
    with moved(base):
        shutil.copytree(other, base)
        answer = eyeground("predict", run, image, "--out", tmp_path / "p.csv")
        refused(answer, f"but {base} holds other weights now", f"eyeground merge {run} --base FILE")
        assert not (tmp_path / "p.csv").exists()


def test_a_part_learned_on_random_weights_finds_them_by_their_seed(
    phantoms: Path, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, eyeground: Call
) -> None:
    run = run_of(tmp_path_factory, phantoms, "adapt=bitfit", "seed=5")
    assert Checkpoints(run / "checkpoints").best().model["places"]["base"] == "random"
    assert np.isfinite(predicted(eyeground, run, phantoms, tmp_path / "p.csv")).any()


@pytest.mark.parametrize("way", ["lora", "head", "gradual"])
def test_another_framework_is_refused_without_being_there(
    way: str, small: Path, base: Path, tmp_path: Path, eyeground: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EYEGROUND_PADDLE_PYTHON", str(tmp_path / "nothing"))
    out = f"out={tmp_path / 'run'}"
    answer = eyeground("finetune", small, "engine=paddle", f"adapt={way}", f"weights={base}", out)
    refused(answer, "engine=paddle offers task=multiclass, adapt=full and the plain loss", "engine=torch offers all")
    assert not (tmp_path / "run").exists()


def test_several_heads_with_lora_stopped_and_resumed_end_to_the_same_bits(
    base: Path, phantoms: Path, tmp_path: Path
) -> None:
    rows = screened(phantoms, patients=slice(12), missing=0.3)
    source = config_for(tmp_path, phantoms, rows)
    heads = "heads=[{name: HAZE}, {name: CDR, kind: quantity, column: cup_disc_ratio}]"
    words = (heads, f"weights={base}", "adapt=lora", "lora_rank=2", "lora_dropout=0.1", "drop_path=0.2", "batch_size=4",
             "epochs=2", "imbalance=weighted")  # fmt: skip
    folders = [tmp_path / "straight", tmp_path / "broken"]
    straight, broken = (load_config(source, [*words, f"out={folder}"]) for folder in folders)

    carry_out(straight, name="a", resume=None, stop=lambda: after(1000))
    with pytest.raises(Interrupted):
        carry_out(broken, name="b", resume=None, stop=lambda: after(2))
    again = load_config(folders[1] / "config.yaml")
    assert again == broken
    carry_out(again, name="b", resume=folders[1], stop=lambda: after(1000))
    assert fingerprints(folders[0]) == fingerprints(folders[1])
    for head in ("HAZE", "CDR"):
        one, other = ((folder / "heads" / head / "predictions.csv").read_bytes() for folder in folders)
        assert one == other


def test_gradual_unfreezing_lets_a_block_more_learn_and_goes_on_where_it_stopped(
    small: Path, base: Path, tmp_path: Path
) -> None:
    words = (f"weights={base}", "adapt=gradual", "gradual_epochs=2", "epochs=5", "keep_checkpoints=9", "layer_decay=1")
    folders = [tmp_path / "straight", tmp_path / "broken"]
    straight, broken = (load_config(small, [*words, "lr=1e-2", f"out={folder}"]) for folder in folders)
    carry_out(straight, name="a", resume=None, stop=lambda: after(1000))
    shelf, before, learned = Checkpoints(folders[0] / "checkpoints", keep=9), read_weights(best(base)), []
    for step in shelf.steps():
        now = shelf.read(step).state["weights"]
        learned.append(
            {
                name.split(".")[1]
                for name in now
                if name.startswith("blocks.") and not np.array_equal(now[name], before[name])
            }
        )
    assert learned == [set(), set(), {"3"}, {"3"}, {"2", "3"}]
    in_the_third_epoch = 2 * shelf.steps()[0] + 1
    with pytest.raises(Interrupted):
        carry_out(broken, name="b", resume=None, stop=lambda: after(in_the_third_epoch))
    carry_out(broken, name="b", resume=folders[1], stop=lambda: after(1000))
    assert fingerprints(folders[0]) == fingerprints(folders[1])
