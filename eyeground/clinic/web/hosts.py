"""Requests for other hosts are turned away: no other site's name leads here (DNS rebinding)."""

import ipaddress
from typing import Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from eyeground.clinic.web.refusing import TurnedAway, turn_away

# What looks after processes asks them by whatever address they have.
_LOOKED_AFTER: Final = ("/healthz", "/readyz", "/metrics")
_PORTS: Final = {"https": 443, "http": 80}


class KnownHosts:
    """Lets requests through that are meant for this service.

    Args:
        app: What it guards.
        public_url: ``Settings.public_url``.

    Example:
        >>> async def app(scope, receive, send): ...
        >>> KnownHosts(app, public_url="").app is app
        True

    References:
        OWASP Web Security Testing Guide, "Testing for Host Header Injection".
    """

    def __init__(self, app: ASGIApp, *, public_url: str) -> None:
        self.app, self._public_url = app, public_url

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] not in _LOOKED_AFTER:
            asked = Headers(scope=scope).getlist("host")
            if len(asked) > 1 or not is_ours(asked[0] if asked else "", public_url=self._public_url):
                await turn_away(TurnedAway("wrong_host"), scope)(scope, receive, send)
                return
        await self.app(scope, receive, send)


def is_ours(host: str, *, public_url: str) -> bool:
    """Tell whether a request was meant for this service.

    Args:
        host: What the request calls it, with the port if there is one; empty = nothing was said.
        public_url: ``Settings.public_url``. Without one a number, or a name without a dot, is this service: neither can
            be made to lead here by somebody who owns a domain.

    Returns:
        Whether it was.

    Example:
        >>> is_ours("eyes.example:443", public_url="https://eyes.example"), is_ours("127.0.0.1:8080", public_url="")
        (True, True)
        >>> is_ours("evil.example", public_url="https://eyes.example"), is_ours("evil.example:8080", public_url="")
        (False, False)

    References:
        RFC 9110, section 7.2.
    """
    if public_url:
        scheme = urlsplit(public_url).scheme
        return _parts(host, _PORTS[scheme]) == _parts(urlsplit(public_url).netloc, _PORTS[scheme])
    found = _parts(host, 80)
    if not host or found is None:
        return not host
    name = found[0].strip("[]")
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return "." not in name or name.endswith(".localhost")
    return True


def _parts(host: str, port: int) -> tuple[str, int] | None:
    """A host's name and port; None where it is none."""
    try:
        found = urlsplit(f"//{host}")
        is_host = found.hostname and not found.path and not found.username and not found.query and not found.fragment
        return (found.hostname, found.port or port) if is_host and found.hostname else None
    except ValueError:
        return None
