"""Write the README's tables from the results files, between their markers.

python benchmarks/readme_tables.py            # rewrite README.md
python benchmarks/readme_tables.py --check    # exit with 1 if it is not up to date
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"


def training_on_the_cpu() -> str:
    """Microseconds a step of every contender, and how many times as fast gpunet is as the fastest PyTorch."""
    results = json.loads((RESULTS / "train-cpu.json").read_text())
    machine = results["machine"]
    lines = [
        "| experiment | network, batch | gpunet (NumPy) | fastest PyTorch | scikit-learn | gpunet against PyTorch |",
        "|---|---|---:|---:|---:|---:|",
    ]
    for entry in results["experiments"]:
        medians = {name: figures["median"] for name, figures in entry["us_per_step"].items()}
        torch = {name: median for name, median in medians.items() if name.startswith("PyTorch")}
        fastest = min(torch, key=torch.get)
        lines.append(
            f"| {entry['experiment']} | {'-'.join(map(str, entry['sizes']))}, {entry['batch_size']} "
            f"| {medians['gpunet (NumPy)']:.0f} us | {torch[fastest]:.0f} us ({fastest.removeprefix('PyTorch ')}) "
            f"| {medians['scikit-learn']:.0f} us | {entry['fastest_pytorch_times_gpunet']:.1f} x |"
        )
    lines += [
        "",
        f"Microseconds a training step, medians of {results['rounds']} interleaved runs on {machine['cores']} cores of "
        f"{article(machine['processor'])} {machine['processor']}, {machine['date']}; numpy {machine['numpy']}, torch "
        f"{machine['torch']}, scikit-learn {machine['scikit-learn']}, Python {machine['python']}.",
    ]
    return "\n".join(lines)


def compiled_kernels() -> str:
    """What each variant of each kernel takes of a T4, the largest over its activations and kinds of input."""
    results = json.loads((RESULTS / "kernels-compiled.json").read_text())
    lines = [
        "| kernel | threads a block | registers | shared memory | occupancy of a T4 |",
        "|---|---:|---:|---:|---:|",
    ]
    groups: dict[str, list[dict]] = {}
    for row in results["rows"]:
        if row["capability"] == "7.5":
            groups.setdefault(" ".join(row["kernel"].split()[:2]), []).append(row)
    for name, rows in groups.items():
        registers, shared = (max(row[key] for row in rows) for key in ("registers", "shared_bytes"))
        occupancy = min(row["occupancy"] for row in rows)
        kernel, _, variant = name.partition(" ")
        title = f"`{kernel}` {variant.replace('_', ' ')}".strip()
        lines.append(f"| {title} | {rows[0]['threads']} | {registers} | {shared / 1024:.1f} KB | {occupancy:.0%} |")
    faults = sum(row["spill_bytes"] + row["local_bytes"] + row["float64_instructions"] for row in results["rows"])
    lines += [
        "",
        f"{len(results['rows']) // 3} variants, each compiled for sm_75, sm_80 and sm_90 by numba-cuda "
        f"{results['compilers']['numba-cuda']} and ptxas {results['compilers']['ptxas']}. Registers spilled, bytes of "
        f"local memory and float64 instructions in all of them together: {faults}.",
    ]
    return "\n".join(lines)


def article(noun: str) -> str:
    return "an" if noun[:1].upper() in "AEIOU" else "a"


TABLES = {"training-on-the-cpu": training_on_the_cpu, "compiled-kernels": compiled_kernels}


def with_tables(readme: str) -> str:
    """The README's text with every table rewritten."""
    for name, table in TABLES.items():
        begin, end = f"<!-- {name}: written by benchmarks/readme_tables.py -->", f"<!-- end of {name} -->"
        before, marker, rest = readme.partition(begin)
        _, end_marker, after = rest.partition(end)
        if not marker or not end_marker:
            raise SystemExit(f"README.md has no place for the table {name}: put '{begin}' and '{end}' there")
        readme = f"{before}{begin}\n\n{table()}\n\n{end}{after}"
    return readme


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="change nothing; exit with 1 if a table is out of date")
    options = parser.parse_args()
    path = ROOT / "README.md"
    readme = path.read_text()
    written = with_tables(readme)
    if options.check:
        return int(written != readme)
    path.write_text(written)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
