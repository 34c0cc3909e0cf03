"""A map of features, three times: by label, by eye, by source."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from eyeground.evaluate.drawing import FAINT, GRAY, INK, class_colors, style, svg
from eyeground.evaluate.wording import columns, shown

_UNKNOWN = "not known"
_MOST_GROUPS = 10  # as many as there are colors
_SIDE, _GAP, _EDGE, _LINE = 2.95, 0.22, 0.05, 0.17  # of a panel, between panels, around, of a legend. Unit: inch


@dataclass(frozen=True, eq=False)
class _Group:
    """Images of one color."""

    name: str
    color: str
    rows: NDArray[np.int64]

    @property
    def words(self) -> str:
        """What the legend says."""
        return f"{shown(self.name, 28)} ({len(self.rows):,})"


def embedding_panels(
    places: NDArray[np.float64],
    *,
    labels: NDArray[np.int64],
    classes: Sequence[str],
    eyes: Sequence[str],
    sources: Sequence[str],
    ordered: bool = False,
    caption: str = "",
) -> str:
    """Draw where each image lies, colored by label, by eye and by source.

    Groups by label are what one hopes for. Groups by source or eye are what the features know of the camera or the
    side, and what a classifier may lean on instead of the disease.

    Args:
        places: Coordinates, shape (N, 2), from ``embedding_map``.
        labels: Class of each image, shape (N,); -1 = not known.
        classes: Names of the classes, K.
        eyes: ``"OD"``, ``"OS"`` or ``""`` for each image, N.
        sources: Where each image came from, N.
        ordered: Whether the classes are grades (``class_colors``).
        caption: Lines below, such as how the map was made.

    Returns:
        SVG text.

    Raises:
        ValueError: If the lengths differ.

    Example:
        >>> "glaucoma" in embedding_panels(np.eye(2), labels=np.array([0, 1]), classes=("normal", "glaucoma"),
        ...                                eyes=("OD", "OS"), sources=("clinic", "clinic"))
        True

    References:
        Our own.
    """
    if not len(places) == len(labels) == len(eyes) == len(sources):
        raise ValueError(f"{len(places)} places for {len(labels)} labels, {len(eyes)} eyes and {len(sources)} sources")
    names = [classes[label] if label >= 0 else "" for label in labels.tolist()]
    common = [name for name, _ in Counter(sorted(sources)).most_common()]
    panels = {
        "label": _groups(names, classes, class_colors(len(classes), ordered)),
        "eye": _groups(eyes, ("OD", "OS"), class_colors(2)),
        "source": _groups(sources, common, class_colors(_MOST_GROUPS)),
    }
    # Colors of one group do not lie on those of another everywhere: points are drawn in a mixed order.
    order = np.random.default_rng(0).permutation(len(places))
    size = float(np.clip(85 / np.sqrt(max(1, len(places))), 1.6, 5))
    with style():
        legends = {title: _laid(groups) for title, groups in panels.items()}
        lines = 1 + max((line for spots in legends.values() for _, line in spots), default=0)
        notes = [shown(line, 150) for line in caption.splitlines()]
        below = 0.1 + _LINE * lines + (0.12 + _LINE * len(notes) if notes else 0.04)
        width, height = 2 * _EDGE + 3 * _SIDE + 2 * _GAP, 0.26 + _SIDE + below
        figure = Figure(figsize=(width, height))
        for number, (title, groups) in enumerate(panels.items()):
            left = _EDGE + number * (_SIDE + _GAP)
            axes = figure.add_axes((left / width, below / height, _SIDE / width, _SIDE / height))
            axes.set(title=title, xticks=[], yticks=[])
            axes.spines[:].set(color=FAINT, visible=True)
            color_of = np.empty(len(places), dtype=object)
            for group in groups:
                color_of[group.rows] = group.color
            axes.scatter(
                places[order, 0], places[order, 1], s=size**2, c=color_of[order].tolist(), alpha=0.75, linewidths=0
            )
            axes.margins(0.04)
            for group, (right, line) in zip(groups, legends[title], strict=True):
                x, y = left + right, (below - 0.14 - _LINE * line) / height
                axes.scatter(x / width, y, s=16, color=group.color, linewidths=0, clip_on=False,
                             transform=figure.transFigure)  # fmt: skip
                figure.text((x + 0.08) / width, y, group.words, fontsize=8, va="center", color=INK)
        for line, note in enumerate(reversed(notes)):
            figure.text(_EDGE / width, (0.1 + _LINE * line) / height, note, color=GRAY, fontsize=8, va="center")
        return svg(figure)


def _groups(values: Sequence[str], order: Sequence[str], colors: Sequence[str]) -> list[_Group]:
    """Images by value in a given order; those without one, and those of values without a color, in gray."""
    told = np.asarray([value or _UNKNOWN for value in values], dtype=object)
    given = set(values)
    known = [name for name in order if name and name in given]
    kept = known if len(known) <= _MOST_GROUPS else known[: _MOST_GROUPS - 1]
    color = dict(zip([name for name in order if name], colors, strict=False))
    groups = [_Group(name, color[name], np.flatnonzero(told == name)) for name in kept]
    if rest := known[len(kept) :]:
        groups.append(_Group(f"{len(rest)} others", GRAY, np.flatnonzero(np.isin(told, np.array(rest, dtype=object)))))
    without = np.flatnonzero(told == _UNKNOWN)
    return [*groups, _Group(_UNKNOWN, FAINT, without)] if len(without) else groups


def _laid(groups: Sequence[_Group]) -> list[tuple[float, int]]:
    """Where each word of a legend stands: inches from the panel's left edge, and the line."""
    spots, x, line = [], 0.05, 0
    for group in groups:
        wide = 0.3 + columns(group.words) * 0.066
        if x > 0.05 and x + wide > _SIDE:
            x, line = 0.05, line + 1
        spots.append((x, line))
        x += wide
    return spots
