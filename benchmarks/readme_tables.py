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


# The cases of bench_kernels.py that stand in the README: the steps of the reports' networks, then larger ones.
KERNEL_ROWS = (
    "dense_forward 128 x 784 x 64, relu, gathered",
    "dense_head 128 x 64 x 10, softmax, relu below",
    "dense_update 784-64-10, 128 rows, adam",
    "dense_forward 64 x 784 x 64, relu, gathered",
    "dense_head 64 x 784 x 10, softmax, gathered",
    "dense_update 784-10, 64 rows, adam",
    "dense_forward 1 x 784 x 10, sigmoid, gathered",
    "dense_update 784-10-1, 1 row, sgd",
    "softmax_cross_entropy 128 x 10",
    "adam 784-64-10, 50,890 parameters",
    "dense_forward 4096 x 1024 x 1024, relu",
    "dense_backward 4096 x 1024 x 1024, relu",
    "dense_update 512-1024-1024-256, 4096 rows, adam",
    "softmax_cross_entropy 4096 x 1000",
    "adam 512-1024-1024-256, 1,837,312 parameters",
)


def kernels_against_numpy() -> str:
    """A table for each device that has a results file, or where there is none, NumPy's side alone."""
    files = [json.loads(path.read_text()) for path in sorted(RESULTS.glob("kernels-*.json"))]
    found = [results for results in files if results.get("complete")]  # not what --quick or --only left
    measured = [results for results in found if results["device"]]
    return "\n\n".join(kernel_table(results) for results in measured or found)


def kernel_table(results: dict) -> str:
    """Microseconds of the cases in `KERNEL_ROWS`; "not measured" where that takes a device and there was none."""
    machine, device = results["machine"], results["device"]
    rows = {", ".join(filter(None, (f"{row['kernel']} {row['shape']}", row["detail"]))): row for row in results["rows"]}
    heads = ["operation", "NumPy", "gpunet's kernel", "CuPy"]
    heads += ["kernel against NumPy", "of cuBLAS", "the device's floor"] if device else []
    lines = [f"| {' | '.join(heads)} |", f"|---|{'---:|' * (len(heads) - 1)}"]
    for name in KERNEL_ROWS:
        row = rows[name]
        us = {contender: times["median"] for contender, times in row["us"].items()}
        kernel, _, rest = name.partition(" ")
        cells = [f"`{kernel}` {rest}", microseconds(us["NumPy"])]
        if device:
            cells += [microseconds(us["kernel"]), microseconds(us["CuPy"]), f"{us['NumPy'] / us['kernel']:.1f} x"]
            cells.append(f"{us['cuBLAS'] / us['kernel']:.0%}" if "cuBLAS" in us else "")
            cells.append("" if row["floor_us"] is None else microseconds(row["floor_us"]))
        else:
            cells += ["not measured"] * 2
        lines.append(f"| {' | '.join(cells)} |")
    cores = f"{machine['threads']} thread{'s' if machine['threads'] > 1 else ''} of"
    where = f"{cores} {article(machine['processor'])} {machine['processor']}, numpy {machine['numpy']}"
    if device:
        where = (
            f"{device['device']}, CUDA {device['CUDA of CuPy']}, CuPy {device['cupy']}, numba-cuda "
            f"{device['numba-cuda']}, L2 cache flushed before each call; NumPy on {where}"
        )
    else:
        where = f"NumPy on {where}. No GPU has been at hand, so nothing was measured on one"
    return "\n".join([*lines, "", f"Medians of up to {results['samples']} samples, {machine['date']}. {where}."])


def microseconds(value: float) -> str:
    """Three digits, and never an exponent."""
    return f"{value:,.0f} us" if value >= 100 else f"{value:.3g} us"


def equivalence() -> str:
    """The largest errors of each results file of `gpunet equivalence`."""
    files = sorted(RESULTS.glob("equivalence-*.json"))
    return "\n\n".join(equivalence_table(json.loads(path.read_text())) for path in files) or "Not measured yet."


def equivalence_table(results: dict) -> str:
    """One row an operation, whatever its place in the network; then the steps, the run and the verdict in words."""
    lines = ["| operation | calls | shapes | largest error |", "|---|---:|---|---:|"]
    for name in dict.fromkeys(entry["operation"] for entry in results["operations"]):
        entries = [entry for entry in results["operations"] if entry["operation"] == name]
        shapes = ", ".join(dict.fromkeys(shape for entry in entries for shape in entry["shapes"]))
        calls = sum(entry["calls"] for entry in entries)
        lines.append(f"| `{name}` | {calls:,} | {shapes} | {largest_error(entries)} |")
    lines.append(f"| a whole step | {len(results['steps']):,} | | {largest_error(results['steps'])} |")
    experiment, versions = results["experiment"], results["versions"]
    network = "-".join(map(str, experiment["sizes"]))
    compilers = "".join(f", {name} {versions[name]}" for name in ("cupy", "numba-cuda") if versions.get(name))
    says = [
        f"{results['device']}{compilers}, {results['date']}: {experiment['task']} {experiment['exp']}, {network}, "
        f"batch {experiment['batch_size']}, {len(results['steps'])} steps.",
        "Errors are in units of their tolerance: 1 is the most that is allowed, 0 means the same bits.",
    ]
    if results["stopped"] is not None:
        says.append(f"The run stopped: {results['stopped']}.")
    if results["free_running"] is not None:
        free = results["free_running"]
        says.append(
            f"Left to itself, the run ends {ratio(free['weights'])} times as far from float64 as NumPy's in float32, "
            "or as one rounding if that is farther "
            f"(its losses: {ratio(free['losses'])} times; allowed: {free['allowed']} times)."
        )
    says.append("All of it agrees." if results["agrees"] else "**Not all of it agrees.**")
    return "\n".join([*lines, "", " ".join(says)])


def largest_error(entries: list[dict]) -> str:
    """An infinite error is null in the file."""
    errors = [entry["error"] for entry in entries]
    return "infinite" if None in errors else f"{max(errors, default=0):.2g}"


def ratio(distance: dict) -> str:
    return "infinitely many" if distance["ratio"] is None else f"{distance['ratio']:.2g}"


def article(noun: str) -> str:
    return "an" if noun[:1].upper() in "AEIOU" else "a"


TABLES = {
    "training-on-the-cpu": training_on_the_cpu,
    "kernels-against-numpy": kernels_against_numpy,
    "compiled-kernels": compiled_kernels,
    "equivalence": equivalence,
}


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
