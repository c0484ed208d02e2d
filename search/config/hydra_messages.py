"""What Hydra says of a command line or of a `defaults` list, in our words. What is said of a key is in refusals.py."""

import re

from search.config.schemas import ONE_SCHEMA, SCHEMAS

GROUPS = (*SCHEMAS, *ONE_SCHEMA, "model")
EXPERIMENT = "experiment"  # the group that is added
OWN_OPTION = "An option is chosen in its `defaults`, as in `- override /data: npz`."
ONE_EXPERIMENT = (
    "experiment: more than one is added. Add one, as +experiment=NAME. A file builds on another one in its folder with "
    "`- NAME` in its `defaults`."
)
NOTHING_TO_TAKE = r"~\1: there is nothing of this name that could be taken away. Leave it out."
SWEEP = (
    r"\1: several values are a sweep, a run for each, and need -m on the command line. "
    "A list stands in brackets, as KEY=[A,B]."
)

IN_OUR_WORDS = {  # what Hydra says -> what we say
    rf"Multiple values for {EXPERIMENT}\.": ONE_EXPERIMENT,
    rf"{EXPERIMENT} appears more than once": ONE_EXPERIMENT,
    r"Multiple values for \S+\. To override a value use 'override (\S+): (.*)'": (
        r"\1: more than one option is chosen. Write \1=\2 without a plus on the command line, and "
        r"`- override /\1: \2` in `defaults` of a file."
    ),
    r"force-add of config groups is not supported: '\++(.+)'": (
        r"++\1: a group has one option. Write \1, without a plus."
    ),
    r"In '(.+)': ValidationError raised while composing config:\nMerge error: .+ value: (.*)": (
        rf"\1.yaml: '\2' stands where keys belong. {OWN_OPTION} A key within another one stands below it, as in "
        "`train: {warmup: {epochs: 3}}`."
    ),
    r"Could not append to config\. An item is already at '.+'\.\nEither remove \+ prefix: '(.+)'": (
        r"+\1: the key is there already. Write \1, without the plus."
    ),
    r"Could not delete from config\. '(.+)' does not exist": NOTHING_TO_TAKE,
    r"Could not delete '(.+)'\. No match": NOTHING_TO_TAKE,
    r"Ambiguous value for argument '(.+)'": SWEEP,
    r"Sweep parameters '(.+)' requires --multirun": SWEEP,
    rf"Could not override '{EXPERIMENT}'": (
        f"{EXPERIMENT}=NAME: a plus sign belongs before it, as +{EXPERIMENT}=NAME. name=NAME gives a run its name."
    ),
    r"Invalid defaults list in '(.+)', defaults must be a list": (
        r"\1.yaml: `defaults` must be a list, with a line for each option, as `- override /data: npz`."
    ),
    rf"In '(.+)': Could not load '(?:{EXPERIMENT}/)?(.+)'\.": (
        rf"\1.yaml: its `defaults` have '\2', and there is no such file in its folder. {OWN_OPTION}"
    ),
    rf"In '(.+)': Could not override '{EXPERIMENT}/(\w+).*'\. No match": (
        r"\1.yaml: a slash belongs before the group '\2', as in `- override /\2: OPTION`."
    ),
    r"In '(.+)': Could not override '(\w+).*'\. No match": (
        rf"\1.yaml: `override /\2` in its `defaults`, but there is no group '\2'. There are {', '.join(GROUPS)}."
    ),
}


def in_our_words(message: str) -> str | None:
    """What we say in place of this message of Hydra; None where Hydra said something else."""
    for pattern, words in IN_OUR_WORDS.items():
        found = re.match(pattern, message)
        if found:
            return found.expand(words)
    return None
