"""The shares that many choices give their options, and what is drawn: one pass over all choices of one form."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from spaces.decisions.choice import Choice, draw, select


def shares(choices: Sequence[Choice], drawn: Mapping[str, Tensor] | None = None) -> list[Tensor]:
    """`[c.share() for c in choices]`, in one pass over all choices of one form, since a step has a hundred of them.

    Args:
        drawn: name -> (groups,) on the host, what was drawn of choices already, see `outcomes`.
    """
    drawn = drawn or {}
    found: dict[str, Tensor] = {}
    for known in (False, True):
        some = [c for c in choices if (c.name in drawn and c.mode_now == "sampled") is known]
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
        return draw(torch.softmax(logits / form.temperature, -1)) if sampled else logits.argmax(-1)

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
        forms.setdefault((len(choice.options), choice.mode_now, choice.temperature), []).append(choice)
    return [_Form(mode, temperature, alike) for (_, mode, temperature), alike in forms.items()]


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
