"""Refusals of the graph pass."""

from search.errors import PicojouleError


class UnsupportedNetwork(PicojouleError, ValueError):
    """A part of the network cannot be handled. The message names the module, the reason and the way out.

    Attributes:
        takes: how many tensors forward takes, where another number was given; else None.
        line: of the user's code, as " at FILE:LINE"; "" where the module says enough.
    """

    def __init__(self, where: str, reason: str, way_out: str, takes: int | None = None, line: str = "") -> None:
        super().__init__(f"module '{where}'{line}: {reason} {way_out}")
        self.where, self.reason, self.way_out, self.takes, self.line = where, reason, way_out, takes, line


class JoinedBatch(UnsupportedNetwork):
    """The batch was joined with other dimensions."""
