"""All that a report shows, as one plain value. The scripts of the page draw it and compute nothing themselves."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from search.errors import UsageError
from search.files.results import RESULTS_FILE
from search.monitor.history import HISTORY_FILE
from search.monitor.warned import warned
from search.monitor.words import COSTS, STAGES
from search.report import rivals, trajectories
from search.report.layers import Layer, layers_of_model, layers_of_picks
from search.report.rivals import Entry, Estimate
from search.report.runs import MODEL_FILE, RunPoint, RunRecord
from search.report.settings import ABSENT, flat
from search.report.verdicts import facts, promises, verdict, verdict_on_all
from search.strategies.sensitivity.table import FILE as SENSITIVITY_FILE
from search.tasks import TASKS

NOT_ALONE = "what sets them apart is not the strategy alone"
OWN_DATA = {"npz": "file", "image_folder": "folder"}  # data of the user's own -> the key that says where it lies
MOST_DETAILS = 50  # rows of the task's table of a network
FIRST_COSTS = ("flash_bytes", "peak_ram_bytes", "macs", "energy_pj", "latency_cycles")


def document(runs: Sequence[RunRecord]) -> dict[str, Any]:
    """Raises UsageError: in none of the runs there is anything to show, or they are of several tasks."""
    if not any(run.points or run.history for run in runs):
        raise UsageError(
            f"{', '.join(str(run.folder) for run in runs)}: nothing to show: no summary, and no line of {RESULTS_FILE} "
            f"or {HISTORY_FILE} that can be read. {' '.join(f for run in runs for f in run.faults)}"
        )
    tasks = list(dict.fromkeys(run.task for run in runs))
    if len(tasks) > 1:
        raise UsageError(f"runs of different tasks ({', '.join(tasks)}) do not compare. Report each by itself.")
    words, names = TASKS[tasks[0]].words, rivals.labels(runs)
    faults = [fault for run in runs for fault in run.faults] + _incomparable(runs)
    owned = [(number, point) for number, run in enumerate(runs) for point in run.points]
    points = [_point(number, runs[number], point, faults) for number, point in owned]
    made = (rivals.entry(i, names[number], runs[number], point) for i, (number, point) in enumerate(owned))
    entries = [e for e in made if e is not None]
    faults += _repeated(entries, [runs[number].folder for number, _ in owned]) + rivals.incomplete(entries)
    units, exported = _units(points), [point for _, point in owned if point.folder]
    of_all = verdict_on_all(exported, words.metric) if len(exported) > 1 else None
    return {
        "title": " and ".join(dict.fromkeys(_subject(run) for run in runs)),
        "verdict": asdict(of_all) if of_all else None,
        "facts": facts(runs),
        "metric": asdict(words.metric),
        "costNames": COSTS,
        "faults": faults,
        "warnings": [asdict(each) for each in warned([point.summary for _, point in owned])],
        "units": units,
        "rivals": list(dict.fromkeys(names)),
        "runs": [_run(run, name) for run, name in zip(runs, names, strict=True)],
        "points": points,
        "fronts": {cost: rivals.front(entries, cost) for cost in units},
        "budgets": [_standing(budgets, found) for budgets, found in rivals.at_budgets(entries).items()],
        "hypervolumes": {cost: found for cost in units if (found := _volumes(entries, cost))["rivals"]},
    }


def _repeated(entries: Sequence[Entry], folders: Sequence[Path]) -> list[str]:
    """Faults that name pairs of runs that are alike. Args: folders: of the run of each point."""
    pairs = [(folders[a.index], folders[b.index]) for a, b in rivals.repeated(entries)]
    return [
        f"{first} and {second}: the same strategy, settings, budgets and seed. In means and intervals the one "
        "that is better on validation data counts."
        for first, second in pairs
        if first != second
    ]


def _incomparable(runs: Sequence[RunRecord]) -> list[str]:
    """Faults that say where runs differ in data set, model or length, since one front shows all of them."""
    found = []
    for what, each, so in (
        ("data sets", [_of_group(run, "data", "name") for run in runs], "what they reach is not comparable"),
        ("models", [_of_group(run, "model", "_target_") for run in runs], NOT_ALONE),
        ("lengths", _lengths(runs), NOT_ALONE),
    ):
        names = [name for name in dict.fromkeys(each) if name]
        if len(names) > 1:
            found.append(
                f"runs of different {what} ({'; '.join(names)}): {so}, and the front, means and hypervolumes hold them "
                "all. Report each by itself."
            )
    return found


def _of_group(run: RunRecord, group: str, name: str) -> str:
    """What a group of settings is: its name and all its keys. It is "" where the settings are not known."""
    settings = flat(run.settings.get(group, {}))
    others = (f"{key}={value}" for key, value in settings.items() if key != name and value is not None)
    return " ".join([str(settings.get(name, "")), *others]).strip()


def _lengths(runs: Sequence[RunRecord]) -> list[str]:
    """Total epochs of the runs that found one network each, where they differ by more than a tenth."""
    own = [run for run in runs if run.summary.get("epochs") and "front" not in run.summary]
    each = [(run.strategy, float(run.summary["epochs"]["total"])) for run in own]
    totals = [total for _, total in each]
    if not totals or max(totals) <= 1.1 * min(totals):
        return []
    return [f"{strategy} {total:.0f} epochs" for strategy, total in each]


def _subject(run: RunRecord) -> str:
    """ "ResNet8 on digits", where the settings say so; data of the user's own has the name of its file or folder."""
    model = str(run.settings.get("model", {}).get("_target_", "")).rpartition(".")[2]
    settings = run.settings.get("data", {})
    name = str(settings.get("name", ""))
    own = Path(str(settings.get(OWN_DATA.get(name, "")) or ""))
    data = (own.stem if own.suffix == ".npz" else own.name) or name
    return f"{model} on {data}" if model and data else run.name


def _units(points: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    found = {name: cost["unit"] for point in points for name, cost in point["costs"].items()}
    order = [*(name for name in FIRST_COSTS if name in found), *found]
    return {name: found[name] for name in dict.fromkeys(order)}


def _run(run: RunRecord, rival: str) -> dict[str, Any]:
    return {
        "folder": str(run.folder),
        "rival": rival,
        "strategy": run.strategy,
        "seed": run.seed,
        "finished": run.finished,
        "seconds": run.summary.get("seconds", {}),
        "epochs": run.summary.get("epochs", {}),
        "versions": run.versions,
        "command": _repeatable(run.command),
        "settings": run.settings_text,
        "leftOut": _left_out(run),
        "budgets": {name: limit for name, limit in run.settings.get("budgets", {}).items() if limit is not None},
        "yardstick": _yardstick(run),
        "curves": trajectories.curves(run.history),
        "decisions": trajectories.decisions(run.history),
        "sensitivity": trajectories.sensitivities(run.sensitivity),
        "sensitivityFile": SENSITIVITY_FILE,
        "historyFile": HISTORY_FILE,
    }


def _yardstick(run: RunRecord) -> dict[str, Any]:
    """What curves of costs are divided by: the budgets, or on a front and without budgets the seed network's costs."""
    budgets = {name: limit for name, limit in run.settings.get("budgets", {}).items() if limit}
    if budgets and "front" not in run.summary and not any(flat(run.settings.get("front") or {}).values()):
        return {"of": "budget", "costs": budgets}
    seed = next((point.costs for point in run.points if point.folder), {})
    return {"of": "seed network", "costs": {name: cost.get("seed_network") for name, cost in seed.items()}}


def _repeatable(command: str) -> str:
    """The command without the folder, which is taken by now. A call from Python stays as it was."""
    if "-m search" not in command:
        return command
    return shlex.join(word for word in shlex.split(command) if not word.startswith("folder="))


def _left_out(run: RunRecord) -> list[dict[str, str]]:
    """What the search did not decide: layers left alone, precisions the target cannot run, and decisions not opened."""
    alone = next((p.architecture.left_alone for p in run.points if p.architecture), {})
    found = [{"what": f"layer {name}", "why": why} for name, why in alone.items()]
    settings = flat(run.settings)
    for key in ("weight_bits", "activation_bits"):
        asked, runs = _several(settings.get(f"space.{key}")), _several(settings.get(f"target.{key}"))
        beyond = [bits for bits in asked if bits and runs and bits not in runs]
        if beyond:
            why = f"target '{settings.get('target.name')}' runs {', '.join(map(str, runs))}"
            found.append({"what": f"{key.replace('_', ' ')} {', '.join(map(str, beyond))}", "why": why})
    widths = _several(settings.get("space.weight_bits"))
    offered = [bits for bits in widths if bits]
    activations = settings.get("space.activation_bits")
    shut = {
        "channels": bool(widths) and 0 not in widths and "no 0 in space.weight_bits",
        "weight precision": len(offered) == 1 and f"space.weight_bits offers {offered} alone",
        "activation precision": isinstance(activations, int) and f"space.activation_bits is {activations}",
        "kernel sizes": settings.get("space.kernel_sizes", ABSENT) == [] and "space.kernel_sizes is empty",
    }
    return found + [{"what": what, "why": why} for what, why in shut.items() if why]


def _several(value: Any) -> list[Any]:
    """A setting that may be a list, one value or null, as a list."""
    return value if isinstance(value, list) else [] if value is None else [value]


def _point(number: int, run: RunRecord, point: RunPoint, faults: list[str]) -> dict[str, Any]:
    words = TASKS[run.task].words
    details = words.details(point.summary, MOST_DETAILS)
    said = verdict(point, words.metric, details.caution)
    return {
        "run": number,
        "name": point.folder.name if point.folder and point.folder != run.folder else "",
        "architecture": point.architecture.hash if point.architecture else "",
        "exported": point.folder is not None,
        "seed": point.summary.get("seed", run.seed),
        "scores": point.scores,
        "stages": {STAGES.get(name, name): value for name, value in point.summary.get("stages", {}).items()},
        "belowFloat": point.summary.get("below_float", {}),
        "warnings": list(point.summary.get("warnings", ())),
        "details": asdict(details),
        "verdict": asdict(said) if said else None,
        "promises": {name: {**asdict(each), "met": each.met} for name, each in promises(point).items()},
        "costs": point.costs,
        "budgets": point.budgets,
        "lambdas": point.lambdas,
        "knee": run.summary.get("front", {}).get("knee", "") == point.summary.get("point", None),
        "files": point.summary.get("files", {}),
        "mismatches": point.summary.get("mismatches", {}),
        "pattern": point.summary.get("pattern", {}),
        "layers": [asdict(layer) for layer in _layers(run, point, faults)],
    }


def _layers(run: RunRecord, point: RunPoint, faults: list[str]) -> list[Layer]:
    picks = point.architecture.picks if point.architecture else {}
    if point.folder is None:
        return layers_of_picks(picks)
    try:
        found, wrong = layers_of_model(point.folder / MODEL_FILE, picks, run.history)
    except UsageError as error:
        faults.append(f"{error} The report shows its decisions without costs.")
        return layers_of_picks(picks)
    faults += wrong
    return found


def _standing(budgets: rivals.Budgets, found: Sequence[Estimate]) -> dict[str, Any]:
    return {"budgets": dict(budgets), "rivals": [asdict(each) for each in found]}


def _volumes(entries: Sequence[Entry], cost: str) -> dict[str, Any]:
    found = [asdict(each) for each in rivals.hypervolumes(entries, cost)]
    return {"seedCost": rivals.seed_cost(entries, cost), "rivals": found}
