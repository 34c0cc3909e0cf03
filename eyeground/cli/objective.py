"""A configuration's keys -> what is asked of an image, and how the loss asks it."""

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from eyeground.cli.config import ConfigError
from eyeground.cli.dataset import Dataset
from eyeground.cli.finetune_config import FinetuneConfig
from eyeground.data.balance import class_weights, log_priors
from eyeground.data.classes import are_grades
from eyeground.data.task import Head, Task, classification
from eyeground.model.objective import Objective

# Strategies that choose images, not how the loss counts them.
SAMPLING = ("balanced_sampling", "oversample")


def heads_of(config: FinetuneConfig) -> tuple[Head, ...]:
    """Say which columns of a table hold the truth.

    Args:
        config: A checked configuration.

    Returns:
        The heads; none for classes and grades, whose names the labels themselves tell.

    Raises:
        ConfigError: If a head cannot be so.

    Example:
        >>> [head.kind for head in heads_of(FinetuneConfig(data="images", task="multilabel", classes=["A", "B"]))]
        ['yes_no', 'yes_no']

    References:
        Our own.
    """
    heads: tuple[Head, ...] = ()
    try:
        if config.task == "heads":
            heads = tuple(
                Head(each.name, each.kind, each.classes, each.column or each.name, each.low, each.high, each.unit)
                for each in config.heads
            )
        if config.task == "multilabel":
            heads = tuple(Head(name, column=name) for name in config.classes or ())
        if config.task == "regression":
            low, high = config.scale
            heads = (Head(config.data[0].label or "label", "quantity", low=low, high=high, unit=config.unit),)
        return Task(config.task, heads).heads if heads else ()
    except ValueError as error:
        raise ConfigError(str(error)) from error


def task_of(config: FinetuneConfig, dataset: Dataset) -> Task:
    """Say what is asked of each image of a data set.

    Args:
        config: A checked configuration.
        dataset: The data, split.

    Returns:
        The task; a quantity is learned in units of its standard deviation in training.

    Raises:
        ConfigError: If the labels are no answers to it, or a head has nothing to learn from; all faults at once.

    References:
        Our own.
    """
    if config.task in ("multiclass", "ordinal"):
        if len(dataset.classes) < 2:
            raise ConfigError(f"all labels are {dataset.classes[0]!r}: a classifier needs at least two classes")
        if config.task == "multiclass":
            return classification(dataset.classes)
        if not dataset.ordered or not (config.classes or are_grades(dataset.classes)):
            raise ConfigError(
                f"task: ordinal needs grades, but the labels are {', '.join(dataset.classes)}; give classes in their "
                "order, or use task: multiclass"
            )
        return Task("ordinal", (Head("label", "grades", dataset.classes),))
    heads, wrong = [], []
    train = np.array([sample.truth for sample in dataset.of("train")]).reshape(-1, len(dataset.heads))
    for number, head in enumerate(dataset.heads):
        known = train[np.isfinite(train[:, number]), number]
        if not len(known):
            wrong.append(f"head {head.name!r} has no label in train: fill its column, or leave the head out")
        elif np.ptp(known) == 0:
            only = f"{known[0]:g}" if head.kind == "quantity" else head.classes[int(known[0])]
            wrong.append(f"head {head.name!r}: every label in train is {only}: there is nothing to learn")
        elif head.kind == "quantity":
            head = replace(head, center=float(known.mean()), spread=float(known.std()))
        heads.append(head)
    if wrong:
        raise ConfigError("; ".join(wrong))
    return Task(config.task, tuple(heads))


def objective_of(config: FinetuneConfig, dataset: Dataset, task: Task) -> Objective:
    """Say how the loss asks for a task, and how it answers imbalance.

    Args:
        config: A checked configuration.
        dataset: The data, split: the frequencies are those of its training part.
        task: What is asked.

    Returns:
        The objective.

    Raises:
        ConfigError: If a strategy does not reach this task, or a class weight is for a class that is not there.

    References:
        Our own.
    """
    wanted = [strategy for strategy in config.imbalance if strategy != "none"]
    graded = [head.name for head in task.heads if head.kind == "grades"]
    if wanted and all(head.kind == "quantity" for head in task.heads):
        raise ConfigError(f"imbalance={wanted[0]}: a quantity has no classes; leave it none")
    if "logit_adjust" in wanted and graded:
        raise ConfigError(f"imbalance=logit_adjust does not reach grades ({', '.join(graded)}): weighted or focal do")
    if (sampled := [strategy for strategy in wanted if strategy in SAMPLING]) and task.single is None:
        raise ConfigError(
            f"imbalance={sampled[0]} needs one set of classes: with several heads no choice of images balances all; "
            "weighted, focal and logit_adjust work within each head"
        )
    if isinstance(config.class_weights, dict) and "weighted" in wanted and task.single is None:
        raise ConfigError("class_weights: a weight per class needs one set of classes; with several heads name a rule")
    truth = np.array([sample.truth for sample in dataset.of("train")])
    counts = [_counts(head, truth[:, number].tolist()) for number, head in enumerate(task.heads)]
    weigh = partial(class_weights, how=config.class_weights, beta=config.effective_beta)
    weights: list[tuple[float, ...]] = []
    shifts: list[tuple[float, ...]] = []
    wrong = []
    for head, found in zip(task.heads, counts, strict=True):
        classed = head.kind != "quantity"
        try:
            weights.append(weigh(found, classes=head.classes) if "weighted" in wanted and classed else ())
            shifts.append(_shift(head, found, config.logit_tau) if "logit_adjust" in wanted and classed else ())
        except ValueError as error:
            wrong.append(str(error) if task.single else f"head {head.name!r}: {error}")
    if wrong:
        raise ConfigError("; ".join(wrong))
    try:
        return Objective(
            task,
            class_weights=tuple(weights) if any(weights) else (),
            focal_gamma=config.focal_gamma if "focal" in wanted else 0.0,
            shifts=tuple(shifts) if any(shifts) else (),
            head_weights=tuple(each.weight for each in config.heads),
        )
    except ValueError as error:
        raise ConfigError(str(error)) from error


def _counts(head: Head, truth: Sequence[float]) -> list[int]:
    """Training images of each class of a head."""
    known = [int(value) for value in truth if math.isfinite(value)] if head.kind != "quantity" else []
    return [known.count(number) for number in range(len(head.classes))]


def _shift(head: Head, counts: Sequence[int], tau: float) -> tuple[float, ...]:
    """What logit adjustment adds to a head's outputs in training."""
    priors = [tau * prior for prior in log_priors(counts, classes=head.classes)]
    return (priors[1] - priors[0],) if head.kind == "yes_no" else tuple(priors)
