"""Which queue an address means."""

from pathlib import Path

import pytest

from eyeground.clinic.db.database import Database
from eyeground.clinic.queue.amqp import AmqpTransport
from eyeground.clinic.queue.memory import MemoryTransport
from eyeground.clinic.queue.opening import open_transport
from eyeground.clinic.queue.sql import SqlTransport
from eyeground.clinic.settings import Settings

SECRET = "a phrase of your own"  # noqa: S105


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("sql:", SqlTransport),
        ("amqp://guest:guest@127.0.0.1/", AmqpTransport),
        ("amqps://guest:guest@127.0.0.1/", AmqpTransport),
        ("memory:a", MemoryTransport),
    ],
)
def test_an_address_opens_its_queue(url: str, kind: type, tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/clinic.db", key=b"")
    settings = Settings(secret=SECRET, queue_url=url, queue_type="quorum", lease_s=7)
    transport = open_transport(settings, database)
    assert type(transport) is kind
    if isinstance(transport, AmqpTransport):
        assert transport._queue_type == "quorum"
    if isinstance(transport, SqlTransport):
        assert (transport.database, transport._leases.lease_s) == (database, 7)
    database.close()


def test_the_same_name_is_the_same_queue_in_memory(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/clinic.db", key=b"")
    brokers = [
        open_transport(Settings(secret=SECRET, queue_url=url), database)._broker  # type: ignore[attr-defined]
        for url in ("memory:test-a", "memory:test-a", "memory:test-b")
    ]
    assert brokers[0] is brokers[1]
    assert brokers[0] is not brokers[2]
    database.close()
