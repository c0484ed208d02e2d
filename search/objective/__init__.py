"""Costs in the loss, and what each change of a decision would hurt."""
