"""Who may do what: accounts, each with a role, a token for programs, and what tells its person at a browser."""

import re
import secrets
from typing import Final, get_args

from sqlalchemy import select
from sqlalchemy.orm import Session

from eyeground.clinic.blobs.store import digest_of
from eyeground.clinic.clock import now
from eyeground.clinic.db.database import Work
from eyeground.clinic.db.people import Account
from eyeground.clinic.sessions import close_all
from eyeground.clinic.states import Role

ROLES: Final[tuple[Role, ...]] = tuple(role for role in get_args(Role) if role != "service")
_NAME = re.compile(r"[a-z][a-z0-9_.-]{0,63}")
_TOKEN_BYTES = 32


class AccountRefused(ValueError):
    """An account that cannot be made, or that may not do this."""


def is_name(name: str) -> bool:
    """Tell whether an account could be called that.

    Args:
        name: What somebody typed.

    Returns:
        Whether it is short enough, and has only what names have.

    Example:
        >>> is_name("li.wei"), is_name("Li Wei")
        (True, False)

    References:
        Our own.
    """
    return _NAME.fullmatch(name) is not None


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
        Its token. It is kept nowhere: whoever loses it gets another by ``new_token``.

    Raises:
        AccountRefused: If the name is taken or unusable, or the role is none.

    References:
        Our own.
    """
    if not is_name(name) or name == "service":
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


def new_token(work: Work, name: str, *, actor: str) -> str:
    """Give an account another token; the one before is good no longer.

    Args:
        work: An open write transaction.
        name: The account.
        actor: Who does it.

    Returns:
        The token. It is kept nowhere.

    Raises:
        AccountRefused: If there is no such account.

    References:
        Our own.
    """
    account, token = named(work.session, name), secrets.token_urlsafe(_TOKEN_BYTES)
    account.token_sha256 = digest_of(token.encode())
    work.note(actor, "token_made", None, account=name)
    return token


def set_subject(work: Work, name: str, subject: str, *, actor: str) -> None:
    """Say who somebody is at the provider of single sign-on.

    Args:
        work: An open write transaction.
        name: The account.
        subject: ``"<issuer> <subject>"``; empty = nobody there.
        actor: Who does it.

    Raises:
        AccountRefused: If there is no such account, it is a site's, the subject is none, or it is somebody else's.

    References:
        OpenID Connect Core 1.0, section 5.7: issuer and subject together name a person, nothing else does.
    """
    account = named(work.session, name, lock=True)
    if account.role == "site":
        raise AccountRefused("a site's account is a program's: nobody signs in as one")
    issuer, _, person = subject.partition(" ")
    if subject and (not issuer.startswith(("https://", "http://")) or not person or person != person.strip()):
        raise AccountRefused("a subject is the provider's issuer, a space, and the person's subject there")
    taken = select(Account.name).where(Account.subject == subject, Account.name != name, Account.revoked_at == "")
    if subject and work.session.scalars(taken.limit(1)).first() is not None:
        raise AccountRefused("another account has that subject")
    if account.subject not in ("", subject):
        close_all(work, name)  # who signed in as the former one is signed out
    account.subject = subject
    work.note(actor, "subject_set", None, account=name)


def known_as(session: Session, subject: str) -> Account | None:
    """Find whom the provider of single sign-on means.

    Args:
        session: An open transaction.
        subject: ``"<issuer> <subject>"``.

    Returns:
        The account; None where it is nobody's, or no longer good.

    References:
        OpenID Connect Core 1.0, section 5.7.
    """
    found = session.scalars(select(Account).filter_by(subject=subject, revoked_at="").limit(2)).all()
    return found[0] if subject and len(found) == 1 else None


def revoke(work: Work, name: str, *, actor: str) -> None:
    """Take an account's rights away for good, and sign it out everywhere.

    Args:
        work: An open write transaction.
        name: The account.
        actor: Who does it.

    Raises:
        AccountRefused: If there is none.

    References:
        Our own.
    """
    account = named(work.session, name, lock=True)
    account.revoked_at = now()
    close_all(work, name)
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


def named(session: Session, name: str, *, lock: bool = False) -> Account:
    """Find an account by its name.

    Args:
        session: An open transaction.
        name: Its name.
        lock: Keep others from changing it, or signing in as it, until the transaction ends.

    Returns:
        The account.

    Raises:
        AccountRefused: If there is none, or it was revoked.

    References:
        Our own.
    """
    account = session.get(Account, name, with_for_update=lock or None, populate_existing=lock)
    if account is None or account.revoked_at:
        raise AccountRefused("there is no such account; make one with: eyeground clinic user add")
    return account
