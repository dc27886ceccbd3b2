"""The networks, as ordinary torch modules, and the first weights of a run drawn from its own generator."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from .config import RunConfig

__all__ = ["build_network", "first_weights", "hidden_states", "mlp", "stages", "with_weights"]


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
    if config.network != "mlp" or config.method == "cutmix" or config.augment != "none":
        raise NotImplementedError("cnn, resnet18, cutmix and augmentation come with the next commit")
    return mlp(math.prod(in_shape), config.hidden, num_classes).to(getattr(torch, config.dtype))


def stages(network: nn.Module) -> list[nn.Sequential]:
    """Return the parts between the hidden states: part k takes state k - 1 to state k, the last one to the logits.

    Args:
        network: A network of `build_network`.

    Returns:
        Modules that share the weights of the network.
    """
    parts = list(network.children())
    if not any(isinstance(part, nn.ReLU) for part in parts):
        return [nn.Sequential(part) for part in parts]
    return [nn.Sequential(*parts[k : k + 2]) for k in range(0, len(parts), 2)]  # an MLP: linear layer and its ReLU


def hidden_states(network: nn.Module, x: Tensor) -> dict[str, Tensor]:
    """Return what the network computes on the way, in order.

    Args:
        network: A network of `build_network` or `sweep.load_network`.
        x: A batch of inputs, shape [n, ...].

    Returns:
        `input`, `hidden1`, `hidden2`, ... (after the ReLU, the block or the stage; the numbers of `mix_layers`) and
        `logits`. Gradients flow where autograd is on.

    Example:
        >>> states = hidden_states(mlp(64, (32, 16), 10), torch.zeros(5, 64))
        >>> {name: tuple(state.shape) for name, state in states.items()}
        {'input': (5, 64), 'hidden1': (5, 32), 'hidden2': (5, 16), 'logits': (5, 10)}
    """
    parts = stages(network)
    states = {"input": x}
    for k, part in enumerate(parts, 1):
        x = part(x)
        states[f"hidden{k}" if k < len(parts) else "logits"] = x
    return states


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
