r"""Two opposite points: ERM's logistic slope diverges, mixup's is finite and not monotone in alpha."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq
from scipy.special import expit

from ._checks import as_result, check_alpha
from .moments import Result
from .quadrature import gauss_rule, gauss_rule_between

__all__ = ["two_point_confidence", "two_point_logistic_slope"]


def two_point_logistic_slope(alpha: ArrayLike) -> Result:
    r"""Mixup-optimal slope of the logit :math:`\theta x` on :math:`x=\pm1`, :math:`y=1[x>0]`.

    The unique finite root of

    .. math:: \tfrac12(\sigma(\theta)-1)+\tfrac12E[(\sigma(\theta u)-\lambda)u]=0,\qquad u=2\lambda-1.

    Not monotone in alpha: it diverges in both limits, like :math:`\ln(1/\alpha)` and :math:`\ln\alpha`, with its
    minimum near 1.5. Also the limit of :math:`D^2c(\alpha,D)` for far Gaussian classes (gaussian_mixture).

    Assumptions:
        All four ordered pairs, no intercept (it would be 0 by symmetry).

    Args:
        alpha: Beta concentration(s) in [0, inf].

    Returns:
        The slope > 0, of the shape of `alpha`; inf at both limits.

    Raises:
        ValueError: If `alpha` is not a number >= 0.

    References:
        theory F.3.

    Example:
        >>> two_point_logistic_slope([0.2, 1.0, 100.0]).round(6).tolist()
        [4.180541, 3.542283, 5.491268]
    """
    alpha = check_alpha(alpha)
    slopes = [np.inf if a == 0 or np.isinf(a) else _slope(float(a)) for a in alpha.flat]
    return as_result(np.reshape(slopes, alpha.shape))


def two_point_confidence(alpha: ArrayLike) -> Result:
    r"""Confidence :math:`\sigma(\theta^*)` of the mixup optimum at the two data points.

    Above :math:`E\max(\lambda,1-\lambda)`, the mean top label of the mixed points: that mean caps nothing here.

    Args:
        alpha: Beta concentration(s) in [0, inf].

    Returns:
        The confidence, in (0.97, 1].

    Raises:
        ValueError: If `alpha` is not a number >= 0.

    References:
        theory F.3, F.6.

    Example:
        >>> round(two_point_confidence(1.0), 4)
        0.9719
    """
    return as_result(expit(two_point_logistic_slope(alpha)))


def _slope(alpha: float) -> float:
    """Solve for one alpha, with the terms grouped so that nothing cancels."""
    if alpha >= 1:
        nodes, weights = gauss_rule(128, alpha)
        u = 2 * nodes - 1

        def excess(theta: float) -> float:
            return float(weights @ (u * np.tanh(theta * u / 2) - u**2)) - 2 * float(expit(-theta))
    else:
        t, weights = _left_half(alpha + 1)
        u, scale = 1 - 2 * t, alpha / (2 * alpha + 1)
        gap = scale * float(weights @ (u * (1 - u) / (t * (1 - t))))  # E|u| - E u^2, of order alpha

        def excess(theta: float) -> float:
            # E|u| sigma(-theta |u|), its value at the ends of [0, 1] peeled off (theory A.2)
            end = float(expit(-theta))
            bulge = float(weights @ ((u * expit(-theta * u) - end) / (t * (1 - t))))
            return gap - 4 * end - 2 * scale * bulge

    return float(brentq(excess, 1e-3, 1500.0, xtol=1e-14, rtol=1e-14))


def _left_half(alpha: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Nodes t in [0, 1/2] and weights under Beta(alpha, alpha), dense near 1/2 where a steep sigmoid bends."""
    knots = [0.0, *(0.5 - 0.5 / 4.0 ** np.arange(1, 6)), 0.5]
    rules = [gauss_rule_between(low, high, alpha) for low, high in pairwise(knots)]
    return np.concatenate([rule[0] for rule in rules]), np.concatenate([rule[1] for rule in rules])
