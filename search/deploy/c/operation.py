"""What the writer of an operator is given, and what it gives."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from search.deploy.c.layout import Stored
from search.deploy.c.source import Source, from_table, literal
from search.integer.graph import Array, Node
from search.integer.program import Program


@dataclass(frozen=True)
class Operation:
    """A node to be written.

    Attributes:
        inputs, output: its tensors, as they lie.
        source: to which its functions and constants are added.
        small: whether small code is wanted, rather than fast code.
        numbers: that its function reads from a table.
    """

    program: Program
    node: Node
    inputs: Sequence[Stored]
    output: Stored
    source: Source
    small: bool = False
    numbers: list[int] = field(default_factory=list)

    @property
    def parameters(self) -> str:
        """Of a function that takes pointers to the inputs and the output: x0, x1, .. and y."""
        inputs = [f"const {x.ctype} *x{place}" for place, x in enumerate(self.inputs)]
        return ", ".join([*inputs, f"{self.output.ctype} *y"])

    def constant(self, role: str) -> Array:
        return self.program.constant(self.node, role)

    def table(self, role: str, values: Array | None = None) -> str:
        """The name of one of its constants, or of an array that takes its place, in flash."""
        return self.source.constant(f"{self.node.name}_{role}", self.constant(role) if values is None else values)

    def function(self, lines: Sequence[str], more: str = "", name: str = "") -> str:
        """The name of a function that takes the inputs, the output, `more`, and where it reads some, `numbers`."""
        text, parameters = "\n".join(lines), f"{self.parameters}, {more}" if more else self.parameters
        if not self.small:
            return self.source.function(name or self.node.op, parameters, literal(text))
        text, numbers = from_table(text)
        self.numbers.extend(numbers)
        parameters += ", const int32_t *restrict n" if numbers else ""
        return self.source.function(name or self.node.op, parameters, text)


@dataclass(frozen=True)
class Call:
    """A call of a generated function: pointers to inputs, output and, if it has some, working memory come first.

    Attributes:
        arguments: that come behind them.
        scratch: bytes of working memory, and the type of its elements.
    """

    function: str
    arguments: tuple[str, ...] = ()
    scratch: int = 0
    kind: str = "uint8_t"


Writer = Callable[[Operation], Call]
