"""The table of a reproduction as text: Markdown for people, CSV for programs."""

import csv
import io
from collections.abc import Sequence

from eyeground.evaluate.confidence import Estimate
from eyeground.evaluate.reproduction import METRICS, OCT_METRICS, Reproduction, limits, sentences
from eyeground.evaluate.wording import shown, titled, with_interval

_COLUMNS = (
    *("set", "study", "system", "profile", "metric", "value", "low", "high", "reason", "test_images", "seeds", "state"),
    *("not_comparable", "run"),
)


def text(estimate: Estimate | None, digits: int = 4) -> str:
    """Write a cell.

    Args:
        estimate: A number; None where there is none.
        digits: Digits after the point.

    Returns:
        The number with its interval; an en dash for one that is undefined; nothing where nothing was run.

    Example:
        >>> text(Estimate(0.9628)), text(None)
        ('0.9628', '')

    References:
        Our own.
    """
    return "" if estimate is None else with_interval(estimate.value, estimate.low, estimate.high, digits)


def markdown(found: Reproduction) -> str:
    """Write the table for a README.

    Args:
        found: What was run.

    Returns:
        Markdown: for each set the metrics, with the published rows and ours side by side; the OCT study's rows; the
        limits.

    Example:
        >>> print(markdown(Reproduction({"octid": "OCTID"}, ("torch",), ())).splitlines()[5])
        | | Macro AUROC | 0.9628 | 0.9845 | |

    References:
        Our own.
    """
    lines = [_line(["set", "", *found.titles]), _line(["---", "---", *["---:"] * len(found.titles)])]
    for name, title in found.sets.items():
        columns = found.columns(name)
        rows = [
            ("", [column.state for column in columns]),
            ("test images", [_count(column.test_images) for column in columns]),
            ("seeds", ["1" if column.scores else "" for column in columns]),
            *((titled(metric), [text(column.scores.get(metric)) for column in columns]) for metric in METRICS),
            ("remark", [column.remark for column in columns]),
        ]
        lines += [
            _line([title if number == 0 else "", head, *cells])
            for number, (head, cells) in enumerate(rows)
            if head != "remark" or any(cells)
        ]
    for name, title in found.sets.items():
        if columns := found.oct_columns(name):
            lines += ["", f"{shown(title)} as the OCT study measures it; class 0 counts in the two areas only:", ""]
            lines.append(_line(["start", "state", "test images", *map(oct_titled, OCT_METRICS), "remark"]))
            lines.append(_line(["---", "---", "---:", *["---:"] * len(OCT_METRICS), "---"]))
            lines += [
                _line(
                    [
                        *(column.title, column.state, _count(column.test_images)),
                        *(text(column.scores.get(metric), 3) for metric in OCT_METRICS),
                        column.remark,
                    ]
                )
                for column in columns
            ]
    return "\n".join([*lines, "", *(f"- {sentence}" for sentence in (*sentences(found), *limits())), ""])


def as_csv(found: Reproduction) -> str:
    """Write the table for programs: a line per number.

    Args:
        found: What was run.

    Returns:
        CSV text; a value that was not run is empty.

    Example:
        >>> as_csv(Reproduction({"octid": "OCTID"}, (), ())).splitlines()[1]
        'octid,Paddle study,torch,retfound2025,auroc_macro,0.9628,,,,174,1,published,,'

    References:
        RFC 4180.
    """
    stream = io.StringIO()
    writer = csv.DictWriter(stream, _COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(found.rows())
    return stream.getvalue()


def oct_titled(metric: str) -> str:
    """Name a metric of the OCT study's table.

    Args:
        metric: One of ``OCT_METRICS``.

    Returns:
        Its title there.

    Example:
        >>> oct_titled("auc_pr"), oct_titled("acc")
        ('AUC-pr', 'ACC')

    References:
        The OCT study's table.
    """
    words = {"auc_roc": "AUC-roc", "auc_pr": "AUC-pr", "acc": "ACC", "f1": "F1", "mcc": "MCC"}
    return words.get(metric, metric)


def _count(images: int | None) -> str:
    """A number of images."""
    return "" if images is None else str(images)


def _line(cells: Sequence[str]) -> str:
    """One line of a Markdown table; nothing in a cell breaks the line or the table."""
    clean = (shown(" ".join(cell.split()), 600).replace("|", "\\|") for cell in cells)
    return f"| {' | '.join(clean)} |"
