from dataclasses import replace

import numpy as np
import pytest

from search.integer.executor import Executor
from search.integer.memory import loops
from search.integer.program import Program, ProgramError
from tests.search.integer.agreement import assert_equals_reference, codes_of
from tests.search.integer.loops import STEPS, recurrent


@pytest.mark.parametrize("bits", [8, 12])
def test_a_loop_is_what_plain_loops_over_its_places_compute(bits: int) -> None:
    assert_equals_reference(recurrent(bits))


def test_every_tensor_of_the_loop_varies() -> None:
    """A state that is always its zero point would let any fault in what is carried pass."""
    codes = Executor(recurrent())(codes_of(recurrent(), 40), intermediate=True)
    assert min(len(np.unique(each)) for each in codes.values()) > 8


def test_threads_and_chunks_do_not_mix_states() -> None:
    program = recurrent()
    codes = codes_of(program, 40)
    whole = Executor(program, threads=3)(codes, intermediate=True)
    for image in (0, 17, 39):
        one = Executor(program)(codes[image : image + 1], intermediate=True)
        assert all((whole[name][image] == one[name][0]).all() for name in one)


def test_products_of_a_loop_count_at_each_place() -> None:
    linear_in_the_loop, behind, convolution = (3 * 4 + 4 * 4) * STEPS, 4 * 6, 4 * 3 * 2 * (STEPS - 2)
    assert recurrent().macs() == linear_in_the_loop + behind + convolution


def test_what_a_loop_reads_carries_and_gathers_lives_throughout() -> None:
    program = recurrent()
    (loop,) = loops(program.schedule())
    lives = program.lifetimes()
    names = {node.output for node in program.nodes if node.op == "collect"} | {"x"}
    names |= {node.attributes["next"] for node in program.nodes if node.op == "state"}
    assert loop.throughout == names
    assert all(lives[name][0] <= loop.first and lives[name][1] >= loop.last for name in names)


def test_a_file_gives_the_loop_back(tmp_path: object) -> None:
    program, path = recurrent(), f"{tmp_path}/program.safetensors"
    program.save(path)
    loaded = Program.load(path)
    assert loaded.nodes == program.nodes and loaded.tensors == program.tensors


def damaged(fault: str) -> Program:
    program = recurrent()
    nodes = list(program.nodes)
    place = {node.op: number for number, node in enumerate(nodes)}  # the last of each
    if fault == "apart":
        nodes[3] = replace(nodes[3], loop="other")
    elif fault == "outside":
        nodes[place["collect"]] = replace(nodes[place["collect"]], loop="")
    elif fault == "length":
        nodes[place["collect"]] = replace(nodes[place["collect"]], attributes={"steps": 4})
        name = nodes[place["collect"]].output
        tensors = {**program.tensors, name: replace(program.tensors[name], shape=(4, 4))}
        conv = nodes[place["conv"]].output
        tensors[conv] = replace(tensors[conv], shape=(2, 2))
        return replace(program, nodes=tuple(nodes), tensors=tensors)
    elif fault == "carried":
        nodes[place["state"]] = replace(nodes[place["state"]], attributes={"next": nodes[-1].output})
    elif fault == "none":
        nodes[place["state"]] = replace(nodes[place["state"]], attributes={"next": "nothing"})
    return replace(program, nodes=tuple(nodes))


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("apart", "which the loop does not compute"),
        ("outside", "is in no loop"),
        ("length", "gathers 4 places; the loop reads 5"),
        ("carried", "which the loop does not compute"),
        ("none", "nothing"),
    ],
)
def test_a_loop_that_contradicts_itself_is_refused(fault: str, message: str) -> None:
    with pytest.raises(ProgramError, match=message):
        damaged(fault).validate()
