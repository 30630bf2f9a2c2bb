"""What is trained, and what of it side by side."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sentences import refused

from gpunet.sweep.plan import make_groups


def test_plan_says_what_is_swept(plan_of):
    plan = plan_of("lr=0.1,0.2", "epochs=3", "hidden=4,none", seeds=3, seed=7)
    assert plan.fields == ("learning_rate", "hidden") and plan.networks == 12 and list(plan.all_seeds) == [7, 8, 9]
    assert (plan.config(3).learning_rate, plan.config(3).hidden, plan.config(3).epochs) == (0.2, (), 3)
    assert plan.swept(0) == {"learning_rate": 0.1, "hidden": (4,)}
    assert plan_of("lr=0.1").fields == ("learning_rate",)


def test_plan_identity_tells_sweeps_apart(plan_of):
    plan = plan_of("lr=0.1,0.2")
    assert plan.folder_name() == plan_of("lr=1e-1,2e-1").folder_name()
    others = [
        plan_of("lr=0.1,0.3"),
        plan_of("lr=0.1"),
        plan_of("lr=0.1,0.2", "epochs=3"),
        plan_of("lr=0.1,0.2", seeds=3),
        plan_of("lr=0.1,0.2", seed=1),
        plan_of("lr=0.1,0.2", limit=100),
        plan_of("lr=0.1,0.2", exp="exp1"),
        plan_of("lr=0.1,0.2", backend="numpy"),
        replace(plan, base=replace(plan.base, data="other.npz")),
    ]
    assert len({each.folder_name() for each in (plan, *others)}) == 1 + len(others)


def test_groups_hold_combinations_of_one_shape(plan_of):
    definitions = ("lr=0.1,0.2", "hidden=4,8", "batch=8,16", "dropout=0,0.5", "weight-decay=0,0.1")
    plan = plan_of(*definitions, seeds=1)
    groups = make_groups(plan, range(32), "numpy")
    assert sorted(cell for group in groups for cell in group) == list(range(32)) and len(groups) == 4
    for group in groups:
        assert len({(plan.config(cell).hidden, plan.config(cell).batch_size) for cell in group}) == 1
        assert len({plan.config(cell).learning_rate for cell in group}) == 2


def test_groups_are_cut_at_so_many_networks(plan_of):
    plan = plan_of("lr=" + ",".join(f"{rate}e-4" for rate in range(1, 11)), seeds=20)
    assert [len(group) for group in make_groups(plan, range(10), "numpy")] == [3, 3, 3, 1]
    assert [len(group) for group in make_groups(plan, range(10), "cuda")] == [10]
    assert make_groups(plan_of("lr=0.1,0.2", seeds=100), range(2), "numpy") == [(0,), (1,)]
    assert make_groups(plan, {9, 4}, "numpy") == [(4, 9)]


def test_groups_of_single_rows_all_have_dropout_or_none(plan_of):
    """On a device these take other kernels than those without, which round otherwise."""
    plan = plan_of("batch=1", "dropout=0,0.1,0.2", seeds=1)
    assert make_groups(plan, range(3), "cuda") == [(0,), (1, 2)]


@pytest.mark.parametrize(
    ("definitions", "options", "words"),
    [
        (["lr=0.1,-1"], {}, ["learning_rate", "-1"]),
        (["lr=nan"], {}, ["learning_rate", "nan"]),
        (["hidden=0"], {}, ["hidden"]),
        (["dropout=0.5,1"], {}, ["dropout", "1"]),
        (["epochs=0"], {}, ["epochs", "0"]),
        (["activation=relu,swish"], {}, ["'swish'", "relu"]),
        ([], {}, ["nothing to sweep"]),
        (["lr=0.1"], {"seeds": 0}, ["seeds", "0"]),
        (["lr=0.1"], {"seed": 2**32 - 1}, ["4294967295"]),
    ],
)
def test_plan_refuses(plan_of, definitions, options, words):
    with refused(*words):
        plan_of(*definitions, **options)
