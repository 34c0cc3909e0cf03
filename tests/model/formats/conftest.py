"""Files made by the frameworks themselves, in processes and environments of their own."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from eyeground.model.environment import python_of
from eyeground.model.optimization import Framework

Write = Callable[[Framework, str], Path]


@pytest.fixture(scope="session")
def written(tmp_path_factory: pytest.TempPathFactory) -> Write:
    """Run code in a framework's Python; give the folder it ran in."""

    def write(framework: Framework, code: str) -> Path:
        try:
            python = python_of(framework)
        except Exception as missing:  # noqa: BLE001  another class if pytest's doctests have loaded the module twice
            pytest.skip(f"needs {framework} to write its files: {missing}")
        folder = tmp_path_factory.mktemp(framework)
        done = subprocess.run([python, "-c", code], cwd=folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-2000:]
        return folder

    return write
