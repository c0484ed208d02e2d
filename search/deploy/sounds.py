"""Sounds that a front end is compared on, made by a rule that C on a chip has too, so that it need not hold them."""

import numpy as np

from search.integer.graph import Array

FACTOR, SUMMAND = 1664525, 1013904223  # of a linear congruential generator: Numerical Recipes, 2nd ed., section 7.1
LEVELS = 16  # halvings from full scale to silence
SOUND = f"""\
    static network_raw raw[NETWORK_RAW_SIZE];
    uint32_t state = 1;
    for (int32_t i = 0; i < NETWORK_RAW_SIZE; ++i) {{
        state = state * UINT32_C({FACTOR}) + UINT32_C({SUMMAND});
        raw[i] = (int16_t)(((int32_t)(state >> 16) - 32768) >> ({LEVELS} * i / NETWORK_RAW_SIZE));
    }}"""  # the first of drawn_sounds


def drawn_sounds(samples: int, count: int) -> Array:
    """Noise that fades from full scale to silence: (count, samples) int16, the same at every call.

    From the number of the sound, beginning with 1, a state goes on by state * FACTOR + SUMMAND modulo 2^32.
    """
    powers = np.cumprod(np.full(samples, FACTOR, np.uint32), dtype=np.uint32)
    sums = np.cumsum(np.concatenate([np.ones(1, np.uint32), powers[:-1]]), dtype=np.uint32)
    numbers = np.arange(1, count + 1, dtype=np.uint32)[:, None]
    states = powers * numbers + np.uint32(SUMMAND) * sums
    noise = (states >> np.uint32(16)).astype(np.int32) - 2**15
    found: Array = (noise >> (LEVELS * np.arange(samples) // samples)).astype(np.int16)
    return found
