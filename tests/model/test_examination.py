"""Every fault of the earlier ports, planted, is caught by its name; a sound engine has none."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from eyeground.model.environment import EngineMissing, command_of

from .planted_faults import NAMES, run, weights


def found_in(framework: str, folder: Path) -> dict[str, list[str]]:
    """Plant the faults where the framework is."""
    if framework == "torch":
        return run("torch", weights())
    try:
        command = command_of(framework, "planted_faults", framework)  # type: ignore[arg-type]
    except EngineMissing as missing:
        pytest.skip(str(missing))
    path = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    told = subprocess.run(command, cwd=folder, env=path, capture_output=True, text=True, check=False, timeout=500)
    assert told.returncode == 0, told.stderr[-2000:]
    return json.loads(told.stdout.splitlines()[-1])


@pytest.mark.parametrize("framework", ["torch", "paddle", pytest.param("mindspore", marks=pytest.mark.slow)])
def test_planted_faults_are_caught_by_name(framework: str, tmp_path: Path) -> None:
    found = found_in(framework, tmp_path)
    assert found["none"] == []
    missed = {fault: names for fault, names in found.items() if not set(NAMES[fault]) <= set(names)}
    assert not missed
    # No fault is taken for another one; that weights are not the given ones is said beside it.
    others = {
        fault: sorted(set(names) - set(NAMES[fault]) - {"not_loaded"})
        for fault, names in found.items()
        if set(names) - set(NAMES[fault]) - {"not_loaded"}
    }
    assert not others
