"""The three ways in which a Space computes.

float: decisions and quantizers are out of play, and the network is the user's own.
fake: training with quantization. Decisions and quantizers are in play, and values are floats on the grids of the
    integers.
integer: values are what the Program computes, to the bit, and gradients pass straight through. Only a decided and
    quantized Space has this mode.
"""

FLOAT, FAKE, INTEGER = "float", "fake", "integer"
MODES = (FLOAT, FAKE, INTEGER)
