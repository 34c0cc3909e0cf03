"""What chooses the best epoch on validation."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from eyeground.cli.config import ConfigError
from eyeground.evaluate.profiles import retfound2025
from eyeground.pick import names, pick
from eyeground.train.loop import Verdict

Score = Callable[[NDArray[np.float64], NDArray[np.int64], float], Verdict]


def selection_score(select_by: str, classes: Sequence[str]) -> Score:
    """Make the function that judges an epoch on validation.

    Args:
        select_by: ``mean`` = (macro F1 + macro AUROC + kappa) / 3 as RETFound has it, or one metric's name.
        classes: Class names in order.

    Returns:
        Scores (N, K), labels (N,) and the validation loss to a verdict. A class without validation images is left out
        of the macro AUROC that selects, and the verdict says so.

    Raises:
        ConfigError: If there is no such metric.

    Example:
        >>> judge = selection_score("accuracy", ("a", "b"))
        >>> judge(np.array([[0.9, 0.1], [0.2, 0.8]]), np.array([0, 1]), 0.1).selection
        1.0

    References:
        RETFound_MAE at 897d71c for ``mean``.
    """
    wanted = ("f1_macro", "auroc_macro", "kappa") if select_by == "mean" else (select_by,)
    offered = names("evaluate.metrics")
    if unknown := [name for name in wanted if name not in offered]:
        raise ConfigError(f"select_by: no metric {unknown[0]!r}; there are 'mean' and {', '.join(offered)}")
    shown = dict.fromkeys((*wanted, "auroc_macro", "f1_macro", "kappa"))
    # Smaller is better for these; selection looks for the largest.
    sign = -1.0 if select_by in ("ece", "brier", "log_loss", "hamming") else 1.0

    def judge(scores: NDArray[np.float64], truth: NDArray[np.int64], loss: float) -> Verdict:
        once = np.ones((1, len(truth)))
        found, selecting, notes = {}, {}, []
        for name in shown:
            metric = pick("evaluate.metrics", name)
            found[name] = selecting[name] = float(metric.value(truth, scores, once)[0])
            why = metric.reason(truth, scores, classes)
            if why:
                notes.append(f"validation {name} is undefined: {why}")
                if hasattr(metric, "per_class"):
                    values = metric.per_class(truth, scores, once)[0]
                    selecting[name] = float(np.nanmean(values)) if np.isfinite(values).any() else float("nan")
                    notes[-1] += "; epochs are compared by the classes that are there"
        columns = retfound2025.values(truth, scores, val_loss=loss)
        selection = sign * float(np.mean([selecting[name] for name in wanted]))
        return Verdict(selection, found, loss, tuple(notes), columns)

    return judge
