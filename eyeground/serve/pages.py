"""Pages that a browser opens, and the headers that keep them to their own server."""

import base64
import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from eyeground.evaluate.wording import shown
from eyeground.explain.regions import TITLES
from eyeground.serve.predictor import NOTE
from eyeground.serve.replies import words
from eyeground.serve.shapes import Language, ModelFacts

_FOLDER: Final = Path(__file__).parent / "page"
# What the form is made of, by the name it has in an address.
FILES: Final[Mapping[str, str]] = {"form.css": "text/css", "form.js": "text/javascript", "icon.svg": "image/svg+xml"}

_NOTHING = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
# Pictures of the form come from its own script: the chosen file and the heat map (blob:).
_FORM = f"{_NOTHING}; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'"
HEADERS: Final[Mapping[str, str]] = {
    "Content-Security-Policy": _FORM,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",  # answers are about patients
}


class SecurityHeaders:
    """Puts ``HEADERS`` on every answer that does not bring its own.

    Args:
        app: Whose answers.
        more: Headers beside those.

    Example:
        >>> async def app(scope, receive, send): ...
        >>> SecurityHeaders(app).app is app
        True

    References:
        OWASP Secure Headers Project; Content Security Policy Level 3.
    """

    def __init__(self, app: ASGIApp, *, more: Mapping[str, str] = MappingProxyType({})) -> None:
        self.app, self._headers = app, {**HEADERS, **more}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def guarded_send(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in self._headers.items():
                    headers.setdefault(name, value)
            await send(message)

        await self.app(scope, receive, guarded_send)


def form_page(facts: ModelFacts, language: Language) -> str:
    """Write the page on which a person asks the model.

    Args:
        facts: The model.
        language: Which of the two is shown first.

    Returns:
        HTML; both languages are in it.

    Example:
        >>> from eyeground.serve.shapes import ModelName
        >>> name = ModelName(id="00", weights_sha256="00", runtime="torch", precision="fp32")
        >>> facts = ModelFacts(model=name, task="multiclass", modality="fundus", slices="center", preprocessing={},
        ...                    calibrated=False, heat_maps=False, max_bytes=2**25, heads=[])
        >>> "眼底照片" in form_page(facts, "zh")
        True

    References:
        Our own.
    """
    environment = Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["shown"] = shown
    # What a heat map may name has its titles where it is measured.
    told: dict[str, Any] = {"words": {**words(), "regions": TITLES}, "facts": facts.model_dump(mode="json")}
    return environment.get_template("form.jinja.html").render(
        words=words(), facts=facts, note=NOTE, language=language, told=told, megabytes=f"{facts.max_bytes / 2**20:.3g}"
    )


def page_file(name: str) -> bytes:
    """Read a file that the form is made of.

    Args:
        name: A key of ``FILES``.

    Returns:
        Its content.

    Example:
        >>> b"use strict" in page_file("form.js")
        True

    References:
        Our own.
    """
    return (_FOLDER / name).read_bytes()


def docs_policy(html: str) -> str:
    """Say what the OpenAPI page may do.

    Its one inline script, which starts Swagger UI, is named by its hash. Swagger UI sets style attributes and embeds
    its icons as data; it can do neither under the form's policy.

    Args:
        html: The page.

    Returns:
        A Content-Security-Policy.

    Example:
        >>> docs_policy("<script>1</script>").split("; ")[-4]
        "script-src 'self' 'sha256-a4ayc/80/OGda4BO/1o/V0etpOqiLx1JwB5S3beHW0s='"

    References:
        Content Security Policy Level 3, section 8.3.
    """
    scripts = re.findall(r"<script>(.*?)</script>", html, re.DOTALL)
    hashes = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts]
    named = "".join(f" 'sha256-{each}'" for each in hashes)
    return (
        f"{_NOTHING}; script-src 'self'{named}; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
        "connect-src 'self'"
    )
