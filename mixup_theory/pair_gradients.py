r"""The gradient of one mixed pair: mean and covariance over lam, and its bias against the midpoint."""

from __future__ import annotations

import math

import numpy as np
import sympy as sp
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit

from ._checks import check_alpha, check_array
from .derivation import Derivation, Step
from .quadrature import expect
from .weights import var_lam, var_q

__all__ = [
    "derive_pair_gradient_bias_logistic",
    "derive_pair_gradient_covariance",
    "derive_pair_gradient_mean",
    "pair_gradient_bias_logistic",
    "pair_gradient_bias_logistic_leading",
    "pair_gradient_covariance",
    "pair_gradient_mean",
]

Vector = NDArray[np.float64]


def pair_gradient_mean(
    x_i: ArrayLike, x_j: ArrayLike, y_i: float, y_j: float, theta: ArrayLike, alpha: float
) -> Vector:
    r"""Mean over lam of the gradient of one mixed pair in linear regression.

    :math:`E_\lambda g = x_mr_m+\mathrm{Var}\lambda\;d\,e` with midpoint :math:`x_m`, its residual :math:`r_m`,
    :math:`d=x_i-x_j` and :math:`e=d^\top\theta-(y_i-y_j)`. Exact; loss :math:`\tfrac12(x^\top\theta-y)^2`.

    Args:
        x_i: First input, shape [d].
        x_j: Second input, shape [d].
        y_i: First target.
        y_j: Second target.
        theta: Weights, shape [d].
        alpha: Beta concentration in [0, inf].

    Returns:
        The mean, shape [d].

    Raises:
        ValueError: If a shape or a value is out of range.

    References:
        theory C.3.

    Example:
        >>> pair_gradient_mean([1.0], [-1.0], 1.0, 0.0, [0.0], 1.0).round(6)  # 0 - 2 / 12
        array([-0.166667])
    """
    midpoint, d, at_midpoint, label_gap, weights = _pair(x_i, x_j, y_i, y_j, theta, alpha)
    e = d @ weights - label_gap
    return midpoint * (midpoint @ weights - at_midpoint) + float(var_lam(alpha)) * d * e


def pair_gradient_covariance(
    x_i: ArrayLike, x_j: ArrayLike, y_i: float, y_j: float, theta: ArrayLike, alpha: float
) -> NDArray[np.float64]:
    r"""Covariance over lam of the gradient of one mixed pair in linear regression.

    .. math:: \mathrm{Cov}_\lambda(g)=\mathrm{Var}\lambda\,(dr_m+x_me)(dr_m+x_me)^\top
              +\tfrac14\mathrm{Var}q\;e^2dd^\top

    in the symbols of `pair_gradient_mean`. Positive semi-definite and generally not zero, while the ERM gradient
    of a given example has no variance.

    Args:
        x_i: First input, shape [d].
        x_j: Second input, shape [d].
        y_i: First target.
        y_j: Second target.
        theta: Weights, shape [d].
        alpha: Beta concentration in [0, inf].

    Returns:
        The covariance, shape [d, d].

    Raises:
        ValueError: If a shape or a value is out of range.

    References:
        theory C.4.

    Example:
        >>> pair_gradient_covariance([1.0], [-1.0], 1.0, 0.0, [0.0], 1.0).round(6)  # 1/12 + 4 / 180
        array([[0.105556]])
    """
    midpoint, d, at_midpoint, label_gap, weights = _pair(x_i, x_j, y_i, y_j, theta, alpha)
    e = d @ weights - label_gap
    slope = d * (midpoint @ weights - at_midpoint) + midpoint * e
    curve = d * e
    return float(var_lam(alpha)) * np.outer(slope, slope) + float(var_q(alpha)) / 4 * np.outer(curve, curve)


def _pair(
    x_i: ArrayLike, x_j: ArrayLike, y_i: float, y_j: float, theta: ArrayLike, alpha: float
) -> tuple[Vector, Vector, float, float, Vector]:
    """Check a pair; return the midpoint, the difference, both for the labels too, and the weights."""
    if check_alpha(alpha).ndim:
        raise ValueError(f"`alpha` must be one number, got shape {np.shape(alpha)}.")
    first, second = check_array("x_i", x_i, 1), check_array("x_j", x_j, 1)
    weights = check_array("theta", theta, 1)
    if not first.shape == second.shape == weights.shape:
        raise ValueError(
            f"`x_i`, `x_j` and `theta` must have the same shape, got {first.shape}, {second.shape} and {weights.shape}."
        )
    one, two = float(check_array("y_i", y_i, 0)), float(check_array("y_j", y_j, 0))
    return (first + second) / 2, first - second, (one + two) / 2, one - two, weights


def pair_gradient_bias_logistic(
    x_i: ArrayLike,
    x_j: ArrayLike,
    y_i: float,
    y_j: float,
    theta: ArrayLike,
    alpha: float,
    *,
    num_nodes: int | None = None,
) -> Vector:
    r"""Bias of the mean pair gradient of logistic regression against the gradient at the midpoint.

    :math:`E_\lambda g-g(\tfrac12)=x_mE[\sigma(m+vb)-\sigma(m)]+d\,\{E[v\,\sigma(m+vb)]-e_y\mathrm{Var}\lambda\}`,
    with :math:`v=\lambda-\tfrac12`, :math:`m=x_m^\top\theta`, :math:`b=d^\top\theta`, :math:`e_y=y_i-y_j`. By
    quadrature of the even and odd parts in v, written without cancellation, so that it keeps full relative
    accuracy however large or small alpha is.

    Args:
        x_i: First input, shape [d].
        x_j: Second input, shape [d].
        y_i: First label, any number (0 or 1 in classification).
        y_j: Second label.
        theta: Weights, shape [d].
        alpha: Beta concentration in [0, inf].
        num_nodes: Quadrature nodes; by default 64 + 4|b|, enough for the poles of the sigmoid (|b| <= 1000).

    Returns:
        The bias, shape [d].

    Raises:
        ValueError: If a shape or a value is out of range, or |b| > 1000 without `num_nodes`.

    References:
        theory C.3.

    Example:
        >>> args = ([1.2, -0.4], [-0.7, 2.0], 1.0, 0.0, [0.6, 0.25])
        >>> pair_gradient_bias_logistic(*args, 2.0).round(6)
        array([-0.082665,  0.104079])
    """
    midpoint, d, _, label_gap, weights = _pair(x_i, x_j, y_i, y_j, theta, alpha)
    m, b = float(midpoint @ weights), float(d @ weights)
    if num_nodes is None:
        if abs(b) > 1000:
            raise ValueError(f"`theta` must give |(x_i - x_j) . theta| <= 1000, got {abs(b):g}. Set `num_nodes`.")
        num_nodes = 64 + math.ceil(4 * abs(b))

    def parts(t: Vector) -> NDArray[np.float64]:
        """Even and odd part: mean of sigma(m +- vb) less sigma(m), and v times half their difference."""
        v = t - 0.5
        w = np.abs(v * b)
        top = np.maximum(w, abs(m))
        scale = np.exp(w - top)
        # cosh m + cosh w, sinh w and sinh(w/2)^2, all over exp(top)
        both = (np.exp(abs(m) - top) + np.exp(-abs(m) - top) + scale + np.exp(-w - top)) / 2
        even = -math.tanh(m / 2) * scale * np.expm1(-w) ** 2 / 4 / both
        odd = -np.abs(v) * math.copysign(1, b) * scale * np.expm1(-2 * w) / 4 / both
        return np.stack([even, odd], axis=1)

    even, odd = np.asarray(expect(parts, alpha, num_nodes))
    return midpoint * even + d * (odd - label_gap * float(var_lam(alpha)))


def pair_gradient_bias_logistic_leading(
    x_i: ArrayLike, x_j: ArrayLike, y_i: float, y_j: float, theta: ArrayLike, alpha: float
) -> Vector:
    r"""Leading term, for large alpha, of `pair_gradient_bias_logistic`.

    .. math:: \mathrm{Var}\lambda\left[(\sigma(1-\sigma)b-e_y)\,d+\tfrac12\sigma(1-\sigma)(1-2\sigma)b^2x_m\right]

    with :math:`\sigma=\sigma(x_m^\top\theta)`. The remainder is :math:`O(\alpha^{-2})`.

    Args:
        x_i: First input, shape [d].
        x_j: Second input, shape [d].
        y_i: First label.
        y_j: Second label.
        theta: Weights, shape [d].
        alpha: Beta concentration in [0, inf].

    Returns:
        The leading term, shape [d].

    Raises:
        ValueError: If a shape or a value is out of range.

    References:
        theory C.3.

    Example:
        >>> args = ([1.2, -0.4], [-0.7, 2.0], 1.0, 0.0, [0.6, 0.25], 1e4)
        >>> ratio = pair_gradient_bias_logistic(*args) / pair_gradient_bias_logistic_leading(*args)
        >>> bool(np.all(np.abs(ratio - 1) < 1e-4))
        True
    """
    midpoint, d, _, label_gap, weights = _pair(x_i, x_j, y_i, y_j, theta, alpha)
    m, b = float(midpoint @ weights), float(d @ weights)
    slope = float(expit(m) * expit(-m))
    bend = -math.tanh(m / 2) * slope  # sigma (1 - sigma)(1 - 2 sigma)
    return float(var_lam(alpha)) * ((slope * b - label_gap) * d + 0.5 * bend * b**2 * midpoint)


def _moment(k: int, a: sp.Symbol) -> sp.Expr:
    """Return E v^k of v = lam - 1/2 under Beta(a, a), from the moments of lam."""
    t = sp.Symbol("t")
    coefficients = sp.Poly((t - sp.Rational(1, 2)) ** k, t).all_coeffs()[::-1]
    return sp.factor(sum(c * sp.rf(a, j) / sp.rf(2 * a, j) for j, c in enumerate(coefficients)))


def _mean_over_lam(expression: sp.Expr, v: sp.Symbol, a: sp.Symbol) -> sp.Expr:
    """Replace every power of v in a polynomial by its mean."""
    return sum(c * _moment(power, a) for (power,), c in sp.Poly(sp.expand(expression), v).terms())


def derive_pair_gradient_mean() -> Derivation:
    r"""Derive the mean of one coordinate of the pair gradient.

    Returns:
        The derivation; its result is :math:`x_mr_m+d\,e/(4(2a+1))` in the symbols x, r, d, e, a.

    References:
        theory C.3.

    Example:
        >>> derive_pair_gradient_mean().verify().result
        d*e/(8*a + 4) + r*x
    """
    x, r, d, e, v, a = sp.symbols("x r d e v a")
    lam, x_i, x_j, r_i, r_j = sp.symbols("lambda x_i x_j r_i r_j")
    mixed = (lam * x_i + (1 - lam) * x_j) * (lam * r_i + (1 - lam) * r_j)
    at_v = ((x_i + x_j) / 2 + (lam - sp.S.Half) * (x_i - x_j)) * ((r_i + r_j) / 2 + (lam - sp.S.Half) * (r_i - r_j))
    return Derivation(
        "The mean pair gradient is the midpoint gradient plus Var(lam) d e.",
        ("squared loss, linear model: the residual mixes as the input does", "lam ~ Beta(a, a), v = lam - 1/2"),
        (
            Step(sp.Eq(mixed, at_v), "coordinate of the gradient, around the midpoint"),
            Step(sp.Eq((x + v * d) * (r + v * e), x * r + v * (d * r + x * e) + v**2 * d * e), "expand in v"),
            Step(
                sp.Eq(_mean_over_lam((x + v * d) * (r + v * e), v, a), x * r + d * e / (4 * (2 * a + 1))),
                "odd moments of v vanish, the second is 1/(4(2a+1))",
            ),
        ),
    )


def derive_pair_gradient_covariance() -> Derivation:
    r"""Derive the covariance of two coordinates, k and l, of the pair gradient.

    Returns:
        The derivation; its result is the (k, l) entry of :math:`\mathrm{Cov}_\lambda(g)` in the symbols
        x_k, x_l, d_k, d_l, r, e, a.

    References:
        theory C.4.

    Example:
        >>> entry = derive_pair_gradient_covariance().verify().result
        >>> entry.subs({"x_k": 0, "x_l": 0, "d_k": 2, "d_l": 2, "r": sp.Rational(-1, 2), "e": -1, "a": 1})
        19/180
    """
    x_k, x_l, d_k, d_l, r, e, v, a = sp.symbols("x_k x_l d_k d_l r e v a")
    g_k, g_l = (x_k + v * d_k) * (r + v * e), (x_l + v * d_l) * (r + v * e)
    linear = (d_k * r + x_k * e) * (d_l * r + x_l * e)
    curve = e**2 * d_k * d_l
    covariance = _mean_over_lam(g_k * g_l, v, a) - _mean_over_lam(g_k, v, a) * _mean_over_lam(g_l, v, a)
    return Derivation(
        "The covariance of the pair gradient over lam.",
        ("squared loss, linear model", "lam ~ Beta(a, a), v = lam - 1/2"),
        (
            Step(covariance, "mean of the product less product of the means"),
            Step(_moment(2, a) * linear + (_moment(4, a) - _moment(2, a) ** 2) * curve, "odd moments of v vanish"),
            Step(
                linear / (4 * (2 * a + 1)) + a * curve / (4 * (2 * a + 1) ** 2 * (2 * a + 3)),
                "second and fourth moments of v",
            ),
        ),
    )


def derive_pair_gradient_bias_logistic() -> Derivation:
    r"""Derive the leading bias of one coordinate of the logistic pair gradient.

    Returns:
        The derivation; its result is the leading term in the symbols x, d, m, b, e, a (e the label difference).

    References:
        theory C.3.

    Example:
        >>> derive_pair_gradient_bias_logistic().verify().result.subs({"m": 0, "b": 4, "d": 2, "e": 1, "a": 0})
        0
    """
    x, d, m, b, e, v, a, t, y = sp.symbols("x d m b e v a t y")
    sigmoid = 1 / (1 + sp.exp(-t))
    at = {t: m}
    slope, bend = (sp.diff(sigmoid, t, order).subs(at) for order in (1, 2))
    gradient = (x + v * d) * (sigmoid.subs(t, m + v * b) - y - v * e)
    s = sigmoid.subs(at)
    leading = ((s * (1 - s) * b - e) * d + s * (1 - s) * (1 - 2 * s) * b**2 * x / 2) / (4 * (2 * a + 1))
    return Derivation(
        "The mean pair gradient of logistic regression is biased against the midpoint at order 1/a.",
        ("lam ~ Beta(a, a) with large a, v = lam - 1/2", "y the mean label, e the label difference"),
        (
            Step(sp.diff(gradient, v, 2).subs(v, 0) / 2 * _moment(2, a), "second-order term in v, odd ones vanish"),
            Step((d * (slope * b - e) + x * bend * b**2 / 2) * _moment(2, a), "product rule"),
            Step(leading, "derivatives of the sigmoid"),
        ),
    )
