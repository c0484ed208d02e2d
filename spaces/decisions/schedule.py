"""What a pass runs: which blocks, with which weights, and how long each tensor is needed."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property

from search.integer.memory import dead_after
from spaces.spec import BlockSpec, SpaceSpec


class PassSchedule:
    """Of each pass what runs.

    Attributes:
        branches: the choices of branches.
        everything: whether all branches run, whatever was drawn; see `all_branches`.
    """

    def __init__(self, spec: SpaceSpec) -> None:
        self._spec = spec
        self.branches = [name for name, choice in spec.choices.items() if choice.branches]
        self.everything = False

    @contextmanager
    def all_branches(self) -> Iterator[None]:
        """Inside it all branches run in every pass, whatever was drawn."""
        before = self.everything
        self.everything = True
        try:
            yield
        finally:
            self.everything = before

    def runs(self, block: BlockSpec, paths: Mapping[str, int]) -> bool:
        """paths: choice of branches -> the branch that runs."""
        when = block.when
        return not when or self.everything or all(paths[choice] == option for choice, option in when)

    def running(self, paths: Mapping[str, int]) -> Iterator[BlockSpec]:
        return (block for block in self._spec.blocks if self.runs(block, paths))

    def weights(self, paths: Mapping[str, int]) -> set[str]:
        """Names of stored weights that a pass needs."""
        return {block.weights for block in self.running(paths) if block.weights}

    def chosen_by(self, weights: str) -> set[str]:
        """The choices of stored weights: of their precision and of their taps."""
        spec = self._spec.weights[weights]
        return {name for name in (spec.bits, *spec.taps.values()) if name is not None}

    def bears(self, choice: str, paths: Mapping[str, int]) -> bool:
        """Whether a block runs that computes something else with another option of a choice."""
        return choice in self.bearing(paths)

    def bearing(self, paths: Mapping[str, int]) -> set[str | None]:
        """All choices of which that is so."""
        return set[str | None]().union(*(self._choices_of[block.name] for block in self.running(paths)))

    def bears_on(self, choice: str, block: str) -> bool:
        """Whether the block would compute something else of the same inputs with another option of a choice."""
        return choice in self._choices_of[block]

    def start(self, choice: str) -> str:
        """The block from which on passes with other options of a choice have to run. Before it they are the same.

        It is the first one on which the choice bears, or which runs by it; or one before that, where all tensors that
        are there are inputs of weights. A pass that learns keeps most of these anyway, so that it costs little memory.
        """
        return self._starts[choice]

    @cached_property
    def _starts(self) -> dict[str | None, str]:
        blocks = self._spec.blocks
        weighed = {name for block in blocks if block.weights for name in block.inputs}
        there, start = set(self._spec.inputs), blocks[0].name
        found: dict[str | None, str] = {}
        for block in blocks:
            start = block.name if there <= weighed else start
            for choice in self._choices_of[block.name] | dict(block.when).keys():
                found.setdefault(choice, start)
            there = (there | {block.name}).difference(self.dead[block.name])
        return found

    @cached_property
    def _choices_of(self) -> dict[str, set[str | None]]:
        """Block -> all choices on which its result depends."""
        return {block.name: self._choices(block) for block in self._spec.blocks}

    def _choices(self, block: BlockSpec) -> set[str | None]:
        spec = self._spec
        scales = {spec.scale_of[tensor] for tensor in (block.name, *block.inputs)}
        found = {spec.quantizers[scale].choice for scale in scales & spec.quantizers.keys()}
        found |= self.chosen_by(block.weights) if block.weights else set()
        return found | ({block.attributes["choice"]} if block.operator.picks else set())

    @cached_property
    def dead(self) -> dict[str, list[str]]:
        """Block -> the tensors that no later block reads."""
        blocks = self._spec.blocks
        each = dead_after([block.use for block in blocks], keep=self._spec.outputs)
        return dict(zip((block.name for block in blocks), each, strict=True))
