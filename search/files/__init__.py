"""Files of a run: folders, results, documents that are checked when they are read back."""
