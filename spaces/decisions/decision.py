"""Decisions: what a search may choose, and how gradients reach the choice (docs/methods.md, sections 1 and 3)."""

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from search.errors import UsageError
from spaces.autograd import applied

NEAR = 1.0  # between a hard choice's logits, at most: an option that was far behind comes back as fast as others
SURE = 6.0  # where draws or mixtures read the softmax, which has to become all but one-hot
MODES = ("hard", "soft", "gumbel", "sampled")


class _Heaviside(torch.autograd.Function):
    """alpha = H(beta - t). The backward pass is the identity where beta lies in [0, 1], and 0 outside."""

    @staticmethod
    def forward(ctx: Any, shadow: Tensor, threshold: Tensor, is_open: Tensor) -> Tensor:
        ctx.save_for_backward(shadow)
        return is_open.to(shadow.dtype)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor | None, None]:
        (shadow,) = ctx.saved_tensors
        grad = grad * ((shadow >= 0) & (shadow <= 1))
        return grad, (-grad if ctx.needs_input_grad[1] else None), None


class Decision(nn.Module):
    """One thing that a search decides among `options`, `groups` times over (once for each channel, for example).

    Layers that must agree share one Decision object.

    Attributes:
        start: the option of the seed network.
        role: what it decides, which is the end of its name: "channels", "bits", "kernel", "branch" ...
        whole: whether it takes one option for a whole layer or tensor, so that its other options can be tried.
    """

    def __init__(self, name: str, options: Sequence[int], groups: int, start: int) -> None:
        super().__init__()
        self.name, self.options, self.groups, self.start = name, tuple(options), groups, start
        self.role = name.rsplit("/", 1)[-1].split("@")[0]

    @property
    def whole(self) -> bool:
        return False

    def share(self) -> Tensor:
        """(groups, n_options), differentiable. Rows sum to 1."""
        raise NotImplementedError

    def pick(self) -> tuple[int, ...]:
        """The option that each group would be given now, as a value out of `options`."""
        raise NotImplementedError

    def fix(self, pick: Sequence[int]) -> None:
        """Makes `pick` the outcome. Raises as `refuse`."""
        self.refuse(pick)
        self._fix(pick)

    def refuse(self, pick: Sequence[int]) -> None:
        """Does nothing if the decision can take the pick.

        Raises:
            UsageError: the pick has another length than `groups`, or a value that is no option, or closes all channels.
        """
        wrong = self._wrong(pick)
        if len(pick) != self.groups or wrong:
            raise UsageError(
                f"decision '{self.name}': takes {self.groups} values out of {self.options}, "
                f"got {len(pick)} values{f' with {wrong} among them' if wrong else ''}."
            )

    def _wrong(self, pick: Sequence[int]) -> list[int]:
        return sorted(set(pick) - set(self.options))

    def _fix(self, pick: Sequence[int]) -> None:
        raise NotImplementedError

    def steer(self, against: Tensor) -> None:
        """Sets the gradients of its parameters, for the optimizer's next step.

        Args:
            against: between -1 and 1, how much speaks against each option, (groups, n_options); of a gate, against
                being open, (groups,).
        """
        raise NotImplementedError


class Gate(Decision):
    """Keeps (1) or drops (0) channels. Each has a float shadow copy, which is binarized straight through.

    At least one channel stays open, because a layer without channels is no network. A gate that was fixed may say 2 or
    more. The channel then stands in the decided network as often.
    """

    was_open: Tensor
    copies: Tensor

    def __init__(
        self,
        name: str,
        groups: int,
        threshold: float = 0.5,
        hysteresis: float = 0.0,
        trainable_threshold: bool = False,
    ) -> None:
        super().__init__(name, (0, 1), groups, start=1)
        self.hysteresis = hysteresis
        self.shadow = nn.Parameter(torch.ones(groups))
        self.threshold = nn.Parameter(torch.tensor(threshold), requires_grad=trainable_threshold)
        self.register_buffer("was_open", torch.ones(groups, dtype=torch.bool))
        self.register_buffer("copies", torch.ones(groups, dtype=torch.long))

    @torch.no_grad()
    def is_open(self) -> Tensor:
        """(groups,) bool.

        A closed gate opens above threshold + hysteresis, and an open one closes below threshold - hysteresis.
        """
        return are_open([self])

    def keep(self) -> Tensor:
        """(groups,) of zeros and ones with the straight-through gradient."""
        return keeps([self])

    def share(self) -> Tensor:
        keep = self.keep()
        return torch.stack((1 - keep, keep), 1)

    def pick(self) -> tuple[int, ...]:
        return tuple((self.is_open() * self.copies).tolist())

    def _wrong(self, pick: Sequence[int]) -> list[int]:
        return sorted(value for value in set(pick) if value < 0)

    def refuse(self, pick: Sequence[int]) -> None:
        super().refuse(pick)
        if not any(pick):
            raise UsageError(
                f"decision '{self.name}': would remove all {self.groups} channels; at least one must stay."
            )

    @torch.no_grad()
    def _fix(self, pick: Sequence[int]) -> None:
        self.copies.copy_(torch.tensor(pick).clamp_min(1))
        self.shadow.copy_(torch.tensor(pick, dtype=self.shadow.dtype).clamp_max(1))
        self.was_open.copy_(self.shadow > 0.5)

    @torch.no_grad()
    def steer(self, against: Tensor) -> None:
        self.shadow.grad = against.to(self.shadow)
        if self.threshold.requires_grad:
            self.threshold.grad = -self.shadow.grad.mean()


def keeps(gates: Sequence[Gate]) -> Tensor:
    """`g.keep()` of all gates, one gate after another, in one pass."""
    opened = are_open(gates)
    for gate, is_open in zip(gates, opened.split([gate.groups for gate in gates]), strict=True):
        if gate.training and gate.hysteresis:
            gate.was_open.copy_(is_open)
    thresholds = torch.cat([gate.threshold.expand(gate.groups) for gate in gates])
    return applied(_Heaviside, torch.cat([gate.shadow for gate in gates]), thresholds, opened)


@torch.no_grad()
def are_open(gates: Sequence[Gate]) -> Tensor:
    """`g.is_open()` of all gates, one gate after another, in one pass that reads nothing of the device."""
    shadows = torch.cat([gate.shadow for gate in gates])
    limits = torch.cat([gate.threshold.expand(gate.groups) for gate in gates])
    if any(gate.hysteresis for gate in gates):
        margins = [torch.where(gate.was_open, -gate.hysteresis, gate.hysteresis) for gate in gates]
        limits = limits + torch.cat(margins)
    places = _in_rows(tuple(gate.groups for gate in gates), shadows.device)
    rows = torch.nn.functional.pad(shadows, (0, 1), value=-torch.inf)[places.rows]
    opened = torch.nn.functional.pad(shadows > limits, (0, 1))[places.rows]
    highest = places.columns == rows.argmax(1, keepdim=True)
    return (opened | (highest & ~opened.any(1, keepdim=True))).flatten()[places.back]


class _Rows(NamedTuple):
    """Where numbers that lie one gate after another stand in rows, one a gate.

    Attributes:
        rows: (gates, most), the place of each; behind the last of a gate one behind all.
        columns: (most,), 0, 1, ...
        back: (n,), the place of each number in the rows, flattened.
    """

    rows: Tensor
    columns: Tensor
    back: Tensor


@lru_cache(maxsize=256)
def _in_rows(sizes: tuple[int, ...], device: torch.device) -> _Rows:
    with torch.inference_mode(False):  # what is kept serves passes that learn too
        columns = torch.arange(max(sizes))
        counts = torch.tensor(sizes)[:, None]
        inside = columns < counts
        rows = torch.where(inside, columns + (counts.cumsum(0) - counts), sum(sizes))
        return _Rows(rows.to(device), columns.to(device), inside.flatten().nonzero()[:, 0].to(device))


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
        drawn = _draw(soft.detach())
    hard = torch.zeros_like(soft).scatter_(-1, drawn[..., None], 1.0)
    return applied(_Straight, soft, hard)


def _draw(probability: Tensor) -> Tensor:
    """(groups, n) -> (groups,), the index of the option that is drawn."""
    return torch.multinomial(probability, 1)[:, 0]


class _Straight(torch.autograd.Function):
    """The value of the second argument, to the bit, with the gradient going to the first."""

    @staticmethod
    def forward(ctx: Any, through: Tensor, value: Tensor) -> Tensor:
        return value.view_as(value)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return grad, None


def straight_through(through: Tensor, value: Tensor) -> Tensor:
    """`value`, exactly, with the gradient of `through`."""
    return applied(_Straight, through, value)


class Choice(Decision):
    """One of n options for each group, by logits. Evaluation always takes the argmax.

    Attributes:
        reach: by how much logits of a group can differ.
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
    def whole(self) -> bool:
        return self.groups == 1 and self.mode != "soft"

    def share(self) -> Tensor:
        return select(self.logits, _mode(self), self.temperature)

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


@torch.no_grad()
def project(gates: Sequence[Gate], choices: Sequence[Choice]) -> None:
    """Brings parameters of decisions back into their domain. To be called after each step of their optimizer.

    A shadow outside [0, 1] would get no gradient, so a gate there would be stuck. A threshold inside of that leaves a
    shadow of 0 closed and one of 1 open. Logits are within the reach of their choice.
    """
    if gates:
        _clamp_([gate.shadow for gate in gates], 0.0, 1.0)
        _clamp_([gate.threshold for gate in gates], 0.01, 0.99)
    forms: dict[tuple[int, float], list[Choice]] = {}
    for choice in choices:
        forms.setdefault((len(choice.options), choice.reach), []).append(choice)
    for (_, reach), alike in forms.items():
        logits: list[Tensor] = [choice.logits for choice in alike]
        least = torch.cat(logits).amax(1, keepdim=True) - reach
        torch._foreach_maximum_(logits, least.split([choice.groups for choice in alike]))


def _clamp_(tensors: list[Tensor], low: float, high: float) -> None:
    """Each of them, in place."""
    torch._foreach_maximum_(tensors, low)
    torch._foreach_minimum_(tensors, high)


def shares(choices: Sequence[Choice], drawn: Mapping[str, Tensor] | None = None) -> list[Tensor]:
    """`[c.share() for c in choices]`, in one pass over all choices of one form, since a step has a hundred of them.

    Args:
        drawn: name -> (groups,) on the host, what was drawn of choices already, see `outcomes`.
    """
    drawn = drawn or {}
    found: dict[str, Tensor] = {}
    for known in (False, True):
        some = [c for c in choices if (c.name in drawn and _mode(c) == "sampled") is known]
        for form in _forms(some):
            device = form.choices[0].logits.device
            index = torch.cat([drawn[c.name] for c in form.choices]).to(device, non_blocking=True) if known else None
            found |= form.split(select(form.logits(), form.mode, form.temperature, index))
    return [found[c.name] for c in choices]


@torch.no_grad()
def outcomes(choices: Sequence[Choice], logits: Sequence[Tensor]) -> list[Tensor]:
    """(groups,) each, the index of the option that a pass takes. Choices in the mode "sampled" are drawn.

    Args:
        logits: what the choices have, on the host, where they are drawn: so Python knows the branch of a pass that
            runs on another device. The noise of the mode "gumbel" is not known here.
    """

    def taken(logits: Tensor, form: _Form) -> Tensor:
        sampled = form.mode == "sampled"
        return _draw(torch.softmax(logits / form.temperature, -1)) if sampled else logits.argmax(-1)

    return _by_form(choices, taken, logits)


@torch.no_grad()
def probabilities(choices: Sequence[Choice], logits: Sequence[Tensor] | None = None) -> list[Tensor]:
    """The softmax behind each share, without noise and without gradient: (groups, n_options) each.

    Args:
        logits: what the choices have, on the host; None: their own.
    """
    return _by_form(choices, lambda logits, form: torch.softmax(logits / form.temperature, -1), logits)


@torch.no_grad()
def likeliest(choices: Sequence[Choice]) -> list[Tensor]:
    """(groups, n_options) each, one-hot: the share that each choice has in evaluation."""

    def one_hot(logits: Tensor, _: _Form) -> Tensor:
        return torch.zeros_like(logits).scatter_(1, logits.argmax(1, keepdim=True), 1.0)

    return _by_form(choices, one_hot)


class _Form(NamedTuple):
    """Choices that are alike but for their names and how many groups they have."""

    mode: str
    temperature: float
    choices: list[Choice]

    def logits(self) -> Tensor:
        """(groups of all, n_options)."""
        return torch.cat([choice.logits for choice in self.choices])

    def split(self, rows: Tensor) -> dict[str, Tensor]:
        """By name of the choice its rows."""
        parts = rows.split([choice.groups for choice in self.choices])
        return dict(zip([choice.name for choice in self.choices], parts, strict=True))


def _forms(choices: Sequence[Choice]) -> list[_Form]:
    forms: dict[tuple[int, str, float], list[Choice]] = {}
    for choice in choices:
        forms.setdefault((len(choice.options), _mode(choice), choice.temperature), []).append(choice)
    return [_Form(mode, temperature, alike) for (_, mode, temperature), alike in forms.items()]


def _mode(choice: Choice) -> str:
    return choice.mode if choice.training else "hard"


def _by_form(
    choices: Sequence[Choice], function: Callable[[Tensor, _Form], Tensor], logits: Sequence[Tensor] | None = None
) -> list[Tensor]:
    """function(logits, form) of each choice, called once for all choices that are alike."""
    own = None if logits is None else dict(zip([c.name for c in choices], logits, strict=True))
    found: dict[str, Tensor] = {}
    for form in _forms(choices):
        rows = form.logits() if own is None else torch.cat([own[c.name] for c in form.choices])
        found |= form.split(function(rows, form))
    return [found[choice.name] for choice in choices]
