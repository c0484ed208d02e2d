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
        numbers: that its function reads from a table, where small code is wanted.
    """

    program: Program
    node: Node
    inputs: Sequence[Stored]
    output: Stored
    source: Source
    numbers: list[int] = field(default_factory=list)

    @property
    def small(self) -> bool:
        """Whether small code is wanted, rather than fast code."""
        return self.source.small

    @property
    def parameters(self) -> list[str]:
        """Of a function that takes pointers to the inputs and the output: x0, x1, .. and y."""
        inputs = [f"const {x.ctype} *x{place}" for place, x in enumerate(self.inputs)]
        return [*inputs, f"{self.output.ctype} *y"]

    def constant(self, role: str) -> Array:
        return self.program.constant(self.node, role)

    def table(self, role: str, values: Array | None = None) -> str:
        """The name of one of its constants, or of an array that takes its place, in flash."""
        return self.source.constant(f"{self.node.name}_{role}", self.constant(role) if values is None else values)

    def function(self, lines: Sequence[str], more: Sequence[str] = (), name: str = "") -> str:
        """The name of a function that takes the inputs, the output, and `more`.

        Where small code is wanted, all of them have the same parameters, see `STEP`, and numbers come from a table.
        """
        text, parameters = "\n".join(lines), [*self.parameters, *more]
        if not self.small:
            return self.source.function(name or self.node.op, ", ".join(parameters), literal(text))
        pointers = [each for each in parameters if "*" in each]
        integers = [each for each in parameters if "*" not in each]
        text, numbers = from_table(text, len(integers))
        self.numbers.extend(numbers)
        taken = [f"{each} = {_cast(each)}p[{place}];" for place, each in enumerate(pointers)]
        taken += [f"{each} = n[{place}];" for place, each in enumerate(integers)]
        taken += [] if numbers or integers else ["(void)n;"]
        text = "\n".join([*taken, text])
        return self.source.function(name or self.node.op, "const void *const *p, const Number *n", text)


def _cast(parameter: str) -> str:
    """Of a pointer that is const, to what a parameter is."""
    kind, _, _ = parameter.rpartition("*")
    return "" if kind.startswith("const") else f"({kind}*)(uintptr_t)"


@dataclass(frozen=True)
class Call:
    """A call of a generated function: pointers to inputs, output and, if it has some, working memory come first.

    Attributes:
        arguments: that come behind them.
        numbers: where small code is wanted, what it reads from a table, behind arguments that are integers.
        scratch: bytes of working memory, and the type of its elements.
    """

    function: str
    arguments: tuple[str, ...] = ()
    scratch: int = 0
    kind: str = "uint8_t"
    numbers: tuple[int, ...] = ()


Writer = Callable[[Operation], Call]
