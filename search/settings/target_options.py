"""Which options of a space a target can run."""

from dataclasses import replace
from typing import Any

from cost_models.target import Target
from search.errors import UsageError
from spaces.searchable import Options


def offered(options: Options, target: Target) -> tuple[Options, list[str]]:
    """The options without what the target cannot run, and a note on each precision that is not offered.

    Raises:
        UsageError: nothing of what is asked for would be left.
    """
    faults: list[str] = []
    notes: list[str] = []
    changed: dict[str, Any] = {}  # field of the options -> its value
    for key, asked, legal in (
        ("weight_bits", options.widths, target.weight_bits),
        ("activation_bits", options.activation_widths, target.activation_bits),
        ("input_bits", (options.input_bits,) if options.input_bits else (), target.activation_bits),
    ):
        runs, beyond = sorted(set(asked) & set(legal)), sorted(set(asked) - set(legal))
        if beyond and not runs:
            faults.append(f"space.{key} {beyond}, it runs {sorted(legal)}")
        elif beyond:
            notes.append(f"not offered: space.{key} {beyond}, which target '{target.name}' cannot run")
            changed[key] = [0, *runs] if key == "weight_bits" and options.prunes else runs
    if target.granularity == "layer" and options.granularity == "channel" and len(options.widths) > 1:
        faults.append("space.granularity 'channel', its kernels read one width a layer (granularity 'tensor')")
    if target.channel_multiple > 1 and options.prunes:
        faults.append(f"space.weight_bits with 0, it wants channels in multiples of {target.channel_multiple}")
    if faults:
        raise UsageError(
            f"target '{target.name}' cannot run {'; '.join(faults)}. Change the space, or choose another target."
        )
    return replace(options, **changed), notes
