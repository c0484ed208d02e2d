"""The closing table's rows of a decided network."""

from search.budgets.layer_costs import rows
from spaces.searchable import Options
from tests.spaces.small import Plain, space_of


def test_rows_name_kernels_and_unusual_activation_bits():
    space = space_of(Plain(), options=Options((0, 4, 8), activation_bits=(4, 8), kernel_sizes=(1, 3)))
    space.choices["stem/kernel"].fix((1,))
    space.choices["depthwise/activation_bits"].fix((4,))
    space.decisions["body/channels"].fix((1, 0, 1, 0, 1, 1))
    table, totals = rows(space, space.decide())
    operators = {row.name: row.op for row in table}
    assert operators["stem"] == "conv 1x1" and operators["depthwise"] == "depthwise 3x3 a4"
    assert operators["mean"] == "reshape" and operators["head"] == "linear"
    body = next(row for row in table if row.name == "body")
    assert (body.kept, body.channels) == (4, 6)
    assert totals.flash_bytes == sum(row.flash_bytes for row in table)
