"""Training time of the reports' experiments: gpunet on NumPy beside PyTorch and scikit-learn, on this machine's CPU.

    python benchmarks/bench_train.py [--rounds 7] [--threads 1 2] [--out benchmarks/results/train-cpu.json]

Everyone trains the same network on the same float32 images in memory with the same batch size, so what is compared is
the training loop itself. In each round every contender trains once, one after the other, so that a drift of the
machine's speed hits all alike; the figures are medians over the rounds. Before any timing, gpunet and PyTorch train
one epoch from the same weights over the same batches, and their losses must agree.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
from measuring import about_this_machine, percentiles, write_results
from threadpoolctl import threadpool_limits

from gpunet import MLP, load_data, train
from gpunet.data import choose_classes, stratified_split
from gpunet.errors import InputError
from gpunet.experiments import EXPERIMENTS, Experiment
from gpunet.optimizers import OPTIMIZERS

PACKAGES = ("numpy", "torch", "scikit-learn")
AGREEMENT = 1e-4  # relative, of the mean loss of one epoch, gpunet against PyTorch in float32


class Problem:
    """One experiment with its data: float32 images ``[n, 784]`` in 0..1 and labels ``[n]`` of the training rows."""

    def __init__(self, experiment: Experiment, data: str) -> None:
        dataset = load_data(data)
        if experiment.task == "binary":
            dataset = choose_classes(dataset, ("4", "9"))
        split = stratified_split(dataset.labels, seed=0, validation=0.2 if experiment.task == "multiclass" else 0.0)
        self.experiment = experiment
        self.source = dataset.source
        self.bytes = dataset.images[split.train]
        self.images = self.bytes.astype(np.float32) / np.float32(255)
        self.labels = dataset.labels[split.train]
        outputs = 1 if experiment.task == "binary" else len(dataset.class_names)
        self.sizes = (self.images.shape[1], *experiment.hidden, outputs)
        self.epochs = experiment.epochs
        self.steps = -(-len(self.labels) // experiment.batch_size)

    def network(self) -> MLP:
        return MLP(self.sizes, self.experiment.activation, 0, loss=self.experiment.loss, init=self.experiment.init)

    def gpunet(self) -> None:
        """As a user would train: bytes in, history out."""
        optimizer = OPTIMIZERS[self.experiment.optimizer](self.experiment.learning_rate)
        train(
            self.network(),
            self.bytes,
            self.labels,
            optimizer=optimizer,
            epochs=self.epochs,
            batch_size=self.experiment.batch_size,
            shuffle=self.experiment.shuffle,
        )

    def scikit_learn(self) -> Callable[[], None]:
        from sklearn.neural_network import MLPClassifier

        experiment = self.experiment
        model = MLPClassifier(
            hidden_layer_sizes=experiment.hidden,
            activation={"sigmoid": "logistic"}.get(experiment.activation, experiment.activation),
            solver=experiment.optimizer,
            alpha=0.0,
            batch_size=experiment.batch_size,
            learning_rate_init=experiment.learning_rate,
            momentum=0.0,
            max_iter=self.epochs,
            tol=0.0,
            n_iter_no_change=10**6,
        )

        def run() -> None:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # that it did not converge in so few epochs
                model.fit(self.images, self.labels)

        return run

    def torch(self, kind: str) -> Callable[[], list[float]]:
        """A PyTorch loop as people write it, its data already tensors. kind: "eager", "fused" or "compiled"."""
        import torch

        experiment, network = self.experiment, self.network()
        layers: list[torch.nn.Module] = []
        for index, (weight, bias) in enumerate(network.layers):
            linear = torch.nn.Linear(*weight.shape[1:])
            with torch.no_grad():
                linear.weight.copy_(torch.from_numpy(weight[0].T.copy()))
                linear.bias.copy_(torch.from_numpy(bias[0].copy()))
            layers.append(linear)
            if index < len(network.layers) - 1:
                layers.append({"relu": torch.nn.ReLU, "sigmoid": torch.nn.Sigmoid}[experiment.activation]())
        model = torch.nn.Sequential(*layers)
        x = torch.from_numpy(self.images)
        if experiment.loss == "binary_cross_entropy":
            y, loss_function = torch.from_numpy(self.labels.astype(np.float32)[:, None]), torch.nn.BCEWithLogitsLoss()
        else:
            y, loss_function = torch.from_numpy(self.labels), torch.nn.CrossEntropyLoss()
        options = {"fused": True} if kind == "fused" else {}
        make = {"adam": torch.optim.Adam, "sgd": torch.optim.SGD}[experiment.optimizer]
        optimizer = make(model.parameters(), lr=experiment.learning_rate, **options)

        def forward(images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
            return loss_function(model(images), labels)

        update = optimizer.step
        if kind == "compiled":
            forward, update = torch.compile(forward), torch.compile(optimizer.step)

        def run(epochs: int = self.epochs, shuffle: bool = experiment.shuffle == "each epoch") -> list[float]:
            losses = []
            for _ in range(epochs):
                order = torch.randperm(len(y)) if shuffle else torch.arange(len(y))
                total = torch.zeros(())
                for rows in order.split(experiment.batch_size):
                    optimizer.zero_grad(set_to_none=True)
                    loss = forward(x[rows], y[rows])
                    loss.backward()
                    update()
                    total += loss.detach() * len(rows)
                losses.append(total.item() / len(y))
            return losses

        return run


def check_agreement(problem: Problem) -> float:
    """One epoch of both from the same weights over the same batches: the relative difference of their losses."""
    experiment = problem.experiment
    ours = train(
        problem.network(),
        problem.images,
        problem.labels,
        optimizer=OPTIMIZERS[experiment.optimizer](experiment.learning_rate),
        epochs=1,
        batch_size=experiment.batch_size,
        shuffle="never",
    ).train.loss[0, 0]
    theirs = problem.torch("eager")(epochs=1, shuffle=False)[0]
    difference = abs(ours - theirs) / abs(theirs)
    if not difference <= AGREEMENT:
        raise SystemExit(
            f"{problem.experiment.name}: gpunet's loss {ours} and PyTorch's {theirs} disagree; nothing timed"
        )
    return difference


def measure(problem: Problem, rounds: int, threads: list[int], with_torch: bool, with_compiled: bool) -> dict:
    """{contender: microseconds a step, one a round}, the contenders in turn in each round."""
    contenders: dict[str, tuple[Callable[[], object], int]] = {"gpunet (NumPy)": (problem.gpunet, max(threads))}
    contenders["scikit-learn"] = (problem.scikit_learn(), max(threads))
    kinds = ["eager", "fused", *(["compiled"] if with_compiled else [])] if with_torch else []
    for kind in kinds:
        for count in threads:
            contenders[f"PyTorch {kind}, {count} thread{'s' if count > 1 else ''}"] = (problem.torch(kind), count)
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for round_number in range(-1, rounds):
        for name, (run, count) in contenders.items():
            if with_torch:
                import torch

                torch.set_num_threads(count)
            with threadpool_limits(count):
                began = time.perf_counter()
                run()
                seconds = time.perf_counter() - began
            if round_number >= 0:  # the round before is the warm-up, in which PyTorch compiles
                times[name].append(seconds / (problem.epochs * problem.steps) * 1e6)
    return times


def result_of(problem: Problem, times: dict[str, list[float]], agreement: float | None) -> dict:
    """One experiment's entry in the results file: microseconds a step, and ratios paired round by round."""
    ours = times["gpunet (NumPy)"]
    entry = {
        "experiment": f"{problem.experiment.task} {problem.experiment.name}",
        "sizes": problem.sizes,
        "batch_size": problem.experiment.batch_size,
        "rows": len(problem.labels),
        "loss_difference_from_pytorch": agreement,
        "us_per_step": {name: percentiles(values) for name, values in times.items()},
        "times_gpunet": {
            name: round(statistics.median(t / o for t, o in zip(values, ours, strict=True)), 2)
            for name, values in times.items()
        },
    }
    torch_ratios = [ratio for name, ratio in entry["times_gpunet"].items() if name.startswith("PyTorch")]
    entry["fastest_pytorch_times_gpunet"] = min(torch_ratios, default=None)
    return entry


def show(entry: dict) -> None:
    print(f"\n{entry['experiment']}: {'-'.join(map(str, entry['sizes']))}, batch {entry['batch_size']}")
    for name, figures in sorted(entry["us_per_step"].items(), key=lambda item: item[1]["median"]):
        print(
            f"  {name:<28} {figures['median']:>9.1f} us a step   ({figures['p20']:.1f} to {figures['p80']:.1f})"
            f"   {entry['times_gpunet'][name]:>6.2f} x"
        )
    if entry["fastest_pytorch_times_gpunet"] is not None:
        print(f"  gpunet is {entry['fastest_pytorch_times_gpunet']:.2f} times as fast as the fastest PyTorch")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7, help="counted runs of every contender (default 7)")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, os.cpu_count() or 1], help="thread counts")
    parser.add_argument(
        "--data", default="synthetic", help="data source (default: synthetic; the time hardly depends on it)"
    )
    parser.add_argument("--only", nargs="+", help="experiments to run, such as exp2 or numpy (default: all)")
    parser.add_argument(
        "--no-compiled", action="store_true", help="leave out torch.compile, which needs a C++ compiler"
    )
    parser.add_argument("--out", type=Path, help="write the results file there (JSON)")
    options = parser.parse_args()
    try:
        import torch  # noqa: F401

        with_torch = True
    except ImportError:
        with_torch = False
        print("PyTorch is not installed: its columns are left out (pip install torch)", file=sys.stderr)
    threads = sorted(set(options.threads))
    results = {
        "what": "training time on the CPU, microseconds a step",
        "machine": about_this_machine(threads, PACKAGES),
    }
    entries = []
    for experiment in EXPERIMENTS:
        if options.only and experiment.name not in options.only:
            continue
        try:
            problem = Problem(experiment, options.data)
        except InputError as error:
            print(f"bench_train: {error}", file=sys.stderr)
            return 2
        agreement = check_agreement(problem) if with_torch else None
        times = measure(problem, options.rounds, threads, with_torch, not options.no_compiled)
        entries.append(result_of(problem, times, agreement))
        show(entries[-1])
    results |= {"rounds": options.rounds, "data": options.data, "experiments": entries}
    if options.out:
        write_results(options.out, results)
        print(f"\nwritten: {options.out}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
