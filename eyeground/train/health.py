"""Is pre-training learning, or has it collapsed? Told while it runs, in words, with the likely remedy (pure)."""

import math
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from eyeground.model.engine import Vitals

Status = Literal["ok", "warning", "collapsed", "diverged"]
_GRAVITY: tuple[Status, ...] = ("ok", "warning", "collapsed", "diverged")

# Steps over which a sign must last before it is believed.
WINDOW = 6
# Below: all images look the same to the network. Normalized pixels of different photographs differ by 0.5 and more.
_SAME_IMAGES = 0.02
# Spread of unit embeddings times the root of their length: 1 when they fill the sphere, 0 when all are one point.
_NO_SPREAD = 0.02
# The whole gradient against the encoder's: less than this share is no share.
_NO_GRADIENT = 1e-9
# How far above chance a loss may be from the first step on (random networks: 2.3 at temperature 0.05; 1e5 at 1e-6), and
# how far it may rise later.
_SATURATED, _RISEN = 30.0, 1.5
# AdamW moves every weight by about the learning rate at each step, and weights are 0.02 to 0.1: at this rate a few
# steps leave nothing of them. Healthy recipes stay below 0.005.
_OVERTURNING_RATE = 0.01
# Against the first step; in the first epoch, at a thousand times a working rate and at that itself: gradient 0.003 to
# 0.17 and 0.35 to 1, the encoder's share of it (masked autoencoder) 0 to 0.19 and 0.44 to 1.
_FADED, _FADED_SHARE = 0.2, 0.05


def measure(vitals: Vitals) -> dict[str, float]:
    """Turn a step's vitals into the numbers that the journal keeps.

    Args:
        vitals: What the step let see.

    Returns:
        ``chance_loss``; ``gradient_norm``, ``encoder_gradient_norm``, ``view_gradient`` (the smaller of the views'
        gradients over the larger, NaN when both are 0); ``image_spread``; ``spread`` of the unit embeddings per
        dimension times the root of their length, [0, 1]; ``effective_rank``, [1, D]; and with two views ``alignment``
        and ``uniformity``.

    Example:
        >>> same = Vitals(4.8, 4.8, 1.0, 1.0, (), 1.0, np.ones((4, 3), np.float32), None)
        >>> found = measure(same)
        >>> found["spread"], found["effective_rank"]
        (0.0, 1.0)

    References:
        Wang & Isola, "Understanding Contrastive Representation Learning through Alignment and Uniformity", ICML 2020;
        Roy & Vetterli, "The effective rank", EUSIPCO 2007.
    """
    found = {
        "chance_loss": vitals.chance_loss,
        "gradient_norm": vitals.gradient_norm,
        "encoder_gradient_norm": vitals.encoder_gradient_norm,
        "image_spread": vitals.image_spread,
    }
    if vitals.view_gradients:
        largest = max(vitals.view_gradients)
        found["view_gradient"] = min(vitals.view_gradients) / largest if largest > 0 else math.nan
    unit = unit_rows(vitals.embeddings)
    found["spread"] = spread(unit)
    found["effective_rank"] = effective_rank(unit)
    if vitals.partners is not None:
        partners = unit_rows(vitals.partners)
        found["alignment"] = float(((unit - partners) ** 2).sum(axis=1).mean())
        found["uniformity"] = uniformity(unit)
    return found


def unit_rows(embeddings: NDArray[np.float32]) -> NDArray[np.float64]:
    """Bring every row to length 1.

    Args:
        embeddings: Shape (N, D).

    Returns:
        Shape (N, D); a row of zeros stays one.

    Example:
        >>> unit_rows(np.array([[3.0, 4.0]], np.float32)).round(3)
        array([[0.6, 0.8]])

    References:
        Our own.
    """
    rows = embeddings.astype(np.float64)
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    unit: NDArray[np.float64] = np.divide(rows, length, out=np.zeros_like(rows), where=length > 0)
    return unit


def spread(unit: NDArray[np.float64]) -> float:
    """Measure how much of the sphere unit embeddings fill: standard deviation per dimension times root D.

    Args:
        unit: Rows of length 1, shape (N, D).

    Returns:
        About 1 for rows drawn evenly from the sphere, 0 for one point.

    Example:
        >>> round(spread(np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])), 6)
        1.0

    References:
        Chen & He, "Exploring Simple Siamese Representation Learning", CVPR 2021, figure 2.
    """
    return float(unit.std(axis=0).mean() * math.sqrt(unit.shape[1]))


def effective_rank(rows: NDArray[np.float64]) -> float:
    """Count the directions that embeddings really use: exp of the entropy of the singular values about the mean.

    Args:
        rows: Shape (N, D).

    Returns:
        From 1, one direction or a single point, to min(N - 1, D).

    Example:
        >>> round(effective_rank(np.array([[1.0, 0], [-1, 0], [0, 1], [0, -1]])), 6)
        2.0

    References:
        Roy & Vetterli, "The effective rank: a measure of effective dimensionality", EUSIPCO 2007.
    """
    values = np.linalg.svd(rows - rows.mean(axis=0), compute_uv=False)
    total = values.sum()
    # Rounding leaves a single point a singular value of 1e-8 or so.
    if total <= 1e-6 * math.sqrt(rows.size):
        return 1.0
    share = values[values > 0] / total
    return float(np.exp(-(share * np.log(share)).sum()))


def uniformity(unit: NDArray[np.float64]) -> float:
    """Measure how evenly unit embeddings lie on the sphere: log of the mean Gaussian potential of all pairs.

    Args:
        unit: Rows of length 1, shape (N, D), N at least 2.

    Returns:
        0 for one point, down to about -4 for even ones; NaN for a single row.

    Example:
        >>> uniformity(np.ones((3, 1)))
        0.0

    References:
        Wang & Isola, ICML 2020, with t = 2.
    """
    if len(unit) < 2:
        return math.nan
    first, second = np.triu_indices(len(unit), 1)
    distance = 2 - 2 * (unit @ unit.T)[first, second]
    return float(np.log(np.exp(-2 * np.maximum(distance, 0)).mean()))


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong.

    Args:
        status: How grave: ``"warning"``, ``"collapsed"`` or ``"diverged"``.
        name: Short name of the sign, such as ``"identical images"``.
        words: What is wrong, with numbers, and the likely remedy.

    Example:
        >>> Finding("warning", "flat loss", "the loss does not fall").status
        'warning'

    References:
        Our own.
    """

    status: Status
    name: str
    words: str


@dataclass
class Health:
    """Watches a run through its journal lines; it never changes what is learned.

    Fed with the same lines it comes to the same findings: a resumed run reads its own journal to know what it knew.

    Args:
        steps_per_epoch: A window is never longer than half an epoch.
        contrastive: Two views and a contrastive loss, or else pixels are predicted.
        findings: What was found so far, in order.

    Example:
        >>> health = Health(steps_per_epoch=10, contrastive=True)
        >>> health.observe({"step": 1, "loss": 4.5, "chance_loss": 4.8, "image_spread": 0.0})
        >>> health.status
        'ok'

    References:
        Our own; the signs are those of the papers named in ``measure``.
    """

    steps_per_epoch: int
    contrastive: bool
    findings: list[Finding] = field(default_factory=list)
    _window: deque[Mapping[str, Any]] = field(init=False)
    _first: list[float] = field(default_factory=list, init=False)
    _start: Mapping[str, Any] = field(default_factory=dict, init=False)
    _lowest: float = field(default=math.inf, init=False)
    _neighbors: list[float] = field(default_factory=list, init=False)

    def __post_init__(self) -> None:
        self._window = deque(maxlen=max(2, min(WINDOW, self.steps_per_epoch // 2)))

    @property
    def status(self) -> Status:
        """The gravest finding's, or ``"ok"``."""
        return max((finding.status for finding in self.findings), key=_GRAVITY.index, default="ok")

    @property
    def reasons(self) -> list[str]:
        """Every finding in words, in order."""
        return [f"{finding.name}: {finding.words}" for finding in self.findings]

    @property
    def must_stop(self) -> bool:
        """Whether going on would only waste time."""
        return self.status in ("collapsed", "diverged")

    def observe(self, line: Mapping[str, Any]) -> None:
        """Look at one step.

        Args:
            line: The step's journal line, with the numbers of ``measure``; ``picture_spread``, if there, is the
                ``image_spread`` before augmentation.
        """
        self._window.append(line)
        self._start = self._start or dict(line)
        if len(self._window) < (self._window.maxlen or 1):
            self._first.append(float(line["loss"]))
            return
        losses = self._over("loss")
        self._first = self._first or [float(losses.mean())]
        for finding in self._signs(losses):
            self._add(finding)
        self._lowest = min(self._lowest, float(losses.mean()))

    def observe_epoch(self, line: Mapping[str, Any]) -> None:
        """Look at one epoch.

        Args:
            line: The epoch's journal line; ``scores`` may hold ``knn_accuracy`` and ``knn_chance``.
        """
        scores = line.get("scores") or {}
        accuracy, chance = scores.get("knn_accuracy"), scores.get("knn_chance")
        if accuracy is None or chance is None:
            return
        self._neighbors.append(accuracy)
        best = max(self._neighbors)
        if len(self._neighbors) >= 5 and best - accuracy > 0.15 and accuracy < chance + 0.05:
            self._add(
                Finding(
                    "warning",
                    "neighbors forgotten",
                    f"kNN on the labels at hand fell from {best:.2f} to {accuracy:.2f} (chance {chance:.2f}): the "
                    "features lose what they knew. Lower the learning rate or the strength of the augmentation",
                )
            )

    def replay(self, lines: Iterable[Mapping[str, Any]]) -> None:
        """Read again what a run's journal holds.

        Args:
            lines: Journal lines in order.
        """
        for line in lines:
            if line.get("event") == "step" and "chance_loss" in line and line.get("loss") is not None:
                self.observe(line)
            elif line.get("event") == "epoch":
                self.observe_epoch(line)

    def _add(self, finding: Finding) -> None:
        """Remember a finding once."""
        if finding.name not in {known.name for known in self.findings}:
            self.findings.append(finding)

    def _over(self, key: str) -> NDArray[np.float64]:
        """A number over the window; NaN where a step has none."""
        return np.array([_number(line, key) for line in self._window])

    def _signs(self, losses: NDArray[np.float64]) -> Iterable[Finding]:
        """Everything the window shows, the cause before its consequences: only the first grave one is told."""
        loss, chance = float(losses.mean()), float(self._over("chance_loss").mean())
        lr = float(self._window[-1].get("lr") or 0.0)
        step = self._window[-1]["step"]
        where = f"steps {self._window[0]['step']}-{step}"
        grave = next(iter(self._grave(loss, chance, lr, where)), None)
        if grave is not None:
            yield grave
            return
        norms = self._over("gradient_norm")
        if np.isfinite(norms).all() and norms[-1] > 100 * max(float(np.median(norms[:-1])), 1e-12):
            yield Finding(
                "warning",
                "gradient burst",
                f"at step {step} the gradient is {norms[-1]:.3g}, a hundred times that of the steps before. "
                "Try clip_norm=1 or a longer warm-up",
            )
        if step >= self.steps_per_epoch and self.contrastive:
            rank = float(np.mean(self._over("effective_rank")))
            # N images span at most N - 1 directions; chance is log(2N - 1).
            images = (math.exp(float(self._over("chance_loss").mean())) + 1) / 2
            if rank < min(3.0, 0.4 * (images - 1)):
                yield Finding(
                    "warning",
                    "few directions",
                    f"the embeddings use {rank:.1f} directions ({where}): the views may differ in one shortcut only, "
                    "such as color. Strengthen the augmentation, or enlarge the batch",
                )

    def _grave(self, loss: float, chance: float, lr: float, where: str) -> Iterable[Finding]:
        """Signs that end a run."""
        images = np.fmin(self._over("image_spread"), self._over("picture_spread"))
        if (images < _SAME_IMAGES).all():
            yield Finding(
                "collapsed",
                "identical images",
                f"all images of a batch are the same ({where}: pixels differ by {images.max():.1e}): there is nothing "
                "to learn from. Look at the images ('eyeground data inspect'), at mean and std, and at crop_field",
            )
        filled = self._over("spread")
        whole, encoder = self._over("gradient_norm"), self._over("encoder_gradient_norm")
        whole_first, encoder_first = (_number(self._start, f"{part}gradient_norm") for part in ("", "encoder_"))
        # Where it vanishes later, or at a single point, it is the consequence of something else.
        never = encoder_first <= _NO_GRADIENT * max(whole_first, 1.0) and (filled >= _NO_SPREAD).all()
        if never and (encoder <= _NO_GRADIENT * np.maximum(whole, 1.0)).all():
            yield Finding(
                "collapsed",
                "no gradient",
                f"no gradient reaches the encoder ({where}: {encoder.max():.1e} of {whole.max():.3g}): it cannot "
                "learn. Look for detach(), no_grad() or requires_grad=False between the encoder and the loss",
            )
        views = self._over("view_gradient")
        if self.contrastive and np.isfinite(views).all() and (views < 1e-6).all():
            yield Finding(
                "collapsed",
                "one-sided gradient",
                f"the loss gives only one of the two views a gradient ({where}): SimCLR needs both. "
                "Look for detach() on one of them",
            )
        first = float(np.mean(self._first))
        if self.contrastive and first > _SATURATED * chance and loss > _SATURATED * chance:
            yield Finding(
                "diverged",
                "saturated loss",
                f"the loss is {loss:.3g} where guessing would give {chance:.3f} ({where}), since the first step: the "
                "softmax is saturated. The temperature is too small; 0.1 to 0.5 is usual",
            )
        # What is left of the first step's gradient, and of the encoder's share of it.
        gradient = np.median(whole) / max(whole_first, 1e-30)
        share = np.median(encoder / np.maximum(whole, 1e-30)) * whole_first / max(encoder_first, 1e-30)
        faded = min(gradient, share) < _FADED and loss > 0.9 * chance
        if lr >= _OVERTURNING_RATE and (faded or share < _FADED_SHARE):
            yield Finding(
                "diverged",
                "overturned weights",
                f"the learning rate, now {lr:.3g}, is too high: each step moves every weight by about as much, and "
                f"what they knew is lost ({where}: the gradient fell to {gradient:.2g} of its first, the encoder's "
                f"share of it to {share:.2g}; loss {loss:.3g}, guessing {chance:.3f}). Usual are 0.0001 to 0.003",
            )
        # A random network may start well above chance: its answers are large, or a few pairs unlucky.
        if loss > _RISEN * max(chance, first) and loss > 1.2 * self._lowest:
            yield Finding(
                "diverged",
                "rising loss",
                f"the loss rose to {loss:.3g}, from {min(first, self._lowest):.3g}; guessing would give {chance:.3f} "
                f"({where}). The learning rate, now {lr:.3g}, is too high: try a tenth, or clip_norm=1",
            )
        if (filled < _NO_SPREAD).all() and (self.contrastive or loss > 0.9 * chance):
            yield Finding(
                "collapsed",
                "one point",
                f"all images have the same embedding ({where}: spread {filled.mean():.1e} of 1, loss {loss:.3f}, "
                f"guessing {chance:.3f}). Most likely the learning rate, now {lr:.3g}, is too high, batch norm with "
                "folded statistics learns (batch_norm=frozen), the temperature is too large, or the pairs are wrong",
            )


def _number(line: Mapping[str, Any], key: str) -> float:
    """A number of a journal line; NaN where it is null or missing."""
    value = line.get(key)
    return math.nan if value is None else float(value)
