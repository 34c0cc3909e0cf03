"""What the answers say of who stands behind them."""

from typing import Any

from eyeground.clinic.answered import Answered


def released(answered: Answered) -> dict[str, Any]:
    """Mark what no doctor signed, and what takes the place of an earlier answer.

    Args:
        answered: What is known.

    Returns:
        ``{"unsigned": True}``, ``{"amended": 2}`` (or more), or nothing.

    Example:
        >>> from eyeground.clinic.records import Order
        >>> released(Answered("0a", Order(door="check", id="17"), 2))
        {'amended': 2}

    References:
        docs/clinic.md.
    """
    if answered.revision == 0:
        return {"unsigned": True}
    return {"amended": answered.revision} if answered.revision > 1 else {}
