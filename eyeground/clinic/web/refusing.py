"""How the web service says no: one shape, whatever the reason, that repeats nothing of what was sent."""

import math
import tomllib
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final, Literal, get_args

from starlette.responses import JSONResponse
from starlette.types import Scope

from eyeground.clinic.refusal import Refused
from eyeground.clinic.web.shapes import Difference, RefusalShape
from eyeground.serve.replies import language_of

Reason = Literal[
    "wrong_host",
    "unauthorized",
    "code_wrong", "first_read_wanted", "forbidden", "not_meant", "password_first", "wrong_password",
    "image_gone", "link_gone", "not_found",
    "account_taken", "idempotency_conflict", "last_admin", "no_password", "not_signed", "own_account", "stale",
    "wrong_state",
    "link_expired",
    "too_large",
    "account_unusable", "bad_query", "image_refused", "opinion_refused", "password_refused", "refused",
    "code_waits", "too_many_tries",
    "failed",
    "no_pdf",
    "not_ready", "unavailable",
]  # fmt: skip
RETRY_AFTER_S: Final = 5
_STATUS: Final[Mapping[Reason, int]] = {
    "wrong_host": 400,
    "unauthorized": 401,
    "code_wrong": 403, "first_read_wanted": 403, "forbidden": 403, "not_meant": 403, "password_first": 403,
    "wrong_password": 403,
    "image_gone": 404, "link_gone": 404, "not_found": 404,
    "account_taken": 409, "idempotency_conflict": 409, "last_admin": 409, "no_password": 409, "not_signed": 409,
    "own_account": 409, "stale": 409, "wrong_state": 409,
    "link_expired": 410,
    "too_large": 413,
    "account_unusable": 422, "bad_query": 422, "image_refused": 422, "opinion_refused": 422, "password_refused": 422,
    "refused": 422,
    "code_waits": 429, "too_many_tries": 429,
    "failed": 500,
    "no_pdf": 501,
    "not_ready": 503, "unavailable": 503,
}  # fmt: skip
# Reasons that ``eyeground.serve`` gives before a request comes here.
_ELSEWHERE: Final[Mapping[int, str]] = {
    408: "upload_too_slow", 413: "too_large", 415: "unsupported_media_type", 422: "bad_request, bad_form",
    503: "waiting_room_full",
}  # fmt: skip
_PLACE = Path(__file__).with_name("words.toml")


class TurnedAway(Exception):
    """A request that is not carried out.

    Args:
        reason: Why.
        said: What to do about it, where that depends on the case; it repeats nothing that was sent.
        version: Of a case that was changed meanwhile: its version now.
        differences: Likewise: in what the opinion that was sent differs from the stored one.
        after_s: How long to wait before the next try; 0 = nothing is said of that. Unit: s.

    Example:
        >>> TurnedAway("stale", version=5).status
        409

    References:
        Our own.
    """

    def __init__(
        self,
        reason: Reason,
        *,
        said: str = "",
        version: int | None = None,
        differences: Sequence[Difference] | None = None,
        after_s: float = 0.0,
    ) -> None:
        super().__init__(reason)
        self.reason, self.said, self.version, self.differences = reason, said, version, differences
        self.after_s = after_s

    @property
    def status(self) -> int:
        """HTTP status."""
        return _STATUS[self.reason]


@cache
def words() -> Mapping[str, Mapping[str, str]]:
    """Read the sentences.

    Returns:
        Reason -> language -> sentence.

    Example:
        >>> set(words()) == set(get_args(Reason))
        True

    References:
        ``words.toml`` beside this file.
    """
    return tomllib.loads(_PLACE.read_text("utf-8"))


def turn_away(away: TurnedAway, scope: Scope, *, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """Make the answer to a request that is not carried out.

    Args:
        away: Why.
        scope: The request, as ASGI has it; its query may ask for ``lang=zh``.
        headers: More headers.

    Returns:
        The response; one that is worth another try says when.

    Example:
        >>> turn_away(TurnedAway("unavailable"), {}).headers["retry-after"]
        '5'

    References:
        RFC 9110, section 15.
    """
    language = language_of(scope)
    sentence = words()[away.reason][language]
    if away.said:
        sentence = away.said if language == "en" else f"{sentence}：{away.said}"
    told: dict[str, Any] = {"error": sentence, "reason": away.reason}
    if away.version is not None:
        told["version"] = away.version
    if away.differences is not None:
        told["differences"] = [each.model_dump() for each in away.differences]
    wait = {"Retry-After": str(math.ceil(away.after_s))} if away.after_s else {}
    return _response(told, away.status, wait | dict(headers or {}))


def turn_down(refused: Refused, scope: Scope) -> JSONResponse:
    """Make the answer to a message that was not taken.

    Args:
        refused: Everything that is wrong with it.
        scope: The request, as ASGI has it.

    Returns:
        The response: 409 for an id that was used before, 413 for what is too large, 500 for a message that this program
        itself fails on, else 422.

    Example:
        >>> from eyeground.clinic.refusal import Problem
        >>> turn_down(Refused([Problem(code="not_json")]), {}).status_code
        422

    References:
        Our own.
    """
    reasons: Mapping[str, Reason] = {
        "idempotency_conflict": "idempotency_conflict", "too_large": "too_large", "failed_every_time": "failed",
    }  # fmt: skip
    reason = reasons.get(refused.code, "refused")
    told = {"error": words()[reason][language_of(scope)], "reason": reason, "problems": refused.to_json()}
    return _response(told, _STATUS[reason], None)


def answers(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Describe refusals for the OpenAPI document.

    Args:
        statuses: HTTP statuses.

    Returns:
        Status -> what it means, each with the one shape.

    Example:
        >>> answers(404)[404]["description"]
        'image_gone, link_gone, not_found'

    References:
        OpenAPI 3.1.
    """
    described: dict[int | str, dict[str, Any]] = {}
    for status in statuses:
        named = [reason for reason in get_args(Reason) if _STATUS[reason] == status]
        named += [each for each in _ELSEWHERE.get(status, "").split(", ") if each and each not in named]
        described[status] = {"model": RefusalShape, "description": ", ".join(named)}
    return described


def _response(told: Mapping[str, Any], status: int, headers: Mapping[str, str] | None) -> JSONResponse:
    """A refusal as JSON."""
    more = {"Retry-After": str(RETRY_AFTER_S)} if status == 503 else {}
    if status == 401:
        more["WWW-Authenticate"] = 'Bearer realm="eyeground"'
    return JSONResponse(told, status, headers=more | dict(headers or {}))
