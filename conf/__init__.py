"""Hydra configuration groups; the package makes them importable as pkg://conf."""
