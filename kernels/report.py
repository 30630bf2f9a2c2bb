"""What each kernel compiles to, without a GPU: registers, spills, shared memory, occupancy, instructions to beware of.

    python -m gpunet.kernels.report                  # a table
    python -m gpunet.kernels.report --json FILE      # and the rows in a file
    python -m gpunet.kernels.report --only head      # kernels whose name contains a word
    python -m gpunet.kernels.report --cc 7.5         # for a T4 alone

Every variant that the launchers can choose is compiled by NVVM for a T4 (sm_75), an A100 (sm_80) and an H100 (sm_90)
and assembled by ptxas, both from the CUDA wheels that numba-cuda brings. Must hold: nothing spilled, no local memory,
no float64.
"""

import argparse
import json
import multiprocessing
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple
from unittest import mock

from gpunet.kernels.launch import SIMULATOR, ReportCase, ceil_div

CAPABILITIES = ((7, 5), (8, 0), (9, 0))
MODULES = (
    "dense_forward",
    "dense_backward",
    "dense_head",
    "dense_update",
    "softmax_cross_entropy",
    "binary_cross_entropy",
    "squared_error",
    "clip",
    "optimizers",
    "per_sample_sgd",
    "augment",
    "epoch",
)


class Limits(NamedTuple):
    """What a multiprocessor has. reserved: bytes of shared memory that the system takes of it for each block."""

    threads: int
    blocks: int
    registers: int
    shared: int
    reserved: int


# CUDA C++ Programming Guide, "Technical specifications per compute capability".
LIMITS = {
    (7, 5): Limits(1024, 16, 65536, 64 * 1024, 0),
    (8, 0): Limits(2048, 32, 65536, 164 * 1024, 1024),
    (9, 0): Limits(2048, 32, 65536, 228 * 1024, 1024),
}
WARP = 32
REGISTER_UNIT = 256  # registers are given to a warp in units of this
SHARED_UNIT = 256  # bytes


def cases() -> list[ReportCase]:
    """Every variant of every kernel, in the order of the files' table."""
    return [case for name in MODULES for case in import_module(f"gpunet.kernels.{name}").report_cases()]


def compile_ptx(case: ReportCase, capability: tuple[int, int]) -> str:
    """The kernel's PTX for a compute capability."""
    from numba import cuda

    # Numba asks the current device for its capability when a kernel calls a device function; here there is none.
    stand_in = SimpleNamespace(compute_capability=capability, name=b"none", id=0)
    with ExitStack() as patches:
        for name in ("numba.cuda.compiler", "numba.cuda.dispatcher"):
            module = import_module(name)
            if hasattr(module, "get_current_device"):
                patches.enter_context(mock.patch.object(module, "get_current_device", lambda: stand_in))
        ptx, _ = cuda.compile(
            case.kernel.py_func,
            case.signature,
            device=False,
            abi="numba",
            cc=capability,
            output="ptx",
            fastmath=case.kernel.targetoptions.get("fastmath", False),
            launch_bounds=case.kernel.targetoptions.get("launch_bounds"),
        )
    return (ptx.decode() if isinstance(ptx, bytes) else ptx).rstrip("\0")


def find_ptxas() -> str:
    """The assembler of the CUDA wheels, else the one on the PATH."""
    try:
        import nvidia
    except ImportError:
        folders = []
    else:
        folders = [Path(base) / part / "bin" for base in nvidia.__path__ for part in ("cuda_nvcc", "cu12", "cu13")]
    found = shutil.which("ptxas", path=os.pathsep.join(map(str, folders))) or shutil.which("ptxas")
    if found is None:
        raise SystemExit("ptxas was not found: pip install nvidia-cuda-nvcc-cu12")
    return found


def assemble(ptx: str, capability: tuple[int, int], max_registers: int | None = None) -> str:
    """What ptxas says of a kernel."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "kernel.ptx"
        source.write_text(ptx)
        architecture = f"sm_{capability[0]}{capability[1]}"
        command = [find_ptxas(), "-v", "-arch", architecture, str(source), "-o", str(Path(folder) / "kernel.cubin")]
        if max_registers is not None:
            command.append(f"-maxrregcount={max_registers}")
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"ptxas refuses the kernel for {architecture}:\n{done.stderr}")
    return done.stderr


def occupancy(capability: tuple[int, int], threads: int, registers: int, shared: int) -> float:
    """The share of a multiprocessor's threads that blocks of this kind can fill."""
    limits = LIMITS[capability]
    warps = ceil_div(threads, WARP)
    warp_registers = ceil_div(registers * WARP, REGISTER_UNIT) * REGISTER_UNIT
    block_shared = ceil_div(shared + limits.reserved, SHARED_UNIT) * SHARED_UNIT
    blocks = min(limits.threads // (warps * WARP), limits.blocks, limits.registers // warp_registers // warps)
    if block_shared:
        blocks = min(blocks, limits.shared // block_shared)
    return blocks * warps * WARP / limits.threads


def row(case: ReportCase, capability: tuple[int, int]) -> dict[str, Any]:
    """One line of the report."""
    ptx = compile_ptx(case, capability)
    said = assemble(ptx, capability, case.kernel.targetoptions.get("max_registers"))

    def number(pattern: str) -> int:
        found = re.search(pattern, said)
        return int(found[1]) if found else 0

    registers, shared = number(r"Used (\d+) registers"), number(r"(\d+) bytes smem")
    return {
        "kernel": case.name,
        "capability": f"{capability[0]}.{capability[1]}",
        "threads": case.threads,
        "registers": registers,
        "shared_bytes": shared,
        "spill_bytes": number(r"(\d+) bytes spill stores") + number(r"(\d+) bytes spill loads"),
        "local_bytes": number(r"(\d+) bytes stack frame"),
        "float64_instructions": len(re.findall(r"\.f64\b", ptx)),
        "occupancy": round(occupancy(capability, case.threads, registers, shared), 3),
    }


def _row_of(key: tuple[int, tuple[int, int]]) -> dict[str, Any]:
    """By number, because a kernel cannot be sent to another process."""
    index, capability = key
    return row(cases()[index], capability)


def report(only: str = "", capabilities: Sequence[tuple[int, int]] = CAPABILITIES) -> dict[str, Any]:
    """The rows of kernels whose name contains `only`, and the versions of the compilers that made them."""
    names = [case.name for case in cases()]
    keys = [(index, capability) for capability in capabilities for index, name in enumerate(names) if only in name]
    # A process for each: names in the code carry numbers that depend on what was compiled before, and with them the
    # assembler takes a register more or less.
    with multiprocessing.Pool(maxtasksperchild=1) as pool:
        rows = pool.map(_row_of, keys, chunksize=1)
    return {"compilers": compilers(), "rows": rows}


def compilers() -> dict[str, str]:
    """Versions of numba-cuda and ptxas: rows can be compared only where both are the same."""
    said = subprocess.run([find_ptxas(), "--version"], capture_output=True, text=True, check=True).stdout
    return {"numba-cuda": version("numba-cuda"), "ptxas": re.search(r"release .*?(V[\d.]+)", said)[1]}


def faults(rows: list[dict[str, Any]]) -> list[str]:
    """What must not be, in words."""
    found = []
    for line in rows:
        where = f"{line['kernel']} on {line['capability']}"
        for name in ("spill_bytes", "local_bytes", "float64_instructions"):
            if line[name]:
                found.append(f"{where}: {line[name]} {name.replace('_', ' ')}")
        if line["occupancy"] == 0:
            found.append(f"{where}: a block does not fit on a multiprocessor")
        elif line["capability"] == "7.5" and line["occupancy"] < 0.25 and "per_sample" not in line["kernel"]:
            found.append(f"{where}: {line['occupancy']:.0%} occupancy, less than a quarter")
    return found


def table(rows: list[dict[str, Any]]) -> str:
    """As text, in columns."""
    width = max(len(line["kernel"]) for line in rows)
    lines = [f"{'kernel':<{width}}  cc   threads  registers  shared  spilled  local  float64  occupancy"]
    lines += [
        f"{line['kernel']:<{width}}  {line['capability']}  {line['threads']:>7}  {line['registers']:>9}"
        f"  {line['shared_bytes']:>6}  {line['spill_bytes']:>7}  {line['local_bytes']:>5}"
        f"  {line['float64_instructions']:>7}  {line['occupancy']:>9.0%}"
        for line in rows
    ]
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m gpunet.kernels.report", description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", metavar="WORD", help="kernels whose name contains this")
    parser.add_argument("--cc", choices=["7.5", "8.0", "9.0"], help="for one compute capability (default: all three)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows there as well")
    options = parser.parse_args(arguments)
    if SIMULATOR:
        print("the simulator compiles nothing: unset NUMBA_ENABLE_CUDASIM", file=sys.stderr)
        return 2
    capabilities = [each for each in CAPABILITIES if options.cc in (None, f"{each[0]}.{each[1]}")]
    result = report(options.only, capabilities)
    if not result["rows"]:
        print(f"no kernel's name contains {options.only!r}", file=sys.stderr)
        return 2
    print(table(result["rows"]))
    print("compiled by " + ", ".join(" ".join(item) for item in result["compilers"].items()))
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n")
    found = faults(result["rows"])
    for fault in found:
        print(fault, file=sys.stderr)
    return int(bool(found))


if __name__ == "__main__":
    raise SystemExit(main())
