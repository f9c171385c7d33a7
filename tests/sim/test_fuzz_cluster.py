"""A campaign on a real Dask cluster: a worker dies in the middle and nothing is lost."""

from __future__ import annotations

import os
import signal
from typing import Any

import msgspec
import pytest

from bms.campaign import run

distributed: Any = pytest.importorskip("distributed", reason="pip install solid-bms[cluster]")


@pytest.mark.wires
@pytest.mark.slow("starts a scheduler and two workers")
def test_a_worker_that_dies_loses_nothing() -> None:
    work = run.tasks(16 * 20.0 / 3600.0, 16, 700, pack="bench_16s1p")
    cluster = distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, host="127.0.0.1",
        dashboard_address=None,
    )  # fmt: skip
    with cluster:
        pids = [worker.process.pid for worker in cluster.workers.values()]
        found = []
        for outcome in run.outcomes(work, scheduler=cluster.scheduler_address):
            found.append(outcome)
            if len(found) == 3:
                os.kill(pids[0], signal.SIGKILL)
    assert sorted(row.seed for row in found) == [task.seed for task in work]
    here, there = run.gather(map(run.carry_out, work)), run.gather(found)
    same = [msgspec.structs.replace(one, cpu_hours=0.0) for one in (here, there)]
    assert same[0] == same[1]


def test_processes_of_this_machine_give_the_same_result() -> None:
    work = run.tasks(4 * 10.0 / 3600.0, 4, 720, pack="bench_16s1p")
    results = [run.gather(run.outcomes(work, jobs=jobs)) for jobs in (1, 2)]
    assert msgspec.structs.replace(results[0], cpu_hours=0.0) == msgspec.structs.replace(
        results[1], cpu_hours=0.0
    )
