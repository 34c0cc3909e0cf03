"""Signing in at the provider of single sign-on: the way there, and the way back."""

from typing import Final
from urllib.parse import urlencode

from anyio import CapacityLimiter, to_thread
from fastapi import FastAPI, Request, Response
from starlette.responses import RedirectResponse

from eyeground.clinic.accounts import known_as
from eyeground.clinic.attempts import Tried, neighborhood
from eyeground.clinic.kept import ProviderLost
from eyeground.clinic.log import failed, say
from eyeground.clinic.oidc import CALLBACK, FLOW_S, Flow, OidcRefused, oidc_key, single_sign_on
from eyeground.clinic.web.desk import Desk
from eyeground.clinic.web.entrance import SIGN_IN, enter, own_path
from eyeground.clinic.web.guard import is_from_here
from eyeground.clinic.web.refusing import TurnedAway

_COOKIE: Final = "eyeground-oidc"
_AT_ONCE: Final = 4


def add(app: FastAPI, desk: Desk) -> None:
    """Put the routes into an app.

    Args:
        app: The app.
        desk: What routes share.

    Raises:
        TurnedAway: If no provider is set, or somebody has tried too often.

    References:
        docs/clinic.md.
    """
    settings = desk.service.settings
    provider, key = single_sign_on(settings), oidc_key(settings.secret.get_secret_value())
    # A cookie of that name is this host's own; the prefix wants the path to be "/".
    name = f"__Host-{_COOKIE}" if settings.secure else _COOKIE

    # A provider that hangs holds these threads, and none of those that answer everything else.
    waiting = CapacityLimiter(_AT_ONCE)

    @app.get("/oidc/start", include_in_schema=False)
    async def start(request: Request) -> Response:
        """Send somebody there."""
        return await to_thread.run_sync(_start, request, limiter=waiting)

    @app.get(CALLBACK, include_in_schema=False)
    async def callback(request: Request) -> Response:
        """Take somebody who comes back; his flow is good once."""
        return await to_thread.run_sync(_finish, request, limiter=waiting)

    def _start(request: Request) -> Response:
        if provider is None:
            raise TurnedAway("not_found")
        back = own_path(request.query_params.get("next", ""))
        if not is_from_here(request):  # another site's page costs nobody anything: a person presses the button himself
            return _again("", back)
        if wait_s := desk.attempts.begin(Tried("start", _place(request))):
            raise TurnedAway("too_many_tries", after_s=wait_s)
        try:
            address, flow = provider.start(back)
        except ProviderLost as error:
            failed("provider_lost", error)
            return _again("lost", back)
        response = RedirectResponse(address, 303)
        response.set_cookie(
            name, flow.sealed(key), max_age=int(FLOW_S), secure=settings.secure, httponly=True, samesite="lax", path="/"
        )
        return response

    def _finish(request: Request) -> Response:
        if provider is None:
            raise TurnedAway("not_found")
        told = dict(request.query_params)
        flow = Flow.opened(request.cookies.get(name, ""), key)
        if flow is None or not flow.is_of(told):  # anybody's page can make a browser ask this: it costs it nothing
            say("sign_in_refused", kind="oidc", code="bad_state")
            return _again("refused", flow.back if flow else "")
        back, address = flow.back, Tried("address", _place(request))
        if wait_s := desk.attempts.begin(address):
            raise TurnedAway("too_many_tries", after_s=wait_s)
        try:
            if desk.attempts.begin(Tried("state", flow.state)):
                raise OidcRefused("bad_state")
            subject = provider.finish(flow, told)
        except OidcRefused as refused:
            say("sign_in_refused", kind="oidc", code=refused.fault)
            return _gone(_again("refused", back))
        except ProviderLost as error:
            failed("provider_lost", error)
            desk.attempts.succeeded(address)
            return _gone(_again("lost", back))
        desk.attempts.succeeded(address, Tried("start", _place(request)))
        with desk.service.database.read() as session:
            account = known_as(session, subject)
        entered = enter(desk, request, account, how="oidc", back=back) if account else None
        if entered is None:
            say("sign_in_refused", kind="oidc", code="nobody_here")
            return _gone(_again("unknown", back))
        return _gone(entered)

    def _gone(response: Response) -> Response:
        """Take the flow's cookie back."""
        response.delete_cookie(name, secure=settings.secure, httponly=True, samesite="lax", path="/")
        return response


def _again(problem: str, back: str) -> Response:
    """To the form, which says what did not work."""
    told = {name: each for name, each in (("problem", problem), ("next", back)) if each}
    return RedirectResponse(f"{SIGN_IN}?{urlencode(told)}" if told else SIGN_IN, 303)


def _place(request: Request) -> str:
    """Where somebody comes from."""
    return neighborhood(request.client.host if request.client else "")
