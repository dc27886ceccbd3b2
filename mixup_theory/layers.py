r"""A ReLU perceptron, given as a torch module or as weights, read as a list of affine layers in float64."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._checks import check_array

if TYPE_CHECKING:
    from torch import nn

__all__ = ["Layer", "network_layers"]


@dataclass(frozen=True)
class Layer:
    r"""An affine map and the activation after it: :math:`h \mapsto \phi(W h + b)`.

    Attributes:
        weight: W, shape [n_out, n_in], float64.
        bias: b, shape [n_out], float64.
        slope: :math:`\phi(z)=z` for z > 0 and slope * z otherwise: 0 is ReLU, 1 is no activation.
    """

    weight: NDArray[np.float64]
    bias: NDArray[np.float64]
    slope: float


Network: TypeAlias = "nn.Module | Sequence[tuple[ArrayLike, ArrayLike | None]] | Sequence[Layer]"


def network_layers(network: Network, slope: float = 0.0) -> list[Layer]:
    """Write a ReLU or leaky-ReLU perceptron as affine layers in float64.

    Args:
        network: A `torch.nn.Sequential` of Linear, ReLU, LeakyReLU, Flatten, Identity (nested Sequentials too;
            BatchNorm1d and Dropout in eval mode, where they are affine), or a list of pairs (W, b) with W of
            shape [n_out, n_in] and b of shape [n_out] or None. A list has an activation between its layers and
            none after the last.
        slope: Slope of the activation for negative inputs, for a list only: 0 is ReLU.

    Returns:
        The layers, in order.

    Raises:
        ValueError: If the network is not piecewise linear, or its shapes do not fit.

    Example:
        >>> [layer.slope for layer in network_layers([([[1.0]], [0.0]), ([[2.0]], None)])]
        [0.0, 1.0]
    """
    if isinstance(network, list | tuple):
        steps: list[Any] = list(network)
        if not steps:
            raise ValueError("`network` must have at least one layer, got an empty list.")
        if not all(isinstance(step, Layer) for step in steps):
            steps = _layers_from_pairs(steps, float(check_array("slope", slope, 0)))
    else:
        steps = _layers_from_torch(network)
    for first, second in pairwise(steps):
        if first.weight.shape[0] != second.weight.shape[1]:
            raise ValueError(
                f"`network` must have layers that fit, got {first.weight.shape[0]} outputs "
                f"before {second.weight.shape[1]} inputs."
            )
    return steps


def _layers_from_pairs(pairs: Sequence[Any], slope: float) -> list[Layer]:
    """Check a list of (W, b): an activation between the layers, none after the last."""
    layers = []
    for number, pair in enumerate(pairs, start=1):
        if not isinstance(pair, list | tuple) or len(pair) != 2:
            raise ValueError(f"`network` must be a list of pairs (W, b), got {type(pair).__name__}.")
        weight = check_array("W", pair[0], 2)
        bias = np.zeros(len(weight)) if pair[1] is None else check_array("b", pair[1], 1)
        if bias.shape != weight.shape[:1]:
            raise ValueError(f"`b` must have shape {weight.shape[:1]} as W has, got {bias.shape}.")
        layers.append(Layer(weight, bias, 1.0 if number == len(pairs) else slope))
    return layers


def _not_piecewise_linear(what: str) -> ValueError:
    return ValueError(
        "`network` must be piecewise linear: a Sequential of Linear, ReLU, LeakyReLU, Flatten, Identity "
        f"(BatchNorm1d and Dropout in eval mode), got {what}. For a smooth network use smooth_penalty."
    )


def _layers_from_torch(network: Any) -> list[Layer]:
    """Read a Sequential: activations attach to the affine map before them."""
    from torch import nn

    layers: list[Layer] = []
    for module in _flat_modules(network):
        name = type(module).__name__
        if isinstance(module, nn.ReLU | nn.LeakyReLU):
            if not layers:
                raise _not_piecewise_linear(f"{name} before any Linear")
            previous = layers.pop()
            slope = float(getattr(module, "negative_slope", 0.0))
            if previous.slope != 1.0:  # two activations in a row: an identity map between them
                layers.append(previous)
                previous = Layer(np.eye(len(previous.bias)), np.zeros(len(previous.bias)), 1.0)
            layers.append(Layer(previous.weight, previous.bias, slope))
        elif isinstance(module, nn.Linear):
            bias = np.zeros(module.out_features) if module.bias is None else _numpy(module.bias)
            layers.append(Layer(_numpy(module.weight), bias, 1.0))
        elif isinstance(module, nn.BatchNorm1d) and not module.training and module.running_var is not None:
            scale = 1 / np.sqrt(_numpy(module.running_var) + module.eps)
            scale = scale if module.weight is None else scale * _numpy(module.weight)
            shift = -scale * _numpy(module.running_mean)
            shift = shift if module.bias is None else shift + _numpy(module.bias)
            layers.append(Layer(np.diag(scale), shift, 1.0))
        elif isinstance(module, nn.Flatten | nn.Identity) or (isinstance(module, nn.Dropout) and not module.training):
            continue
        else:
            mode = " in train mode (call network.eval() first)"
            moody = isinstance(module, nn.modules.batchnorm._BatchNorm | nn.modules.dropout._DropoutNd)
            raise _not_piecewise_linear(name + (mode if moody and module.training else ""))
    if not layers:
        raise _not_piecewise_linear("no Linear layer")
    return layers


def _flat_modules(network: Any) -> Iterator[Any]:
    from torch import nn

    if isinstance(network, nn.Sequential) and type(network).forward is nn.Sequential.forward:
        for module in network:
            yield from _flat_modules(module)
    elif isinstance(network, nn.Module):
        yield network
    else:
        raise _not_piecewise_linear(type(network).__name__)


def _numpy(tensor: Any) -> NDArray[np.float64]:
    return tensor.detach().double().cpu().numpy()
