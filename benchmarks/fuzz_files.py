"""Every kind of file that gpunet reads, damaged, cut, spliced and made to do harm: each is read or refused.

    python benchmarks/fuzz_files.py --files 10000 [--kinds arrays models] [--seed 0] [--keep FOLDER]
    python benchmarks/fuzz_files.py --kinds images --only 123     # one file again

A finding is a file that makes gpunet crash, hang, raise anything but `InputError`, run what is planted in it, or take
more than a gigabyte. The same seed makes the same files. Exit status 1 if there are findings. For Linux.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from fuzzing.watched import GOOD, Outcome, read_files

LIMIT = 20.0  # seconds a file
KINDS = ("arrays", "npy", "cache", "images", "folder", "models", "torch", "metrics", "sweeps", "kernels")


def fuzz(
    kinds: Sequence[str], files: int, seed: int, *, limit: float = LIMIT, processes: int = 1, keep: Path | None = None
) -> list[Outcome]:
    """Read so many files in all, shared equally by the kinds."""
    os.environ["OMP_NUM_THREADS"] = "1"  # each thread of BLAS would take memory of its own
    shares = [files * (index + 1) // len(kinds) - files * index // len(kinds) for index in range(len(kinds))]

    def read(kind: str, share: int) -> list[Outcome]:
        return list(read_files(kind, range(share), seed, limit, keep))

    with ThreadPoolExecutor(processes) as pool:
        return [outcome for found in pool.map(read, kinds, shares) for outcome in found]


def report(outcomes: Sequence[Outcome]) -> str:
    """A row a kind, and a line a finding."""
    names = (*GOOD, *sorted({each.name for each in outcomes if not each.good}))
    rows = [("kind", "files", *names, "slowest", "most memory")]
    for kind in dict.fromkeys(each.kind for each in outcomes):
        own = [each for each in outcomes if each.kind == kind]
        counts = Counter(each.name for each in own)
        slowest, largest = max(each.seconds for each in own), max(each.megabytes for each in own)
        rows.append((kind, len(own), *(counts[name] for name in names), f"{slowest:.1f} s", f"{largest:.0f} MB"))
    totals = Counter(each.name for each in outcomes)
    rows.append(("all", len(outcomes), *(totals[name] for name in names), "", ""))
    widths = [max(len(str(row[column])) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(f"{cell!s:>{width}}" for cell, width in zip(row, widths, strict=True)) for row in rows]
    lines += [f"{each.kind} {each.number} {each.name}: {each.detail}" for each in outcomes if not each.good]
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=1000, help="how many in all (default: 1000)")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS, help="which kinds (default: all)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int, metavar="NUMBER", help="this file of each kind and no other")
    parser.add_argument("--limit", type=float, default=LIMIT, help=f"seconds a file may take (default: {LIMIT:g})")
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="put the files of the findings there")
    arguments = parser.parse_args()
    if arguments.only is None:
        options = {"limit": arguments.limit, "processes": arguments.processes, "keep": arguments.keep}
        outcomes = fuzz(arguments.kinds, arguments.files, arguments.seed, **options)
    else:
        numbers = range(arguments.only, arguments.only + 1)
        arguments_of_all = (numbers, arguments.seed, arguments.limit, arguments.keep)
        outcomes = [each for kind in arguments.kinds for each in read_files(kind, *arguments_of_all)]
        print(*(f"{each.name}: {each.detail}" for each in outcomes), sep="\n")
    print(report(outcomes))
    return 0 if all(each.good for each in outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
