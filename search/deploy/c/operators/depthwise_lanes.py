"""Convolutions with one input channel a group, for processors that multiply bytes by bytes and add up four products.

A lane of a vector is a channel. Four taps that lie one behind another along the last axis are put side by side in it.
"""

from collections.abc import Sequence
from dataclasses import replace
from math import prod

from search.deploy.c.finish import Finish
from search.deploy.c.interleaved import ENDS, code_at, interleaved
from search.deploy.c.source import block
from search.deploy.c.windows import WORD, Slid

READ = 16  # codes that are read at once, at most


def words(slid: Slid) -> int:
    """Of the weights of a channel: taps along the last axis are padded to whole words."""
    *outer, (last, _) = slid.windows.taps
    return prod(count for count, _ in outer) * -(-last // WORD)


def by_bytes(slid: Slid, finish: Finish, start: Sequence[str]) -> list[str]:
    """Lines of the whole operator. Args: start: those that unpack weights."""
    channels, width, each = slid.x.shape[0], slid.sizes[-1], ENDS + words(slid)
    constants = "bias[from]", "multiplier[from]", "shift[from]"
    once = interleaved("interleaved", str(channels), words(slid), finish, constants, _row(slid), start)
    sums = [
        f"const Column *x = row + {slid.windows.step} * p;",
        f"const int32_t *w = block + {ENDS} * LANES;",
        "Lanes sum = lanes_at(block);",
        *_sum(slid),
        *_ended(channels, finish),
    ]
    blocks = [
        f"const int32_t *block = interleaved + LANES + done * {each};",
        f"{finish.ctype} *to = out + done;",
        "const Column *row = begin + done;",
        *block(f"for (int32_t p = 0; p < {width}; ++p, to += {channels})", sums),
    ]

    def over_row(place: str) -> list[str]:
        lines = [f"const Column *begin = codes + {place};"]
        lines += block(f"for (int32_t done = 0; done < {channels}; done += LANES)", blocks)
        return [*lines, f"out += {channels * width};"]

    begin = ["(void)zeros;", f"{finish.ctype} *out = y;"]
    return [*once, *slid.copied(channels, READ), *begin, *slid.over_rows(over_row)]


def _row(slid: Slid) -> list[str]:
    """Of the channel `from`, from where weights lie in pairs."""
    *outer, (last, _) = slid.windows.taps
    count, channels, each = prod(count for count, _ in outer), slid.x.shape[0], -(-last // WORD) * WORD
    stored = [
        f"const int32_t t = run * {last} + k, pair = {2 * (channels + channels % 2)} * (t / 2);",
        f"{code_at(f'run * {each} + k')} = weights[pair + 2 * from - (from & 1) + 2 * (t & 1)];",
    ]
    return block(f"for (int32_t run = 0; run < {count}; ++run)", block(f"for (int32_t k = 0; k < {last}; ++k)", stored))


def _sum(slid: Slid) -> list[str]:
    """Products of all taps."""
    windows = slid.windows
    *outer, (last, gap) = windows.taps
    lines = []
    for first in range(0, last, WORD):
        four = f"codes_at(tap + {first * gap})"
        for place in range(1, min(WORD, last - first)):
            four = f"beside({four}, codes_at(tap + {(first + place) * gap}), {8 * place})"
        lines += [f"sum = products(sum, {four}, lanes_at(w));", "w += LANES;"]
    return replace(windows, taps=outer).over_taps(lambda place: [f"const Column *tap = x + {place};", *lines])


def _ended(channels: int, finish: Finish) -> list[str]:
    """Whole vectors, and channels that are left over."""
    given = "sum", "block + LANES", "block + 2 * LANES", "block + 3 * LANES"
    left = [
        f"{finish.ctype} ended[LANES] NETWORK_ALIGNED;",
        *finish.lanes("ended", *given),
        f"memcpy(to, ended, {channels} % LANES * sizeof *ended);",
    ]
    return [*block(f"if (done + LANES <= {channels})", finish.lanes("to", *given)), *block("else", left)]
