"""Groups trained in this process, one after another, each operation on one thread.

Threads inside each small operation wait for each other some thousand times a second, which was measured 20 to 70 times
slower as soon as another program wants a core; threads that each train a group pass the interpreter's lock to and fro
and are hardly faster than one. So a process trains with one thread, and what goes side by side are processes
(`dispatch`). As every operation runs on one thread, the numbers do not depend on how many cores there are.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch

from .config import RunConfig
from .training import RunResult, check_runs, form_groups, train_group

__all__ = ["TICK_SECONDS", "one_thread", "resolve_device", "train", "train_in_process"]

TICK_SECONDS = 0.5


def resolve_device(device: str) -> str:
    """Say where `auto` is: `cuda` where PyTorch finds a GPU, else `cpu`.

    Args:
        device: `auto`, `cpu` or a CUDA device.

    Returns:
        A device that PyTorch knows.

    Example:
        >>> resolve_device("cpu")
        'cpu'
    """
    if device != "auto":
        return device
    return "cuda" if torch.cuda.is_available() else "cpu"


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch use one thread per operation, and as many as before afterwards."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def train_in_process(
    groups: Sequence[Sequence[RunConfig]], device: str = "cpu", on_tick: Callable[[float], None] | None = None
) -> Iterator[tuple[int, list[RunResult]]]:
    """Train groups one after another.

    Args:
        groups: Lists of configs equal in `shape`.
        device: `auto`, `cpu` or a CUDA device.
        on_tick: Called about twice a second with the number of runs trained so far; a group in training counts by its
            epochs.

    Yields:
        Position of a group and its results, as it finishes.
    """
    trained, told = 0, time.monotonic()
    for position, group in enumerate(groups):

        def on_epoch(done: int, total: int, before: int = trained, size: int = len(group)) -> None:
            nonlocal told
            if on_tick is not None and time.monotonic() - told > TICK_SECONDS:
                told = time.monotonic()
                on_tick(before + size * (done - 0.5) / total)  # the whole is told once the results were taken

        with one_thread():
            results = train_group(group, resolve_device(device), on_epoch)
        yield position, results
        trained, told = trained + len(group), time.monotonic()
        if on_tick is not None:
            on_tick(trained)


def train(configs: Sequence[RunConfig], device: str = "cpu") -> list[RunResult]:
    """Train runs in this process and report each.

    Args:
        configs: The runs, in any mixture of shapes.
        device: `auto`, `cpu` or a CUDA device.

    Returns:
        One result per config, in the order given.

    Raises:
        ValueError: If a run cannot be trained (`training.check_runs`).

    Example:
        >>> erm, mixed = train([RunConfig(epochs=3), RunConfig(epochs=3, method="mixup", alpha=1.0)])
        >>> erm.row["status"], erm.row["test_accuracy"] > 0.8
        ('ok', True)
    """
    check_runs(configs)
    results = {r.config: r for _, group in train_in_process(form_groups(configs), device) for r in group}
    return [results[config] for config in configs]
