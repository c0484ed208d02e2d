"""Decisions, and what they say in a forward pass."""
