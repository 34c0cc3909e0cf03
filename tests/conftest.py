"""Where the real images and the reference numbers are, without which their tests skip, saying so; and a browser."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from .browser import Browser


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


@pytest.fixture(scope="session")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """One browser for all tests of this process."""
    found = Browser(tmp_path_factory.mktemp("profile"))
    yield found
    found.close()


@pytest.fixture
def browser(chromium: Browser) -> Browser:
    """An empty page of a test's own: nothing of the test before is left, be it a question that nobody answered."""
    chromium.renew()
    return chromium
