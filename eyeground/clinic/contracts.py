"""Which contract a queue speaks, and where its answers go."""

from collections.abc import Mapping
from functools import cache
from typing import Any

from eyeground.clinic.refusal import Problem, Refused
from eyeground.pick import names, pick


@cache
def contracts() -> Mapping[str, Any]:
    """List the contracts of the shelf ``exchange/``.

    Returns:
        By the queue that each receives from.

    Example:
        >>> sorted(contracts())
        ['check', 'report', 'screening']

    References:
        docs/clinic.md.
    """
    modules = (pick("clinic.exchange", name) for name in names("clinic.exchange"))
    return {module.RECEIVES: module for module in modules if hasattr(module, "RECEIVES")}


def contract_for(queue: str, door: str = "") -> Any:
    """Find the contract that a message is written under.

    Args:
        queue: Where it came from.
        door: The contract's own queue, where the message came through another one, such as HTTP.

    Returns:
        A module with ``read`` and ``answer``.

    Raises:
        Refused: If no contract is spoken there.

    Example:
        >>> contract_for("check").SENDS
        'result_check'

    References:
        docs/clinic.md.
    """
    found = contracts().get(door or queue)
    if found is None:
        raise Refused([Problem(code="unknown_queue")])
    return found


def reply_queue(queue: str) -> str:
    """Say where the answer to a message goes.

    Args:
        queue: Where the message came from.

    Returns:
        A queue; empty where the sender comes to fetch it, as over HTTP.

    Example:
        >>> reply_queue("screening"), reply_queue("http")
        ('screening_result', '')

    References:
        docs/clinic.md.
    """
    found = contracts().get(queue)
    return str(found.SENDS) if found else ""
