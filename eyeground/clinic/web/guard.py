"""Who may do what: a table of roles by route, and the tokens and sessions that tell who asks."""

import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, cast

from fastapi import FastAPI, Request
from fastapi.routing import APIRoute
from starlette.concurrency import run_in_threadpool
from starlette.routing import Route

from eyeground.clinic.accounts import holder
from eyeground.clinic.attempts import Attempts, Tried, neighborhood
from eyeground.clinic.db.database import Database
from eyeground.clinic.db.people import Account
from eyeground.clinic.reviews import Doctor
from eyeground.clinic.sessions import csrf_token, seen, signed_in
from eyeground.clinic.states import Role
from eyeground.clinic.web.refusing import TurnedAway, answers

_LONGEST_TOKEN = 512
Policy = Mapping[tuple[str, str], frozenset[Role]]
ANYBODY: Final[frozenset[Role]] = frozenset()
SENDERS: Final[frozenset[Role]] = frozenset(("site", "operator", "admin"))
STAFF: Final[frozenset[Role]] = frozenset(("doctor", "operator", "admin"))
DOCTORS: Final[frozenset[Role]] = frozenset(("doctor",))
OPERATORS: Final[frozenset[Role]] = frozenset(("operator", "admin"))
ADMINS: Final[frozenset[Role]] = frozenset(("admin",))
_API: Final = "/api/v1"
# What programs ask, and what our own pages' scripts ask; it is all in the OpenAPI document.
PROGRAMS: Final[Policy] = {
    **{("POST", f"{_API}/{door}"): SENDERS for door in ("screenings", "checks", "reports", "uploads")},
    **{("GET", f"{_API}/{door}/{{message_id}}"): SENDERS for door in ("screenings", "checks", "reports", "uploads")},
    ("GET", f"{_API}/cases"): STAFF,
    ("GET", f"{_API}/cases/{{case_id}}"): STAFF,
    ("GET", f"{_API}/cases/{{case_id}}/images/{{place}}"): STAFF,
    ("GET", f"{_API}/cases/{{case_id}}/images/{{place}}/shown"): STAFF,
    ("GET", f"{_API}/cases/{{case_id}}/images/{{place}}/heat"): STAFF,
    ("GET", f"{_API}/counts"): STAFF,
    ("GET", f"{_API}/cases/{{case_id}}/report.html"): STAFF,
    ("GET", f"{_API}/cases/{{case_id}}/report.pdf"): STAFF,
    ("PUT", f"{_API}/cases/{{case_id}}/opinion"): DOCTORS,
    ("PUT", f"{_API}/cases/{{case_id}}/first-read"): DOCTORS,
    ("POST", f"{_API}/cases/{{case_id}}/eye"): DOCTORS,
    ("POST", f"{_API}/cases/{{case_id}}/draft"): DOCTORS,
    ("GET", f"{_API}/cases/{{case_id}}/drafts"): STAFF,
    ("POST", f"{_API}/cases/{{case_id}}/sign"): DOCTORS,
    ("POST", f"{_API}/cases/{{case_id}}/amend"): DOCTORS,
    ("POST", f"{_API}/cases/{{case_id}}/reread"): frozenset(("doctor", "operator", "admin")),
    ("POST", f"{_API}/cases/{{case_id}}/links"): STAFF,
    ("POST", f"{_API}/cases/{{case_id}}/links/revoke"): STAFF,
    ("POST", f"{_API}/screenings/{{message_id}}/link"): SENDERS,
    ("POST", f"{_API}/screenings/{{message_id}}/link/revoke"): SENDERS,
    # A patient has no account: these look at the pass that a link and its code gave.
    **{("GET", f"{_API}/patient/{what}"): ANYBODY for what in ("report", "report.pdf", "images/{place}")},
    ("POST", f"{_API}/patient/sessions"): ANYBODY,
    ("GET", f"{_API}/cases/{{case_id}}/fhir"): STAFF | {"site"},
    ("GET", f"{_API}/dead-letters"): OPERATORS,
    ("POST", f"{_API}/dead-letters/{{number}}/replay"): OPERATORS,
    ("POST", f"{_API}/dead-letters/{{number}}/dismiss"): OPERATORS,
    ("GET", f"{_API}/statistics"): STAFF,
    ("GET", f"{_API}/accounts"): ADMINS,
    ("POST", f"{_API}/accounts"): ADMINS,
    ("POST", f"{_API}/accounts/{{name}}/revoke"): ADMINS,
    ("POST", f"{_API}/accounts/{{name}}/password"): ADMINS,
    ("POST", f"{_API}/accounts/{{name}}/sign-out-everywhere"): ADMINS,
    ("GET", "/healthz"): ANYBODY,
    ("GET", "/readyz"): ANYBODY,
    ("GET", "/metrics"): ANYBODY,  # numbers only; keep the port from strangers all the same
    ("GET", "/openapi.json"): ANYBODY,
}
# What people open in a browser; none of it is in the document.
PEOPLE: Final[Policy] = {
    ("GET", "/"): STAFF,
    ("GET", "/work"): STAFF,
    ("GET", "/signed"): STAFF,
    ("GET", "/sign-in"): ANYBODY,
    ("POST", "/sign-in"): ANYBODY,  # the form has a word of its own
    ("POST", "/sign-out"): STAFF,
    ("GET", "/session"): STAFF,
    ("GET", "/oidc/start"): ANYBODY,
    ("GET", "/oidc/callback"): ANYBODY,
    ("GET", "/password"): STAFF,
    ("POST", "/password"): STAFF,
    ("POST", "/password/elsewhere"): STAFF,
    ("GET", "/cases/{case_id}"): STAFF,
    ("GET", "/cases/{case_id}/standing"): STAFF,
    ("POST", "/cases/{case_id}/foreseen"): DOCTORS,
    **{("GET", f"/p/{{token}}{rest}"): ANYBODY for rest in ("", "/images/{place}", "/report.pdf")},
    ("POST", "/p/{token}"): ANYBODY,
    ("GET", "/statistics"): STAFF,
    ("GET", "/dead-letters"): OPERATORS,
    ("GET", "/accounts"): ADMINS,
    ("GET", "/static/{stamp}/{name}"): ANYBODY,
}
POLICY: Final[Policy] = {**PROGRAMS, **PEOPLE}
# What open pages ask by themselves, every few seconds: nobody needs to be there, and a session ends all the same.
PASSIVE: Final = frozenset((("GET", f"{_API}/counts"), ("GET", "/cases/{case_id}/standing")))
# All that somebody may do whose password was made by somebody else, before he has changed it.
BEFORE_CHANGE: Final = frozenset(
    (
        ("GET", "/password"),
        ("POST", "/password"),
        ("POST", "/password/elsewhere"),
        ("POST", "/sign-out"),
        ("GET", "/session"),
    )
)
_SAFE: Final = ("GET", "HEAD")
CSRF_HEADER: Final = "x-csrf-token"


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
        cookie: Of the browser's session; empty of a program with a token.
        must_change: Whether a password is to be changed before anything else.

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
    cookie: str = field(default="", repr=False)
    must_change: bool = False

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
        idle_minutes: How long a browser's session may lie unused. Unit: min.
        secure: Whether browsers come by TLS, so that cookies are for TLS only.
        attempts: Counts wrong tokens; None = nobody does.

    Example:
        >>> Guard(Database("sqlite://", key=b""), site="default").cookie
        'eyeground'

    References:
        RFC 6750; OWASP Cross-Site Request Forgery Prevention Cheat Sheet.
    """

    def __init__(
        self,
        database: Database,
        *,
        site: str,
        policy: Policy = POLICY,
        idle_minutes: float = 30.0,
        secure: bool = False,
        attempts: Attempts | None = None,
    ) -> None:
        self.database, self.site, self.policy, self.idle_minutes = database, site, policy, idle_minutes
        self._attempts = attempts
        self.cookie = cookie_name(secure=secure)

    async def __call__(self, request: Request) -> None:
        asked = request.method, request.scope["route"].path
        roles = self.policy[asked]
        if roles == ANYBODY:
            return
        who = await run_in_threadpool(self.find, request, is_use=asked not in PASSIVE)
        if who is None:
            raise TurnedAway("unauthorized")
        # A browser sends its cookie whoever made it ask; a program's token comes from nobody but the program.
        if who.cookie and request.method not in _SAFE and not _meant(request, who.cookie):
            raise TurnedAway("not_meant")
        if who.role not in roles:
            raise TurnedAway("forbidden")
        request.state.who = who
        if who.must_change and asked not in BEFORE_CHANGE:
            raise TurnedAway("password_first")

    def find(self, request: Request, *, is_use: bool = True) -> Who | None:
        """Tell who asks, by the token that was sent, or else by the browser's cookie; in a thread.

        No token, a wrong one and a revoked one cost the same. Whoever sends wrong ones is told to wait; a good one is
        let in all the same, for others may stand behind the same address.

        Args:
            request: The request.
            is_use: Whether it shows that somebody is there, so that a browser's session lives on.

        Returns:
            Who; None where nobody is known.

        Raises:
            DatabaseLost: If the database does not answer.
            TurnedAway: If too many wrong tokens came from there.
        """
        token, cookie = _token(request), request.cookies.get(self.cookie, "")[:_LONGEST_TOKEN]
        if token or not cookie:
            with self.database.read() as session:
                found = holder(session, token)
            if found is None and token and self._attempts is not None:
                address = neighborhood(request.client.host if request.client else "")
                if wait_s := self._attempts.begin(Tried("token", address)):
                    raise TurnedAway("too_many_tries", after_s=wait_s)
            return None if found is None else self._who(found, "")
        with self.database.read() as session:
            known = signed_in(session, cookie, idle_minutes=self.idle_minutes)
        if known is None:
            return None
        if known.is_new_minute and is_use:
            with self.database.write() as work:
                if not seen(work, cookie):  # signed out a moment ago
                    return None
        return self._who(known.account, cookie, must_change=known.must_change)

    def _who(self, account: Account, cookie: str, *, must_change: bool = False) -> Who:
        """An account as routes see it."""
        role = cast(Role, account.role)
        site = account.site or (self.site if role == "site" else "")
        return Who(account.name, account.title, role, site, cookie, must_change)


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


def cookie_name(*, secure: bool) -> str:
    """Name the cookie of a browser's session.

    Args:
        secure: Whether browsers come by TLS.

    Returns:
        With TLS a name that browsers take from this host and by TLS only.

    Example:
        >>> cookie_name(secure=True)
        '__Host-eyeground'

    References:
        RFC 6265bis, section 4.1.3.
    """
    return "__Host-eyeground" if secure else "eyeground"


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


def is_from_here(request: Request) -> bool:
    """Tell whether a browser says that a page of this very service made it ask.

    Args:
        request: What was asked.

    Returns:
        Whether it says so. Where it says nothing, or "null", as browsers do for pages that tell no referrer, another
        proof is needed; there is one wherever this is asked.

    Example:
        >>> is_from_here(Request({"type": "http", "headers": [(b"sec-fetch-site", b"cross-site")]}))
        False

    References:
        W3C Fetch Metadata Request Headers; RFC 6454.
    """
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin", "null")
    if site is not None:
        return site in ("same-origin", "none")
    return origin == "null" or origin.partition("://")[2].lower() == request.headers.get("host", "").lower()


def guarded_answers(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Describe the refusals of a guarded route for the OpenAPI document.

    Args:
        statuses: HTTP statuses beside those that any guarded route has.

    Returns:
        As ``refusing.answers``.

    Example:
        >>> sorted(guarded_answers(404))
        [401, 403, 404, 408, 413, 422, 429, 500, 503]

    References:
        OpenAPI 3.1.
    """
    return answers(*sorted({401, 403, 408, 413, 422, 429, 500, 503, *statuses}))


def _meant(request: Request, cookie: str) -> bool:
    """Whether one of our own pages has sent it: it knows the session's word, and no other origin is named."""
    sent = request.headers.get(CSRF_HEADER, "")
    if not hmac.compare_digest(sent.encode(), csrf_token(cookie).encode()):
        return False
    return is_from_here(request)


def _token(request: Request) -> str:
    """The token that was sent; empty where there is none."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip()[:_LONGEST_TOKEN] if scheme.lower() == "bearer" else ""
