"""Commands as a user gives them: in a folder of the user's own, in processes of their own."""

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
EPOCHS = ["train.warmup.epochs=1", "strategy.epochs=1", "train.finetune.epochs=1", "train.finetune.integer_epochs=1"]


def own_folder(folder: Path) -> Path:
    """The folder, in which the user has a package `conf` of another program."""
    (folder / "conf").mkdir(parents=True)
    (folder / "conf/__init__.py").write_text("")
    (folder / "conf/config.yaml").write_text("theirs: true\n")
    return folder


def in_folder(folder: Path, *command: str) -> str:
    """What a command prints there, whose first word may be python or picojoule. It must end with 0."""
    tools = folder.parent / f"{folder.name}-bin"
    tools.mkdir(exist_ok=True)
    for name, module in (("picojoule", "-m search "), ("python", "")):
        (tools / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" {module}"$@"\n')
        (tools / name).chmod(0o755)
    path = f"{tools}{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | {"PATH": path, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(["env", *command], cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def blocks(text: str, language: str) -> list[str]:
    """What stands in the fenced blocks of this language."""
    return re.findall(rf"^```{language}[^\n]*\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
