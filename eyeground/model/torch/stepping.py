"""AdamW inside the backward pass: a weight takes its step as soon as its gradient is there."""

from collections.abc import Mapping

import torch
from torch import nn

# A call of the optimizer looks at all parameters: one for each of them would cost a small network more than its step.
_TOGETHER_BYTES = 16 * 2**20


def length_of(gradient: torch.Tensor) -> torch.Tensor:
    """Measure a gradient's 2-norm.

    Of a large tensor on a processor, torch's own takes twice as long as a product with itself, and is a ten-thousandth
    off where that is a millionth off: it adds up one by one.

    Args:
        gradient: Any shape, parted among processes or not.

    Returns:
        A scalar, parted where the gradient is.

    Example:
        >>> length_of(torch.tensor([[3.0], [4.0]]))
        tensor(5.)

    References:
        Our own; measured in docs/results.md.
    """
    plain = type(gradient) in (torch.Tensor, nn.Parameter) and gradient.device.type == "cpu"
    if plain and gradient.is_contiguous() and gradient.dtype == torch.float32:
        flat = gradient.view(-1)
        return torch.dot(flat, flat).sqrt()
    length: torch.Tensor = torch.linalg.vector_norm(gradient)
    return length


class Stepping:
    """Take each weight's step in the backward pass, and let its gradient go.

    So the gradients of a network are never in memory all at once. The steps are those that one call at the end would
    take, to the bit. What is lost: by the time that a gradient turns out not to be finite, weights nearer to the loss
    have taken their step. No such gradient reaches a weight, and what comes after it in that pass is not stepped.

    Args:
        optimizer: Holds the parameters; a parameter without a gradient it leaves alone.
        together_bytes: Gradients wait until so much has gathered. Unit: bytes.

    Example:
        >>> weight = nn.Parameter(torch.ones(2))
        >>> stepping = Stepping(torch.optim.SGD([weight], lr=0.5))
        >>> stepping.begin({"weight": weight})
        >>> weight.sum().backward()
        >>> stepping.finish()
        >>> weight.tolist(), weight.grad, list(stepping.norms)
        ([0.5, 0.5], None, ['weight'])

    References:
        Lv et al., "Full Parameter Fine-tuning for Large Language Models with Limited Resources" (LOMO), ACL 2024; with
        AdamW as it is: our own.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, *, together_bytes: int = _TOGETHER_BYTES) -> None:
        self._optimizer = optimizer
        self._together_bytes = together_bytes
        self._hooked: set[str] = set()
        self.norms: dict[str, torch.Tensor] = {}
        self._waiting: list[str] = []
        self._waiting_bytes = 0
        self._spoiled = False

    def begin(self, parameters: Mapping[str, nn.Parameter]) -> None:
        """Get ready for a backward pass.

        Args:
            parameters: What the optimizer holds, by name; only what needs a gradient is looked at.
        """
        for name, parameter in parameters.items():
            if parameter.requires_grad and name not in self._hooked:
                self._hooked.add(name)
                self._make_averages(parameter)
                parameter.register_post_accumulate_grad_hook(  # type: ignore[no-untyped-call]
                    lambda found, name=name: self._gather(name, found)
                )
        self.norms, self._spoiled = {}, False
        self._forget()

    def finish(self) -> None:
        """Step what still waits."""
        if self._waiting and not all(bool(self.norms[name].isfinite()) for name in self._waiting):
            self._spoiled = True
        if self._waiting and not self._spoiled:
            self._optimizer.step()
        self._forget()

    def _make_averages(self, parameter: nn.Parameter) -> None:
        """Give AdamW its averages before the first pass: made inside it, they would lie between what is let go."""
        if isinstance(self._optimizer, torch.optim.AdamW) and not self._optimizer.state[parameter]:
            averages = {key: torch.zeros_like(parameter, requires_grad=False) for key in ("exp_avg", "exp_avg_sq")}
            self._optimizer.state[parameter] = {"step": torch.zeros((), device=parameter.device), **averages}

    def _gather(self, name: str, parameter: torch.Tensor) -> None:
        """Take a gradient that is complete."""
        if parameter.grad is None:
            return
        self.norms[name] = length_of(parameter.grad)
        self._waiting.append(name)
        self._waiting_bytes += parameter.grad.nbytes
        if self._waiting_bytes >= self._together_bytes:
            self.finish()

    def _forget(self) -> None:
        """Let gradients go."""
        self._waiting, self._waiting_bytes = [], 0
        self._optimizer.zero_grad()
