"""Single sign-on: OpenID Connect's code flow with PKCE. The provider says who somebody is, and nothing else."""

import base64
import hashlib
import hmac
import json
import secrets
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Final, Literal
from urllib.parse import quote, urlsplit

from eyeground.clinic.clock import now
from eyeground.clinic.kept import Kept, ProviderLost
from eyeground.clinic.safety import LOOPBACK
from eyeground.clinic.settings import Settings

OidcFault = Literal[
    "bad_state", "provider_refused", "wrong_provider", "bad_token", "wrong_claims", "not_openid", "bad_answer",
]  # fmt: skip
FLOW_S: Final = 600.0
CALLBACK: Final = "/oidc/callback"
# Signatures that only the provider can make; "none", and those made with a shared secret, are none of them.
ALGORITHMS: Final = ("RS256", "ES256")
_DISCOVERY: Final = "/.well-known/openid-configuration"
_MOST_BYTES: Final = 2**20
_CLOCKS_S: Final = 60  # the provider's clock and ours may differ that much
_LONGEST: Final = 4096


class OidcRefused(ValueError):
    """Somebody who came back from the provider with nothing that proves who he is.

    Args:
        fault: What was wrong; a word for the log.

    Example:
        >>> OidcRefused("bad_state").fault
        'bad_state'

    References:
        Our own.
    """

    def __init__(self, fault: OidcFault) -> None:
        super().__init__(f"single sign-on was refused: {fault}")
        self.fault = fault


@dataclass(frozen=True)
class Flow:
    """Somebody on his way to the provider and back; he carries it himself, sealed.

    Args:
        state: Random; comes back in the address.
        nonce: Random; comes back in the token.
        verifier: Random; the provider was told its hash (PKCE).
        back: Where he goes afterwards.
        made_at: UTC, ISO.

    Example:
        >>> flow = Flow("s", "n", "v", "/work", now())
        >>> Flow.opened(flow.sealed(b"key"), b"key") == flow, Flow.opened(flow.sealed(b"key"), b"another") is None
        (True, True)

    References:
        RFC 7636; OpenID Connect Core 1.0, section 3.1.2.1.
    """

    state: str
    nonce: str
    verifier: str
    back: str
    made_at: str

    def is_of(self, told: Mapping[str, str]) -> bool:
        """Tell whether an address that somebody came back to is this flow's.

        Args:
            told: What stood in it.

        Returns:
            Whether its state is.
        """
        return hmac.compare_digest(told.get("state", "").encode(), self.state.encode())

    def sealed(self, key: bytes) -> str:
        """Write it so that nobody can change it.

        Args:
            key: As ``oidc_key`` gives it.

        Returns:
            What a cookie may hold.
        """
        body = base64.urlsafe_b64encode(json.dumps(asdict(self)).encode()).decode()
        return f"{body}.{_seal(body, key)}"

    @classmethod
    def opened(cls, told: str, key: bytes) -> "Flow | None":
        """Read what ``sealed`` wrote.

        Args:
            told: What a cookie held.
            key: As ``oidc_key`` gives it.

        Returns:
            The flow; None where it is not ours, or older than ten minutes, or from a later day than this.
        """
        body, _, seal = told[:_LONGEST].partition(".")
        if not hmac.compare_digest(seal.encode(), _seal(body, key).encode()):
            return None
        flow = cls(**json.loads(base64.urlsafe_b64decode(body)))
        age_s = (datetime.fromisoformat(now()) - datetime.fromisoformat(flow.made_at)).total_seconds()
        return flow if -_CLOCKS_S <= age_s <= FLOW_S else None


class SingleSignOn:
    """One provider.

    Args:
        issuer: Its name, which is an address.
        client_id: What it calls this service.
        client_secret: This service's secret there.
        redirect_uri: Where it sends people back to.
        timeout_s: Longest time for one of its answers. Unit: s.

    Example:
        >>> SingleSignOn("https://id.example", client_id="a", client_secret="b", redirect_uri="c").issuer
        'https://id.example'

    References:
        OpenID Connect Core 1.0; OAuth 2.0 Security Best Current Practice, RFC 9700.
    """

    def __init__(
        self, issuer: str, *, client_id: str, client_secret: str, redirect_uri: str, timeout_s: float = 10.0
    ) -> None:
        self.issuer, self.client_id, self.redirect_uri, self._timeout_s = issuer, client_id, redirect_uri, timeout_s
        self._secret = client_secret
        self._known = Kept(self._ask_description)
        self._keys = Kept(self._ask_keys)

    def start(self, back: str) -> tuple[str, Flow]:
        """Send somebody to the provider.

        Args:
            back: Where he goes afterwards.

        Returns:
            The provider's address for him, and what he carries.

        Raises:
            ProviderLost: If the provider does not answer.
        """
        from authlib.oauth2.rfc6749.parameters import prepare_grant_uri
        from authlib.oauth2.rfc7636 import create_s256_code_challenge

        state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
        flow = Flow(state, nonce, verifier, back, now())
        address = prepare_grant_uri(
            str(self._known.get()["authorization_endpoint"]),
            client_id=self.client_id,
            response_type="code",
            redirect_uri=self.redirect_uri,
            scope="openid",
            state=flow.state,
            nonce=flow.nonce,
            code_challenge=create_s256_code_challenge(flow.verifier),
            code_challenge_method="S256",
        )
        return address, flow

    def finish(self, flow: Flow, told: Mapping[str, str]) -> str:
        """Find out who has come back.

        Args:
            flow: What he carried.
            told: What stood in the address that he came back to.

        Returns:
            ``"<issuer> <subject>"``.

        Raises:
            OidcRefused: If anything does not fit.
            ProviderLost: If the provider does not answer.
        """
        if not flow.is_of(told):
            raise OidcRefused("bad_state")
        if told.get("iss", self.issuer) != self.issuer:  # RFC 9207
            raise OidcRefused("wrong_provider")
        code = told.get("code", "")[:_LONGEST]
        if "error" in told or not code:
            raise OidcRefused("provider_refused")
        described = self._known.get()
        methods = described.get("token_endpoint_auth_methods_supported", ["client_secret_basic"])
        asked = {
            "grant_type": "authorization_code", "code": code, "redirect_uri": self.redirect_uri,
            "code_verifier": flow.verifier,
        }  # fmt: skip
        auth = None
        if "client_secret_basic" in methods:
            auth = (quote(self.client_id, safe=""), quote(self._secret, safe=""))  # RFC 6749, section 2.3.1
        else:
            asked |= {"client_id": self.client_id, "client_secret": self._secret}
        status, answer = self._asked("POST", str(described["token_endpoint"]), data=asked, auth=auth)
        if status >= 500:
            raise ProviderLost("the provider of single sign-on does not give tokens")
        token = answer.get("id_token") if status == 200 else None
        if not isinstance(token, str):
            raise OidcRefused("provider_refused" if status != 200 else "not_openid")
        return f"{self.issuer} {self._subject(token, flow, answer)}"

    def _subject(self, token: str, flow: Flow, answer: Mapping[str, Any]) -> str:
        """Whom a token is about, once its signature and everything it says is found good."""
        from authlib.oidc.core import CodeIDToken
        from joserfc import jwt
        from joserfc.errors import JoseError

        keys = self._keys.get()
        try:
            try:
                decoded = jwt.decode(token, keys, algorithms=list(ALGORITHMS))
            except (JoseError, ValueError):
                newer = self._keys.get(other_than=keys)  # keys change now and then
                if newer is keys:
                    raise
                decoded = jwt.decode(token, newer, algorithms=list(ALGORITHMS))
        except (JoseError, ValueError, TypeError, KeyError):
            raise OidcRefused("bad_token") from None
        wanted = {"iss": {"essential": True, "value": self.issuer}, "aud": {"essential": True, "value": self.client_id}}
        wanted |= {name: {"essential": True} for name in ("sub", "exp", "iat", "nonce")}
        told = {"nonce": flow.nonce, "client_id": self.client_id, "access_token": answer.get("access_token")}
        claims = CodeIDToken(decoded.claims, decoded.header, wanted, told)
        try:
            claims.validate(leeway=_CLOCKS_S)
        except (JoseError, ValueError, TypeError, AttributeError):
            raise OidcRefused("wrong_claims") from None
        subject = claims["sub"]
        if not isinstance(subject, str) or not subject or len(subject) > 255:
            raise OidcRefused("wrong_claims")
        return subject

    def _ask_description(self) -> Mapping[str, Any]:
        """What the provider says of itself."""
        status, told = self._asked("GET", self.issuer.rstrip("/") + _DISCOVERY)
        names = ("authorization_endpoint", "token_endpoint", "jwks_uri")
        if status != 200 or told.get("issuer") != self.issuer or not all(map(_is_safe, map(told.get, names))):
            raise ProviderLost("what is under the issuer's address does not describe that provider")
        return told

    def _ask_keys(self) -> Any:
        """The provider's public keys."""
        from joserfc.errors import JoseError
        from joserfc.jwk import KeySet

        status, told = self._asked("GET", str(self._known.get()["jwks_uri"]))
        try:
            found = KeySet.import_key_set(told)  # type: ignore[arg-type]
        except (JoseError, ValueError, TypeError, KeyError):
            raise ProviderLost("the provider of single sign-on has no keys that can be read") from None
        if status != 200 or not found.keys:
            raise ProviderLost("the provider of single sign-on gives no keys")
        return found

    def _asked(self, method: str, address: str, **more: Any) -> tuple[int, dict[str, Any]]:
        """Ask the provider: by TLS, without being sent elsewhere, not for long, and not for much."""
        import httpx

        ends, body = time.monotonic() + self._timeout_s, b""
        try:
            with (
                httpx.Client(timeout=self._timeout_s, follow_redirects=False) as client,
                client.stream(method, address, headers={"Accept": "application/json"}, **more) as reply,
            ):
                for part in reply.iter_bytes():
                    body += part
                    if len(body) > _MOST_BYTES or time.monotonic() > ends:
                        raise ProviderLost("the provider of single sign-on answers too much, or too slowly")
                told = json.loads(body)
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            raise ProviderLost("the provider of single sign-on does not answer") from error
        except (ValueError, RecursionError):
            raise ProviderLost("the provider of single sign-on does not answer in JSON") from None
        if not isinstance(told, dict):
            raise ProviderLost("the provider of single sign-on does not answer as one")
        return reply.status_code, told


def single_sign_on(settings: Settings) -> SingleSignOn | None:
    """Open the provider that the settings name.

    Args:
        settings: The service's.

    Returns:
        It; None where none is named.

    Example:
        >>> single_sign_on(Settings(secret="a phrase of your own")) is None
        True

    References:
        docs/clinic.md.
    """
    if not settings.oidc_issuer:
        return None
    return SingleSignOn(
        settings.oidc_issuer,
        client_id=settings.oidc_client_id,
        client_secret=settings.oidc_client_secret.get_secret_value(),
        redirect_uri=settings.public_url + CALLBACK,
    )


def oidc_key(secret: str) -> bytes:
    """Derive the key that seals flows.

    Args:
        secret: ``Settings.secret``.

    Returns:
        32 bytes.

    Example:
        >>> len(oidc_key("a phrase of your own"))
        32

    References:
        RFC 2104.
    """
    return hmac.new(secret.encode(), b"eyeground single sign-on", hashlib.sha256).digest()


def _seal(body: str, key: bytes) -> str:
    """What proves that we wrote it."""
    return hmac.new(key, body.encode("utf-8", "replace"), hashlib.sha256).hexdigest()


def _is_safe(address: object) -> bool:
    """Whether an address is one for secrets: by TLS, or on this machine."""
    try:
        parts = urlsplit(address) if isinstance(address, str) else None
    except ValueError:
        return False
    return parts is not None and (parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in LOOPBACK))
