r"""Logistic regression on mixed Gaussian classes: equal ones change only the temperature, unequal ones the boundary."""

from __future__ import annotations

import numpy as np
import sympy as sp
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit, logit, ndtr

from ._checks import as_result, check_alpha, check_array, check_interval
from .derivation import Derivation, Step
from .mixture_posterior import MAX_SEPARATION, gmm_grid, gmm_label_densities
from .moments import Result

__all__ = [
    "derive_balanced_boundary",
    "gmm_coefficients",
    "gmm_error",
    "gmm_logistic_fit",
    "gmm_logit_scale",
    "gmm_temperature",
    "gmm_threshold",
]


def gmm_logit_scale(alpha: ArrayLike, mahalanobis: ArrayLike) -> Result:
    r"""Scale c of the mixup-optimal logistic regression on a balanced Gaussian mixture.

    For :math:`x\mid t\sim N(t\mu_0,\Sigma)`, :math:`t=\pm1`, the minimiser is
    :math:`\theta=c(\alpha,D)\,\Sigma^{-1}\mu_0` with intercept 0, :math:`D^2=\mu_0^\top\Sigma^{-1}\mu_0`: the
    boundary of ERM, whose c is 2. With :math:`z=D^2\tau+\sqrt q\,D\xi`, :math:`\xi\sim N(0,1)`, c solves

    .. math:: \tfrac12E[(\sigma(cz)-1)z]_{\tau=1}+\tfrac12E[(\sigma(cz)-\lambda)z]_{\tau=2\lambda-1}=0.

    Assumptions:
        Infinite data, independent pairs.

    Args:
        alpha: Beta concentration(s) in [0, inf].
        mahalanobis: Half the distance of the class means in standard deviations, D in (0, 20]; broadcasts.

    Returns:
        The scale, in (0, 2].

    Raises:
        ValueError: If an argument is out of range.

    References:
        theory F.4.

    Example:
        >>> round(gmm_logit_scale(1.0, 1.0), 6), gmm_logit_scale(0.0, 1.0)
        (1.47959, 2.0)
    """
    return gmm_logistic_fit(alpha, mahalanobis)[1]


def gmm_temperature(alpha: ArrayLike, mahalanobis: ArrayLike) -> Result:
    r"""Temperature :math:`2/c(\alpha,D)` by which mixup divides the logit on a balanced Gaussian mixture.

    Args:
        alpha: Beta concentration(s) in [0, inf].
        mahalanobis: D in (0, 20]; broadcasts.

    Returns:
        The temperature, >= 1.

    Raises:
        ValueError: If an argument is out of range.

    References:
        theory F.4.

    Example:
        >>> round(gmm_temperature(1.0, 2.0), 3)
        2.781
    """
    return as_result(2 / np.asarray(gmm_logit_scale(alpha, mahalanobis)))


def gmm_coefficients(alpha: float, mean: ArrayLike, covariance: ArrayLike) -> NDArray[np.float64]:
    r"""Mixup-optimal logistic coefficients :math:`c(\alpha,D)\,\Sigma^{-1}\mu_0` on a balanced Gaussian mixture.

    Args:
        alpha: Beta concentration in [0, inf].
        mean: Mean :math:`\mu_0` of class +1 (class -1 has :math:`-\mu_0`), not zero, shape [d].
        covariance: Common covariance, symmetric positive definite, shape [d, d].

    Returns:
        The coefficients, shape [d]; the intercept is 0.

    Raises:
        ValueError: If an argument is out of range or the shapes disagree.

    References:
        theory F.4.

    Example:
        >>> gmm_coefficients(0.0, [1.0, 1.0], [[1.0, 0.0], [0.0, 2.0]]).tolist()
        [2.0, 1.0]
    """
    mean, covariance = check_array("mean", mean, 1), check_array("covariance", covariance, 2)
    if covariance.shape != (len(mean), len(mean)) or not np.allclose(covariance, covariance.T, atol=0):
        raise ValueError(f"`covariance` must be symmetric of shape [{len(mean)}, {len(mean)}], got {covariance.shape}.")
    smallest = np.linalg.eigvalsh(covariance)[0]
    if not smallest > 0:
        raise ValueError(f"`covariance` must be positive definite, got smallest eigenvalue {smallest:g}.")
    direction = np.linalg.solve(covariance, mean)
    return gmm_logit_scale(float(check_alpha(alpha)), np.sqrt(mean @ direction)) * direction


def gmm_logistic_fit(alpha: ArrayLike, mahalanobis: ArrayLike, prior: ArrayLike = 0.5) -> tuple[Result, Result]:
    r"""Intercept b and scale c of the mixup-optimal :math:`\sigma(b+cz)`, :math:`z=\mu_0^\top\Sigma^{-1}x`.

    With unequal classes the direction stays :math:`\Sigma^{-1}\mu_0` (the law of the pair is symmetric about
    that axis), but intercept and threshold move. ERM is the Bayes rule: b = logit(prior), c = 2.

    Args:
        alpha: Beta concentration(s) in [0, inf].
        mahalanobis: D in (0, 20]; broadcasts.
        prior: Probability of class +1 in (0, 1); broadcasts.

    Returns:
        Intercept and scale, each of the broadcast shape.

    Raises:
        ValueError: If an argument is out of range.

    References:
        theory F.4.

    Example:
        >>> intercept, scale = gmm_logistic_fit(0.0, 2.0, 0.95)
        >>> round(intercept, 6), scale
        (2.944439, 2.0)
    """
    a, separation, prior = np.broadcast_arrays(
        check_alpha(alpha),
        check_interval("mahalanobis", mahalanobis, 0, MAX_SEPARATION, closed="right"),
        check_interval("prior", prior, 0, 1, closed="neither"),
    )
    solutions = np.array([_fit(*row) for row in zip(a.flat, separation.flat, prior.flat, strict=True)])
    return as_result(solutions[:, 0].reshape(a.shape)), as_result(solutions[:, 1].reshape(a.shape))


def gmm_threshold(alpha: ArrayLike, mahalanobis: ArrayLike, prior: ArrayLike = 0.5) -> Result:
    r"""Threshold :math:`-b/c` in units of :math:`z=\mu_0^\top\Sigma^{-1}x` above which class +1 is predicted.

    Zero for equal classes whatever alpha; for unequal ones mixup moves it away from the Bayes threshold
    :math:`-\tfrac12\mathrm{logit}(\pi)`.

    Args:
        alpha: Beta concentration(s) in [0, inf].
        mahalanobis: D in (0, 20]; broadcasts.
        prior: Probability of class +1 in (0, 1); broadcasts.

    Returns:
        The threshold.

    Raises:
        ValueError: If an argument is out of range.

    References:
        theory F.4.

    Example:
        >>> round(gmm_threshold(1.0, 2.0, 0.95), 4)
        -1.3017
    """
    intercept, scale = gmm_logistic_fit(alpha, mahalanobis, prior)
    return as_result(-np.asarray(intercept) / scale)


def gmm_error(alpha: ArrayLike, mahalanobis: ArrayLike, prior: ArrayLike = 0.5) -> Result:
    r"""Error on clean data of the mixup-optimal logistic regression, with :math:`t` its threshold.

    .. math:: \pi\,\Phi\left(\frac{t-D^2}D\right)+(1-\pi)\,\Phi\left(\frac{-t-D^2}D\right)

    Args:
        alpha: Beta concentration(s) in [0, inf]; 0 gives the Bayes error.
        mahalanobis: D in (0, 20]; broadcasts.
        prior: Probability of class +1 in (0, 1); broadcasts.

    Returns:
        The error, in (0, 1/2].

    Raises:
        ValueError: If an argument is out of range.

    References:
        theory F.4.

    Example:
        >>> round(gmm_error(4.0, 2.0, 0.95), 5), round(gmm_error(0.0, 2.0, 0.95), 5)
        (0.00884, 0.00811)
    """
    threshold = np.asarray(gmm_threshold(alpha, mahalanobis, prior))
    d, pi = np.asarray(mahalanobis, dtype=float), np.asarray(prior, dtype=float)
    return as_result(pi * ndtr(threshold / d - d) + (1 - pi) * ndtr(-threshold / d - d))


def derive_balanced_boundary() -> Derivation:
    r"""Derive that on a balanced Gaussian mixture mixup keeps the boundary: intercept 0, direction unchanged.

    At :math:`\theta=c\,\Sigma^{-1}\mu_0` the gradient has no intercept part, because its density is odd in z, and
    none off the axis, because there the mixed noise is centred whatever pair and lam.

    Returns:
        The derivation; its result is the gradient, 0, for every c, D and lam.

    References:
        theory F.4.

    Example:
        >>> derive_balanced_boundary().verify().result
        0
    """
    z, w = sp.symbols("z w", real=True)
    c, d, lam, q = sp.symbols("c D lambda q", positive=True)

    def normal(centre: sp.Expr, at: sp.Expr) -> sp.Expr:
        return sp.exp(-((at - centre) ** 2) / (2 * q * d**2)) / sp.sqrt(2 * sp.pi * q * d**2)

    def intercept_gradient(at: sp.Expr) -> sp.Expr:
        predicted = 1 / (1 + sp.exp(-c * at))
        pairs = ((1, 1), (0, -1), (lam, 2 * lam - 1), (1 - lam, 1 - 2 * lam))  # mean label, centre / D^2
        return sum((predicted - label) * normal(centre * d**2, at) for label, centre in pairs) / 4

    off_axis = sp.Integral(w * sp.exp(-(w**2) / (2 * q)) / sp.sqrt(2 * sp.pi * q), (w, -sp.oo, sp.oo))
    return Derivation(
        "On a balanced Gaussian mixture mixup keeps the decision boundary; only the temperature changes.",
        ("independent pairs", "equal priors and covariances", "whitened inputs, theta on the axis of the means"),
        (
            Step(
                sp.Eq(intercept_gradient(z) + intercept_gradient(-z), 0),
                "the intercept gradient is odd in z, so it integrates to 0",
            ),
            Step(sp.Eq(off_axis, 0), "the gradient off the axis is a mean of centred noise"),
        ),
    )


def _fit(alpha: float, separation: float, prior: float) -> tuple[float, float]:
    """Minimise the mixup logistic risk in (b, k = c D) by damped Newton steps on standardised points."""
    if alpha == 0:
        return float(logit(prior)), 2.0
    separation = max(separation, 1e-5)  # the fit is that of D -> 0 to 1e-10 there, and rounding grows as 1 / D
    w = gmm_grid(separation)
    zero, one = gmm_label_densities(w, alpha, separation, 1.0, prior)
    features = np.stack([np.ones_like(w), w])

    def risk(v: NDArray) -> float:
        eta = v @ features
        return float(zero @ np.logaddexp(0, eta) + one @ np.logaddexp(0, -eta))

    point = np.zeros(2)
    polish = 0
    while polish < 3:
        eta = point @ features
        # Labels split in two positive parts: sigma - y itself would cancel at small alpha.
        gradient = features @ (zero * expit(eta) - one * expit(-eta))
        hessian = (features * ((zero + one) * expit(eta) * expit(-eta))) @ features.T
        step = -np.linalg.solve(hessian, gradient)
        size = 1.0
        if np.abs(step).max() < 1e-4 * max(1.0, np.abs(point).max()):
            polish += 1  # Newton doubles the digits: three full steps from here reach rounding
        else:
            while size > 1e-8 and risk(point + size * step) > risk(point) + 1e-4 * size * (gradient @ step):
                size /= 2
        point = point + size * step
    return float(point[0]), float(point[1] / separation)
