"""From the figures of a network to its warnings: what was seen, the likely cause, and what to set.

The thresholds and their reasons stand in docs/methods.md, section 15.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil
from statistics import mean

from search.health.figures import CALIBRATED, DECIDED, QUANTIZED, SEARCHED, SWITCH, Figures
from search.monitor.words import COSTS

FAR_ERRORS, FAR_POINTS = 4.0, 5.0  # a value is far below another one by more than both
FLOAT_POINTS = 10.0  # what budgets may take from the float network
CHANCE_ERRORS = 3.0  # standard errors above chance, up to which a network may be guessing
NOISE_ERRORS = 2.0  # standard errors that are nothing but luck
FEWEST_STEPS = 50  # of a search
LEAST_USED = 0.95  # share of the budget that is used most
LAST_SHARE, RISING_POINTS = 0.2, 1.0  # of warm-up, and what its metric may still rise by there


@dataclass(frozen=True)
class RunWarning:
    """Something in the figures that is not as it should be.

    Attributes:
        name: one for each kind of warning, for programs.
        seen: what was seen, with figures.
        cause: the likely cause.
        advice: what to set.
    """

    name: str
    seen: str
    cause: str
    advice: str


def warnings_of(figures: Figures) -> list[RunWarning]:
    """All warnings, in the order of the run: what went wrong first is likely the cause of what comes after it."""
    found = (check(figures) for check in CHECKS)
    return [warning for warning in found if warning is not None]


def _float_at_chance(f: Figures) -> RunWarning | None:
    if not f.at_chance(f.float_network, CHANCE_ERRORS):
        return None
    w = f.train.warmup
    if f.warmup:
        cause = f"Warm-up learned nothing in {_epochs(len(f.warmup))}: its learning rate is too high or too low"
        advice = (
            f"train.warmup.lr={w.lr / 10:g} or {w.lr * 10:g} (now {w.lr:g}), "
            f"or more train.warmup.epochs (now {len(f.warmup)})."
        )
    else:
        cause = "This run did not train the float network, and its weights are not trained on this data"
        advice = "train.warmup.epochs over 0, or a network with weights that are trained on this data."
    return RunWarning(
        "float_at_chance",
        f"The float network has {_at(f, f.float_network)}, and {_chance(f)}.",
        f"{cause}; or labels do not belong to their images, or images have another scale than in training.",
        f"{advice} {f.against_one_answer}".rstrip(),
    )


def _float_still_rising(f: Figures) -> RunWarning | None:
    last = max(1, round(LAST_SHARE * len(f.warmup)))
    if len(f.warmup) < 2 * last:
        return None
    before, end = mean(f.warmup[-2 * last : -last]), mean(f.warmup[-last:])
    highest = f.metric.highest
    could_rise = highest is None or f.above_noise(highest, end, NOISE_ERRORS, RISING_POINTS)
    if not could_rise or not f.above_noise(end, before, NOISE_ERRORS, RISING_POINTS):
        return None
    return RunWarning(
        "float_still_rising",
        f"The float network was still improving when warm-up ended: {_at(f, end)} over the last {_epochs(last)}, "
        f"{f.metric.written(before)} over the {_epochs(last)} before.",
        "Warm-up was too short, so that the search began from a network that was not trained to its end.",
        f"train.warmup.epochs={2 * len(f.warmup)} (now {len(f.warmup)}).",
    )


def _lost_in_calibrating(f: Figures) -> RunWarning | None:
    calibrated = f.stages.get(CALIBRATED)
    if calibrated is None or not _far(f, f.float_network, calibrated):
        return None
    return RunWarning(
        "lost_in_calibrating",
        f"With the first steps of its quantizers the network has {_at(f, calibrated)}, "
        f"{_below(f, f.float_network, calibrated)} the float network ({f.metric.written(f.float_network)}), although "
        "it has 8 bits or more.",
        "The values of some tensor have no range that 8 bits can cover: a few are far beyond all others, or channels "
        "have very different scales.",
        "Look for outliers in the data and scale its channels alike; a norm behind each layer; "
        f"space.activation_bits=16 or another train.calibration (now {f.train.calibration}) where data cannot change.",
    )


def _search_too_short(f: Figures) -> RunWarning | None:
    if not 0 < f.search_steps < FEWEST_STEPS:
        return None
    longer = ceil(f.search_epochs * FEWEST_STEPS / f.search_steps)
    return RunWarning(
        "search_too_short",
        f"The search had {f.search_steps} steps in {_epochs(f.search_epochs)}.",
        f"With fewer than {FEWEST_STEPS} steps costs have to fall faster than the weights can follow.",
        f"{f.search_key}={longer} or more (now {f.search_epochs}), or a smaller train.batch_size "
        f"(now {f.train.batch_size}), which makes more steps of an epoch.",
    )


def _lost_in_deciding(f: Figures) -> RunWarning | None:
    """A loss that fine-tuning made good is none."""
    searched, decided = f.stages.get(SEARCHED), f.stages.get(DECIDED)
    if searched is None or decided is None or not (_far(f, searched, decided) and _far(f, searched, f.integers)):
        return None
    over = {name: cost for name, cost in f.search_costs.items() if cost > f.limits.get(name, cost)}
    if over:
        said = ", ".join(f"{COSTS.get(name, name)} {cost:,.0f} of {f.limits[name]:,.0f}" for name, cost in over.items())
        cause = f"The search ended above its budgets ({said}), and what was over them went at once."
        advice = f"{f.search_key}={2 * f.search_epochs} (now {f.search_epochs}), so that costs fall while it trains."
    else:
        cause = "The search was measured with its choices mixed, and the network that was decided is another one."
        advice = "space.mode=hard, a lower strategy.final_temperature, or a longer search."
    return RunWarning(
        "lost_in_deciding",
        f"The decided network has {_at(f, decided)}, {_below(f, searched, decided)} the search "
        f"({f.metric.written(searched)}), and fine-tuning came to {f.metric.written(f.integers)}.",
        cause,
        f"{advice} More train.finetune.epochs (now {f.train.finetune.epochs}) bring back more of it.",
    )


def _nothing_learned(f: Figures) -> RunWarning | None:
    """Of a network that starts as good as the float network, and stays so, nothing is expected."""
    start, lr = f.stages.get(DECIDED), f.train.finetune.lr
    if start is None or not f.finetuning or (best := max(f.finetuning)) >= start:
        return None
    if f.above_noise(start, best, NOISE_ERRORS):
        cause = "Every epoch made the network worse: the learning rate of fine-tuning is too high for it."
        advice = f"train.finetune.lr={lr / 10:g} (now {lr:g})."
    elif f.above_noise(f.float_network, start, NOISE_ERRORS):
        cause = "There was something to learn, since the float network is better: the learning rate is too high or low."
        advice = f"train.finetune.lr={lr / 3:g} or {lr * 3:g} (now {lr:g}), or more train.finetune.epochs."
    else:
        return None
    return RunWarning(
        "nothing_learned",
        f"None of the {_epochs(len(f.finetuning))} of fine-tuning came to what it began with: the best has "
        f"{f.metric.written(best)}, the decided network has {_at(f, start)}.",
        cause,
        advice,
    )


def _lost_in_integers(f: Figures) -> RunWarning | None:
    quantized, switch = f.stages.get(QUANTIZED, f.integers), f.stages.get(SWITCH, f.integers)
    before = max((*f.finetuning, quantized, switch, f.stages.get(DECIDED, f.integers)))
    if not _far(f, before, f.integers):
        return None
    t = f.train.finetune
    if _far(f, quantized, f.integers):
        cause = f"The same weights have {f.metric.written(quantized)} in quantized floats, so rounding costs the rest."
        advice = f"train.finetune.integer_epochs={max(2, 2 * t.integer_epochs)} (now {t.integer_epochs})."
    else:
        cause = "Training in integers took the network apart: its steps are too large."
        advice = f"train.finetune.lr={t.lr / 10:g} (now {t.lr:g}), or train.finetune.integer_epochs=0."
    return RunWarning(
        "lost_in_integers",
        f"The integers have {_at(f, f.integers)}, {_below(f, before, f.integers)} what fine-tuning had reached "
        f"({f.metric.written(before)}).",
        cause,
        advice,
    )


def _far_below_float(f: Figures) -> RunWarning | None:
    if not f.above_noise(f.float_network, f.integers, FAR_ERRORS, FLOAT_POINTS):
        return None
    searched, t = f.stages.get(SEARCHED), f.train.finetune
    if f.strategy == "gradient" and searched is not None and _far(f, f.float_network, searched):
        share = max(f.used().values(), default=1.0)
        cause = f"It was lost in the search, which ended at {f.metric.written(searched)}: " + (
            f"channels and bits went faster than the weights could follow, and further than they had to, since "
            f"{share:.0%} of the budget is used."
            if share < LEAST_USED
            else "channels and bits went faster than the weights could follow, or strategy.lr is too high."
        )
        advice = (
            f"{f.search_key}={2 * f.search_epochs} (now {f.search_epochs}), a smaller train.batch_size (now "
            f"{f.train.batch_size}), or a lower strategy.lr. If nothing helps, raise the budgets: they are too tight."
        )
    else:
        cause = "The budgets are tight for this network, or fine-tuning was too short to learn it anew."
        advice = (
            f"train.finetune.epochs={2 * t.epochs} (now {t.epochs}), train.distillation.weight=0.5, higher budgets."
        )
    return RunWarning(
        "far_below_float",
        f"The integers have {_at(f, f.integers)}, {_below(f, f.float_network, f.integers)} the float network "
        f"({f.metric.written(f.float_network)}).",
        cause,
        advice,
    )


def _at_chance(f: Figures) -> RunWarning | None:
    if not f.at_chance(f.integers, CHANCE_ERRORS):
        return None
    return RunWarning(
        "at_chance",
        f"The result is of no use: the integers have {_at(f, f.integers)}, and {_chance(f)}.",
        "The network collapsed on its way. The warnings before this one say where.",
        "What those warnings say. Where there are none: higher budgets, or a longer search and fine-tuning. "
        f"{f.against_one_answer}".rstrip(),
    )


def _budget_unused(f: Figures) -> RunWarning | None:
    """Where the integers are as good as the float network, nothing is lost by what is left."""
    used = f.used()
    lost = f.above_noise(f.float_network, f.integers, NOISE_ERRORS)
    if not used or max(used.values()) >= LEAST_USED or not lost:
        return None
    said = " and ".join(
        f"{share:.0%} of {COSTS.get(name, name)} ({f.costs[name]:,.0f} of {f.limits[name]:,.0f})"
        for name, share in used.items()
    )
    cause, advice = UNUSED.get(f.strategy, UNUSED_ELSE)
    return RunWarning("budget_unused", f"The network uses {said}: more channels or bits would fit.", cause, advice)


UNUSED = {
    "gradient": (
        "The search took away more than it had to, or no single change that is left fits.",
        "strategy.epochs higher, so that costs fall more slowly, or strategy.expand=true, which fills the budgets.",
    ),
    "fixed": (
        "No precision and width that strategy.weight_bits and strategy.widths offer comes closer.",
        "More numbers in strategy.widths or strategy.weight_bits.",
    ),
    "magnitude": (
        "strategy.fraction or strategy.threshold took more than the budgets ask for, or whole channels are too coarse.",
        "A lower strategy.fraction, or another strategy.weight_bits.",
    ),
}
UNUSED_ELSE = (
    "The strategy found nothing closer to the budgets that is more accurate.",
    "A longer search, or strategy=gradient, which decides each channel by itself.",
)
CHECKS: tuple[Callable[[Figures], RunWarning | None], ...] = (
    _float_at_chance,
    _float_still_rising,
    _lost_in_calibrating,
    _search_too_short,
    _lost_in_deciding,
    _nothing_learned,
    _lost_in_integers,
    _far_below_float,
    _at_chance,
    _budget_unused,
)


def _far(f: Figures, high: float, low: float) -> bool:
    return f.above_noise(high, low, FAR_ERRORS, FAR_POINTS)


def _at(f: Figures, value: float) -> str:
    return f"{f.metric.name} {f.metric.written(value)} on {f.images:,} validation images"


def _below(f: Figures, high: float, low: float) -> str:
    return f"{f.metric.difference(high - low)} below"


def _chance(f: Figures) -> str:
    return f"an answer that is the same for every image has {f.metric.written(f.chance)}"


def _epochs(count: int) -> str:
    return f"{count} epoch{'s' if count != 1 else ''}"
