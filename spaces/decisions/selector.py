"""From decisions to what they say in a pass."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from spaces.decisions.choice import Choice
from spaces.decisions.gate_places import GatePlaces
from spaces.decisions.gates import Gate, keeps
from spaces.decisions.schedule import PassSchedule
from spaces.decisions.selection import Selection, Start
from spaces.decisions.shares import outcomes, probabilities, shares
from spaces.host_copy import HostCopy
from spaces.modes import FLOAT
from spaces.spec import SpaceSpec


class Selector:
    """Reads the decisions of a space, whose modules it shares, once in each forward pass.

    Attributes:
        gates: in the order in which they lie in the vector of all gates.
        choices: by name.
        places: of every tensor's channels in that vector.
        schedule: what a pass runs.
    """

    def __init__(
        self, spec: SpaceSpec, gates: Sequence[Gate], choices: Mapping[str, Choice], places: GatePlaces
    ) -> None:
        self._spec, self.gates, self.choices, self.places = spec, tuple(gates), choices, places
        self.schedule = PassSchedule(spec)
        self._single = [choice for choice in choices.values() if choice.groups == 1]
        self._logits, self._copies = HostCopy(), HostCopy()

    def send(self) -> None:
        """Begins to copy to the host what Python decides by. To be called when the decisions have moved."""
        self._logits.send([choice.logits for choice in self._single])

    def select(self, mode: str, draw: bool, steered: bool = False) -> Selection:
        """What the decisions say now, differentiable.

        Args:
            mode: one of spaces.modes. In "float" only the choices of branches have a say.
            draw: whether branches are drawn. Otherwise the likeliest run.
            steered: whether the selection is on leaves, so that its gradients do not go on to the decisions.
        """
        with torch.set_grad_enabled(torch.is_grad_enabled() and not steered):
            selection = self._branches(mode) if mode == FLOAT else self._all(mode)
        selection = selection.on_leaves() if steered else selection
        self.add_masks(selection)
        self._draw(selection, draw)
        return selection

    def add_masks(self, selection: Selection) -> None:
        """Adds the masks that the vector of all gates comes to."""
        selection.keep = {} if selection.alpha is None else self.places.split(selection.alpha)

    def again(self, before: Selection, draw: bool) -> Selection:
        """The same selection, held: its decisions are constants. Branches are drawn anew."""
        selection = before.hold()
        self._draw(selection, draw)
        return selection

    def having(self, selection: Selection, choice: str, option: int) -> Selection:
        """The selection with another option (an index) of one whole choice.

        It has the weights and scales that were in use, but for those that the choice bears on, which have to be made
        anew. Where the last pass kept what was there before a block that comes before all that change, it starts there.
        """
        changed, block = selection.having(choice, option), self.schedule.start(choice)
        changed.weight = {n: w for n, w in selection.weight.items() if choice not in self.schedule.chosen_by(n)}
        changed.scales = {b: s for b, s in selection.scales.items() if not self.schedule.bears_on(choice, b)}
        kept = selection.halfway.get(block)
        changed.start = Start(block, kept) if kept else None
        return changed

    def bears(self, choice: str, selection: Selection) -> bool:
        """Whether a pass by this selection would compute something else with another option of the choice."""
        return self.schedule.bears(choice, selection.paths)

    def copies(self) -> Tensor:
        """(places,), how often an open channel of each place in the vector of gates stands in the decided network.

        It is on the CPU.
        """
        copies = self._copies.of([gate.copies for gate in self.gates])
        return torch.cat([torch.ones_like(copies[0][:1]), *copies])

    def open_inputs(self, weights: str) -> Tensor | None:
        """Indices of the input channels (of a group, all are alike) that stored weights read; None without gates."""
        if not self.gates:
            return None
        block = next(b for b in self._spec.blocks if b.weights == weights)
        inputs = self._spec.weights[weights].shape[1]
        places = torch.tensor(self._spec.slots[block.inputs[0]][:inputs])
        is_open = torch.cat([gate.is_open() for gate in self.gates]).cpu()
        is_open = torch.cat([torch.ones(1, dtype=torch.bool), is_open])
        return is_open[places].nonzero()[:, 0]

    def _branches(self, mode: str) -> Selection:
        selection = Selection(mode)
        self._choose(selection, [self.choices[name] for name in self.schedule.branches])
        return selection

    def _all(self, mode: str) -> Selection:
        selection, choices = Selection(mode), list(self.choices.values())
        if self.gates:
            first = self.gates[0].shadow
            selection.alpha = torch.cat([first.new_ones(1), keeps(self.gates)])
        self._choose(selection, choices)
        selection.learns = selection.share
        selection.whole = frozenset(c.name for c in choices if c.whole)
        selection.share = {n: s.detach() if n in selection.whole else s for n, s in selection.learns.items()}
        selection.soft = frozenset(c.name for c in choices if c.mode == "soft" and c.training)
        return selection

    def _choose(self, selection: Selection, choices: Sequence[Choice]) -> None:
        """Adds what some choices say. What Python has to know of them comes from a copy of their logits on the host."""
        single = [choice for choice in self._single if choice in choices]
        logits = self._known(single)
        picks = dict(zip([c.name for c in single], outcomes(single, logits), strict=True))
        selection.share = dict(zip([c.name for c in choices], shares(choices, picks), strict=True))
        selection.probability = dict(zip([c.name for c in choices], probabilities(choices), strict=True))
        branches = [choice for choice in single if choice.name in self.schedule.branches]
        odds = probabilities(branches, [logits[single.index(c)] for c in branches])
        selection.odds = dict(zip([c.name for c in branches], odds, strict=True))
        noisy = [choice.name for choice in single if choice.mode == "gumbel" and choice.training]
        if noisy:  # the device has drawn the noise
            each = torch.cat([selection.share[name].argmax(1) for name in noisy]).cpu().split(1)
            picks |= dict(zip(noisy, each, strict=True))
        indices = torch.cat(list(picks.values())).tolist() if picks else []
        selection.picked = dict(zip(picks, indices, strict=True))

    def _known(self, single: Sequence[Choice]) -> list[Tensor]:
        """The logits of some choices of one group, on the host."""
        every = self._logits.of([choice.logits for choice in self._single])
        return [logits for logits, choice in zip(every, self._single, strict=True) if choice in single]

    def _draw(self, selection: Selection, draw: bool) -> None:
        """Which branches run in this pass."""
        names = self.schedule.branches
        if not names:
            return
        if not draw:
            drawn = [logits[0].argmax() for logits in self._known([self.choices[name] for name in names])]
        elif selection.held:
            drawn = [torch.multinomial(selection.odds[name][0], 1)[0] for name in names]
        else:
            selection.paths |= {name: selection.picked[name] for name in names}
            return
        selection.paths |= dict(zip(names, torch.stack(drawn).tolist(), strict=True))
