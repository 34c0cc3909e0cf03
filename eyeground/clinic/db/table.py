"""What all tables have in common, and what those have whose rows one process at a time works on."""

from typing import Any

from sqlalchemy import JSON, LargeBinary, MetaData, String
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

_NAMES = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}


class Table(DeclarativeBase):
    """What all tables share.

    References:
        Our own.
    """

    metadata = MetaData(naming_convention=_NAMES)
    type_annotation_map = {dict[str, Any]: JSON, list[Any]: JSON, str: String, bytes: LargeBinary}  # noqa: RUF012


class Leased:
    """Work that one process at a time has: see ``lease.py``.

    Args:
        token: Changes with every touch.
        patience_s: How long the token must stay unchanged before somebody else may take it; 0 = at once. Unit: s.
        attempts: How often it was begun.

    References:
        Our own.
    """

    token: Mapped[str] = mapped_column(default="")
    patience_s: Mapped[float] = mapped_column(default=0.0)
    attempts: Mapped[int] = mapped_column(default=0)
