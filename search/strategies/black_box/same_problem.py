"""The problem that a study is of. Candidates of two problems in one study would be compared as if they were of one.

What decides the costs and the accuracy of a candidate is written into the study as plain values, each with a name, and
compared with what the study says. Names that only one of them has are not compared, because other versions may write
more.
"""

import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from reprlib import Repr
from typing import Any, Literal

from cost_models.rules import CostModel
from search.budgets.feasibility import costs_at, seed_architecture
from search.errors import UsageError
from search.settings.front import Point
from search.settings.strategies import BlackBoxSettings
from search.strategies.black_box.encoding import Encoding
from search.strategies.problem import Problem
from spaces.architecture import Architecture
from spaces.decisions.gates import Gate
from spaces.space import Space

Facts = dict[str, Any]  # of JSON's types alone
Direction = Literal["minimize", "maximize"]
PARAMETERS, NETWORK, DIRECTIONS = "parameters", "float network", "directions"
SHOWN = 6  # differences that are shown with both values; of the others the names
CLOSE = 1e-5  # figures of two machines
SHORT = Repr()
SHORT.maxdict = SHORT.maxlist = SHORT.maxtuple = 8
SHORT.maxstring = SHORT.maxother = 60


def directions(settings: BlackBoxSettings) -> list[Direction]:
    """The directions of the accuracy and of each objective."""
    of_costs: list[Direction] = ["minimize"] * len(settings.objectives)
    return ["maximize", *of_costs]


def known_before(settings: BlackBoxSettings, space: Space, models: Mapping[str, CostModel], point: Point) -> Facts:
    """What is known before anything is trained: space, budgets, objectives, evaluation, costs.

    The space holds the model, the granularity, and the precisions of weights, activations, input and output. A target
    shows in the costs that have budgets.
    """
    spec = asdict(space.spec)
    read = "val_images" if settings.evaluation == "inherited" else "candidate_epochs"
    compared = {name: models[name] for name in (*point.budgets, *settings.objectives)}
    facts = {
        PARAMETERS: Encoding(space).parameters,
        "budgets": dict(point.budgets),
        "objectives": settings.objectives,
        DIRECTIONS: directions(settings),
        "evaluation": {"evaluation": settings.evaluation, read: getattr(settings, read)},
        "costs": {
            "seed network": costs_at(space, seed_architecture(space), compared),
            "lowest options": costs_at(space, _lowest_options(space), compared),
        },
        "space.blocks": {block["name"]: block for block in spec["blocks"]},
        **{f"space.{part}": spec[part] for part in ("input_shapes", "weights", "quantizers", "choices", "left_alone")},
    }
    return _plain(facts)


def known_after(problem: Problem) -> Facts:
    """What is known after warm-up: data, seed, training, and what the float network decides.

    The float network decides which channels stay at which width, and so what the parameters mean. Processes that are
    started with one command on one machine have the same network, bit for bit. On several machines weights may differ
    in their last bits. Where that changes the order of channels so far that a width keeps other ones, the study is
    refused, and the processes have to take over one network by train.warmup.source. The training of warm-up is
    compared unless it is taken over.
    """
    s = problem.settings.train
    facts = {
        "seed": problem.settings.seed,
        "data": _data(problem),
        "training": {
            "batch_size": s.batch_size,
            "calibration": s.calibration,
            **problem.runtime.task.facts,
            "augment": asdict(s.augment),
            "finetune.lr": s.finetune.lr,
            "finetune.weight_decay": s.finetune.weight_decay,
        },
        NETWORK: Encoding(problem.space).steps(),
    }
    if s.warmup.source is None:
        facts["warmup"] = {name: value for name, value in asdict(s.warmup).items() if name != "source"}
    return _plain(facts)


def refuse_other_problem(study: str, own: Facts, known: Mapping[str, Any], advice: str) -> None:
    """Refuses a study of another problem.

    Raises:
        UsageError: the problems differ. The message says in what, here and in the study.
    """
    differing = [d for name in own if name in known for d in _differences(name, own[name], known[name])]
    if not differing:
        return
    shown = "; ".join(
        f"{name} is {SHORT.repr(here)} here, {SHORT.repr(there)} there" for name, here, there in differing[:SHOWN]
    )
    more = [name for name, _, _ in differing[SHOWN:]]
    rest = f"; and {len(more)} more: {', '.join(more)}" if more else ""
    network = (
        " Processes that share one float network have train.warmup.source=RUN."
        if any(name.startswith(NETWORK) for name, _, _ in differing)
        else ""
    )
    raise UsageError(f"study '{study}' is of another problem: {shown}{rest}. {advice}{network}")


def _differences(name: str, own: Any, known: Any) -> Iterator[tuple[str, Any, Any]]:
    """(name, own, known) of all parts that differ. What one of them lacks is None.

    A value that one side lacks and that is empty on the other side is the default of a key that another version does
    not know. Such sides are of one problem.
    """
    if isinstance(own, dict) and isinstance(known, dict):
        for key in dict.fromkeys([*own, *known]):
            yield from _differences(f"{name}.{key}", own.get(key), known.get(key))
    elif isinstance(own, float) and isinstance(known, float):
        if not math.isclose(own, known, rel_tol=CLOSE):
            yield name, own, known
    elif own != known and not ((own is None and not known) or (known is None and not own)):
        yield name, own, known


def _lowest_options(space: Space) -> Architecture:
    """The architecture with all channels, and with the first option of every choice."""
    picks = {
        name: (decision.start if isinstance(decision, Gate) else decision.options[0],) * decision.groups
        for name, decision in space.decisions.items()
    }
    return Architecture(space.name, picks, space.spec.left_alone)


def _data(problem: Problem) -> dict[str, Any]:
    """How many images candidates are measured on, and a digest that tells these images from others."""
    count, total, digest = 0, 0.0, hashlib.sha256()
    for images, targets in problem.runtime.val.epoch(0):
        count += len(targets)
        total += images.double().abs().mean(dim=list(range(1, images.dim()))).sum().item()
        digest.update(targets.cpu().numpy().tobytes())
    return {
        "val_images": count,
        "val_labels": digest.hexdigest()[:16],  # in this word, or studies that hold it could not go on
        "val_mean_size": total / count,
        "steps_an_epoch": len(problem.runtime.whole),
    }


def _plain(facts: Facts) -> Facts:
    """A value as a storage gives it back: with lists in place of tuples, and text as keys."""
    plain: Facts = json.loads(json.dumps(facts))
    return plain
