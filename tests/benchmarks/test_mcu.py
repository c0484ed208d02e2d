"""What benchmarks.mcu makes of what it measured: tables, comparisons, and what it refuses. Nothing is emulated."""

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from benchmarks import mcu
from benchmarks.mcu import by_layer, compared, options_for, tables_of
from benchmarks.mcu_layers import LAYERS
from benchmarks.mcu_networks import NETWORKS
from benchmarks.mcu_tables import CODE, CYCLES, STACK, Code, code_of, fitted, with_kinds, written
from cost_models.kernels import SPECIAL
from search.deploy.backends import SIZE, SPEED
from search.deploy.backends import Options as Written
from search.deploy.cortex_m.image import Image
from search.errors import UsageError
from tests.cost_models.networks import layer, scalar, vector

CHIP = Path("conf/target/chip.yaml")
TABLES = "".join(f"{name}:\n" for name in (*CYCLES, *CODE)) + f"{STACK}: 0\n"
LINEAR, ADD = (next(case for case in LAYERS if case.name == name) for name in ("linear", "add"))


def linear(inputs, outputs):
    channels = {"out_channels": scalar(outputs), "out_per_width": vector(outputs)}
    return layer("l", "linear", "x", "y", in_channels=scalar(inputs), **channels)


def ran(case, *uses, bits=8):
    """As much of what was measured as is compared: layers, and the instructions of each."""
    return SimpleNamespace(case=case, bits=bits, uses=uses, instructions=sum(count for _, count in uses))


def of_linear_layers():
    """Three that take two instructions a product, and eight an output."""
    return [ran(LINEAR, (linear(n, m), 2 * n * m + 8 * m)) for n, m in ((16, 8), (64, 10), (40, 6))]


def test_tables_that_fit_say_so_and_are_tried_on_networks():
    network = ran(NETWORKS[0], (linear(20, 8), 400))
    found = [*of_linear_layers(), network]
    error, line = compared(found, tables_of(found))
    assert error == {"benchmark": "mcu", "fitted_layers": 3, "mean_error": pytest.approx(0, abs=1e-3)}
    assert line["executed"] == 400 and line["predicted"] == pytest.approx(2 * 160 + 8 * 8, abs=2)
    assert line["error"] == pytest.approx(384 / 400 - 1, abs=0.01)


def test_the_error_of_the_fit_is_the_mean_of_its_layers():
    adds = [(layer("a", "add", "x x", "y", out_channels=scalar(16)), count) for count in (160, 640)]
    tables = fitted(adds)  # the geometric mean of 10 and 40 an element
    assert tables.per_element == {"add": 20} and tables.layers == 2
    assert tables.error == pytest.approx((1 + 0.5) / 2)


def test_a_network_whose_layers_were_left_out_names_the_rows_that_lack():
    narrow = layer("n", "linear", "x", "y", weight_bits=(2, 4, 8), out_per_width=vector(0, 1, 2))
    add = layer("a", "add", "x x", "y")
    pairs = layer("m", "matmul", "x x", "y", kernel=(3,))
    network = ran(NETWORKS[0], (add, 10), (narrow, 10), (pairs, 10), (layer("r", "reshape", "x", "y"), 0))
    (line,) = compared([network], tables_of([network]))
    assert line["executed"] == 30 and line["not_fitted"] == ["add", "linear/a8w4", "linear/a8w8", "matmul"]
    assert "predicted" not in line


def test_what_has_windows_takes_so_much_an_element_of_them_and_so_much_an_output():
    def product(depth, outputs):
        return layer("m", "matmul", "x x", "y", kernel=(depth,), out_channels=scalar(outputs))

    tables = fitted([(product(k, n), 5 * k * n + 20 * n) for k, n in ((4, 8), (16, 8), (40, 6))])
    assert tables.per_element == {"matmul": 5} and tables.overheads["matmul/output"] == 20
    assert tables.predicted(product(10, 3)) == pytest.approx(5 * 30 + 20 * 3)


def test_each_operator_has_a_row_of_its_own():
    """Also where a target may price one as another."""
    each = [(layer("c", "concat", "x x", "y", out_channels=scalar(8)), 80)]
    each += [(layer("t", "take", "x", "y", out_channels=scalar(8)), count) for count in (8, 32)]
    assert fitted(each).per_element == {"concat": 10, "take": 2}


def test_sums_of_wide_codes_and_tables_behind_sums_take_more():
    def add(elements, **changes):
        return layer("a", "add", "x x", "y", out_channels=scalar(elements), **changes)

    wide, table = {"in_bits": (16,), "in_share": vector(1)}, {"table_entries": 256}
    found = [(add(8), 80), (add(16), 160), (add(8, **wide), 200), (add(8, **table), 96), (add(4, **wide, **table), 108)]
    tables = fitted(found)
    assert tables.per_element == {"add": 10} and tables.error == pytest.approx(0, abs=1e-4)
    assert {name: rate for name, rate in tables.overheads.items() if rate} == {"add/wide": 15, "add/activated": 2}


def test_what_runs_in_a_loop_is_counted_as_often_as_it_runs():
    """Of three places the last is traced: 5 of one layer and 7 of another. The first has the rest: 50 - 3 * (5 + 7)."""
    names = ("step", "a", "b")
    uses = [layer(name, "table", "x", name, loop="l", times=1 if name == "b" else 3) for name in names]
    uses += [layer("after", "table", "x", "after")]
    each = {"x": 2, "step": 50 - 5 - 7, "a": 5, "b": 7, "after": 9}
    assert by_layer(uses, each) == {"x": 2, "step": 50 - 3 * (5 + 7), "a": 15, "b": 21, "after": 9}


def test_layers_alone_are_compared_with_their_fit():
    (line,) = compared(of_linear_layers(), tables_of(of_linear_layers()))
    assert line["fitted_layers"] == 3


@pytest.mark.parametrize("said", [SPEED, SIZE])
@pytest.mark.parametrize("core", ["cortex_m4", "cortex_m33"])
def test_c_is_written_for_what_the_target_says(core, said):
    text = f"core: {core}\noptimize: {said}\n{TABLES}"
    for given in ((None, None), (core, None), (None, said), (core, said)):
        assert options_for(CHIP, text, *given, "") == Written(core, said)
    assert options_for(CHIP, f"core: {core}\n{TABLES}", None, None, "") == Written(core, SPEED)
    assert options_for(None, "", core, said, "conv") == Written(core, said)
    assert options_for(None, "", None, None, "") == Written()


@pytest.mark.parametrize(
    "text, core, asked, key, given, said",
    [
        ("core: cortex_m4\noptimize: size\n", None, SPEED, "optimize", SPEED, SIZE),
        ("core: cortex_m4\n", None, SIZE, "optimize", SIZE, SPEED),
        ("core: cortex_m4\n", "cortex_m7", None, "core", "cortex_m7", "cortex_m4"),
        ("core: 'cortex_m33'\n", "cortex_m4", None, "core", "cortex_m4", "cortex_m33"),
    ],
)
def test_what_contradicts_the_target_is_refused(text, core, asked, key, given, said):
    error = (
        rf"--{key} {given} found with --table conf.target.chip.yaml, which has `{key}: {said}`; '{said}' is allowed "
        rf"there\. Leave --{key} out, or give the file of a target with `{key}: {given}`"
    )
    with pytest.raises(UsageError, match=error):
        options_for(CHIP, text + TABLES, core, asked, "")


@pytest.mark.parametrize("text", ["name: mpic\n", "core: ''\n", "core: avr\n"])
def test_a_target_without_an_emulated_core_is_refused(text):
    with pytest.raises(UsageError, match=r"chip\.yaml has `core: \w*`; cortex_m3, .* are allowed there"):
        options_for(CHIP, text + TABLES, None, None, "")


def test_a_file_without_a_place_for_a_table_is_refused():
    text = "core: cortex_m4\ncycles_per_mac:\ncycles_per_element:\n"
    with pytest.raises(UsageError, match=r"chip\.yaml has no overhead_cycles; .*Add what is missing"):
        options_for(CHIP, text, None, None, "")
    with pytest.raises(UsageError, match="has no overhead_cycles, code_bytes, step_bytes, stack_bytes;"):
        options_for(CHIP, f"{text}optimize: size\n", None, None, "")


def test_a_file_that_is_not_there_is_refused(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["mcu", "--table", "no/chip.yaml"])
    with pytest.raises(SystemExit):
        mcu.main()
    assert "chip.yaml: cannot be read" in capsys.readouterr().err


def test_a_part_of_the_layers_cannot_write_the_tables(tmp_path, monkeypatch, capsys):
    file = tmp_path / "chip.yaml"
    file.write_text("name: chip\n")
    monkeypatch.setattr(sys, "argv", ["mcu", "--only", "conv", "--table", str(file)])
    with pytest.raises(SystemExit):
        mcu.main()
    assert "--only 'conv' found with --table" in capsys.readouterr().err
    assert file.read_text() == "name: chip\n"


def test_rows_of_a_kind_are_written_behind_others_which_stay():
    grouped = {"in_channels": scalar(8), "out_channels": scalar(4), "out_per_width": vector(4), "groups": 2}
    uses = [
        (layer("g", "conv", "x", "y", kernel=(3,), out_size=(size,), in_size=(size,), **grouped), 480 * size)
        for size in (4, 16)
    ]
    tables = fitted(uses)
    assert set(tables.per_mac) == {"grouped/a8w8"} and tables.error == pytest.approx(0, abs=1e-3)
    text = "cycles_per_mac:\n  conv/a8w8: 1.50\n  grouped/a8w8: 9\noverhead_cycles:\n  conv/output: 13.10\nend: 1\n"
    found = with_kinds(text, tables, SPECIAL)
    rows = "".join(f"  {key}: {value:g}\n" for key, value in tables.overheads.items())
    assert found.replace(f"  grouped/a8w8: {tables.per_mac['grouped/a8w8']:g}\n", "").replace(rows, "") == text.replace(
        "  grouped/a8w8: 9\n", ""
    )
    assert found.index("conv/a8w8") < found.index("grouped/a8w8") < found.index("overhead_cycles")
    assert with_kinds(found, tables, SPECIAL) == found
    assert with_kinds(text, tables, ["transposed"]) == text


def image(**sizes):
    """With functions of these sizes, an array of numbers and a table of vectors."""
    arrays = {"pointers": 8, "l_numbers": 6, "vectors": 64}
    return Image(sum(sizes.values()) + 500, 0, 0, 0, 0, 100, sizes, arrays)


def grouped(op="conv", **changes):
    counts = vector(4).detach()
    channels = {"in_channels": scalar(8), "out_channels": scalar(4), "out_per_width": counts, "groups": 2}
    return layer("l", op, "x", "y", kernel=(3,), out_size=(4,), in_size=(4,), **channels, **changes)


def test_bytes_of_a_kind_are_written_with_its_rows():
    """Its own functions anew and the others as they were: kernels are those of all layers."""
    own = image(conv_1d_grouped=478, products_8=999)
    code = code_of([([grouped()], own)], [])
    assert code == Code({"conv_1d_grouped": 480, "products_8": 1000}, {"conv_1d_grouped": 12 + 8 + 8}, 100)
    text = "code_bytes:\n  base: 1\n  conv_1d_grouped: 9\n  products_8: 7\nstep_bytes:\n  rows: 3\nstack_bytes: 5\n"
    found = with_kinds(text, fitted([]), SPECIAL, code)
    assert found == (
        "code_bytes:\n  base: 1\n  products_8: 7\n  conv_1d_grouped: 480\n"
        "step_bytes:\n  rows: 3\n  conv_1d_grouped: 28\nstack_bytes: 5\n"
    )
    assert with_kinds(found, fitted([]), SPECIAL, code) == found


def test_what_every_image_has_is_read_off_networks():
    """Not off layers, which need fewer helpers: 500 bytes with 14 of arrays, in whole words, beside the functions."""
    uses = [grouped(), layer("a", "add", "y y", "z")]
    whole = image(conv_1d_grouped=480, products_8=1000, add=100)
    code = code_of([(uses, image(conv_1d_grouped=480, products_8=1000, add=300))], [(uses, whole)])
    assert code.functions["base"] == 500 - 16 and code.functions["add"] == 300
    text = "code_bytes:\n  old: 3\nstep_bytes:\nstack_bytes: 5\n"
    assert f"code_bytes:\n  base: {500 - 16}\n" in (new := written(text, fitted([]), code))
    assert "old" not in new and "stack_bytes: 100\n" in new


def test_each_kind_has_layers_that_it_is_fitted_to():
    assert {case.kind for case in LAYERS} == {"", *SPECIAL}
    assert all(len([case for case in LAYERS if case.kind == kind]) >= 10 for kind in SPECIAL)
