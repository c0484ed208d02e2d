#!/usr/bin/env bash
# Two strategies at two budgets with two seeds each, and then one report over all of these runs.
set -euo pipefail
picojoule -m --config-dir=. +experiment=sweep strategy=gradient,magnitude budgets.flash_bytes=2048,1024 seed=0,1 "$@"
picojoule report runs/sweep/* --output sweep.html
picojoule compare runs/sweep/*
