"""What the kernels compile to for a T4, held against the rules and against the committed rows."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from gpunet.kernels import report

COMMITTED = Path(__file__).resolve().parents[2] / "benchmarks" / "results" / "kernels-compiled.json"
WORSE_IF_LARGER = ("registers", "shared_bytes", "spill_bytes", "local_bytes", "float64_instructions")


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    """The report for sm_75, by a process that is not in the simulator."""
    try:
        report.find_ptxas()
    except SystemExit as missing:
        pytest.skip(str(missing))
    path = tmp_path_factory.mktemp("report") / "report.json"
    environment = {name: value for name, value in os.environ.items() if name != "NUMBA_ENABLE_CUDASIM"}
    command = [sys.executable, "-m", "gpunet.kernels.report", "--cc", "7.5", "--json", str(path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert path.exists(), done.stderr
    return json.loads(path.read_text()), done


def test_report_finds_no_spills_no_float64_and_a_quarter_of_a_t4(compiled):
    result, done = compiled
    assert (report.faults(result["rows"]), done.returncode, done.stderr) == ([], 0, "")
    names = {row["kernel"].split()[0] for row in result["rows"]}
    assert names >= {"dense_forward", "dense_backward", "dense_head", "dense_update", "softmax_cross_entropy", "adam"}
    assert "per_sample_sgd" in names


def test_report_is_no_worse_than_its_committed_rows(compiled):
    result, _ = compiled
    committed = json.loads(COMMITTED.read_text())
    if committed["compilers"] != result["compilers"]:
        pytest.skip(f"the committed rows are of other compilers: {committed['compilers']}")
    before = {(row["kernel"], row["capability"]): row for row in committed["rows"]}
    for row in result["rows"]:
        known = before[row["kernel"], row["capability"]]  # a new variant needs a committed row
        assert {name: row[name] for name in WORSE_IF_LARGER if row[name] > known[name]} == {}, row["kernel"]
        assert row["occupancy"] >= known["occupancy"], row["kernel"]


def test_report_names_every_fault():
    row = {"kernel": "k", "capability": "7.5", "spill_bytes": 8, "local_bytes": 4, "float64_instructions": 2}
    found = report.faults([row | {"occupancy": 0.2}])
    assert len(found) == 4 and all("k on 7.5" in fault for fault in found)
    clean = row | {"spill_bytes": 0, "local_bytes": 0, "float64_instructions": 0, "occupancy": 0.25}
    assert report.faults([clean]) == []
    assert report.faults([clean | {"kernel": "per_sample_sgd", "occupancy": 0.1}]) == []
    assert len(report.faults([clean | {"kernel": "per_sample_sgd", "occupancy": 0}])) == 1


@pytest.mark.parametrize(
    ("threads", "registers", "shared", "expected"),
    [
        (256, 64, 0, 1.0),  # 4 blocks of 256 x 64 registers fill the 65,536, and 1,024 threads
        (256, 65, 0, 0.75),  # 72 registers a thread, since they are given in units of 8: 3 blocks
        (128, 32, 32 * 1024, 0.25),  # two blocks of half the shared memory
        (32, 16, 0, 0.5),  # 16 blocks at most
    ],
)
def test_occupancy_of_a_t4(threads, registers, shared, expected):
    assert report.occupancy((7, 5), threads, registers, shared) == expected
