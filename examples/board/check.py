"""Compares what the board said with the labels, and with what the run states.

python check.py runs/digits classes.txt
"""

import json
import sys
from pathlib import Path

from search.data import load
from search.data.digits import DigitsOptions


def main(run: str, said: str) -> None:
    labels = [str(label) for label in load(DigitsOptions()).test.targets.tolist()]
    found = Path(said).read_text().split()
    stated = json.loads((Path(run) / "summary.json").read_text())["accuracy"]["integer"]["test"]
    right = sum(one == other for one, other in zip(found, labels, strict=True))
    print(
        f"accuracy of the application on {len(labels)} images: {right / len(labels):.4f}; the run states {stated:.4f}"
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
