"""Training with differential privacy (DP-SGD) through opacus: the defence with a proof, to stand beside mixup."""

from __future__ import annotations

import hashlib
import json
import os
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import nn

from .._checks import check_interval, check_positive
from .cache import cache_folder, read_arrays, read_row, write_entry
from .config import RunConfig, run_key
from .datasets import Streams, load_dataset, run_dataset
from .metrics import run_metrics
from .networks import build_network, first_weights, with_weights

__all__ = ["PrivacyBudget", "load_private_network", "private_sweep"]

PRIVATE_VERSION = 1  # raised whenever the same call would give other numbers


@dataclass(frozen=True)
class PrivacyBudget:
    """What DP-SGD may reveal of one training example, and how it is held to that.

    Attributes:
        epsilon: The budget, > 0; the noise is the least that keeps it over all epochs.
        delta: The probability with which it may fail, in (0, 1); well below 1/n.
        max_grad_norm: Length to which the gradient of each example is clipped, > 0.
    """

    epsilon: float
    delta: float = 1e-5
    max_grad_norm: float = 1.0

    def __post_init__(self) -> None:
        check_positive("epsilon", self.epsilon)
        check_interval("delta", self.delta, 0, 1, closed="neither")
        check_positive("max_grad_norm", self.max_grad_norm)


def private_sweep(
    configs: Sequence[RunConfig], budget: PrivacyBudget, cache_dir: str | os.PathLike[str] | None = None
) -> pd.DataFrame:
    """Return one row per run trained with DP-SGD, from the cache where it is there.

    A run has the training points and first weights of the ordinary run of its seed. Batches are Poisson samples of
    mean size `batch_size`, each example's gradient is clipped and Gaussian noise added, from the run's seed (which
    makes it repeatable, and is why these networks are for study and not for release).

    Args:
        configs: Runs of method `erm` with optimiser `sgd` and a constant learning rate.
        budget: Epsilon, delta and the clipping norm.
        cache_dir: Folder of the cache, as for `sweep`.

    Returns:
        The columns of `sweep`, and `epsilon` (spent, by the accountant), `delta`, `max_grad_norm`, `noise_multiplier`.

    Raises:
        ValueError: If a config asks for something that this training would ignore.
        ImportError: If opacus is not installed.
    """
    folder, rows = cache_folder(cache_dir), []
    for config in configs:
        key = _key(config, budget)
        row = read_row(folder, key)
        if row is None:
            row, network = _train(config, budget)
            weights = {f"weights.{name}": value.numpy() for name, value in network.state_dict().items()}
            write_entry(folder, key, config.model_dump() | {"private": asdict(budget)}, row, weights)
        rows.append({**row, "key": key})
    return pd.DataFrame(rows)


def load_private_network(
    config: RunConfig, budget: PrivacyBudget, cache_dir: str | os.PathLike[str] | None = None
) -> nn.Module:
    """Return the network of a run that `private_sweep` has stored.

    Args:
        config: The run.
        budget: Its budget.
        cache_dir: The folder given to `private_sweep`.

    Returns:
        The trained network, an ordinary module.

    Raises:
        KeyError: If the run is not in the cache.
    """
    folder = cache_folder(cache_dir)
    arrays = read_arrays(folder, _key(config, budget))
    if arrays is None:
        raise KeyError(f"No such private run in {folder}: {config!r}. Give it to private_sweep() first.")
    data = load_dataset(config.dataset)
    network = build_network(config, data.x_train.shape[1:], data.num_classes)
    return with_weights(network, {name.removeprefix("weights."): value for name, value in arrays.items()})


def _key(config: RunConfig, budget: PrivacyBudget) -> str:
    plain = {"method": "erm", "optimizer": "sgd", "lr_schedule": "constant", "loss": "cross_entropy"}
    ignored = {"label_noise": 0.0, "label_smoothing": 0.0, "nesterov": False, "history_every": 0}
    for name, wanted in (plain | ignored).items():
        if getattr(config, name) != wanted:
            raise ValueError(f"`{name}` must be {wanted!r} for private training, got {getattr(config, name)!r}.")
    told = [run_key(config, load_dataset(config.dataset).checksum), asdict(budget), PRIVATE_VERSION]
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def _train(config: RunConfig, budget: PrivacyBudget) -> tuple[dict[str, Any], nn.Module]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of packages that opacus imports
            from opacus import PrivacyEngine
    except ImportError as error:
        raise ImportError("Private training needs opacus: pip install 'mixup_theory[audit]'.") from error

    data = run_dataset(config)
    dtype = getattr(torch, config.dtype)
    network = build_network(config, data.x_train.shape[1:], data.num_classes)
    with_weights(network, first_weights(network, Streams(config.seed).init)).train()
    x, y = torch.tensor(data.x_train, dtype=dtype), torch.tensor(data.y_train)
    generator = torch.Generator().manual_seed(config.seed)
    optimizer = torch.optim.SGD(
        network.parameters(), config.learning_rate, momentum=config.momentum, weight_decay=config.weight_decay
    )
    loader = torch.utils.data.DataLoader(
        torch.utils.data.TensorDataset(x, y), batch_size=min(config.batch_size, len(x)), generator=generator
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # said of every run: no cryptographic generator, hooks, the grid of orders
        noise = _noise_multiplier(budget, 1 / len(loader), config.epochs)
        engine = PrivacyEngine(accountant="rdp")
        private, noisy, criterion, batches = engine.make_private(
            module=network,
            optimizer=optimizer,
            criterion=nn.CrossEntropyLoss(),
            data_loader=loader,
            noise_multiplier=noise,
            max_grad_norm=budget.max_grad_norm,
            noise_generator=generator,
            grad_sample_mode="ghost",  # norms without the gradients of single examples: the same step, less memory
        )
        for _ in range(config.epochs):
            for inputs, labels in batches:
                noisy.zero_grad()
                criterion(private(inputs), labels).backward()
                noisy.step()
        spent = engine.get_epsilon(budget.delta)
    trained = build_network(config, data.x_train.shape[1:], data.num_classes)
    with_weights(trained, {k: v.detach().numpy() for k, v in private._module.state_dict().items()})
    row = {**config.as_row(), "status": "ok", **_metrics(config, trained, x, y.numpy(), data.x_test, data.y_test)}
    more = {"epsilon": float(spent), "delta": budget.delta, "max_grad_norm": budget.max_grad_norm}
    return {**row, **more, "noise_multiplier": float(noise)}, trained


@lru_cache(maxsize=64)
def _noise_multiplier(budget: PrivacyBudget, sample_rate: float, epochs: int) -> float:
    from opacus.accountants.utils import get_noise_multiplier

    return get_noise_multiplier(
        target_epsilon=budget.epsilon,
        target_delta=budget.delta,
        sample_rate=sample_rate,
        epochs=epochs,
        accountant="rdp",
    )


@torch.no_grad()
def _metrics(
    config: RunConfig,
    network: nn.Module,
    x: torch.Tensor,
    y: NDArray[np.int64],
    x_test: NDArray[np.floating],
    y_test: NDArray[np.int64],
) -> dict[str, float]:
    train_logits, test_logits = network(x).numpy(), network(torch.tensor(x_test, dtype=x.dtype)).numpy()
    return run_metrics(train_logits, y, y, test_logits, y_test, config.loss, config.metrics)
