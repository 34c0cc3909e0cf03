"""Who may do what: a table of roles by route, and the tokens that tell who asks."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, cast

from fastapi import FastAPI, Request
from fastapi.routing import APIRoute
from starlette.concurrency import run_in_threadpool
from starlette.routing import Route

from eyeground.clinic.accounts import holder
from eyeground.clinic.db.database import Database
from eyeground.clinic.reviews import Doctor
from eyeground.clinic.states import Role
from eyeground.clinic.web.refusing import TurnedAway, answers

_LONGEST_TOKEN = 512
Policy = Mapping[tuple[str, str], frozenset[Role]]
ANYBODY: Final[frozenset[Role]] = frozenset()
SENDERS: Final[frozenset[Role]] = frozenset(("site", "operator", "admin"))
STAFF: Final[frozenset[Role]] = frozenset(("doctor", "operator", "admin"))
DOCTORS: Final[frozenset[Role]] = frozenset(("doctor",))
OPERATORS: Final[frozenset[Role]] = frozenset(("operator", "admin"))
_API: Final = "/api/v1"
POLICY: Final[Policy] = {
    **{("POST", f"{_API}/{door}"): SENDERS for door in ("screenings", "checks", "reports", "uploads")},
    **{("GET", f"{_API}/{door}/{{message_id}}"): SENDERS for door in ("screenings", "checks", "reports", "uploads")},
    ("GET", f"{_API}/cases"): STAFF,
    ("GET", f"{_API}/cases/{{case_id}}"): STAFF,
    ("GET", f"{_API}/cases/{{case_id}}/images/{{place}}"): STAFF,
    ("PUT", f"{_API}/cases/{{case_id}}/opinion"): DOCTORS,
    ("POST", f"{_API}/cases/{{case_id}}/eye"): DOCTORS,
    ("POST", f"{_API}/cases/{{case_id}}/sign"): DOCTORS,
    ("POST", f"{_API}/cases/{{case_id}}/amend"): DOCTORS,
    ("POST", f"{_API}/cases/{{case_id}}/reread"): frozenset(("doctor", "operator", "admin")),
    ("GET", f"{_API}/dead-letters"): OPERATORS,
    ("POST", f"{_API}/dead-letters/{{number}}/replay"): OPERATORS,
    ("GET", "/healthz"): ANYBODY,
    ("GET", "/readyz"): ANYBODY,
    ("GET", "/metrics"): ANYBODY,  # numbers only; keep the port from strangers all the same
    ("GET", "/openapi.json"): ANYBODY,
}


class PolicyMissing(ValueError):
    """An app with routes that nobody has said who may use; the message names all of them."""


@dataclass(frozen=True)
class Who:
    """Who asks.

    Args:
        account: Name that stands in the audit trail.
        title: Name that stands on reports.
        role: What the account may do.
        site: The one site whose cases it may see; empty = all.

    Example:
        >>> Who("li", "Dr Li", "doctor", "").doctor
        Doctor(account='li', title='Dr Li', role='doctor')

    References:
        Our own.
    """

    account: str
    title: str
    role: Role
    site: str

    @property
    def doctor(self) -> Doctor:
        """As those want it who write."""
        return Doctor(self.account, self.title, self.role)


class Guard:
    """Lets a request through to its route, or not, before anything of its body is read.

    Args:
        database: Where accounts are.
        site: Name of this site: the one that a site's account without a site of its own is for.
        policy: Roles by method and route.

    Example:
        >>> Guard(Database("sqlite://", key=b""), site="default").site
        'default'

    References:
        RFC 6750.
    """

    def __init__(self, database: Database, *, site: str, policy: Policy = POLICY) -> None:
        self.database, self.site, self.policy = database, site, policy

    async def __call__(self, request: Request) -> None:
        roles = self.policy[request.method, request.scope["route"].path]
        if roles == ANYBODY:
            return
        who = await run_in_threadpool(self._holder, _token(request))
        if who is None:
            raise TurnedAway("unauthorized")
        if who.role not in roles:
            raise TurnedAway("forbidden")
        request.state.who = who

    def _holder(self, token: str) -> Who | None:
        """Whose token it is. No token, a wrong one and a revoked one cost the same."""
        with self.database.read() as session:
            found = holder(session, token)
        if found is None:
            return None
        role = cast(Role, found.role)
        return Who(found.name, found.title, role, found.site or (self.site if role == "site" else ""))


def who_asks(request: Request) -> Who:
    """Tell who asks.

    Args:
        request: One that the guard has let through.

    Returns:
        Who.

    Raises:
        AttributeError: If the route is for anybody, so that nobody was asked.

    Example:
        >>> request = Request({"type": "http", "state": {"who": Who("li", "Dr Li", "doctor", "")}})
        >>> who_asks(request).account
        'li'

    References:
        Our own.
    """
    return cast(Who, request.state.who)


def check_policy(app: FastAPI, guard: Guard) -> None:
    """Refuse an app with a route that nobody guards.

    Args:
        app: With all its routes.
        guard: What has to stand before each of them.

    Raises:
        PolicyMissing: If a route has no policy, a policy no route, or a route that is not for anybody no guard.

    Example:
        >>> guard = Guard(Database("sqlite://", key=b""), site="default", policy={})
        >>> check_policy(FastAPI(docs_url=None, redoc_url=None), guard)
        Traceback (most recent call last):
        eyeground.clinic.web.guard.PolicyMissing: routes that nobody has decided on; write them into guard.POLICY:
          GET /openapi.json: no policy

    References:
        Our own.
    """
    wrong, seen = [], set()
    for route in app.routes:
        if not isinstance(route, Route):
            wrong.append(f"{type(route).__name__}: no kind of route that can be guarded")
            continue
        guarded = isinstance(route, APIRoute) and guard in [each.call for each in route.dependant.dependencies]
        for method in sorted((route.methods or set()) - {"HEAD"}):
            seen.add((method, route.path))
            roles = guard.policy.get((method, route.path))
            if roles is None:
                wrong.append(f"{method} {route.path}: no policy")
            elif roles != ANYBODY and not guarded:
                wrong.append(f"{method} {route.path}: the guard does not stand before it")
    wrong += [
        f"{method} {path}: a policy without a route" for method, path in guard.policy if (method, path) not in seen
    ]
    if wrong:
        raise PolicyMissing("\n  ".join(["routes that nobody has decided on; write them into guard.POLICY:", *wrong]))


def document_policy(document: dict[str, Any], policy: Policy = POLICY) -> None:
    """Write into an OpenAPI document who may do what.

    Args:
        document: As FastAPI makes it; it is changed.
        policy: Roles by method and route.

    Example:
        >>> document = {"paths": {"/healthz": {"get": {}}}}
        >>> document_policy(document)
        >>> document["paths"]["/healthz"]["get"]
        {'security': []}

    References:
        OpenAPI 3.1, "Security Requirement Object".
    """
    schemes = document.setdefault("components", {}).setdefault("securitySchemes", {})
    schemes["token"] = {"type": "http", "scheme": "bearer", "description": "As `eyeground clinic account` prints it."}
    for path, methods in document.get("paths", {}).items():
        for method, operation in methods.items():
            roles = policy[method.upper(), path]
            operation["security"] = [{"token": []}] if roles else []
            if roles:
                operation["description"] = "\n\n".join(
                    filter(None, (operation.get("description"), f"For: {', '.join(sorted(roles))}."))
                )


def guarded_answers(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Describe the refusals of a guarded route for the OpenAPI document.

    Args:
        statuses: HTTP statuses beside those that any guarded route has.

    Returns:
        As ``refusing.answers``.

    Example:
        >>> sorted(guarded_answers(404))
        [401, 403, 404, 408, 413, 422, 500, 503]

    References:
        OpenAPI 3.1.
    """
    return answers(*sorted({401, 403, 408, 413, 422, 500, 503, *statuses}))


def _token(request: Request) -> str:
    """The token that was sent; empty where there is none."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip()[:_LONGEST_TOKEN] if scheme.lower() == "bearer" else ""
