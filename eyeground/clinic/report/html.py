"""The report as HTML: one file that needs nothing else, runs nothing, and prints well."""

import base64
import hashlib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from eyeground.clinic.report.facts import Facts
from eyeground.clinic.report.language import words_of

_FOLDER: Final = Path(__file__).parent


def write_html(facts: Facts, *, photos: Mapping[str, bytes]) -> str:
    """Write a report as HTML.

    Args:
        facts: What it says.
        photos: Its images by hash, as JPEG; a missing one is told in its place.

    Returns:
        HTML with its style and images in it. What no doctor signed says so across every printed page.

    Example:
        >>> from eyeground.clinic.answered import Answered
        >>> from eyeground.clinic.records import Order
        >>> from eyeground.clinic.report.facts import facts_of
        >>> "<script" in write_html(facts_of(Answered("0a", Order(door="check", id="17"), 0), "zh"), photos={})
        False

    References:
        pages.md of the design.
    """
    words = words_of(facts.language)
    return _environment().get_template("report.jinja.html").render(
        facts=facts,
        say=words.say,
        braced=words.braced,
        style=Markup(_style()),  # noqa: S704 - our own file
        photos={sha256: base64.b64encode(photo).decode() for sha256, photo in photos.items()},
    )  # fmt: skip


@cache
def content_policy() -> str:
    """Say what a browser may do with a report: show its one style and the images in it, and nothing else.

    Returns:
        A Content-Security-Policy.

    Example:
        >>> content_policy().startswith("default-src 'none'; style-src 'sha256-")
        True

    References:
        Content Security Policy Level 3.
    """
    digest = base64.b64encode(hashlib.sha256(_style().encode()).digest()).decode()
    return (
        f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    )


@cache
def _style() -> str:
    """The one style."""
    return (_FOLDER / "report.css").read_text("utf-8")


@cache
def _environment() -> Environment:
    """What makes HTML of the template."""
    return Environment(
        loader=FileSystemLoader(_FOLDER), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
