"""Every word the web service says, in each language, and how it says no."""

import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from starlette.datastructures import QueryParams
from starlette.responses import JSONResponse
from starlette.types import Scope

from eyeground.serve.refused import Refused, reasons
from eyeground.serve.shapes import Language, Problem, Refusal

_RETRY_AFTER_S = 5


@cache
def words() -> Mapping[str, Mapping[str, Mapping[str, str]]]:
    """Read every sentence and word of the service.

    Returns:
        Group -> key -> language -> text.

    Example:
        >>> words()["eyes"]["OD"]["zh"]
        'OD 右眼'

    References:
        Our own.
    """
    told: dict[str, dict[str, dict[str, str]]] = tomllib.loads(
        (Path(__file__).parent / "page" / "words.toml").read_text("utf-8")
    )
    return told


def language_of(scope: Scope) -> Language:
    """Tell in which language a request is answered.

    Args:
        scope: The request, as ASGI has it.

    Returns:
        What its query says under ``lang``; ``"en"`` where it says nothing known.

    Example:
        >>> language_of({"query_string": b"lang=zh"}), language_of({"query_string": b"lang=xx"})
        ('zh', 'en')

    References:
        Our own.
    """
    return "zh" if QueryParams(scope.get("query_string", b"")).get("lang") == "zh" else "en"


def refuse(reason: Refusal, scope: Scope, *, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """Make the answer to a request that gets none.

    Args:
        reason: Why. It is also left in the request's state under ``outcome``, for who counts.
        scope: The request, as ASGI has it.
        headers: More headers, such as ``Allow``.

    Returns:
        The response; one that is worth another try says when.

    Example:
        >>> refuse("waiting_room_full", {}).headers["retry-after"]
        '5'

    References:
        Our own.
    """
    scope.setdefault("state", {})["outcome"] = reason
    status = Refused(reason).status
    more = {"Retry-After": str(_RETRY_AFTER_S)} if status == 503 else {}
    body = Problem(error=words()["refusals"][reason][language_of(scope)], reason=reason)
    return JSONResponse(body.model_dump(), status, headers=more | dict(headers or {}))


def responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Describe refusals for the OpenAPI document.

    Args:
        statuses: HTTP statuses.

    Returns:
        Status -> what it means, each with the one shape of refusals.

    Example:
        >>> responses(413)[413]["description"]
        'too_large'

    References:
        OpenAPI 3.1.
    """
    named = {status: [reason for reason in reasons() if Refused(reason).status == status] for status in statuses}
    return {status: {"model": Problem, "description": ", ".join(named[status])} for status in statuses}
