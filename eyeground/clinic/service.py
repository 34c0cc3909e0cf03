"""The service put together from its settings: what web, worker and commands share."""

import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass

from eyeground.clinic.blobs.opening import open_store
from eyeground.clinic.blobs.store import Store
from eyeground.clinic.contracts import contracts
from eyeground.clinic.db.audit import audit_key
from eyeground.clinic.db.database import Database
from eyeground.clinic.db.migrate import check_schema
from eyeground.clinic.dead_letters import DeadLetters
from eyeground.clinic.grader import Grader
from eyeground.clinic.intake import Intake
from eyeground.clinic.jobs import Jobs
from eyeground.clinic.outbox import Outbox
from eyeground.clinic.queue.opening import open_transport
from eyeground.clinic.queue.transport import Transport
from eyeground.clinic.reading import Reader
from eyeground.clinic.reviews import Reviews
from eyeground.clinic.settings import Settings
from eyeground.clinic.showing import Showing
from eyeground.clinic.urgency import Rules, read_rules
from eyeground.clinic.worker import Worker


@dataclass(frozen=True)
class Service:
    """Everything of the service that does not need a model.

    Args:
        settings: As they were read.
        database: Where cases live.
        store: Where images lie.
        intake: Takes messages in.
        reviews: Writes opinions.
        letters: Dead letters.
        rules: What makes a case urgent.
        showing: Images as people see them.

    References:
        docs/clinic.md.
    """

    settings: Settings
    database: Database
    store: Store
    intake: Intake
    reviews: Reviews
    letters: DeadLetters
    rules: Rules
    showing: Showing

    def connect(self) -> Transport:
        """Make a connection to the queue, not opened yet.

        Returns:
            The connection.
        """
        return open_transport(self.settings, self.database)

    def worker(self, graders: Sequence[Grader]) -> Worker:
        """Make a worker of this process.

        Args:
            graders: The models that are installed.

        Returns:
            A worker, not running yet.
        """
        settings = self.settings
        reader = Reader(self.database, self.store, graders=graders, rules=self.rules)
        return Worker(
            intake=self.intake,
            jobs=Jobs(self.database, reader, lease_s=settings.lease_s, tries=settings.tries),
            reader=reader,
            outbox=Outbox(self.database, site=settings.site, lease_s=settings.lease_s),
            connect=self.connect,
            receives=sorted(contracts()),
            sends=sorted(contract.SENDS for contract in contracts().values()),
            site=settings.site,
            lease_s=settings.lease_s,
        )

    def close(self) -> None:
        """Close the database."""
        self.database.close()


def open_service(settings: Settings) -> Service:
    """Open database and store.

    Args:
        settings: As ``read_settings`` gave them.

    Returns:
        The service.

    Raises:
        SchemaRefused: If the database was never set up, or another version of the program has changed it.
        RulesRefused: If the rule set cannot be used.
        StoreLost: If the store cannot be opened.
        OperationalError: If the database cannot be reached.

    References:
        Our own.
    """
    secret = settings.secret.get_secret_value()
    database = Database(settings.database_url, key=audit_key(secret))
    check_schema(database.engine)
    store = open_store(settings.blob_url, endpoint=settings.s3_endpoint)
    intake = Intake(
        database,
        store,
        image_root=settings.image_root,
        max_message_bytes=settings.max_message_bytes,
        max_image_bytes=settings.max_image_bytes,
        max_images=settings.max_images,
        tries=settings.tries,
        release=settings.release,
    )
    rules = read_rules(settings.rules)
    reviews = Reviews(database, key=signing_key(secret), rules=rules, first_reads=settings.blind_first_read)
    letters = DeadLetters(database, intake, reviews)
    return Service(settings, database, store, intake, reviews, letters, rules, Showing(store))


def signing_key(secret: str) -> bytes:
    """Derive the key that seals signed reports.

    Args:
        secret: ``Settings.secret``.

    Returns:
        32 bytes.

    Example:
        >>> len(signing_key("a phrase of your own"))
        32

    References:
        RFC 2104.
    """
    return hmac.new(secret.encode(), b"eyeground signed reports", hashlib.sha256).digest()
