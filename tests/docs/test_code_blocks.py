"""Every block of code in the documentation runs here, or is listed with the reason why it does not.

Blocks of Python run page by page, in order, and share their names. Lines for the shell run in a folder with a little
data, made small by further options; the scripts themselves are run, in this process. Excerpts of files are compared
with them.
"""

from __future__ import annotations

import os
import re
import runpy
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from doc_pages import OPERATORS, PAGES, ROOT, blocks, commands, missing_from, read
from made_up import images_and_labels
from PIL import Image

from gpunet.cli import COMMANDS, MODULES, main
from gpunet.kernels.launch import SIMULATOR
from gpunet.kernels.report import find_ptxas

LANGUAGES = {"python", "sh", "math"}

# Commands that are not run here, by how they begin, and why.
NOT_RUN = {
    "pip install": "installs packages; .ci/run installs them as the README's quick start says",
    "python -m pytest": "this is such a run",
    ".ci/run": "it is what runs this",
    "python scripts/gpu_check.py": "needs a GPU; tests/test_gpu_check.py tries it up to there",
    "gpunet warmup": "needs a GPU; tests/cli/test_cli_warmup.py tries it up to there",
    "nvidia-smi": "needs a GPU",
    "unzip": "needs what its reader has uploaded",
    "git clone": "needs its reader's own remote",
    "python scripts/reproduce.py": "takes minutes; tests/cli/test_cli_reproduce.py runs it with two of its trainings",
    "python benchmarks/bench_kernels.py": "takes minutes; tests/benchmarks/test_bench_kernels.py runs it in small",
    "python benchmarks/readme_tables.py": "changes the README; tests/test_readme.py compares what it would write",
    "python -m gpunet.kernels.report --cc 7.5": "tests/kernels/test_report.py runs it",
    "python -m gpunet.kernels.report --json": "tests/kernels/test_report.py runs it",
}

# Options that make a command small; the last of two options of one name counts. By sub-command, or by sub-command and
# an option that it has.
SMALLER = {
    "train": ["--epochs", "1"],
    "train --seeds": ["--seeds", "2"],
    "train --backend": ["--backend", "numpy"],
    "sweep": ["--limit", "100", "--seeds", "1"],
    "sweep --random": ["--random", "2", "lr=1e-4..1e-1", "dropout=0..0.5", "hidden=64,128-64"],
    "equivalence": ["--backend", "numpy", "--limit", "100", "--steps", "1"],
    "report": ["--cc", "7.5"],
}


def ci_commands() -> list[str]:
    """What .ci/run runs: the lines that it takes from the README, and its own lines of ruff."""
    script = read(".ci/run")
    pattern = re.search(r"grep -E '(.+?)'", script)[1]
    start = read("README.md").partition("\n## Quick start\n")[2].partition("\n## ")[0]
    lines = [line for line in start.splitlines() if re.match(pattern, line)]
    lines += [line for line in script.splitlines() if line.startswith("ruff ")]
    return [" ".join(words) for line in lines for words in commands(line)]


def begins(words: list[str], prefix: str) -> bool:
    return words[: len(prefix.split())] == prefix.split()


def treatment(words: list[str], by_ci: list[str]) -> str | None:
    """What becomes of a command: "ci", "listed", the sub-command that it runs, "report", or None if it is unknown."""
    if any(set(word) <= set(OPERATORS) for word in words):
        return None
    if " ".join(words) in by_ci:
        return "ci"
    if any(begins(words, prefix) for prefix in NOT_RUN):
        return "listed"
    return "report" if begins(words, "python -m gpunet.kernels.report") else sub_command(words)


def sub_command(words: list[str]) -> str | None:
    """The name of the sub-command of `gpunet` that a command runs, by itself or by its script."""
    if words[0] == "gpunet":
        name = words[1] if len(words) > 1 else ""
    else:
        script = re.fullmatch(r"python scripts/(\w+)\.py", " ".join(words[:2]))
        name = script[1] if script and (ROOT / words[1]).is_file() else ""
    return name if name in COMMANDS else None


def check_unrun(words: list[str], place: str) -> None:
    """Of a command that is not run: its files are there, and a sub-command takes its options."""
    for path in [word for word in words if re.match(r"(scripts|tests|benchmarks)/", word)]:
        assert (ROOT / path).exists(), f"{place}: there is no {path}"
    if name := sub_command(words):
        module = import_module(f"gpunet.cli.{MODULES.get(name, name)}")
        module.make_parser(f"gpunet {name}").parse_args(words[2:])  # ends the process, where it does not take them


def made_small(words: list[str], name: str) -> list[str]:
    """The command with what makes it small, and with files for names that end in an ellipsis."""
    asked_for = {name, *(f"{name} {word}" for word in words)}
    return [found(word) for word in words] + [option for key in SMALLER if key in asked_for for option in SMALLER[key]]


def found(word: str) -> str:
    """runs/multiclass-exp2-... stands for the folder whose name begins so."""
    if not word.endswith("..."):
        return word
    folders = sorted(Path().glob(word.removesuffix("...") + "*"))
    assert folders, f"there is no {word}"
    return str(folders[0])


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder to work in, with what the pages' commands read, and drawn hands that are drawn in no time."""
    from gpunet.data import synthetic

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GPUNET_OFFLINE", "1")
    monkeypatch.setenv("GPUNET_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("MPLBACKEND", "Agg")
    monkeypatch.setattr(synthetic, "synthetic_digits", lambda seed=0: images_and_labels(600, classes=10, seed=seed))
    images, labels = images_and_labels(300, classes=10)
    np.savez("my_digits.npz", dataset=images, labels=labels.astype(str))
    Path("folder_of_arrays").mkdir()
    np.save("folder_of_arrays/images.npy", images)
    np.save("folder_of_arrays/labels.npy", labels)
    for index in range(100):
        path = Path("folder_of_images", f"class {labels[index]}", f"{index}.png")
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(images[index].reshape(28, 28)).save(path)
    Image.fromarray(images[0].reshape(28, 28)).save("hand.png")
    return tmp_path


def status_of(words: list[str], name: str, monkeypatch) -> int:
    """Run a command; scripts and `gpunet` in this process, as they are run by Python."""
    words = made_small(words, name)
    if name == "report":  # compiles, which the simulator does not
        environment = {key: value for key, value in os.environ.items() if key != "NUMBA_ENABLE_CUDASIM"}
        return subprocess.run([sys.executable, *words[1:]], env=environment, capture_output=True).returncode
    if words[0] == "gpunet":
        return main(words[1:])
    monkeypatch.setattr(sys, "argv", words[1:])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(ROOT / words[1]), run_name="__main__")
    return ended.value.code


WITH_PYTHON = [page for page in PAGES if any(not block.quoted_file for block in blocks(page, "python"))]
WITH_COMMANDS = [page for page in PAGES if blocks(page, "sh")]


def test_documentation_has_its_pages():
    assert set(PAGES) >= {
        "README.md",
        "gpunet/CHANGELOG.md",
        "kernels/CONTRIBUTING.md",
        "kernels/README.md",
        "scripts/COLAB.md",
    }
    assert set(WITH_PYTHON) >= {"README.md", "kernels/README.md", "scripts/COLAB.md"}
    assert set(WITH_COMMANDS) >= {"README.md", "kernels/CONTRIBUTING.md", "scripts/COLAB.md"}


@pytest.mark.parametrize("page", PAGES)
def test_blocks_are_of_known_languages_and_all_found(page):
    assert 2 * len(blocks(page)) == len(re.findall(r"^ *```", read(page), re.MULTILINE)), "a fence is not closed"
    for block in blocks(page):
        assert block.language in LANGUAGES, f"{block.place}: a block of {block.language!r} is not tested"


@pytest.mark.filterwarnings("ignore:the fit ended")  # an estimator's few epochs are an example, no mistake
@pytest.mark.parametrize("page", WITH_PYTHON)
def test_blocks_of_python_run(page, folder):
    runnable = [block for block in blocks(page, "python") if not block.quoted_file]
    if not SIMULATOR and any('"sim"' in block.text for block in runnable):
        pytest.skip("kernels are compiled in this process, not simulated")
    names = {"__name__": "__main__"}
    for block in runnable:
        code = "\n" * (block.line - 1) + block.text  # a traceback names the page's own line
        exec(compile(code, str(ROOT / page), "exec"), names)


@pytest.mark.parametrize("page", WITH_COMMANDS)
def test_blocks_for_the_shell_run(page, folder, monkeypatch, capsys):
    by_ci = ci_commands()
    for block in blocks(page, "sh"):
        for words in commands(block.text):
            name = treatment(words, by_ci)
            assert name, f"{block.place}: `{' '.join(words)}` neither runs here nor is listed with a reason"
            if name in ("ci", "listed"):
                check_unrun(words, block.place)
            elif name != "report" or has_assembler():
                status = status_of(words, name, monkeypatch)
                assert status == 0, f"{block.place}: `{' '.join(words)}`: {capsys.readouterr().err}"


def has_assembler() -> bool:
    try:
        return bool(find_ptxas())
    except SystemExit:
        return False


def test_list_of_what_is_not_run_has_nothing_that_no_page_has():
    everything = [words for page in PAGES for block in blocks(page, "sh") for words in commands(block.text)]
    unused = [prefix for prefix in NOT_RUN if not any(begins(words, prefix) for words in everything)]
    assert unused == []
    assert all(" ".join(words) in ci_commands() for words in everything if words[0] == "ruff")


@pytest.mark.parametrize(
    "line",
    [
        "rm -rf runs",
        "python scripts/nothing.py",
        "gpunet paint",
        "python -c pass",
        "gpunet doctor | cat",
        "gpunet doctor || cat",
        "pip",
    ],
)
def test_commands_that_are_not_listed_are_noticed(line):
    (words,) = commands(line)
    assert treatment(words, ci_commands()) is None


def test_commands_are_read_as_a_shell_does():
    text = 'a "b c" && d \\\n  e   # not this\n\n. x/y z=1,2..3\n'
    assert list(commands(text)) == [["a", "b c"], ["d", "e"], [".", "x/y", "z=1,2..3"]]


EXCERPTS = [block for page in PAGES for block in blocks(page, "python") if block.quoted_file]


@pytest.mark.parametrize("block", EXCERPTS, ids=lambda block: f"{block.page}:{block.line}")
def test_excerpts_are_lines_of_their_files(block):
    excerpt = block.text.partition("\n")[2]
    missing = missing_from(read(block.quoted_file), excerpt)
    assert missing is None, f"{block.place}: {block.quoted_file} does not have these lines any more:\n{missing}"


def test_excerpts_that_differ_are_noticed():
    source = "def f(x):\n    a = x\n    if a:\n        b = a\n    return b\n"
    assert missing_from(source, "a = x\n...\nreturn b\n") is None
    assert missing_from(source, "if a:\n    b = a\n") is None
    assert missing_from(source, "if a:\nb = a\n") == "if a:\nb = a"
    assert missing_from(source, "a = y\n") == "a = y"
    assert missing_from(source, "a = x\nreturn b\n") == "a = x\nreturn b"
    assert missing_from(source, "return b\n...\na = x\n") == "a = x"
