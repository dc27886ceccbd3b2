"""SGD and AdamW as PyTorch defines them, for many runs at once on flat buffers, and the learning-rate schedules."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol

import torch

from .config import RunConfig

__all__ = ["SGD", "AdamW", "lr_factor", "make_optimizer"]


def lr_factor(schedule: str, progress: float) -> float:
    """Return the factor on the base learning rate.

    Args:
        schedule: `constant`; `cosine` (from 1 to 0); `step` (1, 1/10 from 1/2 on, 1/100 from 3/4 on); `one-cycle`
            (straight up from 1/25 to 1 over the first 30 %, then a half cosine to 0).
        progress: Steps done over steps in all, in [0, 1).

    Returns:
        The factor in [0, 1].

    Example:
        >>> [lr_factor("step", p) for p in (0.0, 0.5, 0.75)]
        [1.0, 0.1, 0.01]
    """
    if schedule == "cosine":
        return 0.5 * (1 + math.cos(math.pi * progress))
    if schedule == "step":
        return 1.0 if progress < 0.5 else 0.1 if progress < 0.75 else 0.01
    if schedule == "one-cycle":
        if progress < 0.3:
            return 0.04 + 0.96 * progress / 0.3
        return 0.5 * (1 + math.cos(math.pi * (progress - 0.3) / 0.7))
    return 1.0


class Parameters(Protocol):
    """What an optimiser asks of the networks of R runs."""

    params: torch.Tensor
    grads: torch.Tensor

    def per_run(self, values: Sequence[float]) -> torch.Tensor:
        """Return a buffer like `params` that holds the value of each parameter's run."""


class Optimizer(Protocol):
    """What training asks of an optimiser."""

    keep: float  # the factor on the old content of `grads` with which the next gradient is asked for

    def step(self, factor: float) -> None:
        """Change the parameters by the gradients, the learning rates scaled by `factor`."""


def _per_run(network: Parameters, values: Sequence[float]) -> torch.Tensor:
    """Return a number per run, laid out like the parameters, or one for all runs that share it.

    The arithmetic of a run is the same in both forms, so that its result does not depend on its neighbours' numbers.
    """
    return network.per_run(values) if len(set(values)) > 1 else network.params.new_tensor(values[:1])


class SGD:
    """Stochastic gradient descent with momentum, as torch.optim.SGD; rates and decays differ between runs.

    Without Nesterov's look-ahead the gradients are summed up where they arise: `grads` is the momentum buffer.
    """

    def __init__(self, network: Parameters, configs: Sequence[RunConfig]) -> None:
        self.params, self.grads = network.params, network.grads
        self.momentum = configs[0].momentum
        self.buffer = torch.zeros_like(self.params) if configs[0].nesterov else None
        self.keep = 0.0 if configs[0].nesterov else self.momentum
        self.rate = _per_run(network, [config.learning_rate for config in configs])
        decays = [config.weight_decay for config in configs]
        self.decay = _per_run(network, decays) if any(decays) else None

    @torch.no_grad()
    def step(self, factor: float) -> None:
        """Take one step; `grads` belongs to the optimiser from the first one on."""
        if self.decay is not None:
            self.grads.addcmul_(self.params, self.decay)
        if self.buffer is not None:
            self.buffer.mul_(self.momentum).add_(self.grads)
            self.grads.add_(self.buffer, alpha=self.momentum)
        self.params.addcmul_(self.grads, self.rate, value=-factor)


class AdamW:
    """Adam with decoupled weight decay, as torch.optim.AdamW; rates and decays differ between runs."""

    keep = 0.0

    def __init__(self, network: Parameters, configs: Sequence[RunConfig]) -> None:
        self.params, self.grads = network.params, network.grads
        self.first, self.second = torch.zeros_like(self.params), torch.zeros_like(self.params)
        self.rate = _per_run(network, [config.learning_rate for config in configs])
        shrinks = [config.learning_rate * config.weight_decay for config in configs]
        self.shrink = _per_run(network, shrinks) if any(shrinks) else None
        self.count = 0
        self.scratch = torch.empty_like(self.params)

    @torch.no_grad()
    def step(self, factor: float, beta1: float = 0.9, beta2: float = 0.999, eps: float = 1e-8) -> None:
        """Take one step; `grads` is used up."""
        self.count += 1
        if self.shrink is not None:
            self.params.addcmul_(self.params, self.shrink, value=-factor)
        self.first.lerp_(self.grads, 1 - beta1)
        self.second.mul_(beta2).addcmul_(self.grads, self.grads, value=1 - beta2)
        torch.sqrt(self.second, out=self.scratch)
        self.scratch.div_(math.sqrt(1 - beta2**self.count)).add_(eps)
        torch.div(self.first, self.scratch, out=self.grads)
        self.params.addcmul_(self.grads, self.rate, value=-factor / (1 - beta1**self.count))


def make_optimizer(network: Parameters, configs: Sequence[RunConfig]) -> Optimizer:
    """Return the optimiser that the configs share, with the rate and decay of each.

    Args:
        network: The networks.
        configs: One per run, equal in `shape`.

    Returns:
        An object whose `step(factor)` changes the parameters.
    """
    return SGD(network, configs) if configs[0].optimizer == "sgd" else AdamW(network, configs)
