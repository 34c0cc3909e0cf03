"""Pages written for a browser: template, words, language, and what every page has around it."""

import hashlib
import json
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any, Final, Literal, get_args
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from fastapi import Request
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from starlette.datastructures import QueryParams
from starlette.responses import HTMLResponse
from starlette.types import Scope

from eyeground.clinic.sessions import csrf_token
from eyeground.clinic.settings import Settings
from eyeground.clinic.states import Role
from eyeground.clinic.web.guard import POLICY, Who
from eyeground.serve.predictor import NOTE

Language = Literal["zh", "en"]
STATIC: Final = "/static"
LANGUAGE_COOKIE: Final = "language"
_TEMPLATES: Final = Path(__file__).with_name("templates")
_FILES: Final = Path(__file__).with_name("static")
_KINDS: Final[Mapping[str, str]] = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
# Pictures are this server's own, or made by its scripts (blob:).
POLICY_OF_PAGES: Final = (
    "default-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; script-src 'self'; "
    "style-src 'self'; img-src 'self' blob:; connect-src 'self'"
)


@dataclass(frozen=True)
class Place:
    """A place that everybody of a role finds in the head of every page.

    Args:
        path: Its address.
        key: Its name, a word of ``shared.toml``.

    Example:
        >>> Place("/work", "work").path
        '/work'

    References:
        pages.md of the design.
    """

    path: str
    key: str


PLACES: Final = (
    Place("/work", "work"),
    Place("/signed", "signed_today"),
    Place("/statistics", "statistics"),
    Place("/dead-letters", "dead_letters"),
    Place("/accounts", "accounts"),
)
Around = Callable[[Who], Mapping[str, int]]


class Pages:
    """Writes pages.

    Args:
        settings: The service's.
        counts: What stands beside the names of places, by path; None = nothing.

    References:
        Our own.
    """

    def __init__(self, settings: Settings, *, counts: Around | None = None) -> None:
        self.settings, self._counts = settings, counts
        self.stamp = _stamp()
        self._zone = ZoneInfo(settings.timezone)
        self._templates = Environment(
            loader=FileSystemLoader(_TEMPLATES),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.filters["moment"] = self.moment
        self._templates.filters["data"] = _data

    def show(
        self,
        request: Request,
        name: str,
        *,
        status: int = 200,
        who: Who | None = None,
        counted: bool = True,
        **told: Any,
    ) -> HTMLResponse:
        """Write a page.

        Args:
            request: Who wants it, and in which language.
            name: Template and words: ``templates/<name>.jinja.html`` and ``<name>.toml``.
            status: HTTP status.
            who: Who is signed in, where the guard has not said so.
            counted: Whether numbers stand in its head; without them the database is asked for nothing.
            told: What the template uses.

        Returns:
            The page.

        Raises:
            UndefinedError: If the template uses what was not told.
        """
        known: Who | None = getattr(request.state, "who", who)
        language = language_of(request.scope)
        html = self._templates.get_template(f"{name}.jinja.html").render(
            page=name,
            say=words_of(name, language),
            language=language,
            other_language=self._turned(request, language),
            note=NOTE[language],
            site=self.settings.title,
            who=known,
            csrf=csrf_token(known.cookie) if known and known.cookie else "",
            places=places_of(known.role) if known and not known.must_change else (),
            counts=self._counts(known) if known and self._counts and counted and not known.must_change else {},
            here=request.scope["path"],
            static=f"{STATIC}/{self.stamp}",
            zone=self.settings.timezone,
            **told,
        )
        response = HTMLResponse(html, status, headers={"Content-Security-Policy": POLICY_OF_PAGES})
        response.headers["Content-Language"] = language
        if "lang" in request.query_params:
            response.set_cookie(
                LANGUAGE_COOKIE, language, max_age=31536000, samesite="lax", secure=self.settings.secure, httponly=True
            )
        return response

    def moment(self, told: str, *, seconds: bool = False) -> str:
        """Say a time in the service's zone.

        Args:
            told: UTC, ISO, as the tables have it; empty gives nothing.
            seconds: Whether seconds are told.

        Returns:
            Such as ``2026-11-28 17:40 +08:00``.
        """
        if not told:
            return ""
        at = datetime.fromisoformat(told).astimezone(self._zone)
        return at.isoformat(sep=" ", timespec="seconds" if seconds else "minutes").replace("+", " +")

    def _turned(self, request: Request, language: Language) -> str:
        """The same address in the other language."""
        asked = [(key, value) for key, value in request.query_params.multi_items() if key != "lang"]
        return f"?{urlencode([*asked, ('lang', 'en' if language == 'zh' else 'zh')])}"


def language_of(scope: Scope) -> Language:
    """Tell in which language a page is written.

    Args:
        scope: The request, as ASGI has it.

    Returns:
        What its address asks for (``lang``), else what was chosen before, else what the browser prefers, else English.

    Example:
        >>> language_of({"type": "http", "headers": [(b"accept-language", b"zh-CN,zh;q=0.9,en;q=0.8")]})
        'zh'

    References:
        RFC 9110, section 12.5.4.
    """
    asked = QueryParams(scope.get("query_string", b"")).get("lang", "")
    request = Request({"type": "http", "headers": scope.get("headers", [])})
    for word in (asked, request.cookies.get(LANGUAGE_COOKIE, "")):
        if word in get_args(Language):
            return word  # type: ignore[return-value]
    preferred = [
        (float(weight or 1) if weight.replace(".", "", 1).isdigit() or not weight else 0.0, -place, tag[:2].lower())
        for place, each in enumerate(request.headers.get("accept-language", "").split(",")[:20])
        for tag, _, weight in [each.strip().partition(";q=")]
    ]
    known = [each for each in preferred if each[2] in get_args(Language) and each[0] > 0]
    return max(known)[2] if known else "en"  # type: ignore[return-value]


def wants_page(request: Request) -> bool:
    """Tell whether a person waits for an answer in a browser, rather than a program.

    Args:
        request: The request.

    Returns:
        Whether a refusal is to be a page.

    Example:
        >>> asked = {"type": "http", "method": "GET", "path": "/work", "headers": [(b"accept", b"text/html")]}
        >>> wants_page(Request(asked))
        True

    References:
        Our own.
    """
    path = request.scope["path"]
    is_page = request.method in ("GET", "POST") and not path.startswith(("/api/", f"{STATIC}/"))
    return is_page and "text/html" in request.headers.get("accept", "")


def home_of(role: Role) -> str:
    """Say where somebody of a role begins.

    Args:
        role: The role.

    Returns:
        An address.

    Example:
        >>> home_of("site")
        '/'

    References:
        Our own.
    """
    found = places_of(role)
    return found[0].path if found else "/"


def places_of(role: Role) -> tuple[Place, ...]:
    """List the places that somebody of a role may go to.

    Args:
        role: The role.

    Returns:
        Those that there are.

    Example:
        >>> places_of("site")
        ()

    References:
        ``guard.POLICY``.
    """
    return tuple(place for place in PLACES if role in POLICY.get(("GET", place.path), ()))


@cache
def words_of(page: str, language: Language) -> Mapping[str, Any]:
    """Read the words of a page.

    Args:
        page: Its name.
        language: Which.

    Returns:
        Those of ``shared.toml`` and of the page's own file; a table of a file is a table here.

    Raises:
        KeyError: If a word has no such language.

    Example:
        >>> words_of("refused", "zh")["language_name"]
        '中文'

    References:
        Our own.
    """
    files = [_TEMPLATES / "shared.toml", _TEMPLATES / f"{page}.toml"]
    told: dict[str, Any] = {}
    for file in files:
        told |= tomllib.loads(file.read_text("utf-8")) if file.exists() else {}
    return {key: _in(language, each) for key, each in told.items()}


@cache
def static_file(name: str) -> tuple[bytes, str] | None:
    """Read a file that pages are made of.

    Args:
        name: Its name.

    Returns:
        Its content and type; None where there is none.

    Example:
        >>> static_file("../paging.py") is None
        True

    References:
        Our own.
    """
    known = {path.name: path for path in _FILES.iterdir() if path.suffix in _KINDS}
    return (known[name].read_bytes(), _KINDS[known[name].suffix]) if name in known else None


def _in(language: Language, each: Mapping[str, Any]) -> Any:
    """A word, or a table of words, in a language."""
    if set(each) == set(get_args(Language)):
        return each[language]
    return {key: _in(language, inner) for key, inner in each.items()}


def _data(told: Any) -> Markup:
    """Values for a page's scripts, in a block of data: nothing in them can end it, or begin another."""
    text = json.dumps(told, ensure_ascii=False)
    for sign, code in (
        ("<", "\\u003c"),
        (">", "\\u003e"),
        ("&", "\\u0026"),
        ("\u2028", "\\u2028"),
        ("\u2029", "\\u2029"),
    ):
        text = text.replace(sign, code)
    return Markup(text)  # noqa: S704 - made harmless above


def _stamp() -> str:
    """Name what the files are now."""
    parts = [path.read_bytes() for path in sorted(_FILES.iterdir()) if path.suffix in _KINDS]
    return hashlib.sha256(b"".join(parts)).hexdigest()[:12]
