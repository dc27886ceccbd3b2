"""What a sweep costs: Dask and the cache over plain training, two workers over one, reading what is cached.

Run by `make bench`; each figure is a ratio, or a time, within one process. The sides that are compared take turns, so
that other work on the machine weighs on both. `--runs 200` is the full size of the first comparison.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from mixup_theory.experiments import RunConfig, grid, sweep, train  # first: it sets how torch waits

# isort: split
import torch

from mixup_theory.experiments.cluster import LocalCluster

OVERHEAD_TARGET, SPEEDUP_TARGET, READING_TARGET = 0.05, 1.8, 2.0
CHUNK = 10
MLP = RunConfig(method="mixup", alpha=1.0, hidden=(64, 64))
CNN = RunConfig(method="mixup", alpha=1.0, network="cnn", hidden=(8, 16), epochs=30)


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


@contextmanager
def workers(count: int) -> Iterator[str]:
    """Start a local cluster, let each worker import and load what it needs, and give its address."""
    cluster = LocalCluster()
    try:
        cluster.grow(count)
        cluster.client.wait_for_workers(count, timeout=120)
        address = cluster.client.scheduler.address
        for _ in range(3):
            fresh_sweep([MLP.replace(hidden=(4 + k,), epochs=1) for k in range(2 * count)], address)
        yield address
    finally:
        cluster.close()


def fresh_sweep(configs: Sequence[RunConfig], address: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        sweep(configs, folder, scheduler=address, device="cpu")


def overhead(runs: int, length: float) -> bool:
    """Compare sweep on one worker with train(), on runs of about `length` seconds, each a group of its own."""
    train([MLP.replace(epochs=2)])
    epochs = max(1, round(length / seconds(lambda: train([MLP.replace(epochs=50)])) * 50))
    configs = [MLP.replace(epochs=epochs + k) for k in range(runs)]  # another number of epochs is another group
    with workers(1) as address:
        plain = through = 0.0
        for start in range(0, runs, CHUNK):
            chunk = configs[start : start + CHUNK]
            plain += seconds(lambda chunk=chunk: train(chunk))
            through += seconds(lambda chunk=chunk: fresh_sweep(chunk, address))
    share = through / plain - 1
    print(
        f"sweep     {runs} runs of {plain / runs:.2f} s: {share:+.1%} over train() (target at most"
        f" {OVERHEAD_TARGET:.0%})"
    )
    return share <= OVERHEAD_TARGET


def speedup(runs: int, repeats: int) -> bool:
    """Compare two workers with one on small CNNs."""
    configs = grid(CNN, seed=range(runs))
    with workers(1) as one, workers(2) as two:
        pairs = [(seconds(lambda: fresh_sweep(configs, one)), seconds(lambda: fresh_sweep(configs, two)))
                 for _ in range(repeats)]  # fmt: skip
    alone, both = (min(times) for times in zip(*pairs, strict=True))
    print(
        f"sweep     {runs} small CNNs of {alone / runs:.2f} s, two workers over one: {alone / both:.2f}x"
        f" (target {SPEEDUP_TARGET:g}x)"
    )
    return alone / both >= SPEEDUP_TARGET


def reading(runs: int, repeats: int) -> bool:
    """Time the sweep of runs that are all in the cache, logits on the test set included."""
    configs = grid(MLP.replace(hidden=(4,), epochs=1, outputs=("test_logits",)), seed=range(runs))
    with tempfile.TemporaryDirectory() as folder:
        torch.set_num_threads(1)
        sweep(configs, folder, device="cpu")
        took = min(seconds(lambda: sweep(configs, folder)) for _ in range(repeats))
        size = sum(path.stat().st_size for path in Path(folder).rglob("*.*")) / 2**20
    print(f"sweep     {runs} cached runs, {size:.0f} MiB, read in {took:.2f} s (target {READING_TARGET:g} s)")
    return took <= READING_TARGET


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=40, help="runs of the first comparison")
    parser.add_argument("--seconds", type=float, default=1.0, help="length of each")
    parser.add_argument("--networks", type=int, default=16, help="CNNs of the second comparison")
    parser.add_argument("--cached", type=int, default=1000, help="runs of the third")
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    good = [
        overhead(arguments.runs, arguments.seconds),
        speedup(arguments.networks, arguments.repeats),
        reading(arguments.cached, arguments.repeats),
    ]
    return 0 if all(good) else 1


if __name__ == "__main__":
    raise SystemExit(main())
