"""The local cluster: on the loopback only, mended when a worker dies, gone when its process is, silent and tidy."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from distributed import Worker

from mixup_theory.experiments import cluster as cluster_module
from mixup_theory.experiments.cluster import ClusterError, LocalCluster, close_local_clusters, connect, local_cluster

pytestmark = pytest.mark.timeout(120)


def wait_for(condition, seconds=60.0):
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert condition()


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def listening(pid):
    """The addresses at which a process listens, as the kernel writes them."""
    inodes = set()
    for link in Path(f"/proc/{pid}/fd").iterdir():
        try:
            inodes.add(os.readlink(link).removeprefix("socket:[").rstrip("]"))
        except OSError:
            continue
    found = []
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and fields[9] in inodes:
                found.append(fields[1].split(":")[0])
    return found


@pytest.fixture(scope="module")
def cluster():
    found = LocalCluster()
    found.grow(2)
    wait_for(lambda: len(found.client.scheduler_info()["workers"]) == 2)
    yield found
    found.close()


def test_workers_have_one_thread_each_and_a_copy_of_the_settings(cluster):
    def settings():
        import torch

        return os.getpid(), torch.get_num_threads(), os.environ["OMP_NUM_THREADS"], os.getcwd()

    seen = cluster.client.run(settings)
    assert sorted(pid for pid, *_ in seen.values()) == sorted(cluster.pids())
    assert {tuple(rest) for _, *rest in seen.values()} == {(1, "1", os.getcwd())}


def test_everything_listens_on_the_loopback_alone(cluster):
    addresses = [address for pid in (os.getpid(), *cluster.pids()) for address in listening(pid)]
    assert len(addresses) >= 3
    assert set(addresses) == {"0100007F"}


def test_a_dead_worker_is_replaced(cluster):
    victim = cluster.pids()[0]
    os.kill(victim, signal.SIGKILL)
    wait_for(lambda: not alive(victim))

    def mended():
        cluster.tend()
        workers = cluster.client.scheduler_info()["workers"].values()
        return sorted(worker["name"] for worker in workers) == ["lane-0", "lane-1"] and cluster.pids()[0] != victim

    wait_for(mended)


def test_ctrl_c_does_not_reach_the_workers(cluster):
    assert all(os.getpgid(pid) != os.getpgid(0) for pid in cluster.pids())


def test_a_worker_that_cannot_start_is_an_error_with_its_last_words(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "")
    found = LocalCluster()
    try:
        monkeypatch.setattr(cluster_module.sys, "executable", "/bin/false")
        found.grow(1)
        (found.folder / "lane-0.log").write_text("first\nNo space left on device\n")
        monkeypatch.setattr(found, "_spawn", lambda *_: subprocess.Popen(["/bin/false"]))

        def tend_for_ever():
            while True:
                found.tend()
                time.sleep(0.01)

        with pytest.raises(ClusterError, match="exit code 1 before it was ready, 3 times: No space left on device"):
            tend_for_ever()
    finally:
        found.close()
    assert not found.folder.exists()


def test_a_worker_that_died_between_two_looks_was_ready_all_the_same(monkeypatch):
    found = LocalCluster()

    async def come_and_go():
        async with Worker(found._scheduler.address, name="lane-0", nthreads=1, dashboard=False):
            pass

    def spawn(*_):
        found._runner.run_sync(come_and_go)
        process = subprocess.Popen(["/bin/false"])
        process.wait()
        return process

    try:
        monkeypatch.setattr(found, "_spawn", spawn)
        found.grow(1)
        for _ in range(2 * cluster_module.FALSE_STARTS):
            found.tend()
    finally:
        found.close()


def test_the_shared_cluster_grows_and_follows_the_data_folder(monkeypatch):
    close_local_clusters()
    monkeypatch.setattr(LocalCluster, "grow", lambda self, count: counts.append(count))
    counts = []
    first = local_cluster("cpu", 1)
    assert local_cluster("cpu", 2) is first
    assert counts == [1, 2]
    monkeypatch.setenv("MIXUP_DATA", "/elsewhere")
    second = local_cluster("cpu", 1)
    assert second is not first
    assert not first.folder.exists()
    close_local_clusters()
    assert not second.folder.exists()


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:{port}", "tls://127.0.0.1:{port}", "nonsense://x"])
def test_an_address_that_does_not_answer_is_one_line(address):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = address.format(port=unused.getsockname()[1])
        with pytest.raises(ClusterError, match=f"No Dask scheduler answers at {address}: ") as caught:
            connect(address, timeout=0.5)
    assert "\n" not in str(caught.value)


SCRIPT = """
import sys
import torch
from mixup_theory.experiments import RunConfig, grid, sweep
torch.set_num_threads(2)
base = RunConfig(num_train=64, batch_size=32, epochs=2)
runs = [run for width in (4, 5) for run in grid(base.replace(hidden=(width,)), seed=range(2))]
print(len(sweep(runs, sys.argv[1])))
from mixup_theory.experiments.cluster import local_cluster
print(*local_cluster("cpu", 2).pids(), local_cluster("cpu", 2).folder, flush=True)
sys.stdin.readline()
"""


@pytest.mark.parametrize("how", ["end", "kill"])
def test_a_script_without_a_main_guard_leaves_nothing_behind(tmp_path, how):
    (tmp_path / "script.py").write_text(SCRIPT)
    (tmp_path / "here").mkdir()
    root = str(Path(cluster_module.__file__).parents[2])
    process = subprocess.Popen(
        [sys.executable, "-W", "error", tmp_path / "script.py", tmp_path / "cache"],
        cwd=tmp_path / "here",
        env={**os.environ, "PYTHONPATH": root, "TMPDIR": str(tmp_path / "here")},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "4\n", process.communicate()[1]
    one, two, folder = process.stdout.readline().split()
    assert alive(one)
    assert alive(two)
    if how == "kill":
        process.kill()
    _, err = process.communicate("\n", timeout=60)
    assert err == ""
    wait_for(lambda: not alive(one) and not alive(two), 10)
    assert not Path(folder).exists()
    assert list((tmp_path / "here").iterdir()) == []
