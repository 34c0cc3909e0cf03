"""Passwords: chosen well enough, kept as Argon2id hashes, checked at the same cost whoever is named."""

import secrets
import threading
import tomllib
import unicodedata
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from eyeground.clinic.accounts import AccountRefused, is_name, named
from eyeground.clinic.db.database import Database, Work
from eyeground.clinic.db.people import Account
from eyeground.clinic.sessions import close_all

if TYPE_CHECKING:
    from argon2 import PasswordHasher

PasswordFault = Literal["too_short", "too_long", "few_signs", "holds_name", "common"]
LEAST: Final = 12  # characters
MOST: Final = 256
_FEWEST_SIGNS: Final = 5  # "123412341234" and "aaaaaaaaaaab" are no passwords
_SHORTEST_NAME: Final = 3  # a shorter one stands in many a good password by chance
_SAID: Final[dict[PasswordFault, str]] = {
    "too_short": f"has fewer than {LEAST} characters",
    "too_long": f"has more than {MOST} characters",
    "few_signs": f"has fewer than {_FEWEST_SIGNS} different characters",
    "holds_name": "holds the account's name",
    "common": "is one of those that are tried first",
}
# Without what is read for another: 0 O, 1 I L.
_ALPHABET: Final = "23456789ABCDEFGHJKMNPQRSTUVWXYZ"
# Each check holds 64 MiB while it lasts.
_AT_ONCE: Final = threading.BoundedSemaphore(2)


class PasswordRefused(AccountRefused):
    """A password that may not be used; the message, and ``faults``, say everything that is wrong.

    Args:
        faults: What is wrong.

    Example:
        >>> str(PasswordRefused(("too_short", "holds_name")))
        "the password has fewer than 12 characters; holds the account's name"

    References:
        NIST SP 800-63B, section 3.1.1.2.
    """

    def __init__(self, faults: tuple[PasswordFault, ...]) -> None:
        super().__init__("the password " + "; ".join(_SAID[each] for each in faults))
        self.faults = faults


def new_password() -> str:
    """Make a password that nobody guesses and everybody can type.

    Returns:
        Four groups of four letters and digits: 79 bit.

    Example:
        >>> [len(each) for each in new_password().split("-")]
        [4, 4, 4, 4]

    References:
        Our own.
    """
    return "-".join("".join(secrets.choice(_ALPHABET) for _ in range(4)) for _ in range(4))


def faults_of(password: str, *, name: str) -> tuple[PasswordFault, ...]:
    """Say what is wrong with a password.

    Args:
        password: What somebody chose.
        name: The account's name.

    Returns:
        Everything; nothing for a good one.

    Example:
        >>> faults_of("li-li-li", name="li"), faults_of("Password 2026!", name="chen")
        (('too_short', 'few_signs'), ('common',))
        >>> faults_of("seven geese walk home", name="chen")
        ()

    References:
        NIST SP 800-63B, section 3.1.1.2; ``passwords.toml``.
    """
    plain = unicodedata.normalize("NFKC", password).casefold()
    letters = "".join(sign for sign in plain if sign.isalpha())
    found: dict[PasswordFault, bool] = {
        "too_short": len(plain) < LEAST,
        "too_long": len(password) > MOST,
        "few_signs": len(set(plain)) < _FEWEST_SIGNS,
        "holds_name": len(name) >= _SHORTEST_NAME and name.casefold() in plain,
        "common": letters in _worst() or plain.isdecimal(),  # a telephone number, a date
    }
    return tuple(fault for fault, holds in found.items() if holds)


def set_password(work: Work, name: str, password: str, *, actor: str, first: bool = False) -> None:
    """Give an account a password; whoever is signed in as that account is signed out.

    Args:
        work: An open write transaction.
        name: The account.
        password: The new one.
        actor: Who does it.
        first: Whether it was made for somebody, who has to change it before anything else.

    Raises:
        AccountRefused: If there is no such account, or it is a site's, which is a program's.
        PasswordRefused: If the password may not be used; everything that is wrong is said.

    References:
        RFC 9106; OWASP Password Storage Cheat Sheet.
    """
    account = named(work.session, name, lock=True)
    if account.role == "site":
        raise AccountRefused("a site's account is a program's: it has a token, and no password")
    if faults := faults_of(password, name=name):
        raise PasswordRefused(faults)
    account.password_hash, account.must_change = _hasher().hash(_typed(password)), first
    close_all(work, name)
    work.note(actor, "password_set", None, account=name)


def check_password(database: Database, name: str, password: str) -> Account | None:
    """Tell whose name and password they are.

    No transaction is open while it computes, and no more than two checks are under way in a process: each takes 64 MiB.

    Args:
        database: Where accounts are.
        name: What was given as a name.
        password: What was given as a password.

    Returns:
        The account with the hash that was checked, for ``sessions.open_proved``; None where there is none, it was
        revoked, it has no password or another one, all at the same cost.

    Raises:
        DatabaseLost: If the database does not answer.

    References:
        RFC 9106; OWASP Authentication Cheat Sheet, "Authentication responses".
    """
    from argon2.exceptions import InvalidHashError, VerificationError

    with database.read() as session:
        account = session.get(Account, name) if is_name(name) else None
    usable = account is not None and not account.revoked_at and bool(account.password_hash)
    kept = account.password_hash if account is not None and usable else _nobody()
    typed = _typed(password[:MOST])
    with _AT_ONCE:
        try:
            _hasher().verify(kept, typed)
        except (VerificationError, InvalidHashError):
            return None
        if account is None or not usable:
            return None
        renewed = _hasher().hash(typed) if _hasher().check_needs_rehash(kept) else ""
    if renewed:
        with database.write() as work:
            stored = work.session.get(Account, name, with_for_update=True)
            if stored is not None and stored.password_hash == kept:
                stored.password_hash = account.password_hash = renewed
    return account


def _typed(password: str) -> bytes:
    """The same bytes, however a keyboard composed the word."""
    return unicodedata.normalize("NFKC", password).encode("utf-8", "surrogatepass")


@cache
def _hasher() -> "PasswordHasher":
    """Argon2id as RFC 9106 wants it where memory is short: 64 MiB, 3 passes, 4 lanes."""
    from argon2 import PasswordHasher
    from argon2.profiles import RFC_9106_LOW_MEMORY

    return PasswordHasher.from_parameters(RFC_9106_LOW_MEMORY)


@cache
def _nobody() -> str:
    """The hash of a password that nobody has."""
    return _hasher().hash(secrets.token_hex(32))


@cache
def _worst() -> frozenset[str]:
    """The letters of what is tried first."""
    told = tomllib.loads(Path(__file__).with_suffix(".toml").read_text("utf-8"))
    return frozenset(told["worst"])
