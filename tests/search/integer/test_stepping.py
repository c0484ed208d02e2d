import numpy as np
import pytest

from search.errors import UsageError
from search.integer.executor import Executor
from search.integer.program import Program
from search.integer.stepping import NoStep, first_states, stepped
from tests.search.integer.agreement import codes_of
from tests.search.integer.programs import Build

LENGTH = 24


def causal(bits: int = 8) -> Program:
    """Windows that reach back, one with a stride, a sum, a maximum, and a loop behind them."""
    build = Build((3, LENGTH), bits)
    first = build.conv(4, (5,), padding=((4, 0),), stride=(2,))
    build.conv(4, (3,), groups=4, padding=((4, 0),), dilation=(2,), widths=(8, 4, 2, 8))
    build.add(first, build.last)
    read = build.pool("max_pool", (3,), padding=((2, 0),), stride=(1,))
    build.loop = "cell"
    build.last, state = build.step(read), build.state((4,))
    following = build.add(build.linear(4), state)
    build.carry(state, following)
    every = build.collect(LENGTH // 2)
    build.loop, build.last = "", every
    build.conv(2, (2,), padding=((1, 0),))
    return build.program()


def run_by_steps(step: Program, codes: np.ndarray) -> list[dict[str, np.ndarray]]:
    """What each step computes of (n, C, T), of all tensors."""
    places, executor = step.tensors[step.inputs[0]].shape[-1], Executor(step)
    carried = {name: np.repeat(each[None], len(codes), 0) for name, each in first_states(step).items()}
    found = []
    for start in range(0, codes.shape[-1], places):
        given = {step.inputs[0]: np.ascontiguousarray(codes[..., start : start + places]), **carried}
        found.append(executor(given, intermediate=True))
        carried = {name: found[-1][state.next] for name, state in step.states.items()}
    return found


@pytest.mark.parametrize("bits", [8, 12])
def test_steps_compute_what_the_whole_computes(bits: int) -> None:
    whole = causal(bits)
    step, codes = stepped(whole), codes_of(whole)
    step.validate()
    expected, found = Executor(whole)(codes, intermediate=True), run_by_steps(step, codes)
    assert step.tensors["x"].shape == (3, 2)  # as many as the stride takes
    sequences = [name for name in expected if name in step.tensors and expected[name].ndim == 3 and name != "x"]
    assert len(sequences) == 6
    for name in sequences:
        together = np.concatenate([each[name] for each in found], -1)
        np.testing.assert_array_equal(together, expected[name], err_msg=name)


def test_a_step_is_written_and_read(tmp_path: object) -> None:
    step, path = stepped(causal()), f"{tmp_path}/step.safetensors"
    step.save(path)
    assert Program.load(path).states == step.states


def test_a_state_that_is_missing_or_of_another_shape_is_refused() -> None:
    step = stepped(causal())
    given = {step.inputs[0]: np.zeros((1, 3, 2), np.uint8)}
    states = {name: each[None] for name, each in first_states(step).items()}
    absent, *_ = states
    with pytest.raises(UsageError, match=r"inputs .* found"):
        Executor(step)({**given, **{name: each for name, each in states.items() if name != absent}})
    with pytest.raises(UsageError, match=f"input '{absent}': shape"):
        Executor(step)({**given, **states, absent: states[absent][..., :-1]})


def test_windows_without_padding_slide() -> None:
    """A network for so many frames gives, at each step, what it gives of the last ones."""
    build = Build((3, 12))
    build.conv(4, (3,))
    build.conv(4, (4,), groups=4)
    build.pool("avg_pool", (7,), stride=(1,))
    build.reshape(4)
    build.linear(3)
    whole = build.program()
    codes = np.random.default_rng(2).integers(0, 256, (2, 3, 20), np.uint8)
    found = run_by_steps(stepped(whole), codes)
    for end in range(12, 21):
        expected = Executor(whole)(np.ascontiguousarray(codes[..., end - 12 : end]), intermediate=True)
        np.testing.assert_array_equal(found[end - 1][whole.outputs[0]], expected[whole.outputs[0]])


def test_a_window_that_looks_ahead_is_refused_by_name() -> None:
    build = Build((3, 8))
    build.conv(4, (3,), padding=((1, 1),))
    with pytest.raises(NoStep, match=r"node 'conv0' \(conv\): looks ahead"):
        stepped(build.program())


def test_a_state_of_windows_that_are_not_full_is_refused_by_name() -> None:
    build = Build((3, 12))
    read = build.conv(4, (3,))
    build.loop = "cell"
    build.last, state = build.step(read), build.state((4,))
    following = build.add(build.linear(4), state)
    build.carry(state, following)
    build.loop = ""
    build.linear(2)
    with pytest.raises(NoStep, match=r"node 'step1' \(step\): keeps of its input what a window without padding"):
        stepped(build.program())
    padded = Build((3, 12))
    padded.conv(4, (3,))
    padded.conv(4, (3,), padding=((2, 0),))
    with pytest.raises(NoStep, match=r"node 'conv1' \(conv\): keeps of its input"):
        stepped(padded.program())


def test_a_recurrent_layer_behind_a_stride_that_comes_too_late_is_named() -> None:
    build = Build((3, 12))
    build.loop = "cell"
    build.last, state = build.step("x"), build.state((4,))
    following = build.add(build.linear(4), state)
    build.carry(state, following)
    build.last = following
    build.collect(12)
    build.loop = ""
    build.conv(2, (2,), stride=(2,), padding=((1, 0),))
    with pytest.raises(NoStep, match=r"is what all of it takes at a time \(conv5, step0\)"):
        stepped(build.program())


def test_what_needs_all_places_at_once_is_refused_by_name() -> None:
    build = Build((3, 8))
    build.reshape(24)
    with pytest.raises(NoStep, match=r"node 'reshape0' \(reshape\): needs all places"):
        stepped(build.program())


def test_a_network_without_a_sequence_is_refused() -> None:
    build = Build((8,))
    build.linear(4)
    with pytest.raises(NoStep, match="one sequence"):
        stepped(build.program())
