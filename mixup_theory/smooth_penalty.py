r"""The interpolation penalty of a smooth network: Gauss quadrature with an error bound that holds for any alpha."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._checks import as_result, check_choice, check_integer, check_one_alpha, check_positive
from .cross_entropy import cross_entropy
from .moments import Result
from .quadrature import expect
from .segments import CHUNK_ENTRIES, segment_labels

__all__ = ["gauss_error_bound", "smooth_penalty"]


def gauss_error_bound(maximum: ArrayLike, rho: ArrayLike, num_nodes: int) -> Result:
    r"""Error bound of the n-node Gauss rule for any Beta(alpha, alpha): :math:`4M\rho^{1-2n}/(\rho-1)`.

    Assumptions:
        The integrand, as a function of u = 2 lam - 1, is analytic with modulus at most M inside the Bernstein
        ellipse of parameter rho (foci -1 and 1, half-axes summing to rho). Best polynomial approximation of degree
        2n - 1 then errs by :math:`2M\rho^{1-2n}/(\rho-1)`, and the rule is exact for it.

    Args:
        maximum: M >= 0.
        rho: Ellipse parameter > 1.
        num_nodes: Number of nodes n >= 1.

    Returns:
        The bound, independent of alpha.

    Raises:
        ValueError: If an argument is out of range.

    References:
        theory D.5.

    Example:
        >>> gauss_error_bound(1.0, 2.0, 10)
        7.62939453125e-06
    """
    size, rho = check_positive("maximum", maximum, zero=True), check_positive("rho", rho)
    if np.any(rho <= 1):
        raise ValueError(f"`rho` must be > 1, got {np.min(rho):g}. 1 is the segment itself.")
    return as_result(4 * size * rho ** (1.0 - 2 * check_integer("num_nodes", num_nodes, 1)) / (rho - 1))


def smooth_penalty(
    network: Any,
    xi: ArrayLike,
    xj: ArrayLike,
    yi: ArrayLike,
    yj: ArrayLike,
    alpha: float,
    *,
    loss: str = "squared",
    num_nodes: int = 64,
) -> NDArray[np.float64]:
    r"""Mixup loss on segments, :math:`E\,\ell(f(\tilde x),\tilde y)`, of a smooth network by a Gauss rule.

    For an analytic network the error falls as :math:`\rho^{-2n}` (`gauss_error_bound`); for one with kinks only as
    :math:`n^{-2}`: use `squared_penalty` or `cross_entropy_penalty` there. The ends are peeled for alpha < 1.

    Args:
        network: A torch module (in eval mode if it has BatchNorm or Dropout) or a function from inputs
            [n, ...] to outputs [n, num_outputs], both numpy.
        xi: Inputs at lam = 1, shape [S, ...], numpy or torch.
        xj: Inputs at lam = 0, same shape.
        yi: Labels at lam = 1: a number, [S] for one output, or [S, num_outputs].
        yj: Labels at lam = 0.
        alpha: Concentration in [0, inf].
        loss: "squared" (summed over outputs) or "cross_entropy" (outputs are logits; one output is binary).
        num_nodes: Nodes of the rule; compare with twice as many to see the error.

    Returns:
        The penalties, shape [S].

    Raises:
        ValueError: If shapes or alpha are wrong, or the network has layers in train mode.

    References:
        theory D.2, D.5, A.2.

    Example:
        >>> smooth_penalty(lambda x: x**2, [[1.0]], [[-1.0]], 1.0, 1.0, 1.0).round(6).tolist()  # 16 E p^2
        [0.533333]
    """
    alpha, loss = check_one_alpha(alpha), check_choice("loss", loss, ("squared", "cross_entropy"))
    forward = _forward(network)
    first, second = (np.asarray(x.detach().cpu() if hasattr(x, "detach") else x, dtype=float) for x in (xi, xj))
    if first.ndim < 2 or first.shape != second.shape or first.size == 0:
        raise ValueError(
            f"`xi` and `xj` must have one shape [segments, features], got {first.shape} and {second.shape}."
        )
    if not (np.isfinite(first).all() and np.isfinite(second).all()):
        raise ValueError("`xi` and `xj` must be finite, got NaN or infinity.")
    outputs = forward(first[:1]).shape[1]
    label_i, label_j = (segment_labels(name, y, len(first), outputs) for name, y in (("yi", yi), ("yj", yj)))
    found = []
    group = max(1, CHUNK_ENTRIES // (num_nodes * first[0].size))
    for start in range(0, len(first), group):
        part = slice(start, start + group)

        def losses(t: NDArray, part: slice = part) -> NDArray:
            weight = t.reshape(-1, *[1] * first.ndim)
            points = weight * first[part] + (1 - weight) * second[part]
            values = forward(points.reshape(-1, *first.shape[1:])).reshape(len(t), -1, outputs)
            labels = t[:, None, None] * label_i[part] + (1 - t[:, None, None]) * label_j[part]
            return ((values - labels) ** 2).sum(axis=2) if loss == "squared" else cross_entropy(values, labels)

        found.append(np.asarray(expect(losses, alpha, num_nodes)))
    return np.concatenate(found)


def _forward(network: Any) -> Callable[[NDArray], NDArray]:
    """Evaluate a network on numpy inputs, giving [n, num_outputs] in float64."""

    def checked(values: Any, n: int) -> NDArray[np.float64]:
        array = np.asarray(values, dtype=float)
        if array.ndim != 2 or len(array) != n:
            raise ValueError(f"`network` must return shape [{n}, outputs], got {array.shape}.")
        return array

    if not hasattr(network, "parameters"):
        if not callable(network):
            raise ValueError(
                f"`network` must be a torch module or a function, got {type(network).__name__}. "
                "For a list of weights use squared_penalty."
            )
        return lambda x: checked(network(x), len(x))
    import torch

    moody = torch.nn.modules.batchnorm._BatchNorm | torch.nn.modules.dropout._DropoutNd
    if any(isinstance(module, moody) and module.training for module in network.modules()):
        raise ValueError("`network` must be in eval mode, got layers in train mode. Call network.eval() first.")
    like = next(iter(network.parameters()), torch.zeros(0, dtype=torch.float64))

    def run(x: NDArray) -> NDArray[np.float64]:
        with torch.no_grad():
            return checked(network(torch.from_numpy(x).to(like)).double().cpu().numpy(), len(x))

    return run
