"""32 MLPs on digits trained together, against a plain PyTorch loop and against the machine's own matrix products.

Run by `make bench`. All figures of a line come from the same process. The parts take turns, many times, and the best
time of each counts, so that other work on the machine weighs little and on all alike. The plain loop is given the
faster of one thread and all threads, and the same draws, so that both end at the same accuracy.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

from mixup_theory.experiments import RunConfig, RunResult, grid, run_dataset, train  # first: it sets how torch waits

# isort: split
import numpy as np
import torch

from mixup_theory.experiments.datasets import Streams
from mixup_theory.experiments.draws import draw_epoch
from mixup_theory.experiments.networks import build_network, first_weights, with_weights

RUNS, TARGETS = 32, {64: 12.0, 256: 3.0}
SHARE_TARGET = {256: 0.5}


def plain_run(config: RunConfig) -> float:
    """Train one run as one writes it with torch.nn and torch.optim; return its test accuracy."""
    data, streams = run_dataset(config), Streams(config.seed)
    net = build_network(config, data.x_train.shape[1:], data.num_classes)
    with_weights(net, first_weights(net, streams.init))
    optimizer = torch.optim.SGD(net.parameters(), lr=config.learning_rate, momentum=config.momentum)
    x_train = torch.tensor(data.x_train, dtype=torch.float32)
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
        predicted = net(torch.tensor(data.x_test, dtype=torch.float32)).argmax(dim=1).numpy()
    return float((predicted == data.y_test).mean())


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def matrix_rate(size: int = 2048) -> float:
    """Return the FLOP/s of one large float32 matrix product, best of five."""
    a, b, out = (torch.randn(size, size) for _ in range(3))
    return 2 * size**3 / min(seconds(lambda: torch.mm(a, b, out=out)) for _ in range(5))


def compare(width: int, epochs: int, repeats: int) -> bool:
    """Print the ratios at one width; return whether the targets are met."""
    base = RunConfig(hidden=(width, width), epochs=epochs, method="mixup", alpha=1.0, learning_rate=0.05)
    configs = grid(base, seed=range(RUNS // 4), alpha=[0.1, 0.4, 1.0, 8.0])
    threads = torch.get_num_threads()
    train(configs[:2])
    plain_run(configs[0].replace(epochs=1))
    steps = epochs * (len(run_dataset(base).x_train) // base.batch_size)
    params = sum(p.numel() for p in build_network(base, (64,), 10).parameters())
    flops = 6 * params * base.batch_size * steps * RUNS

    rate, together, plain = 0.0, float("inf"), float("inf")
    accuracies: list[tuple[float, float]] = []
    for k in range(repeats):
        rate = max(rate, matrix_rate())
        results: list[RunResult] = []
        together = min(together, seconds(lambda results=results: results.extend(train(configs))))
        result = results[k % RUNS]
        for count in {1, threads}:
            torch.set_num_threads(count)
            found: list[float] = []
            plain = min(plain, seconds(lambda found=found, run=result.config: found.append(plain_run(run))))
            accuracies.append((result.row["test_accuracy"], found[0]))
        torch.set_num_threads(threads)

    ratio, share = plain * RUNS / together, flops / together / rate
    ours, theirs = np.transpose(accuracies)
    good = ratio >= TARGETS[width] and share >= SHARE_TARGET.get(width, 0) and np.abs(ours - theirs).max() <= 0.004
    print(
        f"training  width {width:3d}  {RUNS} runs together vs plain loop: {ratio:5.1f}x (target {TARGETS[width]:g}x)"
        f"  [{together / steps / RUNS * 1e6:.0f} vs {plain / steps * 1e6:.0f} us per step of a run,"
        f" accuracy {ours.mean():.3f} vs {theirs.mean():.3f}]"
    )
    target = f" (target {SHARE_TARGET[width]:.0%})" if width in SHARE_TARGET else ""
    print(f"training  width {width:3d}  share of the machine's matrix-product rate: {share:.0%}{target}")
    return good


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=16)
    arguments = parser.parse_args()
    print(f"training  {torch.get_num_threads()} threads, torch {torch.__version__}")
    good = [compare(width, arguments.epochs, arguments.repeats) for width in TARGETS]
    return 0 if all(good) else 1


if __name__ == "__main__":
    raise SystemExit(main())
