"""Everything there is to run for whoever has a GPU: do the kernels compute what NumPy computes, and how fast?

    python scripts/gpu_check.py [--only PART ...] [--out FILE.json] [--minutes 8] [--keep FOLDER]

Four parts, each a process of its own with a limit of time, so that none takes another with it: the tests that need a
device, the equivalence of NumPy and kernels over a training run, training as a whole, and each kernel by itself. All
results go into one JSON file; beside it lies a summary to paste into an issue. Nothing asks the network.

Exit status: 0 all agreed and passed; 1 something did not, or not in time; 2 no device, or packages are missing.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from checking.findings import Findings, read_equivalence, read_kernels, read_tests, read_training
from checking.limited import GRACE_SECONDS, run_limited
from checking.summary import as_markdown, without_paths

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"
MINUTES = 8
DOCTOR_SECONDS = 20  # a driver that sleeps takes some to wake up
DOCTOR = "from gpunet.cli import main; raise SystemExit(main(['doctor', '--json']))"
FINDINGS_KEPT = ("system", "packages", "optional packages", "threads", "devices", "kernels")  # not what tells paths
REQUIRED = {"sklearn": "scikit-learn", "PIL": "pillow", "numba_cuda": "numba-cuda"} | {
    name: name for name in ("numpy", "threadpoolctl", "matplotlib", "rich", "safetensors", "pytest")
}  # module: its package. CuPy's is named by the backend
TAIL_LINES = 40  # of what a part printed, kept unless it passed


class Unusable(Exception):
    """Nothing can be checked on this machine."""


@dataclass(frozen=True)
class Part:
    """arguments: Python's, with {folder} for where to write. written: the results file in it, for `read`. seconds:
    its share of the eight minutes; what earlier parts leave of theirs goes to the next."""

    name: str
    seconds: int
    arguments: tuple[str, ...]
    written: str
    read: Callable[[Path], Findings]


_PYTEST = ("-m", "pytest", "tests", "-m", "gpu", "--continue-on-collection-errors", "-p", "no:cacheprovider")
if find_spec("xdist"):  # most of the time goes into compiling kernels, which any number of processes can do
    _PYTEST += ("-n", "auto", "--dist", "worksteal")
_EQUIVALENCE = ("scripts/equivalence.py", "--backend", "cuda", "--data", "synthetic", "--out", "{folder}/equivalence")
PARTS = (
    Part("tests", 200, (*_PYTEST, "--junitxml", "{folder}/tests.xml"), "tests.xml", read_tests),
    Part("equivalence", 45, _EQUIVALENCE, "equivalence/equivalence.json", read_equivalence),
    Part(
        "training",
        60,
        ("benchmarks/bench_device.py", "--out", "{folder}/training.json"),
        "training.json",
        read_training,
    ),
    Part(
        "kernels", 130, ("benchmarks/bench_kernels.py", "--out", "{folder}/kernels.json"), "kernels.json", read_kernels
    ),
)


@dataclass
class Report:
    """How a part went. status: "passed", "failed" or "out of time". output: its last lines, unless it passed."""

    name: str
    status: str
    seconds: float
    findings: Findings
    output: list[str]

    def __str__(self) -> str:
        return f"{self.status} in {self.seconds:.0f} s: {'; '.join([self.findings.says, *self.findings.problems[:3]])}"

    def as_json(self) -> dict[str, Any]:
        kept = {key: value for key, value in vars(self.findings).items() if key != "table"}
        return {"part": self.name, "status": self.status, "seconds": self.seconds, **kept, "output": self.output}


def run_parts(parts: Sequence[Part], seconds: float, folder: Path) -> list[Report]:
    """Run all parts, which write to a folder, in so many seconds at most, whatever becomes of them."""
    data = os.environ.get("GPUNET_DATA") or str(folder / "data")
    settings = {"GPUNET_OFFLINE": "1", "GPUNET_DATA": data, "MPLBACKEND": "Agg", "NO_COLOR": "1"}
    environment = {**os.environ, **settings, "PYTHONUNBUFFERED": "1"}
    end = time.monotonic() + seconds
    shares = [part.seconds + GRACE_SECONDS for part in parts]
    reports = []
    for index, part in enumerate(parts):
        left_to_later = seconds * sum(shares[index + 1 :]) / sum(shares)
        limit = end - time.monotonic() - left_to_later - GRACE_SECONDS
        print(f"{part.name}, {limit:.0f} s at most: ", end="", flush=True)
        reports.append(run_part(part, limit, folder, environment))
        print(reports[-1], flush=True)
    return reports


def run_part(part: Part, limit: float, folder: Path, environment: dict[str, str]) -> Report:
    """Run a part for so many seconds at most. What it has written is read even where it failed."""
    command = [sys.executable, *(argument.replace("{folder}", str(folder)) for argument in part.arguments)]
    (folder / part.written).unlink(missing_ok=True)  # a folder that is kept may hold that of an earlier check
    log = folder / f"{part.name}.log"
    began = time.monotonic()
    with open(log, "wb") as output:
        exit_status = run_limited(command, limit, output, folder=ROOT, environment=environment)
    seconds = round(time.monotonic() - began, 1)
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    findings = read_findings(part, folder)
    if exit_status is None:
        findings.problems.insert(0, f"it was not done after {limit:.0f} s")
    elif exit_status != 0:
        last = next((line.strip() for line in reversed(lines) if line.strip()), "nothing was printed")
        findings.problems.append(f"exit status {exit_status} ({last})")
    status = "out of time" if exit_status is None else "failed" if findings.problems else "passed"
    return Report(part.name, status, seconds, findings, [] if status == "passed" else lines[-TAIL_LINES:])


def read_findings(part: Part, folder: Path) -> Findings:
    """Of a part that may have fallen over before its results file was there, or whole."""
    try:
        return part.read(folder / part.written)
    except FileNotFoundError:
        return Findings("no results", [f"it left no {part.written}"], None)
    except Exception as error:  # noqa: BLE001 (half a file may lead to anything, and the other parts are to go on)
        return Findings("no results", [f"{part.written} cannot be read ({type(error).__name__}: {error})"], None)


def examine() -> dict[str, Any]:
    """What `gpunet doctor` finds out about this machine. Raises `Unusable`, one sentence, if the parts cannot run."""
    if find_spec("gpunet") is None:
        raise Unusable("gpunet is not installed: pip install --no-deps --no-build-isolation -e .")
    missing = [package for module, package in REQUIRED.items() if find_spec(module) is None]
    lacking = f"packages are missing: {', '.join(missing)}"
    with tempfile.TemporaryFile() as output:
        command = [sys.executable, "-c", DOCTOR]
        status = run_limited(command, DOCTOR_SECONDS, output, folder=ROOT, environment=os.environ)
        output.seek(0)
        said = output.read().decode(errors="replace").strip()
    answer = re.search(r"^\{$.*^\}$", said, re.MULTILINE | re.DOTALL)  # among warnings, perhaps
    if status != 0 or answer is None:
        last = said.splitlines()[-1:] or [f"no answer within {DOCTOR_SECONDS} s"]
        raise Unusable(f"gpunet doctor cannot examine this machine ({last[0]})" + (f"; {lacking}" if missing else ""))
    findings = json.loads(answer[0])
    kernels, nvidia = findings["kernels"], findings["devices"].get("nvidia")
    if kernels.get("can run") != "yes":
        reason = kernels.get("why not") or "; ".join(map(str, kernels.values()))
        devices = f"; NVIDIA devices: {nvidia}" if isinstance(nvidia, str) else ""  # a list where there are some
        raise Unusable(f"the kernels cannot run here, because {reason}{devices}" + (f"; {lacking}" if missing else ""))
    if missing:
        raise Unusable(lacking)
    return {title: findings[title] for title in FINDINGS_KEPT if title in findings}


def commit() -> str | None:
    """What is checked out, with "-dirty" if files differ from it; None where that cannot be told."""
    try:
        command = ["git", "describe", "--always", "--dirty", "--exclude", "*"]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=3).stdout.strip() or None
    except (OSError, subprocess.TimeoutExpired):
        return None


def make_writable(out: Path) -> None:
    """Make the folder of the results. Raises `Unusable` now rather than minutes later."""
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Unusable(f"the folder {out.parent} cannot be made ({error.strerror}): name another with --out") from error
    if out.suffix != ".json" or out.is_dir() or not os.access(out.parent, os.W_OK):
        raise Unusable(f"{out} cannot be written: name a .json file in a folder of yours with --out")


@contextmanager
def working_folder(keep: Path | None) -> Iterator[Path]:
    """Where the parts write: the folder to keep, or one that goes again."""
    if keep is not None:
        keep.mkdir(parents=True, exist_ok=True)
        yield keep.resolve()
        return
    with tempfile.TemporaryDirectory(prefix="gpunet-check-", ignore_cleanup_errors=True) as folder:
        yield Path(folder).resolve()


def check(parts: Sequence[Part], minutes: float, out: Path | None, keep: Path | None) -> int:
    """Run the parts; keep and print what they found. Returns the exit status; raises `Unusable`."""
    began = time.monotonic()
    environment = examine()
    device, today = environment["kernels"]["device"], date.today().isoformat()
    if out is None:
        out = RESULTS / f"gpu-{re.sub(r'[^a-z0-9]+', '-', device.lower()).strip('-')}-{today}.json"
    make_writable(out)
    print(f"{device}: {', '.join(part.name for part in parts)}, {minutes:g} minutes at most", flush=True)
    with working_folder(keep) as folder:
        reports = run_parts(parts, 60 * minutes - DOCTOR_SECONDS - GRACE_SECONDS, folder)
        bad = [report.name for report in reports if report.status != "passed"]
        results = {
            "what": "everything that needs a device: tests, equivalence, training, kernels",
            "date": today,
            "verdict": f"not passed: {', '.join(bad)}" if bad else "all agreed and passed",
            "complete": [part.name for part in parts] == [part.name for part in PARTS],
            "seconds": round(time.monotonic() - began, 1),
            "commit": commit(),
            "environment": environment,
            "parts": [report.as_json() for report in reports],
        }
        summary = without_paths(as_markdown(results, reports), folder)
        out.write_text(
            without_paths(json.dumps(results, indent=1, ensure_ascii=False), folder) + "\n", encoding="utf-8"
        )
    out.with_suffix(".md").write_text(summary, encoding="utf-8")
    print(f"\n{summary}\nwritten: {out}\nwritten: {out.with_suffix('.md')}")
    return 1 if bad else 0


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="gpu_check", description=__doc__.splitlines()[0])
    names = [part.name for part in PARTS]
    parser.add_argument("--only", nargs="+", choices=names, metavar="PART", help=f"of {', '.join(names)}")
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="results file (JSON); the summary lies beside it (.md)"
    )
    parser.add_argument(
        "--minutes", type=minutes, default=MINUTES, metavar="N", help=f"for all of it (default {MINUTES})"
    )
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="keep the parts' own files and what they printed")
    options = parser.parse_args(arguments)
    parts = [part for part in PARTS if not options.only or part.name in options.only]
    try:
        return check(parts, options.minutes, options.out, options.keep)
    except Unusable as reason:
        print(f"gpu_check: {reason}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\ngpu_check: interrupted, nothing is kept", file=sys.stderr)
        return 130


def minutes(text: str) -> float:
    number = float(text)
    if not 1 <= number <= 600:
        raise argparse.ArgumentTypeError(f"{text} minutes: give 1 to 600")
    return number


if __name__ == "__main__":
    raise SystemExit(main())
