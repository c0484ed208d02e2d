"""What is common to all decisions of a search: options, an outcome, and gradients that reach it."""

from collections.abc import Sequence

from torch import Tensor, nn

from search.errors import UsageError


class Decision(nn.Module):
    """One thing that a search decides among `options`, `groups` times over (once for each channel, for example).

    Layers that must agree share one Decision object.

    Attributes:
        start: the option of the seed network.
        role: what it decides, which is the end of its name: "channels", "bits", "kernel", "branch" ...
        whole: whether it takes one option for a whole layer or tensor, so that its other options can be tried.
    """

    def __init__(self, name: str, options: Sequence[int], groups: int, start: int) -> None:
        super().__init__()
        self.name, self.options, self.groups, self.start = name, tuple(options), groups, start
        self.role = name.rsplit("/", 1)[-1].split("@")[0]

    @property
    def whole(self) -> bool:
        return False

    def share(self) -> Tensor:
        """(groups, n_options), differentiable. Rows sum to 1."""
        raise NotImplementedError

    def pick(self) -> tuple[int, ...]:
        """The option that each group would be given now, as a value out of `options`."""
        raise NotImplementedError

    def fix(self, pick: Sequence[int]) -> None:
        """Makes `pick` the outcome. Raises as `refuse`."""
        self.refuse(pick)
        self._fix(pick)

    def refuse(self, pick: Sequence[int]) -> None:
        """Does nothing if the decision can take the pick.

        Raises:
            UsageError: the pick has another length than `groups`, or a value that is no option, or closes all channels.
        """
        wrong = self._wrong(pick)
        if len(pick) != self.groups or wrong:
            raise UsageError(
                f"decision '{self.name}': takes {self.groups} values out of {self.options}, "
                f"got {len(pick)} values{f' with {wrong} among them' if wrong else ''}."
            )

    def _wrong(self, pick: Sequence[int]) -> list[int]:
        return sorted(set(pick) - set(self.options))

    def _fix(self, pick: Sequence[int]) -> None:
        raise NotImplementedError

    def steer(self, against: Tensor) -> None:
        """Sets the gradients of its parameters, for the optimizer's next step.

        Args:
            against: between -1 and 1, how much speaks against each option, (groups, n_options); of a gate, against
                being open, (groups,).
        """
        raise NotImplementedError
