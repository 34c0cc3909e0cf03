"""Accounts as an administrator has them: listed, made with a first password, revoked, signed out everywhere."""

from dataclasses import dataclass
from typing import Literal

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from eyeground.clinic.accounts import add_account, is_name, revoke
from eyeground.clinic.clock import now
from eyeground.clinic.db.database import Work
from eyeground.clinic.db.people import Account, BrowserSession
from eyeground.clinic.passwords import new_password, set_password
from eyeground.clinic.sessions import close_all
from eyeground.clinic.states import Role

How = Literal["password", "single_sign_on", "token"]
Unfit = Literal[
    "account_taken", "account_unusable", "no_password", "own_account", "last_admin", "not_found", "forbidden",
]  # fmt: skip


class StaffRefused(ValueError):
    """Something that an administrator may not do to an account.

    Args:
        reason: Why; a word that the web service has a sentence for.
    """

    def __init__(self, reason: Unfit) -> None:
        super().__init__(reason.replace("_", " "))
        self.reason: Unfit = reason


@dataclass(frozen=True)
class Member:
    """An account, without anything that it proves itself by.

    Args:
        name: Unique; stands in the audit trail.
        title: As it stands on reports.
        role: What it may do.
        site: The one site it is for; empty = all.
        how: By what it signs in.
        made_at: UTC, ISO.
        revoked_at: UTC, ISO; empty while it is good.
        sessions: In how many browsers it is signed in.
        seen_at: When one of them was last used, to the minute; UTC, ISO, empty while there is none.

    Example:
        >>> Member("li", "Dr Li", "doctor", "", "password", "2026-11-28T00:00:00.000000Z", "", 0, "").how
        'password'

    References:
        Our own.
    """

    name: str
    title: str
    role: str
    site: str
    how: How
    made_at: str
    revoked_at: str
    sessions: int
    seen_at: str


@dataclass(frozen=True)
class Admin:
    """The administrator who asks.

    Args:
        account: The account.
        site: The one site whose accounts it looks after; empty = all.

    Example:
        >>> Admin("root", "").site
        ''

    References:
        Our own.
    """

    account: str
    site: str


@dataclass(frozen=True)
class FirstSecret:
    """What a new account proves itself by; it is kept nowhere, and shown once.

    Args:
        kind: ``password`` for a person, ``token`` for a site's program.
        secret: It.

    Example:
        >>> FirstSecret("token", "abc").kind
        'token'

    References:
        Our own.
    """

    kind: Literal["password", "token"]
    secret: str


def members(session: Session, *, site: str = "") -> list[Member]:
    """List accounts: those that are good first, by name.

    Args:
        session: An open transaction.
        site: Only those that are for this site; empty = all.

    Returns:
        The accounts.

    References:
        Our own.
    """
    current = (
        select(BrowserSession.account, func.count().label("sessions"), func.max(BrowserSession.seen_at).label("seen"))
        .where(BrowserSession.ends_at >= now())
        .group_by(BrowserSession.account)
        .subquery()
    )
    wanted = (
        select(Account, current.c.sessions, current.c.seen)
        .outerjoin(current, current.c.account == Account.name)
        .order_by(Account.revoked_at != "", Account.name)
    )
    if site:
        wanted = wanted.where(Account.site == site)
    return [
        Member(
            each.name, each.title, each.role, each.site, _how(each), each.made_at, each.revoked_at, sessions or 0,
            seen or "",
        )
        for each, sessions, seen in session.execute(wanted)
    ]  # fmt: skip


def engage(work: Work, name: str, *, role: Role, title: str, site: str, admin: Admin) -> FirstSecret:
    """Make an account.

    Args:
        work: An open write transaction.
        name: Unique; lower-case letters, digits and ``. _ -``.
        role: What it may do.
        title: Name that stands on reports; empty = ``name``.
        site: The one site it is for; empty = all, or the administrator's.
        admin: Who makes it.

    Returns:
        A first password, which is to be changed before anything else; of a site's account a token.

    Raises:
        StaffRefused: If there is an account of that name, the name is none, or the administrator is another site's.
        AccountRefused: If the role is none.

    References:
        Our own.
    """
    if admin.site and site not in ("", admin.site):
        raise StaffRefused("forbidden")
    if not is_name(name) or name == "service":
        raise StaffRefused("account_unusable")
    if work.session.get(Account, name) is not None:
        raise StaffRefused("account_taken")
    token = add_account(work, name, role=role, title=title, site=site or admin.site, actor=admin.account)
    if role == "site":
        return FirstSecret("token", token)
    password = new_password()
    work.session.flush()
    set_password(work, name, password, actor=admin.account, first=True)
    return FirstSecret("password", password)


def disengage(work: Work, name: str, *, admin: Admin) -> None:
    """Take an account's rights away for good, and sign it out everywhere.

    Args:
        work: An open write transaction.
        name: The account.
        admin: Who does it.

    Raises:
        StaffRefused: If there is no such account, it is the administrator's own, or it is the last administrator
            who looks after what it looks after.

    References:
        Our own.
    """
    # Locked in one order, so that of two administrators who revoke each other one comes second, and is refused.
    wanted = select(Account).filter_by(role="admin", revoked_at="").order_by(Account.name).with_for_update()
    admins = {each.name: each for each in work.session.scalars(wanted)}
    account = _of_site(work.session, name, admin)
    if name == admin.account:
        raise StaffRefused("own_account")
    if admin.account not in admins:
        raise StaffRefused("forbidden")
    others = [each for each in admins.values() if each.name != name and each.site in ("", account.site)]
    if account.role == "admin" and not others:
        raise StaffRefused("last_admin")
    revoke(work, name, actor=admin.account)


def renew_password(work: Work, name: str, *, admin: Admin) -> str:
    """Give somebody who lost his password another one, and sign him out everywhere.

    Args:
        work: An open write transaction.
        name: The account.
        admin: Who does it.

    Returns:
        The password, which is to be changed before anything else; it is kept nowhere.

    Raises:
        StaffRefused: If there is no such account, it is the administrator's own, who changes his password himself, or
            it signs in without one.

    References:
        Our own.
    """
    account = _of_site(work.session, name, admin)
    if name == admin.account:
        raise StaffRefused("own_account")
    if _how(account) != "password":
        raise StaffRefused("no_password")
    password = new_password()
    set_password(work, name, password, actor=admin.account, first=True)
    return password


def sign_out_everywhere(work: Work, name: str, *, admin: Admin) -> None:
    """End all browser sessions of an account.

    Args:
        work: An open write transaction.
        name: The account.
        admin: Who does it.

    Raises:
        StaffRefused: If there is no such account.

    References:
        Our own.
    """
    _of_site(work.session, name, admin)
    close_all(work, name)
    work.note(admin.account, "signed_out_everywhere", None, account=name)


def _of_site(session: Session, name: str, admin: Admin) -> Account:
    """An account that is good, if the administrator looks after it; another site's looks as if it were not there."""
    account = session.get(Account, name)
    if account is None or account.revoked_at or (admin.site and account.site != admin.site):
        raise StaffRefused("not_found")
    return account


def _how(account: Account) -> How:
    """By what an account signs in."""
    return "password" if account.password_hash else "single_sign_on" if account.subject else "token"
