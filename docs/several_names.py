"""For the reference: `mean, std: of each channel.` in a docstring is of two names, and the parser knows one a line."""

import re
from typing import Any

import griffe

ENTRY = re.compile(r"^( +)(\w+(?:, \w+)+): (.*(?:\n\1 +\S.*)*)", re.MULTILINE)


def one_name_a_line(docstring: str) -> str:
    """The docstring with an entry for each name."""
    return ENTRY.sub(lambda m: "\n".join(f"{m[1]}{name}: {m[3]}" for name in m[2].split(", ")), docstring)


class SeveralNames(griffe.Extension):
    """Rewrites docstrings as they are read."""

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        if obj.docstring is not None:
            obj.docstring.value = one_name_a_line(obj.docstring.value)
