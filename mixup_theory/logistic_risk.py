"""The exact mixup cross-entropy of logistic models over all ordered pairs, and its slope in alpha at 0."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._checks import as_result, check_alpha, check_array, check_integer, check_interval
from .quadrature import expect, gauss_rule
from .weights import mean_p

__all__ = [
    "linear_logits",
    "logistic_risk",
    "mixup_logistic_gap",
    "mixup_logistic_risk",
    "mixup_risk",
    "single_label_risk",
    "small_alpha_coefficient",
]

MAX_SPREAD = 200.0


def linear_logits(
    x: ArrayLike, y: ArrayLike, theta: ArrayLike, intercept: float = 0.0
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    r"""Check a data set and a linear logit, and evaluate :math:`z_i = \theta^\top x_i + b`.

    Args:
        x: Inputs, shape [n, d].
        y: Labels in [0, 1], shape [n].
        theta: Weights, shape [d].
        intercept: The intercept b.

    Returns:
        The logits and the labels as float64, each of shape [n].

    Raises:
        ValueError: If a shape or a value is wrong.

    Example:
        >>> linear_logits([[1.0, 2.0]], [1], [3.0, 1.0], 0.5)[0].tolist()
        [5.5]
    """
    x, theta = check_array("x", x, 2), check_array("theta", theta, 1)
    if x.shape[1] != len(theta):
        raise ValueError(f"`theta` must be of shape [{x.shape[1]}] as x has {x.shape[1]} columns, got {theta.shape}.")
    return x @ theta + float(check_array("intercept", intercept, 0)), _labels(y, len(x))


def _labels(y: ArrayLike, num_samples: int) -> NDArray[np.float64]:
    if isinstance(y, np.ndarray) and y.dtype == bool:
        y = y.astype(int)
    y = check_interval("y", check_array("y", y, 1), 0, 1)
    if len(y) != num_samples:
        raise ValueError(f"`y` must have one label for each of the {num_samples} rows of x, got {len(y)}.")
    return y


def _softplus(z: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.logaddexp(0.0, z)


def logistic_risk(x: ArrayLike, y: ArrayLike, theta: ArrayLike, intercept: float = 0.0) -> float:
    r"""Plain cross-entropy :math:`\frac1n\sum_i h(z_i) - y_iz_i`, :math:`h(z)=\ln(1+e^z)`.

    Args:
        x: Inputs, shape [n, d].
        y: Labels in [0, 1], shape [n].
        theta: Weights, shape [d].
        intercept: The intercept b.

    Returns:
        The mean loss in nats, > 0.

    Raises:
        ValueError: If a shape or a value is wrong.

    Example:
        >>> round(logistic_risk([[1.0], [-1.0]], [1, 0], [0.0]), 6)  # ln 2
        0.693147
    """
    z, y = linear_logits(x, y, theta, intercept)
    return float(np.mean(_softplus(z) - y * z))


def _bulge(z: NDArray, y: NDArray, alpha: float, num_nodes: int | None) -> float:
    r"""Mean over pairs of :math:`E_{\alpha}[(G(t)-tG(1)-(1-t)G(0))/(t(1-t))]`, G the loss along the segment."""
    spread = float(np.ptp(z))
    if spread == 0:
        return 0.0
    if num_nodes is None:
        if spread > MAX_SPREAD:
            raise ValueError(
                f"`theta` must give logits within a range of {MAX_SPREAD:g}, got {spread:g}. Pass `num_nodes` to "
                "accept a coarser rule."
            )
        # h has poles at +-i pi: the Bernstein ellipse gives the nodes for 17 digits.
        num_nodes = max(40, math.ceil(20 / math.asinh(2 * math.pi / spread)))
    nodes, weights = gauss_rule(check_integer("num_nodes", num_nodes, 1), alpha)
    ends = _softplus(z).mean()
    total = 0.0
    for t, weight in zip(nodes, weights, strict=True):
        if weight > 1e-22:
            inner = _softplus(t * z[:, None] + (1 - t) * z).mean()
            total += weight * (inner - ends) / (t * (1 - t))
    # Of the term linear in the label, -y~ z~, exactly (z_i - z_j)(y_i - y_j) remains: a covariance.
    return float(total + 2 * np.mean((z - z.mean()) * (y - y.mean())))


def mixup_logistic_gap(
    x: ArrayLike,
    y: ArrayLike,
    theta: ArrayLike,
    alpha: ArrayLike,
    intercept: float = 0.0,
    num_nodes: int | None = None,
) -> Any:
    r"""Difference :math:`L_{mix} - L_{std}` of the exact risks, to full relative accuracy for every alpha.

    By the endpoint-peeling identity,
    :math:`\frac{\alpha}{2(2\alpha+1)}\,\frac1{n^2}\sum_{ij}E_{\alpha+1}\frac{G_{ij}-tG_{ij}(1)-(1-t)G_{ij}(0)}{t(1-t)}`
    with :math:`G_{ij}(t)` the loss on the pair at lam = t.

    Assumptions: pairs with replacement, all :math:`n^2` ordered pairs; linear logit; labels mixed with the inputs.

    Args:
        x: Inputs, shape [n, d].
        y: Labels in [0, 1], shape [n].
        theta: Weights, shape [d].
        alpha: Concentration(s) in [0, inf].
        intercept: The intercept b.
        num_nodes: Quadrature nodes; chosen from the range of the logits by default.

    Returns:
        The difference in nats, of the shape of `alpha`.

    Raises:
        ValueError: If an argument is out of range, or the logits spread too far for the default rule.

    References:
        theory A.2, E.

    Example:
        >>> x, y = [[1.0], [-1.0]], [1, 0]
        >>> gaps = mixup_logistic_gap(x, y, [1.5], [0.0, 1e-8])
        >>> (gaps / 1e-8).round(6).tolist(), round(small_alpha_coefficient(x, y, [1.5]), 6)
        ([0.0, 0.49879], 0.49879)
    """
    z, y = linear_logits(x, y, theta, intercept)
    alpha = check_alpha(alpha)
    gaps = [mean_p(a) * _bulge(z, y, a + 1, num_nodes) for a in alpha.reshape(-1)]
    return as_result(np.reshape(gaps, alpha.shape))


def mixup_logistic_risk(
    x: ArrayLike,
    y: ArrayLike,
    theta: ArrayLike,
    alpha: ArrayLike,
    intercept: float = 0.0,
    num_nodes: int | None = None,
) -> Any:
    r"""Exact mixup cross-entropy :math:`\frac1{n^2}\sum_{ij}E_\lambda[h(\tilde z)-\tilde y\tilde z]` of a linear logit.

    Assumptions: pairs with replacement, all :math:`n^2` ordered pairs; labels mixed with the inputs.

    Args:
        x: Inputs, shape [n, d].
        y: Labels in [0, 1], shape [n].
        theta: Weights, shape [d].
        alpha: Concentration(s) in [0, inf].
        intercept: The intercept b.
        num_nodes: Quadrature nodes; chosen from the range of the logits by default (error about 1e-15).

    Returns:
        The risk in nats, of the shape of `alpha`.

    Raises:
        ValueError: If an argument is out of range, or the logits spread too far for the default rule.

    References:
        theory E.

    Example:
        >>> round(mixup_logistic_risk([[1.0], [-1.0]], [1, 0], [0.0], 0.3), 6)  # ln 2 at theta = 0
        0.693147
    """
    gap = np.asarray(mixup_logistic_gap(x, y, theta, alpha, intercept, num_nodes))
    return as_result(logistic_risk(x, y, theta, intercept) + gap)


def small_alpha_coefficient(
    x: ArrayLike, y: ArrayLike, theta: ArrayLike, intercept: float = 0.0, num_nodes: int | None = None
) -> float:
    r"""Slope of the mixup risk at alpha = 0, to which every order of displacement contributes.

    .. math:: \lim_{\alpha\to0}\frac{L_{mix}-L_{std}}{\alpha}
              = \frac1{2n^2}\sum_{ij}\int_0^1\frac{G_{ij}(t)-tG_{ij}(1)-(1-t)G_{ij}(0)}{t(1-t)}\,dt .

    Args:
        x: Inputs, shape [n, d].
        y: Labels in [0, 1], shape [n].
        theta: Weights, shape [d].
        intercept: The intercept b.
        num_nodes: Quadrature nodes; chosen from the range of the logits by default.

    Returns:
        The coefficient of alpha, in nats.

    Raises:
        ValueError: If an argument is out of range, or the logits spread too far for the default rule.

    References:
        theory E.4.

    Example:
        >>> small_alpha_coefficient([[1.0], [-1.0]], [1, 0], [0.0])
        0.0
    """
    z, y = linear_logits(x, y, theta, intercept)
    return _bulge(z, y, 1.0, num_nodes) / 2


def mixup_risk(
    logit: Callable[[NDArray], ArrayLike], x: ArrayLike, y: ArrayLike, alpha: float, num_nodes: int = 64
) -> float:
    r"""Mixup cross-entropy of any smooth logit function over all :math:`n^2` ordered pairs, labels mixed.

    Args:
        logit: Takes points of shape [m] or [m, d], as x has them, and returns logits of shape [m].
        x: Inputs, shape [n] or [n, d].
        y: Labels in [0, 1], shape [n].
        alpha: Concentration in [0, inf].
        num_nodes: Nodes of the Gauss rule in lam; the logit must be smooth along segments.

    Returns:
        The risk in nats.

    Raises:
        ValueError: If an argument is out of range or the logit returns the wrong shape.

    References:
        theory A.6.

    Example:
        >>> round(mixup_risk(lambda x: 2 * x, [-1.0, 1.0], [0, 1], 0.0), 6)  # ln(1 + exp(-2))
        0.126928
    """
    x = check_array("x", x, (1, 2))
    y = _labels(y, len(x))

    def loss(lam: NDArray) -> NDArray:
        f, t = _segment_logits(logit, x, lam), lam[:, None, None]
        return (_softplus(f) - (t * y[:, None] + (1 - t) * y) * f).mean(axis=(1, 2))

    return float(expect(loss, alpha, num_nodes))


def single_label_risk(
    logit: Callable[[NDArray], ArrayLike], x: ArrayLike, y: ArrayLike, alpha: float, num_nodes: int = 64
) -> float:
    r"""The same risk with hard labels: inputs mixed with :math:`\Lambda\sim\mathrm{Beta}(\alpha+1,\alpha)`, label y_i.

    .. math:: E_{ij}E_{\Lambda}\,\ell(\Lambda x_i+(1-\Lambda)x_j, y_i)

    equals `mixup_risk` exactly, as the cross-entropy is affine in the label. The density of Lambda is
    :math:`2\lambda f_{\alpha,\alpha}`.

    Args:
        logit: Takes points of shape [m] or [m, d], as x has them, and returns logits of shape [m].
        x: Inputs, shape [n] or [n, d].
        y: Labels in [0, 1], shape [n].
        alpha: Concentration in [0, inf].
        num_nodes: Nodes of the Gauss rule in lam.

    Returns:
        The risk in nats.

    Raises:
        ValueError: If an argument is out of range or the logit returns the wrong shape.

    References:
        theory A.6; Huszar 2017; Zhang et al. 2021, Lemma 3.1.

    Example:
        >>> x, y = [-1.0, 0.4, 1.0], [0, 1, 1]
        >>> abs(single_label_risk(np.sin, x, y, 0.7) - mixup_risk(np.sin, x, y, 0.7)) < 1e-14
        True
    """
    x = check_array("x", x, (1, 2))
    y = _labels(y, len(x))

    def loss(lam: NDArray) -> NDArray:
        f = _segment_logits(logit, x, lam)
        return 2 * lam * (_softplus(f) - y[:, None] * f).mean(axis=(1, 2))

    return float(expect(loss, alpha, num_nodes))


def _segment_logits(logit: Callable[[NDArray], ArrayLike], x: NDArray, lam: NDArray) -> NDArray[np.float64]:
    """Logits at lam x_i + (1 - lam) x_j, shape [len(lam), n, n]."""
    t = lam.reshape(-1, 1, 1, *[1] * (x.ndim - 1))
    points = t * x[:, None] + (1 - t) * x[None]
    values = np.asarray(logit(points.reshape(-1, *x.shape[1:])), dtype=float)
    if values.shape != (len(lam) * len(x) ** 2,):
        raise ValueError(f"`logit` must return one logit per point, shape [m], got shape {values.shape}.")
    return values.reshape(len(lam), len(x), len(x))
