"""What the tests of run folders share: the limits of two small runs, and how their files are changed."""

import json
from pathlib import Path
from typing import Any

LIMITS = (500.0, 900.0)  # of flash
WARNING = {"name": "at_chance", "seen": "It is seen.", "cause": "It is <b>caused</b>.", "advice": "train.x=1."}
COMMAND = "python -m search data=npz 'model=a b' folder=/some/where seed=0"


def change_json(path: Path, changes: dict[str, Any], to: Path | None = None) -> None:
    """Of one line, or of one document."""
    (to or path).write_text(json.dumps(json.loads(path.read_text()) | changes) + "\n")
