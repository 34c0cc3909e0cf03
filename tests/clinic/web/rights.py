"""Who may do what, written down a second time, by hand, from the brief and not from ``guard.POLICY``.

Whoever adds a route adds a line here. ``answers`` are the statuses that somebody with the right sees when he asks about
this site's business with ``body``; another site's people see ``elsewhere``, by default 404.
"""

from dataclasses import dataclass, field
from typing import Any

SITE, DOCTOR, OPERATOR, ADMIN = ("site",), ("doctor",), ("operator",), ("admin",)
SENDERS = SITE + OPERATOR + ADMIN
STAFF = DOCTOR + OPERATOR + ADMIN
LETTERS = OPERATOR + ADMIN
ANYBODY = ("anybody",)


@dataclass(frozen=True)
class Right:
    """What is expected of a route."""

    roles: tuple[str, ...]
    answers: tuple[int, ...]
    elsewhere: tuple[int, ...] = (404,)
    body: dict[str, Any] | None = None
    names: dict[str, str] = field(default_factory=dict)


def _v0(roles: tuple[str, ...], **more: Any) -> Right:
    """A deed upon a version that nobody has seen."""
    return Right(roles, (409,), body={"version": 0, **more})


_CASE = "/api/v1/cases/{case_id}"
_DOORS = ("screenings", "checks", "reports", "uploads")
RIGHTS: dict[str, Right] = {
    **{f"POST /api/v1/{door}": Right(SENDERS, (415, 422), ()) for door in _DOORS},  # nothing was sent
    **{f"GET /api/v1/{door}/{{message_id}}": Right(SENDERS, (200,)) for door in _DOORS},
    "POST /api/v1/screenings/{message_id}/link": Right(SENDERS, (200, 201)),
    "POST /api/v1/screenings/{message_id}/link/revoke": Right(SENDERS, (200,)),
    "GET /api/v1/cases": Right(STAFF, (200,), (200,)),
    "GET /api/v1/counts": Right(STAFF, (200,), (200,)),
    "GET /session": Right(STAFF, (200,), (200,)),
    f"GET {_CASE}": Right(STAFF, (200,)),
    f"GET {_CASE}/images/{{place}}": Right(STAFF, (200,)),
    f"GET {_CASE}/images/{{place}}/shown": Right(STAFF, (422,)),  # no image can be decoded from it
    f"GET {_CASE}/images/{{place}}/heat": Right(STAFF, (404,)),  # nobody has looked yet
    f"GET {_CASE}/report.html": Right(STAFF, (200,)),  # marked as a draft
    f"GET {_CASE}/report.pdf": Right(STAFF, (409,)),  # nobody has signed
    f"GET {_CASE}/drafts": Right(STAFF, (200,)),
    f"GET {_CASE}/fhir": Right(STAFF + SITE, (409,)),
    f"PUT {_CASE}/opinion": _v0(DOCTOR, opinion={}),
    f"PUT {_CASE}/first-read": _v0(DOCTOR, opinion={}),
    f"POST {_CASE}/eye": _v0(DOCTOR, eyes=[{"place": 0, "eye": "OD"}]),
    f"POST {_CASE}/draft": _v0(DOCTOR, language="en"),
    f"POST {_CASE}/sign": _v0(DOCTOR),
    f"POST {_CASE}/amend": _v0(DOCTOR, reason="because"),
    f"POST {_CASE}/reread": _v0(STAFF),
    f"POST {_CASE}/links": Right(STAFF, (200, 201)),
    f"POST {_CASE}/links/revoke": Right(STAFF, (200,)),
    "GET /api/v1/dead-letters": Right(LETTERS, (200,), (200,)),
    "POST /api/v1/dead-letters/{number}/replay": Right(LETTERS, (200,)),
    "POST /api/v1/dead-letters/{number}/dismiss": Right(LETTERS, (200, 404)),  # whoever comes first has dealt with it
    "GET /api/v1/statistics": Right(STAFF, (200,), (200,)),
    "GET /api/v1/accounts": Right(ADMIN, (200,), (200,)),
    "POST /api/v1/accounts": Right(ADMIN, (422,), (422,)),  # nothing was sent
    "POST /api/v1/accounts/{name}/revoke": Right(ADMIN, (404,), names={"name": "nobody"}),
    "POST /api/v1/accounts/{name}/password": Right(ADMIN, (404,), names={"name": "nobody"}),
    "POST /api/v1/accounts/{name}/sign-out-everywhere": Right(ADMIN, (404,), names={"name": "nobody"}),
    "POST /api/v1/patient/sessions": Right(ANYBODY, (403, 404, 422)),  # a link's token and its code were not sent
    "GET /api/v1/patient/report": Right(ANYBODY, (401, 403, 404)),
    "GET /api/v1/patient/report.pdf": Right(ANYBODY, (401, 403, 404)),
    "GET /api/v1/patient/images/{place}": Right(ANYBODY, (401, 403, 404)),
    "GET /healthz": Right(ANYBODY, (200,)),
    "GET /readyz": Right(ANYBODY, (200,)),
    "GET /metrics": Right(ANYBODY, (200,)),
    "GET /": Right(STAFF, (303,), (303,)),
    "GET /work": Right(STAFF, (200,), (200,)),
    "GET /signed": Right(STAFF, (200,), (200,)),
    "GET /statistics": Right(STAFF, (200,), (200,)),
    "GET /dead-letters": Right(LETTERS, (200,), (200,)),
    "GET /accounts": Right(ADMIN, (200,), (200,)),
    "GET /static/{stamp}/{name}": Right(ANYBODY, (200,)),
    "GET /sign-in": Right(ANYBODY, (200, 303)),  # whoever is signed in is led on
    "POST /sign-in": Right(ANYBODY, (415,)),  # nothing was sent
    "POST /sign-out": Right(STAFF, (200,), (200,)),
    "GET /oidc/start": Right(ANYBODY, (404,)),  # no provider is set here
    "GET /oidc/callback": Right(ANYBODY, (404,)),
    "GET /password": Right(STAFF, (200,), (200,)),
    "POST /password": Right(STAFF, (403,), (403,), body={"old": "not it", "new": "seven geese walk home"}),
    "POST /password/elsewhere": Right(STAFF, (200,), (200,)),
    "GET /cases/{case_id}": Right(STAFF, (200,)),
    "GET /cases/{case_id}/standing": Right(STAFF, (200,)),
    "POST /cases/{case_id}/foreseen": Right(DOCTOR, (200,), body={"version": 0, "opinion": {}}),
    "GET /p/{token}": Right(ANYBODY, (404,), names={"token": "0" * 32}),
    "GET /p/{token}/images/{place}": Right(ANYBODY, (401, 403, 404), names={"token": "0" * 32}),
    "GET /p/{token}/report.pdf": Right(ANYBODY, (303, 404), names={"token": "0" * 32}),
    "POST /p/{token}": Right(ANYBODY, (403, 404, 415), names={"token": "0" * 32}),
}
