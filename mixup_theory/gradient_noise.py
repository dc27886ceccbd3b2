r"""Covariance of the mixup batch gradient of linear regression, for every partner scheme, against ERM's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._checks import as_result, check_array, check_choice, check_integer, check_interval, check_positive
from .finite_batch import check_scheme, pair_return_probability, weight_law
from .laws import AlphaOrLaw, Law
from .mixing import LAM_PER, PARTNERS

__all__ = [
    "NOISE_PARTNERS",
    "GradientMoments",
    "NoiseCoefficients",
    "centred_gradient_moments",
    "erm_noise_coefficients",
    "fixed_point_free_coefficients",
    "gaussian_gradient_moments",
    "gradient_noise_coefficients",
]

NOISE_PARTNERS = (*PARTNERS, "fresh")  # fresh: both members of every pair drawn anew from the population


@dataclass(frozen=True)
class GradientMoments:
    r"""Moments of the gradient :math:`g=xr` of one example, :math:`r=x^\top\theta-y`, for centred x and r.

    Attributes:
        mean: :math:`h=E g`, shape [d].
        covariance: :math:`C=\mathrm{Cov}(g)`, shape [d, d].
        cross: :math:`D=E[r^2]E[xx^\top]+hh^\top`, half the covariance of :math:`x_ir_j+x_jr_i`, shape [d, d].
    """

    mean: NDArray[np.float64]
    covariance: NDArray[np.float64]
    cross: NDArray[np.float64]


def gaussian_gradient_moments(covariance: ArrayLike, error: ArrayLike, noise_variance: float) -> GradientMoments:
    r"""Gradient moments for Gaussian inputs and independent Gaussian label noise.

    :math:`h=\Sigma\delta` and :math:`C=D=(\delta^\top\Sigma\delta+\tau^2)\Sigma+hh^\top`. Exact.

    Args:
        covariance: Input covariance :math:`\Sigma`, shape [d, d].
        error: :math:`\delta=\theta-\theta^*`, shape [d].
        noise_variance: Variance :math:`\tau^2` >= 0 of the independent Gaussian label noise.

    Returns:
        The moments.

    Raises:
        ValueError: If a shape or a value is out of range.

    References:
        theory C.6.

    Example:
        >>> gaussian_gradient_moments([[1.0]], [2.0], 0.5).covariance  # (4 + 0.5) + 4
        array([[8.5]])
    """
    sigma, delta = check_array("covariance", covariance, 2), check_array("error", error, 1)
    tau2 = float(check_positive("noise_variance", noise_variance, zero=True))
    if sigma.shape != (len(delta), len(delta)):
        raise ValueError(f"`covariance` must have shape {(len(delta),) * 2}, got {sigma.shape}.")
    h = sigma @ delta
    c = (delta @ h + tau2) * sigma + np.outer(h, h)
    return GradientMoments(h, c, c.copy())


def centred_gradient_moments(x: ArrayLike, y: ArrayLike, theta: ArrayLike) -> GradientMoments:
    r"""Gradient moments of a data set taken as the population, after centring x and the residual.

    Exact for batches drawn with replacement from the centred data. Centring is what an intercept at its optimum does.

    Args:
        x: Inputs, shape [n, d].
        y: Targets, shape [n].
        theta: Weights, shape [d].

    Returns:
        The moments, with divisor n.

    Raises:
        ValueError: If a shape or a value is out of range.

    References:
        theory C.6.

    Example:
        >>> centred_gradient_moments([[0.0], [2.0]], [0.0, 2.0], [0.0]).mean  # -Cov(x, y)
        array([-1.])
    """
    inputs, targets, weights = check_array("x", x, 2), check_array("y", y, 1), check_array("theta", theta, 1)
    if targets.shape != inputs.shape[:1] or weights.shape != inputs.shape[1:]:
        raise ValueError(
            f"`y` and `theta` must have shapes {inputs.shape[:1]} and {inputs.shape[1:]}, got {targets.shape} "
            f"and {weights.shape}."
        )
    centred = inputs - inputs.mean(axis=0)
    residual = inputs @ weights - targets
    residual = residual - residual.mean()
    gradients = centred * residual[:, None]
    h = gradients.mean(axis=0)
    c = (gradients - h).T @ (gradients - h) / len(inputs)
    return GradientMoments(h, c, np.mean(residual**2) * (centred.T @ centred) / len(inputs) + np.outer(h, h))


@dataclass(frozen=True)
class NoiseCoefficients:
    r"""Coefficients of :math:`\mathrm{Cov}(\text{batch gradient})=\kappa_CC+\kappa_DD+\kappa_hhh^\top`.

    Attributes:
        kappa_c: Coefficient of C.
        kappa_d: Coefficient of D.
        kappa_h: Coefficient of :math:`hh^\top`.
        mean_factor: The expected batch gradient is this times h.

    Example:
        >>> erm_noise_coefficients(4).trace(2.0, 2.0, 1.0)
        0.5
    """

    kappa_c: Any
    kappa_d: Any
    kappa_h: Any
    mean_factor: Any

    def trace(self, trace_c: ArrayLike, trace_d: ArrayLike, h_squared: ArrayLike) -> Any:
        r"""Return the trace of the covariance from tr C, tr D and :math:`\lVert h\rVert^2`, all >= 0."""
        c, d, h = (
            check_positive(name, value, zero=True)
            for name, value in (("trace_c", trace_c), ("trace_d", trace_d), ("h_squared", h_squared))
        )
        return as_result(self.kappa_c * c + self.kappa_d * d + self.kappa_h * h)

    def relative(self, trace_c: ArrayLike, trace_d: ArrayLike, h_squared: ArrayLike) -> Any:
        r"""Return noise over signal: the trace over the squared norm of the expected batch gradient."""
        signal = np.square(self.mean_factor) * check_positive("h_squared", h_squared)
        return as_result(np.asarray(self.trace(trace_c, trace_d, h_squared)) / signal)

    def covariance(self, moments: GradientMoments) -> NDArray[np.float64]:
        r"""Return the covariance matrix of the batch gradient, shape [d, d], for scalar coefficients."""
        h = moments.mean
        return self.kappa_c * moments.covariance + self.kappa_d * moments.cross + self.kappa_h * np.outer(h, h)


def erm_noise_coefficients(n: int) -> NoiseCoefficients:
    """Coefficients of plain batches: the covariance is C/n.

    Args:
        n: Batch size, >= 1.

    Returns:
        The coefficients.

    Raises:
        ValueError: If `n` is no whole number >= 1.

    References:
        theory C.6.

    Example:
        >>> erm_noise_coefficients(2).kappa_c
        0.5
    """
    return NoiseCoefficients(1 / check_integer("n", n, 1), 0.0, 0.0, 1.0)


def gradient_noise_coefficients(
    alpha: AlphaOrLaw,
    n: int,
    *,
    partner: str = "permutation",
    lam_per: str = "batch",
    lam_max: bool = False,
) -> NoiseCoefficients:
    r"""Covariance coefficients of the mixup batch gradient of linear regression, exact at every batch size.

    With :math:`W_k` the weight of the gradient :math:`g_k` in the batch, :math:`P_{ij}` that of
    :math:`T_{ij}=x_ir_j+x_jr_i` (:math:`\lambda(1-\lambda)` for each mixed pair that joins i and j):
    :math:`n\kappa_C=E\tfrac1n\sum_kW_k^2`, :math:`n\kappa_D=\tfrac2nE\sum_{i<j}P_{ij}^2`,
    :math:`\kappa_h=\mathrm{Var}(\tfrac1n\sum_kW_k)`. With one lam per batch :math:`\kappa_h\to\mathrm{Var}q` does
    not fall with n.

    Assumptions: squared loss, examples i.i.d. with :math:`E x=0` and :math:`E r=0` (centred data).

    Args:
        alpha: Beta concentration(s) in [0, inf], or a law of lam.
        n: Batch size, >= 2 (>= 1 for `fresh`); even for `flip`.
        partner: A law of `mixing.PARTNERS`, or `fresh`: n pairs with both members drawn from the population.
        lam_per: One lam per `batch`, one per `sample`, or one per matched `pair` (of `flip`).
        lam_max: Replace lam by max(lam, 1 - lam).

    Returns:
        The coefficients, each of the shape of alpha.

    Raises:
        ValueError: If the scheme is unknown or impossible.

    References:
        theory C.6.

    Example:
        >>> noise = gradient_noise_coefficients(1.0, 1000, partner="roll")
        >>> round(1000 * (noise.kappa_c + noise.kappa_d), 4), round(noise.kappa_h, 4)
        (0.5333, 0.0222)
    """
    check_choice("partner", partner, NOISE_PARTNERS)
    check_choice("lam_per", lam_per, LAM_PER)
    law = weight_law(alpha, lam_max)
    if partner == "fresh":
        n = check_integer("n", n, 1)
        if lam_per == "pair":
            raise ValueError("`partner` must be 'flip' for lam_per 'pair', got 'fresh'.")
        floor = np.asarray(law.var_q) / (1 if lam_per == "batch" else n)
        own = np.asarray(law.moment(4)) + np.asarray(law.moment(0, 4))
        return _coefficients(own, 2 * np.asarray(law.mean_p_squared), floor, law.shrink_factor, n)
    check_scheme(n, partner, lam_per)
    if lam_per == "pair":
        return _per_pair(law, n)
    if partner in ("derangement", "flip", "roll"):
        return fixed_point_free_coefficients(law, n, pair_return_probability(n, partner), lam_per=lam_per)
    return _with_fixed_points(law, n, partner, lam_per)


def fixed_point_free_coefficients(
    alpha: AlphaOrLaw, n: int, rho2: float, *, lam_per: str = "batch", lam_max: bool = False
) -> NoiseCoefficients:
    r"""Coefficients for any permutation law without fixed points, which matters only through :math:`\rho_2`.

    One lam: :math:`n\kappa_C=Eq^2`, :math:`n\kappa_D=2(1+\rho_2)Ep^2`, :math:`\kappa_h=\mathrm{Var}q`. One per
    sample: :math:`n\kappa_C=E\lambda^4+E(1-\lambda)^4+2E\lambda^2E(1-\lambda)^2`,
    :math:`n\kappa_D=2Ep^2+2\rho_2(Ep)^2`, :math:`\kappa_h=\mathrm{Var}q/n`.

    Assumptions: as `gradient_noise_coefficients`.

    Args:
        alpha: Beta concentration(s) in [0, inf], or a law of lam.
        n: Batch size, >= 2.
        rho2: Probability in [0, 1] that the partner of my partner is me: 0 for a roll, 1 for a flip.
        lam_per: `batch` or `sample`.
        lam_max: Replace lam by max(lam, 1 - lam).

    Returns:
        The coefficients, each of the shape of alpha.

    Raises:
        ValueError: If an argument is out of range.

    References:
        theory C.6.

    Example:
        >>> noise = fixed_point_free_coefficients(0.0, 8, 0.0, lam_per="sample")
        >>> 8 * (noise.kappa_c + noise.kappa_d)  # duplicates stay: ERM has 1
        1.5
    """
    n = check_integer("n", n, 2)
    rho2 = float(check_interval("rho2", rho2, 0, 1))
    check_choice("lam_per", lam_per, ("batch", "sample"))
    law = weight_law(alpha, lam_max)
    p, p_squared, spread = (np.asarray(v) for v in (law.mean_p, law.mean_p_squared, law.var_q))
    if lam_per == "batch":
        own, cross = np.asarray(law.mean_q_squared), 2 * (1 + rho2) * p_squared
        return _coefficients(own, cross, spread, law.shrink_factor, n)
    own = _two_weights(law) + 2 * np.asarray(law.moment(2)) * np.asarray(law.moment(0, 2))
    return _coefficients(own, 2 * p_squared + 2 * rho2 * p**2, spread / n, law.shrink_factor, n)


def _per_pair(law: Law, n: int) -> NoiseCoefficients:
    """One lam per matched pair: n/2 independent pairs, each with its own q, its cross term counted twice."""
    own, cross = np.asarray(law.mean_q_squared), 4 * np.asarray(law.mean_p_squared)
    return _coefficients(own, cross, 2 * np.asarray(law.var_q) / n, law.shrink_factor, n)


def _with_fixed_points(law: Law, n: int, partner: str, lam_per: str) -> NoiseCoefficients:
    """Uniform permutations and partners with replacement, where F examples stay unmixed, E F = 1."""
    # An unmixed example has weight 1 = q + 2p, so the total weight is n less the sum of 2p over the mixed ones.
    p, p_squared, spread = (np.asarray(v) for v in (law.mean_p, law.mean_p_squared, law.var_q))
    stay, move = 1 / n, 1 - 1 / n
    drawn = partner == "independent"
    # Variance of the number of unmixed examples: 1 for permutations, 1 - 1/n for independent draws.
    fixed_variance = move if drawn else 1.0
    if lam_per == "batch":
        floor = move**2 * spread + 4 * p_squared * fixed_variance / n**2
    else:
        floor = (move * spread + 4 * p**2 * fixed_variance / n) / n
    if not drawn:
        mixed = np.asarray(law.mean_q_squared)
        cross = 2 * p_squared
        if lam_per == "sample":
            mixed = _two_weights(law) + 2 * np.asarray(law.moment(2)) * np.asarray(law.moment(0, 2))
            cross = 2 * move * p_squared + 2 * p**2 / n
        return _coefficients(move * mixed + stay, cross, floor, 1 - 2 * move * p, n)
    # W_k = own term (1 if unmixed) + one (1 - lam)^2 for each of the Binomial(n - 1, 1/n) others that drew k.
    first, second = np.asarray(law.moment(2)), np.asarray(law.moment(0, 2))
    joint = p_squared if lam_per == "batch" else first * second
    again = np.asarray(law.moment(0, 4)) if lam_per == "batch" else second**2
    own = stay + move * _two_weights(law) + 2 * move * (stay * second + move * joint)
    own = own + move * (1 - 2 / n) * again
    cross = 2 * move * (p_squared + (p_squared if lam_per == "batch" else p**2) / n)
    return _coefficients(own, cross, floor, 1 - 2 * move * p, n)


def _two_weights(law: Law) -> NDArray[np.float64]:
    """Return E lam^4 + E (1 - lam)^4."""
    return np.asarray(law.moment(4)) + np.asarray(law.moment(0, 4))


def _coefficients(own: Any, cross: Any, floor: Any, mean_factor: Any, n: int) -> NoiseCoefficients:
    """Divide the first two by n and give plain floats for scalar alpha."""
    values = (own / n, cross / n, floor, mean_factor)
    return NoiseCoefficients(*(as_result(value) for value in values))
