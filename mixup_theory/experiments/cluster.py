"""Dask clusters: one of this machine's own, started when it is needed, or an existing one behind an address.

The local scheduler lives in a thread of this process and its workers are processes of one thread each, all on
127.0.0.1. They are started as programs of their own, so that a script needs no `if __name__ == "__main__"`. They serve
later sweeps too, and end with this process, however it ends.
"""

from __future__ import annotations

import atexit
import json
import logging
import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dask
from distributed import Client, Scheduler, SchedulerPlugin, Security
from distributed.utils import LoopRunner, silence_logging_cmgr

from .downloads import DATA_VARIABLE

__all__ = ["ClusterError", "LocalCluster", "close_local_clusters", "connect", "count_workers", "local_cluster"]

ANSWER_SECONDS = 10.0
KILLS = 3  # a group that has ended so many workers is given up
FALSE_STARTS = 3


class ClusterError(ConnectionError):
    """A cluster that does not answer, went away, or could not be started; the message says which and what to do."""


def connect(address: str, timeout: float = ANSWER_SECONDS) -> Client:
    """Connect to an existing cluster.

    Args:
        address: `tcp://host:port`, or `tls://host:port` with the certificates of Dask's configuration
            (`DASK_DISTRIBUTED__COMM__TLS__CA_FILE` and so on).
        timeout: Seconds to wait for an answer.

    Returns:
        The client; close it.

    Raises:
        ClusterError: If nobody answers there.
    """
    with silence_logging_cmgr(logging.CRITICAL):
        try:
            return Client(address, timeout=timeout, set_as_default=False)
        except (OSError, TypeError, ValueError) as error:
            # A TypeError is Dask's word for a tls:// address without certificates.
            reason = " ".join(str(error).split()) or type(error).__name__
            raise ClusterError(f"No Dask scheduler answers at {address}: {reason}") from None


def count_workers(address: str) -> int:
    """Ask a cluster for the number of its workers.

    Args:
        address: As for `connect`.

    Returns:
        The number; workers may come and go.

    Raises:
        ClusterError: If nobody answers there.
    """
    with connect(address) as client:
        return len(client.scheduler_info()["workers"])


@dataclass
class _Lane:
    """One worker process, which is replaced when it dies."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path
    false_starts: int = 0


class _Arrivals(SchedulerPlugin):
    """Remembers the workers that were ready, however soon they died."""

    def __init__(self) -> None:
        self.names: set[str] = set()

    def add_worker(self, scheduler: Any, worker: str) -> None:
        self.names.add(str(scheduler.workers[worker].name))


class LocalCluster:
    """A scheduler in a thread of this process and workers beside it.

    Attributes:
        device: `cpu`, or `cuda`: one worker per GPU then, with the resource GPU=1.
        client: A client of it.
    """

    def __init__(self, device: str = "cpu") -> None:
        """Start the scheduler; workers come with `grow`.

        Args:
            device: `cpu` or `cuda`.
        """
        self.device, self.owner, self.data = device, os.getpid(), os.environ.get(DATA_VARIABLE)
        self.folder = Path(tempfile.mkdtemp(prefix="mixup-cluster-"))
        self._lanes: list[_Lane] = []
        self._silence = ExitStack()
        self._silence.enter_context(silence_logging_cmgr(logging.CRITICAL))  # what matters is said by exceptions
        self._runner = LoopRunner(asynchronous=False)
        self._runner.start()
        with dask.config.set({"temporary-directory": str(self.folder)}):
            self._scheduler: Any = self._runner.run_sync(self._start)
        self._arrivals = _Arrivals()
        self._scheduler.add_plugin(self._arrivals)
        self.client = Client(self._scheduler.address, loop=self._runner.loop, security=_plain(), set_as_default=False)

    @staticmethod
    async def _start() -> Any:
        return await Scheduler(
            host="127.0.0.1",
            dashboard=False,
            dashboard_address="127.0.0.1:0",
            allowed_failures=KILLS - 1,
            security=_plain(),
        )

    def grow(self, count: int) -> None:
        """Start workers until there are `count`; more are left alone.

        Args:
            count: Number of workers.
        """
        for index in range(len(self._lanes), count):
            name = f"lane-{index}"
            log = self.folder / f"{name}.log"
            self._lanes.append(_Lane(name, self._spawn(index, name, log), log))

    def _spawn(self, index: int, name: str, log: Path) -> subprocess.Popen[bytes]:
        env = dict(os.environ)
        root = str(Path(__file__).parents[2])
        env["PYTHONPATH"] = os.pathsep.join(filter(None, [root, env.get("PYTHONPATH")]))
        env |= dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
        if self.device != "cpu":
            visible = [part for part in env.get("CUDA_VISIBLE_DEVICES", "").split(",") if part]
            env["CUDA_VISIBLE_DEVICES"] = visible[index] if index < len(visible) else str(index)
        with open(log, "wb") as stream:
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", "mixup_theory.experiments.worker"],
                stdin=subprocess.PIPE,
                stdout=stream,
                stderr=stream,
                env=env,
                start_new_session=True,  # Ctrl-C is for this process; the lifeline ends the worker
            )
        job = {
            "address": self._scheduler.address,
            "name": name,
            "folder": str(self.folder),
            "resources": {} if self.device == "cpu" else {"GPU": 1},
        }
        assert process.stdin is not None
        with suppress(BrokenPipeError):  # it died at once; tend tells
            process.stdin.write(json.dumps(job).encode() + b"\n")
            process.stdin.flush()
        return process

    def tend(self) -> None:
        """Replace workers that have died.

        Raises:
            ClusterError: If one dies again and again before it is ready.
        """
        for index, lane in enumerate(self._lanes):
            code = lane.process.poll()
            if code is None:
                continue
            lane.false_starts = 0 if lane.name in self._arrivals.names else lane.false_starts + 1
            if lane.false_starts >= FALSE_STARTS:
                lines = lane.log.read_text(errors="replace").strip().splitlines() if lane.log.exists() else []
                raise ClusterError(
                    f"A worker ended with exit code {code} before it was ready, {FALSE_STARTS} times"
                    + (f": {lines[-1]}" if lines else ".")
                )
            _drop_lifeline(lane.process)
            self._arrivals.names.discard(lane.name)
            lane.process = self._spawn(index, lane.name, lane.log)

    def pids(self) -> list[int]:
        """Return the process ids of the workers.

        Returns:
            One per worker.
        """
        return [lane.process.pid for lane in self._lanes]

    def close(self) -> None:
        """End the workers, whatever they are at, and the scheduler."""
        for lane in self._lanes:
            lane.process.kill()
        for lane in self._lanes:
            lane.process.wait()
            _drop_lifeline(lane.process)
        self.client.close(timeout=5)
        self._runner.run_sync(self._scheduler.close)
        self._runner.stop()
        self._silence.close()
        shutil.rmtree(self.folder, ignore_errors=True)


def _plain() -> Security:
    """No TLS on the loopback, whatever the user's configuration asks of other clusters."""
    return Security(require_encryption=False)


def _drop_lifeline(process: subprocess.Popen[bytes]) -> None:
    if process.stdin:
        with suppress(OSError):
            process.stdin.close()


_shared: dict[str, LocalCluster] = {}


def local_cluster(device: str, count: int) -> LocalCluster:
    """Return this process's own cluster with at least `count` workers, started by the first call.

    Args:
        device: `cpu` or `cuda`.
        count: Number of workers.

    Returns:
        The cluster; it is closed when the process ends.
    """
    cluster = _shared.get(device)
    if cluster is not None and cluster.owner != os.getpid():
        cluster = None  # this process is a fork of the owner, and has none of its threads
    elif cluster is not None and cluster.data != os.environ.get(DATA_VARIABLE):
        close_local_clusters()
        cluster = None
    if cluster is None:
        cluster = _shared[device] = LocalCluster(device)
    cluster.grow(count)
    return cluster


@atexit.register
def close_local_clusters() -> None:
    """Close the clusters of this process; the next sweep starts a new one."""
    for device in list(_shared):
        cluster = _shared.pop(device)
        if cluster.owner == os.getpid():
            cluster.close()
