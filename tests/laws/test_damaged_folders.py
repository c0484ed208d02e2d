"""Whatever a run folder holds: resume, report and compare refuse it by name, or come to what the whole run came to."""

import json
import random
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from search.compare import compare
from search.config import composed, read_config, write_config
from search.errors import PicojouleError
from search.model import model_maker
from search.report import document
from search.report.runs import read_run
from search.run import run
from tests.laws.damage import damage_json
from tests.search.kills import killed_run, same_outputs

QUICK, THOROUGH = 20, 600
KEYS = [
    *("data=npz", "model=custom", "model._target_=tests.search.small.Small", "tensorboard=false", "quiet=true"),
    *("train.warmup.epochs=1", "train.finetune.epochs=2", "train.finetune.integer_epochs=1", "train.batch_size=20"),
    *("space.weight_bits=[0,2,4,8]", "train.threads=1"),
]
SEARCHES = (
    ["strategy=gradient", "strategy.epochs=2", "budgets.flash_bytes=500"],
    ["strategy=random", "strategy.trials=4", "strategy.val_images=40", "budgets.flash_bytes=700"],
)


@pytest.fixture(scope="module")
def folders(data, tmp_path_factory) -> list[tuple[Path, Path]]:
    """A whole run, and what damage starts from: the run itself, or what a kill left of it."""
    found = []
    for number, search in enumerate(SEARCHES):
        top = tmp_path_factory.mktemp(f"run {number}")
        settings = composed([*KEYS, *search, f"data.file={data}"])
        for name in ("whole", "killed"):
            (top / name).mkdir()
            write_config(settings, top / name, "a command", 1)
        run(read_config(top / "whole"), model_maker(settings.model), top / "whole")
        killed_run(top / "killed", read_config(top / "killed"), 2)
        found += [(top / "whole", top / "whole"), (top / "whole", top / "killed")]
    return found


def damage(folder: Path, draw: random.Random) -> Path:
    """Changes a file of the folder, and returns it."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != ".lock")
    path = draw.choice(files)
    content = bytearray(path.read_bytes())
    match draw.randrange(6):
        case 0:
            path.unlink()
        case 1:
            path.write_bytes(content[: draw.randrange(len(content) + 1)])
        case 2 if content:
            content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
            path.write_bytes(content)
        case 3:
            path.write_bytes(draw.choice(files).read_bytes() if path.exists() else b"")
        case _:
            _damage_text(path, bytes(content), draw)
    return path


def _damage_text(path: Path, content: bytes, draw: random.Random) -> None:
    """Changes a value of a JSON or YAML document, or of a line of several; of other files some bytes."""
    kinds: dict[str, Any] = {".json": (json.loads, json.dumps), ".yaml": (yaml.safe_load, yaml.safe_dump)}
    if path.suffix == ".jsonl":
        lines = content.decode().splitlines()
        index = draw.randrange(len(lines)) if lines else 0
        value = json.loads(lines[index]) if lines else {"": 0}
        damage_json(value, draw)
        lines[index : index + 1] = [json.dumps(value)]
        path.write_text("\n".join(lines) + "\n")
    elif path.suffix in kinds:
        load, dump = kinds[path.suffix]
        value = load(content)
        damage_json(value, draw)
        path.write_text(dump(value))
    else:
        path.write_bytes(content + draw.randbytes(9))


def refusals(whole: Path, folder: Path) -> int:
    """How many of the three commands refused the folder."""
    refused = 0
    for command in (
        lambda: document([read_run(folder)]),
        lambda: compare([whole, folder]),
        lambda: run(read_config(folder), model_maker(read_config(folder).model), folder),
    ):
        try:
            command()
        except PicojouleError as error:
            assert len(str(error)) > 20, error
            refused += 1
        else:
            continue
    return refused


@pytest.mark.parametrize("count", [QUICK, pytest.param(THOROUGH, marks=pytest.mark.slow)])
def test_a_damaged_folder_is_refused_by_name_or_comes_to_the_same(folders, tmp_path, count):
    refused, faults = 0, []
    for seed in range(count):
        draw, folder = random.Random(seed), tmp_path / f"run {seed}"
        whole, start = draw.choice(folders)
        shutil.copytree(start, folder)
        path = damage(folder, draw)
        try:
            by_name = refusals(whole, folder)
            if not by_name and not same_outputs(whole, folder):
                faults.append(f"seed {seed}, {path.relative_to(folder)}: other outputs")
            refused += by_name > 0
        except Exception as error:  # whatever is not named is a fault
            faults.append(f"seed {seed}, {path.relative_to(folder)}: {error!r}")
        shutil.rmtree(folder)
    assert not faults, "\n".join(faults)
    assert 0.1 * count < refused < count
