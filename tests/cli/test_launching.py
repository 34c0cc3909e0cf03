"""Who starts processes, and what is said of the one that ended."""

import signal
from pathlib import Path

import pytest

from eyeground.cli import launching
from eyeground.cli.config import ConfigError, RunConfig
from eyeground.cli.launching import check_alone, joined, kept_words, launched, note_folder
from eyeground.cli.recipe import too_few_images
from eyeground.model.processes import ALONE, Alone, ProcessLost, Started, started
from eyeground.train.checkpoint import Checkpoints

TWO = RunConfig(data="images", devices=2)  # type: ignore[arg-type]


class Many(Alone):
    """One of four that never talk."""

    world = 4


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
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "8")
    monkeypatch.setenv("SLURM_STEP_NUM_NODES", "2")
    assert started() == Started("slurm", rank=5, local_rank=1, world=8, nodes=2)
    words = {"TORCHELASTIC_RUN_ID": "x", "RANK": "3", "LOCAL_RANK": "1", "WORLD_SIZE": "4", "GROUP_WORLD_SIZE": "2"}
    for name, value in words.items():
        monkeypatch.setenv(name, value)
    assert started() == Started("torchrun", rank=3, local_rank=1, world=4, nodes=2)
