"""Refusals of the graph pass."""

from search.errors import PicojouleError


class UnsupportedNetwork(PicojouleError, ValueError):
    """A part of the network cannot be handled. The message names the module, the reason and the way out."""

    def __init__(self, where: str, reason: str, way_out: str) -> None:
        super().__init__(f"module '{where}': {reason} {way_out}")
        self.where, self.reason, self.way_out = where, reason, way_out
