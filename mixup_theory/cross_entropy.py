r"""Cross-entropy along a segment: its floor, what a linear logit pays, and the exact loss of a ReLU network."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq
from scipy.special import expit, log_expit

from ._checks import as_result, check_array, check_interval, check_one_alpha
from .layers import Network
from .moments import Result
from .path_quadrature import expect_on_paths
from .quadrature import expect
from .segments import SegmentPaths, iter_labelled_paths, iter_segment_paths
from .weights import expected_binary_entropy

__all__ = [
    "best_linear_logit",
    "cross_entropy",
    "cross_entropy_floor",
    "cross_entropy_penalty",
    "linear_logit_cross_entropy",
    "probability_chord_deviation",
    "probability_label_deviation",
]


def cross_entropy(logits: NDArray[np.float64], labels: NDArray[np.float64]) -> NDArray[np.float64]:
    r"""Cross-entropy :math:`-\sum_c y_c\ln\mathrm{softmax}(z)_c` in nats; with one logit, :math:`\ln(1+e^z)-yz`.

    Args:
        logits: z, shape [..., C].
        labels: y, soft labels, shape [..., C].

    Returns:
        Shape [...].

    Example:
        >>> cross_entropy(np.zeros((1, 4)), np.full((1, 4), 0.25)).round(6).tolist()  # ln 4
        [1.386294]
    """
    if logits.shape[-1] == 1:
        return np.logaddexp(0.0, logits[..., 0]) - labels[..., 0] * logits[..., 0]
    top = logits.max(axis=-1, keepdims=True)
    log_sum = np.log(np.exp(logits - top).sum(axis=-1, keepdims=True)) + top
    return np.sum(labels * (log_sum - logits), axis=-1)


def cross_entropy_floor(alpha: ArrayLike) -> Result:
    r"""Least mixup cross-entropy on a cross-class segment: :math:`E H(\lambda)=\psi(2\alpha+1)-\psi(\alpha+1)`.

    The loss is :math:`E H(\tilde y)+E\,KL(\tilde y\|p(\tilde x))`, so the floor is attained only by p(t) = t, that
    is by the logit :math:`\ln\{t/(1-t)\}`: unbounded and not linear in t.

    Args:
        alpha: Beta concentration(s) in [0, inf].

    Returns:
        The floor in nats, in [0, ln 2].

    Raises:
        ValueError: If `alpha` is not >= 0.

    References:
        theory D.2.

    Example:
        >>> round(cross_entropy_floor(1.0), 12)
        0.5
    """
    return expected_binary_entropy(alpha)


def linear_logit_cross_entropy(zi: ArrayLike, zj: ArrayLike, yi: ArrayLike, yj: ArrayLike, alpha: float) -> Result:
    r"""Binary mixup cross-entropy of a logit that is linear along the segment.

    :math:`E[\ln(1+e^z)-\tilde y z]` with :math:`z=\lambda z_i+(1-\lambda)z_j`,
    :math:`\tilde y=\lambda y_i+(1-\lambda)y_j`.

    Args:
        zi: Logit(s) at lam = 1, a number or shape [S].
        zj: Logit(s) at lam = 0; all four broadcast.
        yi: Label(s) in [0, 1] at lam = 1.
        yj: Label(s) in [0, 1] at lam = 0.
        alpha: Concentration in [0, inf].

    Returns:
        The loss in nats, a float or shape [S].

    Raises:
        ValueError: If a label is not in [0, 1], a logit not finite, or `alpha` not one number >= 0.

    References:
        theory D.2.

    Example:
        >>> round(linear_logit_cross_entropy(2.0, -1.5, 1, 0, 0.4), 12)
        0.406871172286
    """
    logits = [check_array(name, z, (0, 1)) for name, z in (("zi", zi), ("zj", zj))]
    labels = [check_interval(name, y, 0, 1) for name, y in (("yi", yi), ("yj", yj))]
    first, second, label_i, label_j = np.broadcast_arrays(*logits, *labels)
    ends = np.stack([second.ravel(), first.ravel()], axis=1).reshape(-1, 1)
    lines = SegmentPaths(np.tile([0.0, 1.0], first.size), ends, 2 * np.arange(first.size + 1))
    loss = _on_paths(lines, label_i.reshape(-1, 1), label_j.reshape(-1, 1), alpha)
    return as_result(loss.reshape(first.shape))


def _on_paths(
    paths: SegmentPaths, yi: NDArray[np.float64], yj: NDArray[np.float64], alpha: float
) -> NDArray[np.float64]:
    def loss(t: NDArray, logits: NDArray, segment: NDArray) -> NDArray:
        weight = t[:, None]
        return cross_entropy(logits, weight * yi[segment] + (1 - weight) * yj[segment])

    return expect_on_paths(paths, loss, alpha)


def best_linear_logit(alpha: float) -> tuple[float, float]:
    r"""Slope k of the best logit :math:`k(2t-1)` on a cross-class segment, and what it pays above the floor.

    k solves :math:`E[u\tanh(ku/2)]=E[u^2]`. By symmetry the best linear logit with an intercept has none.

    Args:
        alpha: Concentration in [0, inf].

    Returns:
        k > 2 and the excess :math:`E\,KL` > 0 in nats. At 0 the pair (inf, 0), at inf (2, 0).

    Raises:
        ValueError: If `alpha` is not one number >= 0.

    References:
        theory D.2.

    Example:
        >>> slope, excess = best_linear_logit(1.0)
        >>> round(slope, 6), round(excess, 9)
        (2.599682, 0.004947006)
    """
    alpha = check_one_alpha(alpha)
    if alpha == 0 or np.isinf(alpha):
        return (2.0, 0.0) if alpha else (np.inf, 0.0)
    num_nodes = 64 + 24 * int(np.ceil(max(0.0, -np.log(alpha))))  # the poles are at u = i pi / k, k near ln(1/alpha)

    def surplus(k: float) -> float:
        def g(t: NDArray) -> NDArray:
            u = np.abs(2 * t - 1)
            # for small alpha the ends, where tanh(k/2) is nearly 1, decide: keep 1 - tanh there
            return u * (np.tanh(k * u / 2) - u if alpha >= 1 else (1 - u) - 2 * expit(-k * u))

        return float(expect(g, alpha, num_nodes))

    high = 4.0
    while surplus(high) < 0:
        high *= 2
    k = float(brentq(surplus, 2.0, high, xtol=1e-15, rtol=1e-15))
    if alpha < 20:

        def loss(t: NDArray) -> NDArray:
            u = np.abs(2 * t - 1)
            return k * u * (1 - u) / 2 - log_expit(k * u)

        return k, float(expect(loss, alpha, num_nodes)) - float(expected_binary_entropy(alpha))
    return k, float(expect(lambda t: _kl_to_linear(t, k), alpha, num_nodes))


def _kl_to_linear(t: NDArray[np.float64], k: float) -> NDArray[np.float64]:
    """KL(t || sigmoid(k(2t - 1))) without cancellation: by the cumulants of a Bernoulli where the logits agree."""
    u, p = 2 * t - 1, t * (1 - t)
    gap = k * u - 2 * np.arctanh(u)
    cumulants = (p, -u * p, p * (1 - 6 * p), -u * p * (1 - 12 * p), p * (1 - 30 * p + 120 * p**2))
    series = sum(c * gap**n / math.factorial(n) for n, c in enumerate(cumulants, start=2))
    return np.where(np.abs(gap) < 0.01, series, np.log1p(t * np.expm1(gap)) - t * gap)


def cross_entropy_penalty(
    network: Network,
    xi: ArrayLike,
    xj: ArrayLike,
    yi: ArrayLike,
    yj: ArrayLike,
    alpha: float,
    *,
    slope: float = 0.0,
) -> NDArray[np.float64]:
    r"""Mixup cross-entropy of a ReLU network on segments, :math:`E\,CE(\tilde y,\mathrm{softmax}f(\tilde x))`.

    Logits are linear between the exact knots; the quadrature is split there and errs by about 1e-13.

    Args:
        network: A `torch.nn.Sequential` or a list of (W, b), see `network_layers`; its outputs are logits.
        xi: Inputs at lam = 1, shape [S, ...].
        xj: Inputs at lam = 0, same shape.
        yi: Soft labels at lam = 1, [S, num_outputs]; for a network with one logit a number or [S].
        yj: Soft labels at lam = 0.
        alpha: Concentration in [0, inf].
        slope: Negative slope of the activations of a list of (W, b).

    Returns:
        The penalties in nats, shape [S].

    Raises:
        ValueError: If the network is not piecewise linear (use `smooth_penalty`), or shapes or alpha are wrong.

    References:
        theory D.2, D.4.

    Example:
        >>> line = [([[3.5]], [-1.5])]
        >>> cross_entropy_penalty(line, [[1.0]], [[0.0]], 1, 0, 0.4).round(9).tolist()
        [0.406871172]
    """
    found = [
        _on_paths(paths, one, zero, alpha)
        for paths, one, zero in iter_labelled_paths(network, xi, xj, yi, yj, slope=slope)
    ]
    return np.concatenate(found)


def probability_chord_deviation(
    network: Network, xi: ArrayLike, xj: ArrayLike, alpha: float, *, slope: float = 0.0
) -> NDArray[np.float64]:
    r"""How far the predicted probabilities are from the straight path: :math:`E\|p(\lambda)-\chi_p(\lambda)\|^2`.

    p is the softmax of the logits (both classes of a sigmoid for one logit), :math:`\chi_p` its chord; squares are
    summed over classes.

    Args:
        network: A `torch.nn.Sequential` or a list of (W, b), see `network_layers`; its outputs are logits.
        xi: Inputs at lam = 1, shape [S, ...].
        xj: Inputs at lam = 0, same shape.
        alpha: Concentration in [0, inf].
        slope: Negative slope of the activations of a list of (W, b).

    Returns:
        Shape [S], in [0, 2]; 0 at alpha = 0.

    Raises:
        ValueError: If the network is not piecewise linear, or shapes or alpha are wrong.

    References:
        theory D.1, D.2.

    Example:
        >>> flat = [([[0.0]], [1.0])]
        >>> probability_chord_deviation(flat, [[1.0]], [[0.0]], 1.0).round(12).tolist()
        [0.0]
    """
    found = []
    for paths in iter_segment_paths(network, xi, xj, slope=slope):
        one, zero = (_probabilities(end) for end in paths.ends)
        found.append(_mean_square_from_chord(paths, one, zero, alpha))
    return np.concatenate(found)


def probability_label_deviation(
    network: Network, xi: ArrayLike, xj: ArrayLike, yi: ArrayLike, yj: ArrayLike, alpha: float, *, slope: float = 0.0
) -> NDArray[np.float64]:
    r"""How far the predicted probabilities are from the mixed label: :math:`E\|p(\lambda)-\tilde y\|^2`.

    The Brier score of mixed inputs; 0 only for probabilities that are linear between the two labels.

    Args:
        network: A `torch.nn.Sequential` or a list of (W, b), see `network_layers`; its outputs are logits.
        xi: Inputs at lam = 1, shape [S, ...].
        xj: Inputs at lam = 0, same shape.
        yi: Label rows at lam = 1, shape [S, K]; for one logit the probability of class 1, shape [S].
        yj: Labels at lam = 0, same shape.
        alpha: Concentration in [0, inf].
        slope: Negative slope of the activations of a list of (W, b).

    Returns:
        Shape [S], in [0, 2].

    Raises:
        ValueError: If the network is not piecewise linear, or shapes or alpha are wrong.

    References:
        theory D.1, D.2.

    Example:
        >>> even = [([[0.0], [0.0]], [0.0, 0.0])]  # always predicts (1/2, 1/2)
        >>> ends = [[1.0]], [[0.0]], [[1.0, 0.0]], [[0.0, 1.0]]
        >>> probability_label_deviation(even, *ends, 1.0).round(6).tolist()  # 2 E (lam - 1/2)^2
        [0.166667]
    """
    found = []
    for paths, *ends in iter_labelled_paths(network, xi, xj, yi, yj, slope=slope):
        one, zero = (np.hstack([end, 1 - end]) if end.shape[1] == 1 else end for end in ends)
        found.append(_mean_square_from_chord(paths, one, zero, alpha))
    return np.concatenate(found)


def _mean_square_from_chord(paths: SegmentPaths, one: NDArray, zero: NDArray, alpha: float) -> NDArray[np.float64]:
    """Mean squared distance of the probabilities from the straight line between two rows per segment."""

    def square(t: NDArray, logits: NDArray, segment: NDArray) -> NDArray:
        chord = t[:, None] * one[segment] + (1 - t[:, None]) * zero[segment]
        return np.sum((_probabilities(logits) - chord) ** 2, axis=1)

    return expect_on_paths(paths, square, alpha)


def _probabilities(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    if logits.shape[1] == 1:
        return np.hstack([expit(logits), expit(-logits)])
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    return weights / weights.sum(axis=1, keepdims=True)
