"""The three ways in which a Space computes.

float: decisions and quantizers are out of play; the network is the user's own.
fake: training with quantization; decisions and quantizers are in play, values are floats on the integers' grids.
integer: values are what the Program computes, to the bit, and gradients pass straight through. Only a decided,
    quantized Space has it.
"""

FLOAT, FAKE, INTEGER = "float", "fake", "integer"
MODES = (FLOAT, FAKE, INTEGER)
