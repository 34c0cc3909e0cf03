"""What all pages share: one style, one way to fill a template."""

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from eyeground.evaluate.wording import counted, decimal, shown, titled

_FOLDER = Path(__file__).parent


def environment() -> Environment:
    """Make what fills this room's templates: everything from outside is escaped, and nothing may be missing.

    Returns:
        The environment, with the filters ``shown``, ``decimal``, ``counted`` and ``titled``.

    Example:
        >>> environment().from_string("{{ name | shown }}").render(name="<b>")
        '&lt;b&gt;'

    References:
        Our own.
    """
    made = Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(shown=shown, decimal=decimal, counted=counted, titled=titled)
    return made


def style() -> str:
    """Give the style of every page: one look, kept in one place.

    Returns:
        CSS text.

    Example:
        >>> "#0B6E75" in style()
        True

    References:
        Our own.
    """
    return (_FOLDER / "page.css").read_text("utf-8")
