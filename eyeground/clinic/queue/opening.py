"""Which queue an address means."""

from typing import Final

from eyeground.clinic.db.database import Database
from eyeground.clinic.queue.transport import Transport
from eyeground.clinic.settings import Settings
from eyeground.pick import pick

_FILES: Final = {"sql": "sql", "amqp": "amqp", "amqps": "amqp", "memory": "memory"}


def open_transport(settings: Settings, database: Database) -> Transport:
    """Make the transport that the settings name; whoever lost one makes the next.

    Args:
        settings: Their ``queue_url``, ``queue_type`` and ``lease_s`` are used.
        database: What ``sql:`` keeps its messages in.

    Returns:
        The transport, not yet open.

    Example:
        >>> settings = Settings(secret="a phrase of your own", queue_url="memory:")
        >>> type(open_transport(settings, Database("sqlite://", key=b""))).__name__
        'MemoryTransport'

    References:
        docs/clinic.md.
    """
    url = settings.queue_url
    shelf = pick("clinic.queue", _FILES[url.partition(":")[0]])
    transport: Transport = shelf.connect(
        url, database=database, lease_s=settings.lease_s, queue_type=settings.queue_type
    )
    return transport
