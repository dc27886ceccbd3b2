"""The networks, as ordinary torch modules, and the first weights of a run drawn from its own generator."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from .config import RunConfig

__all__ = ["build_network", "first_weights", "mlp", "with_weights"]


def mlp(in_features: int, hidden: tuple[int, ...], num_classes: int) -> nn.Sequential:
    """Return linear layers with a ReLU between each two.

    Args:
        in_features: Length of an input.
        hidden: Widths of the hidden layers; empty gives one linear layer.
        num_classes: Length of the output, the logits.

    Returns:
        The network, float32, its weights not yet set to anything in particular.

    Example:
        >>> [type(layer).__name__ for layer in mlp(64, (32,), 10)]
        ['Linear', 'ReLU', 'Linear']
    """
    widths = (in_features, *hidden, num_classes)
    layers: list[nn.Module] = []
    for fan_in, fan_out in itertools.pairwise(widths):
        layers += [nn.Linear(fan_in, fan_out), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def build_network(config: RunConfig, in_shape: tuple[int, ...], num_classes: int) -> nn.Module:
    """Return the network that a config names.

    Args:
        config: The run.
        in_shape: Shape of one input.
        num_classes: Number of classes.

    Returns:
        A module that takes a batch [n, *in_shape] to logits [n, num_classes], in the precision of the run.
    """
    return mlp(math.prod(in_shape), config.hidden, num_classes).to(getattr(torch, config.dtype))


def first_weights(network: nn.Module, rng: np.random.Generator) -> dict[str, NDArray[np.float64]]:
    """Draw first weights with the law PyTorch uses: uniform within 1/sqrt(fan in), weights and biases alike.

    Args:
        network: Gives names, shapes and order.
        rng: Generator of the run; the draws depend on nothing else.

    Returns:
        One float64 array per parameter name.
    """
    weights, bound = {}, 0.0
    for name, value in network.named_parameters():
        if value.ndim > 1:  # a weight; the bias that follows shares its fan in
            bound = 1 / math.sqrt(value[0].numel())
        weights[name] = rng.uniform(-bound, bound, tuple(value.shape))
    return weights


def with_weights(network: nn.Module, weights: Mapping[str, NDArray]) -> nn.Module:
    """Put stored weights into a network.

    Args:
        network: The network to fill, changed in place.
        weights: One array per parameter name.

    Returns:
        The same network.

    Raises:
        RuntimeError: If a name or shape does not fit.
    """
    network.load_state_dict({name: torch.as_tensor(value) for name, value in weights.items()})
    return network
