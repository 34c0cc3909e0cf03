"""How names and numbers are put into words that a person reads."""

import math
import unicodedata
from collections.abc import Sequence

# Letters that draw nothing or turn the line around; a hostile file name may hide its extension behind them.
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def shown(name: str, limit: int = 80) -> str:
    """Make a name from outside safe to print: nothing invisible, nothing that turns the line around, not too long.

    Markup is not touched here: escaping belongs to the writer of HTML or SVG.

    Args:
        name: Class, file, patient, site or camera as the data set names it.
        limit: Longest answer, at least 8. Unit: characters. A longer name loses its middle and keeps its end.

    Returns:
        The name with each control, format or unassigned character replaced by U+FFFD.

    Example:
        >>> shown("left\\n\\u202egpj.exe")
        'left��gpj.exe'
        >>> shown("a" * 20 + ".jpg", limit=12)
        'aaaaaa…a.jpg'

    References:
        Unicode Technical Report 36, "Unicode Security Considerations".
    """
    clean = "".join("\ufffd" if unicodedata.category(letter) in _HIDDEN else letter for letter in name)
    if len(clean) <= limit:
        return clean
    tail = (limit - 1) // 2
    return f"{clean[: limit - 1 - tail]}…{clean[-tail:]}"


def columns(name: str) -> int:
    """Count how wide a name is: a Chinese character takes the room of two Latin letters.

    Args:
        name: Any text.

    Returns:
        Width. Unit: Latin letters.

    Example:
        >>> columns("AMD"), columns("白内障")
        (3, 6)

    References:
        Unicode Standard Annex 11, "East Asian Width".
    """
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in name)


def listed(names: Sequence[str], most: int = 5) -> str:
    """Join names into a phrase.

    Args:
        names: At least one name; each is passed through ``shown`` and quoted.
        most: How many to spell out before "and n more".

    Returns:
        Such as ``'no DR', 'mild' and 3 more``.

    Example:
        >>> listed(["a", "b"])
        "'a' and 'b'"
        >>> listed(list("abcdefg"), most=2)
        "'a', 'b' and 5 more"

    References:
        Our own.
    """
    quoted = [f"'{shown(name, 40)}'" for name in names[:most]]
    if len(names) > most:
        return f"{', '.join(quoted)} and {len(names) - most} more"
    return quoted[0] if len(quoted) == 1 else f"{', '.join(quoted[:-1])} and {quoted[-1]}"


def counted(number: int, noun: str) -> str:
    """Say how many.

    Args:
        number: How many.
        noun: What, in the singular; its plural ends in ``s``.

    Returns:
        Such as ``1 patient`` or ``1,204 patients``.

    Example:
        >>> counted(1, "patient"), counted(1204, "patient")
        ('1 patient', '1,204 patients')

    References:
        Our own.
    """
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def decimal(value: float, digits: int = 3) -> str:
    """Write a number, or a dash for one that is undefined.

    Args:
        value: The number; NaN means undefined.
        digits: Digits after the point.

    Returns:
        Such as ``0.943``, or an en dash.

    Example:
        >>> decimal(0.9428), decimal(float("nan")), decimal(-0.00001)
        ('0.943', '–', '0.000')

    References:
        Our own.
    """
    if not math.isfinite(value):
        return "–"
    text = f"{value:.{digits}f}"
    return text.removeprefix("-") if float(text) == 0 else text


def with_interval(value: float, low: float, high: float, digits: int = 3) -> str:
    """Write a number with its interval, or without one where there is none.

    Args:
        value: The number; NaN means undefined.
        low: Lower end; NaN when there is none.
        high: Upper end; NaN when there is none.
        digits: Digits after the point.

    Returns:
        Such as ``0.943 [0.921–0.961]``.

    Example:
        >>> with_interval(0.9428, 0.9211, 0.9613), with_interval(0.5, float("nan"), float("nan"))
        ('0.943 [0.921–0.961]', '0.500')

    References:
        Our own.
    """
    if not (math.isfinite(low) and math.isfinite(high)):
        return decimal(value, digits)
    return f"{decimal(value, digits)} [{decimal(low, digits)}–{decimal(high, digits)}]"


_MOST_PROBLEMS = 20  # a table that is wrong throughout says so in one screen
_TITLES = {
    "auroc_macro": "Macro AUROC",
    "ap_macro": "Macro AP",
    "f1_macro": "Macro F1",
    "f1_weighted": "Weighted F1",
    "precision_macro": "Macro precision",
    "recall_macro": "Macro recall",
    "balanced_accuracy": "Balanced accuracy",
    "kappa": "Kappa",
    "kappa_quadratic": "Quadratic-weighted kappa",
    "mcc": "Matthews correlation",
    "ece": "Calibration error (ECE)",
    "brier": "Brier score",
    "auroc": "AUROC",
    "ap": "AP",
    "f1": "F1",
    "auroc_mean": "Mean AUROC",
    "ap_mean": "Mean AP",
    "f1_mean": "Mean F1",
    "kappa_mean": "Mean kappa",
    "mae": "MAE",
    "rmse": "RMSE",
    "r2": "R²",
    "icc": "ICC",
}


def titled(metric: str) -> str:
    """Name a metric as people do.

    Args:
        metric: Key such as ``auroc_macro``; with ``_present`` at its end it runs over the classes that have a value.

    Returns:
        Its title.

    Example:
        >>> titled("auroc_macro_present"), titled("log_loss")
        ('Macro AUROC, classes present', 'Log loss')

    References:
        Our own.
    """
    if metric.endswith("_present"):
        return f"{titled(metric.removesuffix('_present'))}, classes present"
    return _TITLES.get(metric, metric.replace("_", " ").capitalize())


def complaint(what: str, problems: Sequence[str]) -> str:
    """Put all problems into one message, cut where it would scroll away.

    Args:
        what: What they are about.
        problems: At least one sentence.

    Returns:
        The message.

    Example:
        >>> complaint("t.csv", ["row 1: a score is NaN"]).splitlines()
        ['t.csv: 1 problem', '  row 1: a score is NaN']

    References:
        Our own.
    """
    rest = len(problems) - _MOST_PROBLEMS
    more = [f"... and {rest} more problems"] if rest > 0 else []
    return "\n  ".join(
        [f"{what}: {len(problems)} problem{'s' * (len(problems) > 1)}", *problems[:_MOST_PROBLEMS], *more]
    )


def wrapped(text: str, width: int) -> str:
    """Break a sentence into short lines for a small picture.

    Args:
        text: The sentence.
        width: Longest line. Unit: characters, at least 8. A longer word loses its middle.

    Returns:
        Lines joined by line feeds.

    Example:
        >>> wrapped("class 'drusen' is absent", 14).splitlines()
        ["class 'drusen'", 'is absent']

    References:
        Our own.
    """
    lines = [""]
    for word in shown(text, 160).split():
        piece = shown(word, max(8, width))
        line = f"{lines[-1]} {piece}".strip()
        lines[-1:] = [line] if len(line) <= width else [lines[-1], piece]
    return "\n".join(line for line in lines if line)
