"""The file in headless Chromium, from disk: by keyboard, by mouse, on a phone, without a word in the console."""

import json

import pytest

from search.report import write_report
from tests.search.report.browser import browser, executable
from tests.search.run_folders import WARNING

pytestmark = pytest.mark.skipif(executable() is None, reason="no Chromium on this machine")

ACCURACIES = {("gradient", 500.0): 0.8, ("gradient", 900.0): 0.9, ("tpe", 500.0): 0.7, ("tpe", 900.0): 0.75}
CHECKED = "document.querySelector('#front .point[aria-checked=true]').getAttribute('aria-label')"
FOCUSED = "document.activeElement.getAttribute('aria-label')"
NETWORK = "document.querySelector('#network .which').textContent"
LAYERS = "document.querySelector('#network .layers').textContent"


@pytest.fixture
def shown(tmp_path):
    """A page, and (folders) -> their report is open in it."""
    with browser(tmp_path / "profile") as page:

        def show(runs):
            write_report(runs, tmp_path / "report.html")
            page.size(1200, 900)
            page.open(tmp_path / "report.html")
            return page

        yield show


@pytest.fixture
def opened(copied, shown):
    runs = [copied(name, seed, limit, a - seed / 100) for (name, limit), a in ACCURACIES.items() for seed in (0, 1)]
    page = shown(runs)
    page.wait("document.querySelectorAll('#front .point').length == 8")
    return page


def test_points_are_selected_by_keyboard_and_by_mouse(opened):
    assert "gradient · seed 0" in opened.run(NETWORK) and "900 B" in opened.run(NETWORK)
    first_layers = opened.run(LAYERS)
    for _ in range(20):
        opened.press("Tab")
        if opened.run("document.activeElement.matches('#front .point')"):
            break
    assert opened.run(FOCUSED) == opened.run(CHECKED)  # of all points the selected one takes the Tab key
    assert "gradient · seed 0" in opened.run("document.querySelector('#tip:not([hidden])').textContent")
    opened.press("Home")
    opened.press("ArrowRight")
    focused = opened.run(FOCUSED)
    assert focused != opened.run(CHECKED)
    opened.press("Enter")
    assert opened.run(CHECKED) == focused and "500 B" in focused
    assert opened.run(NETWORK).startswith(focused.split(":")[0])
    assert opened.run(LAYERS) != first_layers
    assert opened.run("document.querySelector('#budgets .chosen button').getAttribute('aria-pressed')") == "true"

    opened.click('#front .point[aria-label^="tpe · seed 1"][aria-label*="Flash 900"]')
    assert "tpe · seed 1" in opened.run(NETWORK) and opened.run(LAYERS) == first_layers
    assert "tpe · seed 1" in opened.run("document.querySelector('#which-run').selectedOptions[0].textContent")
    opened.click("#budgets tbody tr:first-child button")
    assert "gradient · seed 0" in opened.run(NETWORK)
    assert not opened.complaints()


def test_the_classes_of_the_selected_network_have_a_table(opened):
    rows = "[...document.querySelectorAll('#network .details tbody tr')].map(row => row.children.length)"
    assert opened.run(rows) == [5] * 4
    assert "Balanced accuracy: val" in opened.run("document.querySelector('#network').textContent")


def test_cost_axis_and_run_can_be_chosen(opened):
    title = "[...document.querySelectorAll('#front .title')].map(t => t.textContent).join()"
    assert "Flash, log scale" in opened.run(title)
    opened.click("#front .choice input[value=macs]")
    opened.wait(f"{title}.includes('Multiply-adds, log scale')")
    assert opened.run("document.querySelectorAll('#front .point[aria-checked=true]').length") == 1
    opened.run("(s => {s.value = 7; s.dispatchEvent(new Event('change'))})(document.querySelector('#which-run'))")
    assert "tpe-900-1" in opened.run("document.querySelector('#repeat').textContent")
    opened.wait("document.querySelectorAll('#curves .curve').length >= 4")
    opened.run("document.querySelector('#curves svg').focus()")
    opened.press("Home")
    assert "epoch 1, warmup" in opened.run("document.querySelector('#tip').textContent")
    assert opened.run("document.querySelectorAll('#decisions canvas').length") == 2
    assert not opened.complaints()


@pytest.mark.parametrize("width, dark", [(375, False), (375, True), (1200, True)])
def test_nothing_is_wider_than_the_window_and_the_theme_is_followed(opened, width, dark):
    opened.size(width, 800, dark)
    opened.wait(f"document.querySelector('#front svg').clientWidth < {width}")
    assert opened.run("document.documentElement.scrollWidth") <= width
    red = opened.run("getComputedStyle(document.documentElement).backgroundColor.match(/\\d+/)[0]")
    assert (int(red) < 64) is dark
    sections = opened.run("[...document.querySelectorAll('section')].filter(s => s.innerText.trim()).length")
    assert sections == 10
    assert not opened.complaints()


def test_warnings_stand_above_all_figures_each_once_and_mark_their_networks(copied, shown):
    other = WARNING | {"name": "budget_unused"}
    folders = [copied("gradient", 0, warnings=[other, WARNING]), copied("tpe", 0, warnings=[WARNING]), copied("gp", 0)]
    page = shown(folders)
    page.wait("document.querySelectorAll('#front .point').length == 3")
    text = page.run("document.querySelector('#warnings').innerText")
    assert text.startswith("2 warnings") and text.index("Budget unused") < text.index("At chance")
    assert text.count("Likely cause") == 2 and "It is <b>caused</b>." in text and "train.x=1." in text
    assert "gradient · seed 0" in text and "tpe · seed 0" in text and "gp · seed 0" not in text
    above = "document.querySelector('#warnings').getBoundingClientRect().bottom"
    assert page.run(f"{above} < document.querySelector('#front').getBoundingClientRect().top")
    marks = page.run("[...document.querySelectorAll('#budgets tbody th')].map(cell => cell.innerText).join('|')")
    assert marks.count("2 warnings") == 1 and marks.count("1 warning") == 1 and "gp, seed 0|" in f"{marks}|"
    page.size(375, 800)
    page.wait("document.querySelector('#front svg').clientWidth < 375")
    assert page.run("document.documentElement.scrollWidth") <= 375
    assert not page.complaints()


def test_without_warnings_there_is_no_word_of_them_and_the_way_of_the_metric_is_shown(opened):
    assert opened.run("document.querySelector('#warnings')") is None
    remarks = opened.run("document.querySelector('#network').innerText")
    assert "On the way, on validation data: float network " in remarks and "Below the float network: val " in remarks


def test_an_unfinished_run_has_its_curves_and_is_called_unfinished(copied, shown):
    folder = copied("gradient", 0)
    for name in ("summary.json", "results.jsonl", "architecture.json", "model.safetensors"):
        (folder / name).unlink()
    page = shown([folder])
    page.wait("document.querySelectorAll('#curves .curve').length >= 4")
    assert "This run is unfinished" in page.run("document.querySelector('#run').textContent")
    assert "No architecture has been measured yet" in page.run("document.querySelector('#front').textContent")
    assert not page.complaints()


def test_points_without_test_data_and_those_not_exported_look_otherwise_and_sensitivity_is_drawn(copied, shown):
    folder = copied("gradient", 0, test=None)
    line = json.loads((folder / "results.jsonl").read_text())
    line["architecture"] |= {"picks": {"conv1/bits": [2] * 8, "conv1/channels": [1] * 7 + [0]}, "hash": None}
    with (folder / "results.jsonl").open("a") as file:
        file.write(json.dumps(line) + "\n")
    rises = {"conv1/bits": {"options": [2, 4, 8], "loss_increase": [[0.5, 0.25, 0.0]] * 8}}
    (folder / "sensitivity.json").write_text(json.dumps({"format": 1, "decisions": rises}))
    page = shown([folder])
    page.wait("document.querySelectorAll('#front .point.hollow').length == 2")
    assert "there is no test data" in page.run("document.querySelector('#front').textContent")
    page.click("#front .point.faint")
    assert "7 of 8" in page.run(LAYERS) and "2:7" in page.run(LAYERS)
    assert page.run("document.querySelectorAll('#sensitivity circle').length") == 2  # 8 bits change nothing
    assert not page.complaints()
