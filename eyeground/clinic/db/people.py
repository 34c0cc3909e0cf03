"""Tables of those who use the service: accounts, their sessions, patients' links, and who failed to sign in."""

from sqlalchemy import ForeignKey, Index, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from eyeground.clinic.db.table import Table


class Account(Table):
    """Somebody who may do something.

    Args:
        name: Unique; stands in the audit trail.
        title: As it stands on a report.
        role: A word of ``states.Role``.
        site: The one site it is for; empty = all.
        token_sha256: Hash of its random token.
        password_hash: Argon2's, with its salt and cost; empty = it cannot sign in with a password.
        must_change: Whether the password is one that somebody else made and has seen.
        subject: Who it is at the provider of single sign-on, ``"<issuer> <subject>"``; empty = nobody there.
        made_at: UTC, ISO.
        revoked_at: UTC, ISO; empty while it is good.

    References:
        Our own.
    """

    __tablename__ = "accounts"
    __table_args__ = (UniqueConstraint("token_sha256"),)

    name: Mapped[str] = mapped_column(primary_key=True)
    title: Mapped[str] = mapped_column(default="")
    role: Mapped[str]
    site: Mapped[str] = mapped_column(default="")
    token_sha256: Mapped[str]
    password_hash: Mapped[str] = mapped_column(default="")
    must_change: Mapped[bool] = mapped_column(default=False)
    subject: Mapped[str] = mapped_column(default="")
    made_at: Mapped[str]
    revoked_at: Mapped[str] = mapped_column(default="")


class BrowserSession(Table):
    """Somebody who has signed in with a browser; signing out deletes the row.

    Args:
        id_sha256: Hash of the random cookie.
        account: Who.
        how: ``"password"`` or ``"oidc"``.
        made_at: UTC, ISO.
        seen_at: When it was last used, to the minute; UTC, ISO.
        ends_at: When it is over whatever happens; UTC, ISO.

    References:
        OWASP Session Management Cheat Sheet.
    """

    __tablename__ = "sessions"
    __table_args__ = (Index(None, "account"), Index(None, "ends_at"))

    id_sha256: Mapped[str] = mapped_column(primary_key=True)
    account: Mapped[str] = mapped_column(ForeignKey("accounts.name"))
    how: Mapped[str]
    made_at: Mapped[str]
    seen_at: Mapped[str]
    ends_at: Mapped[str]


class PatientLink(Table):
    """An address at which a patient reads the signed report, with a code that comes another way.

    Args:
        token_sha256: Hash of the random token in the address.
        case_id: Of which case.
        code_digest: Keyed hash of the code.
        made_by: Account that made it.
        made_at: UTC, ISO.
        ends_at: When it expires; UTC, ISO.
        failures: Wrong codes so far.
        opened_at: When the right code was given first; UTC, ISO, empty until then.
        revoked_at: UTC, ISO; empty while it is good.

    References:
        Our own.
    """

    __tablename__ = "patient_links"
    __table_args__ = (Index(None, "case_id"),)

    token_sha256: Mapped[str] = mapped_column(primary_key=True)
    case_id: Mapped[str] = mapped_column(ForeignKey("cases.id"))
    code_digest: Mapped[str]
    made_by: Mapped[str]
    made_at: Mapped[str]
    ends_at: Mapped[str]
    failures: Mapped[int] = mapped_column(default=0)
    opened_at: Mapped[str] = mapped_column(default="")
    revoked_at: Mapped[str] = mapped_column(default="")


class Attempts(Table):
    """How often somebody has failed to prove who he is, so that guessing gets slow in every web process.

    Args:
        what: What was tried and by whom, hashed: an account's name, an address.
        failures: In a row.
        last_at: Since when that many; UTC, ISO.
        until: Nothing is tried before; UTC, ISO, empty = at once.
        is_told: Whether the audit trail says already that they shut somebody out.

    References:
        OWASP Authentication Cheat Sheet, "Protect against automated attacks".
    """

    __tablename__ = "attempts"
    __table_args__ = (Index(None, "last_at"),)

    what: Mapped[str] = mapped_column(primary_key=True)
    failures: Mapped[int]
    last_at: Mapped[str]
    until: Mapped[str] = mapped_column(default="")
    is_told: Mapped[bool] = mapped_column(default=False)
