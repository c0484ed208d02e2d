"""Integers: the Program, its NumPy executor and what they share. Nothing here imports torch."""
