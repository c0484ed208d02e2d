"""What can be set for each strategy; see search.settings.run."""

from dataclasses import dataclass, field
from math import inf
from typing import Any

from search.settings.require import require, require_0_to_1, require_1_or_more_or_null, require_over_0

METHODS = ("dual", "duccio")  # of meeting budgets, see search.objective.objective
EVALUATIONS = ("inherited", "tuned", "scratch")
PRUNERS = ("none", "median", "hyperband")
POPULATIONS = ("evolution", "nsga2")  # samplers that read strategy.population
FRONTS = ("gp", "nsga2", "random", "tpe")  # that search over several objectives


@dataclass
class GradientSettings:
    """Differentiable search.

    Attributes:
        epochs: of the search; null: as many as limits.epochs leaves, or 12 without that limit.
        next_epochs: of the search for each further point of a front; null: a third of `epochs`.
        decision_lr: how far a decision moves in a step at most; its threshold is 0.5 away. Short searches take longer
            steps, see search.training.pace.
        method: of meeting budgets: "dual" or "duccio".
        ramp: share of the search in which the target moves from the seed network's cost to the budget. After it the
            decisions settle, because after each decision that changes the weights need some steps.
        final_temperature: temperature of the choices at the end; they start at space.temperature.
        pattern_decay: weight decay of the parameters of a pattern's structures, in the search.
        expand: the result grows to the budgets, all layers by one factor.
    """

    name: str = "gradient"
    epochs: int | None = None
    next_epochs: int | None = None
    lr: float = 0.03
    decision_lr: float = 6e-2
    weight_decay: float = 1e-4
    method: str = "dual"
    ramp: float = 0.4
    final_temperature: float = 1.0
    pattern_decay: float = 0.01
    expand: bool = False

    def __post_init__(self) -> None:
        require_1_or_more_or_null("strategy", self, "epochs", "next_epochs")
        require("strategy.method", self.method, self.method in METHODS, f"one of {sorted(METHODS)}")
        require_0_to_1("strategy", self, "weight_decay", "pattern_decay")
        require("strategy.ramp", self.ramp, 0 <= self.ramp <= 1, "0 to 1")
        require_over_0("strategy", self, "lr", "decision_lr", "final_temperature")


@dataclass
class FixedSettings:
    """One precision for all weights, by quantization-aware training. Several precisions and widths make a sweep."""

    name: str = "fixed"
    weight_bits: Any = 8  # an int, or several
    widths: list[float] = field(default_factory=lambda: [1.0])

    def __post_init__(self) -> None:
        bits = self.each_bits
        holds = bool(bits) and all(isinstance(b, int) and not isinstance(b, bool) and b > 0 for b in bits)
        require("strategy.weight_bits", self.weight_bits, holds, "a number of bits, or a list of them")
        holds = bool(self.widths) and all(0 < width <= 1 for width in self.widths)
        require("strategy.widths", self.widths, holds, "numbers over 0, to 1")

    @property
    def each_bits(self) -> list[int]:
        return list(self.weight_bits) if isinstance(self.weight_bits, list) else [self.weight_bits]


ESTIMATES = ("measured", "gradient")


@dataclass
class SensitivitySettings:
    """The loss increase of each option alone, and an integer program over the budgets.

    Attributes:
        estimate: "measured" takes a forward pass for every option of every channel; "gradient" takes one pass and the
            Fisher information.
        batches: how many batches of training data it is measured on.
        table: sensitivity.json of another run with the same float network, for new budgets; null: this run measures it.
    """

    name: str = "sensitivity"
    estimate: str = "measured"
    batches: int = 4
    table: str | None = None

    def __post_init__(self) -> None:
        require("strategy.estimate", self.estimate, self.estimate in ESTIMATES, f"one of {ESTIMATES}")
        require("strategy.batches", self.batches, self.batches >= 1, "1 or more")
        for key, plain in (("estimate", "measured"), ("batches", 4)):
            made_here = self.table is None or getattr(self, key) == plain
            require(f"strategy.{key}", getattr(self, key), made_here, f"{plain}, as it comes, with strategy.table")


STRUCTURES, CRITERIA = ("channels", "weights"), ("magnitude", "gradient")
SCOPES, ORDERS = ("global", "layer"), ("uniform", "energy")


@dataclass
class MagnitudeSettings:
    """Pruning by a ranking, at one precision for all weights.

    Attributes:
        structure: what is pruned: "channels", or single "weights", whose zeros stay in dense layers
            (space.pattern=weights).
        criterion: what the ranking is by: "magnitude", which is |w|, or "gradient", which is |w dL/dw|.
        fraction: the share of all channels or weights that goes.
        threshold: what is below it goes, in units of its layer's mean. Without a fraction and a threshold, channels go
            until the budgets are met.
        scope: "global" makes one ranking of all layers; "layer" takes the same share of each layer.
        order: "uniform" prunes all layers at once; "energy" one after the other, the one that takes most energy first,
            each until the loss has risen by `tolerance`.
        steps: in how many steps the amount is reached.
        epochs: of training after the steps, in all; null: as many as limits.epochs leaves, or 12 without that limit.
            Each further point of a front takes one step and a third of the epochs.
        rewind: after each step the weights that are left are set back to what they were before warm-up.
    """

    name: str = "magnitude"
    structure: str = "channels"
    criterion: str = "magnitude"
    fraction: float | None = None
    threshold: float | None = None
    weight_bits: int = 8
    scope: str = "global"
    order: str = "uniform"
    tolerance: float = 0.01
    steps: int = 4
    epochs: int | None = None
    lr: float = 0.03
    weight_decay: float = 1e-4
    rewind: bool = False

    def __post_init__(self) -> None:
        for key, allowed in (("structure", STRUCTURES), ("criterion", CRITERIA), ("scope", SCOPES), ("order", ORDERS)):
            require(f"strategy.{key}", getattr(self, key), getattr(self, key) in allowed, f"one of {allowed}")
        require("strategy.fraction", self.fraction, self.fraction is None or 0 < self.fraction < 1, "over 0, below 1")
        holds = self.threshold is None or 0 < self.threshold < inf
        require("strategy.threshold", self.threshold, holds, "a finite number over 0, or null")
        both = self.fraction is not None and self.threshold is not None
        require("strategy.threshold", self.threshold, not both, f"null, where strategy.fraction is {self.fraction}")
        judged = self.threshold is None or (self.scope, self.order) == ("global", "uniform")
        require("strategy.threshold", self.threshold, judged, "null, where strategy.scope or strategy.order is given")
        require("strategy.scope", self.scope, self.scope == "global" or self.order == "uniform", "global, by energy")
        require("strategy.steps", self.steps, self.steps >= 1, "1 or more")
        least = self.steps if self.steps > 1 else 0
        enough = self.epochs is None or self.epochs >= least
        require("strategy.epochs", self.epochs, enough, f"{least} or more for {self.steps} steps, or null")
        require("strategy.weight_bits", self.weight_bits, self.weight_bits >= 1, "1 or more")
        require_over_0("strategy", self, "lr", "tolerance")
        require_0_to_1("strategy", self, "weight_decay")


@dataclass
class BlackBoxSettings:
    """Search without gradients, by one of Optuna's samplers.

    Attributes:
        name: the sampler: random, tpe, gp, nsga2, cmaes or evolution.
        trials: how many candidates are measured.
        attempts: how many candidates are drawn at most, those over a budget included.
        evaluation: how a candidate is measured. "inherited" takes the weights of the warmed-up network and estimates
            the norms anew; "tuned" trains from there for candidate_epochs; "scratch" trains for as many epochs from the
            network as it was before warm-up.
        val_images: how many images an inherited candidate is measured on, spread evenly over validation data; null:
            all.
        pruner: ends the training of candidates that fall behind: "none", "median" or "hyperband".
        objectives: costs that are minimized beside the accuracy, for fronts, with random, tpe, gp and nsga2.
        networks: how many of the best candidates are fine-tuned. With several objectives they are spread over the
            front.
        population: of evolution and nsga2.
        tournament: how many members of the population compete to be the parent, in evolution.
        storage: where the study is that several processes work on: the URL of a database (sqlite:///..., postgresql://...)
            or the file of a journal; null: a journal in the run's folder.
        study: the name of the study in the storage.
    """

    name: str = "tpe"
    trials: int = 64
    attempts: int = 20_000
    evaluation: str = "inherited"
    candidate_epochs: int = 1
    val_images: int | None = None
    pruner: str = "none"
    objectives: list[str] = field(default_factory=list)
    networks: int = 1
    population: int = 32
    tournament: int = 8
    storage: str | None = None
    study: str | None = None

    def __post_init__(self) -> None:
        require("strategy.evaluation", self.evaluation, self.evaluation in EVALUATIONS, f"one of {EVALUATIONS}")
        require("strategy.pruner", self.pruner, self.pruner in PRUNERS, f"one of {PRUNERS}")
        cut = self.pruner == "none" or (self.evaluation != "inherited" and not self.objectives)
        require("strategy.pruner", self.pruner, cut, "none, where nothing is trained or objectives are several")
        require("strategy.population", self.population, self.population >= 2, "2 or more")
        for key in ("trials", "attempts", "candidate_epochs", "networks", "tournament"):
            require(f"strategy.{key}", getattr(self, key), getattr(self, key) >= 1, "1 or more")
        require_1_or_more_or_null("strategy", self, "val_images")
        if self.storage is not None:
            require("strategy.study", self.study, self.study is not None, "a name, where strategy.storage is given")
        self._refuse_what_nothing_reads()

    def _refuse_what_nothing_reads(self) -> None:
        """Raises UsageError for keys that do nothing in this search, unless they have their default values."""
        trained, pruned = self.evaluation != "inherited", self.pruner != "none"
        self._read_for("population", self.name in POPULATIONS, f"strategy={'|'.join(POPULATIONS)}")
        self._read_for("tournament", self.name == "evolution", "strategy=evolution")
        self._read_for("candidate_epochs", trained, "strategy.evaluation=tuned|scratch")
        self._read_for("val_images", not trained, "strategy.evaluation=inherited")
        self._read_for("objectives", self.name in FRONTS, f"strategy={'|'.join(FRONTS)}")
        cut = not pruned or self.candidate_epochs > 1
        allowed = f"2 or more, where strategy.pruner={self.pruner} is to end candidates before their last"
        require("strategy.candidate_epochs", self.candidate_epochs, cut, allowed)

    def _read_for(self, key: str, is_read: bool, readers: str) -> None:
        default = BlackBoxSettings.__dataclass_fields__[key]
        plain = default.default_factory() if callable(default.default_factory) else default.default
        value = getattr(self, key)
        allowed = f"{plain}, as it comes: strategy={self.name} with strategy.evaluation={self.evaluation} does not "
        require(f"strategy.{key}", value, is_read or value == plain, f"{allowed}read it, {readers} does")
