"""Traits of operators: what their work is, where their channels come from, what they store and pass on."""

from enum import Enum, auto


class Work(Enum):
    """What it takes to compute one element of the output. Costs follow from it."""

    PRODUCTS = auto()  # weights times inputs, as many as the fan-in, added up
    SUM = auto()  # one element of each input, added up
    PRODUCT = auto()  # one element of each input, multiplied
    WINDOW = auto()  # each element of a window, added or compared
    PAIRS = auto()  # elements of one input times elements of another, added up
    REDUCTION = auto()  # statistics of its neighbours along some axes, and a function of them and the element
    LOOK_UP = auto()  # an entry of a table
    COPY = auto()  # an element of an input, moved and perhaps scaled
    NOTHING = auto()  # no code runs: the output lies where an input lies, or in flash


class Channels(Enum):
    """Where the channels of the output come from."""

    SAME = auto()  # each from the channel at its place in the inputs
    WEIGHTS = auto()  # weights make them
    STACKED = auto()  # those of the inputs, one behind another along the attribute "axis"
    PICKED = auto()  # those of one of the inputs, which a decision picks
    RESHAPED = auto()  # the elements in row-major order under another shape
    TAKEN = auto()  # by the attribute "indices"
    PERMUTED = auto()  # by the attribute "axes"
    CONTRACTED = auto()  # as SAME; or gone, where they are added up
    REDUCED = auto()  # as SAME, but all of them matter to each where the attribute "axes" names the channels
    OWN = auto()  # they are stored
    CARRIED = auto()  # those of the tensor in the attribute "next"


class Border(Enum):
    """What an operator does at the border of a loop, whose nodes run once for each place of a sequence."""

    READ = auto()  # it reads one place of a sequence, along its last axis
    CARRY = auto()  # it gives what the tensor in the attribute "next" was one place before; zero at the first place
    GATHER = auto()  # it writes one place of a sequence


class Count(Enum):
    """How many numbers of one kind a node stores."""

    NONE = auto()
    ONE = auto()
    INPUTS = auto()  # one an input
    CHANNELS = auto()  # one an output channel
