"""A network in which some decisions are open. With none open it is the network that is fine-tuned and lowered."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from cost_models import cost_model
from cost_models.layer import Network
from cost_models.target import Target
from search.errors import UsageError
from spaces.architecture import Architecture
from spaces.blocks import Block
from spaces.blocks.weights import weights_in_use
from spaces.deciding.decide import Decided, decided
from spaces.decisions.decision import Decision
from spaces.decisions.domain import project
from spaces.decisions.gate_places import GatePlaces
from spaces.decisions.gates import Gate
from spaces.decisions.selection import Selection
from spaces.decisions.selector import Selector
from spaces.describe import describe
from spaces.entering import entered
from spaces.files import load_tensors, save_tensors
from spaces.modes import FAKE, FLOAT, INTEGER, MODES
from spaces.parts import blocks_of, choices_of, gates_of, norms_of, quantizers_of, registered, weights_of
from spaces.quantizers.activation import ActivationQuantizer, Quantizer, observing, read_together
from spaces.quantizers.calibrate import METHODS
from spaces.quantizers.scales import scales_of
from spaces.spec import SpaceSpec
from spaces.walk import Walk

__all__ = ["FAKE", "FLOAT", "INTEGER", "Space"]

SPEC = "picojoule.space"  # the description, in the metadata of a model file
COSTS = ("flash_bytes", "peak_ram_bytes", "macs")
Trials = Callable[[Selection], Collection[str]]


class Space(nn.Module):
    """A network that is built from its description alone. `searchable` makes the description of any model.

    In a training loop of one's own, `space(x)` is the network's output. `space.costs()` are its expected costs, which
    are differentiable in the decisions. `space.project()` has to follow each step of the decisions' optimizer.
    `space.architecture()` is what the decisions would come to now, and `space.decide()` is the smaller network.

    Attributes:
        weights, norms, quantizers: by name. A quantizer has the name of its tensor.
        selector: what the decisions say in a pass.
        selection: what they said in the last pass.
        held: whether, in training, the last selection and the activations' steps serve again as constants. This is for
            steps in which only weights learn. Branches are drawn all the same.
        steered: whether, in training, an objective moves the decisions by the gradients of what they say in a pass.
            None of these goes on to the decisions then.
        draws: whether branches are drawn in training. Otherwise the likeliest run, as in evaluation.
    """

    def __init__(self, spec: SpaceSpec) -> None:
        super().__init__()
        self.spec = spec
        self.name = spec.name
        gates, self.choices = gates_of(spec), choices_of(spec)
        self.weights, self.norms, self.quantizers = weights_of(spec), norms_of(spec), quantizers_of(spec)
        self.gates = cast("Mapping[str, Gate]", registered(gates))
        self._choices, self._weights = registered(self.choices), registered(self.weights)
        self._norms, self._quantizers = registered(self.norms), registered(self.quantizers)
        self.blocks = cast("Sequence[Block]", blocks_of(spec, self.weights, self.norms, self.quantizers))
        self.gate_places = GatePlaces(spec)
        self.selector = Selector(spec, list(gates.values()), self.choices, self.gate_places)
        self._walk = Walk(self.blocks, spec.outputs, self.selector.schedule)
        self._mode, self.held, self.steered, self.draws = FLOAT, False, False, True
        self.selection = Selection(FLOAT)

    def __getstate__(self) -> dict[str, Any]:
        """For copies, which have no pass behind them: what one leaves in the selection is part of a graph."""
        return {**self.__dict__, "selection": Selection(FLOAT)}

    def quantizer(self, tensor: str) -> Quantizer | None:
        """The quantizer of a tensor, or its choice of some. A tensor that keeps another's scale has that one's."""
        return self.quantizers.get(self.spec.scale_of[tensor])

    # Decisions

    @property
    def decisions(self) -> dict[str, Decision]:
        """All decisions by name, gates first."""
        return {**{gate.name: gate for gate in self.gates.values()}, **self.choices}

    def decision_parameters(self) -> list[nn.Parameter]:
        return [p for d in self.decisions.values() for p in d.parameters() if p.requires_grad]

    def network_parameters(self) -> list[nn.Parameter]:
        """Weights, norms, biases and the steps of quantizers that learn, which is all but the decisions."""
        decisions = {id(p) for d in self.decisions.values() for p in d.parameters()}
        return [p for p in self.parameters() if p.requires_grad and id(p) not in decisions]

    def frozen(self) -> list[str]:
        """Layers of which the model froze a parameter, so that no training changes it."""
        layers = [name for name, weights in self.spec.weights.items() if weights.constant]
        return layers + [name for name, norm in self.spec.norms.items() if norm.get("constant")]

    def float_names(self) -> list[str]:
        """Names of the entries of its state that make a float network: weights, biases and norms."""
        weights = {f"_weights.{key}.{part}" for key in self._weights for part in ("weight", "bias")}
        return [name for name in self.state_dict() if name in weights or name.startswith("_norms.")]

    def project(self) -> None:
        """Brings the decisions' parameters back into their domain. To be called after each step of their optimizer."""
        project(list(self.gates.values()), list(self.choices.values()))
        self.selector.send()

    def architecture(self) -> Architecture:
        """The outcome of all decisions as they stand."""
        picks = {name: decision.pick() for name, decision in self.decisions.items()}
        return Architecture(self.name, picks, self.spec.left_alone)

    def fix(self, architecture: Architecture) -> None:
        """Sets all decisions. Raises UsageError if the architecture is of another space."""
        decisions = self.decisions
        architecture.refuse_foreign(self.name, decisions)
        for name, pick in architecture.picks.items():
            decisions[name].fix(pick)

    def select(self, mode: str | None = None) -> Selection:
        """What the decisions say now, differentiable, without a pass. mode: None is the space's own."""
        return self.selector.select(mode or self._mode, draw=self.training and self.draws)

    def decide(self, architecture: Architecture | None = None) -> "Space":
        """A new, physically smaller network that inherits the weights. This one stays as it is.

        By default decisions are as they stand. Raises UsageError if the architecture is of another space.
        """
        architecture = architecture or self.architecture()
        architecture.refuse_foreign(self.name, self.decisions)
        plan = decided(self.spec, architecture.picks)
        small = Space(plan.spec)
        small._inherit(self, plan)
        small.train(self.training)
        return small.to(next(self.parameters()).device)

    def _inherit(self, old: "Space", plan: Decided) -> None:
        """Takes from an open space what stays by the plan."""
        for name, weights in self.weights.items():
            weights.inherit(old.weights[name], plan.weights[name])
        for name, norm in self.norms.items():
            norm.inherit(old.norms[name], plan.norms[name])
        for tensor, quantizer in self.quantizers.items():
            cast(ActivationQuantizer, quantizer).inherit(old.quantizers[tensor])
        blocks = {block.name: block for block in old.blocks}
        for block in self.blocks:
            block.inherit(blocks[block.name], plan.channels[block.name])

    # Modes

    @property
    def mode(self) -> str:
        return self._mode

    def set_mode(self, mode: str) -> None:
        """Sets the mode for good. `running` sets one that is given back.

        Raises:
            UsageError: there is no such mode, or it is "integer" and the space is not decided or not quantized.
        """
        if mode not in MODES:
            raise UsageError(f"space: mode '{mode}' is not one of {MODES}.")
        if mode == INTEGER and (self.decisions or not self.spec.quantizers):
            raise UsageError(
                f"space '{self.name}': integer semantics need a decided, quantized network; "
                f"{len(self.decisions)} decisions are open. Call decide() first."
            )
        self._mode = mode

    @contextmanager
    def running(
        self, mode: str | None = None, training: bool | None = None, draws: bool | None = None
    ) -> Iterator[None]:
        """Inside it the space has another mode, is in training or not, and draws or not, but for what is None.

        All of it is given back, after an exception too.

        Raises:
            UsageError: as in `set_mode`. Nothing has changed then.
        """
        before = self._mode, self.training, self.draws
        flags = {module: module.training for module in self.modules()} if training is not None else {}
        self.set_mode(mode or self._mode)
        try:
            self.draws = self.draws if draws is None else draws
            if training is not None:
                self.train(training)
            yield
        finally:
            self._mode, was_training, self.draws = before
            if training is not None:
                self.train(was_training)
            for module, flag in flags.items():  # a caller may have set some of them apart, a norm say
                module.training = flag

    # Running

    def forward(self, *inputs: Tensor, tried: Trials | None = None) -> Any:
        """(N, *input shape) each -> the output, or a tuple of several outputs in their order.

        In integer mode every tensor on the way is what the Program computes.

        Args:
            tried: of the selection, the whole choices of which other options will be tried on this batch
                (Selector.having). What they do not bear on is kept for that, as long as the selection is.
        """
        return self.run(self.next_selection(tried), *inputs)

    def run(self, selection: Selection, *inputs: Tensor) -> Any:
        """What forward returns with a selection: the last one, or one that was made from it (Selector.having)."""
        tensors = self._passed(inputs, selection)
        outputs = tuple(tensors[name] for name in self.spec.outputs)
        return outputs[0] if len(outputs) == 1 else outputs

    def tensors(self, *inputs: Tensor) -> dict[str, Tensor]:
        """All tensors of a pass, by name."""
        self.next_selection()
        return self._passed(inputs, self.selection, keep=True)

    def next_selection(self, tried: Trials | None = None) -> Selection:
        """What the decisions say in the next pass, which is the last selection from then on. tried: as in `forward`."""
        draw = self.training and self.draws
        if self.held and self.training and self.selection.mode == self._mode:
            self.selection = self.selector.again(self.selection, draw)
        else:
            self.selection = self.selector.select(self._mode, draw, self.steered and self.training)
        if tried is not None:
            self.selection.halfway = {self.selector.schedule.start(choice): {} for choice in tried(self.selection)}
        return self.selection

    def _passed(self, inputs: Sequence[Tensor], selection: Selection, keep: bool = False) -> dict[str, Tensor]:
        """Tensors by name: all of them, or those that are needed at the end."""
        with read_together(self._all_quantizers()) if selection.mode == INTEGER else nullcontext():
            return self._pass(inputs, selection, keep)

    def _pass(self, inputs: Sequence[Tensor], selection: Selection, keep: bool) -> dict[str, Tensor]:
        self.spec.refuse_inputs(inputs)
        if selection.mode != FLOAT:
            self._prepare(selection)
        if selection.start is not None:
            return self._walk.run(selection, selection.start.tensors, len(inputs[0]), keep)
        each = zip(self.spec.inputs, inputs, strict=True)
        entering = {name: entered(x, self.quantizer(name), selection, self.training) for name, x in each}
        return self._walk.run(selection, entering, len(inputs[0]), keep)

    def _prepare(self, selection: Selection) -> None:
        """Makes what blocks use, for all of them at once, as far as the selection has none from before."""
        schedule, paths = self.selector.schedule, selection.paths
        lacking = schedule.weights(paths) - selection.weight.keys()
        weights = {name: w for name, w in self.weights.items() if name in lacking}
        selection.weight |= weights_in_use(weights, selection, self.selector.open_inputs)
        if not selection.has_grids:  # a held selection has them from its first pass
            selection.add_grids(self._all_quantizers())
        running = [b for b in self.blocks if b.name not in selection.scales and schedule.runs(b.spec, paths)]
        each = [(b.name, use) for b in running if (use := b.norm_use(selection)) is not None]
        selection.scales |= zip([name for name, _ in each], scales_of([use for _, use in each]), strict=True)

    def _all_quantizers(self) -> list[Quantizer]:
        return [*self.quantizers.values(), *(block.pre for block in self.blocks if block.pre is not None)]

    @torch.no_grad()
    def codes(self, *inputs: Tensor) -> dict[str, Tensor]:
        """The integer codes of every tensor, int64, (N, ...) each. Raises UsageError as set_mode(INTEGER) does."""
        with self.running(INTEGER, training=False):
            values = self.tensors(*inputs)
        return {name: cast(ActivationQuantizer, self.quantizer(name)).codes(value) for name, value in values.items()}

    @torch.no_grad()
    def calibrate(self, batches: Iterable[Tensor | Sequence[Tensor]], method: str = "mse") -> None:
        """Sets the first steps of all quantizers, from the float network's tensors on some batches.

        Args:
            batches: what forward takes, for each batch: a tensor, or one of each where it takes several.
        """
        if method not in METHODS:
            raise UsageError(f"calibration '{method}' is not one of {METHODS}.")
        quantizers = self._all_quantizers()
        everything = self.selector.schedule.all_branches()
        with self.running(FLOAT, training=False), observing(quantizers), everything:
            for x in batches:
                self(*((x,) if isinstance(x, Tensor) else x))
        for q in quantizers:
            q.calibrate(method)
        for name, weights in self.weights.items():
            weights.calibrate(method, self.selector.open_inputs(name))

    # Costs

    def describe(self, selection: Selection | None = None) -> Network:
        """The network as the cost models see it. It is differentiable in the decisions, and exact once decided.

        Its numbers are on the CPU.
        """
        return describe(self, selection or Selection.of(FAKE, self.select(FAKE).leaves()))

    def costs(self, names: Iterable[str] = COSTS, target: Target | None = None) -> dict[str, Tensor]:
        """Costs as 0-d float64 tensors. They are differentiable in the decisions, and exact once decided.

        In training the costs of branches are means over all that may be drawn. Else they are as the decisions stand.

        Args:
            names: names of cost models, see cost_models.COST_MODELS and TARGET_COST_MODELS.
            target: is needed for "latency_cycles".

        Raises:
            UsageError: there is no such cost, or it needs a target and none is given.
        """
        leaves = self.select(FAKE).leaves()
        if self.training:
            leaves |= {name: self.choices[name].mixture() for name in self.selector.schedule.branches}
        network = self.describe(Selection.of(FAKE, leaves))
        device = next(self.parameters()).device
        return {name: cost_model(name, target)(network).to(device) for name in names}

    # Files

    def save(self, path: Path) -> None:
        """Writes one safetensors file, with the description in its metadata. It loads without the user's script."""
        save_tensors(path, self.state_dict(), SPEC, self.spec.to_json())

    @staticmethod
    def load(path: Path) -> "Space":
        """Raises UsageError where the file is damaged or no picojoule model; it says which."""
        document, state = load_tensors(path, SPEC)
        try:
            space = Space(SpaceSpec.from_json(document))
            space.load_state_dict(state)
        except (ValueError, KeyError, TypeError, AttributeError, IndexError, RuntimeError) as error:
            raise UsageError(
                f"{path}: description and tensors make no model ({error}). Restore it or run the export again."
            ) from error
        return space
