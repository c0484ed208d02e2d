"""Quantizers: float tensors to integer codes and back, with learned steps."""

from spaces.quantizers.activation import ActivationChoice, ActivationQuantizer
from spaces.quantizers.weight import WeightQuantizer

__all__ = ["ActivationChoice", "ActivationQuantizer", "WeightQuantizer"]
