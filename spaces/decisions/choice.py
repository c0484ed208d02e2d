"""A choice: one of several options for each group, by logits (docs/methods.md, section 3)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from search.errors import UsageError
from spaces.autograd import straight_through
from spaces.decisions.decision import Decision

NEAR = 1.0  # between a hard choice's logits, at most: an option that was far behind comes back as fast as others
SURE = 6.0  # where draws or mixtures read the softmax, which has to become all but one-hot
MODES = ("hard", "soft", "gumbel", "sampled")


class Choice(Decision):
    """One of n options for each group, by logits. Evaluation always takes the argmax.

    Attributes:
        reach: by how much logits of a group can differ.
        mode_now: one of MODES, in training that of the choice, "hard" in evaluation.
    """

    def __init__(
        self,
        name: str,
        options: Sequence[int],
        groups: int,
        mode: str = "hard",
        temperature: float = 1.0,
        uniform: bool = False,
    ) -> None:
        super().__init__(name, options, groups, start=options[0] if uniform else options[-1])
        if mode not in MODES:
            raise UsageError(f"decision '{name}': mode '{mode}' is not one of {MODES}.")
        self.mode, self.temperature = mode, temperature
        self.reach = NEAR if mode == "hard" and not uniform else SURE
        logits = torch.zeros(groups, len(self.options))
        logits[:, -1] = 0.0 if uniform else 1.0  # options ascend: a search starts at the highest precision
        self.logits = nn.Parameter(logits)

    @property
    def mode_now(self) -> str:
        return self.mode if self.training else "hard"

    @property
    def whole(self) -> bool:
        return self.groups == 1 and self.mode != "soft"

    def share(self) -> Tensor:
        return select(self.logits, self.mode_now, self.temperature)

    def mixture(self) -> Tensor:
        """(groups, n_options), differentiable: the share of each option, on average over draws."""
        return select(self.logits, "soft", self.temperature)

    def pick(self) -> tuple[int, ...]:
        return tuple(self.options[i] for i in self.logits.argmax(-1).tolist())

    @torch.no_grad()
    def steer(self, against: Tensor) -> None:
        self.logits.grad = against.to(self.logits)

    @torch.no_grad()
    def _fix(self, pick: Sequence[int]) -> None:
        index = torch.tensor([self.options.index(p) for p in pick], device=self.logits.device)
        self.logits.copy_(nn.functional.one_hot(index, len(self.options)).to(self.logits.dtype) * self.reach)


def select(logits: Tensor, mode: str, temperature: float, drawn: Tensor | None = None) -> Tensor:
    """(groups, n) logits to shares.

    "soft" is the softmax. The others are one-hot in the forward pass and the softmax in the backward pass: "hard" is
    the argmax, "gumbel" the argmax under noise, which the softmax sees too, and "sampled" a draw with the probabilities
    of the softmax.

    Args:
        drawn: (groups,), the indices that "sampled" has drawn; None: they are drawn here.
    """
    if mode == "gumbel":
        logits = logits - torch.empty_like(logits).exponential_().log()
    soft = torch.softmax(logits / temperature, -1)
    if mode == "soft":
        return soft
    if mode != "sampled":
        drawn = logits.argmax(-1)
    elif drawn is None:
        drawn = draw(soft.detach())
    hard = torch.zeros_like(soft).scatter_(-1, drawn[..., None], 1.0)
    return straight_through(soft, hard)


def draw(probability: Tensor) -> Tensor:
    """(groups, n) -> (groups,), the index of the option that is drawn."""
    return torch.multinomial(probability, 1)[:, 0]
