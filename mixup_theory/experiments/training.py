"""Training, top to bottom: runs of one shape together, each with its own data, labels, weights, order and mixing.

A run owns its generators, and every array holds it in a slice of its own, so its result does not depend on which runs
it is grouped with. The last epoch is reported, never the best one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..mixing import blend
from .config import RunConfig
from .datasets import Streams, load_dataset, run_index, run_labels
from .draws import draw_epoch, stack_draws
from .metrics import run_metrics
from .networks import build_network, first_weights
from .optimizers import lr_factor, make_optimizer
from .stacked import StackedMLP

__all__ = ["MAX_GROUP", "RunResult", "form_groups", "train"]

MAX_GROUP = 32  # measured on two cores: more runs together are no faster, and a kill loses a group
EVALUATE_ROWS = 512  # examples per piece when a trained group is evaluated: bounds the memory


@dataclass(frozen=True)
class RunResult:
    """What one run leaves.

    Attributes:
        config: The run.
        row: Its fields, its status (`ok` or `diverged`) and its metrics at the last epoch.
        arrays: The outputs asked for, by name; the weights are one array `weights.<parameter>` each.
    """

    config: RunConfig
    row: dict[str, Any]
    arrays: dict[str, NDArray] = field(default_factory=dict)


def form_groups(configs: Iterable[RunConfig], max_group: int = MAX_GROUP) -> list[list[RunConfig]]:
    """Group runs that can be trained together; the list alone decides, in its own order.

    Args:
        configs: The runs; one that stands there twice is taken once.
        max_group: Largest number of runs in a group.

    Returns:
        Lists of configs equal in `shape`.
    """
    by_shape: dict[Any, list[RunConfig]] = {}
    for config in dict.fromkeys(configs):
        by_shape.setdefault(config.shape, []).append(config)
    return [runs[i : i + max_group] for runs in by_shape.values() for i in range(0, len(runs), max_group)]


def train(
    configs: Sequence[RunConfig], device: str = "cpu", *, on_epoch: Callable[[int, int], None] | None = None
) -> list[RunResult]:
    """Train runs and report each.

    Args:
        configs: The runs, in any mixture of shapes.
        device: `cpu` or a CUDA device.
        on_epoch: Called after each epoch of each group with the epochs done and the epochs in all.

    Returns:
        One result per config, in the order given.

    Raises:
        ValueError: If a run asks for more training points than there are.

    Example:
        >>> erm, mixed = train([RunConfig(epochs=3), RunConfig(epochs=3, method="mixup", alpha=1.0)])
        >>> erm.row["status"], erm.row["test_accuracy"] > 0.8
        ('ok', True)
    """
    results: dict[RunConfig, RunResult] = {}
    for group in form_groups(configs):
        results.update((result.config, result) for result in _train_group(group, device, on_epoch))
    return [results[config] for config in configs]


@torch.no_grad()
def _train_group(configs: list[RunConfig], device: str, on_epoch: Callable[[int, int], None] | None) -> list[RunResult]:
    """Train the runs of one group in one program."""
    shared, runs = configs[0], len(configs)
    dtype = getattr(torch, shared.dtype)

    # Data. The inputs are shared; each run has its own points [R, n] and the labels it is given [R, n].
    data = load_dataset(shared.dataset)
    streams = [Streams(config.seed) for config in configs]
    index = np.stack([run_index(c, data, s) for c, s in zip(configs, streams, strict=True)])
    clean = data.y_clean[index]
    given = np.stack([run_labels(c, y, data.num_classes, s) for c, y, s in zip(configs, clean, streams, strict=True)])
    x_train, x_test = (torch.tensor(x, dtype=dtype, device=device).flatten(1) for x in (data.x_train, data.x_test))
    label_rows = torch.eye(data.num_classes, dtype=dtype, device=device)
    num_train = index.shape[1]
    batch_size = min(shared.batch_size, num_train)
    steps = num_train // batch_size

    # Networks and optimiser.
    module = build_network(shared, data.x_train.shape[1:], data.num_classes)
    network = StackedMLP([first_weights(module, s.init) for s in streams], shared.loss, dtype, device)
    optimizer = make_optimizer(network, configs)

    def measure() -> tuple[NDArray, NDArray, list[dict[str, float]]]:
        """Return logits [R, n, K] on training points and test set, and the metrics of each run."""
        test_index = np.broadcast_to(np.arange(len(x_test)), (runs, len(x_test)))
        train_logits = _logits(network, x_train, index)
        test_logits = _logits(network, x_test, test_index)
        rows = [
            run_metrics(train_logits[r], given[r], clean[r], test_logits[r], data.y_test, shared.loss)
            for r in range(runs)
        ]
        batch_loss = torch.stack(losses).mean(dim=0).tolist() if losses else [math.nan] * runs
        return train_logits, test_logits, [{"batch_loss": b, **row} for b, row in zip(batch_loss, rows, strict=True)]

    alive = np.ones(runs, dtype=bool)
    history: list[list[dict[str, float]]] = []
    for epoch in range(shared.epochs):
        recorded = shared.history_every > 0 and (epoch + 1) % shared.history_every == 0
        drawn = stack_draws(
            [draw_epoch(c, s, num_train, batch_size, epoch) for c, s in zip(configs, streams, strict=True)],
            num_train,
        )
        points = torch.as_tensor(index.ravel()[drawn.position], device=device)
        labels = torch.as_tensor(given.ravel()[drawn.position], device=device)
        partner = torch.as_tensor(drawn.partner, device=device)
        lam = torch.as_tensor(drawn.lam, dtype=dtype, device=device)
        losses: list[Tensor] = []
        for step in range(steps):
            x, y = x_train.index_select(0, points[step]), label_rows.index_select(0, labels[step])  # [R B, D], [R B, K]
            x, y = (blend(z, lam[step], partner[step]) for z in (x, y))  # mixup
            x, y = x.view(runs, batch_size, -1), y.view(runs, batch_size, -1)
            loss = network.gradient(x, y, with_loss=recorded or epoch == shared.epochs - 1)
            optimizer.step(lr_factor(shared.lr_schedule, (epoch + step / steps) / shared.epochs))
            losses += [] if loss is None else [loss]
        alive &= network.finite()
        if recorded:
            history.append([{"epoch": epoch + 1, **row} for row in measure()[2]])
        if on_epoch is not None:
            on_epoch(epoch + 1, shared.epochs)
        if not alive.any():
            break

    train_logits, test_logits, final = measure()
    outputs = {"test_logits": test_logits, "train_logits": train_logits, "train_index": index, "train_labels": given}
    results = []
    for r, config in enumerate(configs):
        ok = bool(alive[r]) and math.isfinite(final[r]["train_loss"]) and math.isfinite(final[r]["test_loss"])
        metrics = final[r] if ok else dict.fromkeys(final[r], math.nan)
        row = {**config.as_row(), "status": "ok" if ok else "diverged", **metrics}
        arrays: dict[str, NDArray] = {name: outputs[name][r].copy() for name in config.outputs if name != "weights"}
        if "weights" in config.outputs:
            arrays |= {f"weights.{name}": value for name, value in network.weights(r).items()}
        if history:
            arrays |= {f"history_{name}": np.array([rows[r][name] for rows in history]) for name in history[0][r]}
        results.append(RunResult(config, row, arrays))
    return results


def _logits(network: StackedMLP, x: Tensor, points: NDArray[np.int64]) -> NDArray:
    """Return the logits of each run at its own points [R, n] of the inputs, shape [R, n, K]."""
    where = torch.tensor(points, device=x.device)
    pieces = [network.logits(x[piece]).cpu() for piece in where.split(EVALUATE_ROWS, dim=1)]
    return torch.cat(pieces, dim=1).numpy()
