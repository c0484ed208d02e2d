"""Budgets as promises: what is feasible, how a network meets them, and fronts (docs/methods.md, section 12)."""
