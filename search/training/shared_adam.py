"""The optimizer of decisions: Adam whose second moment is shared by all decisions of a kind.

Adam divides the gradient of each parameter by its own size. So it moves a channel that the task needs a little as fast
as one that it does not need at all. Under the pressure of a cost all gates then reach their threshold together, and the
network collapses. One common divisor keeps the differences between channels, across layers as well, as the Lagrangian
asks for.

But a common divisor is as large as the largest gradient. Where a few gates have gradients hundreds of times those of
the others, the others stand still, the cost stays above its target, and the force on all of them grows until they fall
at once. So gradients are clipped first, at a multiple of their median size.

Where gradients are nothing but noise, a divisor makes the noise large. A group can say with `least` below what size its
gradients are not worth a whole step. The formulas stand in docs/methods.md, section 11.
"""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

CLIP = 3.0


class SharedAdam(torch.optim.Optimizer):
    """m <- b1 m + (1 - b1) g;  v <- b2 v + (1 - b2) mean(g^2) over the group;  p <- p - lr m / sqrt(v), unbiased.

    Before this, g is clipped at `CLIP` times the median size of the group's gradients that are not zero. Groups may
    have a key `least`, the smallest sqrt(v) that g is divided by.
    """

    def __init__(self, groups: Iterable[dict[str, Any]], lr: float, betas: tuple[float, float] = (0.8, 0.97)) -> None:
        super().__init__(groups, {"lr": lr, "betas": betas, "least": 1e-12})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]  # it has no closure
        for group in self.param_groups:
            parameters = [p for p in group["params"] if p.grad is not None]
            if parameters:
                self._step(group, parameters)

    def _step(self, group: dict[str, Any], parameters: list[Tensor]) -> None:
        b1, b2 = group["betas"]
        gradients = _clipped([p.grad for p in parameters if p.grad is not None])
        shared = self.state[parameters[0]]
        if "steps" not in shared:
            shared["steps"], shared["square"] = 0, torch.zeros((), device=parameters[0].device)
        for p in parameters:
            if "mean" not in self.state[p]:
                self.state[p]["mean"] = torch.zeros_like(p)
        means = [self.state[p]["mean"] for p in parameters]
        shared["steps"] += 1
        squares = torch.stack(torch._foreach_norm(gradients)).square().sum()
        shared["square"].lerp_(squares / sum(p.numel() for p in parameters), 1 - b2)
        torch._foreach_lerp_(means, gradients, 1 - b1)
        size = (shared["square"] / (1 - b2 ** shared["steps"])).sqrt().clamp_min(group["least"])
        rate = group["lr"] / (1 - b1 ** shared["steps"])
        torch._foreach_add_(parameters, torch._foreach_div(means, size), alpha=-rate)


def _clipped(gradients: list[Tensor]) -> list[Tensor]:
    flat = torch.cat([g.flatten() for g in gradients])
    sizes = flat.abs()
    usual = sizes.masked_fill(sizes == 0, torch.nan).nanmedian().nan_to_num(torch.inf)
    parts = flat.clamp(-CLIP * usual, CLIP * usual).split([g.numel() for g in gradients])
    return [part.view_as(g) for part, g in zip(parts, gradients, strict=True)]
