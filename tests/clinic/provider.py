"""A provider of single sign-on on this machine, with faults to order: it speaks OpenID Connect as far as we ask."""

import base64
import hashlib
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

import joserfc.jws
from joserfc import jwt
from joserfc.jwk import ECKey, OctKey, RSAKey

CLIENT, SECRET = "eyeground clinic", "a:secret/of the test's"


@dataclass
class Provider:
    """What it is, and what is wrong with it."""

    url: str = ""
    fault: str = ""
    subject: str = "4711"
    algorithm: str = "RS256"
    auth: str = "client_secret_basic"
    codes: dict[str, dict[str, str]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    keys: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.keys = {
            "RS256": RSAKey.generate_key(2048, {"kid": "rsa", "use": "sig"}),
            "ES256": ECKey.generate_key("P-256", {"kid": "ec", "use": "sig"}),
        }

    def new_key(self) -> None:
        """Sign with another key from now on, which is published too."""
        self.keys["RS256"] = RSAKey.generate_key(2048, {"kid": "rsa-2", "use": "sig"})

    def signs_in(self, address: str) -> str:
        """What a person does there: he proves who he is, and is sent back; where to."""
        asked = {name: values[0] for name, values in parse_qs(urlsplit(address).query).items()}
        assert asked["response_type"] == "code"
        assert asked["scope"].split() == ["openid"]
        assert asked["client_id"] == CLIENT
        if self.fault == "says no":
            return f"{asked['redirect_uri']}?error=access_denied&state={asked['state']}"
        code = f"code-{len(self.codes)}"
        self.codes[code] = asked
        state = "another" if self.fault == "other state" else asked["state"]
        more = "&iss=https%3A%2F%2Fevil.example" if self.fault == "other issuer in the address" else ""
        return f"{asked['redirect_uri']}?code={code}&state={quote(state)}{more}"

    def answer(self, path: str, method: str, head: Any, body: str) -> tuple[int, Any]:
        """What it says over HTTP."""
        self.asked.append(f"{method} {path}")
        if self.fault == "down":
            return 503, {}
        if self.fault == "slow":
            time.sleep(3)
        if path == "/.well-known/openid-configuration":
            if self.fault == "redirects":
                return 302, "http://127.0.0.1:9/elsewhere"
            issuer = "https://evil.example" if self.fault == "describes another" else self.url
            jwks = "http://keys.example/jwks" if self.fault == "keys in the open" else f"{self.url}/jwks"
            return 200, {
                "issuer": issuer, "authorization_endpoint": f"{self.url}/authorize", "jwks_uri": jwks,
                "token_endpoint": f"{self.url}/token", "token_endpoint_auth_methods_supported": [self.auth],
            }  # fmt: skip
        if path == "/jwks":
            if self.fault == "no json":
                return 200, b"<html>"
            if self.fault == "too much":
                return 200, b'{"keys": "' + b"x" * 3_000_000
            return 200, {"keys": [key.as_dict(private=False) for key in self.keys.values()]}
        if path == "/token":
            return self._token(head, {name: values[0] for name, values in parse_qs(body).items()})
        return 404, {}

    def _token(self, head: Any, told: dict[str, str]) -> tuple[int, Any]:
        """A token for a code, once, for whoever knows the verifier."""
        if self.auth == "client_secret_basic":
            name, _, secret = base64.b64decode(head["Authorization"].partition(" ")[2]).decode().partition(":")
            client = (unquote(name), unquote(secret))
        else:
            client = (told.get("client_id", ""), told.get("client_secret", ""))
        asked = self.codes.pop(told["code"], None)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(told.get("code_verifier", "").encode()).digest())
        if (
            asked is None or client != (CLIENT, SECRET) or asked.get("code_challenge_method") != "S256"
            or challenge.rstrip(b"=").decode() != asked["code_challenge"]
            or told["redirect_uri"] != asked["redirect_uri"]
        ):  # fmt: skip
            return 400, {"error": "invalid_grant"}
        answer: dict[str, Any] = {"access_token": "a", "token_type": "Bearer"}
        return 200, answer if self.fault == "no id token" else answer | {"id_token": self._signed(asked["nonce"])}

    def _signed(self, nonce: str) -> str:
        """The token, with the fault that was ordered."""
        now = int(time.time())
        claims: dict[str, Any] = {
            "iss": self.url, "aud": CLIENT, "sub": self.subject, "exp": now + 300, "iat": now, "nonce": nonce,
        }  # fmt: skip
        claims |= {
            "wrong nonce": {"nonce": "another"}, "wrong audience": {"aud": "somebody else"},
            "two audiences": {"aud": [CLIENT, "somebody else"]}, "other party": {"azp": "somebody else"},
            "wrong issuer": {"iss": "https://evil.example"}, "expired": {"exp": now - 3600, "iat": now - 7200},
            "from the future": {"iat": now + 86400, "exp": now + 90000}, "no subject": {"sub": ""},
            "wrong access token": {"at_hash": "abc"},
        }.get(self.fault, {})  # fmt: skip
        missing = {"no nonce": "nonce", "no expiry": "exp", "no audience": "aud", "no subject at all": "sub"}
        claims.pop(missing.get(self.fault, ""), None)
        key = self.keys[self.algorithm]
        header = {"alg": self.algorithm, "kid": key.kid}
        if self.fault == "alg none":
            parts = [base64.urlsafe_b64encode(json.dumps(each).encode()).rstrip(b"=").decode() for each in (
                {"alg": "none"}, claims)]  # fmt: skip
            return f"{parts[0]}.{parts[1]}."
        if self.fault == "signed with what is public":
            public = OctKey.import_key(json.dumps(key.as_dict(private=False)))
            registry = joserfc.jws.JWSRegistry(algorithms=["HS256"])
            return jwt.encode({"alg": "HS256", "kid": key.kid}, claims, public, registry=registry)
        if self.fault == "other key":
            key = RSAKey.generate_key(2048, {"kid": key.kid})
        if self.fault == "key of a name nobody knows":
            header["kid"] = "unknown"
        signed = jwt.encode(header, claims, key, algorithms=[self.algorithm])
        if self.fault == "changed":
            head, body, seal = signed.split(".")
            more = base64.urlsafe_b64encode(json.dumps(claims | {"sub": "admin"}).encode()).rstrip(b"=").decode()
            assert body != more
            return f"{head}.{more}.{seal}"
        return signed


@contextmanager
def provider() -> Iterator[Provider]:
    """A provider that listens."""
    found = Provider()

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0))).decode()
            status, told = found.answer(urlsplit(self.path).path, self.command, self.headers, body)
            data = told if isinstance(told, bytes) else json.dumps(told).encode()
            self.send_response(status)
            if status == 302:
                self.send_header("Location", str(told))
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = _answer  # noqa: N815 - the library's names

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield found
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
