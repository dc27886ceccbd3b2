r"""The law of the mixing weight lam: its moments, the larger weight, entropy, transform, and a safe sampler."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import betainc, gammaln, psi, zeta

from ._checks import as_result, check_alpha, check_array, check_positive
from .incomplete_moments import density_at_half
from .moments import (
    Result,
    lam_moment,
    mean_p,
    mean_p_squared,
    mean_q_squared,
    rational_in_alpha,
    shrink_factor,
    size_biased_moment,
    var_lam,
    var_q,
)
from .quadrature import expect

__all__ = [
    "cosine_transform",
    "expected_abs_u",
    "expected_binary_entropy",
    "expected_max_lam",
    "lam_cdf",
    "lam_moment",
    "mean_p",
    "mean_p_squared",
    "mean_q_squared",
    "sample_lam",
    "shrink_factor",
    "size_biased_moment",
    "torch_half_probability",
    "var_lam",
    "var_max_lam",
    "var_q",
]


def _abs_u(a: NDArray[np.float64]) -> NDArray[np.float64]:
    """E|2 lam - 1| as half the density at 1/2 over alpha; 1 at alpha = 0."""
    positive = np.where(a > 0, a, 1.0)
    return np.where(a > 0, density_at_half(positive) / (2 * positive), 1.0)


def expected_abs_u(alpha: ArrayLike) -> Result:
    r"""Mean :math:`E|2\lambda-1| = \Gamma(\alpha+\tfrac12)/(\sqrt\pi\,\Gamma(\alpha+1))`.

    Args:
        alpha: Beta concentration(s) in [0, inf].

    Returns:
        The mean in [0, 1].

    Raises:
        ValueError: If `alpha` is not a number >= 0.

    References:
        theory section 0.

    Example:
        >>> round(expected_abs_u(1.0), 12)
        0.5
    """
    return rational_in_alpha(_abs_u, alpha, 0.0)


def expected_max_lam(alpha: ArrayLike) -> Result:
    r"""Mean of the larger weight: :math:`E\max(\lambda,1-\lambda) = \tfrac12 + \tfrac12 E|2\lambda-1|`.

    Args:
        alpha: Beta concentration(s) in [0, inf].

    Returns:
        The mean in [1/2, 1].

    Raises:
        ValueError: If `alpha` is not a number >= 0.

    References:
        theory section 0, A.3.

    Example:
        >>> round(expected_max_lam(1.0), 12)
        0.75
    """
    return as_result(0.5 + 0.5 * np.asarray(expected_abs_u(alpha)))


def var_max_lam(alpha: ArrayLike) -> Result:
    r"""Variance of the larger weight: :math:`\tfrac14\{1/(2\alpha+1) - (E|2\lambda-1|)^2\}`.

    Below alpha = 1 by the moments of the smaller weight,
    :math:`s I_{1/2}(\alpha+2,\alpha) - I_{1/2}(\alpha+1,\alpha)^2`, since there the printed form cancels.

    Args:
        alpha: Beta concentration(s) in [0, inf].

    Returns:
        The variance, >= 0, zero at both limits.

    Raises:
        ValueError: If `alpha` is not a number >= 0.

    References:
        theory section 0, A.3.

    Example:
        >>> round(var_max_lam(1.0), 6)  # uniform on [1/2, 1]: 1/48
        0.020833
    """

    def formula(a: NDArray) -> NDArray:
        small = np.clip(a, 1e-300, 1.0)
        folded = (small + 1) / (2 * small + 1) * betainc(small + 2, small, 0.5)
        folded = folded - betainc(small + 1, small, 0.5) ** 2
        printed = (1 / (2 * a + 1) - _abs_u(a) ** 2) / 4
        return np.where(a == 0, 0.0, np.where(a < 1, folded, printed))

    return rational_in_alpha(formula, alpha, 0.0)


def expected_binary_entropy(alpha: ArrayLike) -> Result:
    r"""Mean label entropy :math:`E H(\lambda) = \psi(2\alpha+1) - \psi(\alpha+1)` in nats.

    Below alpha = 0.05 by the Taylor series of :math:`\psi`, which keeps the relative accuracy that the
    difference loses.

    Args:
        alpha: Beta concentration(s) in [0, inf].

    Returns:
        The entropy in [0, ln 2].

    Raises:
        ValueError: If `alpha` is not a number >= 0.

    References:
        theory section 0, F.6.

    Example:
        >>> round(expected_binary_entropy(1.0), 12)
        0.5
    """

    def formula(a: NDArray) -> NDArray:
        small = np.minimum(a, 0.05)
        series = sum((-1) ** k * zeta(k) * (2 ** (k - 1) - 1) * small ** (k - 1) for k in range(2, 22))
        return np.where(a < 0.05, series, psi(2 * a + 1) - psi(a + 1))

    return rational_in_alpha(formula, alpha, np.log(2))


def cosine_transform(alpha: ArrayLike, omega: ArrayLike) -> Result:
    r"""Transform :math:`E\cos\{\omega(2\lambda-1)\} = {}_0F_1(;\alpha+\tfrac12;-\omega^2/4)`.

    Args:
        alpha: Beta concentration(s) in [0, inf].
        omega: Frequency, finite, broadcast with `alpha`.

    Returns:
        The transform in [-1, 1].

    Raises:
        ValueError: If `alpha` is not a number >= 0 or `omega` is not finite.

    References:
        theory A.1, D.6.

    Example:
        >>> round(cosine_transform(1.0, 2.0), 12) == round(float(np.sin(2.0) / 2), 12)  # uniform: sinc
        True
    """
    omega = check_array("omega", omega, (0, 1, 2))

    def transform(a: float, w: float) -> float:
        # an even entire function of lam - 1/2: this many nodes are exact to rounding; 0F1 itself cancels and overflows
        return float(expect(lambda t: np.cos(w * (2 * t - 1)), a, 32 + int(abs(w))))

    return as_result(np.vectorize(transform, otypes=[float])(check_alpha(alpha), omega))


def lam_cdf(t: ArrayLike, alpha: ArrayLike) -> Result:
    r"""Distribution function :math:`P(\lambda\le t) = I_t(\alpha,\alpha)`.

    Args:
        t: Points, any real number.
        alpha: Beta concentration(s) in [0, inf], broadcast with `t`.

    Returns:
        The probability; at the limits the step functions of atoms at 0 and 1, or at 1/2.

    Raises:
        ValueError: If `alpha` is not a number >= 0 or `t` is not finite.

    References:
        theory section 0.

    Example:
        >>> lam_cdf(0.25, 1.0), lam_cdf(0.25, 0.0), lam_cdf(0.25, float("inf"))
        (0.25, 0.5, 0.0)
    """
    t = check_array("t", t, (0, 1, 2))
    a = check_alpha(alpha)
    t, a = np.broadcast_arrays(t, a)
    inside = (a > 0) & np.isfinite(a)
    value = betainc(np.where(inside, a, 1.0), np.where(inside, a, 1.0), np.clip(t, 0, 1))
    two_atoms = np.where(t < 0, 0.0, np.where(t < 1, 0.5, 1.0))
    value = np.where(a == 0, two_atoms, np.where(np.isinf(a), (t >= 0.5) * 1.0, value))
    return as_result(value)


def sample_lam(
    rng: np.random.Generator, size: int | tuple[int, ...], alpha: float, beta: float | None = None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    r"""Draw lam and, separately, 1 - lam, right for every alpha in [0, inf].

    With :math:`\ell = \ln G_{\alpha+1} + \ln(U)/\alpha` twice (each is the log of a Gamma(alpha) variable),
    :math:`\lambda = \mathrm{sigmoid}(\ell_1-\ell_2)` and :math:`1-\lambda = \mathrm{sigmoid}(\ell_2-\ell_1)`.
    Nothing underflows to 0/0, where the common sampler returns 1/2 (in 24 % of draws at alpha = 1e-3).

    Args:
        rng: Source of randomness.
        size: Number or shape of draws.
        alpha: First concentration; in [0, inf] when `beta` is None, else in (0, inf).
        beta: Second concentration in (0, inf); equal to `alpha` when None.

    Returns:
        Two float64 arrays of shape `size` that sum to 1; the smaller of each pair keeps its digits.

    Raises:
        ValueError: If a concentration is out of range.

    References:
        theory A.5.

    Example:
        >>> lam, rest = sample_lam(np.random.default_rng(0), 1000, 1e-8)
        >>> bool(np.all(np.minimum(lam, rest) < 1e-6))
        True
    """
    a = float(check_alpha(alpha) if beta is None else check_positive("alpha", alpha))
    b = a if beta is None else float(check_positive("beta", beta))
    if a == 0:
        lam = rng.integers(0, 2, size).astype(float)
        return lam, 1 - lam
    if np.isinf(a):
        return np.full(size, 0.5), np.full(size, 0.5)
    first = np.log(rng.standard_gamma(a + 1, size)) - rng.standard_exponential(size) / a
    second = np.log(rng.standard_gamma(b + 1, size)) - rng.standard_exponential(size) / b
    gap = first - second
    small = np.exp(-np.abs(gap)) / (1 + np.exp(-np.abs(gap)))
    large = 1 / (1 + np.exp(-np.abs(gap)))
    return np.where(gap > 0, large, small), np.where(gap > 0, small, large)


def torch_half_probability(alpha: float, smallest: float = float(np.finfo(np.float64).tiny)) -> float:
    r"""Probability that a sampler built on two Gamma draws returns exactly 1/2 because both underflow.

    :math:`\{x_{min}^\alpha/\Gamma(\alpha+1)\}^2` with the smallest normal number :math:`x_{min}`:
    `torch.distributions.Beta` clamps both draws to it and divides.

    Args:
        alpha: Beta concentration in (0, inf).
        smallest: The number to which draws are clamped.

    Returns:
        The probability, in [0, 1].

    Raises:
        ValueError: If `alpha` is not a finite number > 0.

    References:
        theory A.5.

    Example:
        >>> round(torch_half_probability(1e-3), 3)
        0.243
    """
    a = float(check_positive("alpha", alpha))
    return float(np.exp(2 * (a * np.log(smallest) - gammaln(a + 1))))
