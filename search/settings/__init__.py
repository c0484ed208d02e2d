"""Everything that a run can be told, as dataclasses."""
