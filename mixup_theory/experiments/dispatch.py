"""Groups handed to Dask workers: what they send back while they train, and what happens when one dies."""

from __future__ import annotations

import asyncio
import queue
import time
import uuid
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, wait
from contextlib import suppress
from typing import Any

from distributed import Client, Future, KilledWorker, get_worker
from numpy.typing import NDArray

from .cluster import ClusterError
from .config import RunConfig, run_key
from .datasets import load_dataset
from .in_process import TICK_SECONDS, one_thread, resolve_device
from .training import RunResult, train_group

__all__ = ["GroupsFailed", "SchedulerLost", "WorkerDiffers", "train_on_workers", "train_task"]

Group = Sequence[RunConfig]
PATIENCE = 60.0  # seconds without any worker before it is said


class GroupsFailed(RuntimeError):
    """Groups that ended every worker they were given to; all others are trained and written.

    Attributes:
        configs: The runs that are missing.
    """

    def __init__(self, configs: Sequence[RunConfig]) -> None:
        self.configs = list(configs)
        listed = "".join(f"\n  {config!r}" for config in configs)
        super().__init__(
            f"{len(self.configs)} runs ended every worker that trained them (out of memory?). All others are in the "
            f"cache; the same call tries these again:{listed}"
        )


class SchedulerLost(ClusterError):
    """The scheduler went away while groups were in training."""

    def __init__(self, client: Client) -> None:
        address = client.scheduler.address if client.scheduler else "the address given"
        super().__init__(
            f"The Dask scheduler at {address} went away. What had finished is in the cache; the same call goes on from "
            "there."
        )


class WorkerDiffers(RuntimeError):
    """A worker whose package or data are not those of the process that asks."""


class _Unwanted(Exception):
    """Raised inside a group that nobody waits for any more."""


def train_task(
    topic: str, position: int, group: Group, keys: Sequence[str], device: str
) -> list[tuple[dict[str, Any], dict[str, NDArray]]]:
    """Train one group on a worker, telling about twice a second how far it is.

    Args:
        topic: Where to tell.
        position: Of the group, to tell with it.
        group: Configs equal in `shape`.
        keys: Their keys in the cache of the process that asks.
        device: `auto`, `cpu` or a CUDA device.

    Returns:
        Row and arrays of each run.

    Raises:
        WorkerDiffers: If the keys here are others: the results would be stored under a wrong name.
    """
    worker = get_worker()
    task, told = worker.get_current_task(), time.monotonic()
    if [_key(config) for config in group] != list(keys):
        raise WorkerDiffers(f"The worker at {worker.address} has another version of mixup_theory, or other data files.")

    def on_epoch(done: int, total: int) -> None:
        nonlocal told
        if time.monotonic() - told > TICK_SECONDS:
            told = time.monotonic()
            worker.log_event(topic, [position, (done - 0.5) / total])
            state = worker.state.tasks.get(task)
            if state is not None and state.state == "cancelled":
                raise _Unwanted

    with one_thread():
        return [(result.row, result.arrays) for result in train_group(group, resolve_device(device), on_epoch)]


def _key(config: RunConfig) -> str:
    return run_key(config, load_dataset(config.dataset).checksum)


def train_on_workers(
    client: Client,
    groups: Sequence[Group],
    device: str = "cpu",
    on_tick: Callable[[float], None] | None = None,
    tend: Callable[[], None] = lambda: None,
) -> Iterator[tuple[int, list[RunResult]]]:
    """Train groups on the workers of a cluster, as many as it has threads (GPUs) at the same time.

    No more are handed out than are trained, so that Dask blames a worker's death on the group it was training and on no
    other. Dask trains such a group again, `allowed-failures` times (2 on a local cluster).

    Args:
        client: A client of the cluster.
        groups: Lists of configs equal in `shape`.
        device: `cpu`, `cuda` or `auto`. Where workers have the resource GPU, all but `cpu` asks for one.
        on_tick: Called about twice a second with the number of runs trained so far; a group in training counts by its
            epochs.
        tend: Called as often, to look after the workers.

    Yields:
        Position of a group and its results, as it finishes.

    Raises:
        GroupsFailed: If groups ended their workers; raised after all others were yielded.
        SchedulerLost: If the scheduler goes away.
    """
    topic = f"mixup-{uuid.uuid4().hex}"
    share = [0.0] * len(groups)

    def note(event: tuple[float, tuple[int, float]]) -> None:
        position, part = event[1]
        share[position] = max(share[position], part)

    client.subscribe_topic(topic, note)
    waiting, flying = list(range(len(groups)))[::-1], dict[Future, int]()
    ended: queue.SimpleQueue[Future] = queue.SimpleQueue()
    failed: list[RunConfig] = []
    lonely_since = told = time.monotonic()
    try:
        while waiting or flying:
            tend()
            lanes, resources = _lanes(client, device)
            if lanes:
                lonely_since = time.monotonic()
            elif time.monotonic() - lonely_since > PATIENCE:
                lonely_since = float("inf")
                warnings.warn(f"No worker at {client.scheduler.address} yet; waiting.", RuntimeWarning, stacklevel=3)
            while waiting and len(flying) < lanes:
                position = waiting.pop()
                group = groups[position]
                task = (topic, position, group, [_key(config) for config in group], device)
                future = client.submit(train_task, *task, key=f"{topic}-{position}", resources=resources, pure=False)
                flying[future] = position
                future.add_done_callback(ended.put)
            with suppress(queue.Empty):
                future = ended.get(timeout=TICK_SECONDS if len(flying) == lanes > 0 else TICK_SECONDS / 5)
                position = flying[future]
                try:
                    pairs = _fetch(client, future)
                except KilledWorker:
                    failed += groups[position]
                    pairs = []
                if pairs is None:
                    ended.put(future)
                else:
                    del flying[future]
                    if pairs:
                        yield position, [RunResult(c, *pair) for c, pair in zip(groups[position], pairs, strict=True)]
                    share[position], told = 1.0, -TICK_SECONDS
            if client.status != "running":
                raise SchedulerLost(client)
            if on_tick is not None and time.monotonic() - told > TICK_SECONDS:
                told = time.monotonic()
                on_tick(sum(part * len(group) for part, group in zip(share, groups, strict=True)))
    finally:  # also when the caller stops early or Ctrl-C arrives
        with suppress(Exception):
            client.unsubscribe_topic(topic)
            client.cancel(list(flying))
    if failed:
        raise GroupsFailed(failed)


def _fetch(client: Client, future: Future) -> list[tuple[dict[str, Any], dict[str, NDArray]]] | None:
    """Fetch what a group sent back; None if its worker died after it, so that Dask trains it again."""
    if future.status == "finished":
        gathered = client.gather([future], asynchronous=True)
        loop: Any = client.loop
        fetching = asyncio.run_coroutine_threadsafe(gathered, loop.asyncio_loop)
        try:
            while not fetching.done() and future.status == "finished" and client.status == "running":
                wait([fetching], timeout=TICK_SECONDS)
            if fetching.done():
                return fetching.result()[0]
        except (OSError, CancelledError):  # the group's own, or the connection's
            if future.status != "error":
                raise SchedulerLost(client) from None
        finally:
            fetching.cancel()
    if future.status == "error":
        return future.result()  # raises it
    if future.status not in ("lost", "pending") or client.status != "running":
        raise SchedulerLost(client)
    time.sleep(TICK_SECONDS / 5)
    return None


def _lanes(client: Client, device: str) -> tuple[int, dict[str, float]]:
    """Count the groups that the cluster can train side by side, and say what each must ask for."""
    try:
        workers = client.scheduler_info()["workers"].values()
    except (OSError, RuntimeError, KeyError):
        raise SchedulerLost(client) from None
    gpus = sum(int(worker["resources"].get("GPU", 0)) for worker in workers)
    if device != "cpu" and gpus:
        return gpus, {"GPU": 1}
    return sum(worker["nthreads"] for worker in workers), {}
