"""The clinic's settings and service, opened for one command, and who acts through it."""

import getpass
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy.exc import DBAPIError

from eyeground.clinic.accounts import named
from eyeground.clinic.db.database import DatabaseLost, lost
from eyeground.clinic.reviews import Doctor
from eyeground.clinic.service import Service, open_service
from eyeground.clinic.settings import PREFIX, Settings, read_settings


def use_config(config: Path | None) -> None:
    """Let this process, and those it starts, read a file of settings.

    Args:
        config: The file; None = what the environment names, if it names one.

    Example:
        >>> use_config(None)

    References:
        docs/clinic.md for the settings.
    """
    if config is not None:
        os.environ[f"{PREFIX}CONFIG"] = str(config.absolute())


def settings_of(config: Path | None, **given: Any) -> Settings:
    """Read the settings.

    Args:
        config: File of settings.
        given: What goes before environment and file.

    Returns:
        The settings.

    Raises:
        SettingsRefused: If there are faults; all are told.

    Example:
        >>> settings_of(None, secret="a phrase of your own").site
        'default'

    References:
        docs/clinic.md for the settings.
    """
    use_config(config)
    return read_settings(**given)


@contextmanager
def opened(settings: Settings) -> Iterator[Service]:
    """Open the service for one command.

    Args:
        settings: As ``settings_of`` gave them.

    Yields:
        The service, closed at the end.

    Raises:
        DatabaseLost: If the database cannot be reached.
        SchemaRefused: If the database was never set up, or belongs to another version.
        RulesRefused: If the rule set cannot be used.
        StoreLost: If the store cannot be opened.

    References:
        Our own.
    """
    with reachable():
        service = open_service(settings)
    try:
        yield service
    finally:
        service.close()


@contextmanager
def reachable() -> Iterator[None]:
    """Say in one sentence that a database cannot be reached.

    Yields:
        Nothing.

    Raises:
        DatabaseLost: If it cannot; the driver's own words stand behind it.

    Example:
        >>> with reachable():
        ...     pass

    References:
        Our own.
    """
    try:
        yield
    except DBAPIError as error:
        if lost(error):
            raise DatabaseLost(f"the database cannot be reached; check DATABASE_URL: {error.orig}") from error
        raise


def acting(service: Service, account: str) -> Doctor:
    """Find who acts. Whoever can read the service's secret may name any account; what its role allows is still checked.

    Args:
        service: The service.
        account: Name of an account; empty = whoever is logged in on this machine, as an operator.

    Returns:
        Who stands in the audit trail.

    Raises:
        AccountRefused: If there is no such account, or it was revoked.
        DatabaseLost: If the database does not answer.

    References:
        docs/clinic.md.
    """
    if not account:
        return Doctor(local_name(), "", "operator")
    with service.database.read() as session:
        found = named(session, account)
    return Doctor(found.name, found.title, found.role)  # type: ignore[arg-type]


def local_name() -> str:
    """Name whoever types, for the audit trail; no account can have such a name.

    Returns:
        ``local:`` and the name of this machine's user.

    Example:
        >>> local_name().partition(":")[0]
        'local'

    References:
        Our own.
    """
    try:
        return f"local:{getpass.getuser()}"
    except (KeyError, OSError):  # a container's user may have no name
        return f"local:{os.getuid()}"
