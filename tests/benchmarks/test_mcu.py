"""What benchmarks.mcu makes of what it measured: tables, comparisons, and what it refuses. Nothing is emulated."""

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from benchmarks import mcu
from benchmarks.mcu import compared, options_for, tables_of
from benchmarks.mcu_layers import LAYERS, NETWORKS
from benchmarks.mcu_tables import CODE, CYCLES, STACK, fitted, with_kinds
from cost_models.kernels import SPECIAL
from search.deploy.backends import SIZE, SPEED
from search.deploy.backends import Options as Written
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
    assert line["executed"] == 30 and line["not_fitted"] == ["add", "linear/a8w4", "linear/a8w8"]
    assert "predicted" not in line


def test_products_of_codes_are_predicted_by_the_row_of_linear_layers():
    tables = tables_of(of_linear_layers())
    pairs = layer("m", "matmul", "x x", "y", kernel=(5,), out_channels=scalar(3), out_size=(2, 2))
    assert not tables.missing(pairs)
    assert tables.predicted(pairs) == pytest.approx(2 * 3 * 4 * 5, rel=0.01)


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


def test_each_kind_has_layers_that_it_is_fitted_to():
    assert {case.kind for case in LAYERS} == {"", *SPECIAL}
    assert all(len([case for case in LAYERS if case.kind == kind]) >= 10 for kind in SPECIAL)
