"""The same sweep on a Dask cluster: real processes, one of which is killed."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest
from sentences import refused

from gpunet.sweep.outputs import networks_csv, results_csv
from gpunet.sweep.running import run_sweep

distributed = pytest.importorskip("distributed")


def kill_a_busy_worker(client, killed: list) -> None:
    """Kill the first worker that is seen at work on a group, twice in a row on the same one."""
    pids, before = client.run(os.getpid), {}
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        at_work = {worker: keys for worker, keys in client.processing().items() if "train_group" in str(keys)}
        for worker, keys in at_work.items():
            if before.get(worker) == keys:
                os.kill(pids[worker], signal.SIGKILL)
                killed.append(keys)
                return
        before = at_work
        time.sleep(0.02)


def test_cluster_that_loses_a_worker_gives_the_same_bits(plan_of, tmp_path, unjudged):
    from gpunet.sweep.cluster import cluster_trainer

    plan = plan_of("lr=0.003,0.01", "hidden=20,21,22,23", "epochs=80", "batch=8", seeds=1)
    alone = run_sweep(plan, tmp_path / "alone")
    killed: list = []
    options = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None, "silence_logs": 50}
    with distributed.LocalCluster(**options) as cluster, distributed.Client(cluster, set_as_default=False) as client:
        killer = threading.Thread(target=kill_a_busy_worker, args=(client, killed))
        killer.start()
        result = run_sweep(plan, tmp_path / "cluster", trainer=cluster_trainer(cluster.scheduler_address, None))
        killer.join()
    assert killed
    assert results_csv(result) == results_csv(alone) and networks_csv(result) == networks_csv(alone)


def test_workers_of_this_machine_give_the_same_bits(plan_of, tmp_path, unjudged):
    from gpunet.sweep.cluster import cluster_trainer

    plan = plan_of("lr=0.003,0.01", "hidden=none,4", "epochs=1")
    alone = run_sweep(plan, tmp_path / "alone")
    result = run_sweep(plan, tmp_path / "cluster", trainer=cluster_trainer(None, 1))
    assert networks_csv(result) == networks_csv(alone)
    assert signal.getsignal(signal.SIGINT) is not signal.SIG_IGN


def test_cluster_refuses(plan_of, tmp_path, unjudged, monkeypatch):
    from gpunet.sweep import cluster

    monkeypatch.setattr(cluster, "CONNECT_SECONDS", 0.5)
    plan = plan_of("lr=0.1", "hidden=4", "epochs=1")
    with refused("no Dask scheduler", "tcp://127.0.0.1:1", "dask scheduler"):
        run_sweep(plan, tmp_path / "a", trainer=cluster.cluster_trainer("tcp://127.0.0.1:1", None))
    with refused("no Dask scheduler", "nonsense://x"):
        run_sweep(plan, tmp_path / "a", trainer=cluster.cluster_trainer("nonsense://x", None))
    with refused("--workers", "not 0"):
        cluster.cluster_trainer(None, 0)
