"""Inside a run: its first weights, the config whose end is its middle, and the gradient noise there."""

from __future__ import annotations

import os

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from .._checks import check_choice, check_integer
from ..annealing import Schedule
from ..mixing import one_hot
from ..network_gradients import GradientNoise, erm_gradient_noise, mixup_gradient_noise
from .config import RunConfig
from .datasets import Streams, load_dataset, run_dataset
from .in_process import resolve_device
from .networks import build_network, first_weights
from .sweep import load_network

__all__ = ["gradient_noise_at_end", "initial_weights", "last_alpha", "stopped_at"]

EXACT_NUMBERS = 2 * 10**7  # examples times parameters up to which the noise of plain batches is computed exactly


def stopped_at(config: RunConfig, epochs: int) -> RunConfig:
    """Return the config that is the given run stopped after fewer epochs, number for number.

    A run draws its data, order and mixing epoch by epoch, and a schedule of alpha knows its own length: only a
    schedule of the learning rate would see that the run is shorter.

    Args:
        config: A run with a constant learning rate.
        epochs: Epochs after which to stop, from 1 to `config.epochs`.

    Returns:
        The config of the shorter run.

    Raises:
        ValueError: If the learning rate is not constant or `epochs` is out of range.

    Example:
        >>> run = RunConfig(method="mixup", alpha=Schedule("linear", 1.0, total=20), epochs=20)
        >>> early = stopped_at(run, 5)
        >>> early.epochs, early.alpha.total
        (5, 20.0)
    """
    check_choice("lr_schedule", config.lr_schedule, ("constant",))
    if check_integer("epochs", epochs, 1) > config.epochs:
        raise ValueError(f"`epochs` must be at most the {config.epochs} of the run, got {epochs}.")
    return config.replace(epochs=epochs)


def initial_weights(config: RunConfig) -> dict[str, NDArray[np.float64]]:
    """Return the weights that a run starts with, those at epoch 0.

    Args:
        config: The run.

    Returns:
        One array per parameter name, before they are rounded to the precision of the run.

    Example:
        >>> {name: value.shape for name, value in initial_weights(RunConfig(hidden=())).items()}
        {'0.weight': (10, 64), '0.bias': (10,)}
    """
    data = load_dataset(config.dataset)
    network = build_network(config, data.x_train.shape[1:], data.num_classes)
    return first_weights(network, Streams(config.seed).init)


def last_alpha(config: RunConfig) -> float:
    """Return the concentration of the batch that would come next after the end of a run.

    Args:
        config: The run.

    Returns:
        alpha at `config.epochs`; 0 where no batch is mixed any more.

    Raises:
        ValueError: If batches are mixed with a probability between 0 and 1 there.

    Example:
        >>> last_alpha(RunConfig(method="mixup", alpha=Schedule("linear", 1.0, total=20), epochs=5))
        0.75
    """
    if not isinstance(config.alpha, Schedule):
        return float(config.alpha)
    probability = float(config.alpha.probability(config.epochs))
    if 0 < probability < 1:
        raise ValueError(
            f"`config` must mix all batches or none at its end, got a schedule {config.alpha.kind!r} that mixes a "
            f"share {probability:g} at epoch {config.epochs}."
        )
    return float(config.alpha.alpha(config.epochs)) if probability else 0.0


def gradient_noise_at_end(
    config: RunConfig,
    cache_dir: str | os.PathLike[str] | None,
    rng: np.random.Generator,
    *,
    num_batches: int = 100,
    chunk_size: int = 25,
    device: str = "auto",
) -> GradientNoise:
    """Mean and noise of the batch gradient that a run would take its next step with.

    The network is the trained one, the batches are drawn with replacement from the run's training points and mixed
    as the run mixes, at `last_alpha`. At alpha 0 the noise of a small network is exact, without standard error.
    Weight decay (it has no noise) and augmentation are left out; batch normalisation stands still, as in evaluation.

    Args:
        config: A run of method `erm` or `mixup` whose `outputs` hold `weights`; soft labels without smoothing.
        cache_dir: The folder given to `sweep`.
        rng: Source of the batches and the mixing.
        num_batches: Batches the noise is estimated from, >= 3.
        chunk_size: Batches (at alpha 0: examples) at a time.
        device: `cpu`, `cuda`, or `auto`: on a GPU where there is one.

    Returns:
        The noise of the gradient of the mean loss of a batch.

    Raises:
        KeyError: If the run is not in the cache, or was stored without weights.
        ValueError: If the run mixes otherwise, or see `last_alpha`.

    References:
        theory C.6.
    """
    check_choice("method", config.method, ("erm", "mixup"))
    check_choice("label_mixing", config.label_mixing, ("soft",))
    if config.label_smoothing:
        raise ValueError(f"`label_smoothing` must be 0, got {config.label_smoothing:g}.")
    alpha = last_alpha(config)
    device = resolve_device(device)
    network = load_network(config, cache_dir).to(device).eval()
    data = run_dataset(config)
    dtype = getattr(torch, config.dtype)
    x = torch.as_tensor(data.x_train, dtype=dtype, device=device)
    x = x.flatten(1) if config.network == "mlp" else x
    y = one_hot(torch.as_tensor(data.y_train, device=device), data.num_classes, x)
    size = min(config.batch_size, len(x))

    def loss(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        if config.loss == "squared_error":
            return (outputs - targets).square().sum(dim=-1).mean() / 2
        return F.cross_entropy(outputs, targets)

    if alpha == 0 and len(x) * sum(p.numel() for p in network.parameters()) <= EXACT_NUMBERS:
        return erm_gradient_noise(network, loss, x, y, batch_size=size, chunk_size=chunk_size)
    return mixup_gradient_noise(
        network,
        loss,
        x,
        y,
        alpha,
        rng,
        batch_size=size,
        num_batches=num_batches,
        partner=config.partner,
        lam_per=config.lam_per,
        lam_max=config.lam_max,
        chunk_size=chunk_size,
    )
