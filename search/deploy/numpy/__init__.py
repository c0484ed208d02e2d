"""The Program itself, which the executor runs on NumPy."""
