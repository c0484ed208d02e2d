"""Quantizers: float tensors to integer codes and back, with learned steps."""

from spaces.quantizers.activation import ActivationQuantizer
from spaces.quantizers.weight import WeightQuantizer

__all__ = ["ActivationQuantizer", "WeightQuantizer"]
