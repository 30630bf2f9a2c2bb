"""The winner of a sweep, trained as `gpunet train` trains it and judged on the test set, which nothing else saw."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_limits

from gpunet.reporting.artifacts import write_artifacts
from gpunet.reporting.seeds_artifacts import write_seeds_artifacts
from gpunet.runs import run
from gpunet.seed_runs import run_seeds
from gpunet.sweep.plan import Plan


def judge_winner(plan: Plan, cell: int, folder: Path, blas_threads: int | None) -> dict[str, Any]:
    """Train a combination with all its seeds, and keep model, figures and report in the folder.

    These are the networks of the sweep, bit for bit; those of a binary task learn from the validation images as well,
    as in the reports. Returns JSON values: cell, and lists of seed, accuracy and loss on the test set, None for
    a network that diverged.
    Raises KeyboardInterrupt where training was interrupted.
    """
    config = plan.config(cell)
    with threadpool_limits(blas_threads, user_api="blas"):
        result = run(config) if plan.seeds == 1 else run_seeds(config, plan.seeds)
    if result.history.interrupted:
        raise KeyboardInterrupt
    if plan.seeds == 1:
        write_artifacts(result, folder)
        accuracy, loss = [result.test.accuracy], [result.test.loss]
    else:
        write_seeds_artifacts(result, folder)
        accuracy, loss = (
            [value if sound else None for value, sound in zip(values.tolist(), result.sound, strict=True)]
            for values in (result.test.accuracy, result.test.loss)
        )
    return {"cell": cell, "seed": list(result.seeds), "accuracy": accuracy, "loss": loss}
