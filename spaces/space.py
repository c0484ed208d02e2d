"""A network in which some decisions are open; with none open, the network that is fine-tuned and lowered."""

import json
from collections.abc import Collection, Iterable
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from cost_models import layer as cost
from spaces.architecture import Architecture
from spaces.blocks import BLOCKS, Block, Selection, Weights
from spaces.blocks.block import FAKE, FLOAT, INTEGER, MODES
from spaces.blocks.norm import Norm, unmoved
from spaces.decisions.decision import Choice, Decision, Gate, keeps, probabilities, shares
from spaces.decisions.gate_places import Slots
from spaces.decisions.schedule import Schedule
from spaces.describe import describe
from spaces.files import save_tensors
from spaces.patterns import NM
from spaces.quantizers import ActivationChoice, ActivationQuantizer
from spaces.quantizers.calibrate import METHODS
from spaces.quantizers.weight import Layer, quantized
from spaces.spec import ChoiceSpec, QuantizerSpec, SpaceSpec

__all__ = ["FAKE", "FLOAT", "INTEGER", "Space"]


class Space(nn.Module):
    """Built from its description alone; `searchable` makes the description of any model.

    Attributes:
        mode: "float" (decisions and quantizers out of play), "fake" (training with quantization), "integer"
            (forward as the Program computes, gradients straight through; decided Spaces only).
        held: in training, decisions are not drawn anew: the last selection serves again, as a constant, and so do the
            activations' steps. For the steps in which nothing but weights is to learn. Branches are drawn all the same.
        draws: in training, branches are drawn; if not, the likeliest run, as in evaluation.
    """

    def __init__(self, spec: SpaceSpec) -> None:
        super().__init__()
        self.spec = spec
        self.name = spec.name
        self.gates = nn.ModuleDict({key_of(n): Gate(n, c, **spec.gate_options) for n, c in spec.gates.items()})
        self._choices = nn.ModuleDict({key_of(n): self._choice(n, c) for n, c in spec.choices.items()})
        self._weights = nn.ModuleDict({key_of(n): Weights(n, w, spec.choices) for n, w in spec.weights.items()})
        self._norms = nn.ModuleDict({key_of(n): Norm(self._norm_channels(n), **a) for n, a in spec.norms.items()})
        self._quantizers = nn.ModuleDict({key_of(n): _quantizer(q) for n, q in spec.quantizers.items()})
        self.choices = {n: self._choices[key_of(n)] for n in spec.choices}
        self.weights = {n: self._weights[key_of(n)] for n in spec.weights}
        self.norms = {n: self._norms[key_of(n)] for n in spec.norms}
        self.blocks = nn.ModuleList(self._block(b) for b in spec.blocks)
        self.slots = Slots(spec)
        self._schedule = Schedule(spec)
        self._mode, self.held, self.draws = FLOAT, False, True
        self.selection = Selection(FLOAT)

    def _choice(self, name: str, spec: ChoiceSpec) -> Choice:
        options = self.spec.choice_options | ({"mode": "sampled", "uniform": True} if spec.branches else {})
        return Choice(name, spec.options, spec.groups, **options)

    def _norm_channels(self, name: str) -> int:
        return next(b.shape[0] for b in self.spec.blocks if b.norm == name)

    def quantizer(self, tensor: str) -> ActivationQuantizer | ActivationChoice | None:
        """The quantizer of a tensor, or its choice of some; a tensor that keeps another's scale has that one's."""
        key = key_of(self.spec.scale_of[tensor])
        return self._quantizers[key] if key in self._quantizers else None  # noqa: SIM401 - a ModuleDict has no get

    def _block(self, spec) -> Block:
        inputs = [self.quantizer(t) for t in spec.inputs]
        weights = self.weights[spec.weights] if spec.weights else None
        norm = self.norms[spec.norm] if spec.norm else None
        return BLOCKS[spec.op](spec, inputs, self.quantizer(spec.name), weights, norm)

    # Decisions

    def copies(self) -> Tensor:
        """Of every place of the vector of gates: how often a channel that is open is to stand in the network."""
        gates = list(self.gates.values())
        return torch.cat([torch.ones_like(gates[0].copies[:1]), *(gate.copies for gate in gates)])

    @property
    def decisions(self) -> dict[str, Decision]:
        return {g.name: g for g in self.gates.values()} | self.choices

    def decision_parameters(self) -> list[nn.Parameter]:
        return [p for d in self.decisions.values() for p in d.parameters() if p.requires_grad]

    def network_parameters(self) -> list[nn.Parameter]:
        """Weights, norms, biases and quantizer steps: all but the decisions."""
        decisions = {id(p) for d in self.decisions.values() for p in d.parameters()}
        return [p for p in self.parameters() if id(p) not in decisions]

    def float_names(self) -> list[str]:
        """Of its state the entries that make a float network: weights, biases and norms."""
        weights = {f"_weights.{key}.{part}" for key in self._weights for part in ("weight", "bias")}
        return [name for name in self.state_dict() if name in weights or name.startswith("_norms.")]

    def architecture(self) -> Architecture:
        """The outcome of all decisions as they stand."""
        picks = {name: decision.pick() for name, decision in self.decisions.items()}
        return Architecture(self.name, picks, self.spec.left_alone)

    def fix(self, architecture: Architecture) -> None:
        """Sets all decisions.

        Raises:
            ValueError: the architecture is of another space, lacks decisions, or has others; they are named.
        """
        own, given = set(self.decisions), set(architecture.picks)
        if own != given:
            raise ValueError(
                f"space '{self.name}': the architecture is of another space ('{architecture.space}'): "
                f"missing {sorted(own - given)[:5]}, unknown {sorted(given - own)[:5]}."
            )
        decisions = self.decisions
        for name, pick in architecture.picks.items():
            decisions[name].fix(pick)

    def select(self, mode: str | None = None) -> Selection:
        """What the decisions say now, differentiable; drawn once per forward pass and kept in `selection`."""
        selection = Selection(mode or self._mode)
        if selection.mode == FLOAT:
            for name in self._schedule.branches:
                choice = self.choices[name]
                selection.share[name], selection.probability[name] = choice.share(), choice.probability()
        else:
            gates = list(self.gates.values())
            if gates:
                first = gates[0].shadow
                selection.alpha = torch.cat([first.new_ones(1), keeps(gates)])
                selection.keep = self.slots.split(selection.alpha)
            choices = list(self.choices.values())
            selection.learns = dict(zip(self.choices, shares(choices), strict=True))
            selection.whole = frozenset(c.name for c in choices if c.whole)
            selection.share = {n: s.detach() if n in selection.whole else s for n, s in selection.learns.items()}
            selection.probability = dict(zip(self.choices, probabilities(choices), strict=True))
            selection.soft = frozenset(c.name for c in choices if c.mode == "soft" and c.training)
            activations = [q.choice for q in self._quantizers.values() if isinstance(q, ActivationChoice)]
            if activations:
                picks = torch.cat([selection.share[name].argmax(1) for name in activations])
                selection.picked = dict(zip(activations, picks.tolist(), strict=True))
        self._draw(selection)
        return selection

    def _draw(self, selection: Selection) -> None:
        """Which branches run in this pass."""
        for name in self._schedule.branches:
            if not (self.training and self.draws):
                selection.paths[name] = int(self.choices[name].logits[0].argmax())
            elif selection.held:
                selection.paths[name] = int(torch.multinomial(selection.probability[name][0], 1))
            else:
                selection.paths[name] = int(selection.share[name][0].argmax())

    def _used_weights(self, selection: Selection, names: Collection[str]) -> dict[str, Tensor]:
        """Weights name -> fake-quantized weights, without the taps that are masked."""
        if selection.mode == FLOAT:
            return {}
        masked = {n: w for n, w in self.weights.items() if w.is_patterned and n in names}
        used = {n: w.patterned(self._open_inputs(n)) for n, w in masked.items()}
        layers = {n: w for n, w in self.weights.items() if w.quantizer is not None and n in names}
        tapped = {n: w for n, w in self.weights.items() if w.spec.taps and n in names}
        share, probability = selection.share.get, {} if selection.held else selection.probability
        probability = probability.get
        each = quantized(
            [
                Layer(w.quantizer, used.get(n, w.weight), share(w.spec.bits), probability(w.spec.bits))
                for n, w in layers.items()
            ]
        )
        used |= dict(zip(layers, each, strict=True))
        for name, weights in tapped.items():
            used[name] = used.get(name, weights.weight) * weights.tap_mask(selection.share)
        return used

    def _open_inputs(self, weights: str) -> Tensor | None:
        """Indices of the input channels of stored weights that are open; None where a pattern need not know."""
        if not isinstance(self.weights[weights].pattern, NM) or not self.gates:
            return None
        block = next(b for b in self.blocks if b.spec.weights == weights)
        inputs = self.weights[weights].spec.shape[1]  # of a group, of which all are alike
        places = torch.tensor(self.spec.slots[block.spec.inputs[0]][:inputs])
        is_open = torch.cat([gate.is_open() for gate in self.gates.values()]).cpu()
        is_open = torch.cat([torch.ones(1, dtype=torch.bool), is_open])
        return is_open[places].nonzero()[:, 0].to(self.weights[weights].weight.device)

    def decide(self, architecture: Architecture | None = None) -> "Space":
        """A new, physically smaller network that inherits the weights. Without an argument: as decisions stand."""
        from spaces.deciding.decide import decided

        if architecture is not None:
            self.fix(architecture)
        return decided(self)

    # Running

    @property
    def mode(self) -> str:
        return self._mode

    def set_mode(self, mode: str) -> None:
        if mode not in MODES:
            raise ValueError(f"space: mode '{mode}' is not one of {MODES}.")
        if mode == INTEGER and (self.decisions or not self.spec.quantizers):
            raise ValueError(
                f"space '{self.name}': integer semantics need a decided, quantized network; "
                f"{len(self.decisions)} decisions are open. Call decide() first."
            )
        self._mode = mode

    def forward(self, x: Tensor) -> Tensor:
        """(N, *input_shape) -> logits. In integer mode every tensor on the way is what the Program computes."""
        return self._run(x)[self.spec.output]

    def _run(self, x: Tensor, keep: bool = False) -> dict[str, Tensor]:
        """Tensors by name: all of them, or those that the end needs."""
        if tuple(x.shape[1:]) != self.spec.input_shape:
            raise ValueError(
                f"space '{self.name}': input of shape {tuple(x.shape)}; "
                f"expected (N, {', '.join(map(str, self.spec.input_shape))})."
            )
        again = self.held and self.training and self.selection.mode == self._mode
        self.selection = self.selection.hold() if again else self.select()
        if again:
            self._draw(self.selection)
        self.selection.weight = self._used_weights(self.selection, self._schedule.weights(self.selection.paths))
        return self._pass(x, self.selection, keep)

    def _pass(self, x: Tensor, selection: Selection, keep: bool = False) -> dict[str, Tensor]:
        values = {self.spec.input: self._enter(x)}
        for block in self.blocks:
            if self._schedule.runs(block.spec, selection.paths):
                values[block.name] = block(selection, *[values.get(name) for name in block.spec.inputs])
            for name in () if keep else self._schedule.dead[block.name]:
                values.pop(name, None)
        return values

    def _enter(self, x: Tensor) -> Tensor:
        x = as_convolutions_like(x)
        quantizer = self.quantizer(self.spec.input)
        if quantizer is None:
            return x
        if self._mode == FLOAT:
            if quantizer.observing:
                quantizer.observe(x)
            return x
        return quantizer.on_grid(x)  # without gradient: there is nothing to learn about a pixel

    @torch.no_grad()
    def codes(self, x: Tensor) -> dict[str, Tensor]:
        """Every tensor's integer codes, by integer semantics. int64, (N, ...) each."""
        training, mode = self.training, self._mode
        self.set_mode(INTEGER)
        self.eval()
        values = self._run(x, keep=True)
        self.train(training)
        self.set_mode(mode)
        return {name: self.quantizer(name).codes(value) for name, value in values.items()}

    @torch.no_grad()
    def calibrate(self, batches: Iterable[Tensor], method: str = "mse") -> None:
        """First steps of all quantizers, from the float network's tensors on some batches."""
        if method not in METHODS:
            raise ValueError(f"calibration '{method}' is not one of {METHODS}.")
        quantizers = [*self._quantizers.values(), *(b.pre for b in self.blocks if b.pre is not None)]
        training, mode = self.training, self._mode
        self.eval()
        self.set_mode(FLOAT)
        for q in quantizers:
            q.observing = True
        self._schedule.everything = True
        for x in batches:
            self(x)
        self._schedule.everything = False
        for q in quantizers:
            q.observing = False
            q.calibrate("minmax" if q is self.quantizer(self.spec.input) else method)
        for name, w in self.weights.items():
            if w.quantizer is not None:
                w.quantizer.calibrate(w.patterned(self._open_inputs(name)).detach(), method)
        self.train(training)
        self.set_mode(mode)

    def freeze_norms(self, frozen: bool = True) -> None:
        for norm in self.norms.values():
            norm.frozen = frozen

    # Trials

    def in_use(self, choice: str) -> bool:
        """Whether a choice of one group bore on the last pass: no branch that did not run holds all it is about."""
        return self._schedule.bears(choice, self.selection.paths)

    @torch.no_grad()
    def tried(self, x: Tensor, choice: str, option: int) -> Tensor:
        """Logits of the last training pass, had one choice of one group taken another option, by its index."""
        selection = self.selection.having(choice, option)
        names = self._schedule.weights(selection.paths)
        anew = {n for n in names if choice in self._schedule.chosen_by(n) or n not in selection.weight}
        selection.weight = selection.weight | self._used_weights(selection, anew)
        with unmoved(self.norms.values()):
            return self._pass(x, selection)[self.spec.output]

    # Costs

    def describe(self, selection: Selection | None = None) -> cost.Network:
        """The network as the cost models see it; differentiable in the decisions, exact once decided."""
        return describe(self, selection or Selection.of(FAKE, self.select(FAKE).leaves()))

    # Files

    def save(self, path: Path) -> None:
        """One safetensors file with the description in its metadata: it loads without the script that made it."""
        save_tensors(path, self.state_dict(), {"picojoule.space": json.dumps(self.spec.to_json())})

    @staticmethod
    def load(path: Path) -> "Space":
        """Raises ValueError where the file is damaged or no picojoule model; it says which."""
        try:
            with safe_open(path, framework="pt") as file:
                metadata = file.metadata() or {}
                state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - not a dict
        except (SafetensorError, OSError) as error:
            raise ValueError(
                f"{path}: cannot be read as a model ({error}). Restore it or run the export again."
            ) from error
        if "picojoule.space" not in metadata:
            raise ValueError(f"{path}: a safetensors file, but no picojoule model: metadata has {sorted(metadata)}.")
        try:
            space = Space(SpaceSpec.from_json(json.loads(metadata["picojoule.space"])))
            space.load_state_dict(state)
        except (ValueError, KeyError, TypeError, RuntimeError) as error:
            raise ValueError(
                f"{path}: description and tensors make no model ({error}). Restore it or run the export again."
            ) from error
        return space


def _quantizer(spec: QuantizerSpec) -> ActivationQuantizer | ActivationChoice:
    if spec.choice is None:
        return ActivationQuantizer(spec.widths[0], spec.nonnegative, spec.ceiling)
    return ActivationChoice(spec.choice, spec.widths, spec.nonnegative, spec.ceiling)


def as_convolutions_like(x: Tensor) -> Tensor:
    """Images on the CPU with channels last in memory: a quarter faster; every layer behind keeps the format."""
    if x.dim() != 4 or x.is_cuda:
        return x
    # By strides, not by `contiguous`, to which an image of one channel is in every format.
    return torch.empty_like(x, memory_format=torch.channels_last).copy_(x)


def key_of(name: str) -> str:
    """As a key of a ModuleDict, which takes no dots and no names of its own: a layer may be called `values`."""
    key = name.replace(".", "/")
    return f"{key}/" if hasattr(nn.ModuleDict, key) else key
