"""Bootstrap intervals of macro AUROC, 39 classes x 1,000 rows: time per resample against scikit-learn in a loop."""

import numpy as np
from sklearn.metrics import roc_auc_score

from benchmarks.claim import Claim, seconds
from eyeground.evaluate.confidence import weights
from eyeground.evaluate.metrics.auroc_macro import value


def run() -> Claim:
    """Measure 500 of our resamples and 5 of scikit-learn's, and check that they agree."""
    rng = np.random.default_rng(0)
    truth = np.arange(1000) % 39
    logits = rng.standard_normal((1000, 39))
    logits[np.arange(1000), truth] += 1
    scores = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    drawn = weights([str(i) for i in range(1000)], 500, 0)
    rows = [np.repeat(np.arange(1000), times.astype(int)) for times in drawn[:5]]

    def reference() -> list[float]:
        return [float(roc_auc_score(truth[r], scores[r], multi_class="ovr", labels=np.arange(39))) for r in rows]

    assert np.allclose(value(truth, scores, drawn[:5]), reference())
    ours = seconds(lambda: value(truth, scores, drawn), repeats=3) / 500
    theirs = seconds(reference, repeats=3) / 5
    return Claim("a resample of macro AUROC", ours * 1000, theirs * 1000, "scikit-learn in a loop", "ms")
