"""Why second-order expansions are not exact as alpha goes to 0: their slopes there against the true slope."""

from __future__ import annotations

import math

import numpy as np
import sympy as sp
from numpy.typing import ArrayLike
from scipy.special import expit

from .derivation import Derivation, Step
from .logistic_risk import linear_logits, small_alpha_coefficient

__all__ = ["derive_moment_slope", "small_alpha_relative_errors", "small_alpha_slopes"]


def small_alpha_slopes(x: ArrayLike, y: ArrayLike, theta: ArrayLike, intercept: float = 0.0) -> dict[str, float]:
    r"""Slope at alpha = 0 of each expansion that starts at the plain risk there (midpoint does not).

    - "zhang": :math:`\tfrac1n\sum(\sigma_i-y_i)(\bar z-z_i)+\tfrac1{4n}\sum h''_i[v_z+(z_i-\bar z)^2]`;
    - "size-biased": :math:`-\tfrac1n\sum(\sigma_i-y_i)(z_i-\bar z)` from the shrinkage, plus the same curvature
      term: equal to "zhang";
    - "carratino": with :math:`E\min(\lambda,1-\lambda)\simeq\alpha\ln2` and
      :math:`E\min^2\simeq\alpha(\ln2-\tfrac12)`,
      :math:`\ln2\,\{2c_{zy}-\tfrac1n\sum\sigma_i(z_i-\bar z)\}
      +(\ln2-\tfrac12)\{\tfrac1{2n}\sum h''_i[v_z+(z_i-\bar z)^2]-2c_{zy}\}`.

    Assumptions: all :math:`n^2` ordered pairs; linear logit.

    Args:
        x: Inputs, shape [n, d].
        y: Labels in [0, 1], shape [n].
        theta: Weights, shape [d].
        intercept: The intercept b.

    Returns:
        The coefficient of alpha in L - L_std, in nats, by name of the expansion.

    Raises:
        ValueError: If a shape or a value is wrong.

    References:
        theory E.4.

    Example:
        >>> slopes = small_alpha_slopes([[1.0], [-1.0]], [1, 0], [1e-3])
        >>> round(slopes["zhang"] / small_alpha_coefficient([[1.0], [-1.0]], [1, 0], [1e-3]), 6)  # tiny logits
        1.0
    """
    z, y = linear_logits(x, y, theta, intercept)
    away = z - z.mean()
    covariance = np.mean(away * (y - y.mean()))
    slope = np.mean(expit(z) * away)
    bend = np.mean(expit(z) * expit(-z) * (z.var() + away**2)) / 2
    zhang = float(covariance - slope + bend / 2)
    log2 = math.log(2)
    carratino = float(log2 * (2 * covariance - slope) + (log2 - 0.5) * (bend - 2 * covariance))
    return {"zhang": zhang, "size-biased": zhang, "carratino": carratino}


def small_alpha_relative_errors(
    x: ArrayLike, y: ArrayLike, theta: ArrayLike, intercept: float = 0.0
) -> dict[str, float]:
    r"""Limit as alpha goes to 0 of the relative error of each expansion of :math:`L_{mix}-L_{std}`.

    Not zero: :math:`E(1-\Lambda)^k = \alpha/k + O(\alpha^2)` for every k, so that every Taylor order contributes
    at first order in alpha. The expansions are exact for small displacements, not for small alpha.

    Args:
        x: Inputs, shape [n, d].
        y: Labels in [0, 1], shape [n].
        theta: Weights, shape [d].
        intercept: The intercept b.

    Returns:
        Signed relative error (approximation over truth minus one) by name of the expansion.

    Raises:
        ValueError: If a shape or a value is wrong, or the true slope is 0.

    References:
        theory E.4.

    Example:
        >>> errors = small_alpha_relative_errors([[1.0], [-1.0]], [1, 0], [4.0])
        >>> round(errors["zhang"], 3)
        -0.742
    """
    truth = small_alpha_coefficient(x, y, theta, intercept)
    if truth == 0:
        raise ValueError("`theta` must give a risk that changes with alpha, got a slope of 0 (constant logits).")
    slopes = small_alpha_slopes(x, y, theta, intercept)
    return {name: slope / truth - 1 for name, slope in slopes.items()}


def derive_moment_slope() -> Derivation:
    r"""Derive that every moment of the displacement is of first order: :math:`E(1-\Lambda)^k = \alpha/k + O(\alpha^2)`.

    Returns:
        The derivation; its end, 1/k, is the slope in alpha at 0 of every k-th Taylor term, k >= 1.

    References:
        theory E.4.

    Example:
        >>> derive_moment_slope().verify().result
        1/k
    """
    a = sp.Symbol("alpha", positive=True)
    k = sp.Symbol("k", integer=True, positive=True)
    moment = sp.beta(a + 1, a + k) / sp.beta(a + 1, a)
    slope = sp.gamma(a + k) * sp.gamma(2 * a + 1) / (sp.gamma(a + 1) * sp.gamma(2 * a + 1 + k))
    steps = (
        Step(moment, "k-th moment of 1 - Lambda"),
        Step(sp.rf(a, k) / sp.rf(2 * a + 1, k), "rising factorials"),
        Step(a * slope, "the first factor of the numerator is alpha, for every k"),
        Step(sp.Eq(slope.subs(a, 0), 1 / k, evaluate=False), "what multiplies alpha, at alpha = 0"),
    )
    return Derivation(
        "No Taylor order drops out as alpha goes to 0.",
        ("Lambda ~ Beta(alpha + 1, alpha)", "k = 1, 2, 3, ..."),
        steps,
    )
