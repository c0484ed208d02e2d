"""A budget of the image: the search meets what is foretold, and the summary holds what was linked."""

import numpy as np
import pytest

from search.api import compress
from search.budgets.feasibility import BudgetError
from search.data import from_arrays
from search.deploy import export
from search.deploy.cortex_m import cores
from search.errors import MissingTool, UsageError
from tests.search.small import Small, write_stripes

SHORT = [
    *("train.warmup.epochs=1", "strategy.epochs=1", "train.finetune.epochs=1", "train.finetune.integer_epochs=1"),
    *("tensorboard=false", "quiet=true", "target=cortex_m4_size"),
]
STACK = 32  # bytes by which the stack of one network differs from that of another
BUDGETS = {"image_flash_bytes": 5000.0, "image_ram_bytes": 1500.0}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return from_arrays(dict(np.load(write_stripes(tmp_path_factory.mktemp("data") / "stripes.npz"))))


def test_what_is_linked_meets_the_budget_and_what_was_foretold(data, tmp_path):
    try:
        cores.toolchain(cores.CORES["cortex_m4"])
    except MissingTool as error:
        pytest.skip(str(error))
    summary = compress(Small(), data, BUDGETS, tmp_path / "run", SHORT)
    for name, limit in BUDGETS.items():
        cost, budget = summary["costs"][name], summary["budgets"][name]
        assert cost["foretold"] <= limit and cost["found"] == pytest.approx(cost["foretold"], rel=0.02, abs=STACK)
        assert budget["found"] == cost["found"] and budget["met"] == (cost["found"] <= limit)
    assert (tmp_path / "run" / "cortex_m" / "image.ld").is_file()


def test_without_a_tool_the_model_stands_and_the_run_says_so(data, tmp_path, monkeypatch):
    def missing(name):
        if name == "cortex_m":
            raise MissingTool("cortex_m: no compiler here")
        return before(name)

    before = export.backend
    monkeypatch.setattr(export, "backend", missing)
    summary = compress(Small(), data, BUDGETS, tmp_path / "run", SHORT)
    assert "foretold" not in summary["costs"]["image_flash_bytes"] and summary["budgets"]["image_flash_bytes"]["met"]
    assert "the image is not built, and its costs are what the model says: cortex_m: no compiler here" in (
        tmp_path / "run" / "run.log"
    ).read_text(encoding="utf-8")


def test_a_target_whose_code_is_made_for_shapes_says_where_the_table_is(data, tmp_path):
    overrides = [*SHORT[:-1], "target=cortex_m4"]
    with pytest.raises(BudgetError, match=r"image_flash_bytes.*'cortex_m4' lacks\. Choose target=cortex_m4_size"):
        compress(Small(), data, {"image_flash_bytes": 5000.0}, tmp_path / "run", overrides)


def test_a_compiler_that_fails_ends_no_run(data, tmp_path, monkeypatch):
    monkeypatch.setenv("CC", "gcc -nope")
    summary = compress(Small(), data, {"flash_bytes": 500.0}, tmp_path / "run", SHORT)
    (note,) = [note for note in summary["notes"] if note.startswith("not compared with c: ")]
    assert "-nope" in note and "The generated files are in" in note
    assert "c" not in summary["mismatches"] and (tmp_path / "run" / "c" / "network.c").is_file()


def test_a_core_that_does_not_exist_is_refused_before_training(data, tmp_path):
    with pytest.raises(UsageError, match=r"there is no core 'cortex_m9'\. There are cortex_m3, "):
        compress(Small(), data, BUDGETS, tmp_path / "run", [*SHORT, "target.core=cortex_m9"])
    assert not (tmp_path / "run" / "checkpoints").exists()
