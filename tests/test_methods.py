"""docs/methods.md has every section that the code cites, and names only folders and files that exist."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
METHODS = (ROOT / "docs/methods.md").read_text()
SECTIONS = [int(number) for number in re.findall(r"^## (\d+)\. ", METHODS, re.MULTILINE)]
PACKAGES = ("cost_models", "spaces", "search", "conf", "tests", "benchmarks")
CITING = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py") if path != Path(__file__))
CITATION = r"methods\.md,\s+sections?\s+(\d+(?:(?:,| and|, and)\s+\d+)*)"


def cited(text: str) -> list[int]:
    return [int(number) for numbers in re.findall(CITATION, text) for number in re.findall(r"\d+", numbers)]


def test_sections_are_numbered_in_order_and_have_an_anchor_each():
    assert list(range(1, len(SECTIONS) + 1)) == SECTIONS
    assert re.findall(r'^<a id="section-(\d+)"></a>\n## (\d+)\. ', METHODS, re.MULTILINE) == [
        (str(number), str(number)) for number in SECTIONS
    ]


def test_a_citation_is_read_whole():
    assert cited("(docs/methods.md, section 4)") == [4]
    assert cited("docs/methods.md, sections 1, 3 and 16") == [1, 3, 16]
    assert cited("docs/methods.md,\n    section 12: d share") == [12]


def test_every_section_that_is_cited_exists():
    found = {path: cited(path.read_text()) for path in CITING}
    assert sum(map(len, found.values())) >= 6
    assert not {path: numbers for path, numbers in found.items() if set(numbers) - set(SECTIONS)}


def test_every_mention_is_a_citation_of_a_section_by_its_whole_path():
    for path in CITING:
        mentions = re.findall(r"\S*methods\.md\S*", path.read_text())
        assert all(mention.lstrip("(").startswith("docs/methods.md") for mention in mentions), path
        assert len(mentions) == len(re.findall(CITATION, path.read_text())), path


def test_sections_refer_to_sections_that_exist():
    linked = re.findall(r"\[[sS]ections?\s(\d+)\]\(#section-(\d+)\)", METHODS)
    assert linked and all(number == anchor and int(number) in SECTIONS for number, anchor in linked)


@pytest.mark.parametrize("number", SECTIONS)
def test_a_section_names_the_code_that_it_describes(number):
    (section,) = re.findall(rf"^## {number}\. .*?(?=^<a id|\Z)", METHODS, re.MULTILINE | re.DOTALL)
    (places,) = re.findall(r"^Code: (.*?)(?:\.|\. .*)$", section, re.MULTILINE)
    names = re.findall(r"`([\w/.]+)`", places)
    assert names and all((ROOT / name).exists() for name in names), places


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md"])
def test_the_page_is_linked(page):
    assert "(docs/methods.md)" in (ROOT / page).read_text()
