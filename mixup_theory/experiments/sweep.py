"""A list of runs becomes a table: what is in the cache is read, the rest is trained and written as it finishes."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from numpy.typing import NDArray
from torch import nn

from ..progress import report_progress
from .cache import DamagedEntry, cache_folder, read_arrays, read_row, write_entry
from .config import RunConfig, run_key
from .datasets import load_dataset
from .in_process import resolve_device, train_in_process
from .networks import build_network, with_weights
from .training import RunResult, check_runs, form_groups

__all__ = ["load_arrays", "load_network", "sweep"]

SCHEDULER_VARIABLE = "MIXUP_SCHEDULER"
Progress = Callable[[int, int, float | None], None]


def sweep(
    configs: Sequence[RunConfig],
    cache_dir: str | os.PathLike[str] | None = None,
    *,
    progress: Progress | None = None,
    device: str = "auto",
    scheduler: str = "",
) -> pd.DataFrame:
    """Return one row per run, training only what the cache does not hold.

    Groups of runs are formed from the list alone, in its order, and a group of which anything is missing is trained
    whole. So a repeat after a kill trains the same groups and gives the same rows, bit by bit; what finished before
    the kill is read. A damaged entry is named in a warning and computed again.

    Groups are trained by the workers of a Dask cluster: the one at `scheduler`, else the one at the address in
    `MIXUP_SCHEDULER`, else one of this process's own on the loopback, with a worker for each core that torch may use,
    or for each GPU. With one core or one group this process trains. No bit depends on which it is.

    Args:
        configs: The runs.
        cache_dir: Folder of the cache; None takes `MIXUP_CACHE`, else a folder of the user.
        progress: Called about twice a second with runs done, runs in all, and seconds left (None while unknown).
            The file named by `MIXUP_PROGRESS_FILE` is kept up to date in any case.
        device: `cpu`, `cuda`, or `auto`: on a GPU where there is one.
        scheduler: Address of an existing Dask cluster, `tcp://host:port` or `tls://host:port`.

    Returns:
        A table in the order of `configs`: the fields of the config, `status`, the metrics, and `key`.

    Raises:
        ValueError: If `configs` is empty, or holds anything but a RunConfig, or a run that cannot be trained
            (`check_runs`): nothing is trained then.
        OSError: If the cache cannot be written, or the cluster does not answer or goes away (`ClusterError`); what was
            written before stays.
        GroupsFailed: If runs ended every worker that trained them; it is raised after all others were written.
    """
    if not configs or not all(isinstance(config, RunConfig) for config in configs):
        raise ValueError(f"`configs` must be RunConfig objects, at least one, got {configs!r}.")
    if device not in ("auto", "cpu") and not device.startswith("cuda"):
        raise ValueError(f"`device` must be 'auto', 'cpu' or 'cuda', got {device!r}.")
    check_runs(configs)
    folder = cache_folder(cache_dir)
    keys = {config: run_key(config, load_dataset(config.dataset).checksum) for config in configs}
    rows: dict[RunConfig, dict[str, Any]] = {}
    for config, key in keys.items():
        row = _stored(folder, key)
        if row is not None:
            rows[config] = row

    groups = [group for group in form_groups(configs) if any(config not in rows for config in group)]
    clock = _Clock(len(keys), sum(map(len, groups)), progress)
    clock.report(0)
    with closing(train_groups(groups, device, scheduler, clock.report)) as finished:
        for _, results in finished:
            for result in results:
                config, key = result.config, keys[result.config]
                if config not in rows:  # what was read stands
                    write_entry(folder, key, config.model_dump(), result.row, result.arrays)
                    rows[config] = result.row
    # The fields of the config come first and from itself: a row may be older than a field with a default.
    return pd.DataFrame([{**config.as_row(), **rows[config], "key": keys[config]} for config in configs])


def train_groups(
    groups: Sequence[Sequence[RunConfig]], device: str, scheduler: str, on_tick: Callable[[float], None]
) -> Generator[tuple[int, list[RunResult]], None, None]:
    """Train groups where the caller's settings say: on a cluster, or in this process.

    Args:
        groups: Lists of configs equal in `shape`.
        device: `auto`, `cpu` or `cuda`.
        scheduler: Address of a cluster, or nothing.
        on_tick: Called about twice a second with the number of runs trained so far.

    Yields:
        Position of a group and its results, as it finishes.
    """
    if not groups:
        return
    address = scheduler or os.environ.get(SCHEDULER_VARIABLE, "")
    device = device if address else resolve_device(device)
    lanes = 0 if address else min(len(groups), _local_lanes(device))
    if lanes == 1:
        yield from train_in_process(groups, device, on_tick)
        return
    from .cluster import close_local_clusters, connect, local_cluster  # Dask takes half a second to import
    from .dispatch import train_on_workers

    if address:
        with connect(address) as client:
            yield from train_on_workers(client, groups, device, on_tick)
        return
    cluster, done = local_cluster(device, lanes), False
    try:
        yield from train_on_workers(cluster.client, groups, device, on_tick, cluster.tend)
        done = True
    finally:
        if not done:
            close_local_clusters()  # an interrupted group would go on to its end


def _local_lanes(device: str) -> int:
    """Count what this process may use side by side: GPUs, or the cores that torch may use."""
    if device == "cpu":
        return torch.get_num_threads()
    return max(1, torch.cuda.device_count()) if device == "cuda" else 1


def _stored(folder: Path, key: str) -> dict[str, Any] | None:
    try:
        return read_row(folder, key)
    except DamagedEntry as error:
        warnings.warn(f"{error}; the run is computed again.", RuntimeWarning, stacklevel=3)
        return None


class _Clock:
    """Runs done, and the time the rest should take at the pace so far."""

    def __init__(self, total: int, to_train: int, progress: Progress | None) -> None:
        self.total, self.to_train, self.progress = total, to_train, progress
        self.start = time.monotonic()

    def report(self, trained: float) -> None:
        """Report; `trained` counts the runs in training by their epochs."""
        done, left = self.total - self.to_train + int(trained), None
        if done == self.total:
            left = 0.0
        elif trained:
            left = (time.monotonic() - self.start) / trained * (self.to_train - trained)
        report_progress(done, self.total, left)
        if self.progress is not None:
            self.progress(done, self.total, left)


def load_arrays(config: RunConfig, cache_dir: str | os.PathLike[str] | None = None) -> dict[str, NDArray]:
    """Return the arrays of a run that a sweep has stored.

    Args:
        config: The run, with the same `outputs`.
        cache_dir: The folder given to `sweep`.

    Returns:
        Arrays by name: the outputs asked for, `weights.<parameter>`, and `history_<metric>`.

    Raises:
        KeyError: If the run is not in the cache.
        DamagedEntry: If a file is not what was written; the next sweep computes the run again.
    """
    folder = cache_folder(cache_dir)
    arrays = read_arrays(folder, run_key(config, load_dataset(config.dataset).checksum))
    if arrays is None:
        raise KeyError(f"No such run in {folder}: {config!r}. Give it to sweep() first.")
    return arrays


def load_network(config: RunConfig, cache_dir: str | os.PathLike[str] | None = None) -> nn.Module:
    """Return the trained network of a run whose `outputs` hold `weights`.

    Args:
        config: The run.
        cache_dir: The folder given to `sweep`.

    Returns:
        The network, an `nn.Sequential` for an MLP.

    Raises:
        KeyError: If the run is not in the cache, or was stored without weights.
    """
    arrays = load_arrays(config, cache_dir)
    weights = {k.removeprefix("weights."): v for k, v in arrays.items() if k.startswith("weights.")}
    if not weights:
        raise KeyError("The run was stored without weights. Ask for them: RunConfig(..., outputs=('weights',)).")
    data = load_dataset(config.dataset)
    return with_weights(build_network(config, data.x_train.shape[1:], data.num_classes), weights)
