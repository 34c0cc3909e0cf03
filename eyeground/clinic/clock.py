"""The time of day, for people to read: nothing decides by it, for clocks are set back and forth."""

from datetime import UTC, datetime


def now() -> str:
    """Say when it is.

    Returns:
        UTC, ISO with microseconds and Z; sorts as text.

    Example:
        >>> len(now()), now()[-1]
        (27, 'Z')

    References:
        ISO 8601.
    """
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
