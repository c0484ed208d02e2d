"""Who may import whom: search/integer <- cost_models <- spaces <- search; integers without torch; Hydra in few."""

import ast
import re
import subprocess
import sys
import tomllib
from itertools import chain
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("cost_models", "spaces", "search")
MODULES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
DISTRIBUTIONS = {
    "yaml": "PyYAML",
    "hydra": "hydra-core",
    "omegaconf": "hydra-core",
    "sklearn": "scikit-learn",
    "PIL": "pillow",
    "google": "protobuf",
    "elftools": "pyelftools",
    "sqlalchemy": "SQLAlchemy",
}


# The rooms of search/, from top to bottom: each may import those below it. Files of search/ itself are on top, but for
# those that all stand on. `integer` is the floor of cost_models/ and spaces/ too: it holds what an operator is and how
# long tensors live, which costs are computed from, and needs no torch. `errors` is below all of it: whoever raises what
# a user can act on says so by one base, and commands tell it from defects by that.
ROOMS = (
    *(
        "plugins",
        "config",
        "report",
        "strategies",
        "deploy",
        "training",
        "objective",
        "budgets",
        "health",
        "tasks",
        "settings",
        "monitor",
    ),
    *("files", "data", "integer", "kinds", "atomic", "distributed", "named", "compilers", "errors"),
)


def imported(path: Path) -> set[str]:
    """Full names of all that a file imports, inside functions too."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}, line {node.lineno}: relative import; write the full name"
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return names


def packages_of(path: Path) -> set[str]:
    return {name.split(".")[0] for name in imported(path)}


def outside(path: Path, allowed: set[str]) -> set[str]:
    return packages_of(path) - allowed - sys.stdlib_module_names


@pytest.mark.parametrize(
    "package, allowed",
    [
        ("cost_models", {"cost_models", "search", "torch"}),
        ("spaces", {"cost_models", "search", "spaces", "torch", "numpy", "safetensors", "triton"}),
        ("search/integer", {"search", "numpy", "safetensors"}),
    ],
)
def test_package_imports_only_what_it_may(package, allowed):
    found = {str(path.relative_to(ROOT)): outside(path, allowed) for path in (ROOT / package).rglob("*.py")}
    assert found and not {path: names for path, names in found.items() if names}


def test_cost_models_and_spaces_stand_on_the_floor_of_search_alone():
    floor = ("search.integer.", "search.atomic.", "search.compilers.", "search.errors.")
    used = [
        (str(path.relative_to(ROOT)), name)
        for package in ("cost_models", "spaces")
        for path in (ROOT / package).rglob("*.py")
        for name in imported(path)
        if name.startswith("search.")
    ]
    assert len(used) > 10 and not [(path, name) for path, name in used if not name.startswith(floor)]


def room(module: str) -> int:
    """Floor of a module of search/, counted from the top."""
    name = module.split(".")[1]
    return ROOMS.index(name) + 1 if name in ROOMS else 0


def test_every_folder_of_search_has_its_floor():
    folders = {path.parent.name for path in (ROOT / "search").glob("*/*.py")}
    assert len(folders) > 10 and folders <= set(ROOMS)
    assert all((ROOT / "search" / name).is_dir() or (ROOT / "search" / f"{name}.py").is_file() for name in ROOMS)


def test_rooms_of_search_import_downward_only():
    upward, walked = [], 0
    for path in (ROOT / "search").rglob("*.py"):
        here = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        inside = [module for module in imported(path) if module.startswith("search.")]
        upward += [(here, module) for module in inside if room(module) < room(here)]
        walked += len(inside)
    assert walked > 100 and not upward


def dotted(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def import_graph() -> dict[str, set[str]]:
    """Module -> the modules of ours that it imports, inside functions too; a package counts where it is named."""
    names = {dotted(path): path for path in MODULES}
    graph: dict[str, set[str]] = {}
    for name, path in names.items():
        parents = ((full, full.rsplit(".", 1)[0]) for full in imported(path))
        graph[name] = {full if full in names else parent for full, parent in parents} & names.keys() - {name}
    return graph


def reached(graph: dict[str, set[str]], start: str) -> set[str]:
    found, ahead = set[str](), [*graph[start]]
    while ahead:
        name = ahead.pop()
        if name not in found:
            found.add(name)
            ahead += graph[name]
    return found


def test_no_module_imports_itself_through_others():
    graph = import_graph()
    assert len(graph) > 100 and not {name for name in graph if name in reached(graph, name)}


def test_nothing_imports_tests_or_benchmarks():
    assert len(MODULES) > 100 and not [path for path in MODULES if packages_of(path) & {"tests", "benchmarks"}]


def test_hydra_and_omegaconf_stay_with_the_configuration_and_the_command():
    users = {path.relative_to(ROOT) for path in MODULES if packages_of(path) & {"hydra", "omegaconf"}}
    places = {str(path if path.parent == Path("search") else path.parent) for path in users}
    assert places == {"search/application.py", "search/plugins/hydra_plugins/picojoule", "search/config"}


def test_optuna_stays_with_its_strategies():
    users = [path.relative_to(ROOT).parent for path in MODULES if packages_of(path) & {"optuna", "sqlalchemy"}]
    assert set(users) == {Path("search/strategies/black_box")}


def test_triton_stays_with_the_passes_that_a_gpu_asks_for():
    assert [path.relative_to(ROOT) for path in MODULES if "triton" in packages_of(path)] == [
        Path("spaces/passes/fused.py")
    ]
    above = [path.relative_to(ROOT) for path in MODULES if "spaces.passes.fused.Fused" in imported(path)]
    assert above == [Path("spaces/passes/kernels.py")]


def test_integers_run_where_torch_is_not_installed():
    modules = [f"search.integer.{path.stem}" for path in (ROOT / "search/integer").glob("*.py") if path.stem[0] != "_"]
    script = "import importlib, sys\nsys.modules['torch'] = None  # an import of torch raises ImportError\n"
    script += f"for name in {modules}: importlib.import_module(name)\n"
    assert "search.integer.executor" in modules
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True)


def test_every_package_imported_is_declared():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = [*project["dependencies"], *chain(*project["optional-dependencies"].values())]
    declared = {re.split(r"[^\w-]", line)[0] for line in lines}
    used = set().union(*(outside(path, set(PACKAGES)) for path in MODULES))
    assert {DISTRIBUTIONS.get(name, name) for name in used} <= declared
    pinned = {line.split("==")[0] for line in (ROOT / "constraints.txt").read_text().splitlines()}
    assert declared - {"picojoule"} <= pinned
