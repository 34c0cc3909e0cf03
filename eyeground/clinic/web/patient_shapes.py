"""Shapes of what is answered about patients' links."""

from pydantic import BaseModel, ConfigDict

_SHAPE = ConfigDict(extra="forbid", frozen=True)


class LinkShape(BaseModel):
    """A patient's link, shown this once.

    Args:
        address: What the patient opens; without the setting ``public_url`` a path.
        path: Its path, for who knows better under which host patients come.
        code: Six digits, to be given another way.
        ends_at: When it expires; UTC, ISO.

    Example:
        >>> LinkShape(address="/p/a", path="/p/a", code="012345", ends_at="2026-12-28T00:00:00.000000Z").code
        '012345'

    References:
        Our own.
    """

    model_config = _SHAPE

    address: str
    path: str
    code: str
    ends_at: str


class RevokedShape(BaseModel):
    """What became of a case's links.

    Args:
        revoked: How many were good until now.

    Example:
        >>> RevokedShape(revoked=1).revoked
        1

    References:
        Our own.
    """

    model_config = _SHAPE

    revoked: int


class PassShape(BaseModel):
    """What a patient's program reads with.

    Args:
        bearer: Goes into ``Authorization: Bearer ...``; good for one report.
        ends_at: Until when, unless the link is revoked before. Unit: seconds since 1970.

    Example:
        >>> PassShape(bearer="a.1.b", ends_at=1800000000).ends_at
        1800000000

    References:
        RFC 6750.
    """

    model_config = _SHAPE

    bearer: str
    ends_at: int
