"""The clinic set up: its folder, its secret, its tables, its first accounts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sqlalchemy import select

from eyeground.cli.clinic_opening import local_name, opened, reachable, use_config
from eyeground.cli.console import tell
from eyeground.clinic.accounts import add_account, revoke
from eyeground.clinic.db.database import open_engine
from eyeground.clinic.db.migrate import check_schema, migrate
from eyeground.clinic.db.tables import Account, AuditHead
from eyeground.clinic.service import Service
from eyeground.clinic.settings import Settings, SettingsRefused, make_secret, read_settings
from eyeground.clinic.states import Role


@dataclass(frozen=True)
class NewAccount:
    """An account that is to be made.

    Args:
        name: Stands in the audit trail.
        role: What it may do.
        title: Name that stands on reports.
        site: The one site it is for; empty = all.

    Example:
        >>> NewAccount("li", "doctor", "Dr Li").site
        ''

    References:
        Our own.
    """

    name: str
    role: Role
    title: str = ""
    site: str = ""


FIRST: Final = (NewAccount("admin", "admin"),)


@dataclass(frozen=True)
class SetUp:
    """What setting up came to.

    Args:
        settings: As they are read from now on.
        secret: File of a new secret; None where there was one.
        changes: Numbers of the changes made to the database.
        tokens: Token of each account made.
        nobody: Whether there is no account at all.

    References:
        Our own.
    """

    settings: Settings
    secret: Path | None
    changes: tuple[str, ...]
    tokens: Mapping[str, str]
    nobody: bool = False

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "home": str(self.settings.home.absolute()),
            "secret": str(self.secret.absolute()) if self.secret else None,
            "changes": list(self.changes),
            "tokens": dict(self.tokens),
        }


def set_up(config: Path | None, *, accounts: Sequence[NewAccount] = FIRST, **given: Any) -> SetUp:
    """Make what is missing, and leave the rest as it is: said twice, it does nothing more.

    Args:
        config: File of settings.
        accounts: Made where there is no account yet.
        given: Settings that go before environment and file.

    Returns:
        What was made; tokens are kept nowhere else.

    Raises:
        SettingsRefused: If the settings have faults, or the secret of a database that is in use is gone.
        SchemaRefused: If a newer version has changed the database.
        DatabaseLost: If the database cannot be reached.
        StoreLost: If the store cannot be made.
        OSError: If the folder cannot be made.

    References:
        docs/clinic.md.
    """
    use_config(config)
    secret = make_secret(**given)
    settings = read_settings(**given)
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
        tokens = _make(service, accounts)
        nobody = not _has_accounts(service)
    return SetUp(settings, secret, tuple(changes), tokens, nobody)


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
    for name, token in found.tokens.items():
        tell(f"account   {name}: its token is shown this once: {token}")
    if found.nobody:
        tell("account   none yet: eyeground clinic init --admin, or eyeground clinic account NAME --role admin")


def change_account(service: Service, account: NewAccount | str) -> str:
    """Make an account, or take one's rights away.

    Args:
        service: The service.
        account: What is to be made; a name = revoke that account.

    Returns:
        The new account's token; empty where one was revoked.

    Raises:
        AccountRefused: If the name is taken or unusable, or there is no such account.
        DatabaseLost: If the database does not answer.

    References:
        docs/clinic.md.
    """
    with service.database.write() as work:
        if isinstance(account, str):
            revoke(work, account, actor=local_name())
            return ""
        return add_account(
            work, account.name, role=account.role, title=account.title, site=account.site, actor=local_name()
        )


def _in_use(service: Service) -> bool:
    """Whether anything has happened here before."""
    with service.database.read() as session:
        head = session.get(AuditHead, 1)
        return head is not None and head.seq > 0


def _has_accounts(service: Service) -> bool:
    """Whether anybody may do anything."""
    with service.database.read() as session:
        return session.scalars(select(Account.name).limit(1)).first() is not None


def _make(service: Service, accounts: Sequence[NewAccount]) -> dict[str, str]:
    """The first accounts, once."""
    with service.database.write() as work:
        if work.session.scalars(select(Account.name).limit(1)).first() is not None:
            return {}
        return {
            each.name: add_account(
                work, each.name, role=each.role, title=each.title, site=each.site, actor=local_name()
            )
            for each in accounts
        }
