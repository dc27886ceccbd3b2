"""Groups trained side by side: one process per core, each with a torch that uses one thread.

Measured on two cores, 32 networks of width 64 or 256: threads inside each operation wait for each other some thousand
times a second, which is 20 to 70 times slower as soon as another program wants a core; threads that each train a group
pass the interpreter's lock to and fro and are hardly faster than one. Processes wait for nobody, and since every
operation runs on one thread, the numbers do not depend on how many there are.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection, wait
from typing import Any

import torch

from .config import RunConfig
from .training import RunResult, form_groups, train_group

__all__ = ["LaneDied", "train", "train_groups"]

TICK_SECONDS = 0.5
Group = Sequence[RunConfig]
Tick = Callable[[float], None]
Finished = Iterator[tuple[int, list[RunResult]]]


class LaneDied(RuntimeError):
    """A training process ended without a result, for instance because the system ran out of memory."""


def train_groups(groups: Sequence[Group], device: str = "cpu", on_tick: Tick | None = None) -> Finished:
    """Train groups, as many side by side as torch may use threads (`torch.set_num_threads`), one on a GPU.

    Args:
        groups: Lists of configs equal in `shape`.
        device: `cpu` or a CUDA device.
        on_tick: Called about twice a second with the number of runs trained so far; a group in training counts by its
            epochs.

    Yields:
        Position of a group and its results, as it finishes.

    Raises:
        LaneDied: If a training process is killed; what was yielded before stands.
    """
    lanes = min(torch.get_num_threads(), len(groups)) if device == "cpu" else 1
    # Processes are forked, as torch's own data loaders are; a daemon (a Dask worker, say) may not have any.
    alone = lanes < 2 or sys.platform != "linux" or multiprocessing.current_process().daemon
    with _one_thread(device):
        yield from _in_turn(groups, device, on_tick) if alone else _side_by_side(groups, lanes, on_tick)


@contextmanager
def _one_thread(device: str) -> Iterator[None]:
    """Let torch use one thread per operation on the CPU."""
    threads = torch.get_num_threads()
    if device == "cpu":
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


class _Ticks:
    """The runs trained so far, told now and then."""

    def __init__(self, groups: Sequence[Group], on_tick: Tick | None) -> None:
        self.sizes, self.on_tick = [len(group) for group in groups], on_tick
        self.shares, self.told = [0.0] * len(groups), time.monotonic()

    def update(self, position: int, share: float) -> None:
        """Note how much of a group is trained, and tell if it is time."""
        self.shares[position] = share
        if self.on_tick is not None and (share == 1 or time.monotonic() - self.told > TICK_SECONDS):
            self.told = time.monotonic()
            self.on_tick(sum(share * size for share, size in zip(self.shares, self.sizes, strict=True)))


def _in_turn(groups: Sequence[Group], device: str, on_tick: Tick | None) -> Finished:
    """Train in this process."""
    ticks = _Ticks(groups, on_tick)
    for position, group in enumerate(groups):

        def on_epoch(done: int, total: int, position: int = position) -> None:
            ticks.update(position, (done - 0.5) / total)  # the whole is told once the result was taken

        yield position, train_group(group, device, on_epoch)
        ticks.update(position, 1.0)


def _side_by_side(groups: Sequence[Group], lanes: int, on_tick: Tick | None) -> Finished:
    """Train in forked processes, which take the next group whenever they have finished one."""
    context = multiprocessing.get_context("fork")
    ticks, waiting = _Ticks(groups, on_tick), iter(range(len(groups)))
    processes: dict[Connection, Any] = {}
    training: dict[Connection, int] = {}
    try:
        for _ in range(lanes):
            here, there = context.Pipe()
            process = context.Process(target=_lane, args=(there, here, groups), daemon=True)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 warns of any fork beside threads
                process.start()
            there.close()
            processes[here] = process
            training[here] = next(waiting)
            here.send(training[here])
        while training:
            for pipe in wait(list(training)):
                assert isinstance(pipe, Connection)
                position = training[pipe]
                try:
                    share, outcome = pipe.recv()
                except (EOFError, ConnectionResetError):
                    processes[pipe].join()
                    raise LaneDied(
                        f"A training process ended with exit code {processes[pipe].exitcode} while it trained "
                        f"{len(groups[position])} runs like {groups[position][0]!r}. What had finished is kept."
                    ) from None
                if isinstance(outcome, BaseException):
                    raise outcome
                if outcome is not None:
                    following = next(waiting, None)
                    if following is None:
                        del training[pipe]
                    else:
                        training[pipe] = following
                        pipe.send(following)
                    yield position, outcome
                ticks.update(position, share)
    finally:  # also when the caller stops early or Ctrl-C arrives: a lane has nothing to save
        for pipe, process in processes.items():
            pipe.close()
            process.kill()
            process.join()


def _lane(pipe: Connection, other_end: Connection, groups: Sequence[Group]) -> None:
    """Train the groups whose positions arrive; end when the process that asks does."""
    other_end.close()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that asks
    torch.set_num_threads(1)
    asker, told = os.getppid(), 0.0

    def on_epoch(done: int, total: int) -> None:
        nonlocal told
        if os.getppid() != asker:
            os._exit(1)
        if time.monotonic() - told > TICK_SECONDS:
            told = time.monotonic()
            pipe.send(((done - 0.5) / total, None))

    while True:
        try:
            position = pipe.recv()
        except EOFError:
            return
        try:
            outcome: Any = train_group(groups[position], "cpu", on_epoch)
        except Exception as error:
            outcome = error
        pipe.send((1.0, outcome))


def train(configs: Sequence[RunConfig], device: str = "cpu") -> list[RunResult]:
    """Train runs and report each.

    Args:
        configs: The runs, in any mixture of shapes.
        device: `cpu` or a CUDA device.

    Returns:
        One result per config, in the order given.

    Raises:
        ValueError: If a run asks for more training points than there are.

    Example:
        >>> erm, mixed = train([RunConfig(epochs=3), RunConfig(epochs=3, method="mixup", alpha=1.0)])
        >>> erm.row["status"], erm.row["test_accuracy"] > 0.8
        ('ok', True)
    """
    results = {r.config: r for _, group in train_groups(form_groups(configs), device) for r in group}
    return [results[config] for config in configs]
