"""Where the real images and the reference numbers are; tests that need them skip, saying so, without them."""

import os
from pathlib import Path

import pytest


def _folder(variable: str, what: str) -> Path:
    """Give the folder an environment variable names, or skip."""
    value = os.environ.get(variable)
    if not value or not Path(value).is_dir():
        pytest.skip(f"needs {what}: set {variable} to their folder")
    return Path(value)


@pytest.fixture(scope="session")
def realdata() -> Path:
    return _folder("EYEGROUND_REALDATA", "the real retinal images")


@pytest.fixture(scope="session")
def parity() -> Path:
    return _folder("EYEGROUND_PARITY", "the reference implementations' numbers")
