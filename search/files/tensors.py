"""Kinds of values in files of tensors, beside those of documents."""

from torch import Tensor

from search.files.documents import Kind

TENSOR = Kind("a tensor", lambda value: isinstance(value, Tensor))
