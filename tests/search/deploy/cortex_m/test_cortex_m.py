"""Emulated cores: the same codes, what is counted, and images that are too large."""

from pathlib import Path

import pytest

from search.compilers import WARNINGS
from search.deploy.backends import SIZE, SPEED, Options, agreements, backend, drawn_inputs
from search.deploy.cortex_m import cores
from search.deploy.cortex_m.build import Build
from search.deploy.cortex_m.cores import CORES
from search.deploy.cortex_m.emulator import _counted
from search.deploy.cortex_m.image import built
from search.errors import FileError, MissingTool, UsageError
from search.integer.program import Program
from tests.search.integer import programs
from tests.search.integer.programs import attention_network, residual_network, resized_network


def written(program: Program, folder: Path, **options) -> Path:
    """The file, where there is a compiler for cores."""
    try:
        cores.toolchain(CORES["cortex_m4"])
    except MissingTool as error:
        pytest.skip(str(error))
    return backend("cortex_m").write(program, folder, Options(**options))


@pytest.mark.parametrize("optimize", [SPEED, SIZE])
@pytest.mark.parametrize("core", CORES)
def test_every_core_computes_every_tensor(core: str, optimize: str, tmp_path: Path):
    program = attention_network()
    file = written(program, tmp_path, target=core, optimize=optimize)
    (found,) = agreements(program, backend("cortex_m").opened(file), *drawn_inputs(program, 3))
    assert found.mismatches == 0 and found.how.startswith(f"{CORES[core].cpu}, emulated, ")


@pytest.mark.parametrize("optimize", [SPEED, SIZE])
@pytest.mark.parametrize("network", [residual_network, attention_network, resized_network])
def test_compilers_for_cores_do_not_warn(network, optimize: str, tmp_path: Path):
    file = written(network(), tmp_path, optimize=optimize)
    Build.read(file).link("image.c", tmp_path / "image.elf", [*WARNINGS, "-Werror"])


def test_several_inputs_and_outputs_are_more_than_four_pointers(tmp_path: Path):
    build = programs.Build((2, 3, 3))
    build.tensors["b"] = build.tensors["c"] = build.tensors["x"]
    first, second = build.add("x", "b"), build.add("b", "c")
    ends = (build.mul(first, second), first, second)
    program = Program(("x", "b", "c"), ends, build.tensors, tuple(build.nodes), build.constants, {})
    file = written(program, tmp_path)
    (found,) = agreements(program, backend("cortex_m").opened(file), *drawn_inputs(program, 4))
    assert found.mismatches == 0


def test_instructions_are_counted_the_same_at_each_call(tmp_path: Path):
    program = residual_network()
    (way,) = backend("cortex_m").opened(written(program, tmp_path)).values()
    inputs = drawn_inputs(program, 2)
    before = way.counted(*inputs)
    way.codes(*inputs)
    after = way.counted(*inputs)
    assert before.instructions == after.instructions > program.macs() / 2
    assert 0 < before.loads < before.instructions and 0 < before.stack < 4096
    each = way.by_tensor(*inputs)
    assert list(each) == ["x", *(node.output for node in program.nodes)]
    assert 0.99 * before.instructions < sum(counts.instructions for counts in each.values()) <= before.instructions


def test_kernels_stay_as_fast_as_they_are(tmp_path: Path):
    """Executed instructions a product of a 3x3 convolution, 16 to 32 channels on 16x16: 1.36 with GCC 12."""
    build = programs.Build((16, 16, 16))
    build.conv(32, (3, 3), padding=[[1, 1], [1, 1]])
    program = build.program()
    (way,) = backend("cortex_m").opened(written(program, tmp_path)).values()
    assert way.counted(*drawn_inputs(program, 1)).instructions < 1.6 * program.macs()


def test_an_image_is_what_is_linked(tmp_path: Path):
    program = residual_network()
    image = built(written(program, tmp_path, optimize=SIZE))
    assert image.flash_bytes >= image.constants_bytes + image.code_bytes
    assert image.ram_bytes >= image.arena_bytes + image.stack_bytes
    assert image.constants_bytes > 0.8 * program.flash_bytes() and image.arena_bytes < 4096


@pytest.mark.parametrize("what", ["flash", "ram"])
def test_an_image_that_is_too_large_is_refused(what: str, tmp_path: Path):
    file = written(residual_network(), tmp_path, **{f"{what}_bytes": 100})
    with pytest.raises(
        UsageError, match=r"the image takes [\d,]+ bytes of \w+, of which there are 100 .*--optimize size"
    ):
        backend("cortex_m").about(file)


def test_an_unknown_core_and_a_damaged_file_are_named(tmp_path: Path):
    with pytest.raises(UsageError, match=r"there is no core 'z80'. There are cortex_m3, cortex_m4"):
        backend("cortex_m").write(residual_network(), tmp_path, Options("z80"))
    (tmp_path / "image.json").write_text('{"target": "z80"}')
    with pytest.raises(FileError, match="names no core"):
        backend("cortex_m").opened(tmp_path / "image.json")


def test_a_missing_compiler_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(cores.shutil, "which", lambda name: None)
    monkeypatch.setattr(cores, "find_spec", lambda name: None)
    with pytest.raises(MissingTool, match=r"no compiler for cortex-m4 found. Install arm-none-eabi-gcc .*ziglang"):
        cores.toolchain(CORES["cortex_m4"])


def test_thumb_instructions_and_loads_are_told_apart():
    """push, ldr of a literal, ldrb.w, smlad, ldrd, strb, pop: encodings by the assembler."""
    code = b"\x10\xb5\x01\x4b\x93\xf8\x05\x20\x22\xfb\x03\x41\xd3\xe9\x00\x01\x1a\x70\x10\xbd"
    assert _counted(code) == (7, 4)
