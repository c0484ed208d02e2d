"""Every YAML in conf composes and parses, and refuses a key that nothing reads, by name; every experiment starts."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hydra.utils import get_class
from PIL import Image

from cost_models import cost_model
from search.budgets.feasibility import BudgetError
from search.config import parse
from search.errors import UsageError
from search.experiment import Experiment, prepare
from search.model import model_maker
from search.strategies import STRATEGIES

CONF = Path(__file__).parents[2] / "conf"
EXPERIMENTS = sorted(path.stem for path in (CONF / "experiment").glob("*.yaml"))
OPTIONS = sorted(
    (folder.name, path.stem)
    for folder in CONF.iterdir()
    if folder.is_dir() and folder.name != "experiment"
    for path in folder.glob("*.yaml")
)
FILLED_BY_USER = {  # option -> the keys that it leaves to the user
    ("data", "npz"): ["data.file=mine.npz"],
    ("data", "image_folder"): ["data.folder=mine"],
    ("data", "audio_folder"): ["data.folder=mine"],
    ("data", "cifar10"): ["data.folder=mine"],
    ("data", "csv"): ["data.file=mine.csv", "data.target=mood"],
    ("data", "made"): ["data.kind=pulses"],
    ("task", "custom"): ["task.kind=mine.Task"],
    ("model", "custom"): ["model._target_=torch.nn.Linear"],
}
LEFT_OPEN = {"resnet8_cifar10": ["data.folder=mine"]}  # experiment -> the keys that it leaves to the user
USUAL = ("gradient", "fixed", "tpe")  # strategies that are tried with every experiment whenever tests run
WITH_SCHEMA = [option for option in OPTIONS if option[0] != "model"]  # a model's keys are its class's arguments


def choice(group: str, name: str) -> list[str]:
    return [f"{group}={name}", *FILLED_BY_USER.get((group, name), [])]


def test_the_defaults_parse(composed):
    settings = parse(composed())
    assert settings.strategy.name == "gradient" and settings.budgets == {}


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_experiment_parses_and_names_its_own_folder(composed, name):
    settings = parse(composed(f"+experiment={name}", *LEFT_OPEN.get(name, [])))
    assert settings.name == name
    for cost in (*settings.costs, *settings.budgets, *settings.lambdas):
        cost_model(cost, settings.target)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Ten classes of small colour images, 20 each."""
    root = tmp_path_factory.mktemp("images")
    pixels = np.random.default_rng(0).integers(0, 256, (10, 20, 32, 32, 3), np.uint8)
    for split, name, number in np.ndindex(2, 10, 20):
        path = root / ("train", "test")[split] / f"class{name}" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels[name, number]).save(path)
    return root


@pytest.fixture
def prepared(composed, folder) -> Callable[..., Experiment]:
    """A run that is ready for its first epoch: data read, network converted, all that can be refused not refused.

    Images that do not come with the package are replaced by others of the same shape and number of classes.
    """
    others = {
        "fashion_mnist": ("data=fashion_mnist_mini", "data.train_images=null"),
        "image_folder": (f"data.folder={folder}",),
    }

    def make(*overrides: str) -> Experiment:
        config = composed(*overrides)
        settings = parse(composed(*overrides, *others.get(config.data.name, ())))
        return prepare(settings, model_maker(settings.model))

    return make


@pytest.mark.parametrize(
    ("name", "strategy"),
    [
        pytest.param(name, strategy, marks=[] if name == EXPERIMENTS[0] or strategy in USUAL else pytest.mark.slow)
        for name in EXPERIMENTS
        for strategy in STRATEGIES
    ],
)
def test_experiment_can_be_run_with_any_strategy(prepared, name, strategy):
    overrides = [f"+experiment={name}", f"strategy={strategy}"]
    if strategy == "fixed":  # it searches nothing, so it must be told what fits
        overrides += ["strategy.weight_bits=4", "strategy.widths=[0.5,0.25]"]
    run = prepared(*overrides)
    budgets = run.settings.budgets
    assert budgets and all(run.seed_costs[cost] > limit for cost, limit in budgets.items())  # there is work to do
    assert run.plan["warmup"] == run.settings.train.warmup.epochs > 0
    assert run.plan["finetune"] >= run.settings.train.finetune.epochs > 0  # longer where epochs are left
    assert type(run.strategy) is STRATEGIES[strategy]


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_fixed_is_refused_where_it_does_not_fit_and_says_what_to_set(prepared, name):
    with pytest.raises(BudgetError, match=r"at 8 bits and width 1 .* Lower strategy\.weight_bits or strategy\.widths"):
        prepared(f"+experiment={name}", "strategy=fixed")


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_experiment_offers_only_what_its_target_runs(composed, name):
    settings = parse(composed(f"+experiment={name}", *LEFT_OPEN.get(name, [])))
    assert set(settings.space.weight_bits) - {0} <= set(settings.target.weight_bits)
    assert settings.space.activation_bits in settings.target.activation_bits


@pytest.mark.parametrize("group, name", OPTIONS)
def test_option_parses(composed, group, name):
    settings = parse(composed(*choice(group, name)))
    chosen = getattr(settings, group)
    if group == "model":
        get_class(chosen["_target_"])
    elif hasattr(chosen, "name"):
        assert chosen.name == name


@pytest.mark.parametrize("option", sorted(FILLED_BY_USER))
def test_what_is_left_to_the_user_is_asked_for_by_name(composed, option):
    key = FILLED_BY_USER[option][0].split("=")[0]
    with pytest.raises(UsageError, match=f"^{key}: has no value"):
        parse(composed("=".join(option)))


@pytest.mark.parametrize("group, name", WITH_SCHEMA)
def test_unknown_key_is_refused_by_name(composed, group, name):
    with pytest.raises(UsageError, match=rf"^{group}\.widht: .*there is no such key"):
        composed(*choice(group, name), f"{group}.widht=3")


@pytest.mark.parametrize("group, name", WITH_SCHEMA)
def test_added_key_that_nothing_reads_is_refused_by_name(composed, group, name):
    with pytest.raises(UsageError, match=rf"^{group}\.widht: .*there is no such key"):
        parse(composed(*choice(group, name), f"+{group}.widht=3"))


@pytest.mark.parametrize("group", sorted({group for group, _ in OPTIONS} | {"+experiment"}))
def test_misspelt_option_is_refused_with_the_options_there_are(composed, group):
    folder = group.removeprefix("+")
    with pytest.raises(UsageError, match=f"^{folder}=nonesuch: there is no such option") as refused:
        composed(f"{group}=nonesuch")
    (listed,) = re.findall(r"There are (.*?)\.", str(refused.value))
    assert set(listed.split(", ")) == {path.stem for path in (CONF / folder).glob("*.yaml")}
