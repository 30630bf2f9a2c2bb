"""What pyproject.toml declares is what is imported: nothing more, and nothing less."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from test_imports import ROOT, SOURCES, imported

tomllib = pytest.importorskip("tomllib", reason="Python 3.10 cannot read TOML")

# Where a package is not imported under its own name.
IMPORTED_AS = {
    "scikit-learn": "sklearn",
    "pillow": "PIL",
    "numba-cuda": "numba",
    "cupy-cuda12x": "cupy",
    "cupy-cuda13x": "cupy",
    "pytest-xdist": "xdist",
}
# What comes with one that is declared and cannot do without it.
COMES_WITH = {"cupyx": "cupy", "dask": "distributed", "joblib": "sklearn"}
COMES_WITH |= dict.fromkeys(("nvidia", "cuda", "numba_cuda", "llvmlite"), "numba")
USED_OTHERWISE = {"ruff", "xdist"}  # which nobody imports
OURS = {"gpunet", "scripts", "benchmarks"}

if not (ROOT / "pyproject.toml").is_file():
    pytest.skip("the package is installed without its sources", allow_module_level=True)
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def module_of(requirement: str) -> str:
    name = re.match(r"[A-Za-z0-9._-]+", requirement)[0].lower()
    return IMPORTED_AS.get(name, name.replace("-", "_"))


def declared(*extras: str) -> set[str]:
    """The modules of the packages that are always installed, and of those of these extras."""
    optional = (requirement for extra in extras for requirement in PROJECT["optional-dependencies"][extra])
    return {module_of(requirement) for requirement in (*PROJECT["dependencies"], *optional)}


def third_party(*paths: Path) -> set[str]:
    names = {name for path in paths for name in (*imported(path), *asked_for(path))}
    tops = {name.split(".")[0] for name in names} - sys.stdlib_module_names
    return {COMES_WITH.get(name, name) for name in tops}


def asked_for(path: Path) -> Iterator[str]:
    """The modules that a test does without, where they are not installed."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "pytest.importorskip":
            if isinstance(node.args[0], ast.Constant):
                yield node.args[0].value


PACKAGE = [path for name, path in SOURCES.items() if name.split(".")[0] == "gpunet"]
TESTS = sorted((ROOT / "tests").rglob("*.py"))


def test_every_dependency_is_imported():
    assert declared() <= third_party(*PACKAGE)
    with_extras = declared(*PROJECT["optional-dependencies"]) - USED_OTHERWISE
    assert with_extras <= third_party(*SOURCES.values(), *TESTS)


def test_everything_imported_is_declared():
    run_by_users = [extra for extra in PROJECT["optional-dependencies"] if extra not in ("test", "bench")]
    assert third_party(*PACKAGE) - OURS <= declared(*run_by_users)


def test_everything_tests_import_is_declared():
    neighbours = {path.stem for path in TESTS} | {path.stem for path in (ROOT / "benchmarks").rglob("*.py")}
    neighbours |= {path.name for path in (ROOT / "benchmarks").iterdir() if path.is_dir()}
    assert third_party(*TESTS) - OURS - neighbours <= declared(*PROJECT["optional-dependencies"])


def test_every_dependency_has_a_lowest_version():
    every = [*PROJECT["dependencies"], *(one for extra in PROJECT["optional-dependencies"].values() for one in extra)]
    assert [requirement for requirement in every if ">=" not in requirement] == []
