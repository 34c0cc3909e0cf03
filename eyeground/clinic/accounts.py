"""Who may do what: accounts, each with a role and a token that is shown once."""

import re
import secrets
from typing import Final, get_args

from sqlalchemy import select
from sqlalchemy.orm import Session

from eyeground.clinic.blobs.store import digest_of
from eyeground.clinic.clock import now
from eyeground.clinic.db.database import Work
from eyeground.clinic.db.tables import Account
from eyeground.clinic.states import Role

ROLES: Final[tuple[Role, ...]] = tuple(role for role in get_args(Role) if role != "service")
_NAME = re.compile(r"[a-z][a-z0-9_.-]{0,63}")
_TOKEN_BYTES = 32


class AccountRefused(ValueError):
    """An account that cannot be made, or that may not do this."""


def add_account(work: Work, name: str, *, role: Role, title: str = "", site: str = "", actor: str) -> str:
    """Make an account.

    Args:
        work: An open write transaction.
        name: Unique; lower-case letters, digits and ``. _ -``; stands in the audit trail.
        role: What it may do.
        title: Name that stands on reports.
        site: The one site it is for; empty = all.
        actor: Who makes it.

    Returns:
        Its token. It is kept nowhere: whoever loses it gets another account.

    Raises:
        AccountRefused: If the name is taken or unusable, or the role is none.

    References:
        Our own.
    """
    if not _NAME.fullmatch(name) or name == "service":
        raise AccountRefused("an account's name begins with a letter and has lower-case letters, digits, . _ - only")
    if role not in ROLES:
        raise AccountRefused(f"a role is one of {', '.join(ROLES)}")
    if work.session.get(Account, name) is not None:
        raise AccountRefused("there is an account of that name")
    token = secrets.token_urlsafe(_TOKEN_BYTES)
    work.session.add(
        Account(
            name=name, title=title or name, role=role, site=site, token_sha256=digest_of(token.encode()), made_at=now()
        )
    )
    work.note(actor, "account_made", None, account=name, role=role, site=site)
    return token


def revoke(work: Work, name: str, *, actor: str) -> None:
    """Take an account's rights away for good.

    Args:
        work: An open write transaction.
        name: The account.
        actor: Who does it.

    Raises:
        AccountRefused: If there is none.

    References:
        Our own.
    """
    account = named(work.session, name)
    account.revoked_at = now()
    work.note(actor, "account_revoked", None, account=name)


def holder(session: Session, token: str) -> Account | None:
    """Find whose token it is.

    Args:
        session: An open transaction.
        token: As ``add_account`` gave it.

    Returns:
        The account; None where the token is nobody's, or no longer good.

    References:
        Our own.
    """
    wanted = select(Account).filter_by(token_sha256=digest_of(token.encode()), revoked_at="")
    return session.execute(wanted).scalar_one_or_none()


def named(session: Session, name: str) -> Account:
    """Find an account by its name.

    Args:
        session: An open transaction.
        name: Its name.

    Returns:
        The account.

    Raises:
        AccountRefused: If there is none, or it was revoked.

    References:
        Our own.
    """
    account = session.get(Account, name)
    if account is None or account.revoked_at:
        raise AccountRefused("there is no such account; make one with: eyeground clinic account")
    return account
