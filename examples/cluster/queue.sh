#!/usr/bin/env bash
# A sweep as jobs of submitit: each run is a process of its own on this machine, and what it prints is in a file.
set -euo pipefail
picojoule -m --config-dir=. +experiment=queued seed=0,1 hydra/launcher=submitit_local "$@"
picojoule compare runs/queued/*
