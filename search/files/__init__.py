"""Files of a run: its folder, its results, and documents that are checked when they are read."""
