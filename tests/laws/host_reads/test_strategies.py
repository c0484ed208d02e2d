"""What strategies do with batches is read as often, however many batches there are."""

from collections import Counter
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace

import pytest
import torch

from search.data import Data
from search.settings.strategies import BlackBoxSettings
from search.strategies.black_box.proxy import Proxy
from search.strategies.problem import Problem
from search.strategies.pruning.parts import Channels, SingleWeights
from search.strategies.pruning.ranking import GRADIENT, scores
from search.strategies.sensitivity.increases import estimated_table, loss_at, measured_table, passes
from search.training.evaluation import reestimate_norms, scores_of
from spaces.searchable import Options, searchable
from spaces.space import INTEGER
from tests.laws.host_reads.counted import FEW, MANY, META, in_batches, reads_of, with_batches
from tests.search.small import cross_entropy
from tests.search.tasks import made


def _calibrate(problem: Problem) -> None:
    problem.space.calibrate([images for images, _ in problem.sample(MANY)])


def _norms(problem: Problem) -> None:
    reestimate_norms(problem.space, problem.runtime.whole, MANY)


def _candidate(problem: Problem) -> None:
    Proxy(problem, BlackBoxSettings("random")).score_of(problem.space.architecture())


def _table(table: Callable[..., object]) -> Callable[[Problem], None]:
    def made(problem: Problem) -> None:
        task = problem.runtime.task
        table(problem.space, problem.sample(MANY), task.comparison_loss, facts=task.facts)

    return made


def _loss(problem: Problem) -> None:
    loss_at(problem.space, problem.space.architecture(), problem.sample(MANY), problem.runtime.task.comparison_loss)


def _ranking(parts: Callable[..., object]) -> Callable[[Problem], None]:
    return lambda problem: scores(problem, parts(problem.space, problem.space.architecture()), GRADIENT)


def _integers(problem: Problem) -> None:
    network = problem.space.decide().eval()
    scores_of(network, problem.runtime.val, problem.runtime.task, INTEGER).value  # noqa: B018  it is what is read


ROUTINES: dict[str, Callable[[Problem], object]] = {
    "calibration": _calibrate,
    "norms": _norms,
    "a candidate": _candidate,
    "measured table": _table(measured_table),
    "estimated table": _table(estimated_table),
    "loss of an architecture": _loss,
    "ranking of channels": _ranking(Channels),
    "ranking of weights": _ranking(SingleWeights),
    "scores in integers": _integers,
}


@pytest.mark.parametrize("routine", ROUTINES.values(), ids=ROUTINES)
def test_reads_do_not_grow_with_the_batches(routine: Callable[[Problem], object], problem: Problem, data: Data) -> None:
    few, many = with_batches(problem, data, FEW), with_batches(problem, data, MANY)
    routine(few)  # zero points and tables of sizes are read once
    assert reads_of(lambda: routine(few)) == reads_of(lambda: routine(many))


def test_candidates_are_cut_out_of_a_copy_on_the_host(problem: Problem, data: Data) -> None:
    """The space is read once for all candidates: where nothing can be read of it any more, they are what they were."""
    space = deepcopy(problem.space)
    proxy = Proxy(replace(with_batches(problem, data, FEW), space=space), BlackBoxSettings("random"))
    architecture = space.architecture()
    first = proxy.score_of(architecture)
    space.to(META)
    assert proxy.score_of(architecture) == first


def test_an_estimate_of_whole_choices_reads_its_picks_on_the_host(data: Data) -> None:
    options = Options(weight_bits=(2, 4, 8), granularity="tensor")
    space = searchable(made.Head(4), torch.zeros(2, 1, 8, 8), options)
    few, many = (list(in_batches(data, "train", count).epoch(0)) for count in (FEW, MANY))
    space.calibrate([images for images, _ in few])

    def estimated(batches: list[tuple[torch.Tensor, torch.Tensor]]) -> Counter[str]:
        return reads_of(lambda: estimated_table(space, batches, cross_entropy, facts={}))

    assert all(choice.whole for choice in space.choices.values())
    estimated(few)  # zero points are read once
    assert estimated(many) - estimated(few) == {"tolist": MANY - FEW}  # a pass reads its picks of a copy on the host


def test_a_measured_table_is_read_once_a_decision(problem: Problem, data: Data) -> None:
    space, loss = problem.space, problem.runtime.task.comparison_loss
    batches = with_batches(problem, data, FEW).sample(FEW)
    found = reads_of(lambda: measured_table(space, batches, loss, facts={}))
    decisions, weights = len(space.decisions), len(space.float_names())
    assert passes(space) > 50 > 3 * decisions
    assert found["tolist"] == 1 + 2 * decisions  # the loss that is reached; each decision's pick, and its losses
    assert found["numpy"] == weights  # for the fingerprint
