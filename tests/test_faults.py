"""Kills at random moments, a full disk, two at once, a scheduler that dies: the repeat gives the same bits."""

from __future__ import annotations

import errno
import json
import os
import random
import signal
import subprocess
import sys
import textwrap
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest
import torch

import reproduce
from mixup_theory import _files
from mixup_theory.experiments import cluster as cluster_module
from mixup_theory.experiments.cluster import close_local_clusters, local_cluster
from mixup_theory.experiments.config import RunConfig, grid
from mixup_theory.experiments.dispatch import SchedulerLost
from mixup_theory.experiments.sweep import sweep

pytestmark = pytest.mark.timeout(240)
ROOT = Path(reproduce.__file__).parent
BASE = RunConfig(method="mixup", alpha=1.0, num_train=64, batch_size=32, epochs=300, outputs=("test_logits",))
RUNS = [run for width in range(4, 14) for run in grid(BASE.replace(hidden=(width,)), seed=range(3))]
NOTEBOOK = """from mixup_theory.experiments import RunConfig, grid, sweep
import torch
torch.set_num_threads(lanes)
base = RunConfig(method="mixup", alpha=1.0, num_train=64, batch_size=32, epochs=300, outputs=("test_logits",))
runs = [run for width in range(4, 14) for run in grid(base.replace(hidden=(width,)), seed=range(3))]
open(f"{output_dir}/pid.txt", "w").write(str(os.getpid()))
rows = sweep(runs, cache_dir)"""
PROFILES = """[quick]
description = "small"
time_limit = 200
[quick.91-sweep]
lanes = {lanes}
"""


def bits(folder):
    """Every file of a cache by its name."""
    return {path.name: path.read_bytes() for path in Path(folder).rglob("*") if path.suffix in (".json", ".npz")}


def entries(folder):
    return len(list(Path(folder).rglob("*.json")))


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def wait_for(condition, seconds=100.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def with_argument(text):
    """All processes that were started with a text among their arguments or in their environment."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                told = (folder / "cmdline").read_bytes() + (folder / "environ").read_bytes()
            except OSError:
                continue
            if text.encode() in told and int(folder.name) != os.getpid():
                found.append(int(folder.name))
    return found


@pytest.fixture(scope="module")
def quiet(tmp_path_factory):
    """The cache of a run that nothing disturbed, made by this process alone."""
    folder, threads = tmp_path_factory.mktemp("quiet"), torch.get_num_threads()
    torch.set_num_threads(1)
    sweep(RUNS, folder)
    torch.set_num_threads(threads)
    found = bits(folder)
    assert len(found) == 60
    return found


@pytest.fixture
def two_lanes():
    """Let torch use two threads: a sweep then takes two workers."""
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(threads)


def test_workers_killed_at_random_moments(tmp_path, quiet, two_lanes):
    workers, killed = local_cluster("cpu", 2), []
    workers.client.wait_for_workers(2, timeout=100)

    def kill_now_and_then():
        for _ in range(2):
            at = entries(tmp_path) + random.randint(1, 9)
            wait_for(lambda at=at: entries(tmp_path) >= at)
            wait_for(kill_one)

    def kill_one():
        """Kill a worker, unless the one chosen is that of the last time, not yet replaced."""
        pid = random.choice(workers.pids())
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
            killed.append(pid)
            return True
        return False

    killer = threading.Thread(target=kill_now_and_then)
    killer.start()
    sweep(RUNS, tmp_path)
    killer.join()
    assert len(killed) == 2
    assert bits(tmp_path) == quiet
    close_local_clusters()


def test_a_full_disk_is_one_clear_line_and_loses_nothing(tmp_path, quiet, monkeypatch, two_lanes):
    synced = []

    def fsync(descriptor):
        synced.append(descriptor)
        if len(synced) > 17:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(_files.os, "fsync", fsync)
    with pytest.raises(OSError, match=r"Cannot write \w+\.json in the folder .*: No space left on device") as caught:
        sweep(RUNS, tmp_path)
    assert "\n" not in str(caught.value)
    monkeypatch.undo()
    kept = bits(tmp_path)
    assert len(kept) == 17
    assert all(quiet[name] == data for name, data in kept.items())
    assert not list(tmp_path.rglob("*.tmp"))
    torch.set_num_threads(1)
    sweep(RUNS, tmp_path)
    assert bits(tmp_path) == quiet


def test_two_sweeps_at_once_share_a_cache(tmp_path, quiet):
    script = textwrap.dedent(f"""
        import sys
        from mixup_theory.experiments import RunConfig, grid, sweep
        base = RunConfig(**{BASE.model_dump(exclude_defaults=True)!r})
        runs = [run for width in range(4, 14) for run in grid(base.replace(hidden=(width,)), seed=range(3))]
        sweep(runs, sys.argv[1]).to_json(sys.argv[2], double_precision=15)
    """)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    outs = [tmp_path / "one.json", tmp_path / "two.json"]
    both = [subprocess.Popen([sys.executable, "-c", script, tmp_path / "c", out], env=environment) for out in outs]
    assert [process.wait() for process in both] == [0, 0]
    assert outs[0].read_bytes() == outs[1].read_bytes()
    assert bits(tmp_path / "c") == quiet


def suite_of(tmp_path, notebook_file, lanes):
    parameters = (
        'profile: str = "quick"  # scale\noutput_dir: str = "out"  # results\ncache_dir: str = "cache"  # runs\n'
        "lanes: int = 1  # workers"
    )
    notebook_file(tmp_path / "notebooks" / "91-sweep.ipynb", ["import os\n" + NOTEBOOK], parameters)
    (tmp_path / "profiles.toml").write_text(PROFILES.format(lanes=lanes))
    return tmp_path / "results" / "quick"


def start_suite(root):
    code = "import sys, pathlib, reproduce as r, mixup_theory.results as e; e.code_version = lambda: 'code'; "
    code += "sys.exit(r.main([], pathlib.Path(sys.argv[1])))"
    environment = {**os.environ, "MIXUP_TEST": str(root)}
    return subprocess.Popen(
        [sys.executable, "-c", code, root],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.mark.parametrize(("victim", "lanes"), [("kernel", 1), ("suite", 2)])
def test_a_kill_in_the_middle_and_the_repeat(tmp_path, notebook_file, quiet, victim, lanes):
    results = suite_of(tmp_path, notebook_file, lanes)
    process, at = start_suite(tmp_path), random.randint(1, 9)
    wait_for(lambda: entries(results / "cache") >= at or process.poll() is not None)
    before = with_argument(str(tmp_path))
    assert len(before) >= 3 + (lanes if lanes > 1 else 0)  # suite, runner, kernel, workers
    pid = process.pid if victim == "suite" else int((results / "91-sweep" / "pid.txt").read_text())
    os.kill(pid, signal.SIGKILL)
    out, _ = process.communicate(timeout=100)
    if victim == "kernel":
        assert process.returncode == 1
        assert "KILLED after" in out
        assert "the kernel ended with signal 9 (SIGKILL)" in out
    wait_for(lambda: not any(map(alive, with_argument(str(tmp_path)))), 10)
    kept = bits(results / "cache")
    assert at <= len(kept) <= 60
    assert all(quiet[name] == data for name, data in kept.items())
    again = start_suite(tmp_path)
    assert "1 finished" in again.communicate(timeout=200)[0]
    assert bits(results / "cache") == quiet
    wait_for(lambda: not any(map(alive, with_argument(str(tmp_path)))), 10)


def test_two_suites_at_once_spoil_nothing(tmp_path, notebook_file, quiet):
    results = suite_of(tmp_path, notebook_file, 1)
    both = [start_suite(tmp_path), start_suite(tmp_path)]
    said = sorted(process.communicate(timeout=200)[0] for process in both)
    assert sorted(process.returncode for process in both) in ([0, 0], [0, 1])
    assert any("1 finished" in out for out in said)
    assert all("1 finished" in out or "1 kept" in out or "another run of this notebook" in out for out in said)
    assert bits(results / "cache") == quiet
    assert json.loads((results / "ledger.json").read_text())["profile"] == "quick"


def test_the_scheduler_dies(tmp_path, quiet):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path)}
    command = [sys.executable, "-m", "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0"]
    told = tmp_path / "scheduler.json"
    quietly = {"env": environment, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": tmp_path}
    scheduler = subprocess.Popen([*command, "--no-dashboard", "--scheduler-file", told], **quietly)
    worker = None
    try:
        wait_for(lambda: told.exists() and told.read_text().endswith("}"))
        address = json.loads(told.read_text())["address"]
        command = [sys.executable, "-m", "distributed.cli.dask_worker", address, "--no-nanny", "--nthreads", "1"]
        worker = subprocess.Popen([*command, "--memory-limit", "0", "--no-dashboard"], **quietly)
        at = random.randint(1, 9)

        def kill():
            wait_for(lambda: entries(tmp_path / "cache") >= at)
            scheduler.kill()

        killer = threading.Thread(target=kill)
        killer.start()
        with pytest.raises(SchedulerLost, match=r"went away\. What had finished is in the cache") as caught:
            sweep(RUNS, tmp_path / "cache", scheduler=address)
        assert "\n" not in str(caught.value)
        killer.join()
        kept = bits(tmp_path / "cache")
        assert at <= len(kept) < 60
        assert all(quiet[name] == data for name, data in kept.items())
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(cluster_module.connect, "__defaults__", (0.5,))
            patch.setenv("MIXUP_SCHEDULER", address)
            with pytest.raises(ConnectionError, match=f"No Dask scheduler answers at {address}"):
                sweep(RUNS, tmp_path / "cache")
        sweep(RUNS[:3], tmp_path / "cache", device="cpu")
        worker.wait(timeout=60)
    finally:
        for process in (scheduler, worker):
            if process is not None:
                process.kill()
                process.wait()
    sweep(RUNS, tmp_path / "cache", device="cpu")
    assert bits(tmp_path / "cache") == quiet
