"""Groups trained side by side: one thread per core, each with a torch that uses no threads of its own.

Threads inside each small operation wait for each other some thousand times a second, which was measured slower on an
idle machine, and ruinous (20 to 70 times) on one with other work. Whole groups side by side wait for nobody, and as
each operation runs on one thread, the numbers do not depend on how many there are.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait

import torch

from .config import RunConfig
from .training import RunResult, form_groups, train_group

__all__ = ["Stopped", "train", "train_groups"]

TICK_SECONDS = 0.5


class Stopped(Exception):
    """Raised inside a group that nobody waits for any more."""


def train_groups(
    groups: Sequence[Sequence[RunConfig]], device: str = "cpu", on_tick: Callable[[float], None] | None = None
) -> Iterator[tuple[int, list[RunResult]]]:
    """Train groups, as many side by side as torch may use threads (`torch.set_num_threads`), one on a GPU.

    Args:
        groups: Lists of configs equal in `shape`.
        device: `cpu` or a CUDA device.
        on_tick: Called about twice a second, by the caller's thread, with the number of runs trained so far;
            a group in training counts by its epochs.

    Yields:
        Position of a group and its results, as it finishes.
    """
    threads = torch.get_num_threads()
    stop = threading.Event()
    share = [0.0] * len(groups)

    def work(position: int) -> list[RunResult]:
        def on_epoch(done: int, total: int) -> None:
            share[position] = done / total
            if stop.is_set():
                raise Stopped

        return train_group(groups[position], device, on_epoch)

    pool = ThreadPoolExecutor(threads if device == "cpu" else 1, thread_name_prefix="lane")
    torch.set_num_threads(1)
    try:
        pending: dict[Future[list[RunResult]], int] = {pool.submit(work, i): i for i in range(len(groups))}
        while pending:
            finished, _ = wait(pending, timeout=TICK_SECONDS, return_when=FIRST_COMPLETED)
            for future in sorted(finished, key=pending.__getitem__):
                position = pending.pop(future)
                yield position, future.result()
            if on_tick is not None:
                on_tick(sum(part * len(group) for part, group in zip(share, groups, strict=True)))
    finally:  # also when the caller stops early or Ctrl-C arrives
        stop.set()
        pool.shutdown(wait=True, cancel_futures=True)
        torch.set_num_threads(threads)


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
