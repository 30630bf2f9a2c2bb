"""On a device: a small training run under NVIDIA's compute-sanitizer, where that is installed."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from device_runs import ROOT, SANITIZED

pytestmark = pytest.mark.gpu

SANITIZER = shutil.which("compute-sanitizer")
FOUND_SOMETHING = 86
SECONDS = 60


@pytest.mark.skipif(SANITIZER is None, reason="compute-sanitizer is not on the PATH")
@pytest.mark.parametrize("tool", ["memcheck", "racecheck"])
def test_gpu_sanitizer_finds_nothing(tool):
    options = ["--tool", tool, "--error-exitcode", str(FOUND_SOMETHING), "--print-limit", "20"]
    if tool == "memcheck":
        options += ["--report-api-errors", "no"]  # CuPy asks the driver for what it may not have, and copes
    tests = Path(__file__).parent
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, (tests, tests.parent, ROOT)))}
    done = subprocess.run(
        [SANITIZER, *options, *SANITIZED], env=environment, capture_output=True, text=True, timeout=SECONDS, check=False
    )
    said = (done.stdout + done.stderr)[-6000:]
    assert done.returncode == 0, said
    assert "trained" in done.stdout, said
