"""Kinds of values in files of tensors, beside those of documents."""

from torch import Tensor

from search.kinds import Kind

TENSOR = Kind("a tensor", lambda value: isinstance(value, Tensor))
