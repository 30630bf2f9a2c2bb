"""The processes in which contenders train: see training/worker.py."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

from training.contenders import Contender

BENCHMARKS = Path(__file__).resolve().parent.parent  # where a process finds the modules of this folder
SECONDS_TO_END = 5

# Where what was compiled is kept: each in a folder of its own, which is empty when the first process starts.
CACHES = (
    "GPUNET_CACHE",
    "NUMBA_CACHE_DIR",
    "TORCHINDUCTOR_CACHE_DIR",
    "TRITON_CACHE_DIR",
    "JAX_COMPILATION_CACHE_DIR",
    "CUPY_CACHE_DIR",
    "CUDA_CACHE_PATH",
)
KEEP_ALL = {"JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0", "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1"}

# JAX would compute on a device where it finds one, and take most of its memory for itself.
ON_CPU = {"JAX_PLATFORMS": "cpu"}
SHARED_DEVICE = {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"}

# How many threads a library takes; the last one is JAX's.
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS", "NPROC")


class ContenderFailed(Exception):
    """A contender raised an error, or its process ended. reason: which, in words."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"{name}: {reason}")
        self.reason = reason


class Entrant(NamedTuple):
    """A contender with so many threads, on this device (None: the CPU)."""

    contender: Contender
    threads: int
    device: int | None

    @property
    def name(self) -> str:
        if not self.contender.each_thread_count:
            return self.contender.name
        return f"{self.contender.name}, {self.threads} thread{'s' if self.threads > 1 else ''}"


class TrainingProcess:
    """An entrant in a process of its own. A context manager: the process ends with it."""

    def __init__(self, entrant: Entrant, caches: Path) -> None:
        """caches: the folder that holds the entrant's caches."""
        environment = os.environ | {name: str(caches / name.lower()) for name in CACHES} | KEEP_ALL
        environment |= {name: str(entrant.threads) for name in THREADS}
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, (str(BENCHMARKS), os.environ.get("PYTHONPATH"))))
        environment |= ON_CPU if entrant.device is None else SHARED_DEVICE
        device = [] if entrant.device is None else [str(entrant.device)]
        self._name = entrant.name
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 (closed with the process)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "training.worker", entrant.contender.name, *device],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env=environment,
            start_new_session=True,  # Ctrl-C is for the benchmark, which ends them all
        )

    def ask(self, do: str, **arguments: Any) -> dict[str, Any]:
        """The reply to a request. Raises `ContenderFailed` where there is an error instead."""
        try:
            print(json.dumps({"do": do, **arguments}), file=self._process.stdin, flush=True)
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise ContenderFailed(self._name, self._last_words())
        reply = json.loads(line)
        if "error" in reply:
            raise ContenderFailed(self._name, reply["error"])
        return reply

    def __enter__(self) -> TrainingProcess:
        return self

    def __exit__(self, *exception: object) -> None:
        try:
            self._process.communicate(timeout=SECONDS_TO_END)  # closes its standard input, at which it ends
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()
        self._errors.close()

    def _last_words(self) -> str:
        status = self._process.wait()
        self._errors.seek(0)
        lines = self._errors.read().strip().splitlines()
        return f"its process ended with status {status}" + (f" ({lines[-1]})" if lines else "")
