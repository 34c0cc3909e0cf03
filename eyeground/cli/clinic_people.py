"""Who may use the clinic: accounts made, listed, given passwords and tokens, and revoked."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import select

from eyeground.cli.clinic_opening import local_name
from eyeground.clinic.accounts import add_account, new_token, revoke, set_subject
from eyeground.clinic.db.database import Work
from eyeground.clinic.db.people import Account
from eyeground.clinic.passwords import new_password, set_password
from eyeground.clinic.service import Service
from eyeground.clinic.states import Role


@dataclass(frozen=True)
class NewAccount:
    """An account that is to be made.

    Args:
        name: Stands in the audit trail.
        role: What it may do.
        title: Name that stands on reports.
        site: The one site it is for; empty = all.
        subject: Who it is at the provider of single sign-on; empty = nobody there.
        password: What was chosen; empty = one is made. A site's account, which is a program's, has none.
        keeps: Whether a password that is made may stay: in a demonstration, which is nobody's.

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
    subject: str = ""
    password: str = field(default="", repr=False)
    keeps: bool = False


@dataclass(frozen=True)
class Shown:
    """What is shown this once.

    Args:
        password: A person's, where one was made; empty = none was.
        token: A program's, likewise.

    Example:
        >>> Shown(password="a").kind
        'password'

    References:
        Our own.
    """

    password: str = field(default="", repr=False)
    token: str = field(default="", repr=False)

    @property
    def kind(self) -> str:
        """A word for what it is; empty where it is nothing."""
        return "password" if self.password else "token" if self.token else ""

    @property
    def secret(self) -> str:
        """Whichever it is."""
        return self.password or self.token


def make(work: Work, account: NewAccount) -> Shown:
    """Make an account: a person's with a password, a program's with a token.

    A password that is made is changed by its owner before anything else: whoever read it off a screen knows it, too.

    Args:
        work: An open write transaction.
        account: What is to be made.

    Returns:
        What is shown this once.

    Raises:
        AccountRefused: If the name is taken or unusable, or password or subject cannot be used.

    References:
        docs/clinic.md.
    """
    actor = local_name()
    token = add_account(work, account.name, role=account.role, title=account.title, site=account.site, actor=actor)
    if account.subject:
        set_subject(work, account.name, account.subject, actor=actor)
    if account.role == "site" and not account.password:
        return Shown(token=token)
    if account.subject and not account.password:
        return Shown()
    password = account.password or new_password()
    work.session.flush()
    set_password(work, account.name, password, actor=actor, first=not (account.password or account.keeps))
    return Shown() if account.password else Shown(password=password)


def add_person(service: Service, account: NewAccount) -> Shown:
    """Make an account.

    Args:
        service: The service.
        account: What is to be made.

    Returns:
        What is shown this once.

    Raises:
        AccountRefused: If the name is taken or unusable, or password or subject cannot be used.
        DatabaseLost: If the database does not answer.

    References:
        docs/clinic.md.
    """
    with service.database.write() as work:
        return make(work, account)


def give_password(service: Service, name: str, password: str = "") -> Shown:
    """Give somebody another password; he is signed out everywhere.

    Args:
        service: The service.
        name: The account.
        password: What was chosen; empty = one is made.

    Returns:
        What is shown this once.

    Raises:
        AccountRefused: If there is no such account, or the password cannot be used.
        DatabaseLost: If the database does not answer.

    References:
        docs/clinic.md.
    """
    made = password or new_password()
    with service.database.write() as work:
        set_password(work, name, made, actor=local_name(), first=not password)
    return Shown() if password else Shown(password=made)


def give_token(service: Service, name: str) -> Shown:
    """Give an account another token; the one before is good no longer.

    Args:
        service: The service.
        name: The account.

    Returns:
        What is shown this once.

    Raises:
        AccountRefused: If there is no such account.
        DatabaseLost: If the database does not answer.

    References:
        docs/clinic.md.
    """
    with service.database.write() as work:
        return Shown(token=new_token(work, name, actor=local_name()))


def give_subject(service: Service, name: str, subject: str) -> None:
    """Say who somebody is at the provider of single sign-on.

    Args:
        service: The service.
        name: The account.
        subject: ``"<issuer> <subject>"``.

    Raises:
        AccountRefused: If there is no such account, or the subject cannot be used.
        DatabaseLost: If the database does not answer.

    References:
        docs/clinic.md.
    """
    with service.database.write() as work:
        set_subject(work, name, subject, actor=local_name())


def take_rights(service: Service, name: str) -> None:
    """Revoke an account for good.

    Args:
        service: The service.
        name: The account.

    Raises:
        AccountRefused: If there is no such account.
        DatabaseLost: If the database does not answer.

    References:
        docs/clinic.md.
    """
    with service.database.write() as work:
        revoke(work, name, actor=local_name())


def list_people(service: Service) -> list[Mapping[str, Any]]:
    """List accounts, by name.

    Args:
        service: The service.

    Returns:
        Plain values; nothing that could be used to sign in.

    Raises:
        DatabaseLost: If the database does not answer.

    References:
        docs/clinic.md.
    """
    with service.database.read() as session:
        rows = session.scalars(select(Account).order_by(Account.name)).all()
    return [
        {
            "account": row.name, "role": row.role, "title": row.title, "site": row.site,
            "has_password": bool(row.password_hash), "subject": row.subject, "made_at": row.made_at,
            "revoked_at": row.revoked_at,
        }
        for row in rows
    ]  # fmt: skip
