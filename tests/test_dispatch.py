"""Groups on workers: the bits of this process, events while they train, and the fault of one group stays its own."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from contextlib import closing
from types import SimpleNamespace

import numpy as np
import pytest
from distributed.client import FutureCancelledError
from distributed.comm import CommClosedError

from mixup_theory.experiments import dispatch
from mixup_theory.experiments.cluster import LocalCluster
from mixup_theory.experiments.config import RunConfig, grid
from mixup_theory.experiments.dispatch import GroupsFailed, SchedulerLost, WorkerDiffers, train_on_workers
from mixup_theory.experiments.downloads import MissingData
from mixup_theory.experiments.in_process import train_in_process
from mixup_theory.experiments.training import form_groups

BASE = RunConfig(method="mixup", alpha=1.0, num_train=64, batch_size=32, epochs=2, hidden=(8,), outputs=("weights",))
GROUPS = form_groups([run for width in (4, 5, 6) for run in grid(BASE.replace(hidden=(width,)), seed=range(3))])
pytestmark = pytest.mark.timeout(120)
LONG = form_groups(grid(BASE.replace(epochs=1_000_000), seed=[0, 1]))


@pytest.fixture(scope="module")
def cluster():
    found = LocalCluster()
    found.grow(2)
    found.client.wait_for_workers(2, timeout=120)
    yield found
    found.close()


@pytest.fixture
def spread(cluster):
    """Train on the workers of the cluster, which is looked after."""
    return lambda groups, **options: train_on_workers(cluster.client, groups, tend=cluster.tend, **options)


def test_workers_give_the_bits_of_this_process(spread):
    here = dict(train_in_process(GROUPS))
    there = dict(spread(GROUPS))
    assert sorted(there) == [0, 1, 2]
    for position, results in here.items():
        for one, two in zip(results, there[position], strict=True):
            assert one.config == two.config
            assert repr(one.row) == repr(two.row)
            assert one.arrays.keys() == two.arrays.keys()
            assert all(np.array_equal(value, two.arrays[name]) for name, value in one.arrays.items())


def test_ticks_rise_within_a_group_and_end_at_the_number_of_runs(spread, monkeypatch):
    monkeypatch.setattr(dispatch, "TICK_SECONDS", 0.05)
    ticks = []
    group = form_groups(grid(BASE.replace(epochs=1500), seed=range(8)))
    list(spread([*group, *GROUPS], on_tick=ticks.append))
    assert ticks == sorted(ticks)
    assert any(tick % 1 for tick in ticks)  # some within a group
    assert ticks[-1] == 17


def test_a_group_that_kills_its_worker_is_named_and_the_others_finish(spread, monkeypatch, tmp_path):
    log = str(tmp_path / "log")

    def deadly(topic, position, group, keys, device):
        import os
        import signal

        from mixup_theory.experiments.dispatch import train_task

        with open(log, "a") as stream:
            stream.write(f"{position}\n")
        if position == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return train_task(topic, position, group, keys, device)

    monkeypatch.setattr(dispatch, "train_task", deadly)
    seen, ticks = [], []
    with pytest.raises(GroupsFailed, match=r"3 runs ended every worker.*\n  RunConfig.*hidden=\(5,\)") as caught:
        seen.extend(p for p, _ in spread(GROUPS * 3, on_tick=ticks.append))
    assert caught.value.configs == GROUPS[1]
    assert sorted(seen) == [0, 2, 3, 4, 5, 6, 7, 8]
    assert (tmp_path / "log").read_text().split().count("1") == 3
    assert ticks[-1] == 27


def test_workers_that_die_with_a_finished_result_are_no_lost_scheduler(cluster, spread):
    def wait_for(condition):
        deadline = time.monotonic() + 60
        while not condition():
            assert time.monotonic() < deadline
            time.sleep(0.02)

    with closing(spread(GROUPS[:2])) as work:
        first = next(work)
        wait_for(lambda: not any(cluster.client.processing().values()))  # the other one has ended too
        for pid in cluster.pids():
            os.kill(pid, signal.SIGKILL)
        wait_for(lambda: not cluster.client.scheduler_info()["workers"])
        rest = list(work)
    here = dict(train_in_process(GROUPS[:2]))
    assert sorted(position for position, _ in [first, *rest]) == [0, 1]
    for position, results in [first, *rest]:
        assert [repr(one.row) for one in results] == [repr(one.row) for one in here[position]]


@pytest.fixture
def fetch(cluster):
    """Fetch a result where the gathering, and the two statuses meanwhile, are those of a test."""

    def with_fakes(gathering, becomes="finished", client_becomes="running", status="finished"):
        async def gather(futures, asynchronous):
            await asyncio.sleep(0.01)
            future.status, client.status = becomes, client_becomes
            return await gathering()

        def result():
            raise MissingData("its own")

        future = SimpleNamespace(status=status, result=result)
        scheduler = SimpleNamespace(address="tcp://here")
        client = SimpleNamespace(status="running", scheduler=scheduler, loop=cluster.client.loop, gather=gather)
        if status != "finished":
            future.status, client.status = becomes, client_becomes
        return dispatch._fetch(client, future)

    return with_fakes


async def never():
    await asyncio.sleep(1000)


def raising(error):
    async def gathering():
        raise error

    return gathering


@pytest.mark.parametrize(
    ("gathering", "becomes"),
    [
        (raising(CommClosedError("in rpc")), "finished"),
        (raising(FutureCancelledError("key", "scheduler-connection-lost")), "cancelled"),
        (never, "finished"),
        (never, "cancelled"),
    ],
)
def test_a_scheduler_that_dies_while_a_result_is_fetched_is_named(fetch, gathering, becomes):
    with pytest.raises(SchedulerLost, match="scheduler at tcp://here went away"):
        fetch(gathering, becomes, "connecting")


@pytest.mark.parametrize("status", ["finished", "error"])
def test_an_oserror_of_the_group_itself_keeps_its_type(fetch, status):
    with pytest.raises(MissingData, match="its own"):
        fetch(raising(MissingData("its own")), "error", status=status)


@pytest.mark.parametrize("becomes", ["lost", "pending"])
def test_a_result_whose_worker_dies_while_it_is_fetched_is_waited_for(fetch, becomes):
    assert fetch(never, becomes) is None  # and the loop looks after the workers


def test_an_error_in_a_group_is_raised_with_its_own_type(spread, monkeypatch):
    def failing(*_):
        raise MemoryError("too large")

    monkeypatch.setattr(dispatch, "train_task", failing)
    with pytest.raises(MemoryError, match="too large"):
        list(spread(GROUPS))


def test_a_worker_with_other_code_is_refused(spread, monkeypatch):
    monkeypatch.setattr("mixup_theory.experiments.config.TRAINING_VERSION", 999)
    with pytest.raises(WorkerDiffers, match="another version of mixup_theory, or other data files"):
        list(spread(GROUPS))


def test_a_caller_that_stops_stops_the_workers(cluster, spread):
    with closing(spread([GROUPS[0], *LONG])) as work:
        next(work)
        time.sleep(0.2)
    deadline = time.monotonic() + 60
    while any(cluster.client.processing().values()) and time.monotonic() < deadline:
        time.sleep(0.05)
    pids = cluster.pids()
    assert dict(spread(GROUPS)).keys() == {0, 1, 2}
    assert pids == cluster.pids()


def test_gpus_are_asked_for_where_workers_have_them(monkeypatch):
    class Told:
        workers = ((1, 0), (4, 0))

        def scheduler_info(self):
            listed = [{"nthreads": n, "resources": {"GPU": g} if g else {}} for n, g in self.workers]
            return {"workers": dict(enumerate(listed))}

    for device in ("cpu", "auto", "cuda"):
        assert dispatch._lanes(Told(), device) == (5, {})
    Told.workers = ((1, 1), (4, 2), (8, 0))
    assert dispatch._lanes(Told(), "cpu") == (13, {})
    assert dispatch._lanes(Told(), "auto") == dispatch._lanes(Told(), "cuda") == (3, {"GPU": 1})


def test_a_gpu_trains_one_group_at_a_time(monkeypatch):
    def where(topic, position, group, keys, device):
        import os
        import time

        start = time.monotonic()
        time.sleep(0.3)
        told = {"device": device, "gpu": os.environ["CUDA_VISIBLE_DEVICES"], "from": start, "to": time.monotonic()}
        return [(told, {})] * len(group)

    monkeypatch.setattr(dispatch, "train_task", where)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    cluster = LocalCluster("cuda")
    try:
        cluster.grow(2)
        cluster.client.wait_for_workers(2, timeout=120)
        rows = [results[0].row for _, results in train_on_workers(cluster.client, GROUPS * 2, "auto")]
    finally:
        cluster.close()
    assert {row["gpu"] for row in rows} == {"3", "5"}
    for one in rows:
        others = [row for row in rows if row is not one and row["gpu"] == one["gpu"]]
        assert all(row["to"] <= one["from"] or row["from"] >= one["to"] for row in others)


def test_a_cluster_without_workers_says_that_it_waits(monkeypatch):
    monkeypatch.setattr(dispatch, "PATIENCE", 0.1)
    empty, deadline = LocalCluster(), time.monotonic() + 1

    def give_up():
        if time.monotonic() > deadline:
            raise KeyboardInterrupt

    def wait_in_vain():
        with pytest.raises(KeyboardInterrupt):
            list(train_on_workers(empty.client, GROUPS, tend=give_up))

    try:
        with pytest.warns(RuntimeWarning, match="No worker at tcp://127.0.0.1:.* yet; waiting"):
            wait_in_vain()
    finally:
        empty.close()
