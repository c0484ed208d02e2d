"""The site tells the truth: pages, links, files and names that it states exist, and messages are those of the code."""

import ast
import importlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import nn

from search.config import composed
from search.health import warnings
from search.strategies import SETTINGS as STRATEGIES
from spaces.graph.errors import UnsupportedNetwork
from spaces.searchable import searchable
from tests.folders import ROOT, blocks

DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
SECTION = "--8<-- [{}:{}]"
CODE = [path for package in ("cost_models", "spaces", "search") for path in sorted((ROOT / package).rglob("*.py"))]
ERRORS, UNSUPPORTED = ((DOCS / f"{name}.md").read_text() for name in ("errors", "unsupported"))


def of_pages(pattern: str) -> list[tuple[Path, str]]:
    return [(page, found) for page in PAGES for found in re.findall(pattern, page.read_text(), re.MULTILINE)]


def in_navigation(entry: object) -> Iterator[str]:
    if isinstance(entry, str):
        yield entry
    for child in entry.values() if isinstance(entry, dict) else entry if isinstance(entry, list) else ():
        yield from in_navigation(child)


def anchors(page: Path) -> set[str]:
    text = page.read_text()
    return {*re.findall(r'<a id="([^"]+)">', text), *(_slug(title) for title in re.findall(r"^#+ (.*)$", text, re.M))}


def _slug(title: str) -> str:
    return re.sub(r"[^\w]+", "-", re.sub(r"[`.,']", "", title.lower())).strip("-")


def test_every_page_is_in_the_navigation_and_no_other():
    listed = [*in_navigation(yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"])]
    assert sorted(listed) == sorted(str(page.relative_to(DOCS)) for page in PAGES)


@pytest.mark.parametrize("page", [*PAGES, *ROOT.glob("*.md")], ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    for link in re.findall(r"\]\(([^)\s]+)\)|^\[\w+\]: (\S+)", page.read_text(), re.MULTILINE):
        target, _, anchor = "".join(link).partition("#")
        if target.startswith("https://"):
            continue
        place = page.parent / target if target else page
        assert place.exists(), link
        assert not anchor or anchor in anchors(place), link


def test_files_and_sections_that_are_shown_exist():
    shown = of_pages(r'^ *--8<-- "([^"]+)"$')
    assert len(shown) > 20
    for page, name in shown:
        path, _, section = name.partition(":")
        text = (ROOT / path).read_text()
        ends = [SECTION.format(which, section) for which in ("start", "end") if section]
        assert all(text.count(end) == 1 for end in ends), (page, name)


def test_every_section_that_is_marked_is_shown():
    shown = {name for _, name in of_pages(r'^ *--8<-- "([^"]+)"$')}
    marked = {
        f"{path.relative_to(ROOT)}:{section}"
        for path in (ROOT / "README.md", *(ROOT / "examples").rglob("*.py"))
        for section in re.findall(r"--8<-- \[start:(\w+)\]", path.read_text())
    }
    assert marked <= shown


def test_what_the_reference_describes_exists_and_has_a_docstring():
    named = of_pages(r"^::: ([\w.]+)$")
    assert len(named) > 40
    for _, name in named:
        module, _, attribute = name.rpartition(".")
        assert getattr(importlib.import_module(module), attribute).__doc__, name


@pytest.mark.parametrize(
    "command", [line for page in PAGES for block in blocks(page.read_text(), "bash") for line in block.splitlines()]
)
def test_a_command_composes(command):
    words = command.split()
    if words[0] == "picojoule" and words[1].startswith("+"):
        composed(words[1:])


def messages() -> list[str]:
    """All strings of the code, with "…" for what is filled in."""
    found = []
    for path in CODE:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.JoinedStr):
                parts = (part.value if isinstance(part, ast.Constant) else "…" for part in node.values)
                found.append("".join(map(str, parts)))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(node.value)
    return found


def holds(message: str, written: str) -> bool:
    """Whether a string of the code makes this message. "…" of the page may stand for several things and words."""
    parts = [re.escape(part) for part in message.split("…")]
    return re.search(".*".join(parts), written.replace("\n", " "), re.DOTALL) is not None


MESSAGES = [block.strip() for block in blocks(ERRORS, "text")]


def test_messages_are_those_of_the_code():
    written = messages()
    assert len(MESSAGES) > 25 and len(written) > 1000
    assert not [message for message in MESSAGES if not any(holds(message, each) for each in written)]


def test_each_message_has_its_own_words():
    assert len(set(MESSAGES)) == len(MESSAGES) == len(re.findall(r"^### ", ERRORS, re.MULTILINE))


def table(section: str) -> set[str]:
    """What stands in backticks at the start of the rows of a marked table of README, which a page shows."""
    text = (ROOT / "README.md").read_text()
    rows = text[text.index(f"[start:{section}]") : text.index(f"[end:{section}]")]
    return set(re.findall(r"^\| `(\w+)` \|", rows, re.MULTILINE))


def test_errors_that_are_explained_are_classes_of_the_code():
    classes = [
        node.name for path in CODE for node in ast.parse(path.read_text()).body if isinstance(node, ast.ClassDef)
    ]
    assert len(table("errors")) > 10 and table("errors") <= set(classes)


def test_all_warnings_of_a_run_are_explained():
    tree = ast.parse(Path(warnings.__file__).read_text())
    made = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and ast.unparse(node.func) == "RunWarning"]
    names = {node.args[0].value for node in made if isinstance(node.args[0], ast.Constant)}
    assert len(names) == len(warnings.CHECKS)
    assert table("warnings") == names


KEYS = sorted({key for _, key in of_pages(r"`((?:data|space|train|strategy|task|limits|budgets)\.[a-z_.]+)[=:`]")})


def test_settings_that_pages_name_exist():
    choices = [[f"strategy={name}"] for name in STRATEGIES]
    choices += [["data=image_folder", "data.folder=x"], ["data=npz", "data.file=x"]]
    known = [
        composed([*choice, "budgets.flash_bytes=1", "budgets.peak_ram_bytes=1"]).plain_values for choice in choices
    ]
    assert len(KEYS) > 20
    assert not [key for key in KEYS if not any(_has(values, key.split(".")) for values in known)]


def _has(values: Any, path: list[str]) -> bool:
    return not path or (isinstance(values, dict) and path[0] in values and _has(values[path[0]], path[1:]))


class Recurrent(nn.Module):
    """A recurrent layer in both directions over the rows of maps of 8 x 8."""

    def __init__(self, kind: type[nn.RNNBase]) -> None:
        super().__init__()
        self.layer = kind(64, 16, batch_first=True, bidirectional=True)

    def forward(self, x):
        return self.layer(x.flatten(2))[0].unsqueeze(-1)


LAYERS = {
    **{kind.__name__: Recurrent(kind) for kind in (nn.LSTM, nn.GRU, nn.RNN)},
    "Unfold": nn.Sequential(nn.Unfold(3), nn.Unflatten(1, (8, 9))),
}


@pytest.mark.parametrize("name", LAYERS)
def test_what_is_said_to_be_unsupported_is_refused(name):
    parts = UNSUPPORTED[UNSUPPORTED.index("## Parts") : UNSUPPORTED.index("## Tasks")]
    assert f"`{name}`" in " ".join(re.findall(r"^\| (.*?) \|", parts, re.MULTILINE))
    head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3))
    with pytest.raises(UnsupportedNetwork):
        searchable(nn.Sequential(nn.Conv2d(1, 8, 3), LAYERS[name], head), torch.randn(2, 1, 10, 10))
