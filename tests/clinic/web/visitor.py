"""Somebody with a browser, without one: cookies are kept, redirects looked at, forms filled in."""

import re
from typing import Any
from urllib.parse import urlencode

import httpx

from eyeground.clinic.sessions import csrf_token

from .office import Office

GOOD, OTHER = "seven geese walk home", "eight geese swim away"


class Visitor:
    """Somebody with a browser: cookies are kept, redirects looked at."""

    def __init__(self, office: Office, **headers: str) -> None:
        self.office, self.cookies, self.headers = office, dict[str, str](), headers
        self.flags: dict[str, set[str]] = {}

    def ask(self, method: str, path: str, **more: Any) -> httpx.Response:
        headers = {"Accept": "text/html", **self.headers, **more.pop("headers", {})}
        if self.cookies:
            headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        reply = self.office.ask(method, path, headers=headers, **more)
        for each in reply.headers.get_list("set-cookie"):
            first, *rest = (part.strip() for part in each.split(";"))
            name, _, value = first.partition("=")
            self.flags[name] = {part.lower() for part in rest}
            self.cookies[name] = value.strip('"')
        self.cookies = {name: value for name, value in self.cookies.items() if value}
        return reply

    def form(self, path: str = "/sign-in") -> str:
        """Open the form; its word."""
        page = self.ask("GET", path)
        assert page.status_code == 200, page.text
        found = re.search('name="form" value="([0-9a-f]{64})"', page.text)
        assert found
        return found[1]

    def signs_in(
        self, name: str = "doctor", password: str = GOOD, path: str = "/sign-in", **more: str
    ) -> httpx.Response:
        """Fill the form in and send it."""
        return self.sends({"form": self.form(path), "name": name, "password": password} | more, path)

    def sends(self, told: dict[str, str], path: str = "/sign-in", **headers: str) -> httpx.Response:
        kind = {"Content-Type": "application/x-www-form-urlencoded"}
        return self.ask("POST", path, content=urlencode(told), headers=kind | headers)

    def does(self, path: str, told: dict[str, Any] | None = None) -> httpx.Response:
        """What one of our own pages' scripts asks for."""
        word = csrf_token(self.cookies["eyeground"])
        headers = {"X-CSRF-Token": word, "Sec-Fetch-Site": "same-origin", "Accept": "application/json"}
        return self.ask("POST", path, headers=headers, **({} if told is None else {"json": told}))

    @property
    def is_in(self) -> bool:
        return self.ask("GET", "/password").status_code == 200
