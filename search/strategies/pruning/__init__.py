"""Pruning by a ranking of channels or single weights."""
