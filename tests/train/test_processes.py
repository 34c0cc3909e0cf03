"""Several processes learn what one learns, to rounding; and the faults that would part them are seen."""

import json
import socket
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from eyeground.model.processes import ALONE, ProcessLost
from eyeground.model.torch.agent import run_processes
from eyeground.model.torch.processes import Together, meet
from tests.train.together import CASES, IDLE, PARTED, Arrays

SCRIPT = Path(__file__).with_name("together.py")
FAULTY = ("classes", "unequal", "heads", "simclr")


def started(folder: Path, count: int, plan: list[tuple[str, str, str]]) -> None:
    """Carry out cases in several processes, through the real launcher."""
    variables = {"PLAN": json.dumps(plan), "OMP_NUM_THREADS": "1", "PYTHONPATH": str(SCRIPT.parents[2])}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in variables.items():
            patch.setenv(name, value)
        failed = run_processes([sys.executable, str(SCRIPT), str(folder)], count=count, scratch=folder)
    assert failed == {}


def read(folder: Path, case: str, *, strategy: str = "ddp", fault: str = "") -> Arrays:
    return dict(np.load(folder / f"{'-'.join(filter(None, (case, strategy, fault)))}.npz"))


@pytest.fixture(scope="module")
def alone() -> dict[str, Arrays]:
    """What one process makes of every case."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    found = {name: case(ALONE) for name, case in CASES.items()}
    torch.set_num_threads(before)
    return found


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two make of them, and of some with a fault planted."""
    folder = tmp_path_factory.mktemp("pair")
    plan = [(name, "ddp", "") for name in CASES] + [(name, "ddp", "own rows") for name in FAULTY]
    plan += [(name, "fsdp", "") for name in ("heads", "mae", "taken_up")]
    started(folder, 2, plan)
    return folder


def check_alike(found: Arrays, wanted: Arrays) -> None:
    """Hold what several processes learned against what one did."""
    assert found.keys() == wanted.keys()
    shifted = "weights/backbone.fc_norm.bias" in wanted  # idle, and the features with it
    for name, array in ((name, array) for name, array in wanted.items() if array.size):
        apart = np.abs(found[name].astype(float) - array)
        if name == "loss":
            assert apart.max() <= 1e-5, f"loss differs by {apart.max()}"
        elif name.startswith("weights/"):
            # In all; a single weight whose gradient is near 0 may go a part of AdamW's step astray.
            assert name.endswith(IDLE) or root_mean_square(apart) <= 1e-5, f"{name} differs by {apart.max()}"
        else:
            within = apart.max() <= 1e-3 * max(1.0, np.abs(array).max())
            assert within or (shifted and name == "features"), f"{name} differs by {apart.max()}"


def root_mean_square(values: np.ndarray) -> float:
    return float(np.sqrt(np.square(values).mean()))


@pytest.mark.parametrize("case", sorted(CASES.keys() - {"norms", "validated"}))
def test_two_processes_learn_what_one_learns(case: str, alone: dict[str, Arrays], pair: Path) -> None:
    check_alike(read(pair, case), alone[case])


@pytest.mark.parametrize("case", ["heads", "mae", "taken_up"])
def test_two_that_part_the_weights_learn_it_too(case: str, alone: dict[str, Arrays], pair: Path) -> None:
    check_alike(read(pair, case, strategy="fsdp"), alone[case])


def test_batch_norm_sees_the_whole_batch(alone: dict[str, Arrays], pair: Path) -> None:
    found = read(pair, "norms")
    assert found.keys() == alone["norms"].keys()
    for name, array in alone["norms"].items():
        np.testing.assert_allclose(found[name], array, rtol=1e-9, atol=1e-11, err_msg=name)


def test_a_set_that_nothing_divides_is_judged_alike(alone: dict[str, Arrays], pair: Path) -> None:
    found, wanted = read(pair, "validated"), alone["validated"]
    assert found["scores"].shape == (7, 3)
    for name in ("scores", "features", "truth", "loss", "spread"):
        np.testing.assert_allclose(found[name], wanted[name], rtol=1e-5, atol=1e-6, err_msg=name)
    # Rows in another order would have been seen.
    assert np.abs(found["features"] - wanted["features"][::-1]).max() > 0.1


def test_no_two_processes_draw_the_same(alone: dict[str, Arrays], pair: Path) -> None:
    seeds = read(pair, "validated")["seeds"]
    assert len(set(seeds)) == 2
    assert seeds[0] == alone["validated"]["seeds"][0] == 5


@pytest.mark.parametrize(("case", "caught"), [("unequal", True), ("heads", True), ("simclr", True), ("classes", False)])
def test_a_mean_over_own_rows_is_caught(case: str, caught: bool, alone: dict[str, Arrays], pair: Path) -> None:
    # With as many plain labels in each process the mean of means is the mean: that control stays right.
    found = read(pair, case, fault="own rows")
    after = "weights/backbone.blocks.0.mlp.fc1.weight" if case == "simclr" else "weights/blocks.0.mlp.fc1.weight"
    apart = root_mean_square(found[after] - alone[case][after])
    assert (apart > 1e-4) == caught, apart


def test_a_machine_whose_name_leads_nowhere_has_several(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(socket, "getfqdn", lambda *name: "nowhere.invalid")
    assert run_processes(["sh", "-c", '[ "$MASTER_ADDR" = localhost ]'], count=2, scratch=tmp_path) == {}


def test_a_place_of_meeting_that_is_taken_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        variables = {"SLURM_STEP_NUM_TASKS": "2", "SLURM_STEP_NUM_NODES": "1", "SLURM_NTASKS": "2"}
        variables |= {"SLURM_NTASKS_PER_NODE": "2", "SLURM_PROCID": "0", "SLURM_LOCALID": "0", "SLURM_NODEID": "0"}
        variables |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(taken.getsockname()[1])}
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        with pytest.raises(
            ProcessLost, match=f"did not come together at 127.0.0.1:{variables['MASTER_PORT']} .*MASTER_PORT"
        ):
            meet(device="cpu")


def test_one_lost_while_the_others_build_is_missed_in_words() -> None:
    group = object.__new__(Together)
    group.world = 2

    def build() -> None:
        raise RuntimeError("[pair.cc:534] Connection closed by peer [127.0.0.1]:7")

    with pytest.raises(ProcessLost, match="another of the 2 processes"):
        group.together(build)


@pytest.mark.slow
def test_parted_weights_learn_what_one_process_learns(alone: dict[str, Arrays], tmp_path: Path) -> None:
    started(tmp_path, 2, [(name, "fsdp", "") for name in PARTED])
    for case in PARTED:
        if case != "validated":
            check_alike(read(tmp_path, case, strategy="fsdp"), alone[case])
    found = read(tmp_path, "validated", strategy="fsdp")["features"]
    np.testing.assert_allclose(found, alone["validated"]["features"], rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_three_processes_share_unevenly(alone: dict[str, Arrays], tmp_path: Path) -> None:
    names = ("classes", "heads", "mae", "simclr_chunks", "norms", "validated")
    started(tmp_path, 3, [(name, "ddp", "") for name in names])
    for case in ("classes", "heads", "mae", "simclr_chunks"):
        check_alike(read(tmp_path, case), alone[case])
    np.testing.assert_allclose(read(tmp_path, "norms")["made"], alone["norms"]["made"], rtol=1e-9, atol=1e-11)
    found = read(tmp_path, "validated")["features"]
    np.testing.assert_allclose(found, alone["validated"]["features"], rtol=1e-5, atol=1e-6)
