"""The clinic set up: its folder, its secret, its tables, its first accounts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sqlalchemy import select

from eyeground.cli.clinic_opening import opened, reachable, use_config
from eyeground.cli.clinic_people import NewAccount, Shown, make
from eyeground.cli.console import tell
from eyeground.clinic.db.database import open_engine
from eyeground.clinic.db.migrate import check_schema, migrate
from eyeground.clinic.db.people import Account
from eyeground.clinic.db.tables import AuditHead
from eyeground.clinic.safety import listening_faults
from eyeground.clinic.secret_file import close_home, make_secret
from eyeground.clinic.service import Service
from eyeground.clinic.settings import Settings, SettingsRefused, read_settings

FIRST: Final = (NewAccount("admin", "admin"),)


@dataclass(frozen=True)
class SetUp:
    """What setting up came to.

    Args:
        settings: As they are read from now on.
        secret: File of a new secret; None where there was one.
        changes: Numbers of the changes made to the database.
        shown: Password or token of each account made.
        nobody: Whether there is no account at all.

    References:
        Our own.
    """

    settings: Settings
    secret: Path | None
    changes: tuple[str, ...]
    shown: Mapping[str, Shown]
    nobody: bool = False

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "home": str(self.settings.home.absolute()),
            "secret": str(self.secret.absolute()) if self.secret else None,
            "changes": list(self.changes),
            "passwords": {name: each.password for name, each in self.shown.items() if each.password},
            "tokens": {name: each.token for name, each in self.shown.items() if each.token},
        }


def set_up(
    config: Path | None, *, accounts: Sequence[NewAccount] = FIRST, host: str = "127.0.0.1", **given: Any
) -> SetUp:
    """Make what is missing, and leave the rest as it is: said twice, it does nothing more.

    Args:
        config: File of settings.
        accounts: Made where there is no account yet.
        host: Address that is to be listened on afterwards.
        given: Settings that go before environment and file.

    Returns:
        What was made; passwords and tokens are kept nowhere else.

    Raises:
        SettingsRefused: If the settings have faults, listening there is unsafe, or the secret of a database that is in
            use is gone.
        SchemaRefused: If a newer version has changed the database.
        DatabaseLost: If the database cannot be reached.
        StoreLost: If the store cannot be made.
        OSError: If the folder cannot be made.

    References:
        docs/clinic.md.
    """
    use_config(config)
    close_home(**given)
    secret = make_secret(**given)
    settings = read_settings(**given)
    check_listening(settings, host)
    settings.home.mkdir(parents=True, exist_ok=True, mode=0o700)
    settings.home.chmod(0o700)
    with reachable():
        engine = open_engine(settings.database_url)
        try:
            changes = migrate(engine)
            check_schema(engine)
        finally:
            engine.dispose()
    with opened(settings) as service:
        if secret and _in_use(service):
            secret.unlink()
            raise SettingsRefused(
                "the database was set up with another secret, which is gone: put it back, in "
                "EYEGROUND_CLINIC_SECRET or the file 'secret' of the home folder; without it nothing that was signed "
                "can be checked"
            )
        shown = _make(service, accounts)
        nobody = not _has_accounts(service)
    return SetUp(settings, secret, tuple(changes), shown, nobody)


def check_listening(settings: Settings, host: str) -> None:
    """Refuse to listen where it would be unsafe.

    Args:
        settings: As they were read.
        host: The address to listen on.

    Raises:
        SettingsRefused: If others could listen to passwords, or reach a demonstration; all faults are told.

    Example:
        >>> check_listening(Settings(secret="a phrase of your own"), "127.0.0.1")

    References:
        docs/clinic.md, "On a server".
    """
    faults = listening_faults(
        host, public_url=settings.public_url, demo=settings.demo, trusted_proxies=settings.trusted_proxies
    )
    if faults:
        raise SettingsRefused("\n  ".join(["the clinic's settings cannot be used:", *faults]))


def show_setup(found: SetUp) -> None:
    """Tell a person what was made.

    Args:
        found: As ``set_up`` gave it.

    References:
        Our own.
    """
    tell(f"home      {found.settings.home.absolute()}")
    if found.secret:
        tell(f"secret    made: {found.secret.absolute()}; keep a copy apart from the backups")
    tell(f"database  {', '.join(found.changes) or 'up to date'}")
    for name, shown in found.shown.items():
        tell(f"account   {name}: the {shown.kind} is shown this once: {shown.secret}")
    if found.nobody:
        tell("account   none yet: eyeground clinic init --admin, or eyeground clinic user add NAME --role admin")


def _in_use(service: Service) -> bool:
    """Whether anything has happened here before."""
    with service.database.read() as session:
        head = session.get(AuditHead, 1)
        return head is not None and head.seq > 0


def _has_accounts(service: Service) -> bool:
    """Whether anybody may do anything."""
    with service.database.read() as session:
        return session.scalars(select(Account.name).limit(1)).first() is not None


def _make(service: Service, accounts: Sequence[NewAccount]) -> dict[str, Shown]:
    """The first accounts, once."""
    with service.database.write() as work:
        if work.session.scalars(select(Account.name).limit(1)).first() is not None:
            return {}
        return {each.name: make(work, each) for each in accounts}
