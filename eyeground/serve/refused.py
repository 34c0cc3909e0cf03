"""Every way in which the web service refuses; needs no part of the web itself."""

from typing import get_args

from eyeground.images.refusal import REASONS, Reason
from eyeground.serve.shapes import Refusal

_STATUS: dict[str, int] = dict.fromkeys(REASONS, 422) | {
    "too_large": 413, "no_image": 422, "bad_form": 422, "bad_request": 422, "unsupported_media_type": 415,
    "not_found": 404, "method_not_allowed": 405, "upload_too_slow": 408, "waiting_room_full": 503, "not_ready": 503,
    "too_slow_to_answer": 504, "failed": 500,
    "hung_up": 499,  # nginx's number; nobody is left to read it
}  # fmt: skip


class Refused(Exception):
    """A request that gets no answer.

    Args:
        reason: Which of the closed list of refusals it is.

    Example:
        >>> Refused("not_an_image").status
        422

    References:
        Our own.
    """

    def __init__(self, reason: Refusal) -> None:
        super().__init__(reason)
        self.reason: Refusal = reason

    @property
    def status(self) -> int:
        """HTTP status."""
        return _STATUS[self.reason]


def image_refusal(quality: str) -> Reason:
    """Tell why an image file could not be read.

    Args:
        quality: The verdict on a file that has a ``problem``: ``"cannot grade: <reason>"``.

    Returns:
        The reason; a slice that is missing is told in a sentence there.

    Example:
        >>> image_refusal("cannot grade: truncated")
        'truncated'

    References:
        Our own.
    """
    told = quality.removeprefix("cannot grade: ").replace("failed", "broken")
    found: Reason = next((reason for reason in REASONS if reason == told), "no_such_slice")
    return found


def reasons() -> tuple[Refusal, ...]:
    """List every way to refuse.

    Returns:
        The closed list.

    Example:
        >>> "too_large" in reasons()
        True

    References:
        Our own.
    """
    return (*REASONS, *(reason for part in get_args(Refusal) for reason in get_args(part) if reason not in REASONS))
