"""Budgets as promises: what is feasible, repair, what each layer costs, fronts."""
