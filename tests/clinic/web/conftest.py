"""An office for each test, and one with photographs that can be seen."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from .office import Office, open_office
from .open_page import Seen, open_seen


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    """An office of the test's own."""
    found = open_office(tmp_path / "clinic", image_root=tmp_path)
    yield found
    found.service.close()


@pytest.fixture
def seen(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Seen]:
    """Such an office whose photographs can be seen; a test's parameter gives settings."""
    found = open_seen(tmp_path / "clinic", **getattr(request, "param", {}))
    yield found
    found.service.close()
