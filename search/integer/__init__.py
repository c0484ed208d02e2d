"""Integers: what an operator is, the Program, its NumPy executor, and what they share. Nothing here imports torch."""
