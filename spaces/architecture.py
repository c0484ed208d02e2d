"""What a search found: the outcome of every decision, as a plain value."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from search.errors import UsageError
from spaces.decisions.decision import Decision

Picks = Mapping[str, tuple[int, ...]]  # decision name -> an option a group


@dataclass(frozen=True)
class Architecture:
    """The outcomes of all decisions of the Space named `space`, to and from JSON. `hash` names it.

    Attributes:
        picks: name of a decision -> an option for each group.
        left_alone: name of a layer -> why the search left it alone. It is for people, and no part of the hash.
    """

    space: str
    picks: Picks
    left_alone: Mapping[str, str] = field(default_factory=dict, compare=False)

    def to_json(self) -> str:
        picks = {name: list(pick) for name, pick in sorted(self.picks.items())}
        document = {"space": self.space, "picks": picks, "left_alone": dict(self.left_alone), "hash": self.hash}
        return json.dumps(document, indent=1)

    @staticmethod
    def from_json(text: str) -> "Architecture":
        """Raises UsageError where the text is no architecture, or was edited so that its hash no longer fits."""
        try:
            document = json.loads(text)
            picks = {str(name): tuple(map(_whole, pick)) for name, pick in document["picks"].items()}
            left_alone = {str(name): str(why) for name, why in document.get("left_alone", {}).items()}
            found = Architecture(str(document["space"]), picks, left_alone)
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise UsageError(f"architecture: not the JSON of one ({error!r}); keys are space, picks, hash.") from error
        if document.get("hash") not in (None, found.hash):
            raise UsageError(
                f"architecture: hash {document['hash']} does not fit the picks (they give {found.hash}): the file was "
                "edited. Remove the key 'hash' if that was meant."
            )
        return found

    def having(self, picks: Picks) -> "Architecture":
        """This architecture with some other picks."""
        return replace(self, picks={**self.picks, **picks})

    def refuse_foreign(self, space: str, decisions: Mapping[str, Decision]) -> None:
        """Does nothing if decisions of a space can take it.

        Raises:
            UsageError: it lacks decisions or has others, which are named, or a decision cannot take its pick.
        """
        own, given = set(decisions), set(self.picks)
        if own != given:
            raise UsageError(
                f"space '{space}': the architecture is of another space ('{self.space}'): "
                f"missing {sorted(own - given)[:5]}, unknown {sorted(given - own)[:5]}."
            )
        for name, pick in self.picks.items():
            decisions[name].refuse(pick)

    @property
    def hash(self) -> str:
        text = json.dumps([self.space, sorted((name, list(pick)) for name, pick in self.picks.items())])
        return hashlib.sha256(text.encode()).hexdigest()[:12]


def _whole(option: object) -> int:
    """The option itself. Raises TypeError where it is no whole number; JSON has Infinity and 1.5 too."""
    if not isinstance(option, int) or isinstance(option, bool):
        raise TypeError(f"{option!r} is no whole number")
    return option
