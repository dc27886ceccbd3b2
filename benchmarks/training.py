"""MLPs trained together, against a plain PyTorch loop and against the machine's own matrix products; runs by number.

Run by `make bench`. All figures of a line come from the same process. The parts take turns, many times, and the best
time of each counts, so that other work on the machine weighs little and on all alike. The plain loop is given the
faster of one thread and all threads, and the same draws, so that both end at the same accuracy. The workers of the
sweep are up before the clock starts.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass

from mixup_theory.experiments import RunConfig, RunResult, grid, run_dataset, train  # first: it sets how torch waits

# isort: split
import numpy as np
import psutil
import torch

from mixup_theory.experiments.datasets import Streams
from mixup_theory.experiments.downloads import MissingData
from mixup_theory.experiments.draws import draw_epoch
from mixup_theory.experiments.networks import build_network, first_weights, with_weights
from mixup_theory.experiments.sweep import train_groups
from mixup_theory.experiments.training import form_groups

RUNS = 32
REPEATS, EPOCHS = 10, 30


@dataclass(frozen=True)
class Case:
    """A network, how many times faster than the plain loop it is to be, and its share of the matrix-product rate."""

    config: RunConfig
    target: float
    share: float = 0.0


BASE = RunConfig(method="mixup", alpha=1.0, learning_rate=0.05, epochs=EPOCHS)
CASES = [
    Case(BASE.replace(hidden=(64, 64)), target=12),
    Case(BASE.replace(hidden=(256, 256)), target=3, share=0.5),
    Case(BASE.replace(dataset="fashion-mnist", num_train=4000, epochs=3, hidden=(256, 256)), target=2.5, share=0.6),
]


def plain_run(config: RunConfig) -> float:
    """Train one run as one writes it with torch.nn and torch.optim; return its test accuracy."""
    data, streams = run_dataset(config), Streams(config.seed)
    net = build_network(config, data.x_train.shape[1:], data.num_classes)
    with_weights(net, first_weights(net, streams.init))
    optimizer = torch.optim.SGD(net.parameters(), lr=config.learning_rate, momentum=config.momentum)
    x_train = torch.tensor(data.x_train, dtype=torch.float32).flatten(1)
    y_train = torch.tensor(data.y_train)
    for epoch in range(config.epochs):
        drawn = draw_epoch(config, streams, len(x_train), config.batch_size, epoch)
        for position, partner, weights in zip(drawn.position, drawn.partner, drawn.lam, strict=True):
            x, y, other = x_train[position], y_train[position], torch.tensor(partner)
            lam = float(weights[0])
            logits = net(lam * x + (1 - lam) * x[other])
            loss = lam * torch.nn.functional.cross_entropy(logits, y)
            loss = loss + (1 - lam) * torch.nn.functional.cross_entropy(logits, y[other])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    with torch.no_grad():
        predicted = net(torch.tensor(data.x_test, dtype=torch.float32).flatten(1)).argmax(dim=1).numpy()
    return float((predicted == data.y_test).mean())


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def matrix_rate(size: int = 2048) -> float:
    """Return the FLOP/s of one large float32 matrix product, best of five."""
    a, b, out = (torch.randn(size, size) for _ in range(3))
    return 2 * size**3 / min(seconds(lambda: torch.mm(a, b, out=out)) for _ in range(5))


def together(configs: list[RunConfig]) -> list[RunResult]:
    """Train runs as a sweep does, on every core, and leave the cache out."""
    with closing(train_groups(form_groups(configs), "cpu", "", lambda done: None)) as finished:
        return [result for _, results in finished for result in results]


def compare(case: Case, repeats: int) -> bool:
    """Print the ratios of one case; return whether the targets are met."""
    base, threads = case.config, torch.get_num_threads()
    configs = grid(base, seed=range(RUNS // 4), alpha=[0.1, 0.4, 1.0, 8.0])
    together([c.replace(epochs=1) for c in configs])  # the workers are up and have the data
    plain_run(base.replace(epochs=1))
    x_train = run_dataset(base).x_train
    steps = base.epochs * (len(x_train) // base.batch_size)
    params = sum(p.numel() for p in build_network(base, x_train.shape[1:], 10).parameters())
    flops = 6 * params * base.batch_size * steps * RUNS

    rate, ours, plain = 0.0, float("inf"), float("inf")
    accuracies: list[tuple[float, float]] = []
    for k in range(repeats):
        rate = max(rate, matrix_rate())
        results: list[RunResult] = []
        ours = min(ours, seconds(lambda results=results: results.extend(together(configs))))
        result = results[k % RUNS]
        for count in {1, threads}:
            torch.set_num_threads(count)
            found: list[float] = []
            plain = min(plain, seconds(lambda found=found, run=result.config: found.append(plain_run(run))))
            accuracies.append((result.row["test_accuracy"], found[0]))
        torch.set_num_threads(threads)

    ratio, share = plain * RUNS / ours, flops / ours / rate
    mine, theirs = np.transpose(accuracies)
    shape = "-".join(map(str, (int(np.prod(x_train.shape[1:])), *base.hidden, 10)))
    print(
        f"training  {shape:<14} {RUNS} runs together vs plain loop: {ratio:5.1f}x (target {case.target:g}x)"
        f"  [{ours / steps / RUNS * 1e6:.0f} vs {plain / steps * 1e6:.0f} us per step of a run,"
        f" accuracy {mine.mean():.3f} vs {theirs.mean():.3f}]"
    )
    target = f" (target {case.share:.0%})" if case.share else ""
    print(f"training  {shape:<14} share of the machine's matrix-product rate: {share:.0%}{target}", flush=True)
    return ratio >= case.target and share >= case.share and np.abs(mine - theirs).max() <= 0.004


def throughput(repeats: int) -> bool:
    """Print how many runs a second 8 to 512 of them are trained: on one core, and beside it on all; and the memory."""
    base = BASE.replace(hidden=(64, 64), epochs=5)
    alone, beside, memory = {}, {}, {}
    for count in (8, 32, 128, 512):
        configs = grid(base, seed=range(count))
        alone[count] = count / min(seconds(lambda configs=configs: train(configs)) for _ in range(repeats))
        memory[count] = psutil.Process().memory_info().rss / 2**20
        beside[count] = count / min(seconds(lambda configs=configs: together(configs)) for _ in range(repeats))
    spread = max(alone.values()) / min(alone.values()) - 1
    for name, rates, target in (("one core", alone, " (target: within 10 %)"), ("all cores", beside, "")):
        listed = ", ".join(f"{n}: {rate / alone[8]:.2f}" for n, rate in rates.items())
        print(f"training  runs a second by number of runs, relative to 8 on one core; {name}: {listed}{target}")
    print(f"training  memory in MiB: {', '.join(f'{n}: {size:.0f}' for n, size in memory.items())}")
    return spread <= 0.1 and memory[512] <= 1.2 * memory[8]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=REPEATS)
    arguments = parser.parse_args()
    print(f"training  {torch.get_num_threads()} threads, torch {torch.__version__}")
    good = []
    for case in CASES:
        try:
            good.append(compare(case, arguments.repeats))
        except MissingData as error:
            print(f"training  {case.config.dataset} left out: {error}")
    good.append(throughput(max(2, arguments.repeats // 3)))
    return 0 if all(good) else 1


if __name__ == "__main__":
    raise SystemExit(main())
