"""The generated C computes what the executor does, in every element, whatever compiles it."""

import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from search.compilers import WARNINGS
from search.deploy.backends import SIZE, SPEED, Options, agreement, backend, drawn_inputs
from search.deploy.c.manifest import Manifest
from search.deploy.c.network import generated
from search.deploy.c.traced import Traced
from search.integer.executor import Executor
from search.integer.program import Program
from tests.search.integer.programs import Build, attention_network, residual_network, resized_network

NETWORKS = {"residual": residual_network, "attention": attention_network, "resized": resized_network}
SANITIZED = ("-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
COMPILERS = {
    "gcc": ("gcc", "-O2"),
    "clang": ("clang", "-O2"),
    "sanitized": ("gcc", *SANITIZED),
    "vectors": ("gcc", "-O3"),
    "native": ("gcc", "-O3", "-march=native"),
    "native_clang": ("clang", "-O2", "-march=native"),
    "native_sanitized": ("gcc", *SANITIZED, "-march=native"),
    "bytes_of_256_bits": ("gcc", "-O2", "-mavx2", "-mavxvnni"),
    "no_vectors": ("gcc", "-O2", "-U__SSE2__", "-U__ARM_NEON"),
}
CPU = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""


def assert_same(program: Program, folder: Path, command: tuple[str, ...] = ("gcc", "-O1"), optimize: str = SPEED):
    if shutil.which(command[0]) is None:
        pytest.skip(f"there is no {command[0]} here")
    if "-mavxvnni" in command and not re.search(r"\bavx_vnni\b", CPU):
        pytest.skip("this processor has no AVX-VNNI")
    file = backend("c").write(program, folder, Options(optimize=optimize))
    traced = Traced(folder, Manifest.read(file), command[:1], [*WARNINGS, "-Werror", *command[1:]])
    inputs = drawn_inputs(program, samples=5)
    found = agreement("C", traced.codes(*inputs), Executor(program)(*inputs, intermediate=True))
    assert found.mismatches == 0, found.first
    assert traced.seconds(*inputs) > 0


@pytest.mark.parametrize("compiler", ["gcc", "native"])
@pytest.mark.parametrize("bits", [2, 4, 8, 12])
@pytest.mark.parametrize("network", NETWORKS)
def test_every_tensor_is_that_of_the_executor(network: str, bits: int, compiler: str, tmp_path: Path):
    assert_same(NETWORKS[network](bits), tmp_path, COMPILERS[compiler])


@pytest.mark.parametrize("compiler", COMPILERS)
@pytest.mark.parametrize("optimize", [SPEED, SIZE])
@pytest.mark.parametrize("network", NETWORKS)
def test_compilers_neither_warn_nor_find_undefined_behaviour(network, optimize, compiler, tmp_path: Path):
    assert_same(NETWORKS[network](), tmp_path, COMPILERS[compiler], optimize)


WAYS = [("gcc", SPEED), ("gcc", SIZE), ("native_sanitized", SPEED)]


@pytest.mark.parametrize(("compiler", "optimize"), WAYS)
@pytest.mark.parametrize("kernel", [(3,), (3, 2), (2, 1, 3)])
def test_windows_of_any_dimension(kernel: tuple[int, ...], compiler: str, optimize: str, tmp_path: Path):
    build, sizes = Build((4, *(7,) * len(kernel)), zero_point=100), range(len(kernel))
    window = {"stride": [1 + i % 2 for i in sizes], "padding": [[2, 1]] * len(kernel)}
    build.conv(6, kernel, groups=2, widths=[2, 4, 4, 8, 4, 8], **window)
    build.conv(5, kernel, widths=[6, 2, 3, 5, 8], padding=[[1, 1]] * len(kernel))
    build.pool("max_pool", kernel, padding=[[1, 1]] * len(kernel), dilation=[1 + i % 2 for i in sizes])
    build.pool("avg_pool", (2,) * len(kernel), padding=[[1, 0]] * len(kernel))
    assert_same(build.program(), tmp_path, COMPILERS[compiler], optimize)


@pytest.mark.parametrize(("compiler", "optimize"), WAYS)
@pytest.mark.parametrize("widths", [8, 4, "mixed"])
@pytest.mark.parametrize(("channels", "outputs"), [(3, 3), (4, 4), (7, 7), (37, 37), (3, 6)])
def test_convolutions_of_one_channel_a_group(channels, outputs, widths, compiler, optimize, tmp_path: Path):
    build = Build((channels, 6, 5))
    each = [(2, 8, 3, 4, 7)[i % 5] for i in range(outputs)] if widths == "mixed" else widths
    build.conv(outputs, (3, 3), groups=channels, widths=each, padding=[[1, 1], [0, 2]], stride=[1, 2])
    build.conv_transpose(outputs, (2, 2), groups=outputs, widths=each, stride=[2, 1], padding=[[1, 1], [1, 1]])
    assert_same(build.program(), tmp_path, COMPILERS[compiler], optimize)


@pytest.mark.parametrize(
    "compiler", ["gcc", "sanitized", "native", "native_sanitized", "bytes_of_256_bits", "no_vectors"]
)
@pytest.mark.parametrize("channels", [1, 2, 3, 5, 64, 70])
def test_any_number_of_channels_and_places(channels: int, compiler: str, tmp_path: Path):
    """Kernels take several of both at once; what is left is done one by one."""
    width = 9 + channels % 4
    build = Build((3, 5, width))
    build.conv(channels, (1, 1), widths=4)
    build.conv(channels + 1, (2, 1), widths=8)
    build.conv(channels + 1, (2, 1), groups=channels + 1, widths=8, padding=[[1, 0], [0, 0]])
    build.reshape((channels + 1) * 4 * width)
    build.linear(channels, widths=2)
    assert_same(build.program(), tmp_path, COMPILERS[compiler])


@pytest.mark.parametrize("compiler", ["native", "native_sanitized", "bytes_of_256_bits"])
@pytest.mark.parametrize("places", [2, 5])
def test_groups_with_fewer_channels_than_a_vector_has_lanes(places: int, compiler: str, tmp_path: Path):
    """No compiler warns of a whole vector that would be stored at the end of the arena."""
    build = Build((8, places))
    build.conv(8, (3,), groups=4, widths=8, padding=[[1, 1]])
    assert_same(build.program(), tmp_path, COMPILERS[compiler])


@pytest.mark.parametrize("compiler", ["gcc", "native_sanitized"])
def test_tokens_moves_and_sums(compiler: str, tmp_path: Path):
    build = Build((6, 4, 5))
    maps = build.conv(6, (1, 1))
    build.take([], [3, 0, 1], [0, 2, 4])
    build.permute(1, 2, 0)
    build.reshape(9, 6)  # tokens
    first = build.linear(4, widths=(2, 4, 8, 4))
    build.normalize(1, centred=False)
    build.add(first, build.last)
    build.softmax(0)
    build.reshape(3, 3, 4)
    build.permute(2, 0, 1)
    tokens = build.last
    build.last = maps
    build.take([0, 1, 5, 5], [0, 1, 2], [4, 3, 1])
    build.mul(tokens, build.last)
    build.concat(1, build.last, tokens)
    build.lookup()
    assert_same(build.program(), tmp_path, COMPILERS[compiler])


@pytest.mark.parametrize("compiler", ["gcc", "native_sanitized"])
def test_sums_may_have_31_bits(compiler: str, tmp_path: Path):
    build = Build((1000,), bits=8, zero_point=0)
    build.linear(3)
    program = build.program()
    weight = program.constants["linear0.weight"]
    weight[:] = 127  # 1000 products of 255 by 127
    program.constants["linear0.multiplier"][:] = 32767
    program.constants["linear0.shift"][:] = [25, 17, 40]
    program.constants["linear0.bias"][:] = [2**31 - 1 - 1000 * 255 * 127, -(2**31 - 1) + 1000 * 255 * 127, 0]
    assert_same(program, tmp_path, COMPILERS[compiler])


@pytest.mark.parametrize("compiler", ["gcc", "native_sanitized"])
@pytest.mark.parametrize("shift", [1, 16, 17, 30, 47, 62])
def test_any_shift(shift: int, compiler: str, tmp_path: Path):
    build = Build((4, 5, 5))
    build.conv(6, (3, 3), widths=(2, 2, 4, 4, 8, 8))
    build.conv(6, (3, 3), groups=6)
    build.pool("avg_pool", (1, 1))
    program = build.program()
    for name in program.constants:
        if name.endswith("shift"):
            program.constants[name][:] = shift
    assert_same(program, tmp_path, COMPILERS[compiler])


@pytest.mark.parametrize("optimize", [SPEED, SIZE])
@pytest.mark.parametrize("shift", [1, 16, 17, 26, 40, 62])
def test_products_of_codes_with_any_shift(shift: int, optimize: str, tmp_path: Path):
    assert_same(of_products(shift), tmp_path, optimize=optimize)


def test_products_of_codes_end_in_32_bits():
    """Where these hold a product times its multiplier, but not what rounds it as well."""
    text = generated(of_products(shift=26)).files["network.c"]
    assert "SATURATED(scaled((x0" in text and "int64_t" not in text.partition("static void mul")[2]


def of_products(shift: int) -> Program:
    build = Build((4, 5, 5), zero_point=0)
    build.mul("x", "x")
    program = build.program()
    program.constants["mul0.multiplier"][:], program.constants["mul0.shift"][:] = 32767, shift
    return program


def test_several_inputs_and_outputs(tmp_path: Path):
    first = residual_network()
    x = first.tensors["x"]
    build = Build(x.shape)
    build.tensors["second"] = x
    total = build.add("x", "second")
    convolved = build.conv(3, (1, 1))
    program = Program(
        ("x", "second"), (convolved, total, convolved), build.tensors, tuple(build.nodes), build.constants, {}
    )
    assert_same(program, tmp_path)


def test_equal_layers_share_their_functions_and_constants():
    build = Build((4, 6, 6))
    for _ in range(3):
        build.conv(4, (3, 3), padding=[[1, 1], [1, 1]])
    text = generated(build.program()).files["network.c"]
    assert len(re.findall(r"static void conv\w*\(", text)) == len(re.findall(r"void products_8\w*\(", text)) == 1


def test_small_code_shares_functions_across_shapes():
    build = Build((4, 6, 6))
    for channels in (8, 12, 4):
        build.conv(channels, (3, 3), padding=[[1, 1], [1, 1]])
        build.conv(channels, (3, 3), groups=channels, padding=[[1, 1], [1, 1]])
    small, fast = (generated(build.program(), small).files["network.c"] for small in (True, False))
    assert len(re.findall(r"static void (conv|depthwise)\w*\(", small)) == 2
    assert len(re.findall(r"static void (conv|depthwise)\w*\(", fast)) == 6


def test_the_network_has_neither_floats_nor_allocations_and_its_constants_are_integers():
    files = generated(attention_network()).files
    run = files["network.c"].partition("void network_read(")[0]
    assert not re.search(r"\b(float|double|malloc|calloc|free)\b", run)
    assert set(re.findall(r"#include <(.*)>", files["network.c"])) == {
        *("stddef.h", "stdint.h"),
        *("arm_acle.h", "immintrin.h"),  # where a processor has more than C says
    }
    values = re.findall(r"= \{\n(.*?)\n\};", files["weights.c"], re.DOTALL)
    assert values and all(re.fullmatch(r"[\s\d,-]+", each) for each in values)


def test_values_outside_of_the_grid_take_its_ends(tmp_path: Path):
    program = residual_network()
    file = backend("c").write(program, tmp_path)
    shape = (1, *program.tensors["x"].shape)
    largest = np.finfo(np.float32).max
    x = np.concatenate([np.full(shape, value, np.float32) for value in (-largest, -1e4, 0, 1e4, largest)])
    (way,) = backend("c").opened(file).values()
    assert agreement("C", way.codes(x), Executor(program)(x, intermediate=True)).mismatches == 0


@pytest.mark.parametrize("name", ["*/ evil", "*\\\n/ evil", "*??/\n/ evil", "a /* b", 'ü"\\x', "0", "int"])
def test_names_of_a_file_from_elsewhere_are_no_code(name: str, tmp_path: Path):
    """A comment ends in none of them, not by spliced lines or trigraphs either; classes are strings to the letter."""
    build = Build((2, 3, 3))
    build.conv(3, (1, 1))
    build.pool("avg_pool", (3, 3))
    build.reshape(3)
    program = build.program()
    node, info = program.nodes[0], program.tensors["conv0"]
    tensors = {other: each for other, each in program.tensors.items() if other != "conv0"} | {name: info}
    nodes = (replace(node, name=name, outputs=(name,)), replace(program.nodes[1], inputs=(name,)), program.nodes[2])
    program = replace(program, tensors=tensors, nodes=nodes, classes=(name, f"{name}1", "??/"))
    assert_same(program, tmp_path)
    (tmp_path / "main.c").write_text(
        '#include <stdio.h>\n#include "network.h"\n'
        'int main(void) { const char *c[] = {NETWORK_CLASSES}; return printf("%s|%s|%s", c[0], c[1], c[2]) < 0; }\n'
    )
    made = str(tmp_path / "main")
    subprocess.run(["gcc", "-std=c99", "-o", made, str(tmp_path / "main.c")], check=True)
    assert subprocess.run([made], capture_output=True).stdout.decode() == "|".join(program.classes)


@pytest.mark.parametrize("optimize", [SPEED, SIZE])
@pytest.mark.parametrize("name", ["in", "out", "arena", "for", "steps", "rounding", "uint8_t"])
def test_a_stored_constant_may_have_any_name(name: str, optimize: str, tmp_path: Path):
    """Also that of a parameter, a keyword, a type, a helper, or what the file declares itself."""
    program = attention_network()
    old = next(node for node in program.nodes if node.operator.stored)
    renamed = {old.name: name}
    nodes = tuple(
        replace(
            node,
            name=renamed.get(node.name, node.name),
            inputs=tuple(renamed.get(each, each) for each in node.inputs),
            outputs=tuple(renamed.get(each, each) for each in node.outputs),
        )
        for node in program.nodes
    )
    tensors = {renamed.get(each, each): info for each, info in program.tensors.items()}
    assert_same(replace(program, nodes=nodes, tensors=tensors), tmp_path, optimize=optimize)


def test_programs_of_cpp_link_it(tmp_path: Path):
    if shutil.which("g++") is None:
        pytest.skip("there is no g++ here")
    backend("c").write(residual_network(), tmp_path)
    call = "network_run(in, out);"
    (tmp_path / "main.cpp").write_text(
        f'#include "network.h"\nint main() {{ uint8_t in[NETWORK_IN_SIZE] = {{0}}, out[NETWORK_OUT_SIZE]; {call} }}\n'
    )
    objects = [str(tmp_path / f"{name}.o") for name in ("network", "weights")]
    for made in objects:
        subprocess.run(["gcc", "-std=c99", "-c", made.replace(".o", ".c"), "-o", made], check=True)
    made = str(tmp_path / "main")
    subprocess.run(["g++", str(tmp_path / "main.cpp"), *objects, "-o", made], check=True)
    assert subprocess.run([made]).returncode == 0
