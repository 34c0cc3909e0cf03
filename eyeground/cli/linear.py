"""A linear head trained on frozen features by a run's own task, loss, sampling and pace."""

import math

import numpy as np
from numpy.typing import NDArray

from eyeground.cli.features import FeatureTable
from eyeground.cli.finetune_config import FinetuneConfig
from eyeground.cli.recipe import learning_rate_of
from eyeground.cli.selection import Score
from eyeground.cli.training import order_of_epochs
from eyeground.data.order import order_of
from eyeground.model.objective import Objective
from eyeground.model.optimization import Optimization
from eyeground.model.torch.linear import LinearHead, one_thread


def fit_linear(
    config: FinetuneConfig, known: FeatureTable, rows: NDArray[np.int64], *, objective: Objective, score: Score
) -> tuple[NDArray[np.float64], int]:
    """Train a linear head, and let the epoch that is best on validation answer for the test.

    Args:
        config: Pace, loss and sampling.
        known: Features of the whole data set.
        rows: Training rows.
        objective: What is asked.
        score: Judges validation.

    Returns:
        Scores of the test rows (M, S), and which epoch was chosen, from 1.

    Raises:
        LossNotFinite: If the learning rate is too high.

    References:
        Our own; as ``adapt=head``, on features of the whole image without augmentation.
    """
    truth = np.array([sample.truth for sample in known.samples])
    x, targets = known.features, objective.task.targets(truth)
    val, test = known.rows("val"), known.rows("test")
    head = LinearHead(
        x[rows],
        objective=objective,
        optimization=Optimization(
            weight_decay=config.weight_decay,
            layer_decay=1.0,
            betas=config.betas,
            clip_norm=config.clip_norm,
            label_smoothing=config.label_smoothing,
        ),
        seed=config.seed,
        threads=config.threads,
    )
    order = order_of_epochs(config, [known.samples[row] for row in rows.tolist()])
    rate, batch = learning_rate_of(config), min(config.batch_size, len(rows))
    step, chosen, best, kept = 0, 0, -math.inf, head.state()
    with one_thread():
        for epoch in range(config.epochs):
            numbers = order(epoch) if order else order_of(samples=len(rows), seed=config.seed, epoch=epoch)
            steps = len(numbers) // batch
            for index in range(steps):
                taken = rows[numbers[index * batch : (index + 1) * batch]]
                lr = rate.at(epoch + index / steps, epochs=config.epochs, effective_batch=batch)
                head.train_step(x[taken], targets[taken], lr=lr, seed=step)
                step += 1
            said = head.predict(x[val])
            verdict = score(said, truth[val], objective.task.loss(said, truth[val]))
            if verdict.selection > best or not chosen:
                best = -math.inf if math.isnan(verdict.selection) else verdict.selection
                chosen, kept = epoch + 1, head.state()
    head.load_state({"weights": kept["weights"]})
    return head.predict(x[test]), chosen
