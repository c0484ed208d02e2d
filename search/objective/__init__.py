"""Costs in the loss, and the loss increase of each change of a decision."""
