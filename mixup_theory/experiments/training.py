"""Training, top to bottom: runs of one shape together, each with its own data, labels, weights, order and mixing.

A run owns its generators, and every array holds it in a slice of its own, so its result does not depend on which runs
it is grouped with. The last epoch is reported, never the best one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..mixing import draw_partner
from .batches import Batches
from .config import IMAGE_SHAPES, RunConfig
from .datasets import Dataset, Streams, load_dataset, run_index, run_labels, validation_index
from .draws import draw_epoch, stack_draws
from .image_batches import ImageBatches
from .manifold import StateMixes
from .metrics import run_metrics, split_metrics
from .networks import build_network, first_weights
from .optimizers import lr_factor, make_optimizer
from .separate import SeparateNetworks, set_precision
from .stacked import StackedMLP

__all__ = ["RunResult", "check_runs", "form_groups", "group_size", "train_group"]

MAX_GROUP = 32
# Measured on two cores with 1 MiB of second-level cache each and 32 MiB of a third: fewer runs pay the calls, more runs
# leave the caches. At batch 128 on digits that is 16 runs of width 64 and 4 of width 256.
WORKING_SET = 8 * 2**20
EVALUATE_ROWS = 128  # examples per piece when a trained group is evaluated: bounds the memory


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


def group_size(config: RunConfig) -> int:
    """Return how many runs of this shape are best trained in one program: 1 unless it is an MLP (`separate`).

    Args:
        config: Any run of the shape.

    Returns:
        The largest power of two whose weights, moments and activations fit in `WORKING_SET`, at most `MAX_GROUP`.

    Example:
        >>> [group_size(RunConfig(hidden=(width, width))) for width in (8, 64, 256, 1024)]
        [32, 16, 4, 1]
    """
    if config.network != "mlp":
        return 1
    data = load_dataset(config.dataset)
    module = build_network(config, data.x_train.shape[1:], data.num_classes)
    state = 4 * sum(parameter.numel() for parameter in module.parameters())
    example = 2 * (data.x_train[0].size + data.num_classes + sum(config.hidden))
    size = min(config.batch_size, config.num_train or len(data.x_train))
    fitting = WORKING_SET / ((state + size * example) * np.dtype(config.dtype).itemsize)
    return min(MAX_GROUP, 2 ** max(0, math.floor(math.log2(fitting))))


@lru_cache(maxsize=1024)
def _check(
    dataset: str, num_train: int | None, num_validation: int, batch_size: int, partner: str | None, network: str
) -> None:
    data = load_dataset(dataset)
    config = RunConfig(dataset=dataset, num_train=num_train, num_validation=num_validation)
    size = min(batch_size, len(run_index(config, data, Streams(0))))
    try:
        if partner is not None:
            draw_partner(np.random.default_rng(0), size, partner)
    except ValueError as error:
        raise ValueError(f"`batch_size` must suit the partner law {partner!r}, got {size}: {error}") from None
    if network == "resnet18" and size < 2:
        raise ValueError(
            f"`batch_size` must be at least 2 for 'resnet18', whose statistics are of a batch; got {size}."
        )


def check_runs(configs: Iterable[RunConfig]) -> None:
    """Refuse runs that could not be trained, before any is.

    Args:
        configs: The runs.

    Raises:
        ValueError: If a run asks for more points than its data set has, or for batches that its partner law or its
            network cannot do with.
    """
    for c in configs:
        partner = None if c.method == "erm" else c.partner
        _check(c.dataset, c.num_train, c.num_validation, c.batch_size, partner, c.network)


def form_groups(configs: Iterable[RunConfig]) -> list[list[RunConfig]]:
    """Group runs that are trained in one program; the list alone decides, in its own order.

    Args:
        configs: The runs; one that stands there twice is taken once.

    Returns:
        Lists of configs equal in `shape`, none longer than their `group_size`.
    """
    by_shape: dict[Any, list[RunConfig]] = {}
    for config in dict.fromkeys(configs):
        by_shape.setdefault(config.shape, []).append(config)
    groups = []
    for runs in by_shape.values():
        size = group_size(runs[0])
        groups += [runs[i : i + size] for i in range(0, len(runs), size)]
    return groups


@torch.no_grad()
def train_group(
    configs: Sequence[RunConfig], device: str = "cpu", on_epoch: Callable[[int, int], None] | None = None
) -> list[RunResult]:
    """Train the runs of one group in one program.

    Args:
        configs: Runs equal in `shape`.
        device: `cpu` or a CUDA device.
        on_epoch: Called after each epoch with the epochs done and the epochs in all.

    Returns:
        One result per run, in the order given.

    Raises:
        ValueError: If the runs ask for more training points than there are.
    """
    shared, runs = configs[0], len(configs)
    dtype = getattr(torch, shared.dtype)
    set_precision()

    # Data. The inputs are shared; each run has its own points [R, n] and the labels it is given [R, n].
    data = load_dataset(shared.dataset)
    streams = [Streams(config.seed) for config in configs]
    index = np.stack([run_index(c, data, s) for c, s in zip(configs, streams, strict=True)])
    clean, held_out = data.y_clean[index], validation_index(shared, data)
    given = np.stack([run_labels(c, y, data.num_classes, s) for c, y, s in zip(configs, clean, streams, strict=True)])
    x_train, x_test = _inputs(data, dtype, device)
    smoothing = shared.label_smoothing
    label_rows = (
        torch.eye(data.num_classes, dtype=dtype, device=device) * (1 - smoothing) + smoothing / data.num_classes
    )
    num_train = index.shape[1]
    batch_size = min(shared.batch_size, num_train)
    steps = num_train // batch_size

    batches: Batches | ImageBatches
    if shared.method == "cutmix" or shared.augment != "none":
        batches = ImageBatches(x_train, label_rows, index, given, batch_size, IMAGE_SHAPES[shared.dataset])
    else:
        batches = Batches(x_train, label_rows, index, given, batch_size)

    # Networks and optimiser.
    network = _networks(shared, data, streams, device)
    optimizer = make_optimizer(network, configs)

    def measure() -> tuple[dict[str, NDArray], list[dict[str, float]]]:
        """Return logits [R, n, K] on training points, validation points and test set, and the metrics of each run."""
        every = np.arange(len(x_test))
        logits = {
            "train_logits": _logits(network, x_train, index),
            "validation_logits": _logits(network, x_train, np.broadcast_to(held_out, (runs, len(held_out)))),
            "test_logits": _logits(network, x_test, np.broadcast_to(every, (runs, len(every)))),
        }
        rows = []
        for r, config in enumerate(configs):
            train, validation, test = (array[r] for array in logits.values())
            row = {"batch_loss": float(torch.stack(losses)[:, r].mean()) if losses else math.nan}
            row |= run_metrics(train, given[r], clean[r], test, data.y_test, shared.loss, config.metrics)
            if len(held_out):
                row |= split_metrics("validation", validation, data.y_clean[held_out], shared.loss, config.metrics)
            rows.append(row)
        return logits, rows

    alive, lasted = np.ones(runs, dtype=bool), np.full(runs, shared.epochs)
    history: list[list[dict[str, float]]] = []
    for epoch in range(shared.epochs):
        recorded = shared.history_every > 0 and (epoch + 1) % shared.history_every == 0
        draws = [draw_epoch(c, s, num_train, batch_size, epoch) for c, s in zip(configs, streams, strict=True)]
        drawn = stack_draws(draws, num_train)
        batches.start_epoch(drawn)
        mixes = StateMixes(drawn, dtype, device)
        losses: list[Tensor] = []
        for step in range(steps):
            x, y = batches.mixed(step)  # mixup
            wanted = recorded or epoch == shared.epochs - 1
            loss = network.gradient(x, y, mixes=mixes.at(step), with_loss=wanted, keep=optimizer.keep)
            optimizer.step(lr_factor(shared.lr_schedule, (epoch + step / steps) / shared.epochs))
            losses += [] if loss is None else [loss]
        finite = network.finite()
        lasted[alive & ~finite] = epoch  # epochs that a run went through before it diverged
        alive &= finite
        if recorded:
            history.append([{"epoch": epoch + 1, **row} for row in measure()[1]])
        if on_epoch is not None:
            on_epoch(epoch + 1, shared.epochs)
        if not alive.any():
            break

    logits, final = measure()
    outputs = {**logits, "train_index": index, "train_labels": given}
    results = []
    for r, config in enumerate(configs):
        ok = bool(alive[r]) and math.isfinite(final[r]["train_loss"]) and math.isfinite(final[r]["test_loss"])
        metrics = final[r] if ok else dict.fromkeys(final[r], math.nan)
        row = {**config.as_row(), "status": "ok" if ok else "diverged", **metrics}
        arrays: dict[str, NDArray] = {name: outputs[name][r].copy() for name in config.outputs if name != "weights"}
        if "weights" in config.outputs:
            arrays |= {f"weights.{name}": value for name, value in network.weights(r).items()}
        if not ok:  # when its neighbours let it end decides what is left of it, so nothing is
            arrays = {name: np.full_like(a, math.nan) if a.dtype.kind == "f" else a for name, a in arrays.items()}
        if history:
            own = [rows[r] for rows in history if rows[r]["epoch"] <= lasted[r]]
            arrays |= {f"history_{name}": np.array([row[name] for row in own]) for name in history[0][r]}
        results.append(RunResult(config, row, arrays))
    return results


def _networks(
    shared: RunConfig, data: Dataset, streams: Sequence[Streams], device: str
) -> StackedMLP | SeparateNetworks:
    """Return the networks of the runs, each with its first weights: MLPs stacked, all else one by one."""
    dtype = getattr(torch, shared.dtype)
    module = build_network(shared, data.x_train.shape[1:], data.num_classes)
    weights = [first_weights(module, s.init) for s in streams]
    if shared.network == "mlp":
        return StackedMLP(weights, shared.loss, dtype, device)
    on_gpu = torch.device(device).type == "cuda"
    coarse = shared.precision == "bf16"
    return SeparateNetworks(
        module,
        weights,
        shared.loss,
        dtype,
        device,
        image_shape=IMAGE_SHAPES[shared.dataset],
        bf16=coarse,
        backend="inductor" if coarse and on_gpu else "",
    )


@lru_cache(maxsize=2)
def _inputs(data: Dataset, dtype: torch.dtype, device: str) -> tuple[Tensor, Tensor]:
    """Return training and test inputs as tensors [n, D], kept for the next group."""
    x_train, x_test = (torch.tensor(x, dtype=dtype, device=device).flatten(1) for x in (data.x_train, data.x_test))
    return x_train, x_test


def _logits(network: StackedMLP | SeparateNetworks, x: Tensor, points: NDArray[np.int64]) -> NDArray:
    """Return the logits of each run at its own points [R, n] of the inputs, shape [R, n, K]."""
    where = torch.tensor(points, device=x.device)
    pieces = [network.logits(x[piece]).cpu() for piece in where.split(EVALUATE_ROWS, dim=1)]
    return torch.cat(pieces, dim=1).numpy()
