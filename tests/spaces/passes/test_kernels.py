"""Which passes a GPU takes, and what happens where Triton's cannot be had: torch's operators, and a word of it."""

import subprocess
import sys
from collections.abc import Iterator

import pytest
import torch

from spaces.passes import chosen, kernels
from spaces.passes.eager import Eager
from spaces.passes.library import SWITCH, Library

CARD = torch.device("cpu", 0)  # stands for a GPU, whose passes are compared on it


@pytest.fixture(autouse=True)
def nobody_has_asked(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(kernels, "find_spec", lambda name: name)  # Triton is installed
    kernels.kernels.cache_clear()
    yield
    kernels.kernels.cache_clear()


class Wrong(Eager):
    """The codes of its weights are other numbers."""

    def quantized(self, *arguments, **kinds):
        return super().quantized(*arguments, **kinds) + 1e-6


def test_what_makes_the_bits_of_torch_is_taken_and_compared_once_a_device(monkeypatch):
    asked = []
    monkeypatch.setattr(kernels, "_fused", lambda device: asked.append(device) or Eager())
    assert isinstance(kernels.kernels(CARD).passes, Eager) and kernels.kernels(CARD) is kernels.kernels(CARD)
    assert kernels.kernels(torch.device("cpu", 0)).why == "in Triton" and asked == [CARD]


def test_what_makes_other_bits_is_not_taken(monkeypatch):
    monkeypatch.setattr(kernels, "_fused", lambda device: Wrong())
    why = "torch computes other bits on this device (quantized)"
    assert kernels.kernels(CARD) == Library(None, why)
    monkeypatch.setattr(chosen, "kernels", lambda device: kernels.kernels(CARD))
    assert chosen.passes_of(torch.device("cuda", 0)).passes is None
    said = f"training takes torch's operators and no kernels of Triton: {why}"
    assert chosen.why_slower(torch.device("cuda", 0)) == said


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (
            RuntimeError("Failed to find C compiler.\nSet CC."),
            "Triton fails here (RuntimeError: Failed to find C compiler.)",
        ),
        (AssertionError(), "Triton fails here (AssertionError)"),
        (ImportError("libcuda.so.1"), "Triton fails here (ImportError: libcuda.so.1)"),
    ],
)
def test_whatever_fails_when_they_are_made_is_a_reason(monkeypatch, error: Exception, why: str):
    def failing(device: torch.device) -> Eager:
        raise error

    monkeypatch.setattr(kernels, "_fused", failing)
    assert kernels.kernels(CARD) == Library(None, why)


def test_without_triton_there_are_none(monkeypatch):
    monkeypatch.setattr(kernels, "find_spec", lambda name: None)
    assert kernels.kernels(torch.device("cuda", 0)) == Library(None, "Triton is not installed")


def test_the_environment_switches_them_off(monkeypatch):
    monkeypatch.setenv(SWITCH, "0")
    assert kernels.kernels(torch.device("cuda", 0)) == Library(None, "PICOJOULE_COMPILE is 0")


def test_a_gpu_without_a_number_is_the_one_in_use(monkeypatch):
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(kernels, "_fused", lambda device: Eager())
    assert kernels.kernels(torch.device("cpu")) is kernels.kernels(CARD)


def test_devices_of_other_kinds_have_none_and_nothing_is_said(monkeypatch):
    assert chosen.passes_of(torch.device("meta")).passes is None and chosen.why_slower(torch.device("meta")) == ""
    assert isinstance(chosen.passes_for(torch.ones(2, 2, device="meta")), Eager)
    monkeypatch.setattr(chosen, "kernels", lambda device: Library(Eager(), "in Triton"))
    assert chosen.why_slower(torch.device("cuda", 0)) == ""


def test_a_tensor_takes_the_passes_of_its_device_where_they_take_all_tensors(monkeypatch):
    own, x = Eager(), torch.ones(4, 4)
    monkeypatch.setattr(chosen, "passes_of", lambda device: Library(own, ""))
    assert chosen.passes_for(x) is own and chosen.passes_for(x, torch.ones(4)) is own
    assert chosen.passes_for(x, torch.ones(4, device="meta")) is chosen.EAGER
    with chosen.only_eager():
        assert chosen.passes_for(x) is chosen.EAGER


def test_a_machine_without_a_gpu_does_not_import_triton():
    script = "import sys, torch, search.run\nfrom spaces.passes.chosen import passes_for, why_slower\n"
    script += "passes_for(torch.ones(4, 4)), why_slower(torch.device('cpu'))\n"
    script += "assert 'spaces.passes.fused' not in sys.modules"
    subprocess.run([sys.executable, "-c", script], check=True)
