"""What a ranking says: the area under the curve of recall over false alarms, and average precision."""

import torch
from torch import Tensor


def area_under_curve(scores: Tensor, positive: Tensor) -> float:
    """The share of pairs of a positive and a negative example in which the positive one scores higher; ties count half.

    That is the area under the ROC curve (Hanley and McNeil, Radiology 1982). 0.5 where one of both kinds is missing.

    Args:
        scores: (N,). positive: (N,), 0 or 1.
    """
    positives, negatives = scores[positive == 1], scores[positive != 1]
    if not len(positives) or not len(negatives):
        return 0.5
    ordered = negatives.sort().values
    below = torch.searchsorted(ordered, positives, right=False)
    at_most = torch.searchsorted(ordered, positives, right=True)
    return float((below + at_most).double().sum() / 2 / len(positives) / len(negatives))


def average_precision(scores: Tensor, positive: Tensor) -> float:
    """The mean of the precision at each positive example, in the order of falling scores.

    Examples of one score are one step: its positives have the precision behind the step. 0 where none is positive.

    Args:
        scores: (N,). positive: (N,), 0 or 1.
    """
    order = scores.argsort(descending=True)
    found, values = positive[order].double(), scores[order]
    if not float(found.sum()):
        return 0.0
    last = torch.cat([values[1:] != values[:-1], values.new_ones(1, dtype=torch.bool)])  # of each step
    right, seen = found.cumsum(0)[last], last.nonzero().squeeze(1) + 1
    gained = torch.diff(right, prepend=right.new_zeros(1))
    return float((gained * right / seen).sum() / found.sum())
