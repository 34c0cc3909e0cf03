"""The loss of every kind of head, masked where a label is missing."""

import torch
import torch.nn.functional as F

from eyeground.data.task import Head
from eyeground.model.objective import Objective


def loss_of(
    outputs: torch.Tensor, targets: torch.Tensor, objective: Objective, *, label_smoothing: float = 0.0
) -> torch.Tensor:
    """Compare what a network gives with what it should give.

    Args:
        outputs: Shape (N, T), float32.
        targets: Shape (N, T) as ``Task.targets`` makes them, also mixed; NaN = teaches nothing.
        objective: Heads and their weights.
        label_smoothing: Share of the truth spread over all classes of a head, [0, 1).

    Returns:
        The loss, a scalar: the mean over heads with a label of each head's mean over its labels; 0, with a gradient of
        zero, where no image has any.

    Example:
        >>> from eyeground.model.objective import unnamed
        >>> round(loss_of(torch.zeros(2, 4), torch.eye(4)[:2], unnamed(4)).item(), 4)
        1.3863

    References:
        Each head's in the functions below; the masking is that of CheXpert's "U-ignore" (Irvin et al., AAAI 2019).
    """
    total, shares = outputs.sum() * 0.0, 0.0
    for number, (head, place, _) in enumerate(objective.task.parts()):
        weights, shift, share = objective.of_head(number)
        said, wanted = outputs[:, place], targets[:, place]
        if shift:
            said = said + said.new_tensor(shift)
        known = ~wanted.isnan()
        if not known.any():
            continue
        scale = said.new_tensor(weights) if weights else None
        total = total + share * _of_head(head, said, wanted, known, scale, objective.focal_gamma, label_smoothing)
        shares += share
    return total / shares if shares else total


def _of_head(
    head: Head,
    said: torch.Tensor,
    wanted: torch.Tensor,
    known: torch.Tensor,
    weights: torch.Tensor | None,
    gamma: float,
    smoothing: float,
) -> torch.Tensor:
    """Mean over a head's labels."""
    if head.kind == "quantity":
        return F.smooth_l1_loss(said[known], wanted[known])
    if head.kind == "classes":
        rows = known.all(dim=1)
        return _classes(said[rows], wanted[rows], weights, gamma, smoothing)
    per_label = None
    if weights is not None and head.kind == "grades":
        # The grade is the number of levels it lies above; its weight counts at each of them.
        per_label = weights[torch.nansum(wanted, dim=1).round().long()][:, None].expand_as(wanted)[known]
    elif weights is not None:
        yes = wanted[known]
        per_label = weights[1] * yes + weights[0] * (1 - yes)
    return _yes_no(said[known], wanted[known], per_label, gamma, smoothing)


def _classes(
    said: torch.Tensor, wanted: torch.Tensor, weights: torch.Tensor | None, gamma: float, smoothing: float
) -> torch.Tensor:
    """Cross-entropy of soft targets (N, K); with gamma, each class's term times (1 - p)^gamma (Lin et al. 2017)."""
    if not gamma:
        return F.cross_entropy(said, wanted, weight=weights, label_smoothing=smoothing)
    wanted = wanted * (1 - smoothing) + smoothing / wanted.shape[1]
    log_p = F.log_softmax(said, dim=1)
    terms = wanted * (1 - log_p.exp()) ** gamma * log_p
    return -(terms * weights if weights is not None else terms).sum(dim=1).mean()


def _yes_no(
    said: torch.Tensor, wanted: torch.Tensor, weights: torch.Tensor | None, gamma: float, smoothing: float
) -> torch.Tensor:
    """Binary cross-entropy of soft targets (M,); with gamma, each side's term times (1 - p of it)^gamma."""
    wanted = wanted * (1 - smoothing) + smoothing / 2
    if not gamma:
        return F.binary_cross_entropy_with_logits(said, wanted, weight=weights)
    p = said.sigmoid()
    terms = wanted * (1 - p) ** gamma * F.logsigmoid(said) + (1 - wanted) * p**gamma * F.logsigmoid(-said)
    return -(terms * weights if weights is not None else terms).mean()
