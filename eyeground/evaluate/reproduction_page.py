"""The page of a reproduction: one HTML file that needs nothing else, in the look of the evaluation report."""

from collections.abc import Sequence

from eyeground.evaluate.page import environment, style
from eyeground.evaluate.reproduction import METRICS, OCT_METRICS, Column, Reproduction, limits, sentences
from eyeground.evaluate.reproduction_table import oct_titled

_TEMPLATE = "reproduction.jinja.html"


def render_reproduction(found: Reproduction, *, date: str, command: str, recipe: str) -> str:
    """Write the page.

    Every name from outside is escaped and stripped of invisible characters. A cell that was not run says so.

    Args:
        found: What was run.
        date: When it was made, ISO 8601 with time zone.
        command: The command line that makes it again.
        recipe: Text of the published recipe.

    Returns:
        HTML text, self-contained: no script, nothing fetched. It links to the reports of the runs beside it.

    Example:
        >>> page = render_reproduction(Reproduction({"octid": "OCTID"}, ("torch",), ()), date="2026-12-01",
        ...                            command="eyeground reproduce octid", recipe="epochs: 50")
        >>> "not run" in page, "<script" in page
        (True, False)

    References:
        Our own.
    """
    filled = environment()
    filled.filters.update(oct_titled=oct_titled)
    sets = [(name, title, found.columns(name)) for name, title in found.sets.items()]
    page = filled.get_template(_TEMPLATE).render(
        title="Published benchmarks, run again",
        date=date,
        command=command,
        recipe=recipe,
        found=found,
        css=style(),
        says=sentences(found),
        limits=limits(),
        metrics=list(METRICS),
        oct_metrics=OCT_METRICS,
        sets=sets,
        dashes=_reasons([column for _, _, columns in sets for column in columns]),
        oct=[(title, rows, _reasons(rows)) for name, title, _ in sets if (rows := found.oct_columns(name))],
    )
    return page + "\n"


def _reasons(columns: Sequence[Column]) -> list[str]:
    """Why numbers are undefined, each reason once, with whose they are."""
    told = [
        f"{column.title}: {estimate.reason}"
        for column in columns
        for estimate in column.scores.values()
        if not estimate.defined
    ]
    return list(dict.fromkeys(told))
