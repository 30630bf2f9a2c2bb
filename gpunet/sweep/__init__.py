"""Sweeps of hyper-parameters, trained as populations, ranked by validation, and gone on with wherever they stopped.

    space.py     from `lr=1e-4,1e-3` to combinations: all of a grid, or some drawn at random
    plan.py      the combinations and their seeds, and which of them are trained side by side
    groups.py    one group, trained as one population
    running.py   all groups that are not finished, and then the winner
    cluster.py   the same on the workers of a Dask cluster
    folder.py    what is finished, kept at once
    ranking.py   which combination is best
    winner.py    its test, the only one
    progress.py, outputs.py, figures.py   what is shown and written

`outputs.document`, which `gpunet sweep` writes to results.json, is a dictionary of

    what        one sentence
    date        "2026-11-23T04:30:00+00:00"
    complete    true when all combinations are trained and the winner is judged
    sweep       {"fields" (of several values), "combinations", "networks", "task", "exp", "limit", "classes", "backend",
                "seed" (the first), "seeds" (how many)}
    data        {"source", "note", "sha256", "images", "train", "validation"}: the last two are rows of each seed
    versions, device   as in a run's metrics.json, and how many threads BLAS had
    ranking     one object for each combination that is finished, the best first:
                rank        from 1
                cell        its number in the plan, from 0
                settings    {field: value}
                validation_accuracy, validation_loss, train_accuracy, train_loss
                            {"mean", "sd", "min", "max"} over the seeds that did not diverge, after the last epoch;
                            those of training are running means over that epoch; null where every seed diverged
                networks    {"seed", "diverged", and the four figures}: lists with an entry a seed
    winner      null until it is judged, then {"cell", "settings", "seed", "accuracy", "loss"}: on the test set, lists
                with an entry a seed
    seconds     of the last call
"""
