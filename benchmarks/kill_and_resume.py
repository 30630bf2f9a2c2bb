"""Runs that are killed at random moments and resumed, beside one that is left alone: all must end with the same bits.

    python benchmarks/kill_and_resume.py [--kills 50] [--seed 0] [--only WORD ...]

Each run is `gpunet train` in a process of its own, on images made here. It gets SIGKILL at a moment drawn from the time
that an undisturbed run takes, from the first import to the last figure, and is then resumed, or begun again if it had
not come to the point where there is a run to resume. A resumed run may be killed again. It begins with two BLAS threads
and is resumed with one or two, as chance has it: what it was begun with is to be restored.

In the end everything in its folder must be what the undisturbed run has left: models, figures and histories byte for
byte, metrics but for times. Prints how many were killed where, and how many ended equal; exit status 1 unless all did.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from gpunet.resume import FILES
from gpunet.resume_folder import UNFINISHED, is_unfinished

ROOT = Path(__file__).resolve().parents[1]
IMAGES, CLASSES, PIXELS = 600, 10, 784
KILLED_AGAIN = 0.25  # how often a resumed run is
TIMES = ("seconds", "date")  # entries of metrics.json
THREADS = 2  # of BLAS, when a run begins

KINDS = {
    "adam, dropout, augmentation": ["--epochs", "200", "--dropout", "0.2", "--augment", "10", "2", "0.1"],
    "decay, large batches": ["--exp", "exp1", "--epochs", "600", "--weight-decay", "0.01", "--batch-size", "300"],
    "row by row": ["--task", "binary", "--exp", "numpy", "--epochs", "500"],
    "schedule, early stopping": ["--epochs", "400", "--schedule", "plateau", "--early-stopping", "100"],
    "five seeds": ["--seeds", "5", "--epochs", "100", "--dropout", "0.1"],
}
EVERY = 7  # epochs, from checkpoint to checkpoint


class Outcome(NamedTuple):
    """killed: {where: how often}. equal, different: runs that were killed and ended so; of the latter, what was
    wrong."""

    killed: Counter[str]
    equal: int
    different: list[str]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50, metavar="N")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the moments (default: 0)")
    parser.add_argument("--only", nargs="+", default=[""], metavar="WORD", help="kinds of runs whose name holds one")
    arguments = parser.parse_args()
    kinds = {name: options for name, options in KINDS.items() if any(word in name for word in arguments.only)}
    with tempfile.TemporaryDirectory(prefix="gpunet-kills-") as folder:
        outcome = kill_and_resume(kinds, arguments.kills, arguments.seed, Path(folder))
    print(f"\n{outcome.killed.total()} times killed:")
    for where, count in sorted(outcome.killed.items()):
        print(f"  {count:3}  {where}")
    print(f"{outcome.equal} runs resumed to their end, equal to one that was left alone; {len(outcome.different)} not")
    return 1 if outcome.different or not outcome.equal else 0


def kill_and_resume(kinds: dict[str, list[str]], kills: int, seed: int, folder: Path) -> Outcome:
    """Kill so many processes that train runs of these kinds in turn, each resumed to its end."""
    draw, killed, equal, different = random.Random(seed), Counter[str](), 0, []
    data = _write_data(folder / "images.npz")
    undisturbed = {name: _left_alone(name, options, data, folder) for name, options in kinds.items()}
    number = 0
    while killed.total() < kills:
        name = list(kinds)[number % len(kinds)]
        expected, seconds = undisturbed[name]
        own = folder / f"run-{number}"
        number += 1
        began = time.perf_counter()
        told = _until_its_end(_command(kinds[name], data, own), own, seconds, kills, killed, draw)
        if not told:  # done before its moment had come, the machine having got quicker: it proves nothing
            undisturbed[name] = expected, time.perf_counter() - began
            continue
        wrong = _difference(expected, own)
        equal, different = equal + (not wrong), different + [f"{name}: {wrong}"] * bool(wrong)
        print(f"{killed.total():3}  {name}: {'; '.join(told)}; {wrong or 'equal'}", flush=True)
    return Outcome(killed, equal, different)


def _until_its_end(
    command: list[str], own: Path, seconds: float, kills: int, killed: Counter[str], draw: random.Random
) -> list[str]:
    """Train a run, with one kill and perhaps more on the way; says where they struck."""
    told: list[str] = []
    while True:
        resumes = is_unfinished(own)
        moment = None
        if killed.total() < kills and (not told or draw.random() < KILLED_AGAIN):
            moment = draw.uniform(0, seconds)
        threads = draw.choice((1, THREADS)) if resumes else THREADS
        process = _start(["--resume", str(own)] if resumes else command, threads)
        if not _killed(process, moment):
            output = process.communicate()[0]
            if process.returncode != 0:
                told.append(f"status {process.returncode}: {output.strip()[-300:]}")
            return told
        where = _phase(own)
        killed[where] += 1
        told.append(f"killed {where} ({moment:.2f} s)")
        if where == AFTER:
            return told


BEFORE, EARLY = "before there was a run to resume", "before the first checkpoint"
TRAINING, WRITING, AFTER = "in training, after a checkpoint", "as results were written", "when all was written"


def _phase(own: Path) -> str:
    """How far a run had come that was killed."""
    has_model = (own / "model.safetensors").exists()
    if not is_unfinished(own):
        return AFTER if has_model else BEFORE
    if has_model:
        return WRITING
    return TRAINING if any((own / UNFINISHED).rglob(FILES)) else EARLY


def _killed(process: subprocess.Popen[str], moment: float | None) -> bool:
    """Whether SIGKILL struck the process, after so many seconds."""
    if moment is None:
        return False
    time.sleep(moment)
    if process.poll() is not None:
        return False
    process.kill()
    process.communicate()
    return process.returncode == -signal.SIGKILL


def _left_alone(name: str, options: list[str], data: Path, folder: Path) -> tuple[Path, float]:
    """The folder of an undisturbed run, and how long it takes."""
    own = folder / f"undisturbed-{len(list(folder.iterdir()))}"
    began = time.perf_counter()
    process = _start(_command(options, data, own), THREADS)
    output = process.communicate()[0]
    if process.returncode != 0:
        raise SystemExit(f"{name}: {output}")
    seconds = time.perf_counter() - began
    print(f"{name}: undisturbed {seconds:.1f} s", flush=True)
    return own, seconds


def _command(options: list[str], data: Path, own: Path) -> list[str]:
    every = ["--checkpoint-every", str(EVERY)]
    return ["--data", str(data), "--backend", "numpy", *options, *every, "--out", str(own)]


def _start(options: list[str], threads: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(ROOT / "scripts" / "train.py"), *options, "--quiet"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": str(threads), "MPLBACKEND": "agg"},
    )


def _write_data(path: Path) -> Path:
    """A pattern for each class, under noise."""
    draw = np.random.default_rng(0)
    labels = np.arange(IMAGES) % CLASSES
    images = draw.random((CLASSES, PIXELS))[labels] * draw.uniform(0, 255, (IMAGES, PIXELS))
    np.savez(path, dataset=images.astype(np.uint8), labels=labels.astype(str))
    return path


def _difference(expected: Path, own: Path) -> str:
    """What two runs' folders differ in; nothing if they do not."""
    names = [{path.name for path in each.iterdir() if not path.name.startswith(".")} for each in (expected, own)]
    if names[0] != names[1]:
        return f"other files: {', '.join(sorted(names[0] ^ names[1]))}"
    differing = []
    for name in sorted(names[0]):
        contents = [(each / name).read_bytes() for each in (expected, own)]
        if name.endswith(".json"):
            contents = [_without_times(json.loads(content)) for content in contents]
        if not name.endswith(".html") and contents[0] != contents[1]:  # a page says how long it took
            differing.append(name)
    return f"other content: {', '.join(differing)}" if differing else ""


def _without_times(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_times(item) for key, item in value.items() if key not in TIMES}
    return value


if __name__ == "__main__":
    raise SystemExit(main())
