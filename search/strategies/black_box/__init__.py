"""Searches that ask a sampler for one candidate after another."""
