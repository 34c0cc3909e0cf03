"""Who starts processes, and what is said of the one that ended."""

import os
import signal
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml

from eyeground.cli import launching
from eyeground.cli.config import ConfigError, RunConfig
from eyeground.cli.config_file import load_config
from eyeground.cli.launching import check_alone, check_same, joined, kept_words, launched, note_folder, print_of
from eyeground.cli.pretrain_config import PretrainConfig
from eyeground.cli.pretraining import run_pretraining
from eyeground.cli.recipe import too_few_images
from eyeground.data.sample import Sample
from eyeground.model.processes import ALONE, Alone, ProcessLost, Started, started
from eyeground.train.checkpoint import Checkpoints

DEPLOY = Path(__file__).parents[2] / "deploy"
TWO = RunConfig(data="images", devices=2)  # type: ignore[arg-type]


class Many(Alone):
    """One of four that never talk."""

    world = 4


class Pair(Alone):
    """The first of two, and what the second says."""

    world = 2

    def __init__(self, other: str) -> None:
        self.other = other

    def every(self, item: object) -> list[object]:  # type: ignore[override]
        return [item, self.other]


def ending(monkeypatch: pytest.MonkeyPatch, failed: dict[int, int] | None, folder: Path | None = None) -> None:
    """Let the processes end so, once they have said where the run is."""

    def run_processes(command: list[str], *, count: int, scratch: Path) -> dict[int, int] | None:
        assert count == 2
        assert command[1:3] == ["-m", "eyeground"]
        if folder:
            note_folder(folder)
        return failed

    monkeypatch.setattr("eyeground.model.torch.agent.run_processes", run_processes)


def test_one_process_is_not_started_again(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not launched(RunConfig(data="images"), verb="finetune")  # type: ignore[arg-type]
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "x")
    assert not launched(TWO, verb="finetune")


def test_all_well(monkeypatch: pytest.MonkeyPatch) -> None:
    ending(monkeypatch, {})
    assert launched(TWO, verb="finetune")


@pytest.mark.parametrize(
    ("failed", "words"),
    [
        ({1: -9}, "process 2 of 2 was killed (SIGKILL; so does the system when memory runs out)"),
        ({1: -9, 0: -15}, "process 2 of 2 was killed (SIGKILL"),
        ({0: 3, 1: -11}, "process 2 of 2 was killed (SIGSEGV)"),
        ({0: 3, 1: 1}, "process 2 of 2 ended with exit code 1 (it says why above)"),
        ({0: -15, 1: 3}, "process 2 of 2 lost touch with the others"),
    ],
)
def test_the_one_that_failed_of_itself_is_named(
    failed: dict[int, int], words: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    Checkpoints(tmp_path / "checkpoints").save(step=7, state={}, progress={}, model={}, best_step=None)
    ending(monkeypatch, failed, tmp_path)
    with pytest.raises(ProcessLost) as caught:
        launched(TWO, verb="pretrain")
    told = str(caught.value)
    assert told.startswith(words)
    assert f"everything up to step 7 is in {tmp_path}; go on with: eyeground pretrain --resume {tmp_path}" in told


@pytest.mark.parametrize(("failed", "code"), [({0: 2}, 2), ({0: 130, 1: -15}, 130), ({1: -15, 0: 1}, 1), (None, 130)])
def test_what_the_first_has_said_is_not_said_again(
    failed: dict[int, int] | None, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    ending(monkeypatch, failed)
    with pytest.raises(SystemExit) as stop:
        launched(TWO, verb="finetune")
    assert stop.value.code == code


def test_before_there_is_a_folder_none_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    ending(monkeypatch, {1: -signal.SIGKILL})
    with pytest.raises(ProcessLost, match=r"the run stopped$"):
        launched(TWO, verb="finetune")


def test_a_run_that_goes_on_is_named_however_early_one_is_lost(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    ending(monkeypatch, {1: -signal.SIGKILL})
    with pytest.raises(ProcessLost, match=f"finetune --resume {tmp_path}$"):
        launched(TWO, verb="finetune", resume=tmp_path)


def test_nothing_is_left_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    before = dict(launching.os.environ)
    ending(monkeypatch, {})
    launched(TWO, verb="finetune")
    assert dict(launching.os.environ) == before


def test_a_run_without_a_checkpoint_begins_again(tmp_path: Path) -> None:
    assert kept_words(tmp_path / "a b", verb="finetune").startswith("no step was saved yet; begin again with")


def test_a_lost_process_ends_silently_where_somebody_tells(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ProcessLost), joined(TWO):
        raise ProcessLost("gone")
    monkeypatch.setenv("EYEGROUND_FOLDER_NOTE", "x")
    with pytest.raises(SystemExit) as stop, joined(TWO):
        raise ProcessLost("gone")
    assert stop.value.code == 3


def test_a_command_that_makes_runs_in_its_own_process_says_so() -> None:
    with pytest.raises(ConfigError, match="devices=2: 'eyeground finetune' and 'eyeground pretrain' start several"):
        check_alone(TWO, ALONE)
    check_alone(TWO, Many())


@pytest.mark.parametrize(("batch_size", "wrong"), [(3, True), (4, False), (7, False)])
def test_a_batch_smaller_than_the_processes_is_refused(batch_size: int, wrong: bool) -> None:
    config = RunConfig(data="images", batch_size=batch_size)  # type: ignore[arg-type]
    assert bool(too_few_images(config, Many())) == wrong


def test_torchrun_and_srun_are_told_from_a_batch_script(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TORCHELASTIC_RUN_ID", "SLURM_STEP_NUM_TASKS", "SLURM_PROCID"):
        monkeypatch.delenv(name, raising=False)
    assert started() is None
    for name, value in {"SLURM_NTASKS": "8", "SLURM_PROCID": "5", "SLURM_LOCALID": "1"}.items():
        monkeypatch.setenv(name, value)
    assert started() is None
    monkeypatch.setenv("SLURM_STEP_NUM_NODES", "2")
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "1")  # a shell of srun --pty, where "devices" is to be heard
    assert started() is None
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "8")
    assert started() == Started("slurm", rank=5, local_rank=1, world=8, nodes=2)
    words = {"TORCHELASTIC_RUN_ID": "x", "RANK": "3", "LOCAL_RANK": "1", "WORLD_SIZE": "4", "GROUP_WORLD_SIZE": "2"}
    for name, value in words.items():
        monkeypatch.setenv(name, value)
    assert started() == Started("torchrun", rank=3, local_rank=1, world=4, nodes=2)


def test_processes_of_one_machine_share_its_memory() -> None:
    assert Started("torchrun", rank=9, local_rank=1, world=16, nodes=2).neighbors == 8
    assert Started("torchrun", rank=0, local_rank=0, world=1, nodes=0).neighbors == 1


def test_what_the_processes_say_stays_on_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.delenv("GLOO_SOCKET_IFNAME", raising=False)
    monkeypatch.setattr(
        "eyeground.model.torch.agent.run_processes",
        lambda command, *, count, scratch: seen.append(os.environ["GLOO_SOCKET_IFNAME"]) or {},
    )
    launched(TWO, verb="finetune")
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "eth7")
    launched(TWO, verb="finetune")
    assert seen == ["lo", "eth7"]


def test_a_process_with_other_settings_is_named() -> None:
    check_same(Pair("as here"), "settings", lambda: "as here")
    with pytest.raises(ConfigError, match="process 2 of 2 has other settings than the first: let every machine"):
        check_same(Pair("other"), "settings", lambda: "as here")


@pytest.mark.parametrize(
    "change",
    [
        lambda sample, hashes, tensors: (replace(sample, label=1), hashes, tensors),
        lambda sample, hashes, tensors: (replace(sample, split="val"), hashes, tensors),
        lambda sample, hashes, tensors: (sample, {sample.id: "beef"}, tensors),
        lambda sample, hashes, tensors: (sample, hashes, {"a": np.ones(3, np.float32)}),
        lambda sample, hashes, tensors: (sample, hashes, None),
    ],
)
def test_whatever_a_training_reads_is_in_its_print(
    change: Callable[..., tuple[Sample, dict[str, str], object]],
) -> None:
    sample = Sample("a.png", Path("here"), 0, "p", split="train")
    hashes, tensors = {sample.id: "cafe"}, {"a": np.zeros(3, np.float32)}
    told = print_of([sample], hashes, tensors)
    assert told == print_of([replace(sample, folder=Path("there"))], hashes, dict(tensors))
    other, *more = change(sample, hashes, tensors)
    assert told != print_of([other], *more)  # type: ignore[arg-type]


def test_the_examples_for_clusters_are_what_the_tools_take() -> None:
    from torch.distributed.run import get_args_parser

    subprocess.run(["bash", "-n", DEPLOY / "slurm" / "finetune.sbatch"], check=True)
    _, job = yaml.safe_load_all((DEPLOY / "kubernetes" / "pretrain.yaml").read_text("utf-8"))
    pod = job["spec"]["template"]["spec"]
    script = pod["containers"][0]["args"][0]
    words = script.partition("exec torchrun")[2].replace("$JOB_COMPLETION_INDEX", "1").replace("\\\n", "").split()
    told = get_args_parser().parse_args(words)
    assert int(told.nnodes) == job["spec"]["completions"] == job["spec"]["parallelism"]
    assert int(told.nproc_per_node) == pod["containers"][0]["resources"]["limits"]["nvidia.com/gpu"]
    assert told.training_script_args == ["pretrain", "$words"]
    plain = script.partition('words="/config/pretrain.yaml ')[2].partition('"')[0].replace("$run", "run").split()
    config = load_config(DEPLOY.parent / "configs" / "pretrain" / "mae_fundus.yaml", plain, kind=PretrainConfig)
    assert config.batch_size * config.accumulation == 1792  # type: ignore[attr-defined]


def test_while_images_are_read_a_signal_ends_a_pretraining_at_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    class Reading(Exception):
        """The images are being read."""

    before = signal.getsignal(signal.SIGTERM)

    def read(*words: object) -> None:
        assert signal.getsignal(signal.SIGTERM) is before
        raise Reading

    monkeypatch.setattr("eyeground.cli.pretraining.open_unlabelled", read)
    config = PretrainConfig(data="images", method="mae", out=tmp_path / "run")  # type: ignore[arg-type]
    with pytest.raises(Reading):
        run_pretraining(config, name="run", resume=None, as_json=False)
