"""What is exported is compared and scored with no more reads than NumPy needs."""

from collections import Counter
from inspect import signature

from search.data import Data
from search.deploy.lower import lower
from search.deploy.verify import scores_of_program, verify
from search.experiment import EVALUATION_BATCH
from search.strategies.problem import Problem
from tests.laws.host_reads.counted import FEW, IMAGES, MANY, reads_of, with_batches


def test_verification_reads_what_numpy_needs_and_nothing_beyond_its_limit(problem: Problem, data: Data) -> None:
    network = problem.space.decide().eval()
    program = lower(network, preprocessing=data.preprocessing)
    tensors = len(program.tensors)

    def verified(count: int, limit: int) -> int:
        batches = with_batches(problem, data, count).runtime.val
        return reads_of(lambda: verify(network, program, batches, limit=limit)).total()

    verified(FEW, IMAGES)
    size = IMAGES // MANY
    assert verified(MANY, 2 * size) == verified(MANY // 2, 4 * size) == verified(MANY, size + 1)
    a_batch = verified(MANY, 2 * size) - verified(MANY, size)
    folding = reads_of(lambda: network.codes(data.normalise(data.val.images[:size]))).total()
    assert a_batch == folding + 2 * (tensors + 1)  # each tensor, and the raw images: brought to the host, and read
    assert signature(verify).parameters["limit"].default == EVALUATION_BATCH  # so that a run verifies one batch


def test_scores_of_a_program_read_the_batches_that_numpy_runs(problem: Problem, data: Data) -> None:
    program = lower(problem.space.decide().eval(), preprocessing=data.preprocessing)

    def scored(count: int) -> Counter[str]:
        runtime = with_batches(problem, data, count).runtime
        return reads_of(lambda: scores_of_program(program, runtime.val, runtime.task).value)

    grown = scored(MANY) - scored(FEW)
    assert grown == {"cpu": 3 * (MANY - FEW), "numpy": MANY - FEW}  # raw images, normalised ones and targets
