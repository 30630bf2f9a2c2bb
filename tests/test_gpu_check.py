"""gpu_check: parts that fail, hang or pass, what is made of their results files, and machines that lack something."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
import time
from argparse import Namespace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from made_up import images_and_labels

from gpunet import NumpyOps
from gpunet.data import Dataset, Split
from gpunet.experiments import find_experiment
from gpunet.ops.backend import SIMULATOR_VARIABLE, why_no_cuda
from gpunet.ops.replay import Replay

ROOT = Path(__file__).resolve().parents[1]
WITHOUT = ("gdown", "platformdirs", "filelock", "mlxtend")  # packages that training from a file does not need
MACHINE = {
    "system": {"gpunet": "0.1.0", "python": "3.12.3", "system": "Linux"},
    "packages": {"numpy": "2.5.2"},
    "optional packages": {"cupy": "14.2.0 (cupy-cuda13x)", "numba-cuda": "0.30.4"},
    "devices": {"nvidia": ["Tesla T4, 7.5, 15360 MiB, 580.65"]},
    "kernels": {"can run": "yes", "device": "Tesla T4", "compute capability": "7.5"},
}


@pytest.fixture
def benchmarks(monkeypatch):
    """The modules of benchmarks/ that are tested here."""
    before = set(sys.modules)
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import bench_device
    import gpu_check
    from checking import findings as gpu_check_findings
    from checking import limited

    grace = limited.GRACE_SECONDS
    monkeypatch.setattr(limited, "GRACE_SECONDS", 0.3)
    monkeypatch.setattr(gpu_check, "GRACE_SECONDS", 0.3)
    yield Namespace(check=gpu_check, findings=gpu_check_findings, device=bench_device, grace=grace)
    for name in set(sys.modules) - before:
        if str(ROOT / "benchmarks") in str(getattr(sys.modules[name], "__file__", None)):
            del sys.modules[name]


@pytest.fixture
def part(benchmarks):
    """Make a part of a few lines of Python that run in the folder it may write to; `says` is what it shall write."""

    def read(path):
        written = json.loads(path.read_text())
        table = [("what", "us"), ("all | of it", "1.5")]
        return benchmarks.findings.Findings(written["says"], written["problems"], written, table)

    def make(name, code, seconds=1):
        code = f"import json, os, sys, time\nos.chdir(sys.argv[1])\n{code}"
        return benchmarks.check.Part(name, seconds, ("-c", code, "{folder}"), f"{name}.json", read)

    return make


def writes(name, says, problems=()):
    return f"json.dump(dict(says={says!r}, problems={list(problems)!r}), open('{name}.json', 'w'))"


def test_run_parts_go_on_whatever_becomes_of_one(benchmarks, part, tmp_path, capsys):
    child = "import subprocess; subprocess.Popen(['sh', '-c', 'sleep 3; touch outlived'])"
    parts = [
        part("hangs", f"{child}; {writes('hangs', 'half')}; print('so far'); time.sleep(60)", seconds=2),
        part("deaf", "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN); time.sleep(60)", seconds=0.5),
        part("falls", "print('before'); sys.exit('out of memory')"),
        part("garbles", "open('garbles.json', 'w').write('{')"),
        part("disagrees", f"{writes('disagrees', 'compared', ['adam is off'])}; print(os.environ['GPUNET_OFFLINE'])"),
        part("passes", writes("passes", "all equal")),
    ]
    began = time.monotonic()
    hangs, deaf, falls, garbles, disagrees, passes = reports = benchmarks.check.run_parts(parts, 10, tmp_path)
    assert time.monotonic() - began < 10.5
    statuses = ["out of time", "out of time", "failed", "failed", "failed", "passed"]
    assert [report.status for report in reports] == statuses
    assert hangs.findings.says == "half" and "not done after" in hangs.findings.problems[0]
    assert "KeyboardInterrupt" in hangs.output
    assert deaf.findings.problems[1] == "it left no deaf.json"
    assert falls.findings.problems == ["it left no falls.json", "exit status 1 (out of memory)"]
    assert falls.output == ["before", "out of memory"]
    assert "JSONDecodeError" in garbles.findings.problems[0]
    assert disagrees.findings.problems == ["adam is off"] and disagrees.output == ["1"]
    assert passes.findings.problems == [] and passes.output == []
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(",")[0] for line in lines] == [each.name for each in parts]
    assert "out of memory" in lines[2]
    time.sleep(max(0, began + 4 - time.monotonic()))
    assert not (tmp_path / "outlived").exists()  # what a part has started ends with it


def test_run_parts_pass_on_the_time_that_is_left(benchmarks, part, tmp_path, capsys):
    parts = [part("first", writes("first", "quick"), 4.7), part("last", writes("last", "quick"), 4.7)]
    benchmarks.check.run_parts(parts, 10, tmp_path)
    first, last = (float(line.split()[1]) for line in capsys.readouterr().out.splitlines())
    assert first == 5 and last > 7


def test_results_of_an_earlier_check_are_not_read(benchmarks, part, tmp_path):
    (tmp_path / "falls.json").write_text('{"says": "old", "problems": []}')
    (report,) = benchmarks.check.run_parts([part("falls", "")], 5, tmp_path)
    assert report.status == "failed" and report.findings.problems == ["it left no falls.json"]


@pytest.mark.parametrize("minutes", ["0", "nan", "-1", "eight"])
def test_check_refuses_minutes_that_are_none(benchmarks, capsys, minutes):
    with pytest.raises(SystemExit) as ended:
        benchmarks.check.main([f"--minutes={minutes}"])
    assert ended.value.code == 2 and "--minutes" in capsys.readouterr().err


def test_limits_of_all_parts_keep_the_promised_time(benchmarks):
    check, grace = benchmarks.check, benchmarks.grace
    parts = sum(each.seconds + grace for each in check.PARTS)
    assert check.DOCTOR_SECONDS + grace + parts <= 60 * check.MINUTES == 480


def checked(benchmarks, monkeypatch, tmp_path, parts):
    monkeypatch.setattr(benchmarks.check, "PARTS", tuple(parts))
    monkeypatch.setattr(benchmarks.check, "examine", lambda: MACHINE)
    out = tmp_path / "new" / "gpu.json"
    status = benchmarks.check.main(["--out", str(out), "--minutes", "1"])
    return status, json.loads(out.read_text()), out.with_suffix(".md").read_text()


def test_check_keeps_results_and_a_summary_where_all_passed(benchmarks, part, tmp_path, monkeypatch, capsys):
    parts = [part(name, writes(name, f"{name} are equal")) for name in ("tests", "kernels")]
    status, results, summary = checked(benchmarks, monkeypatch, tmp_path, parts)
    assert status == 0 and results["verdict"] == "all agreed and passed" and results["complete"]
    assert [each["results"]["says"] for each in results["parts"]] == ["tests are equal", "kernels are equal"]
    assert summary.startswith("# gpunet on Tesla T4, ") and "all agreed and passed" in summary
    assert "cupy 14.2.0 (cupy-cuda13x), numba-cuda 0.30.4, numpy 2.5.2, Python 3.12.3" in summary
    assert "| kernels | passed | 0 | kernels are equal |" in summary
    assert "## kernels\n\n| what | us |\n|---|---|\n| all \\| of it | 1.5 |" in summary
    assert summary in capsys.readouterr().out


def test_check_names_what_did_not_pass_and_no_paths(benchmarks, part, tmp_path, monkeypatch):
    code = f"print(os.getcwd(), {str(ROOT)!r} + '/tests'); {writes('kernels', 'half', ['adam is off'])}; sys.exit(1)"
    parts = [part("tests", writes("tests", "equal")), part("kernels", code)]
    status, results, summary = checked(benchmarks, monkeypatch, tmp_path, parts)
    assert status == 1 and results["verdict"] == "not passed: kernels"
    assert results["parts"][1]["problems"][0] == "adam is off"
    for text in ("- adam is off", "## kernels: failed", "RESULTS ./tests"):
        assert text in summary
    assert str(ROOT) not in summary + json.dumps(results)


def test_check_runs_the_parts_that_are_asked_for(benchmarks, part, tmp_path, monkeypatch):
    parts = [part("tests", "sys.exit(1)"), part("kernels", writes("kernels", "equal"))]
    monkeypatch.setattr(benchmarks.check, "PARTS", tuple(parts))
    monkeypatch.setattr(benchmarks.check, "examine", lambda: MACHINE)
    monkeypatch.setattr(benchmarks.check, "RESULTS", tmp_path)
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "kernels.json").write_text('{"says": "old", "problems": ["old"]}')
    assert benchmarks.check.main(["--only", "kernels", "--keep", str(kept)]) == 0
    (path,) = tmp_path.glob("gpu-tesla-t4-2*.json")
    assert json.loads(path.read_text())["complete"] is False
    assert sorted(each.name for each in kept.iterdir()) == ["kernels.json", "kernels.log"]


@pytest.mark.parametrize("out", ["results.md", ".", "file/results.json"])
def test_check_refuses_a_place_that_cannot_be_written_before_it_begins(benchmarks, tmp_path, monkeypatch, capsys, out):
    (tmp_path / "file").touch()
    monkeypatch.setattr(benchmarks.check, "examine", lambda: MACHINE)
    monkeypatch.setattr(benchmarks.check, "PARTS", ())
    assert benchmarks.check.main(["--out", str(tmp_path / out)]) == 2
    assert "--out" in capsys.readouterr().err


# Machines


def gpu_check(environment):
    """`python scripts/gpu_check.py` on this very machine: status, what it says, seconds."""
    began = time.monotonic()
    command = [sys.executable, "scripts/gpu_check.py"]
    answer = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    return answer.returncode, answer.stdout, answer.stderr, time.monotonic() - began


def test_check_says_at_once_that_there_is_no_device(monkeypatch):
    monkeypatch.delenv(SIMULATOR_VARIABLE, raising=False)
    if why_no_cuda() is None:
        pytest.skip("here is a device")
    status, out, err, seconds = gpu_check(dict(os.environ))
    assert status == 2 and out == "" and seconds < 5
    assert err.startswith("gpu_check: the kernels cannot run here, because ") and err.count("\n") == 1
    assert "CuPy is not installed" in err or "driver" in err


def test_check_takes_no_simulator_for_a_device():
    status, _, err, _ = gpu_check({**os.environ, SIMULATOR_VARIABLE: "1"})
    assert status == 2 and "simulator" in err and err.count("\n") == 1


@pytest.fixture
def lacking(tmp_path):
    """An environment in which Python finds none of these packages."""

    def make(*packages):
        (tmp_path / "sitecustomize.py").write_text(f"""
import sys

class Without:
    def __init__(self, finder):
        self.finder = finder
    def __getattr__(self, name):
        return getattr(self.finder, name)
    def find_spec(self, name, path=None, target=None):
        return None if name.partition(".")[0] in {packages} else self.finder.find_spec(name, path, target)

sys.meta_path[:] = map(Without, sys.meta_path)
""")
        path = os.pathsep.join(filter(None, (str(tmp_path), os.environ.get("PYTHONPATH"))))
        return {**os.environ, "PYTHONPATH": path, "GPUNET_OFFLINE": "1"}

    return make


def test_check_names_all_missing_packages(lacking):
    status, _, err, _ = gpu_check(lacking("pytest", "rich", "gpunet_has_no_such"))
    assert status == 2 and err.endswith("packages are missing: rich, pytest\n") and err.count("\n") == 1
    status, _, err, _ = gpu_check(lacking("gpunet"))
    assert status == 2 and "gpunet is not installed: pip install" in err


def test_lacking_packages_are_not_found(lacking):
    """Or the two tests that follow would show nothing."""
    code = "from importlib.util import find_spec; print(*(find_spec(name) for name in sys.argv[1:]), find_spec('rich'))"
    answer = subprocess.run(
        [sys.executable, "-c", f"import sys; {code}", *WITHOUT], env=lacking(*WITHOUT), capture_output=True, text=True
    )
    found = answer.stdout.split(maxsplit=4)
    assert found[:4] == ["None"] * 4 and found[4].startswith("ModuleSpec")


def test_training_from_a_file_needs_few_packages(lacking, tmp_path):
    images, labels = images_and_labels(60, classes=3)
    np.savez(tmp_path / "digits.npz", dataset=images, labels=labels)
    options = ["--data", str(tmp_path / "digits.npz"), "--epochs", "1", "--out", str(tmp_path / "run")]
    environment = lacking(*WITHOUT) | {"MPLBACKEND": "Agg"}
    command = [sys.executable, str(ROOT / "scripts" / "train.py"), *options]
    answer = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert answer.returncode == 0, answer.stderr
    assert (tmp_path / "run" / "report.html").is_file()


def test_equivalence_on_drawn_data_needs_few_packages(lacking, tmp_path):
    """They lie where the user's cache is, which is found without platformdirs as well."""
    images, labels = images_and_labels(100, classes=10)
    cache = tmp_path / "cache" / "gpunet"
    cache.mkdir(parents=True)
    np.savez(cache / "synthetic-v1-seed0.npz", dataset=images, labels=labels.astype(str))
    environment = lacking(*WITHOUT) | {"XDG_CACHE_HOME": str(cache.parent), "GPUNET_DATA": "", "MPLBACKEND": "Agg"}
    options = [
        "--backend",
        "numpy",
        "--data",
        "synthetic",
        "--hidden",
        "4",
        "--steps",
        "2",
        "--out",
        str(tmp_path / "run"),
    ]
    command = [sys.executable, str(ROOT / "scripts" / "equivalence.py"), *options]
    answer = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert answer.returncode == 0, answer.stderr
    assert json.loads((tmp_path / "run" / "equivalence.json").read_text())["experiment"]["images"] < 100


def outside_of_functions(node):
    """What runs when a module is imported."""
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, (ast.FunctionDef, ast.Lambda)):
            yield child
            yield from outside_of_functions(child)


def test_no_module_needs_what_training_from_a_file_does_not():
    """So that all tests are collected on such a machine, and every command and benchmark begins."""
    paths = [
        path
        for folder in ("gpunet", "kernels", "scripts", "benchmarks", "tests")
        for path in (ROOT / folder).rglob("*.py")
    ]
    assert len(paths) > 100
    for path in paths:
        for node in outside_of_functions(ast.parse(path.read_text(encoding="utf-8"))):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            assert not {name.partition(".")[0] for name in names} & {*WITHOUT}, path


# What results files say


def test_findings_of_tests_count_and_name(benchmarks, tmp_path):
    path = tmp_path / "tests.xml"
    cases = {
        "a": "",
        "b": '<failure message="off"/>',
        "c": '<skipped message="no compute-sanitizer"/>',
        "d": '<error message="cannot be collected"/>',
    }

    def written(names):
        body = "".join(f'<testcase classname="tests.gpu.t" name="{name}">{cases[name]}</testcase>' for name in names)
        path.write_text(f"<testsuites><testsuite>{body}</testsuite></testsuites>")
        return benchmarks.findings.read_tests(path)

    assert written("ac").problems == [] and written("ac").says == "1 passed, 0 failed, 1 skipped"
    assert written("abcd").problems == ["tests.gpu.t.b failed", "tests.gpu.t.d failed"]
    assert written("abcd").results == {"passed": 1, "failed": 2, "skipped": 1}
    for nothing in ("c", ""):
        assert written(nothing).problems == ["no test that needs a device has passed"]


def equivalence(**changes):
    """What `gpunet equivalence` writes, as far as it is read."""
    drift = {"distance": 1e-6, "numpy_float32": 1e-6, "ratio": 1.0, "error": 0.25, "agrees": True}
    return {
        "backend": "cuda",
        "agrees": not changes,
        "stopped": None,
        "operations": [{"operation": "dense_forward", "where": "layer 1", "error": 0.3, "agrees": True}],
        "steps": [{"step": 1, "error": 0.02, "agrees": True}, {"step": 2, "error": 0.5, "agrees": True}],
        "free_running": {"allowed": 4, "losses": drift, "weights": drift},
        "repeat": {"same_bits": True, "agrees": True},
    } | changes


WRONG_DRIFT = {"distance": 1.0, "numpy_float32": 1e-6, "ratio": None, "error": None, "agrees": False}
DISAGREEMENTS = {
    "dense_forward (layer 2)": {
        "operations": [{"operation": "dense_forward", "where": "layer 2", "error": None, "agrees": False}]
    },
    "1 of 1 steps, the first of them step 7": {"steps": [{"step": 7, "error": 2.0, "agrees": False}]},
    "weights of the run left to itself": {"free_running": equivalence()["free_running"] | {"weights": WRONG_DRIFT}},
    "other bits": {"repeat": {"same_bits": False, "agrees": False}},
    "the run stopped: the loss was": {"stopped": "the loss was no number", "free_running": None},
    "nothing was compared on a device": {"backend": "sim"},
    "nothing was compared": {"operations": []},
    "as a whole": {"agrees": False},
}


def test_findings_of_an_equivalence_that_holds(benchmarks, tmp_path):
    path = tmp_path / "equivalence.json"
    path.write_text(json.dumps(equivalence()))
    findings = benchmarks.findings.read_equivalence(path)
    assert findings.problems == []
    assert findings.says.startswith("1 operations, 2 steps, the largest finite error 0.5 of its limit; weights 1 times")


@pytest.mark.parametrize("words", DISAGREEMENTS)
def test_findings_of_an_equivalence_name_what_does_not_agree(benchmarks, tmp_path, words):
    path = tmp_path / "equivalence.json"
    path.write_text(json.dumps(equivalence(**DISAGREEMENTS[words])))
    (problem,) = benchmarks.findings.read_equivalence(path).problems
    assert words in problem


def test_findings_of_kernels_need_a_device(benchmarks, tmp_path):
    path = tmp_path / "kernels.json"
    us = {name: {"median": median} for name, median in (("NumPy", 50.0), ("kernel", 4.0), ("cuBLAS", 3.0))}
    row = {"kernel": "dense_forward", "shape": "128 x 784 x 64", "detail": "", "floor_us": 1.25, "us": us}
    path.write_text(json.dumps({"device": {"name": "Tesla T4"}, "rows": [row]}))
    findings = benchmarks.findings.read_kernels(path)
    assert findings.problems == []
    assert findings.table[1] == ("dense_forward", "128 x 784 x 64", "4.0", "", "75%", "1.2", "50.0")
    path.write_text(json.dumps({"device": None, "rows": [row | {"floor_us": None, "us": {"NumPy": us["NumPy"]}}]}))
    findings = benchmarks.findings.read_kernels(path)
    assert findings.problems == ["nothing was measured on a device"]
    assert findings.table[1] == ("dense_forward", "128 x 784 x 64", "", "", "", "", "50.0")


# Training on a device, with NumPy in its place


@pytest.fixture
def tasks(benchmarks):
    """exp2 and per-sample SGD on a few images of few pixels."""

    def make(task, name, classes):
        images, labels = images_and_labels(60, classes, inputs=12)
        data = Dataset(images, labels, tuple(map(str, range(classes))), "made up", "")
        split = Split(np.arange(40), np.arange(40, 50), np.arange(50, 60))
        return benchmarks.device.Task(find_experiment(task, name), data, split)

    return make("multiclass", "exp2", 3), make("binary", "numpy", 2)


def test_training_is_timed_once_all_agrees(benchmarks, tasks, tmp_path):
    results = {}
    measure = benchmarks.device.measure
    measure(results, *tasks, NumpyOps(), NumpyOps(), rounds=1, populations=(2, 3), show=lambda _: None)
    assert results["agrees"] and len(results["checks"]) == 4
    assert [row["networks"] for row in results["rows"]] == [1, 1, 1, 1, 1, 2, 3]
    assert all(np.isfinite(row["us_per_step"]["median"]) for row in results["rows"])
    path = tmp_path / "training.json"
    path.write_text(json.dumps(results))
    findings = benchmarks.findings.read_training(path)
    assert findings.problems == [] and len(findings.table) == 8
    assert findings.says.startswith("exp2's 10 epochs with validation take ")
    assert [row[-1] for row in findings.table] == ["of peak"] + [""] * 7
    results["rows"][1] |= {"backend": "cuda", "gflops": 2025.0}
    path.write_text(json.dumps(results | {"ceiling": {"flops": 8.1e12}}))
    assert [row[-1] for row in benchmarks.findings.read_training(path).table[:4]] == ["of peak", "", "25.0%", ""]


def test_training_that_is_interrupted_keeps_what_it_has(benchmarks, tasks, tmp_path):
    def show(line):
        if "launched by itself" in line:
            raise KeyboardInterrupt

    results = {}
    with pytest.raises(KeyboardInterrupt):
        benchmarks.device.measure(results, *tasks, NumpyOps(), NumpyOps(), rounds=1, populations=(2,), show=show)
    path = tmp_path / "training.json"
    path.write_text(json.dumps(results))
    findings = benchmarks.findings.read_training(path)
    assert findings.problems == ["not all was timed"] and len(findings.table) == 3


def test_training_counts_the_products_of_a_step(tasks):
    exp2, per_sample = tasks
    assert exp2.flops == 2 * 128 * (2 * 12 * 64 + 3 * 64 * 3)
    assert per_sample.flops == 2 * (2 * 12 * 10 + 3 * 10)


class Careless(NumpyOps):
    """Updates with a rate that is too large by a thousandth."""

    def dense_update(self, layers, state, step):
        state.step_table[:, :, 0] *= 1.001
        super().dense_update(layers, state, step)


class Call:
    """A launch that needs no device."""

    kernel = "kernel"

    def __init__(self, call):
        self.call = call

    def __call__(self, stream):
        self.call()


class Uncaptured(NumpyOps):
    """Replays as a device on which nothing can be captured."""

    def capture(self, launches, largest_product=0, calls=1):
        def graph(launches):
            raise RuntimeError("operation not permitted")

        def prepared(launches):
            return [partial(launch, 0) for launch in launches]

        memory = Namespace(have_run={Call.kernel}, prepared=prepared, graph=graph)
        return Replay(list(map(Call, launches)), memory, graphs=True, calls=calls)


class FirstOnly(NumpyOps):
    """Of a population trains the first network alone."""

    def dense_update(self, layers, state, step):
        others = state.parameters[1:].copy()
        super().dense_update(layers, state, step)
        state.parameters[1:] = others


@pytest.mark.filterwarnings("ignore:kernels are launched")
@pytest.mark.parametrize(
    ("graph", "words"),
    [(Careless, "different bits"), (Uncaptured, "operation not permitted"), (FirstOnly, "otherwise than")],
)
def test_training_that_disagrees_is_not_timed(benchmarks, tasks, tmp_path, graph, words):
    results = {}
    benchmarks.device.measure(results, *tasks, graph(), NumpyOps(), rounds=1, populations=(2,), show=lambda _: None)
    assert not results["agrees"] and results["rows"] == []
    path = tmp_path / "training.json"
    path.write_text(json.dumps(results))
    assert any(words in problem for problem in benchmarks.findings.read_training(path).problems)


def test_training_that_learns_otherwise_than_numpy_is_noticed(benchmarks, tasks):
    sentence, agrees = benchmarks.device.check_against_numpy(tasks[0], Careless())
    assert not agrees and "with NumPy" in sentence


def test_training_leaves_out_populations_that_do_not_fit(benchmarks, tasks, monkeypatch):
    assert benchmarks.device.fits(tasks[0], NumpyOps(), 2, 20)
    monkeypatch.setattr(NumpyOps, "available_bytes", lambda ops: 10_000)
    assert not benchmarks.device.fits(tasks[0], NumpyOps(), 2, 20)
