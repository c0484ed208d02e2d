"""Two small runs, searched once, and copies of them that say they had other strategies, seeds and budgets."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from search.config import write_config
from tests.search.run_folders import COMMAND, LIMITS, change_json
from tests.search.small import run, settings, write_stripes

FILES = ("architecture.json", "model.safetensors", "history.jsonl")


@pytest.fixture(scope="session")
def searched(tmp_path_factory) -> dict[float, Path]:
    """Limit of flash -> folder of a run."""
    top = tmp_path_factory.mktemp("runs")
    data, found = write_stripes(top / "stripes.npz"), {}
    for limit in LIMITS:
        chosen = settings(data, budgets={"flash_bytes": limit, "peak_ram_bytes": 700.0})
        chosen.plain_values.update(
            {
                "data": {"name": "npz"},
                "model": {"_target_": "tests.search.small.Small"},
                "strategy": {"name": "gradient", "epochs": 4},
                "space": {"weight_bits": [0, 2, 4, 8], "activation_bits": 8, "kernel_sizes": []},
                "target": {"name": "bench", "weight_bits": [2, 4, 8], "activation_bits": [8]},
                "seed": 0,
                "budgets": chosen.budgets,
            }
        )
        found[limit] = top / f"{limit:g}"
        run(found[limit], chosen)
        write_config(chosen, found[limit], COMMAND)
    return found


@pytest.fixture
def copied(searched, tmp_path):
    """(strategy, seed, limit, test accuracy, warnings) -> a folder that says so; validation accuracy is 0.01 more."""

    def copy(
        strategy: str,
        seed: int,
        limit: float = LIMITS[0],
        test: float | None = 0.75,
        warnings: Sequence[dict[str, str]] = (),
    ) -> Path:
        folder = tmp_path / f"{strategy}-{limit:g}-{seed}"
        folder.mkdir()
        for name in FILES:
            shutil.copy(searched[limit] / name, folder)
        accuracy: dict[str, Any] = {"val": (test or 0.5) + 0.01} | ({} if test is None else {"test": test})
        said = {"seed": seed, "accuracy": {"integer": accuracy}, "warnings": list(warnings)}
        change_json(searched[limit] / "summary.json", said, folder / "summary.json")
        change_json(searched[limit] / "results.jsonl", {"seed": seed, "strategy": strategy}, folder / "results.jsonl")
        config = yaml.safe_load((searched[limit] / "config.yaml").read_text())
        config |= {"seed": seed, "strategy": {"name": strategy}}
        (folder / "config.yaml").write_text(f"# {COMMAND}\n{yaml.safe_dump(config)}")
        return folder

    return copy
