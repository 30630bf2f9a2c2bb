"""Imports run one way, and cost nothing that is not asked for.

What a module may import is read from its source, imports inside of functions included: an import that is put off is
still a dependency.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import gpunet

PACKAGE = Path(gpunet.__file__).parent
ROOT = PACKAGE.parent

# From the bottom up. A module imports from its own layer and from those below it. The longest name that fits decides,
# and a module of no layer fails.
LAYERS = (
    (
        "gpunet.kernels",
        "gpunet.errors",
        "gpunet.counter_rng",
        "gpunet.machine",
        "gpunet.atomic",
        "gpunet.regular_file",
        "gpunet.tensor_file",
        "gpunet.fingerprint",
        "gpunet.resume",
        "gpunet.augmentation",
        "gpunet.sample_weights",
        "gpunet",
    ),
    ("gpunet.ops", "gpunet.data"),
    ("gpunet.parameters",),
    ("gpunet.optimizers", "gpunet.weight_penalty", "gpunet.clipping", "gpunet.schedules", "gpunet.pacing"),
    ("gpunet.network",),
    ("gpunet.torch_layout",),
    (
        "gpunet.history",
        "gpunet.training_run",
        "gpunet.training",
        "gpunet.evaluation",
        "gpunet.checkpoint",
        "gpunet.experiments",
        "gpunet.logs",
    ),
    ("gpunet.footprint", "gpunet.memory_limit", "gpunet.population"),
    (
        "gpunet.runs",
        "gpunet.seed_runs",
        "gpunet.resume_folder",
        "gpunet.prediction",
        "gpunet.equivalence",
        "gpunet.warmup",
        "gpunet.estimators",
    ),
    ("gpunet.exchange",),
    ("gpunet.reporting",),
    ("gpunet.demo", "gpunet.reproduction"),
    ("gpunet.sweep",),
    ("gpunet.cli",),
    ("scripts", "benchmarks"),
)
RANKS = {name: rank for rank, names in enumerate(LAYERS) for name in names}

# Narrower than the layers: all that these may import of gpunet.
ONLY = {
    "gpunet.kernels": set(),
    "gpunet.errors": set(),
    "gpunet.counter_rng": set(),
    "gpunet.augmentation": {"gpunet.errors"},
    "gpunet.ops": {"gpunet.counter_rng", "gpunet.kernels", "gpunet.errors"},
    "gpunet.data": {"gpunet.errors", "gpunet.atomic"},
    "gpunet.parameters": {"gpunet.errors"},
    "gpunet.optimizers": {"gpunet.ops", "gpunet.parameters", "gpunet.errors"},
    "gpunet.weight_penalty": {"gpunet.ops", "gpunet.errors"},
    "gpunet.clipping": {"gpunet.errors"},
    "gpunet.schedules": {"gpunet.errors"},
    "gpunet.pacing": {"gpunet.errors", "gpunet.schedules"},
    "gpunet.network": {
        "gpunet.ops",
        "gpunet.parameters",
        "gpunet.clipping",
        "gpunet.weight_penalty",
        "gpunet.sample_weights",
        "gpunet.counter_rng",
        "gpunet.errors",
    },
    "gpunet.training": {
        "gpunet.training_run",
        "gpunet.network",
        "gpunet.history",
        "gpunet.optimizers",
        "gpunet.resume",
        "gpunet.pacing",
        "gpunet.schedules",
        "gpunet.augmentation",
        "gpunet.errors",
    },
    "gpunet.training_run": {
        "gpunet.network",
        "gpunet.history",
        "gpunet.ops",
        "gpunet.optimizers",
        "gpunet.resume",
        "gpunet.weight_penalty",
        "gpunet.pacing",
        "gpunet.schedules",
        "gpunet.clipping",
        "gpunet.augmentation",
        "gpunet.sample_weights",
        "gpunet.errors",
    },
}

# The NumPy path stands on its own: not a name of the kernels, of CUDA or of anything else is in it.
NUMPY_PATH = (
    "__init__",
    "contract",
    "host_memory",
    "numpy_activations",
    "numpy_augment",
    "numpy_losses",
    "numpy_ops",
    "numpy_per_sample_sgd",
    "scratch",
)
NUMPY_PATH_IMPORTS = {"numpy", "threadpoolctl", "gpunet.counter_rng", "gpunet.ops"}

CUDA_LIBRARIES = {"numba", "cupy", "cupyx", "cuda", "numba_cuda"}


def sources() -> dict[str, Path]:
    """{module: file} of the package, of its kernels (whose folder lies beside it in the repository), and the shells."""
    folders = {"gpunet": PACKAGE}
    if not (PACKAGE / "kernels").is_dir():
        folders["gpunet.kernels"] = ROOT / "kernels"
    for shell in ("scripts", "benchmarks"):
        if (ROOT / "pyproject.toml").is_file():
            folders[shell] = ROOT / shell
    found = {}
    for name, folder in folders.items():
        for path in sorted(folder.rglob("*.py")):
            parts = [name, *path.relative_to(folder).with_suffix("").parts]
            found[".".join(parts).removesuffix(".__init__")] = path
    return found


SOURCES = sources()


def imported(path: Path, *, at_module_level: bool = False) -> Iterator[str]:
    """The modules that a file imports; of `from gpunet.data import files` the module gpunet.data.files."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in nodes(tree, at_module_level):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            submodules = {f"{node.module}.{alias.name}" for alias in node.names} & SOURCES.keys()
            if len(submodules) < len(node.names):
                yield node.module
            yield from submodules


def nodes(tree: ast.AST, at_module_level: bool) -> Iterator[ast.AST]:
    """All nodes, or those that run when the module is imported."""
    for node in ast.iter_child_nodes(tree):
        inner = isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
        if at_module_level and (inner or isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)):
            continue
        yield node
        yield from nodes(node, at_module_level)


def longest(module: str, names) -> str | None:
    """The longest of these names that is the module or a package of it."""
    fitting = [name for name in names if module == name or module.startswith(name + ".")]
    return max(fitting, key=len, default=None)


def layer_of(module: str) -> str:
    name = longest(module, RANKS)
    assert name is not None and (name != "gpunet" or module == "gpunet"), f"{module} stands in no layer of this test"
    return name


MODULES = pytest.mark.parametrize("module", SOURCES)


@MODULES
def test_imports_run_one_way(module):
    own = layer_of(module)
    for name in imported(SOURCES[module]):
        if name.split(".")[0] in ("scripts", "benchmarks", "tests"):
            assert name.split(".")[0] == own, f"{module} imports {name}"
        elif name.startswith("gpunet"):
            below = layer_of(name)
            assert RANKS[below] <= RANKS[own], f"{module} imports {name}, of a layer above it"
            if own in ONLY and below != own:
                assert below in ONLY[own], f"{module} imports {name}, but only {sorted(ONLY[own])} of gpunet"


@MODULES
def test_imports_of_cuda_libraries_stay_in_kernels_and_ops(module):
    allowed = {"gpunet.kernels": {"numba"}, "gpunet.ops": CUDA_LIBRARIES}.get(layer_of(module), set())
    if module.startswith("benchmarks"):
        allowed = CUDA_LIBRARIES
    found = {name.split(".")[0] for name in imported(SOURCES[module])} & CUDA_LIBRARIES
    assert found <= allowed


@pytest.mark.parametrize("module", [name for name in SOURCES if name.startswith("gpunet.kernels")] or [None])
def test_imports_of_kernels_are_the_standard_library_and_numba(module):
    if module is None:
        pytest.skip("there are no kernels yet")
    # The assembler's wheel; and what numba-cuda misses in NumPy.
    others = {"gpunet.kernels.report": {"nvidia"}, "gpunet.kernels.newer_numpy": {"numpy"}}.get(module, set())
    others |= {"numba"}
    for name in imported(SOURCES[module]):
        top = name.split(".")[0]
        assert top in sys.stdlib_module_names | others or name.startswith("gpunet.kernels"), name


@pytest.mark.parametrize("module", NUMPY_PATH)
def test_imports_of_the_numpy_path_are_few(module):
    for name in imported(PACKAGE / "ops" / f"{module}.py"):
        if longest(name, NUMPY_PATH_IMPORTS) is None:
            assert name.split(".")[0] in sys.stdlib_module_names, name
        elif name.startswith("gpunet.ops."):
            assert name.rpartition(".")[2] in NUMPY_PATH, f"{module} imports {name}"


def test_imports_have_no_cycles():
    """At module level; a package stands for what its __init__ imports."""
    edges = {
        module: {name for name in imported(path, at_module_level=True) if name in SOURCES and name != module}
        for module, path in SOURCES.items()
    }
    done: set[str] = set()

    def visit(module: str, way: tuple[str, ...]) -> None:
        assert module not in way, " -> ".join([*way[way.index(module) :], module])
        if module not in done:
            for name in edges[module]:
                visit(name, (*way, module))
            done.add(module)

    for module in edges:
        visit(module, ())


def test_lazy_names_are_all_there():
    for name in gpunet.__all__:
        assert getattr(gpunet, name) is not None
        assert name in dir(gpunet)
    with pytest.raises(AttributeError, match="'nothing'"):
        _ = gpunet.nothing


def loaded_by(statement: str) -> set[str]:
    """The top-level packages that a statement loads in a fresh interpreter, beyond what start-up files had loaded."""
    code = f"import sys\nbefore = set(sys.modules)\n{statement}\nprint(*set(sys.modules) - before)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    return {name.split(".")[0] for name in result.stdout.split()}


HEAVY = {"torch", "sklearn", "scipy", "matplotlib", "PIL", "safetensors", "gdown", "rich", "pandas"} | CUDA_LIBRARIES


def test_import_of_gpunet_loads_nothing():
    assert not loaded_by("import gpunet") & (HEAVY | {"numpy", "threadpoolctl"})


@pytest.mark.parametrize(
    "statement", ["import gpunet.training", "from gpunet import MLP, Adam, NumpyOps, load_data, load_model, train"]
)
def test_import_of_training_loads_numpy_only(statement):
    loaded = loaded_by(statement)
    assert "numpy" in loaded
    assert not loaded & HEAVY
