"""What benchmarks.mcu makes of what it measured: tables, comparisons, and what it refuses. Nothing is emulated."""

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from benchmarks import mcu
from benchmarks.mcu import compared, tables_of, written_for
from benchmarks.mcu_layers import LAYERS, NETWORKS
from benchmarks.mcu_tables import fitted, with_kinds
from cost_models.kernels import SPECIAL
from search.deploy.backends import SIZE, SPEED
from search.errors import UsageError
from tests.cost_models.networks import layer, scalar, vector

CHIP = Path("conf/target/chip.yaml")
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
def test_c_is_written_for_what_the_target_says(said):
    text = f"core: cortex_m4\noptimize: {said}\n"
    assert written_for(CHIP, text, None, "") == written_for(CHIP, text, said, "") == said
    assert written_for(CHIP, "core: cortex_m4\n", None, "") == SPEED
    assert written_for(None, "", said, "conv") == said


@pytest.mark.parametrize("text, asked", [("optimize: size\n", SPEED), ("name: chip\n", SIZE)])
def test_another_optimization_than_the_target_s_is_refused(text, asked):
    said = rf"--optimize {asked} found with --table conf.target.chip.yaml, .* is allowed there\. Leave --optimize out"
    with pytest.raises(UsageError, match=said):
        written_for(CHIP, text, asked, "")


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
