"""The networks, as ordinary torch modules, and the first weights of a run drawn from its own generator."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from .config import IMAGE_SHAPES, RunConfig
from .image_networks import cnn, resnet18

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
    if config.network == "cnn":
        network = cnn(IMAGE_SHAPES[config.dataset], config.hidden, num_classes)
    elif config.network == "resnet18":
        network = resnet18(IMAGE_SHAPES[config.dataset], config.hidden[0], num_classes)
    else:
        network = mlp(math.prod(in_shape), config.hidden, num_classes)
    return network.to(getattr(torch, config.dtype))


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


def first_weights(network: nn.Module, rng: np.random.Generator) -> dict[str, NDArray]:
    """Draw first weights with the law PyTorch uses.

    Linear layers and convolutions: uniform within 1/sqrt(fan in), weights and biases alike. Batch normalisation: 1 and
    0, its running mean and variance 0 and 1.

    Args:
        network: Gives names, shapes and order.
        rng: Generator of the run; the draws depend on nothing else.

    Returns:
        One array per name of the state, in float64 but for the counters of batch normalisation.
    """
    weights: dict[str, NDArray] = {}
    for prefix, module in network.named_modules():
        own = {f"{prefix}.{name}" if prefix else name: v for name, v in module.named_parameters(recurse=False)}
        if isinstance(module, nn.BatchNorm2d):
            state = {"weight": 1.0, "bias": 0.0, "running_mean": 0.0, "running_var": 1.0}
            weights |= {f"{prefix}.{name}": np.full(module.num_features, value) for name, value in state.items()}
            weights[f"{prefix}.num_batches_tracked"] = np.array(0)
        elif own:
            bound = 1 / math.sqrt(next(iter(own.values()))[0].numel())  # the bias shares the fan in of the weight
            weights |= {name: rng.uniform(-bound, bound, tuple(value.shape)) for name, value in own.items()}
    return weights


def with_weights(network: nn.Module, weights: Mapping[str, NDArray]) -> nn.Module:
    """Put stored weights into a network, and set it to evaluation.

    Args:
        network: The network to fill, changed in place.
        weights: One array per name of the state: the parameters, and what batch normalisation has counted.

    Returns:
        The same network.

    Raises:
        RuntimeError: If a name or shape does not fit.
    """
    network.load_state_dict({name: torch.as_tensor(value) for name, value in weights.items()})
    return network.eval()
