"""What chooses the best epoch on validation."""

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from eyeground.cli.config import ConfigError
from eyeground.data.task import Head, Task
from eyeground.evaluate.agreement import TITLES, agree, reasons_undefined
from eyeground.evaluate.profiles import retfound2025
from eyeground.pick import names, pick
from eyeground.train.loop import Verdict

Array = NDArray[np.float64]
Score = Callable[[Array, Array, float], Verdict]

# Smaller is better for these; selection looks for the largest.
_SMALLER = ("ece", "brier", "log_loss", "hamming", "mae", "rmse")
_OF_QUANTITY = ("concordance", "r2", "mae", "rmse")


def selection_score(select_by: str, task: Task) -> Score:
    """Make the function that judges an epoch on validation.

    Args:
        select_by: ``mean`` = (macro F1 + macro AUROC + kappa) / 3 as RETFound has it (of grades the quadratic-weighted
            kappa, of a quantity Lin's concordance), or one metric's name. With several heads, its mean over them.
        task: What is asked.

    Returns:
        Scores (N, S), truth (N, H) and the validation loss to a verdict. A class without validation images is left out
        of the macro AUROC that selects, a head whose score is undefined out of the mean, and the verdict says so.

    Raises:
        ConfigError: If there is no such metric.

    Example:
        >>> from eyeground.data.task import classification
        >>> judge = selection_score("accuracy", classification(("a", "b")))
        >>> judge(np.array([[0.9, 0.1], [0.2, 0.8]]), np.array([[0.0], [1.0]]), 0.1).selection
        1.0

    References:
        RETFound_MAE at 897d71c for ``mean``.
    """
    offered = [*names("evaluate.metrics"), *_OF_QUANTITY]
    if select_by != "mean" and select_by not in offered:
        raise ConfigError(f"select_by: no metric {select_by!r}; there are 'mean' and {', '.join(offered)}")
    of_quantity = select_by in _OF_QUANTITY
    fitting = [head for head in task.heads if select_by == "mean" or (head.kind == "quantity") == of_quantity]
    if not fitting:
        kinds = ", ".join(dict.fromkeys(head.kind for head in task.heads))
        raise ConfigError(f"select_by={select_by} judges no head of this task ({kinds}); leave it mean")
    single = task.single

    def judge(scores: Array, truth: Array, loss: float) -> Verdict:
        found: dict[str, float] = {}
        selecting, notes = [], []
        for number, (head, _, place) in enumerate(task.parts()):
            known = np.isfinite(truth[:, number])
            prefix = "" if single else f"{head.name} "
            if not known.any():
                notes.append(f"validation has no label of {head.name}: it takes no part in choosing the epoch")
                continue
            answer = _of_head(head, select_by, scores[known, place], truth[known, number])
            found |= {f"{prefix}{name}": value for name, value in answer[0].items()}
            notes += [f"{prefix}{note}" for note in answer[2]]
            if head in fitting:
                selecting.append(answer[1])
        known_scores = [value for value in selecting if math.isfinite(value)]
        selection = float(np.mean(known_scores)) if known_scores else math.nan
        if single and single.kind != "quantity":
            columns = retfound2025.values(truth[:, 0].astype(np.int64), scores, val_loss=loss)
        else:
            columns = {"val_loss": loss, "selection": selection, **found}
        return Verdict(selection, found if single else _means(found), loss, tuple(notes), columns)

    return judge


def _means(found: Mapping[str, float]) -> dict[str, float]:
    """Each kind of metric averaged over the heads that have it."""
    kinds = {"auroc_macro": "auroc_mean", "f1_macro": "f1_mean", "kappa": "kappa_mean", "kappa_quadratic": "kappa_mean"}
    by_kind: dict[str, list[float]] = {}
    for key, value in found.items():
        name = key.rpartition(" ")[2]
        by_kind.setdefault(kinds.get(name, name), []).append(value)
    known = {name: [value for value in values if math.isfinite(value)] for name, values in by_kind.items()}
    return {name: sum(values) / len(values) if values else math.nan for name, values in known.items()}


def _of_head(head: Head, select_by: str, scores: Array, truth: Array) -> tuple[dict[str, float], float, list[str]]:
    """One head's metrics, what selects by it, and reasons of undefined ones."""
    if head.kind == "quantity":
        measured = dict(zip(TITLES, agree(truth, scores[:, 0], np.ones((1, len(truth))))[0].tolist(), strict=True))
        found = {name: measured[name] for name in _OF_QUANTITY}
        reasons = dict(zip(TITLES, reasons_undefined(truth, scores[:, 0]), strict=True))
        notes = [f"validation {name} is undefined: {reasons[name]}" for name in found if math.isnan(found[name])]
        chosen = found.get("concordance" if select_by == "mean" else select_by, math.nan)
        return found, -chosen if select_by in _SMALLER else chosen, notes
    if head.kind == "yes_no":
        scores = np.concatenate([1 - scores, scores], axis=1)
    return _of_classes(head.classes, head.kind == "grades", select_by, scores, truth.astype(np.int64))


def _of_classes(
    classes: Sequence[str], graded: bool, select_by: str, scores: Array, truth: NDArray[np.int64]
) -> tuple[dict[str, float], float, list[str]]:
    """Metrics of classes; an undefined macro metric selects by the classes that are there."""
    kappa = "kappa_quadratic" if graded else "kappa"
    wanted = ("f1_macro", "auroc_macro", kappa) if select_by == "mean" else (select_by,)
    once = np.ones((1, len(truth)))
    found, selecting, notes = {}, {}, []
    for name in dict.fromkeys((*wanted, "auroc_macro", "f1_macro", kappa)):
        if name in _OF_QUANTITY:
            continue
        metric = pick("evaluate.metrics", name)
        found[name] = selecting[name] = float(metric.value(truth, scores, once)[0])
        why = metric.reason(truth, scores, classes)
        if why:
            notes.append(f"validation {name} is undefined: {why}")
            if hasattr(metric, "per_class"):
                values = metric.per_class(truth, scores, once)[0]
                selecting[name] = float(np.nanmean(values)) if np.isfinite(values).any() else math.nan
                notes[-1] += "; epochs are compared by the classes that are there"
    chosen = float(np.mean([selecting.get(name, math.nan) for name in wanted]))
    return found, -chosen if select_by in _SMALLER else chosen, notes
