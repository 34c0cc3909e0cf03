"""The whole scorecard, 39 classes x 1,000 rows x 2,000 resamples, against scikit-learn's macro AUROC in a loop."""

import numpy as np
from sklearn.metrics import roc_auc_score

from benchmarks.claim import Claim, seconds
from eyeground.evaluate.predictions import Predictions
from eyeground.evaluate.scorecard import scorecard


def run() -> Claim:
    """Measure ours whole; scikit-learn's loop from 5 resamples."""
    rng = np.random.default_rng(0)
    truth = np.arange(1000) % 39
    logits = rng.standard_normal((1000, 39))
    logits[np.arange(1000), truth] += 1
    scores = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    names, none = tuple(map(str, range(1000))), ("",) * 1000
    classes = tuple(f"class {k}" for k in range(39))
    table = Predictions(names, names, none, none, none, truth, scores, classes, False, True, none)
    ours = seconds(lambda: scorecard(table, resamples=2000), repeats=3)

    def reference() -> None:
        for _ in range(5):
            roc_auc_score(truth, scores, multi_class="ovr", labels=np.arange(39))

    theirs = seconds(reference, repeats=3) / 5 * 2000
    return Claim("full scorecard with intervals", ours, theirs, "scikit-learn, AUROC alone, 2,000 times", "s")
