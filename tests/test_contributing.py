"""CONTRIBUTING names every room and folder, in the order in which they import, and no place that does not exist."""

import re
from pathlib import Path

from tests.test_layering import ROOMS

ROOT = Path(__file__).parents[1]
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text()


def first_cells(header: str) -> list[str]:
    """What stands in backticks in the first cells of the table with this header."""
    table = CONTRIBUTING[CONTRIBUTING.index(header) :].split("\n\n")[0]
    return re.findall(r"^\| `([^`]+)`", table, re.MULTILINE)


def folders(package: str) -> set[str]:
    return {f"{path.relative_to(ROOT)}/" for path in (ROOT / package).iterdir() if (path / "__init__.py").exists()}


def test_the_rooms_stand_in_the_order_of_their_imports():
    listed = first_cells("| room | holds |")
    assert [Path(name).stem for name in listed] == list(ROOMS)
    assert folders("search") <= set(listed)


def test_every_folder_of_spaces_is_described():
    assert set(first_cells("| folder | holds |\n")) == folders("spaces")


def test_every_place_that_is_named_exists():
    named = re.findall(r"`((?:cost_models|spaces|search|conf|tests|benchmarks|docs)/[\w/.]*)`", CONTRIBUTING)
    assert len(named) > 40
    assert not [name for name in named if not (ROOT / name).exists()]
