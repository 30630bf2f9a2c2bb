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


OURS = ("gpunet (NumPy)", "gpunet (jit)")
OURS_ON_DEVICE = ("gpunet (CUDA, each kernel launched)", "gpunet (CUDA graph)")
PACKAGES = ("numpy", "numba", "torch", "jax", "scikit-learn")
PACKAGES_ON_DEVICE = ("cupy", "numba-cuda", "torch", "jax")


def training_on_the_cpu() -> str:
    """Microseconds a step, warm: gpunet and the peers, of several forms or thread counts the fastest."""
    results = json.loads((RESULTS / "train-cpu.json").read_text())
    machine = results["machine"]
    threads = max(machine["threads"])
    where = (
        f"up to {threads} thread{'s' if threads > 1 else ''} on {machine['cores']} cores of "
        f"{article(machine['processor'])} {machine['processor']}"
    )
    return training_table(results, OURS, ("PyTorch", "JAX", "scikit-learn"), where)


def training_on_gpus() -> str:
    """The same on each device that has a results file."""
    tables = []
    for path in sorted(set(RESULTS.glob("train-*.json")) - {RESULTS / "train-cpu.json"}):
        results = json.loads(path.read_text())
        tables.append(training_table(results, OURS_ON_DEVICE, ("PyTorch", "JAX"), results["device"]["device"]))
    return "\n\n".join(tables) or "Not measured yet."


def training_table(results: dict, ours: tuple[str, ...], peers: tuple[str, ...], where: str) -> str:
    machine = results["machine"]
    heads = [
        "experiment",
        "network, batch",
        *ours,
        *(f"fastest {peer}" if peer == "PyTorch" else peer for peer in peers),
    ]
    lines = [
        f"| {' | '.join([*heads, 'gpunet against PyTorch'])} |",
        f"|---|---|{'---:|' * (len(heads) - 1)}",
    ]
    for entry in results["experiments"]:
        medians = {name: figures["median"] for name, figures in entry["us_per_step"].items()}
        cells = [entry["experiment"], f"{'-'.join(map(str, entry['sizes']))}, {entry['batch_size']}"]
        cells += [time_of(name, medians) for name in ours]
        cells += [
            time_of(fastest(medians, peer), medians, form_of="" if peer == "scikit-learn" else peer) for peer in peers
        ]
        cells.append(times_of(fastest(medians, "PyTorch"), entry["times_gpunet"], ours))
        lines.append(f"| {' | '.join(cells)} |")
    packages = PACKAGES_ON_DEVICE if results["device"] else PACKAGES
    found = [name for name in packages if machine[name] != "not installed"]
    lines += [
        "",
        f"Microseconds a training step, warm, medians of {results['rounds']} interleaved runs; {where}, "
        f"{machine['date']}; {', '.join(f'{name} {machine[name]}' for name in found)}, Python {machine['python']}. "
        "Before it is timed, each trains from the same weights over the same batches, and its losses must be those of "
        "float64 within what float32 may be off by.",
    ]
    if results["cold"]:
        lines += ["", cold_training(results, ours)]
    return "\n".join(lines)


def fastest(medians: dict[str, float], peer: str) -> str | None:
    """The fastest of a peer's forms and thread counts."""
    return min((name for name in medians if name.startswith(peer)), key=medians.get, default=None)


def time_of(name: str | None, medians: dict[str, float], *, form_of: str = "") -> str:
    """A median, and behind it which form or thread count of a peer has it; "not run" for what has none."""
    if name not in medians:
        return "not run"
    form = f" ({name.removeprefix(form_of).lstrip(', ')})" if form_of else ""
    return microseconds(medians[name]) + form


def times_of(peer: str | None, times_gpunet: dict[str, dict[str, float]], ours: tuple[str, ...]) -> str:
    """How many times as long as each gpunet's a peer takes, such as "1.5 x, jit 2.1 x"."""
    if peer is None:
        return "not run"
    said = {"gpunet (jit)": "jit ", "gpunet (CUDA graph)": "graph "}
    timed = [name for name in ours if name in times_gpunet]
    return ", ".join(f"{said.get(name, '')}{times_gpunet[name][peer]:.1f} x" for name in timed)


def cold_training(results: dict, ours: tuple[str, ...]) -> str:
    """One sentence: the first run of a process, in the first process and in the second."""
    cold = {}  # contender: its first and second time, of several forms or thread counts those that are fastest first
    for name, runs in results["cold"].items():
        contender = name if name in ours else name.partition(",")[0]
        pair = [runs[which]["us_per_step"] for which in ("first", "second")]
        cold[contender] = min(cold.get(contender, pair), pair)
    said = "; ".join(f"{name} {first:,.0f} and {second:,.0f}" for name, (first, second) in cold.items())
    return (
        f"All ten epochs of {results['cold_experiment']} in a fresh process, compilation included and imports not, in "
        f"a first process and in a second one that finds what the first has kept: {said} us a step."
    )


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


def population_on_the_cpu() -> str:
    """Networks a second of every contender, a row for each size of population."""
    path = RESULTS / "population-cpu.json"
    if not path.is_file():
        return "Not measured yet."
    results = json.loads(path.read_text())
    threads, cpu = results["machine"]["threads"], results["machine"]["processor"]
    where = f"{threads} thread{'s' if threads > 1 else ''} of {article(cpu)} {cpu} (JAX takes as many as it likes)"
    return population_table(results, where)


def population_on_gpus() -> str:
    """The same on each device that has a results file."""
    paths = sorted(set(RESULTS.glob("population-*.json")) - {RESULTS / "population-cpu.json"})
    found = [json.loads(path.read_text()) for path in paths]
    return "\n\n".join(population_table(each, each["device"]["device"]) for each in found) or "Not measured yet."


def population_table(results: dict, where: str) -> str:
    machine, not_run, left_out = results["machine"], results["not_run"], results["left_out"]
    names = list(dict.fromkeys(name for row in results["rows"] for name in row["rate"]))
    lines = [f"| networks | {' | '.join(names)} |", f"|---:|{'---:|' * len(names)}"]
    for row in results["rows"]:
        rates = [three_digits(row["rate"][name]["median"]) if name in row["rate"] else "left out" for name in names]
        lines.append(f"| {row['networks']} | {' | '.join(rates)} |")
    versions = [f"{name} {machine[name]}" for name in ("numpy", "torch", "jax") if machine[name] != "not installed"]
    says = [
        f"Networks of {'-'.join(map(str, results['sizes']))} a second, each of ten epochs of "
        f"{results['training_rows']:,} rows in batches of {results['batch_size']}, by {results['epochs_timed']} epochs "
        f"timed, medians of up to {results['rounds']} interleaved runs; {where}, {machine['date']}; "
        f"{', '.join(versions)}."
    ]
    says += [f"{name} was left out from {each['from']} networks on: {each['why']}." for name, each in left_out.items()]
    says += [f"{name} was not run: {why}." for name, why in not_run.items()]
    return "\n".join([*lines, "", " ".join([*twenty_networks(results["rows"]), *says])])


def twenty_networks(rows: list[dict]) -> list[str]:
    """A sentence on twenty networks beside as many runs of PyTorch, where both were timed."""
    rates = next((row["rate"] for row in rows if row["networks"] == 20), {})
    ours, single = [name for name in rates if name.startswith("gpunet")], rates.get("PyTorch, one after another")
    if single is None:
        return []
    ratios = [f"{name} {rates[name]['median'] / single['median']:.1f} times" for name in ours]
    return [f"Against PyTorch one after another, twenty networks go {' and '.join(ratios)} as fast."] if ratios else []


def model_of_a_step() -> str:
    """What each device needs at the least for a step, and what was measured there."""
    results = json.loads((RESULTS / "roofline.json").read_text())
    heads = ("device", "networks", "operations", "memory", "L2 cache", "launches", "all of it", "a network", "measured")
    lines = [f"| {' | '.join(heads)} |", f"|---|{'---:|' * (len(heads) - 1)}"]
    for device in results["devices"]:
        for row in device["rows"]:
            us, measured = row["modelled_us"], row["measured_us"]
            cells = [device["name"], f"{row['networks']}", *map(microseconds, us.values())]
            cells.append(microseconds(us["together"] / row["networks"]))
            cells.append("not measured" if measured is None else microseconds(measured))
            lines.append(f"| {' | '.join(cells)} |")
    copies = [
        f"At the {device['limits']['copy_bandwidth'] / 1e12:.1f} TB/s that a copy reaches on the {device['name']}, the "
        f"memory traffic of {row['networks']} networks takes {microseconds(row['memory_at_a_copys_speed_us'])}."
        for device in results["devices"]
        for row in device["rows"][-1:]
        if row["memory_at_a_copys_speed_us"]
    ]
    most = [f"{device['most_networks_in_l2']} on the {device['name']}" for device in results["devices"]]
    says = [
        f"Modelled, but for the last column: a step of {'-'.join(map(str, results['sizes']))}, batch "
        f'{results["batch_size"]}, of all networks. "All of it" adds up what takes longest in each kernel, and the '
        f"nodes of the graph. Nothing comes from memory while all fits the L2 cache; most networks: {', '.join(most)}.",
        *copies,
    ]
    return "\n".join([*lines, "", " ".join(says)])


def three_digits(value: float) -> str:
    """Never with an exponent."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def microseconds(value: float) -> str:
    return f"{three_digits(value)} us"


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
    "training-on-gpus": training_on_gpus,
    "population-on-the-cpu": population_on_the_cpu,
    "population-on-gpus": population_on_gpus,
    "model-of-a-step": model_of_a_step,
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
