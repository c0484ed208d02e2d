"""The writer of each operator: a function of C that computes its integers, as docs/methods.md, section 5, has them."""

from search.deploy.c.operation import Writer
from search.deploy.c.operators import elementwise, moves, pools, products, reductions, weighted

WRITERS: dict[str, Writer] = {
    "conv": weighted.convolution,
    "conv_transpose": weighted.transposed,
    "linear": weighted.linear,
    "add": elementwise.add,
    "mul": elementwise.mul,
    "table": elementwise.table,
    "concat": moves.concat,
    "take": moves.take,
    "step": moves.step,
    "state": moves.state,
    "collect": moves.collect,
    "permute": moves.permute,
    "reshape": moves.reshape,
    "max_pool": pools.maximum,
    "avg_pool": pools.average,
    "resample": pools.resample,
    "matmul": products.matmul,
    "softmax": reductions.softmax,
    "normalize": reductions.normalize,
}
