"""The pictures of a report, as SVG: thin axes, direct labels, intervals as bands."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import MaxNLocator
from matplotlib.transforms import blended_transform_factory
from numpy.typing import NDArray

from eyeground.evaluate.confidence import Estimate
from eyeground.evaluate.curves import Curve, Reliability
from eyeground.evaluate.drawing import ACCENT, FAINT, GRAY, INK, SHARE, class_colors, readable, style, svg
from eyeground.evaluate.subgroups import Subgroup
from eyeground.evaluate.wording import columns, decimal, shown, titled, with_interval, wrapped


def confusion_matrix(matrix: NDArray[np.int64], classes: Sequence[str]) -> str:
    """Draw counts and row percent; a darker cell is a larger share of its row.

    Args:
        matrix: Images by true class (row) and predicted class (column), shape (K, K).
        classes: Names, K, in clinical order. Above 12 classes, cells hold the count alone, and empty cells nothing.

    Returns:
        SVG text.

    Example:
        >>> confusion_matrix(np.array([[2, 0], [1, 1]]), ["normal", "cataract"]).count("100%")
        1

    References:
        Our own.
    """
    count = len(classes)
    names = [shown(name, 28) for name in classes]
    many = count > 12
    cell = 0.2 if count > 24 else 0.3 if many else max(0.56, min(0.95, 4.2 / count))
    letters = 6.0 if count > 24 else 7.0 if many else 8.5  # size of the names in points
    longest = max(map(columns, names)) * letters * 0.62 / 72
    margin = 0.36 + longest
    side = cell * count
    rows = matrix.sum(axis=1)
    shares = matrix / np.maximum(rows, 1)[:, None]
    with style():
        # Names that do not fit under their column are turned and need height.
        below = 0.42 + (0 if longest <= cell else longest if many else longest / 2)
        figure = Figure(figsize=(side + margin + 0.75, side + below + 0.06))
        width, height = figure.get_size_inches()
        axes = figure.add_axes((margin / width, 1 - (side + 0.06) / height, side / width, side / height))
        axes.imshow(shares, cmap=SHARE, vmin=0, vmax=1, aspect="auto")
        small = 5.0 if count > 24 else 6.5
        for i, j in np.ndindex(count, count):
            color = readable(SHARE(shares[i, j])) if matrix[i, j] else "#98A2B3"
            if many:
                if matrix[i, j]:
                    axes.text(j, i, str(matrix[i, j]), ha="center", va="center", color=color, fontsize=small)
                continue
            axes.text(j, i - 0.13, f"{matrix[i, j]:,}", ha="center", va="center", color=color, fontsize=10)
            percent = f"{100 * shares[i, j]:.0f}%" if rows[i] else "–"
            axes.text(j, i + 0.2, percent, ha="center", va="center", color=color, fontsize=7.5)
        for i in range(count):
            axes.text(
                count - 0.35, i, f"n = {rows[i]:,}", ha="left", va="center", color=GRAY, fontsize=small if many else 8
            )
        edges = np.arange(count + 1) - 0.5
        axes.hlines(edges, -0.5, count - 0.5, color=FAINT, lw=0.5)
        axes.vlines(edges, -0.5, count - 0.5, color=FAINT, lw=0.5)
        text: dict[str, Any] = {"fontsize": letters, "color": INK}
        turned: dict[str, Any] = (
            {"rotation": 90} if many else {"rotation": 30, "ha": "right", "rotation_mode": "anchor"}
        )
        axes.set_xticks(range(count), names, **text, **(turned if longest > cell else {}))
        axes.set_yticks(range(count), names, **text)
        axes.tick_params(length=0, pad=4)
        axes.spines[:].set_visible(False)
        figure.text(0.02 / width, 1 - (0.06 + side / 2) / height, "true", rotation=90, color=GRAY, va="center")
        figure.text((margin + side / 2) / width, 0.04 / height, "predicted", color=GRAY, ha="center", va="bottom")
        return svg(figure)


def roc_curves(
    curves: Sequence[Curve | None], classes: Sequence[str], areas: Sequence[Estimate], *, ordered: bool = False
) -> str:
    """Draw the ROC curve of each class against the rest as small multiples.

    Args:
        curves: One per class, K; None where there is none.
        classes: Names, K.
        areas: AUROC of each class, K; its reason is printed where there is no curve.
        ordered: Whether the classes are grades (``class_colors``).

    Returns:
        SVG text.

    Example:
        >>> "no image" in roc_curves([None], ["drusen"], [Estimate(float("nan"), reason="no image")])
        True

    References:
        Hanley & McNeil, "The meaning and use of the area under a ROC curve", Radiology 1982;143:29.
    """
    chance: list[tuple[float, float]] = [(0.0, 1.0)] * len(classes)
    return _multiples(curves, classes, areas, chance, ("1 − specificity", "sensitivity"), "AUROC", ordered)


def precision_recall_curves(
    curves: Sequence[Curve | None],
    classes: Sequence[str],
    areas: Sequence[Estimate],
    prevalence: Sequence[float],
    *,
    ordered: bool = False,
) -> str:
    """Draw the precision-recall curve of each class against the rest as small multiples.

    Args:
        curves: One per class, K; None where there is none.
        classes: Names, K.
        areas: Average precision of each class, K.
        prevalence: Share of images of each class, K, [0, 1]: the precision of guessing, drawn as a dotted line.
        ordered: Whether the classes are grades (``class_colors``).

    Returns:
        SVG text.

    Example:
        >>> precision_recall_curves([None], ["drusen"], [Estimate(float("nan"), reason="absent")], [0.0])[:5]
        '<?xml'

    References:
        Davis & Goadrich, "The relationship between precision-recall and ROC curves", ICML 2006.
    """
    chance = [(share, share) for share in prevalence]
    return _multiples(curves, classes, areas, chance, ("recall", "precision"), "AP", ordered)


def reliability_diagram(found: Reliability) -> str:
    """Draw how often the model is right against how sure it is, with the number of images in each bin below.

    Args:
        found: The bins.

    Returns:
        SVG text.

    Example:
        >>> from eyeground.evaluate.curves import reliability
        >>> reliability_diagram(reliability(np.array([0, 0]), np.array([[0.9, 0.1]] * 2), ["a", "b"]))[:5]
        '<?xml'

    References:
        Guo et al., "On calibration of modern neural networks", ICML 2017.
    """
    filled = found.count > 0
    middle = (found.edges[:-1] + found.edges[1:]) / 2
    with style():
        figure = Figure(figsize=(3.75, 4.25))
        upper = figure.add_axes((0.12, 0.32, 0.86, 0.66))
        lower = figure.add_axes((0.12, 0.1, 0.86, 0.17), sharex=upper)
        upper.plot([0, 1], [0, 1], color="#98A2B3", lw=0.8, ls=(0, (2, 2)))
        upper.text(0.05, 0.02, "perfect", color=GRAY, fontsize=8, rotation=45, rotation_mode="anchor",
                   transform_rotates_text=True)  # fmt: skip
        x, y, many = found.confidence[filled], found.accuracy[filled], found.count[filled] >= 10
        known = np.isfinite(found.low[filled])
        upper.vlines(x[known], found.low[filled][known], found.high[filled][known], color=ACCENT, lw=4, alpha=0.22)
        upper.plot(x[many], y[many], color=ACCENT, ls="", marker="o", ms=5, clip_on=False)
        # A bin of a few images is nearly always at an odd place; hollow, it does not pretend to be a finding.
        upper.plot(x[~many], y[~many], color=ACCENT, ls="", marker="o", ms=5, markerfacecolor="white", clip_on=False)
        upper.set(xlim=(0, 1.02), ylim=(0, 1.02), ylabel="share that is right")
        upper.set_aspect("auto")
        upper.tick_params(labelbottom=False)
        lower.bar(middle, found.count, width=0.9 / len(middle), color=FAINT)
        for place, count in zip(middle[filled].tolist(), found.count[filled].tolist(), strict=True):
            lower.annotate(f"{count:,}", (place, count), (0, 2), textcoords="offset points", ha="center", fontsize=6.5,
                           color=GRAY)  # fmt: skip
        lower.set(ylim=(0, max(1, int(found.count.max())) * 1.3), ylabel="images", yticks=[])
        lower.set_xlabel("score of the predicted class")
        lower.spines["left"].set_visible(False)
        return svg(figure)


def learning_curves(journal: Sequence[Mapping[str, Any]], best_epoch: int | None = None) -> str:
    """Draw losses and validation scores by epoch, and mark the chosen epoch.

    Args:
        journal: Lines of ``journal.jsonl``; those with ``"event": "epoch"`` are drawn.
        best_epoch: Epoch whose weights were kept, from 1; None takes the last line with ``"best": true``.

    Returns:
        SVG text.

    Raises:
        ValueError: If no epoch is in the journal.

    Example:
        >>> lines = [{"event": "epoch", "epoch": e, "train_loss": 1 / e, "val_loss": None, "scores": {"kappa": 0.1 * e},
        ...           "selection": 0.1 * e, "best": True} for e in (1, 2, 3)]
        >>> "epoch 3 chosen" in learning_curves(lines)
        True

    References:
        Our own.
    """
    epochs = [line for line in journal if line.get("event") == "epoch"]
    if not epochs:
        raise ValueError("the journal has no completed epoch to draw")
    if best_epoch is None:
        best_epoch = max((int(line["epoch"]) for line in epochs if line.get("best")), default=None)
    x = [int(line["epoch"]) for line in epochs]
    losses = {
        title: [_number(line.get(key)) for line in epochs]
        for title, key in (("training", "train_loss"), ("validation", "val_loss"))
    }
    names = list(dict.fromkeys(name for line in epochs for name in (line.get("scores") or {})))[:5]
    scores = {titled(name): [_number((line.get("scores") or {}).get(name)) for line in epochs] for name in names}
    if not scores:
        scores = {"selection": [_number(line.get("selection")) for line in epochs]}
    with style():
        figure = Figure(figsize=(9.4, 2.9), layout=ConstrainedLayoutEngine(wspace=0.08))
        left, right = figure.subplots(1, 2)
        _lines(left, x, losses, (GRAY, ACCENT), "loss")
        _lines(right, x, scores, class_colors(len(scores)), "validation score")
        for axes in (left, right):
            axes.set_xlabel("epoch")
            axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8))
            if best_epoch in x:
                axes.axvline(best_epoch, color=INK, lw=0.7, ls=(0, (1, 2)))
                late = x.index(best_epoch) > len(x) / 2
                axes.text(
                    best_epoch,
                    1.02,
                    f"epoch {best_epoch} chosen",
                    transform=blended_transform_factory(axes.transData, axes.transAxes),
                    ha="right" if late else "left",
                    va="bottom",
                    fontsize=8,
                    color=INK,
                )
        return svg(figure)


def forest(groups: Sequence[Subgroup], overall: Estimate, n: int) -> str:
    """Draw the macro AUROC of each subgroup with its interval, beside that of all images.

    A group that lacks a class has the mean over its own classes, drawn hollow: it is not quite comparable.

    Args:
        groups: From ``subgroups``, the groups of an attribute together.
        overall: Macro AUROC of all images.
        n: Number of all images.

    Returns:
        SVG text.

    Example:
        >>> scores = dict.fromkeys(("auroc_macro", "auroc_macro_present"), Estimate(0.9))
        >>> group = Subgroup("eye", "OD", 9, 9, scores, {})
        >>> "OD" in forest([group], Estimate(0.8, 0.7, 0.9), 20)
        True

    References:
        Collins et al., "TRIPOD+AI statement", BMJ 2024;385:e078378.
    """
    lines: list[tuple[str, int | None, Estimate | None, bool]] = [("all images", n, overall, True)]
    for place, group in enumerate(groups):
        if place == 0 or groups[place - 1].attribute != group.attribute:
            lines.append((group.attribute, None, None, True))
        whole = group.scores["auroc_macro"].defined
        lines.append((shown(group.name, 30), group.n, group.scores["auroc_macro_present"], whole))
    drawn = [e for _, _, e, _ in lines if e is not None and e.defined]
    least = min((e.low if e.has_interval else e.value for e in drawn), default=0.5)
    left = max(0.0, math.floor(least * 20 - 0.5) / 20)
    with style():
        figure = Figure(figsize=(7.6, 0.6 + 0.25 * len(lines)))
        height = figure.get_size_inches()[1]
        axes = figure.add_axes((0.36, 0.42 / height, 0.38, 1 - 0.5 / height))
        axes.set(xlim=(left, 1.0), ylim=(len(lines) - 0.4, -0.6), yticks=[], xlabel="macro AUROC")
        axes.spines["left"].set_visible(False)
        if overall.defined:
            axes.axvline(overall.value, color=FAINT, lw=0.8)
        side = blended_transform_factory(figure.transFigure, axes.transData)
        for row, (name, count, estimate, whole) in enumerate(lines):
            if estimate is None or count is None:
                figure.text(0.0, row, name, transform=side, va="center", color=GRAY, fontsize=8)
                continue
            inset = 0.0 if row == 0 else 0.02
            figure.text(inset, row, name, transform=side, va="center", fontweight="bold" if row == 0 else "normal")
            figure.text(0.335, row, f"{count:,}", transform=side, va="center", ha="right", color=GRAY)
            if not estimate.defined:
                figure.text(0.36, row, shown(estimate.reason, 60), transform=side, va="center", color=GRAY, fontsize=8)
                continue
            color = INK if row == 0 else ACCENT
            if estimate.has_interval:
                axes.plot([estimate.low, estimate.high], [row, row], color=color, lw=1.2)
            axes.plot(estimate.value, row, marker="D" if row == 0 else "o", ms=5, color=color, clip_on=False,
                      markerfacecolor=color if whole else "white")  # fmt: skip
            figure.text(
                0.765, row, with_interval(estimate.value, estimate.low, estimate.high), transform=side, va="center"
            )
        return svg(figure)


def _multiples(
    curves: Sequence[Curve | None],
    classes: Sequence[str],
    areas: Sequence[Estimate],
    chance: Sequence[tuple[float, float]],
    labels: tuple[str, str],
    area_name: str,
    ordered: bool,
) -> str:
    """One small square per class, with the chance line, the curve, its band and its area."""
    count = len(classes)
    across = count if count <= 4 else 5 if count <= 15 else 6
    down = math.ceil(count / across)
    # Unit: inch. Three squares fit beside their twin picture; from four on a row fills the page.
    left, gap, title, bottom = 0.46, 0.14, 0.31, 0.45
    size = (9.5 - left) / across - gap if across > 3 else 1.22 if across == 3 else 1.75
    small = across == 6
    width, height = left + across * (size + gap), bottom + down * (size + title)
    with style():
        figure = Figure(figsize=(width, height))
        colors = class_colors(count, ordered)
        for place, (curve, name, area) in enumerate(zip(curves, classes, areas, strict=True)):
            row, column = divmod(place, across)
            corner = (left + column * (size + gap), height - (row + 1) * (size + title))
            axes = figure.add_axes((corner[0] / width, corner[1] / height, size / width, size / height))
            axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.03), xticks=[0, 0.5, 1], yticks=[0, 0.5, 1])
            axes.set_xticklabels(["0", "0.5", "1"])
            axes.set_yticklabels(["0", "0.5", "1"])
            axes.set_title(shown(name, 20 if small else 24), fontsize=8 if small else 9)
            axes.tick_params(labelleft=column == 0, labelbottom=place + across >= count)
            if column == 0:
                axes.set_ylabel(labels[1])
            if place + across >= count:
                axes.set_xlabel(labels[0])
            if curve is None:
                axes.text(0.5, 0.5, wrapped(area.reason, 22), ha="center", va="center", color=GRAY, fontsize=8)
                axes.spines[:].set_color(FAINT)
                continue
            axes.plot([0, 1], chance[place], color="#98A2B3", lw=0.7, ls=(0, (1, 2)))
            known = np.isfinite(curve.low) & np.isfinite(curve.high)
            if known.any():
                axes.fill_between(
                    curve.grid[known], curve.low[known], curve.high[known], color=colors[place], alpha=0.16, lw=0
                )
            step = "steps-post" if area_name == "AUROC" else "default"
            axes.plot(curve.x, curve.y, color=colors[place], drawstyle=step if len(curve.x) < 60 else "default")
            text = f"{area_name} {decimal(area.value)}"
            if area.has_interval:
                text += f"\n{decimal(area.low)}–{decimal(area.high)}"
            # Where the curve does not pass: lower right for ROC, lower left for precision-recall, upper right if poor.
            low = area_name == "AUROC" or area.value >= 0.5
            at, side = (0.05, "left") if low and area_name == "AP" else (0.97, "right")
            height_at, edge = (0.05, "bottom") if low else (0.97, "top")
            axes.text(at, height_at, text, ha=side, va=edge, fontsize=7 if small else 8, color=INK,
                      bbox={"facecolor": "white", "alpha": 0.75, "lw": 0, "pad": 1})  # fmt: skip
        return svg(figure)


def _lines(axes: Axes, x: Sequence[int], series: Mapping[str, list[float]], colors: Sequence[str], label: str) -> None:
    """Lines with their names at their right ends, pushed apart where they would overlap."""
    ends: list[tuple[float, str, str]] = []
    for (name, y), color in zip(series.items(), colors, strict=False):
        known = [value for value in y if math.isfinite(value)]
        if known:
            axes.plot(x, y, color=color, marker="o" if len(x) < 3 else "", ms=3.5)
            ends.append((known[-1], name, color))
    axes.set_ylabel(label)
    axes.set_xlim(min(x) - 0.02 * max(1, len(x)), max(x) + 0.02 * max(1, len(x)))
    low, high = axes.get_ylim()
    gap = (high - low) * 0.075
    floor = -math.inf
    for end, name, color in sorted(ends):
        height = max(end, floor)
        floor = height + gap
        axes.annotate(
            shown(name, 24),
            (1.01, height),
            xycoords=axes.get_yaxis_transform(),
            color=color,
            va="center",
            fontsize=8,
        )


def _number(value: Any) -> float:
    """A journal's number; null and a missing key are NaN."""
    return float(value) if value is not None else math.nan
