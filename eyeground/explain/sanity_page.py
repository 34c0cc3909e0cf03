"""The page of the tests of heat maps: one HTML file that needs nothing else, in the look of the evaluation report."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from eyeground.evaluate.page import environment, style
from eyeground.explain.pointing import TOLERANCE
from eyeground.explain.sanity import Examination
from eyeground.explain.sanity_narrative import limits, sentences

_TEMPLATE = Path(__file__).with_name("sanity.jinja.html")


@dataclass(frozen=True)
class SanityFacts:
    """What a page says about tests of heat maps besides their numbers.

    Args:
        date: When they were made, ISO 8601 with time zone.
        command: The command line that makes them again.
        weights_sha: SHA-256 of the weights, hexadecimal.
        device: Device, precision and size of the network in words.
        data: What the images are, in words.
        patients_known: Whether patients are real groups; if not, every image counted as its own patient.
        more: Anything else worth a line: name to words.

    Example:
        >>> SanityFacts(date="2026-12-01T09:30+08:00").command
        ''

    References:
        Our own.
    """

    date: str
    command: str = ""
    weights_sha: str = ""
    device: str = ""
    data: str = ""
    patients_known: bool = True
    more: Mapping[str, str] = field(default_factory=dict)


def render_sanity(*, title: str, found: Examination, facts: SanityFacts) -> str:
    """Write the page.

    Every name from outside is escaped and stripped of invisible characters. A section with nothing to show says so.

    Args:
        title: Heading, such as the run's name.
        found: What the tests gave.
        facts: What else is known.

    Returns:
        HTML text, self-contained: no script, nothing fetched.

    Example:
        >>> page = render_sanity(title="<b>", found=Examination((), {"occlusion": "too slow"}, 0, 0, 224, 2000, 0),
        ...                      facts=SanityFacts("2026-12-01"))
        >>> "&lt;b&gt;" in page, "<script" in page, "too slow" in page
        (True, False, True)

    References:
        Our own.
    """
    # matplotlib takes a third of a second to import; only a page needs it.
    from eyeground.explain import sanity_plots as plots

    methods = found.methods
    page = (
        environment()
        .from_string(_TEMPLATE.read_text("utf-8"))
        .render(
            title=title,
            facts=facts,
            css=style(),
            found=found,
            says=sentences(found),
            limits=limits(found),
            tolerance_px=TOLERANCE * found.side_px,
            hits=_embedded(plots.hit_rates([(each.method, each.hits) for each in methods])) if methods else "",
            weights=_embedded(plots.forgetting([(each.method, each.weights) for each in methods])) if methods else "",
            curves=_embedded(plots.deletion_and_insertion([(e.method, e.curves) for e in methods])) if methods else "",
        )
    )
    return page + "\n"


def _embedded(svg: str) -> str:
    """A picture as a data address: isolated from the page, so that neither ids nor names in it can collide."""
    return "data:image/svg+xml;base64," + base64.b64encode(svg.encode()).decode()
