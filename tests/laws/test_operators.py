"""What every operator must have, and that its name is compared nowhere: its specification says what it is."""

import ast
from pathlib import Path

import pytest

from search.deploy.c.operators import WRITERS as C_WRITERS
from search.deploy.onnx.writers import WRITERS
from search.integer.operators import OPERATORS, UnknownOperator, operator
from search.integer.prepared import KERNELS
from search.integer.traits import Border, Work
from spaces.blocks import BLOCKS
from spaces.searchable import searchable
from tests.laws.random_networks import random_network
from tests.search.integer import reference

ROOT = Path(__file__).parents[2]
IN_PROGRAMS = [name for name, each in OPERATORS.items() if not each.picks]


def test_blocks_kernels_and_writers_are_those_of_the_operators():
    assert set(BLOCKS) == set(OPERATORS)
    inside = {name for name in IN_PROGRAMS if OPERATORS[name].loops is None}  # of the others a loop takes care
    assert set(KERNELS) == set(reference.RULES) == set(WRITERS) == inside
    assert set(C_WRITERS) == {name for name in IN_PROGRAMS if not OPERATORS[name].stored}


@pytest.mark.parametrize("name", OPERATORS)
def test_traits_go_together(name):
    each = OPERATORS[name]
    assert each.weighted == (each.work is Work.PRODUCTS)
    assert not (each.keeps_codes and (each.requantizes or each.fuses_activation or each.weighted))
    assert each.requantizes == each.fuses_activation  # an activation joins where sums are requantized
    assert not each.aliases or each.keeps_codes
    assert (each.work is Work.NOTHING) == (each.aliases or each.picks or each.stored)
    ways = (each.keeps_codes, each.requantizes, each.looks_up, each.exponentiates, each.stored, each.picks)
    assert sum(ways) == 1  # how its codes come about
    assert (each.arity == 0) == (each.stored or each.loops is Border.CARRY)


def test_an_unknown_operator_is_named():
    with pytest.raises(UnknownOperator, match="operator 'lstm' is unknown; there are conv, conv_transpose, linear"):
        operator("lstm")


@pytest.mark.filterwarnings("ignore:Using padding='same':UserWarning")
def test_random_networks_hold_every_operator():
    found, seed = set[str](), 0
    while found != set(OPERATORS) and seed < 100:
        found |= {block.op for block in searchable(*random_network(seed)).spec.blocks}
        seed += 1
    assert found == set(OPERATORS)


def compared_names(path: Path) -> set[str]:
    """Names of operators that a file compares something with, or looks for something among."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Compare):
            parts = [part for operand in (node.left, *node.comparators) for part in ast.walk(operand)]
            names |= {p.value for p in parts if isinstance(p, ast.Constant) and isinstance(p.value, str)}
    return names & set(OPERATORS) - {"table"}  # which is the name of a constant as well


def test_no_operator_is_told_from_others_by_its_name():
    rules = ROOT / "spaces" / "graph" / "rules"  # where a call becomes an operator
    files = [p for package in ("cost_models", "spaces", "search") for p in (ROOT / package).rglob("*.py")]
    found = {str(path.relative_to(ROOT)): compared_names(path) for path in files if rules not in path.parents}
    assert len(found) > 100 and not {path: names for path, names in found.items() if names}


def test_a_comparison_is_found(tmp_path):
    (tmp_path / "some.py").write_text("if layer.op in ('conv', 'x') or 'add' == kind or f('mul'): pass")
    assert compared_names(tmp_path / "some.py") == {"conv", "add"}
