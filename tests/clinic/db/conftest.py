"""A fresh database of each kind."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from eyeground.clinic.db.database import Database
from eyeground.clinic.db.migrate import migrate

from ..servers import postgres_url

KEY = b"the key of a test's trail"


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    with ExitStack() as stack:
        url = f"sqlite:///{tmp_path}/clinic.db"
        if request.param == "postgresql":
            url = stack.enter_context(postgres_url())
        made = Database(url, key=KEY)
        stack.callback(made.close)
        migrate(made.engine)
        yield made
