"""A pass of a space, and of a decided network, reads nothing of the device."""

import pytest
import torch
from torch import nn

from benchmarks.waits import Waits
from spaces.searchable import Options, searchable
from spaces.space import FAKE, FLOAT, INTEGER
from tests.laws.host_reads.counted import META, reads_of
from tests.laws.test_networks import ALL as NETWORKS
from tests.laws.test_networks import fixed_at_random
from tests.search.tasks import made


@pytest.mark.parametrize("mode", [FLOAT, FAKE])
@pytest.mark.parametrize("training", [False, True])
def test_a_pass_of_a_space_runs_where_nothing_can_be_read(mode: str, training: bool) -> None:
    space = searchable(nn.Sequential(*made.Head(4)), torch.zeros(2, 1, 8, 8), Options(weight_bits=(0, 2, 4, 8)))
    space.calibrate([torch.randn(4, 1, 8, 8)])
    space.set_mode(FAKE)
    space(torch.zeros(2, 1, 8, 8))  # zero points are read once
    space, images = space.to(META), torch.zeros(2, 1, 8, 8, device=META)
    with space.running(mode, training=training):
        space(images)  # tables of sizes are made once
        with Waits() as waits:
            assert space(images).device == META
    assert not +waits.reads and not +waits.copies


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("mode", [FAKE, INTEGER])
def test_a_pass_of_a_decided_network_in_evaluation_reads_nothing(mode: str, name: str) -> None:
    space, images = fixed_at_random(name)
    network = space.decide().eval()
    with network.running(mode):
        network(images)  # what it keeps in evaluation is made in its first pass
        found = reads_of(lambda: network(images))
    bounded = any(quantizer.ceiling is not None for quantizer in network.quantizers.values())
    assert found.total() <= bounded  # the steps of tensors behind a ReLU6, all at once
