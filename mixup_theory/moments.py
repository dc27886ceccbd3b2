r"""Moments of the mixing weight lam ~ Beta(alpha, alpha), exact for every alpha in [0, inf]."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import sympy as sp
from numpy.typing import ArrayLike, NDArray
from scipy.special import betaln

from ._checks import as_result, check_alpha, check_integer, check_positive
from .derivation import Derivation, Step

__all__ = [
    "derive_shrink_factor",
    "derive_var_lam",
    "derive_var_q",
    "lam_moment",
    "mean_p",
    "mean_p_squared",
    "mean_q_squared",
    "rational_in_alpha",
    "shrink_factor",
    "size_biased_moment",
    "var_lam",
    "var_q",
]

Result: TypeAlias = Any  # a float for scalar arguments, else a float64 array


def rational_in_alpha(formula: Callable[[NDArray], NDArray], alpha: ArrayLike, limit: float) -> Result:
    """Evaluate a rational function of alpha, with its limit at infinity put in."""
    array = check_alpha(alpha)
    finite = np.isfinite(array)
    return as_result(np.where(finite, formula(np.where(finite, array, 1.0)), limit))


def shrink_factor(alpha: ArrayLike) -> Result:
    r"""Shrinkage :math:`s(\alpha) = E[\lambda^2 + (1-\lambda)^2] = (\alpha+1)/(2\alpha+1)`.

    The factor by which mixing independent pairs shrinks a covariance; falls from 1 (alpha = 0) to 1/2 (inf).

    Args:
        alpha: Beta concentration(s) in [0, inf].

    Returns:
        The factor in [1/2, 1], of the shape of `alpha`.

    Raises:
        ValueError: If `alpha` is not a number >= 0.

    References:
        theory A.1, B.1.

    Example:
        >>> round(shrink_factor(1.0), 6), shrink_factor(float("inf"))
        (0.666667, 0.5)
    """
    return rational_in_alpha(lambda a: (a + 1) / (2 * a + 1), alpha, 0.5)


def var_lam(alpha: ArrayLike) -> Result:
    r"""Variance :math:`\mathrm{Var}\,\lambda = 1/(4(2\alpha+1))`.

    Args:
        alpha: Beta concentration(s) in [0, inf].

    Returns:
        The variance in [0, 1/4].

    Raises:
        ValueError: If `alpha` is not a number >= 0.

    References:
        theory A.1.

    Example:
        >>> round(var_lam(1.0), 6)  # uniform: 1/12
        0.083333
    """
    return rational_in_alpha(lambda a: 1 / (4 * (2 * a + 1)), alpha, 0.0)


def mean_p(alpha: ArrayLike) -> Result:
    r"""Mean of :math:`p=\lambda(1-\lambda)`: :math:`\alpha/(2(2\alpha+1)) = (1-s)/2`.

    Args:
        alpha: Beta concentration(s) in [0, inf].

    Returns:
        The mean in [0, 1/4].

    Raises:
        ValueError: If `alpha` is not a number >= 0.

    References:
        theory section 0.

    Example:
        >>> round(mean_p(1.0), 6)
        0.166667
    """
    return rational_in_alpha(lambda a: a / (2 * (2 * a + 1)), alpha, 0.25)


def mean_p_squared(alpha: ArrayLike) -> Result:
    r"""Second moment of p: :math:`E p^2 = \alpha(\alpha+1)/(4(2\alpha+1)(2\alpha+3))`.

    Args:
        alpha: Beta concentration(s) in [0, inf].

    Returns:
        The moment in [0, 1/16].

    Raises:
        ValueError: If `alpha` is not a number >= 0.

    References:
        theory section 0.

    Example:
        >>> round(mean_p_squared(1.0), 6)
        0.033333
    """
    return rational_in_alpha(lambda a: a / (2 * a + 1) * ((a + 1) / (2 * a + 3)) / 4, alpha, 1 / 16)


def mean_q_squared(alpha: ArrayLike) -> Result:
    r"""Second moment of q: :math:`E q^2 = (\alpha^2+3\alpha+3)/((2\alpha+1)(2\alpha+3))`.

    Here :math:`q=\lambda^2+(1-\lambda)^2`.

    Args:
        alpha: Beta concentration(s) in [0, inf].

    Returns:
        The moment in [1/4, 1].

    Raises:
        ValueError: If `alpha` is not a number >= 0.

    References:
        theory section 0.

    Example:
        >>> round(mean_q_squared(1.0), 6)
        0.466667
    """
    return rational_in_alpha(lambda a: (a**2 + 3 * a + 3) / ((2 * a + 1) * (2 * a + 3)), alpha, 0.25)


def var_q(alpha: ArrayLike) -> Result:
    r"""Variance of q: :math:`\alpha/((2\alpha+1)^2(2\alpha+3))`, four times the variance of p.

    Largest, 0.0327359, at :math:`\alpha = (\sqrt{33}-3)/8`. It is the floor that one lam per batch leaves.

    Args:
        alpha: Beta concentration(s) in [0, inf].

    Returns:
        The variance, >= 0.

    Raises:
        ValueError: If `alpha` is not a number >= 0.

    References:
        theory section 0, B.5.

    Example:
        >>> round(var_q((33**0.5 - 3) / 8), 7)
        0.0327359
    """
    return rational_in_alpha(lambda a: a / (2 * a + 1) ** 2 / (2 * a + 3), alpha, 0.0)


def lam_moment(k: float, m: float, alpha: ArrayLike, beta: ArrayLike | None = None) -> Result:
    r"""Moment :math:`E[\lambda^k(1-\lambda)^m] = B(\alpha+k,\beta+m)/B(\alpha,\beta)`.

    Whole k, m >= 0 use the product form, which neither cancels nor overflows; others use log-Beta functions.

    Args:
        k: Power of lam, > -alpha; >= 0 at the limits.
        m: Power of 1 - lam, > -beta; >= 0 at the limits.
        alpha: First concentration(s), in [0, inf] when `beta` is None, else in (0, inf).
        beta: Second concentration(s) in (0, inf); equal to `alpha` when None.

    Returns:
        The moment, broadcast over `alpha` and `beta`.

    Raises:
        ValueError: If a concentration or a power is out of range.

    References:
        theory A.1.

    Example:
        >>> round(lam_moment(2, 3, 1.0), 12) == round(1 / 60, 12)
        True
    """
    a = check_alpha(alpha) if beta is None else check_positive("alpha", alpha)
    b = a if beta is None else check_positive("beta", beta)
    a, b = np.broadcast_arrays(a, b)
    if not (np.all(k > -a) or k == 0 or (k > 0)) or not (np.all(m > -b) or m == 0 or (m > 0)):
        raise ValueError(f"`k` must be > -alpha and `m` > -beta, got k={k:g} and m={m:g}.")
    zero, infinite = a == 0, np.isinf(a)
    if np.any(zero | infinite) and (k < 0 or m < 0):
        raise ValueError(f"`k` and `m` must be >= 0 at alpha = 0 or inf, got k={k:g} and m={m:g}.")
    inner_a, inner_b = np.where(zero | infinite, 1.0, a), np.where(zero | infinite, 1.0, b)
    if k == int(k) and m == int(m) and min(k, m) >= 0:
        value = np.ones_like(inner_a)
        for i in range(int(k)):
            value = value * (inner_a + i) / (inner_a + inner_b + i)
        for j in range(int(m)):
            value = value * (inner_b + j) / (inner_a + inner_b + k + j)
    else:
        value = np.exp(betaln(inner_a + k, inner_b + m) - betaln(inner_a, inner_b))
    at_zero = 1.0 if k == m == 0 else (0.0 if k > 0 and m > 0 else 0.5)
    value = np.where(zero, at_zero, np.where(infinite, 0.5 ** (k + m), value))
    return as_result(value)


def size_biased_moment(k: int, m: int, alpha: ArrayLike) -> Any:
    r"""Moment :math:`E[\Lambda^k(1-\Lambda)^m]` of :math:`\Lambda\sim\mathrm{Beta}(\alpha+1,\alpha)`.

    For exchangeable pairs the mixed-loss risk equals the single-label risk under this law:
    :math:`E[\lambda\ell(\tilde x,y_i)+(1-\lambda)\ell(\tilde x,y_j)] = E\,\ell(\Lambda x_i+(1-\Lambda)x_j, y_i)`.
    Its mean is the shrink factor s(alpha).

    Args:
        k: Power of Lambda, >= 0.
        m: Power of 1 - Lambda, >= 0.
        alpha: Concentration(s) in [0, inf] (of the original law).

    Returns:
        The moment, :math:`2E[\lambda^{k+1}(1-\lambda)^m]`.

    Raises:
        ValueError: If `alpha` is not a number >= 0 or a power is negative.

    References:
        theory A.6; Zhang et al. 2021, lemma 3.1.

    Example:
        >>> round(size_biased_moment(1, 0, 1.0), 6)  # s(1) = 2/3
        0.666667
    """
    check_alpha(alpha)
    k, m = check_integer("k", k, 0), check_integer("m", m, 0)
    return as_result(2 * np.asarray(lam_moment(k + 1, m, alpha)))


def _moment_steps(integrand: sp.Expr, closed: sp.Expr, a: sp.Symbol) -> tuple[Step, Step, Step]:
    """Write E g(lam) for a polynomial g as Beta functions, then as a rational function of alpha."""
    lam = sp.Symbol("lambda", positive=True)
    terms = sp.Poly(sp.expand(integrand.subs(sp.Symbol("lam"), lam)), lam).terms()
    betas = sum(c * sp.beta(a + k, a) / sp.beta(a, a) for (k,), c in terms)
    gammas = sum(c * sp.rf(a, k) / sp.rf(2 * a, k) for (k,), c in terms)
    return (
        Step(betas, "expand in powers of lam; each moment is a ratio of Beta functions"),
        Step(gammas, "rising factorials"),
        Step(closed, "simplify"),
    )


def derive_shrink_factor() -> Derivation:
    r"""Derive :math:`s(\alpha) = E[\lambda^2+(1-\lambda)^2] = (\alpha+1)/(2\alpha+1)`.

    Returns:
        The derivation; its end is `shrink_factor`.

    References:
        theory A.1.

    Example:
        >>> derive_shrink_factor().verify().result
        (alpha + 1)/(2*alpha + 1)
    """
    a, lam = sp.Symbol("alpha", positive=True), sp.Symbol("lam")
    steps = _moment_steps(lam**2 + (1 - lam) ** 2, (a + 1) / (2 * a + 1), a)
    return Derivation("The shrink factor is s(alpha).", ("lam ~ Beta(alpha, alpha)", "alpha > 0"), steps)


def derive_var_lam() -> Derivation:
    r"""Derive :math:`\mathrm{Var}\,\lambda = 1/(4(2\alpha+1))`.

    Returns:
        The derivation; its end is `var_lam`.

    References:
        theory A.1.

    Example:
        >>> derive_var_lam().verify().result
        1/(8*alpha + 4)
    """
    a, lam = sp.Symbol("alpha", positive=True), sp.Symbol("lam")
    steps = _moment_steps((lam - sp.Rational(1, 2)) ** 2, 1 / (4 * (2 * a + 1)), a)
    return Derivation("lam has variance 1/(4(2 alpha + 1)).", ("lam ~ Beta(alpha, alpha)", "alpha > 0"), steps)


def derive_var_q() -> Derivation:
    r"""Derive :math:`\mathrm{Var}\,q = \alpha/((2\alpha+1)^2(2\alpha+3))`, :math:`q=\lambda^2+(1-\lambda)^2`.

    Returns:
        The derivation; its end is `var_q`.

    References:
        theory section 0.

    Example:
        >>> derive_var_q().verify().result
        alpha/((2*alpha + 1)**2*(2*alpha + 3))
    """
    a, lam = sp.Symbol("alpha", positive=True), sp.Symbol("lam")
    q = lam**2 + (1 - lam) ** 2
    second, first = _moment_steps(q**2, sp.Integer(0), a)[1], _moment_steps(q, sp.Integer(0), a)[1]
    square = (a**2 + 3 * a + 3) / ((2 * a + 1) * (2 * a + 3))
    steps = (
        Step(sp.Eq(second.expression, square, evaluate=False), "second moment of q from the moments of lam"),
        Step(sp.Eq(first.expression, (a + 1) / (2 * a + 1), evaluate=False), "mean of q"),
        Step(
            sp.Eq(square - ((a + 1) / (2 * a + 1)) ** 2, a / ((2 * a + 1) ** 2 * (2 * a + 3)), evaluate=False),
            "E q^2 - (E q)^2",
        ),
    )
    return Derivation("q has a variance that no batch size removes.", ("lam ~ Beta(alpha, alpha)", "alpha > 0"), steps)
