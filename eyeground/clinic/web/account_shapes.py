"""Shapes of accounts, as an administrator makes and sees them."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

_SHAPE = ConfigDict(extra="forbid", frozen=True)


class NewAccount(BaseModel):
    """An account to be made.

    Args:
        name: Unique; lower-case letters, digits and ``. _ -``; stands in the audit trail.
        role: What it may do.
        title: Name that stands on reports; empty = the name.
        site: The one site it is for; empty = all.

    Example:
        >>> NewAccount(name="li", role="doctor").site
        ''

    References:
        Our own.
    """

    model_config = _SHAPE

    name: str = Field(max_length=64)
    role: Literal["doctor", "operator", "admin", "site"]
    title: str = Field("", max_length=80)
    site: str = Field("", max_length=64, pattern="^[A-Za-z0-9_.-]*$")


class MadeAccount(BaseModel):
    """An account that was made.

    Args:
        name: Its name.
        kind: Whether it proves itself by a password, or is a program's and has a token.
        secret: Password or token. It is kept nowhere and told this once.

    Example:
        >>> MadeAccount(name="li", kind="password", secret="ABCD-EFGH").kind
        'password'

    References:
        Our own.
    """

    model_config = _SHAPE

    name: str
    kind: Literal["password", "token"]
    secret: str = Field(repr=False)


class AccountShape(BaseModel):
    """An account, without anything that it proves itself by.

    Args:
        name: Unique.
        title: As it stands on reports.
        role: What it may do.
        site: The one site it is for; empty = all.
        how: By what it signs in.
        made_at: UTC, ISO.
        revoked_at: UTC, ISO; empty while it is good.
        sessions: In how many browsers it is signed in.
        seen_at: When one of them was last used; UTC, ISO, empty while there is none.

    Example:
        >>> AccountShape.model_fields["sessions"].annotation
        <class 'int'>

    References:
        ``eyeground.clinic.staff.Member``.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, from_attributes=True)

    name: str
    title: str
    role: Literal["doctor", "operator", "admin", "site"]
    site: str
    how: Literal["password", "single_sign_on", "token"]
    made_at: str
    revoked_at: str
    sessions: int
    seen_at: str


class Accounts(BaseModel):
    """Accounts.

    Args:
        accounts: Those that are good first, by name.

    Example:
        >>> Accounts(accounts=[]).accounts
        []

    References:
        Our own.
    """

    model_config = _SHAPE

    accounts: list[AccountShape]
