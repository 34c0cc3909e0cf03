"""What was sent, read by our own strict rules: nothing is parsed before the guard has let its sender in."""

import re
from collections.abc import Iterator
from typing import Any, Final, TypeVar

from fastapi import Request
from pydantic import BaseModel, ValidationError
from pydantic.json_schema import models_json_schema

from eyeground.clinic.exchange.contract import parse
from eyeground.clinic.exchange.report import ANSWERED
from eyeground.clinic.findings import EYES, FINDINGS
from eyeground.clinic.records import EyeReview, Opinion
from eyeground.clinic.refusal import Problem, Refused
from eyeground.clinic.web.account_shapes import NewAccount
from eyeground.clinic.web.asked import (
    Amendment,
    DecidedEyes,
    PatientCode,
    SavedOpinion,
    SeenVersion,
    SignedOpinion,
    WantedDraft,
)

Asked = TypeVar("Asked", bound=BaseModel)
_ASKED: Final = (SavedOpinion, SignedOpinion, DecidedEyes, Amendment, SeenVersion, PatientCode, WantedDraft, NewAccount)
_CODES: Final = {
    "missing": "missing", "extra_forbidden": "unknown_field", "string_too_long": "too_long",
    "literal_error": "bad_word",
}  # fmt: skip
_MOST_PROBLEMS: Final = 100
# Names of our own, which a problem may repeat.
_OURS: Final = frozenset(
    [name for model in (*_ASKED, Opinion, EyeReview) for name in model.model_fields]
    + [f"{part}/{eye}" for part in FINDINGS for eye in EYES]
    + [name for findings in FINDINGS.values() for name in findings]
    + list(ANSWERED)
)
# What no text may hold: control characters but for tab and line ends, halves of characters, and what turns text round.
_BAD = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff\ufffe\uffff\ud800-\udfff]"
)


async def read_asked(request: Request, kind: type[Asked]) -> Asked:
    """Read what is asked for.

    Args:
        request: One that the guard has let through.
        kind: What it has to be.

    Returns:
        What was sent.

    Raises:
        Refused: If it is something else; everything that is wrong is told, and none of it repeated.
        ClientDisconnect: If the sender hung up.

    Example:
        >>> import asyncio
        >>> async def receive():
        ...     return {"type": "http.request", "body": b'{"version": 4}'}
        >>> asyncio.run(read_asked(Request({"type": "http"}, receive), SeenVersion)).version
        4

    References:
        Our own.
    """
    told = parse(await request.body())
    bad = [where for where, text in _texts(told) if _BAD.search(text)]
    if bad:
        raise Refused([Problem(code="bad_text", where=where) for where in dict.fromkeys(bad)][:_MOST_PROBLEMS])
    try:
        return kind.model_validate(told, strict=True)
    except ValidationError as error:
        problems = {_problem(each["type"], each["loc"]): None for each in error.errors(include_input=False)}
        raise Refused(list(problems)[:_MOST_PROBLEMS]) from None


def body_of(kind: type[BaseModel]) -> dict[str, Any]:
    """Describe a body for the OpenAPI document.

    Args:
        kind: What it has to be; one of those that ``schemas`` gives.

    Returns:
        What goes into a route's ``openapi_extra``.

    Example:
        >>> body_of(SeenVersion)["requestBody"]["content"]["application/json"]["schema"]
        {'$ref': '#/components/schemas/SeenVersion'}

    References:
        OpenAPI 3.1.
    """
    schema = {"$ref": f"#/components/schemas/{kind.__name__}"}
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


def schemas() -> dict[str, Any]:
    """Describe what bodies may be.

    Returns:
        Name -> JSON Schema.

    Example:
        >>> "SavedOpinion" in schemas()
        True

    References:
        JSON Schema 2020-12.
    """
    wanted = [(kind, "validation") for kind in _ASKED]
    _, found = models_json_schema(wanted, ref_template="#/components/schemas/{model}")  # type: ignore[arg-type]
    defined: dict[str, Any] = found["$defs"]
    return defined


def _problem(kind: str, place: tuple[int | str, ...]) -> Problem:
    """What pydantic found, in our words."""
    code = _CODES.get(kind, "wrong_type" if kind.endswith(("_type", "_from_float", "_parsing")) else "out_of_range")
    return Problem(code=code, where=_where(place))


def _where(place: tuple[int | str, ...]) -> str:
    """Names of ours that lead there; others' may be a patient's."""
    return ".".join(str(part) if isinstance(part, int) or part in _OURS else "?" for part in place)[:200]


def _texts(told: Any, place: tuple[int | str, ...] = ()) -> Iterator[tuple[str, str]]:
    """Every text and every name in it, with where it stands."""
    if isinstance(told, str):
        yield _where(place), told
    elif isinstance(told, dict):
        for name, value in told.items():
            yield _where((*place, name)), name
            yield from _texts(value, (*place, name))
    elif isinstance(told, list):
        for number, value in enumerate(told):
            yield from _texts(value, (*place, number))
