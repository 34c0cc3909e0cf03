"""The page of a comparison: one HTML file that needs nothing else, in the look of the evaluation report."""

import html
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from eyeground.evaluate.comparison import Comparison
from eyeground.evaluate.comparison_verdict import labels_named, metric_named, outcome, p_named, signed, way_named
from eyeground.evaluate.page import environment, style
from eyeground.evaluate.run_page import embedded
from eyeground.evaluate.wording import decimal, shown, titled, with_interval

_TEMPLATE = "comparison.jinja.html"

# What is shown at once of the standard profile; the rest is behind a click.
_FIRST = ("auroc_macro", "ap_macro", "f1_macro", "accuracy", "kappa", "ece")
_ACROSS = 8  # columns that fit the page
_MARKS = {"better": "▲", "worse": "▼", "no difference shown": "○", "not tested": "–"}
_METHODS = {
    "bootstrap": ("Paired bootstrap", "patients resampled, seeds averaged"),
    "delong": ("DeLong's test", "macro AUROC, one class against the rest, clustered by patient, seeds averaged"),
    "mcnemar": ("McNemar's test", "exact, images counted as independent, majority vote of the seeds"),
}


@dataclass(frozen=True, eq=False)
class ComparisonFacts:
    """What a page says about a comparison besides its numbers.

    Args:
        date: When it was made, ISO 8601 with time zone.
        command: The command line that makes it again.
        config_yaml: The full configuration.
        data_fingerprint: Fingerprint of the data set, hexadecimal.
        device: What the runs were trained on.
        load_reports: Run -> state (loaded, resized, new, missing, unexpected) -> how many keys, or the keys.
        pretraining: Initialization -> what is known about its pre-training's health: words or numbers by name.
        notes: What was left out or went wrong, one sentence each.

    Example:
        >>> ComparisonFacts(date="2026-12-01T09:30+08:00").command
        ''

    References:
        Our own.
    """

    date: str
    command: str = ""
    config_yaml: str = ""
    data_fingerprint: str = ""
    device: str = ""
    load_reports: Mapping[str, Mapping[str, int | Sequence[str]]] = field(default_factory=dict)
    pretraining: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    notes: Sequence[str] = ()


def render_comparison(*, title: str, comparison: Comparison, facts: ComparisonFacts) -> str:
    """Write the page.

    Every name from outside is escaped and stripped of invisible characters. A section with nothing to show says so.

    Args:
        title: Heading, such as the name of the experiment.
        comparison: The comparison.
        facts: What else is known.

    Returns:
        HTML text, self-contained: no script, nothing fetched.

    Example:
        >>> import numpy as np
        >>> from eyeground.evaluate.comparison import Cell, compare_cells
        >>> from eyeground.evaluate.predictions import Predictions
        >>> table = Predictions(("a", "b"), ("a", "b"), ("",) * 2, ("",) * 2, ("",) * 2, np.array([0, 1]),
        ...                     np.array([[0.9, 0.1], [0.2, 0.8]]), ("normal", "cataract"), False, True, ("",) * 2)
        >>> found = compare_cells([Cell(name, "probe", 0, 1.0, table) for name in ("random", "<b>")], resamples=50)
        >>> page = render_comparison(title="demo", comparison=found, facts=ComparisonFacts("2026-12-01"))
        >>> "&lt;b&gt;" in page, "<script" in page
        (True, False)

    References:
        Collins et al., "TRIPOD+AI statement", BMJ 2024;385:e078378.
    """
    # matplotlib takes a third of a second to import; only a page needs it.
    from eyeground.evaluate import comparison_plots as plots

    filled = environment()
    filled.filters.update(
        metric_named=metric_named, signed=signed, p_named=p_named, way_named=way_named, labels_named=labels_named
    )
    shelf = "standard" if "standard" in comparison.profiles else comparison.profiles[0]
    drawn = [line["metric"] for line in comparison.summary if line["profile"] == shelf]
    metric = comparison.headline if comparison.headline in drawn else drawn[0]
    page = filled.get_template(_TEMPLATE).render(
        title=title,
        facts=facts,
        found=comparison,
        css=style(),
        glance=_glance(comparison),
        floor=2 / (comparison.test_resamples + 1),
        tables=[_table(comparison, *part) for part in _parts(comparison)],
        drawn=metric,
        by_init=embedded(plots.metric_by_init(comparison, metric, profile=shelf)),
        by_labels=embedded(plots.label_efficiency(comparison, metric, profile=shelf)),
        forest=embedded(plots.difference_forest(comparison)),
        tests=_tests(comparison),
        methods=_METHODS,
        load=_load(facts),
        health=_health(facts),
    )
    return page + "\n"


def markdown(comparison: Comparison) -> str:
    """Write the numbers as a table for a README.

    Args:
        comparison: The comparison.

    Returns:
        A Markdown table: a line per way, label fraction and initialization, with mean ± s.d. over seeds and the 95%
        interval of the mean, and the difference from its reference with the Holm-adjusted p value.

    Example:
        >>> import numpy as np
        >>> from eyeground.evaluate.comparison import Cell, compare_cells
        >>> from eyeground.evaluate.predictions import Predictions
        >>> table = Predictions(("a", "b"), ("a", "b"), ("",) * 2, ("",) * 2, ("",) * 2, np.array([0, 1]),
        ...                     np.array([[0.9, 0.1], [0.2, 0.8]]), ("normal", "cataract"), False, True, ("",) * 2)
        >>> found = compare_cells([Cell(name, "probe", 0, 1.0, table) for name in ("random", "mae")], resamples=50)
        >>> markdown(found).splitlines()[2].split("|")[3].strip()
        'random'

    References:
        Our own.
    """
    shelf = "standard" if "standard" in comparison.profiles else comparison.profiles[0]
    names = list(dict.fromkeys(line["metric"] for line in comparison.summary if line["profile"] == shelf))
    names = [name for name in _FIRST if name in names] if shelf == "standard" else names
    if comparison.headline not in names:
        names = [*([comparison.headline] if shelf == "standard" else []), *names]
    cells = {
        (line["way"], line["fraction"], line["init"], line["metric"]): line
        for line in comparison.summary
        if line["profile"] == shelf
    }
    tests = {
        (test["way"], test["fraction"], test["a"]): test
        for test in comparison.tests
        if test["test"] == "bootstrap" and test["planned"]
    }
    heads = ["way", "labels", "initialization", *map(titled, names),
             "compared with", f"{titled(comparison.headline)}: difference", "Holm-adjusted p"]  # fmt: skip
    floor = 2 / (comparison.test_resamples + 1)
    lines = [heads, ["---"] * 3 + ["---:"] * len(names) + ["---", "---:", "---:"]]
    for way, fraction, init in dict.fromkeys(key[:3] for key in cells):
        row = [_cell(way_named(way)), f"{100 * fraction:g}%", _cell(init)]
        row += [_mean(cells[way, fraction, init, name]) for name in names]
        test = tests.get((way, fraction, init))
        if test:
            p = p_named(test["p_holm"], at_most=test["p"] <= floor)
            row += [_cell(test["b"]), _cell(_difference(test)), p.removeprefix("p = ").removeprefix("p ")]
        else:
            row += ["", "", ""]
        lines.append(row)
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _glance(comparison: Comparison) -> dict[str, Any]:
    """What the paired bootstrap shows of each initialization against its reference, by way and fraction."""
    tests = [t for t in comparison.tests if t["test"] == "bootstrap" and t["planned"]]
    heads = [(way, fraction) for way in comparison.ways for fraction in reversed(comparison.fractions)]
    heads = [head for head in heads if any((test["way"], test["fraction"]) == head for test in tests)]
    at = {(test["a"], test["way"], test["fraction"]): test for test in tests}
    rows = []
    for init in comparison.inits:
        if any(key[0] == init for key in at):
            found = [at.get((init, *head)) for head in heads]
            words = _difference if len(heads) <= 4 else _short  # more columns leave no room for the interval
            rows.append(
                (
                    init,
                    comparison.references[init],
                    [(outcome(t), _MARKS[outcome(t)], words(t)) if t else None for t in found],
                )
            )
    return {"heads": heads, "rows": rows}


def _parts(comparison: Comparison) -> list[tuple[str, tuple[str, ...], bool]]:
    """Profile, metrics and whether shown at once: tables that fit the page."""
    parts = []
    for profile in comparison.profiles:
        names = tuple(dict.fromkeys(line["metric"] for line in comparison.summary if line["profile"] == profile))
        first = tuple(name for name in _FIRST if name in names) if profile == "standard" else ()
        rest = tuple(name for name in names if name not in first)
        parts += [(profile, first, True)] if first else []
        wide = math.ceil(len(rest) / math.ceil(len(rest) / _ACROSS))  # tables of about the same width
        pieces = [rest[at : at + wide] for at in range(0, len(rest), wide)]
        parts += [(profile, piece, not first and profile == comparison.profiles[0]) for piece in pieces]
    return parts


def _table(comparison: Comparison, profile: str, metrics: tuple[str, ...], at_once: bool) -> dict[str, Any]:
    """One table of means, with a heading line per way and fraction."""
    cells: dict[tuple[str, float], dict[str, dict[str, Any]]] = {}
    for line in comparison.summary:
        if line["profile"] == profile and line["metric"] in metrics:
            cells.setdefault((line["way"], line["fraction"]), {}).setdefault(line["init"], {})[line["metric"]] = line
    groups = [
        (way, fraction, list(cells[way, fraction].items()))
        for way in comparison.ways
        for fraction in reversed(comparison.fractions)
        if (way, fraction) in cells
    ]
    return {"profile": profile, "metrics": metrics, "at_once": at_once, "groups": groups}


def _tests(comparison: Comparison) -> list[dict[str, Any]]:
    """Paired tests by way, fraction and pair, planned pairs first, the three methods beside each other."""
    pairs: dict[tuple[str, float], dict[tuple[str, str], dict[str, Any]]] = {}
    for test in comparison.tests:
        group = pairs.setdefault((test["way"], test["fraction"]), {})
        group.setdefault((test["a"], test["b"]), {})[test["test"]] = {**test, "text": _difference(test)}
    return [
        {
            "way": way,
            "fraction": fraction,
            "pairs": [(a, b, tests) for (a, b), tests in group.items()],
            "planned": sum(tests["bootstrap"]["planned"] for tests in group.values()),
        }
        for (way, fraction), group in sorted(
            pairs.items(), key=lambda item: (comparison.ways.index(item[0][0]), -item[0][1])
        )
    ]


def _load(facts: ComparisonFacts) -> dict[str, Any]:
    """How many keys each run loaded, and their names where they are known."""
    states = list(dict.fromkeys(state for report in facts.load_reports.values() for state in report))
    rows = []
    for run, report in facts.load_reports.items():
        keys = {state: list(told) for state, told in report.items() if not isinstance(told, int) and told}
        counts = [report.get(state, 0) for state in states]
        rows.append((run, [told if isinstance(told, int) else len(told) for told in counts], keys))
    return {"states": states, "rows": rows}


def _health(facts: ComparisonFacts) -> list[tuple[str, list[tuple[str, str]]]]:
    """What is known of each pre-training, in words."""
    return [(init, [(name, _word(value)) for name, value in told.items()]) for init, told in facts.pretraining.items()]


def _word(value: Any) -> str:
    """A fact of any kind on one line."""
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return "not known"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, Iterable) and not isinstance(value, str | Mapping):
        return ", ".join(map(_word, value))
    return str(value)


def _mean(line: Mapping[str, Any]) -> str:
    """A mean with its s.d. over seeds and its interval."""
    text = with_interval(line["mean"], line["low"], line["high"])
    if not math.isfinite(line["sd"]):
        return text
    value, _, rest = text.partition(" ")
    return f"{value} ± {decimal(line['sd'])} {rest}".strip()


def _difference(test: Mapping[str, Any]) -> str:
    """A difference with its interval."""
    if not math.isfinite(test["low"]):
        return signed(test["difference"])
    return f"{signed(test['difference'])} [{signed(test['low'])} to {signed(test['high'])}]"


def _short(test: Mapping[str, Any]) -> str:
    """A difference alone."""
    return signed(test["difference"])


def _cell(text: str) -> str:
    """A name inside a Markdown table."""
    return html.escape(re.sub(r"([\\|`*_\[\]])", r"\\\1", shown(text)), quote=False)
