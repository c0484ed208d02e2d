"""What another option of a whole choice would do to the loss: it is tried (docs/methods.md, section 10).

A choice of one group bears on a whole layer or tensor: its kernel, a precision, or which block there is. Derivatives
say little about so large a change. For a kernel that loses eight of its nine taps they are wrong by orders of
magnitude. But such choices are few. So every step in which decisions learn runs its batch once more, forward alone,
with one option changed, in turn, and the difference of the two losses enters a running mean. What comes before all that
the option changes is kept from the pass before. No choice moves before all its options were tried.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from search import distributed
from search.files.tensors import TENSOR
from search.kinds import COUNT, Kind, by_name, having
from spaces.blocks.norm import unmoved
from spaces.decisions.selection import Selection
from spaces.space import Space

WEIGHT = 0.3  # of a new difference in the running mean
NUMBERS = Kind("a set of counts", lambda value: isinstance(value, set) and all(map(COUNT.holds, value)))
STATE = having({"values": by_name(TENSOR), "known": by_name(NUMBERS), "next": COUNT, "passes": COUNT})

Loss = Callable[[Any], Tensor]  # of a batch's outputs
Trial = tuple[str, int]  # a choice, and the index of an option


class TriedOptions:
    """The losses of options, as far as they were tried.

    Attributes:
        values: choice -> (n_options,), losses, of which only differences mean something. They stay on the device.
        passes: number of forward passes that trials took so far.
    """

    def __init__(self) -> None:
        self.values: dict[str, Tensor] = {}
        self.passes = 0
        self._known: dict[str, set[int]] = {}
        self._next = 0

    def loss_increases(self) -> dict[str, Tensor]:
        """Choice -> (1, n_options), of those of which all options were tried."""
        whole = [name for name, values in self.values.items() if len(self._known[name]) == len(values)]
        return {name: self.values[name][None] for name in whole}

    def observe(self, space: Space, images: Tensor, loss: Loss, reached: Tensor | float) -> None:
        """Makes one trial after a pass that reached a loss, (). At first it tries all options that it does not know."""
        new, next_one = self._due(space, space.selection)
        for name, i in new or next_one:
            self._try(space, images, loss, reached, name, i)
        self._next += not new
        space.selection.halfway.clear()

    def due(self, space: Space, selection: Selection) -> list[str]:
        """The choice of which `observe` will try an option after the pass; none, where it will try options of many."""
        new, next_one = self._due(space, selection)
        return [] if new else [name for name, _ in next_one]

    def _due(self, space: Space, selection: Selection) -> tuple[list[Trial], list[Trial]]:
        """What is to be tried, options that are not known, and else at most one of those in turn."""
        whole = sorted(selection.whole & space.selector.schedule.bearing(selection.paths))
        options = [(name, i) for name in whole for i in range(len(space.choices[name].options))]
        options = [(name, i) for name, i in options if i != selection.picked[name]]
        new = [(name, i) for name, i in options if i not in self._known.get(name, ())]
        return new, options[self._next % max(1, len(options)) :][:1]

    def _try(self, space: Space, images: Tensor, loss: Loss, reached: Tensor | float, name: str, option: int) -> None:
        difference = difference_of(space, images, loss, reached, name, option)
        self.passes += 1
        if name not in self.values:
            options = len(space.choices[name].options)
            self.values[name] = torch.zeros(options, dtype=torch.float64, device=difference.device)
        values, known, now = self.values[name], self._known.setdefault(name, set()), space.selection.picked[name]
        surprise = difference - (values[option] - values[now])
        values[option] += surprise * (1.0 if option not in known else WEIGHT)
        known |= {option, now}

    def state(self) -> dict[str, Any]:
        return {"values": self.values, "known": self._known, "next": self._next, "passes": self.passes}

    def load(self, state: Mapping[str, Any], device: torch.device) -> None:
        self.values = {name: values.to(device) for name, values in state["values"].items()}
        self._known, self._next = state["known"], state["next"]
        self.passes = state["passes"]


@torch.no_grad()
def difference_of(space: Space, images: Tensor, loss: Loss, reached: Tensor | float, name: str, option: int) -> Tensor:
    """(), the loss of the last batch with another option, minus the one that it reached; a mean over all processes."""
    return distributed.mean_(loss(tried(space, images, name, option)).double() - reached)


def in_use(space: Space, selection: Selection, choice: str) -> bool:
    """Whether a choice of one group bears on a pass. It does not where all that it decides is in other branches."""
    return space.selector.bears(choice, selection)


@torch.no_grad()
def tried(space: Space, x: Tensor, choice: str, option: int) -> Tensor:
    """The logits that the last training pass would have had with another option (an index) of one whole choice."""
    with unmoved(space.norms.values()):
        logits: Tensor = space.run(space.selector.having(space.selection, choice, option), x)
    return logits
