r"""Expected mixup gradient of linear regression over pairs, its bias, and what sampling hard labels costs."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import sympy as sp
from numpy.typing import ArrayLike, NDArray

from ._checks import check_array, check_choice
from .batch_enumeration import enumerate_partners
from .derivation import Derivation, Step
from .finite_batch import fixed_point_probability, one_sample_factor, partner_correlation
from .laws import AlphaOrLaw, as_law

__all__ = [
    "derive_hard_label_variance",
    "derive_linear_regression_gradient",
    "expected_mixup_gradient",
    "hard_label_extra_variance",
    "mixup_gradient_bias",
]

Vector = NDArray[np.float64]


def expected_mixup_gradient(
    x: ArrayLike, y: ArrayLike, theta: ArrayLike, alpha: AlphaOrLaw, *, partner: str = "independent"
) -> Vector:
    r"""Expected mixup gradient of linear regression, :math:`\ell=\tfrac12(x^\top\theta-y)^2`, no intercept.

    :math:`E\tilde g = f(\hat\Sigma\theta-\hat c)+\bar x(\bar x^\top\theta-\bar y)`: the ERM gradient with its
    centred part multiplied by f. f = s for partners drawn with replacement or by a uniform permutation,
    :math:`f=(ns-1)/(n-1)` where self pairs are excluded. Exact, for one lam or many and for max(lam, 1 - lam).

    Assumptions: the pair is exchangeable given the data (`flip` and `roll`: the data are in random order).

    Args:
        x: Inputs, shape [n, d].
        y: Targets, shape [n].
        theta: Weights, shape [d].
        alpha: Beta concentration in [0, inf], or a law of lam. 0 with independent partners is ERM.
        partner: One of `finite_batch.BATCH_PARTNERS`.

    Returns:
        The expected gradient, shape [d].

    Raises:
        ValueError: If a shape or a value is out of range, or n = 1.

    References:
        theory C.3.

    Example:
        >>> x, y = np.array([[1.0], [2.0], [3.0]]), np.array([1.0, 2.0, 4.0])
        >>> expected_mixup_gradient(x, y, np.array([0.0]), 1.0).round(6)  # ERM: -17/3
        array([-5.333333])
    """
    centred, at_mean, n = _linear_regression(x, y, theta)
    return one_sample_factor(n, _one_law(alpha), partner) * centred + at_mean


def mixup_gradient_bias(
    x: ArrayLike,
    y: ArrayLike,
    theta: ArrayLike,
    alpha: AlphaOrLaw,
    *,
    partner: str = "independent",
    relative_to: str = "erm",
) -> Vector:
    r"""Bias of the expected mixup gradient of linear regression against one of two references.

    Against ERM :math:`-(1-f)(\hat\Sigma\theta-\hat c)`; against the gradient at the mean input with the mean label
    :math:`f(\hat\Sigma\theta-\hat c)`, with f as in `expected_mixup_gradient`. The second never vanishes at once
    for every theta: averaging labels is a statement given the mixed input, not over pairs.

    Args:
        x: Inputs, shape [n, d].
        y: Targets, shape [n].
        theta: Weights, shape [d].
        alpha: Beta concentration in [0, inf], or a law of lam.
        partner: One of `finite_batch.BATCH_PARTNERS`.
        relative_to: `erm` or `mean`.

    Returns:
        The bias, shape [d].

    Raises:
        ValueError: If a shape or a value is out of range.

    References:
        theory C.3.

    Example:
        >>> x, y = np.array([[1.0], [2.0], [3.0]]), np.array([1.0, 2.0, 4.0])
        >>> mixup_gradient_bias(x, y, np.array([0.0]), 1.0).round(6)
        array([0.333333])
    """
    check_choice("relative_to", relative_to, ("erm", "mean"))
    centred, _, n = _linear_regression(x, y, theta)
    law = _one_law(alpha)
    if relative_to == "mean":
        return one_sample_factor(n, law, partner) * centred
    return -2 * law.mean_p * (1 - partner_correlation(n, partner)) * centred  # f - 1, with all its digits


def _linear_regression(x: ArrayLike, y: ArrayLike, theta: ArrayLike) -> tuple[Vector, Vector, int]:
    """Return the centred part of the ERM gradient, its part at the mean, and n."""
    inputs, targets, weights = check_array("x", x, 2), check_array("y", y, 1), check_array("theta", theta, 1)
    n, d = inputs.shape
    if targets.shape != (n,) or weights.shape != (d,):
        raise ValueError(
            f"`y` and `theta` must have shapes {(n,)} and {(d,)}, got {targets.shape} and {weights.shape}."
        )
    residual = inputs @ weights - targets
    mean, mean_residual = inputs.mean(axis=0), residual.mean()
    return (inputs - mean).T @ (residual - mean_residual) / n, mean * mean_residual, n


def _one_law(alpha: AlphaOrLaw) -> Any:
    """Return the law of lam, refusing arrays of concentrations."""
    law = as_law(alpha)
    if np.ndim(law.shrink_factor):
        raise ValueError(f"`alpha` must be one number or one law, got shape {np.shape(law.shrink_factor)}.")
    return law


def hard_label_extra_variance(x: ArrayLike, y: ArrayLike, alpha: AlphaOrLaw, *, partner: str = "independent") -> float:
    r"""Trace of the gradient covariance that sampled hard labels add to soft ones, for a linear model.

    A label drawn as :math:`y_i` with probability lam adds, given the pair and lam,
    :math:`\lambda(1-\lambda)\lVert y_i-y_j\rVert^2\lVert\tilde x\rVert^2`, whatever the weights; over lam
    :math:`\lVert y_i-y_j\rVert^2[M_{31}\lVert x_i\rVert^2+M_{13}\lVert x_j\rVert^2+2M_{22}x_i^\top x_j]` with
    :math:`M_{kl}=E[\lambda^k(1-\lambda)^l]`. Exact mean over the partners of one mixed sample; soft labels
    remove this much (Rao-Blackwell). For linear and logistic regression and linear softmax classifiers.

    Args:
        x: Inputs, shape [n, d].
        y: Targets or binary labels, shape [n], or one-hot or soft labels, shape [n, K].
        alpha: Beta concentration in [0, inf], or a law of lam.
        partner: One of `finite_batch.BATCH_PARTNERS`.

    Returns:
        The extra variance, >= 0.

    Raises:
        ValueError: If a shape or a value is out of range.

    References:
        theory C.5.

    Example:
        >>> x, y = np.array([[1.0], [-1.0]]), np.array([1.0, 0.0])
        >>> round(hard_label_extra_variance(x, y, 1.0), 6)  # half of the pairs, 2 (1/20 - 1/30) each
        0.016667
    """
    inputs, labels = check_array("x", x, 2), check_array("y", y, (1, 2))
    n = len(inputs)
    if len(labels) != n:
        raise ValueError(f"`x` and `y` must have the same length, got {n} and {len(labels)}.")
    labels = labels.reshape(n, -1) - labels.reshape(n, -1).mean(axis=0)
    law = _one_law(alpha)
    ends, cross = float(law.moment(3, 1)) + float(law.moment(1, 3)), 2 * float(law.moment(2, 2))
    # Sums over all ordered pairs of |y_i - y_j|^2 |x_i|^2 and of |y_i - y_j|^2 x_i . x_j, with sum(y) = 0.
    spread, norms = np.sum(labels**2, axis=1), np.sum(inputs**2, axis=1)
    own = n * (spread @ norms) + spread.sum() * norms.sum()
    between = 2 * (spread @ inputs) @ inputs.sum(axis=0) - 2 * np.sum((inputs.T @ labels) ** 2)
    total = ends * own + cross * between
    return float(total / n / (n if fixed_point_probability(n, partner) else n - 1))


def _lam_mean(expression: sp.Expr, lam: sp.Symbol, a: sp.Expr) -> sp.Expr:
    """Replace every power of lam in a polynomial by its mean under Beta(a, a)."""
    terms = sp.Poly(sp.expand(expression), lam).terms()
    return sum(c * sp.rf(a, k) / sp.rf(2 * a, k) for (k,), c in terms)


def _counted_gradients(partner: str) -> tuple[tuple[dict, sp.Expr], ...]:
    """Average the mixed gradient over every partner map of small data sets, in exact arithmetic."""
    inputs = [sp.Rational(v) for v in ("1/2", "-3", "2", "5/3")]
    residuals = [sp.Rational(v) for v in ("-1", "4/3", "3", "1/4")]
    lam, cases = sp.Symbol("lambda"), []
    for n, a in product((2, 3, 4), (sp.Rational(1, 2), sp.Integer(2))):
        maps = [second for _, second in enumerate_partners(n, partner)]
        x, r = inputs[:n], residuals[:n]
        total = sum(
            (lam * x[i] + (1 - lam) * x[j]) * (lam * r[i] + (1 - lam) * r[j])
            for index in maps
            for i, j in enumerate(index)
        )
        mean = {"x": sum(x) / n, "r": sum(r) / n, "g": sum(u * v for u, v in zip(x, r, strict=True)) / n}
        cases.append(({"n": n, "a": a, **mean}, _lam_mean(total, lam, a) / (n * len(maps))))
    return tuple(cases)


def derive_linear_regression_gradient(partner: str = "independent") -> Derivation:
    r"""Derive one coordinate of the expected mixup gradient of linear regression.

    Args:
        partner: `independent`, `permutation` or `derangement`, counted over all maps of n <= 4 examples.

    Returns:
        The derivation; its result is :math:`f(g-xr)+xr` in the symbols n, a, the mean input coordinate x, the
        mean residual r, and the mean g of their product (the ERM gradient).

    Raises:
        ValueError: If `partner` is another law.

    References:
        theory C.3.

    Example:
        >>> derive_linear_regression_gradient().verify().result
        r*x + (a + 1)*(g - r*x)/(2*a + 1)
    """
    check_choice("partner", partner, ("independent", "permutation", "derangement"))
    x, r, g, n, a, lam = sp.symbols("x r g n a lambda")
    x_i, x_j, r_i, r_j = sp.symbols("x_i x_j r_i r_j")
    s = (a + 1) / (2 * a + 1)
    mixed = (lam * x_i + (1 - lam) * x_j) * (lam * r_i + (1 - lam) * r_j)
    terms = lam**2 * x_i * r_i + (1 - lam) ** 2 * x_j * r_j + lam * (1 - lam) * (x_i * r_j + x_j * r_i)
    other = x * r if partner != "derangement" else (n * x * r - g) / (n - 1)  # mean of x_i r_j over partners
    over_pairs = (lam**2 + (1 - lam) ** 2) * g + 2 * lam * (1 - lam) * other
    factor = s if partner != "derangement" else (n * s - 1) / (n - 1)
    return Derivation(
        "The expected mixup gradient is the ERM gradient with its centred part shrunk.",
        ("squared loss, linear model", f"partner: {partner}", "lam ~ Beta(a, a), independent of the partner"),
        (
            Step(sp.Eq(mixed, terms), "coordinate of the gradient; the residual mixes as the input does"),
            Step(_lam_mean(over_pairs, lam, a), "mean over pairs, then over lam", _counted_gradients(partner)),
            Step(factor * (g - x * r) + x * r, "collect the centred part"),
        ),
    )


def derive_hard_label_variance() -> Derivation:
    r"""Derive what a sampled hard label adds to the variance of a scalar pair gradient.

    Returns:
        The derivation; its result, for a linear model with one weight, is in the symbols x_i, x_j, y_i, y_j, a.

    References:
        theory C.5.

    Example:
        >>> derive_hard_label_variance().verify().result.subs({"x_i": 1, "x_j": -1, "y_i": 1, "y_j": 0, "a": 1})
        1/30
    """
    x_i, x_j, y_i, y_j, p, lam, a = sp.symbols("x_i x_j y_i y_j p lambda a")
    x, soft = lam * x_i + (1 - lam) * x_j, lam * y_i + (1 - lam) * y_j
    hard = lam * (x * (p - y_i)) ** 2 + (1 - lam) * (x * (p - y_j)) ** 2 - (x * (p - soft)) ** 2
    given = lam * (1 - lam) * (y_i - y_j) ** 2 * x**2
    ends, middle = (a * (a + k) / (4 * (2 * a + 1) * (2 * a + 3)) for k in (2, 1))
    return Derivation(
        "Sampled hard labels add variance to the gradient; soft labels remove it.",
        ("gradient x (p - Y), p a function of x", "Y = y_i with probability lam, else y_j", "lam ~ Beta(a, a)"),
        (
            Step(hard, "variance over Y, given the pair and lam"),
            Step(given, "a two-point law"),
            Step(
                sp.Eq(_lam_mean(given, lam, a), (y_i - y_j) ** 2 * (ends * (x_i**2 + x_j**2) + 2 * middle * x_i * x_j)),
                "mean over lam",
            ),
        ),
    )
