"""What is refused of a configuration: by the key, the file that has it, and the names that there are."""

import re

import pytest

from search.config import parse
from search.config.refusals import near
from search.errors import UsageError


def refused(composed, *overrides) -> str:
    with pytest.raises(UsageError) as said:
        parse(composed(*overrides))
    return str(said.value)


@pytest.fixture
def experiment(composed, tmp_path):
    """(text, *overrides) -> what is said of an experiment of the user's that holds the text."""

    def call(text: str, *overrides: str) -> str:
        (tmp_path / "experiment").mkdir()
        (tmp_path / "experiment/mine.yaml").write_text(text)
        return refused(composed, f"hydra.searchpath=[file://{tmp_path}]", "+experiment=mine", *overrides)

    return call


@pytest.mark.parametrize("plus", ["", "+", "++"])
@pytest.mark.parametrize(
    ("override", "said"),
    [
        (
            "strategy.epoch=3",
            "strategy.epoch: with strategy=gradient there is no such key. There are strategy.epochs, ",
        ),
        ("train.warmup.epoch=3", "train.warmup.epoch: there is no such key. There are train.warmup.epochs, "),
        ("budgets.flash_kb=24", "budgets.flash_kb: there is no such key. There are budgets.flash_bytes, "),
        ("lambdas.flops=1", "lambdas.flops: there is no such key. There are lambdas.bops, "),
        ("front.flash_kb=1", "front.flash_kb: there is no such key. There are front.flash_bytes, "),
        ("task.weights=balanced", "task.weights: with task=classification there is no such key."),
        ("buget=1", "buget: there is no such key. There are budgets, "),
    ],
)
def test_a_key_that_nothing_reads_is_refused_with_the_nearest_first_and_with_no_advice_to_add_it(
    composed, override, said, plus
):
    message = refused(composed, plus + override)
    assert message.startswith(said)
    assert "+" not in message and "experiment" not in message and "hydra" not in message


def test_a_key_that_stands_deeper_is_named_there(composed):
    found = refused(composed, "epochs=3").split("There are ")[1].split(", ")
    assert set(found[:4]) == {"strategy.epochs", "train.warmup.epochs", "train.finetune.epochs", "limits.epochs"}


def test_a_key_of_another_option_is_named_with_that_option(composed):
    said = refused(composed, "strategy=fixed", "strategy.decision_lr=1")
    assert said.endswith("strategy.decision_lr is a key of strategy=gradient.")


def test_an_argument_of_a_network_may_be_added(composed):
    assert refused(composed, "model.widht=1").endswith(
        "There are model.width, model.strides, model._target_. "
        "+model.widht=VALUE gives the network an argument that is not among these."
    )
    assert parse(composed("+model.widht=1")).model["widht"] == 1


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("seed=one", "seed: Value 'one' of type 'str' could not be converted to Integer."),
        ("strategy.epochs=few", "strategy.epochs: Value 'few' of type 'str' could not be converted to Integer."),
        (
            "space.weight_bits=[two]",
            "space.weight_bits[0]: Value 'two' of type 'str' could not be converted to Integer.",
        ),
        ("space.weight_bits=3", "space.weight_bits: Invalid value assigned: int is not a ListConfig, list or tuple."),
        ("data.file=a=b", """'data.file=a=b' cannot be read: mismatched input '=' expecting <EOF>."""),
        ("epochs", "'epochs' cannot be read: Error parsing override 'epochs'. Write KEY=VALUE."),
        ("experiment=mobilenet_mcu", "experiment=NAME: a plus sign belongs before it, as +experiment=NAME."),
        (
            "+strategy=tpe",
            "strategy: more than one option is chosen. Write strategy=tpe without a plus on the command line, and "
            "`- override /strategy: tpe` in `defaults` of a file.",
        ),
        ("++strategy=tpe", "++strategy=tpe: a group has one option. Write strategy=tpe, without a plus."),
        ("+seed=1", "+seed=1: the key is there already. Write seed=1, without the plus."),
        ("seed=0,1", "seed=0,1: several values are a sweep, a run for each, and need -m on the command line."),
        ("seed=range(1,3)", "seed=range(1,3): several values are a sweep, a run for each, and need -m on the"),
        ("~nosuch", "~nosuch: there is nothing of this name that could be taken away. Leave it out."),
        ("~strategy=tpe", "~strategy=tpe: there is nothing of this name that could be taken away. Leave it out."),
        ("~train.warmup", "~train.warmup: a key cannot be taken away. Leave ~train.warmup out."),
        (
            "train.warmup=3",
            "train.warmup: holds keys and is no value itself. Set one of them, as train.warmup.epochs=VALUE",
        ),
        (
            "train.warmup=null",
            "train.warmup: holds keys and is no value itself. Set one of them, as train.warmup.epochs=",
        ),
        ("lambdas=[1]", "lambdas: holds keys and is no value itself. Set one of them, as lambdas."),
        ("target.cycles_per_element=3", "target.cycles_per_element: holds keys and is no value itself."),
        ("+experiment=mine.yaml", "experiment=mine: there is no such option of experiment. There are "),
        ("hydra.launcher.n_jobs=2", "hydra.launcher.n_jobs: there is no such key. There are hydra.launcher._target_."),
        ("hydra/launcher=none", "hydra/launcher=none: there is no such option of hydra/launcher. There are "),
    ],
)
def test_what_cannot_be_used_is_refused_by_name(composed, override, said):
    assert refused(composed, override).startswith(said)


def test_an_experiment_and_another_name_say_which_key_names_a_run(composed):
    said = refused(composed, "+experiment=mobilenet_mcu", "experiment=mine")
    assert said.startswith("experiment=mine: there is no such option of experiment. There are ")
    assert said.endswith("A run is given a name with name=mine.")


@pytest.mark.parametrize("second", ["mobilenet_mcu", "resnet8_digits"])
def test_a_second_experiment_is_refused_with_what_may_be_done(composed, second):
    said = refused(composed, "+experiment=resnet8_digits", f"+experiment={second}")
    assert said.startswith("experiment: more than one is added. Add one, as +experiment=NAME. A file builds on another")


def test_an_experiment_builds_on_another_one_as_the_message_says(composed, tmp_path):
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment/mine.yaml").write_text("# @package _global_\ndefaults:\n  - resnet8_digits\nseed: 7\n")
    settings = parse(composed(f"hydra.searchpath=[file://{tmp_path}]", "+experiment=mine"))
    assert (settings.seed, settings.data.name) == (7, "digits")


def test_a_file_that_is_named_with_its_ending_is_looked_for_without_it(composed):
    assert "this one as FOLDER/experiment/mine.yaml. " in refused(composed, "+experiment=mine.yaml")


def test_no_message_shows_the_inside_of_the_libraries(composed):
    for override in ("~data.file", "~train.warmup", "lambdas=[1]", "strategy@x=tpe"):
        said = refused(composed, "data=npz", "data.file=x", override)
        assert "\n" not in said and "object_type" not in said and "DictConfig" not in said


def test_a_key_that_a_file_leaves_is_refused_with_the_file(experiment):
    text = "# @package _global_\ndefaults:\n  - override /data: npz\ndata:\n  file: d.npz\n"
    said = experiment(text, "data=image_folder")
    assert said.startswith("experiment/mine.yaml sets data.file, but with data=image_folder there is no such key. ")
    assert said.endswith(
        "data.file is a key of data=csv, npz. Take data.file out of experiment/mine.yaml, or choose such an option."
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("strategy: {epochs: few}", "experiment/mine.yaml: strategy.epochs: Value 'few' of type"),
        ("bugets: {macs: 1}", "experiment/mine.yaml sets bugets, but there is no such key. There are budgets, "),
        ("data: npz", "experiment/mine.yaml: 'npz' stands where keys belong. .* `- override /data: npz`"),
        ("defaults: [/data: npz]", "data: more than one option is chosen.* `- override /data: npz` in `defaults` of a"),
        ("defaults: [override data: npz]", "experiment/mine.yaml: a slash .* 'data', as in `- override /data: OPTION`"),
        ("defaults: [data: npz]", "experiment/mine.yaml: `data: npz` in .* has to be `- override /data: npz`"),
        (
            "defaults: [override /dat: npz]",
            "experiment/mine.yaml: .* there is no group 'dat'. There are data, strategy",
        ),
        ("defaults: [nosuch]", "experiment/mine.yaml: its `defaults` have 'nosuch', and there is no such file in its"),
        ("defaults: {override /data: npz}", "experiment/mine.yaml: `defaults` must be a list"),
        ("train: {warmup: 3}", "experiment/mine.yaml: '3' stands where keys belong. .* stands below it, as in `train:"),
        ("defaults: [/space@x: nose]", "experiment/mine.yaml: space=nose: there is no such option of space."),
        ("data: {file: [1", 'a configuration file is no YAML: .*mine.yaml", line 2'),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_by_its_name(experiment, text, said):
    found = experiment(f"# @package _global_\n{text}\n")
    assert re.match(said, found), found


def test_an_experiment_without_its_first_line_says_so(experiment):
    assert experiment("seed: 3\n") == "experiment/mine.yaml: its first line has to be `# @package _global_`."


@pytest.mark.parametrize("override", ["train=3", "costs.x=1", "data=[1]", "model=5"])
def test_what_the_libraries_refuse_with_errors_of_python_is_refused_too(composed, override):
    assert refused(composed, override).startswith("the configuration cannot be read (")


def test_near_names_stand_first():
    assert near("epoch", ["train.lr", "train.epochs", "train.every"]) == ["train.epochs", "train.every", "train.lr"]
