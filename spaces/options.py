"""What is open in a Space."""

from collections.abc import Sequence
from dataclasses import dataclass

from search.errors import UsageError
from search.integer.preprocessing import Grid
from spaces.patterns import parse

GRANULARITIES = ("channel", "tensor")


@dataclass(frozen=True)
class Options:
    """What is open in a Space.

    Attributes:
        weight_bits: precisions on offer. With 0 among them channels can be pruned. () leaves weights in float.
        granularity: whether each output "channel" has a weight precision, or each "tensor".
        activation_bits: precision of every activation tensor, or several to choose from. None leaves activations in
            float.
        input_bits, output_bits: of the network's inputs and outputs; None: the most of activation_bits.
        kernel_sizes: sizes on offer for 2-D and 3-D convolutions, beside their own.
        time: 1-D convolutions (patterns of fnmatch) whose receptive field and dilation are open.
        pattern: of the weights, "2:4", "columns", "channels", "blocks 4x4" or "weights", see spaces.patterns.
        exclude: layers (patterns of fnmatch) that keep their channels and get the highest precision.
        drop_softmax: whether a softmax or log-softmax over the channels that ends the network is left out. What the
            largest output is stays the same, and a program that only asks for it is smaller.
        mode, temperature: of the precision choices, see Choice.
        hysteresis, trainable_threshold: of the gates, see Gate.
        input_grid: step and zero point of the inputs' codes where these have 8 bits, such as those of raw bytes; they
            are not calibrated and do not learn. None: as those of other tensors.
    """

    weight_bits: Sequence[int] = (0, 2, 4, 8)
    granularity: str = "channel"
    activation_bits: int | Sequence[int] | None = 8
    input_bits: int | None = None
    output_bits: int | None = None
    kernel_sizes: Sequence[int] = ()
    time: Sequence[str] = ()
    pattern: str = ""
    exclude: Sequence[str] = ()
    drop_softmax: bool = False
    mode: str = "hard"
    temperature: float = 1.0
    hysteresis: float = 0.0
    trainable_threshold: bool = False
    input_grid: Grid | None = None

    def __post_init__(self) -> None:
        if self.granularity not in GRANULARITIES:
            raise UsageError(f"options: granularity '{self.granularity}' is not one of {GRANULARITIES}.")
        if self.pattern:
            parse(self.pattern)
        if self.pattern and 1 in self.weight_bits:
            raise UsageError(f"options: pattern '{self.pattern}' needs zeros, and weights of 1 bit have none.")
        for key in ("input_bits", "output_bits"):
            bits = getattr(self, key)
            if bits is not None and not (self.activation_widths and 2 <= bits <= 16):
                raise UsageError(f"options: {key} {bits}: 2 to 16 are possible, where activation_bits are given.")
        if any(size < 1 for size in self.kernel_sizes):
            raise UsageError(f"options: kernel_sizes {list(self.kernel_sizes)}: 1 or more.")
        if bool(self.widths) != bool(self.activation_widths):
            raise UsageError(
                "options: integers need both; give weight_bits and activation_bits, or neither "
                f"(weight_bits {tuple(self.weight_bits)}, activation_bits {self.activation_bits})."
            )

    @property
    def widths(self) -> tuple[int, ...]:
        return tuple(sorted(set(self.weight_bits) - {0}))

    @property
    def activation_widths(self) -> tuple[int, ...]:
        bits = self.activation_bits
        return tuple(sorted(set([bits] if isinstance(bits, int) else bits or ())))

    @property
    def prunes(self) -> bool:
        return 0 in self.weight_bits
