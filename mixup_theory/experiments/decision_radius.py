"""Where a trained network decides on concentric circles: the radius of the flip, averaged over angles."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .._checks import check_integer, check_interval

if TYPE_CHECKING:
    import torch

__all__ = ["decision_radii", "mean_decision_radius"]


def decision_radii(
    network: torch.nn.Module, inner: float, outer: float, *, num_angles: int = 180, num_steps: int = 400
) -> NDArray[np.float64]:
    """Radius at which a two-class network flips from 0 to 1 along each ray from `inner` to `outer`.

    The first crossing of equal logits, interpolated between the grid points beside it; rays on which the network
    never flips get an end of the range (`outer` where it always says 0, `inner` where it starts with 1).

    Args:
        network: Takes points [n, 2], returns logits [n, 2].
        inner: Smallest radius looked at, >= 0.
        outer: Largest radius looked at.
        num_angles: Rays, evenly spaced.
        num_steps: Points on each ray.

    Returns:
        Radii, shape [num_angles].

    Raises:
        ValueError: If the range is empty.

    Example:
        >>> import torch
        >>> flip = lambda x: torch.stack([0 * x[:, 0], x.norm(dim=1) - 0.7], dim=1)
        >>> decision_radii(flip, 0.3, 1.2, num_angles=8).round(6).tolist()
        [0.7, 0.7, 0.7, 0.7, 0.7, 0.7, 0.7, 0.7]
    """
    import torch

    check_interval("inner", inner, 0, outer, closed="left")
    num_angles, num_steps = check_integer("num_angles", num_angles, 1), check_integer("num_steps", num_steps, 2)
    angle = 2 * np.pi * np.arange(num_angles) / num_angles
    radius = np.linspace(inner, outer, num_steps)
    rays = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    points = (radius[None, :, None] * rays[:, None, :]).reshape(-1, 2)
    parameters = list(network.parameters()) if isinstance(network, torch.nn.Module) else []
    dtype = parameters[0].dtype if parameters else torch.float64
    with torch.no_grad():
        logits = network(torch.as_tensor(points, dtype=dtype)).double().numpy()
    margin = (logits[:, 1] - logits[:, 0]).reshape(num_angles, num_steps)
    says_outer = margin > 0
    first = np.argmax(says_outer, axis=1)
    rows = np.arange(num_angles)
    before = np.maximum(first - 1, 0)
    low, high = margin[rows, before], margin[rows, first]
    with np.errstate(invalid="ignore", divide="ignore"):
        crossing = radius[before] + (radius[first] - radius[before]) * (-low) / (high - low)
    never = ~says_outer.any(axis=1)
    return np.where(never, outer, np.where(first == 0, inner, crossing))


def mean_decision_radius(network: torch.nn.Module, inner: float, outer: float, **grid: int) -> float:
    """Average of `decision_radii` over the angles.

    Args:
        network: Takes points [n, 2], returns logits [n, 2].
        inner: Smallest radius looked at.
        outer: Largest radius looked at.
        **grid: `num_angles` and `num_steps`.

    Returns:
        The mean radius.
    """
    return float(decision_radii(network, inner, outer, **grid).mean())
