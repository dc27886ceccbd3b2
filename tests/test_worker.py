"""The worker process: it ends at once when its lifeline closes, even while it trains, and when the scheduler goes."""

from __future__ import annotations

import json
import subprocess
import sys
import time

import pytest

from mixup_theory.experiments.cluster import LocalCluster

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def started(tmp_path):
    """A scheduler and one worker of it, started by hand."""
    cluster = LocalCluster()
    process = subprocess.Popen([sys.executable, "-m", "mixup_theory.experiments.worker"], stdin=subprocess.PIPE)
    folder = tmp_path / "scratch"
    job = {"address": cluster.client.scheduler.address, "name": "w", "folder": str(folder), "resources": {"GPU": 1}}
    process.stdin.write(json.dumps(job).encode() + b"\n")
    process.stdin.flush()
    cluster.client.wait_for_workers(1, timeout=60)
    yield cluster, process, folder
    process.kill()
    process.wait()
    process.stdin.close()
    cluster.close()


def test_a_closed_lifeline_ends_it_in_the_middle_of_a_task(started):
    cluster, process, folder = started
    [told] = cluster.client.scheduler_info()["workers"].values()
    assert (told["name"], told["nthreads"], told["resources"], told["memory_limit"]) == ("w", 1, {"GPU": 1}, 0)
    assert folder.exists()
    task = cluster.client.submit(time.sleep, 600)
    while not cluster.client.processing()[next(iter(cluster.client.processing()))]:
        time.sleep(0.05)
    process.stdin.close()
    assert process.wait(timeout=10) == 0
    assert not folder.exists()
    task.cancel()


def test_without_its_scheduler_it_ends_too(started):
    cluster, process, _ = started
    cluster.close()
    assert process.wait(timeout=30) == 0
    cluster.close = lambda: None
