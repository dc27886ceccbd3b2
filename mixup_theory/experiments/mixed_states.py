"""What a network says of mixtures of its states: the low-confidence room between classes, the loss over all pairs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from .._checks import check_alpha, check_choice, check_integer, check_interval
from ..quadrature import gauss_rule
from .networks import stages

__all__ = ["Estimate", "head_above", "low_confidence_share", "mixed_state_loss"]

Head = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Estimate:
    """A Monte Carlo mean and its standard error."""

    value: float
    standard_error: float


def head_above(network: nn.Module, state: int) -> nn.Sequential:
    """Return the part of a network above one of its hidden states.

    Args:
        network: A network of `build_network` or `sweep.load_network`.
        state: 0 for the input, k for what comes out of hidden layer or block k, as in `mix_layers`.

    Returns:
        A module that takes that state to the logits; it shares the weights of the network.

    Raises:
        ValueError: If the network has no such hidden state.

    Example:
        >>> head_above(nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)), 1)(torch.zeros(5, 3)).shape
        torch.Size([5, 2])
    """
    parts = stages(network)
    state = check_integer("state", state, 0)
    if state >= len(parts):
        raise ValueError(f"`state` must be at most {len(parts) - 1} for this network, got {state}.")
    return nn.Sequential(*parts[state:])


@torch.no_grad()
def low_confidence_share(
    head: Head,
    states: Tensor,
    labels: ArrayLike,
    rng: np.random.Generator,
    *,
    level: float = 0.9,
    num_pairs: int = 1000,
    num_points: int = 20,
) -> Estimate:
    r"""Estimate the share of low-confidence volume between classes.

    .. math:: P\bigl(\max_k p_k(\lambda h_i+(1-\lambda)h_j)<\mathrm{level}\bigr),\qquad \lambda\sim U(0,1),

    over pairs (i, j) of different classes, p the softmax of `head`. The points of a segment are the midpoints of
    `num_points` equal pieces. A network that gives every point of a segment its mixed label has the share
    :math:`2\,\mathrm{level}-1` (level >= 1/2).

    Args:
        head: The part of a network above the states, to logits [n, K].
        states: Inputs or hidden states, shape [n, ...].
        labels: Whole numbers, shape [n], at least two classes.
        rng: Draws the pairs, uniformly among those of different classes.
        level: Confidence below which a point counts, in (0, 1).
        num_pairs: Segments, >= 2.
        num_points: Points on each, >= 1.

    Returns:
        The share, and its standard error over pairs.

    Raises:
        ValueError: If an argument is out of range, or there is one class only.

    References:
        Verma et al. 2019, section 2 (broader regions of low confidence).
    """
    check_interval("level", level, 0, 1, closed="neither")
    num_pairs, num_points = check_integer("num_pairs", num_pairs, 2), check_integer("num_points", num_points, 1)
    given = np.asarray(labels)
    if given.shape != (len(states),) or len(np.unique(given)) < 2:
        raise ValueError(f"`labels` must be {len(states)} labels of at least two classes, got shape {given.shape}.")
    first, second = np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)
    while len(first) < num_pairs:  # rejection: uniform over the pairs of different classes
        pair = rng.integers(0, len(given), (2, num_pairs))
        pair = pair[:, given[pair[0]] != given[pair[1]]]
        first, second = np.append(first, pair[0])[:num_pairs], np.append(second, pair[1])[:num_pairs]
    ends = states[torch.from_numpy(first)], states[torch.from_numpy(second)]
    low = np.zeros(num_pairs)
    for lam in (np.arange(num_points) + 0.5) / num_points:
        logits = head(torch.lerp(ends[1], ends[0], float(lam))).double()
        low += (torch.softmax(logits, dim=1).amax(dim=1) < level).cpu().numpy()
    low /= num_points
    return Estimate(float(low.mean()), float(low.std(ddof=1) / np.sqrt(num_pairs)))


@torch.no_grad()
def mixed_state_loss(
    head: Head, states: Tensor, labels: ArrayLike, alpha: float, loss: str = "cross_entropy", num_nodes: int = 24
) -> float:
    r"""Return the mean loss on mixed states over all ordered pairs, a point paired with itself included.

    The loss that training estimates with `partner="independent"` where these states are mixed: quadrature over
    lam, nothing random.

    Args:
        head: The part of a network above the states, to outputs [n, K].
        states: Inputs or hidden states, shape [n, ...].
        labels: Labels 0..K-1, shape [n].
        alpha: Beta concentration in [0, inf].
        loss: `cross_entropy`, or `squared_error` (half the squared distance to the mixed label row).
        num_nodes: Nodes of the Gauss rule for lam.

    Returns:
        The loss; for `squared_error` below an affine head exact, else to the error of the rule.

    Raises:
        ValueError: If an argument is out of range.

    References:
        theory A.2, F.11.
    """
    check_alpha(alpha)
    check_choice("loss", loss, ("cross_entropy", "squared_error"))
    given = torch.as_tensor(np.asarray(labels))
    first, second = (axis.ravel() for axis in torch.meshgrid(*[torch.arange(len(given))] * 2, indexing="ij"))
    total = 0.0
    for lam, weight in zip(*gauss_rule(num_nodes, alpha), strict=True):
        outputs = head(torch.lerp(states[second], states[first], float(lam))).double()
        rows = torch.eye(outputs.shape[1], dtype=torch.float64)
        target = lam * rows[given[first]] + (1 - lam) * rows[given[second]]
        if loss == "cross_entropy":
            losses = -(target * torch.log_softmax(outputs, dim=1)).sum(dim=1)
        else:
            losses = (target - outputs).square().sum(dim=1) / 2
        total += float(weight * losses.mean())
    return total
