"""A training on another device than the CPU mixes no devices, has the bytes of the CPU, and does not wait for it."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.step_time import MODES, ROUND

ROOT = Path(__file__).parents[2]
RESNET = [*MODES, "bits_of_layers", "kernels", "gates_with_memory", "integers"]
OTHERS = ["masks", "qat_w8a8", "channel_bits", "activation_bits", "bits_of_layers", "integers"]


def on_a_device(*arguments: str, script: str = "on_a_device") -> list[dict[str, Any]]:
    command = [sys.executable, "-W", "error", str(ROOT / f"tests/laws/{script}.py"), *arguments]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


@pytest.mark.parametrize(
    "network, modes",
    [
        ("resnet8", RESNET),
        ("ceilings", OTHERS),
        pytest.param("mobilenet_v2", OTHERS, marks=pytest.mark.slow),
        pytest.param("ds_cnn", [*MODES, *OTHERS], marks=pytest.mark.slow),
    ],
)
def test_a_step_waits_only_where_costs_are_evaluated_anew(network, modes):
    found = on_a_device(network, *modes)
    assert [line["mode"] for line in found] == modes
    for line in found:
        assert line["differing"] == [], line["mode"]
        tables = int(network == "ceilings" and line["mode"] == "integers")  # made on the CPU, of steps read at once
        assert line["waits"] == [tables] * (ROUND - 1) + [tables + line["searches"]], line["mode"]


@pytest.mark.parametrize(
    "network, modes",
    [
        ("ceilings", ["masks", "activation_bits", "integers"]),
        ("branches", ["channel_bits", "activation_bits", "kernels"]),
        ("resnet8", ["qat_w8a8", "channel_bits"]),
        pytest.param("resnet8", RESNET, marks=pytest.mark.slow),
        pytest.param("mobilenet_v2", OTHERS, marks=pytest.mark.slow),
    ],
)
def test_a_step_that_is_recorded_has_the_bytes_of_one_that_is_not(network, modes):
    """Steps that learn and steps that are held are recorded; not steps that read, nor rare branches."""
    for line in on_a_device("--recorded", network, *modes):
        tables = network == "ceilings" and line["mode"] == "integers"
        assert line["differing"] == [], line["mode"]
        none = tables or line["mode"] == "supernet"
        assert line["recordings"] == (0 if none else 2), line["mode"]
        assert line["replays"] == (3 if line["searches"] and not none else 0), line["mode"]
        assert [note.partition(": some steps run without graphs: ")[2] for note in line["notes"]] == (
            ["they read numbers of the device (_to_copy)"] if tables else []
        )


@pytest.mark.parametrize(
    "strategies",
    [["gradient", "sensitivity"], pytest.param(["magnitude", "random", "evolution", "fixed"], marks=pytest.mark.slow)],
)
def test_a_whole_job_on_a_device_writes_the_files_of_the_cpu(tmp_path, strategies):
    found = on_a_device(str(tmp_path), *strategies, script="jobs_on_a_device")
    assert found == [{"strategy": strategy, "differing": []} for strategy in strategies]


def test_a_whole_job_of_recorded_steps_writes_the_files_of_one_without(tmp_path):
    (line,) = on_a_device("--recorded", str(tmp_path), "gradient", script="jobs_on_a_device")
    assert line["differing"] == [] and line["replays"] > 10


def test_noise_of_a_device_is_read_where_python_decides_by_it():
    (line,) = on_a_device("resnet8", "noise")
    assert line["differing"] == [] and line["waits"] == [0, 0, 0, 1, 0, 0, 0, 2]


def test_the_device_in_software_refuses_tensors_of_the_cpu_and_counts_what_is_read():
    script = """
import torch
from benchmarks.software_device import SoftwareDevice

with SoftwareDevice() as software:
    x = torch.ones(3, device=software.device)
    try:
        x + torch.ones(3)
    except RuntimeError as error:
        assert "of shape (3,), on the CPU" in str(error)
    else:
        raise AssertionError
    assert (x + 1).tolist() == [2, 2, 2] and x.sum().item() == 3 and bool((x > 0).all())
    assert software.counts == {"read": 2, "copied to the host": 1}, software.counts
    x.to("cpu", non_blocking=True)
    assert software.waits == 3
    assert x.cpu().tolist() == [1, 1, 1] and software.waits == 4
"""
    command = [sys.executable, "-W", "error", "-c", script]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
