r"""Intrusion: how often a mixture of two classes lands where a third, or an other radius, lives."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import betainc, betaln, ndtr, poch

from ._checks import as_result, check_alpha, check_array, check_integer, check_interval, check_positive
from .moments import Result
from .quadrature import expect_pieces
from .weights import sample_lam

__all__ = [
    "ambiguous_lam_mass",
    "collinear_intrusion",
    "interval_intrusion",
    "region_intrusion",
    "sphere_intrusion",
    "sphere_radius_cdf",
    "sphere_radius_moment",
]


def ambiguous_lam_mass(alpha: ArrayLike, eta: ArrayLike) -> Result:
    r"""Probability of a nearly even blend, :math:`P(|\lambda-\tfrac12|<\eta)=I_{4\eta^2}(\tfrac12,\alpha)`.

    The same as :math:`I_{1/2+\eta}(\alpha,\alpha)-I_{1/2-\eta}(\alpha,\alpha)` without its cancellation, because
    :math:`(2\lambda-1)^2\sim\mathrm{Beta}(\tfrac12,\alpha)`.

    Args:
        alpha: Beta concentration(s) in [0, inf].
        eta: Half width in [0, 1/2], broadcast with `alpha`.

    Returns:
        The probability, in [0, 1].

    Raises:
        ValueError: If an argument is out of range.

    References:
        theory F.8.

    Example:
        >>> round(ambiguous_lam_mass(4.0, 0.1), 6)
        0.420416
    """
    alpha, eta = np.broadcast_arrays(check_alpha(alpha), check_interval("eta", eta, 0, 0.5))
    finite = np.isfinite(alpha) & (alpha > 0)
    inside = betainc(0.5, np.where(finite, alpha, 1.0), 4 * eta**2)
    return as_result(np.where(finite, inside, np.where(alpha == 0, eta == 0.5, eta > 0)))


def interval_intrusion(
    alpha: ArrayLike, low: float, high: float, means: tuple[float, float], deviations: tuple[float, float]
) -> Result:
    r"""Probability that a mixture of two normal classes on a line lands in an interval.

    .. math:: E_\lambda[P(N(\lambda\mu_i+(1-\lambda)\mu_j,\ \lambda^2\sigma_i^2+(1-\lambda)^2\sigma_j^2)
              \in(low,high))]

    Also the half space or slab of any dimension, along its normal.

    Args:
        alpha: Beta concentration(s) in [0, inf].
        low: Left end, or -inf.
        high: Right end > low, or inf.
        means: Means of the two classes.
        deviations: Standard deviations >= 0 of the two classes along the line.

    Returns:
        The probability, in [0, 1], of the shape of `alpha`.

    Raises:
        ValueError: If an argument is out of range.

    References:
        theory F.8.

    Example:
        >>> round(interval_intrusion(1.0, -0.5, 0.5, (1.0, -1.0), (0.1, 0.1)), 6)
        0.502538
    """
    alpha = check_alpha(alpha)
    mu = check_array("means", means, 1)
    sd = check_positive("deviations", check_array("deviations", deviations, 1), zero=True)
    low, high = (float(check_interval(name, end, -np.inf, np.inf)) for name, end in (("low", low), ("high", high)))
    if mu.shape != (2,) or sd.shape != (2,) or not low < high:
        raise ValueError(
            f"`low` must be < `high` and `means` and `deviations` must hold two numbers each, got {low:g}, {high:g}, "
            f"{mu.shape} and {sd.shape}."
        )

    def inside(lam: NDArray) -> NDArray:
        centre = lam * mu[0] + (1 - lam) * mu[1]
        spread = np.sqrt((lam * sd[0]) ** 2 + ((1 - lam) * sd[1]) ** 2)
        positive = np.where(spread > 0, spread, 1.0)
        up, down = (high - centre) / positive, (low - centre) / positive
        # By the tail in which both are small, so that rare intrusions keep their digits.
        smooth = np.where(down > 0, ndtr(-down) - ndtr(-up), ndtr(up) - ndtr(down))
        sharp = ((low < centre) & (centre < high)) * 0.5 + ((low <= centre) & (centre <= high)) * 0.5
        return np.where(spread > 0, smooth, sharp)

    knots = _crossings((low, high), mu, sd)
    values = np.reshape([expect_pieces(inside, float(a), knots) for a in alpha.flat], alpha.shape)
    return as_result(np.clip(values, 0, 1))


def _crossings(ends: tuple[float, float], mu: NDArray, sd: NDArray) -> NDArray:
    """Knots where the mixed mean passes an end, and a few widths of the blur around each."""
    gap = mu[0] - mu[1]
    knots = [np.linspace(0, 1, 5)]
    for end in ends:
        if gap != 0 and np.isfinite(end) and 0 < (end - mu[1]) / gap < 1:
            at = (end - mu[1]) / gap
            blur = np.hypot(at * sd[0], (1 - at) * sd[1]) / abs(gap)
            knots.append(at + blur * np.array([-8, -4, -2, -1, 0, 1, 2, 4, 8]))
    joined = np.unique(np.concatenate(knots))
    joined = joined[(joined >= 0) & (joined <= 1)]
    return np.concatenate([[0.0], joined[1:][np.diff(joined) > 1e-12][:-1], [1.0]])


def collinear_intrusion(alpha: ArrayLike, sigma: ArrayLike = 0.0, mean: ArrayLike = 1.0) -> Result:
    r"""Probability that a mixture of the outer of three classes at -m, 0, m lands in the middle, :math:`|x|<m/2`.

    .. math:: E_\lambda\left[\Phi\left(\frac{m/2-mu}{\sigma\sqrt q}\right)
              -\Phi\left(\frac{-m/2-mu}{\sigma\sqrt q}\right)\right],\qquad u=2\lambda-1

    Without noise :math:`I_{3/4}(\alpha,\alpha)-I_{1/4}(\alpha,\alpha)`.

    Args:
        alpha: Beta concentration(s) in [0, inf].
        sigma: Standard deviation >= 0 of each class, broadcast with `alpha`.
        mean: Distance m > 0 of neighbouring classes, broadcast with `alpha`.

    Returns:
        The probability, in [0, 1].

    Raises:
        ValueError: If an argument is out of range.

    References:
        theory F.8.

    Example:
        >>> round(collinear_intrusion(0.2), 6), round(collinear_intrusion(0.2, 0.1), 6)
        (0.171889, 0.17439)
    """
    alpha, sigma, mean = np.broadcast_arrays(
        check_alpha(alpha), check_positive("sigma", sigma, zero=True), check_positive("mean", mean)
    )
    values = [
        ambiguous_lam_mass(a, 0.25)
        if s == 0
        else interval_intrusion(float(a), -0.5, 0.5, (1.0, -1.0), (float(s / m), float(s / m)))
        for a, s, m in zip(alpha.flat, sigma.flat, mean.flat, strict=True)
    ]
    return as_result(np.reshape(values, alpha.shape))


def region_intrusion(
    rng: np.random.Generator,
    contains: Callable[[NDArray], NDArray],
    alpha: float,
    means: tuple[ArrayLike, ArrayLike],
    covariances: tuple[ArrayLike, ArrayLike],
    num_samples: int = 100_000,
) -> tuple[float, float]:
    r"""Estimate the probability that a mixture of two normal classes lands in any region.

    Args:
        rng: Source of randomness.
        contains: Takes points of shape [n, d], returns booleans of shape [n].
        alpha: Beta concentration in [0, inf].
        means: Means of the two classes, each of shape [d].
        covariances: Covariances of the two classes, positive semidefinite, each of shape [d, d].
        num_samples: Number of draws, >= 2.

    Returns:
        The unbiased estimate and its standard error.

    Raises:
        ValueError: If shapes disagree or `contains` does not return one boolean per point.

    References:
        theory F.8.

    Example:
        >>> means, covariances = ([1.0], [-1.0]), ([[0.1]], [[0.1]])
        >>> half, error = region_intrusion(np.random.default_rng(0), lambda x: x[:, 0] > 0, 1.0, means, covariances)
        >>> bool(abs(half - 0.5) < 6 * error)
        True
    """
    num_samples = check_integer("num_samples", num_samples, 2)
    points = []
    for mean, covariance in zip(means, covariances, strict=True):
        mu, cov = check_array("means", mean, 1), check_array("covariances", covariance, 2)
        if cov.shape != (len(mu), len(mu)):
            raise ValueError(f"`covariances` must have shape [{len(mu)}, {len(mu)}] each, got {cov.shape}.")
        points.append(rng.multivariate_normal(mu, cov, num_samples, check_valid="raise"))
    lam, rest = sample_lam(rng, num_samples, alpha)
    inside = np.asarray(contains(lam[:, None] * points[0] + rest[:, None] * points[1]))
    if inside.shape != (num_samples,) or inside.dtype != bool:
        raise ValueError(f"`contains` must return one boolean per point, got {inside.dtype} of shape {inside.shape}.")
    return float(inside.mean()), float(inside.std(ddof=1) / np.sqrt(num_samples))


def sphere_radius_moment(alpha: ArrayLike, k: float, dimension: int = 2) -> Result:
    r"""Moment :math:`E[(1-R^2/A^2)^k]` of a mixture of two uniform points on a sphere of radius A in d dimensions.

    :math:`1-R^2/A^2` is the product of independent Beta(alpha, 1/2) and Beta((d-1)/2, (d-1)/2) variables, so
    :math:`E R^2=sA^2`.

    Args:
        alpha: Beta concentration(s) in [0, inf].
        k: Order >= 0.
        dimension: d >= 2; 2 is the circle.

    Returns:
        The moment, in [0, 1], of the shape of `alpha`.

    Raises:
        ValueError: If an argument is out of range.

    References:
        theory F.8, F.9.

    Example:
        >>> round(sphere_radius_moment(1.0, 2), 12)
        0.2
    """
    alpha = check_alpha(alpha)
    k = float(check_positive("k", k, zero=True))
    b = (check_integer("dimension", dimension, 2) - 1) / 2
    finite = np.where(np.isfinite(alpha), alpha, 1.0)
    blend = np.where(np.isfinite(alpha), poch(finite, k) / poch(finite + 0.5, k), 1.0)
    return as_result(blend * np.exp(betaln(b + k, b) - betaln(b, b)))


def sphere_radius_cdf(radius: ArrayLike, alpha: ArrayLike, dimension: int = 2) -> Result:
    r"""Distribution function :math:`P(R\le r)` of a mixture of two uniform points on the unit sphere.

    Given the angle, :math:`P(R\le r)` is an incomplete beta function of it, integrated by tanh-sinh; on the circle
    with alpha = 1 it is :math:`1-\sqrt{1-r^2}`.

    Args:
        radius: r in [0, 1] (in units of the sphere's radius).
        alpha: Beta concentration(s) in [0, inf], broadcast with `radius`.
        dimension: d >= 2; 2 is the circle.

    Returns:
        The probability, in [0, 1].

    Raises:
        ValueError: If an argument is out of range.

    References:
        theory F.8.

    Example:
        >>> round(sphere_radius_cdf(0.6, 1.0), 12)
        0.2
    """
    r, alpha = np.broadcast_arrays(check_interval("radius", radius, 0, 1), check_alpha(alpha))
    dimension = check_integer("dimension", dimension, 2)
    # Half the angle between the points is theta, sin(theta) = r sin(phi); psi = pi/2 - phi, dense near 0.
    u = np.pi * np.sinh(np.arange(-192, 193) / 48)
    near, far = 1 / (1 + np.exp(-u)), 1 / (1 + np.exp(u))
    psi, weights = np.pi / 2 * near, np.pi / 2 * near * far * np.hypot(u, np.pi) / 48
    r_, a_ = r[..., None], alpha[..., None]
    cosine_squared = (1 - r_) * (1 + r_) + (r_ * np.sin(psi)) ** 2  # of theta
    reach = (r_ * np.sin(psi)) ** 2 / np.where(cosine_squared > 0, cosine_squared, 1.0)
    finite = np.isfinite(a_) & (a_ > 0)
    blend = betainc(0.5, np.where(finite, a_, 1.0), np.minimum(reach, 1.0))  # P((2 lam - 1)^2 <= reach)
    blend = np.where(finite, blend, np.where(a_ == 0, reach >= 1, 1.0))
    sines = (r_ * np.cos(psi)) ** (dimension - 2) * cosine_squared ** ((dimension - 3) / 2)
    norm = 2 * np.exp(-betaln((dimension - 1) / 2, (dimension - 1) / 2))
    value = norm * np.sum(weights * blend * sines * r_ * np.sin(psi), axis=-1)
    return as_result(np.clip(value, 0, 1))


def sphere_intrusion(
    alpha: ArrayLike, target_radius: ArrayLike, half_width: ArrayLike, radius: ArrayLike = 1.0, dimension: int = 2
) -> Result:
    r"""Probability that a mixture of two points of the outer sphere lands in a shell around an inner one.

    :math:`P(r_1-\delta<R<r_1+\delta)`; on the unit circle with alpha = 1
    :math:`\sqrt{1-(r_1-\delta)^2}-\sqrt{1-(r_1+\delta)^2}`.

    Args:
        alpha: Beta concentration(s) in [0, inf].
        target_radius: Inner radius :math:`r_1 > 0`; broadcasts.
        half_width: Half thickness :math:`\delta` in (0, target_radius]; broadcasts.
        radius: Outer radius, >= target_radius + half_width; broadcasts.
        dimension: d >= 2; 2 is the circle.

    Returns:
        The probability, in [0, 1].

    Raises:
        ValueError: If radii are out of order or an argument is out of range.

    References:
        theory F.8.

    Example:
        >>> round(sphere_intrusion(1.0, 0.5, 0.05), 6)
        0.057864
    """
    inner, delta = check_positive("target_radius", target_radius), check_positive("half_width", half_width)
    outer = check_positive("radius", radius)
    if np.any(delta > inner) or np.any(inner + delta > outer):
        raise ValueError(
            f"`radius` must be >= target_radius + half_width and half_width <= target_radius, got radius {radius!r}, "
            f"target_radius {target_radius!r}, half_width {half_width!r}."
        )
    above = np.asarray(sphere_radius_cdf((inner + delta) / outer, alpha, dimension))
    return as_result(above - sphere_radius_cdf((inner - delta) / outer, alpha, dimension))
