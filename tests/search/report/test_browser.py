"""The file in headless Chromium, from disk: by keyboard, by mouse, on a phone, without a word in the console."""

import json

import pytest

from search.report import write_report
from tests.search.report.browser import browser, executable
from tests.search.run_folders import LIMITS, WARNING, change_json

pytestmark = pytest.mark.skipif(executable() is None, reason="no Chromium on this machine")

ACCURACIES = {("gradient", 500.0): 0.8, ("gradient", 900.0): 0.9, ("tpe", 500.0): 0.7, ("tpe", 900.0): 0.75}
CHECKED = "document.querySelector('#front .point[aria-checked=true]').getAttribute('aria-label')"
FOCUSED = "document.activeElement.getAttribute('aria-label')"
NETWORK = "document.querySelector('#network .which').textContent"
# What ends to the right of the column that the page leaves free of margins.
BEYOND = """(() => {
    const page = document.querySelector('.page');
    const end = page.getBoundingClientRect().right - parseFloat(getComputedStyle(page).paddingRight);
    const wide = [...page.querySelectorAll('*')].filter((each) => {
        const box = each.getBoundingClientRect();
        return box.width > 1 && box.right > end + 0.5;
    });
    return wide.map((each) => `${each.tagName} ${each.textContent.slice(0, 30)}`).join('; ');
})()"""
# Pairs of tables that lie on each other.
OVERLAPPING = """(() => {
    const boxes = [...document.querySelectorAll('table')].map((each) => [each, each.getBoundingClientRect()]);
    const touch = (a, b) => a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;
    return boxes.flatMap(([table, box], i) => boxes.slice(i + 1).filter(([, other]) => touch(box, other))
        .map(([other]) => `${table.caption.innerText} on ${other.caption.innerText}`)).join('; ');
})()"""
# Pairs of things in the first figure that lie on each other: texts with texts, and texts with points.
TOUCHING = """(() => {
    const boxes = (what) => [...document.querySelectorAll(`#front svg ${what}`)].map((each) =>
        [each.textContent || 'point', each.getBoundingClientRect()]);
    const texts = boxes('text').filter(([text]) => text);
    const touch = (a, b) => a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;
    return texts.flatMap(([name, box], i) => [...texts.slice(i + 1), ...boxes('.ring')]
        .filter(([, other]) => touch(box, other)).map(([other]) => `${name} on ${other}`)).join('; ');
})()"""
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

    opened.click('#front .point[aria-label^="tpe · seed 1"][aria-label*="flash 900"]')
    assert "tpe · seed 1" in opened.run(NETWORK) and opened.run(LAYERS) == first_layers
    assert "tpe · seed 1" in opened.run("document.querySelector('#which-run').selectedOptions[0].textContent")
    opened.click("#budgets tbody tr:first-child button")
    assert "gradient · seed 0" in opened.run(NETWORK)
    assert not opened.complaints()


def test_the_classes_of_the_selected_network_have_a_table(opened):
    rows = "[...document.querySelectorAll('#network .details tbody tr')].map(row => row.children.length)"
    assert opened.run(rows) == [5] * 4
    assert "Balanced accuracyval" in opened.run("document.querySelector('#network').textContent")


def test_cost_axis_and_run_can_be_chosen(opened):
    title = "[...document.querySelectorAll('#front .title')].map(t => t.textContent).join()"
    assert "Flash, log scale" in opened.run(title)
    said = opened.run("document.querySelector('#front p').innerText")
    assert "chosen on validation data, so the line of the front may fall where cost rises" in said
    opened.click("#front .choice input[value=macs]")
    opened.wait(f"{title}.includes('Multiply-adds, log scale')")
    assert opened.run("document.querySelectorAll('#front .point[aria-checked=true]').length") == 1
    opened.run("(s => {s.value = 7; s.dispatchEvent(new Event('change'))})(document.querySelector('#which-run'))")
    assert "tpe-900-1" in opened.run("document.querySelector('#repeat').textContent")
    opened.wait("document.querySelectorAll('#curves .curve').length >= 4")
    opened.run("document.querySelector('#curves svg').focus()")
    opened.press("Home")
    assert "epoch 1, warm-up" in opened.run("document.querySelector('#tip').textContent")
    assert opened.run("document.querySelectorAll('#decisions canvas').length") == 2
    assert not opened.complaints()


@pytest.mark.parametrize("width, dark", [(320, False), (360, True), (800, False), (1200, True)])
def test_nothing_is_wider_than_the_window_and_the_theme_is_followed(opened, width, dark):
    opened.size(width, 800, dark)
    opened.wait(f"document.querySelector('#front svg').clientWidth < {width}")
    assert opened.run(BEYOND) == opened.run(OVERLAPPING) == ""
    red = opened.run("getComputedStyle(document.documentElement).backgroundColor.match(/\\d+/)[0]")
    assert (int(red) < 64) is dark
    sections = opened.run("[...document.querySelectorAll('section')].filter(s => s.innerText.trim()).length")
    assert sections == 9
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
    assert marks.count("2 warnings") == 1 and marks.count("1 warning") == 1
    assert "gp · seed 0 · flash 500 B, peak RAM 700 B|" in f"{marks}|"
    page.size(375, 800)
    page.wait("document.querySelector('#front svg').clientWidth < 375")
    assert page.run(BEYOND) == ""
    assert not page.complaints()


def test_without_warnings_there_is_no_word_of_them_and_the_way_of_the_metric_is_shown(opened):
    assert opened.run("document.querySelector('#warnings')") is None
    remarks = opened.run("document.querySelector('#network').innerText")
    assert "On the way, on validation data\nfloat network " in remarks
    assert "Against the float network\nvalidation " in remarks


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
    keys = page.run("document.querySelector('#front .legend').innerText")
    assert "measured on the way" in keys and "no test data" not in keys  # as no point has any, the text says so
    page.click("#front .point.faint")
    assert "7 of 8" in page.run(LAYERS) and "7 at 2 bits" in page.run(LAYERS)
    assert page.run("document.querySelectorAll('#sensitivity circle').length") == 2  # 8 bits change nothing
    assert not page.complaints()


def test_a_single_run_opens_with_the_verdict_and_its_network_and_no_chart_of_one_point(copied, shown):
    folder = copied("gradient", 0)
    found = json.loads((folder / "summary.json").read_text())["costs"]["flash_bytes"]["found"]
    page = shown([folder])
    page.wait("document.querySelectorAll('#network .layers tr').length > 1")
    verdict = page.run("document.querySelector('.verdict').innerText")
    assert verdict.startswith(f"75.00% accuracy on test data; {found} of 500 B of flash, met; ")
    head = page.run("document.querySelector('#head').innerText")
    assert "bench" in head and "480 for training, 120 for validation, 120 for test" in head
    sections = page.run(
        "[...document.querySelectorAll('section')].filter(s => s.innerText.trim()).map(s => s.id).join()"
    )
    assert sections.startswith("network,run,curves") and "front" not in sections and "budgets" not in sections
    costs = page.run("document.querySelector('#network .budgets').innerText")
    assert f"met, {500 - found} B" in costs and " left" in costs and "Left of it" not in costs
    assert page.run("document.querySelector('#network .gauge .track span').style.width") == f"{100 * found / 500:g}%"
    assert not page.complaints()


def test_a_broken_budget_is_named_in_the_verdict_the_table_and_the_list(copied, shown):
    folders = [copied("gradient", 0), copied("tpe", 0)]
    costs = json.loads((folders[0] / "summary.json").read_text())["costs"]
    costs["flash_bytes"]["found"] = 530
    change_json(folders[0] / "summary.json", {"costs": costs})
    page = shown(folders[:1])
    page.wait("document.querySelectorAll('#network .layers tr').length > 1")
    assert "530 of 500 B of flash, OVER by 30 B" in page.run("document.querySelector('.verdict .bad').innerText")
    assert page.run("document.querySelector('#network .over').innerText") == "OVER by 30 B (6.0%)"
    page = shown(folders)
    page.wait("document.querySelectorAll('#budgets tbody tr').length == 2")
    assert "1 of 2 networks OVER a budget" in page.run("document.querySelector('.verdict .bad').innerText")
    assert "OVER by 30 B (6.0%)" in page.run("document.querySelector('#budgets').innerText")


def test_a_head_sorts_its_column_up_down_and_back(opened):
    shown = "[...document.querySelectorAll('#budgets tbody tr')].map(row => row.cells[1].innerText).join()"
    head, given = "#budgets thead th:nth-child(2)", opened.run(shown)
    values = sorted(given.split(","), key=lambda text: float(text.rstrip("%")))
    for way, order in (("ascending", values), ("descending", values[::-1]), (None, given.split(","))):
        opened.click(f"{head} button")
        assert opened.run(f"document.querySelector('{head}').getAttribute('aria-sort')") == way
        assert opened.run(shown).split(",") == order
    opened.run("document.querySelector('#network .layers thead th:nth-child(3) button').focus()")
    opened.press("Enter")
    flash = "[...document.querySelectorAll('#network .layers tbody tr')].map(row => Number(row.cells[2].dataset.value))"
    assert opened.run(flash) == sorted(opened.run(flash))


@pytest.mark.parametrize("width", [360, 1200])
def test_tables_are_tables_to_a_screen_reader_on_a_phone_too(opened, width):
    opened.size(width, 800)
    opened.wait(f"document.querySelector('#front svg').clientWidth < {width}")
    tree = opened.call("Accessibility.getFullAXTree")["nodes"]
    roles = [node["role"]["value"] for node in tree if not node["ignored"]]
    tables = opened.run("document.querySelectorAll('table').length")
    assert roles.count("table") == tables > 4
    assert roles.count("row") == opened.run("document.querySelectorAll('tr').length")
    assert roles.count("rowheader") == opened.run("document.querySelectorAll('tbody th').length")
    assert "columnheader" in roles


@pytest.mark.parametrize("width", [360, 1200])
def test_labels_lie_on_no_point_and_not_on_each_other(copied, shown, width):
    limits = (500.0, 510.0, 520.0, 700.0, 900.0)
    folders = [copied("gradient", i, LIMITS[i % 2], 0.7 + i / 50) for i in range(5)]
    for limit, folder in zip(limits, folders, strict=True):
        change_json(folder / "summary.json", {"budgets": {"flash_bytes": limit}})
    page = shown(folders)
    page.size(width, 800)
    page.wait(f"document.querySelectorAll('#front .point').length == 5 && {width} - innerWidth == 0")
    page.wait(f"document.querySelector('#front svg').clientWidth < {width}")
    budgets = page.run("[...document.querySelectorAll('#front .budget text')].map(each => each.textContent).join()")
    assert "500 B" in budgets
    assert page.run(TOUCHING) == ""


def test_a_legend_names_what_is_drawn_alone(copied, shown):
    folders = [copied("gradient", 0, test=0.8), copied("tpe", 1, 900.0, test=0.7)]
    page = shown(folders)
    page.wait("document.querySelectorAll('#front .point').length == 2")
    legend = "document.querySelector('#front .legend').innerText"
    assert page.run(legend).split("\n") == ["gradient", "tpe", "budget"]  # one point makes no line
    page.click("#front .choice input[value=macs]")
    page.wait(f"!{legend}.includes('budget')")
    widths = page.run("[...document.querySelectorAll('#network .legend li')].map(each => each.innerText)")
    bits = page.run("document.querySelector('#network .layers').innerText")
    assert all((f"at {name}" in bits) == (name in widths) for name in ("8 bits", "4 bits", "2 bits"))


def test_print_keeps_tables_and_the_width_of_the_paper(opened):
    opened.size(718, 1000)
    opened.call("Emulation.setEmulatedMedia", media="print")
    opened.wait("document.querySelector('#front svg').clientWidth <= 718")
    assert opened.run(BEYOND) == opened.run(OVERLAPPING) == ""
    assert opened.run("getComputedStyle(document.querySelector('#budgets tbody tr')).display") == "table-row"
    assert opened.run("getComputedStyle(document.querySelector('#front .choice')).display") == "none"


def test_many_warnings_are_closed_so_that_the_results_stand_near(copied, shown):
    warnings = [WARNING | {"name": f"kind_{i}"} for i in range(4)]
    page = shown([copied("gradient", 0, warnings=warnings)])
    page.wait("document.querySelectorAll('#network .layers tr').length > 1")
    assert page.run("document.querySelectorAll('#warnings details').length") == 4
    assert page.run("document.querySelectorAll('#warnings details[open]').length") == 0
    page.click("#warnings summary")
    assert "train.x=1." in page.run("document.querySelector('#warnings').innerText")
    assert not page.complaints()


def test_an_interval_wider_than_accuracy_can_be_does_not_stretch_the_axis(copied, shown):
    page = shown([copied("gradient", 0, test=0.3), copied("gradient", 1, test=0.9)])  # the mean 0.6 +- 3.8
    page.wait("document.querySelectorAll('#rivals svg .seed').length == 2")
    ticks = page.run("[...document.querySelectorAll('#rivals .axes text')].map(text => Number(text.textContent))")
    assert all(0 <= tick <= 100 for tick in ticks if tick is not None)
