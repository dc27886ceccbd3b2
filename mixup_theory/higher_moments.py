r"""Third and fourth moments of mixed examples: mixing independent pairs does not keep a Gaussian Gaussian."""

from __future__ import annotations

import numpy as np
import sympy as sp
from numpy.typing import ArrayLike

from ._checks import as_result, check_array, check_interval, check_positive
from .derivation import Derivation, Step
from .laws import AlphaOrLaw, as_law
from .moments import Result

__all__ = ["derive_mixed_kurtosis", "mixed_excess_kurtosis", "mixed_fourth_moment", "mixed_third_moment"]


def mixed_third_moment(third_moment: ArrayLike, alpha: AlphaOrLaw) -> Result:
    r"""Third central moment :math:`E\tilde z^3 = E[\lambda^3+(1-\lambda)^3]\,m_3`, scalar x, independent pairs.

    For Beta(alpha, alpha) the factor is :math:`(\alpha+2)/(2(2\alpha+1))`: skewness is not preserved.

    Args:
        third_moment: Third central moment(s) of x.
        alpha: Beta concentration(s) in [0, inf], or a law of lam; broadcast.

    Returns:
        The third central moment of the mixture.

    Raises:
        ValueError: If an argument is out of range.

    References:
        theory B.3.

    Example:
        >>> mixed_third_moment(1.0, 1.0)
        0.5
    """
    law = as_law(alpha)
    factor = np.asarray(law.moment(3)) + np.asarray(law.moment(0, 3))
    return as_result(factor * check_array("third_moment", third_moment, (0, 1, 2)))


def mixed_fourth_moment(fourth_moment: ArrayLike, variance: ArrayLike, alpha: AlphaOrLaw) -> Result:
    r"""Fourth central moment :math:`E\tilde z^4 = E[\lambda^4+(1-\lambda)^4]\,m_4 + 6E[p^2]\,\sigma^4`.

    Assumptions:
        Scalar x, independent pairs, lam independent of them.

    Args:
        fourth_moment: Fourth central moment(s) of x, >= 0.
        variance: Variance(s) of x, >= 0.
        alpha: Beta concentration(s) in [0, inf], or a law of lam; all broadcast.

    Returns:
        The fourth central moment of the mixture.

    Raises:
        ValueError: If an argument is out of range.

    References:
        theory B.3.

    Example:
        >>> round(mixed_fourth_moment(3.0, 1.0, 1.0), 12)  # standard normal: 3 E[q^2]
        1.4
    """
    law = as_law(alpha)
    m4 = check_positive("fourth_moment", fourth_moment, zero=True)
    sigma2 = check_positive("variance", variance, zero=True)
    own = np.asarray(law.moment(4)) + np.asarray(law.moment(0, 4))
    return as_result(own * m4 + 6 * np.asarray(law.mean_p_squared) * sigma2**2)


def mixed_excess_kurtosis(alpha: AlphaOrLaw, kurtosis: ArrayLike = 3.0) -> Result:
    r"""Excess kurtosis :math:`\tilde\kappa - 3 = \{E[\lambda^4+(1-\lambda)^4](\kappa-3) + 3\mathrm{Var}\,q\}/s^2`.

    Gaussian data (kurtosis 3) do not stay Gaussian: the mixture is a scale mixture with excess
    :math:`3\alpha/((\alpha+1)^2(2\alpha+3)) > 0`, at most 0.167570 at :math:`\alpha=(\sqrt{57}-3)/8`.

    Assumptions:
        Scalar x, independent pairs, lam independent of them.

    Args:
        alpha: Beta concentration(s) in [0, inf], or a law of lam.
        kurtosis: Kurtosis (not excess) of x, >= 1; broadcast.

    Returns:
        The excess kurtosis of the mixture, >= -2.

    Raises:
        ValueError: If an argument is out of range.

    References:
        theory B.3.

    Example:
        >>> round(mixed_excess_kurtosis((57**0.5 - 3) / 8), 6)
        0.16757
    """
    law = as_law(alpha)
    kappa = check_interval("kurtosis", kurtosis, 1, np.inf, closed="left")
    own = np.asarray(law.moment(4)) + np.asarray(law.moment(0, 4))
    return as_result((own * (kappa - 3) + 3 * np.asarray(law.var_q)) / np.asarray(law.shrink_factor) ** 2)


def derive_mixed_kurtosis() -> Derivation:
    r"""Derive the excess kurtosis of mixed independent pairs, scalar x.

    Returns:
        The derivation; its result is in the symbols alpha and kappa (the kurtosis of x).

    References:
        theory B.3.

    Example:
        >>> derivation = derive_mixed_kurtosis().verify()
        >>> derivation.result.subs({symbol: 3 for symbol in derivation.result.free_symbols})  # alpha = kappa = 3
        1/16
    """
    alpha, kappa = sp.symbols("alpha kappa", positive=True)
    lam, x, z = sp.symbols("lambda x z", real=True)
    fourth = sp.Poly(sp.expand((lam * x + (1 - lam) * z) ** 4), x, z)
    central = {0: 1, 1: 0, 2: 1, 3: sp.Symbol("m3"), 4: kappa}  # of unit variance; m3 only meets a first moment, 0
    given_lam = sum(coeff * central[i] * central[j] for (i, j), coeff in fourth.terms())

    def average(expression: sp.Expr) -> sp.Expr:
        """Average a polynomial in lam over Beta(alpha, alpha), moment by moment."""
        terms = sp.Poly(expression, lam).terms()
        return sum(b * sp.beta(alpha + k, alpha) for (k,), b in terms) / sp.beta(alpha, alpha)

    s = (alpha + 1) / (2 * alpha + 1)
    twice_fourth = (alpha + 2) * (alpha + 3) / (2 * (2 * alpha + 1) * (2 * alpha + 3))
    variance_of_q = alpha / ((2 * alpha + 1) ** 2 * (2 * alpha + 3))
    q = lam**2 + (1 - lam) ** 2
    steps = (
        Step(sp.Eq(average(q), s), "the variance of the mixture, unit variance of x"),
        Step(sp.Eq(average(q**2) - s**2, variance_of_q), "the variance of q"),
        Step(
            sp.Eq(average(given_lam) / s**2 - 3, (twice_fourth * (kappa - 3) + 3 * variance_of_q) / s**2),
            "expand the fourth power, average over the pair and then over the weight, divide by the variance squared",
        ),
    )
    given = ("independent members", "scalar x with kurtosis kappa", "lam independent of them, Beta(alpha, alpha)")
    return Derivation("The excess kurtosis of the mixture is (2 E lam^4 (kappa - 3) + 3 Var q) / s^2.", given, steps)
