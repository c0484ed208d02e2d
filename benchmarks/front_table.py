"""Rivals in Markdown, from the lines of `python -m benchmarks.front`."""

import numpy as np

from benchmarks.lines import Line

HEAD = """# Rivals at equal total epochs

`{command}` measures what stands here. `--table FILE.md` writes the table
and, beside it, its lines: a JSON object for each run, with its settings.

**What is measured.** The test accuracy of the exported integers in percent: the mean and the standard deviation over
seeds. Each run chose its network on validation data. All strategies of a seed start from one float network, whose
epochs count for each of them.

**How the epochs are spent.** After the float network, a strategy that searches does so for a third of the epochs, and
fine-tunes what it decided for the rest. Sensitivity needs fewer epochs for its table, which is measured on one batch,
and fine-tunes longer. Uniform fine-tunes the widest network of each precision that fits. This split was chosen for all
strategies on validation data of seed 0. The gradient's own settings were chosen in pilots on validation data of other
seeds. Those pilots also showed accuracies on these test images to the people who chose.

**What each strategy decides.** All strategies work on one space. Gradient and sensitivity choose a precision for every
channel. Random, TPE, NSGA-II and evolution choose one for every layer, and widths in eighths, on at most 1,000
validation images. Magnitude keeps 4 bits everywhere. Uniform has one precision for all layers, and widths in 64ths.

**Hypervolume** is the test accuracy (0 to 1) that a limit on flash allows, summed over octaves (factors of 2) of that
limit, from the smallest budget to the size of the unpruned network. At each limit, the network of the largest budget
within the limit counts. A network below the smallest budget counts as if it filled that budget. In brackets are 95%
bootstrap intervals over seeds, which are too narrow where seeds are few.

**"Behind gradient by"** is how much smaller the hypervolume is than the gradient's of the same seed, with Student's
95% interval. It is negative where the hypervolume is larger.

**What the intervals leave out.** Seeds are those of training. Validation and test images are the same for all seeds,
so the intervals do not say what other images would show.

**Seconds** are those of a run on one core of a machine on which other work ran as well, without those of the float
network.
"""


def table(lines: list[Line], command: str) -> str:
    """A table for each data set, a row for each strategy that has a run."""
    return HEAD.format(command=command) + "".join(
        _section(data, [line for line in lines if line["data"] == data])
        for data in dict.fromkeys(line["data"] for line in lines)
    )


def _section(data: str, lines: list[Line]) -> str:
    runs = [line for line in lines if "accuracy" in line]
    budgets = list(dict.fromkeys(line["budget_bytes"] for line in runs))
    heads = ["strategy", *(f"{b:,} B" for b in budgets), "hypervolume", "behind gradient by", "seconds", "peak MB"]
    text = f"\n## {data}\n\n{_row(heads)}{'|---' * len(heads)}|\n"
    for strategy in dict.fromkeys(line["strategy"] for line in runs):
        own = [line for line in runs if line["strategy"] == strategy]
        volume = next((v for v in lines if v.get("strategy") == strategy and "hypervolume" in v), {})
        cells = [_accuracy([line["accuracy"] for line in own if line["budget_bytes"] == b]) for b in budgets]
        cells += [_volume(volume), _behind(volume), _mean(own, "seconds", 1), _mean(own, "peak_bytes", 1e6)]
        text += _row([strategy, *cells])
    seeds, epochs = {line["seed"] for line in runs}, [line["epochs"] for line in runs]
    text += f"\nSeeds {', '.join(map(str, sorted(seeds)))}; {min(epochs):.1f} to {max(epochs):.1f} epochs a run.\n"
    taus = [line for line in lines if "kendall_tau" in line]
    if taus:
        each = [line["kendall_tau"] for line in taus]
        shown = ", ".join("none (all are as good)" if tau is None else f"{tau:.2f}" for tau in each)
        text += f"\nKendall's tau of {taus[0]['candidates']} random candidates at {taus[0]['budget_bytes']:,} B before "
        text += f"and after training, a seed each: {shown}.\n"
    return text


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |\n"


def _accuracy(values: list[float]) -> str:
    if not values:
        return ""
    spread = f" ± {100 * np.std(values, ddof=1):.2f}" if len(values) > 1 else ""
    return f"{100 * np.mean(values):.2f}{spread}"


def _volume(line: Line) -> str:
    return f"{line['hypervolume']:.3f} ({line['low']:.3f} to {line['high']:.3f})" if line else ""


def _behind(line: Line) -> str:
    if "behind" not in line:
        return ""
    half = "" if line["behind_half"] is None else f" ± {line['behind_half']:.3f}"
    return f"{line['behind']:.3f}{half}"


def _mean(lines: list[Line], key: str, unit: float) -> str:
    """Of the searches that ran in one piece."""
    values = [line[key] for line in lines if line[key] is not None]
    return f"{np.mean(values) / unit:.0f}" if values else ""
