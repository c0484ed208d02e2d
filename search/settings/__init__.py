"""Everything that can be set for a run, as dataclasses."""
