"""How a pre-training went: its loss against guessing, and the signs of its health."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter
from numpy.typing import NDArray

from eyeground.evaluate.drawing import ACCENT, FAINT, GRAY, INK, style, svg

# Title, journal key, and whether the axis is logarithmic.
_PANELS = (
    ("spread of embeddings (0 = collapsed)", "spread", False),
    ("directions used (effective rank)", "effective_rank", False),
    ("length of the gradient", "gradient_norm", True),
    ("alignment of the two views (0 = equal)", "alignment", False),
)


def pretraining_curves(journal: Sequence[Mapping[str, Any]]) -> str:
    """Draw the loss against guessing, and the signs of health, by epoch.

    Args:
        journal: Lines of ``journal.jsonl``; steps and epochs are drawn.

    Returns:
        SVG text.

    Raises:
        ValueError: If no step is in the journal.

    Example:
        >>> steps = [{"event": "step", "step": s, "epoch": s / 2, "loss": 1 / s, "chance_loss": 1.0, "spread": 0.9}
        ...          for s in range(1, 9)]
        >>> "guessing" in pretraining_curves(steps)
        True

    References:
        Our own; the signs are those of ``eyeground.train.health``.
    """
    steps = [line for line in journal if line.get("event") == "step"]
    if not steps:
        raise ValueError("the journal has no step to draw")
    epochs = [line for line in journal if line.get("event") == "epoch"]
    neighbors = [(line["epoch"], line["scores"]) for line in epochs if (line.get("scores") or {}).get("knn_accuracy")]
    x = _column(steps, "epoch")
    panels = [panel for panel in _PANELS if np.isfinite(_column(steps, panel[1])).any()]
    count = 1 + len(panels) + bool(neighbors)
    rows = math.ceil(count / 3)
    with style():
        figure = Figure(figsize=(9.4, 2.4 * rows), layout=ConstrainedLayoutEngine(wspace=0.06, hspace=0.08))
        places = list(np.atleast_1d(figure.subplots(rows, 3)).ravel())
        loss = places.pop(0)
        _curve(loss, x, _column(steps, "loss"), ACCENT)
        chance = _column(steps, "chance_loss")
        if np.isfinite(chance).any():
            loss.plot(x, chance, color=GRAY, lw=0.8, ls=(0, (3, 2)))
            loss.text(x[-1], chance[-1], "guessing ", color=GRAY, fontsize=8, ha="right", va="bottom")
        loss.set_title("loss")
        for (title, key, logarithmic), axes in zip(panels, places, strict=False):
            _curve(axes, x, _column(steps, key), ACCENT)
            axes.set_title(title)
            if logarithmic:
                axes.set_yscale("log")
                axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
                axes.yaxis.set_minor_formatter(NullFormatter())
            elif key in ("spread", "alignment"):
                axes.set_ylim(bottom=0)
        places = places[len(panels) :]
        if neighbors:
            axes = places.pop(0)
            when = [epoch for epoch, _ in neighbors]
            axes.plot(when, [scores["knn_accuracy"] for _, scores in neighbors], color=ACCENT, marker="o", ms=2.5)
            axes.axhline(neighbors[-1][1]["knn_chance"], color=GRAY, lw=0.8, ls=(0, (3, 2)))
            axes.set_title("nearest neighbors: balanced accuracy")
            axes.set_ylim(0, 1)
        for axes in figure.axes:
            axes.set_xlabel("epoch")
            axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
        for axes in places:
            axes.remove()
        return svg(figure)


def _curve(axes: Any, x: NDArray[np.float64], y: NDArray[np.float64], color: str) -> None:
    """Every step faintly, their running median strongly."""
    axes.plot(x, y, color=FAINT, lw=0.7)
    window = max(1, len(y) // 60)
    if window > 1:
        middle = [float(np.nanmedian(y[max(0, i - window) : i + window + 1])) for i in range(len(y))]
        axes.plot(x, middle, color=color)
    else:
        axes.plot(x, y, color=color)
    axes.tick_params(labelcolor=INK)


def _column(lines: Sequence[Mapping[str, Any]], key: str) -> NDArray[np.float64]:
    """One number of every line; NaN where it is missing."""
    return np.array([math.nan if line.get(key) is None else float(line[key]) for line in lines])
