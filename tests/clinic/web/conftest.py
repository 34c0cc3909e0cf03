"""An office for each test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from .office import Office, open_office


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    """An office of the test's own."""
    found = open_office(tmp_path / "clinic", image_root=tmp_path)
    yield found
    found.service.close()
