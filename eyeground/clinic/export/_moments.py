"""Times as sites write them, with the zone that they mean."""

from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo


def zoned(text: str, zone: str) -> str:
    """Write a time with its zone; a day stays a day.

    Args:
        text: ISO time or date; a time without an offset is the site's own.
        zone: The site's zone, such as ``"Asia/Shanghai"``.

    Returns:
        As FHIR wants it; empty where nothing is told.

    Raises:
        ValueError: If it is no ISO time.

    Example:
        >>> zoned("2025-11-02T10:15", "Asia/Shanghai"), zoned("20251102", "UTC"), zoned("2025-11-02T10:15:00Z", "UTC")
        ('2025-11-02T10:15:00+08:00', '2025-11-02', '2025-11-02T10:15:00Z')

    References:
        FHIR R4B, "dateTime": where there is a time there is a zone, and there are seconds.
    """
    if not text:
        return ""
    try:
        return date.fromisoformat(text).isoformat()
    except ValueError:
        return _whole(moment(text, zone)).isoformat().replace("+00:00", "Z")


def moment(text: str, zone: str) -> datetime:
    """Read a time, which is the site's own where it has no offset.

    Args:
        text: ISO time or date.
        zone: The site's zone.

    Returns:
        The time, with its zone.

    Raises:
        ValueError: If it is no ISO time.

    Example:
        >>> moment("2025-11-02", "Asia/Shanghai").isoformat()
        '2025-11-02T00:00:00+08:00'

    References:
        ISO 8601.
    """
    found = datetime.fromisoformat(text)
    return found if found.tzinfo else found.replace(tzinfo=ZoneInfo(zone))


def _whole(found: datetime) -> datetime:
    """FHIR knows offsets of hours and minutes; those of seconds, of before 1900, become UTC."""
    offset = found.utcoffset()
    odd = offset is not None and offset.total_seconds() % 60
    return found.astimezone(UTC) if odd else found
