r"""The unrestricted mixup optimum for two Gaussian classes on a line, and the entropy that no network can beat."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import xlogy

from ._checks import as_result, check_alpha, check_array, check_interval, check_positive
from .incomplete_moments import density_at_half
from .moments import Result
from .quadrature import expect_pieces, gauss_rule_between

__all__ = ["MAX_SEPARATION", "gmm_cross_entropy_floor", "gmm_grid", "gmm_label_densities", "gmm_posterior"]

MAX_SEPARATION = 20.0  # class mean over standard deviation; beyond, the classes no longer overlap in float64


def gmm_posterior(
    x: ArrayLike, alpha: ArrayLike, mean: ArrayLike = 1.0, variance: ArrayLike = 1.0, prior: ArrayLike = 0.5
) -> Result:
    r"""Unrestricted mixup optimum :math:`g^*(x)=E[\tilde y\mid\tilde x=x]` for two Gaussian classes on a line.

    .. math:: g^*(x)=\frac{\sum_{t,t'}\pi_t\pi_{t'}E_\lambda[\tfrac{1+\tau}2N(x;\tau m,qs_0^2)]}
              {\sum_{t,t'}\pi_t\pi_{t'}E_\lambda[N(x;\tau m,qs_0^2)]},\qquad\tau=\lambda t+(1-\lambda)t'

    Args:
        x: Points at most 20 standard deviations outside [-m, m].
        alpha: Beta concentration(s) in [0, inf]; 0 gives the clean posterior.
        mean: Mean m > 0 of class +1; class -1 has -m.
        variance: Common variance > 0.
        prior: Probability of class +1 in (0, 1); all five broadcast.

    Returns:
        Mean label of the mixed points at x, in [0, 1], of the broadcast shape.

    Raises:
        ValueError: If an argument is out of range.

    References:
        theory F.4.

    Example:
        >>> round(gmm_posterior(1.0, 1.0, 1.0, 0.25), 6), round(gmm_posterior(1.0, 0.0, 1.0, 0.25), 6)
        (0.951311, 0.999665)
    """
    zero, one, _ = _scaled_label_densities(x, alpha, mean, variance, prior)
    return as_result(one / (zero + one))


def gmm_label_densities(
    x: ArrayLike, alpha: ArrayLike, mean: ArrayLike = 1.0, variance: ArrayLike = 1.0, prior: ArrayLike = 0.5
) -> tuple[Result, Result]:
    r"""Densities of the mixed point weighted by the mean label of class -1 and of class +1.

    Their sum is the density of :math:`\tilde x`, their ratio the odds of :math:`g^*`.

    Args:
        x: Points at most 20 standard deviations outside [-m, m].
        alpha: Beta concentration(s) in [0, inf].
        mean: Mean m > 0 of class +1; class -1 has -m.
        variance: Common variance > 0.
        prior: Probability of class +1 in (0, 1); all five broadcast.

    Returns:
        Two arrays of the broadcast shape.

    Raises:
        ValueError: If an argument is out of range.

    References:
        theory F.4.

    Example:
        >>> zero, one = gmm_label_densities(0.0, 0.0)  # clean data: half a normal density each
        >>> round(zero, 6), round(one, 6)
        (0.120985, 0.120985)
    """
    zero, one, log_scale = _scaled_label_densities(x, alpha, mean, variance, prior)
    return as_result(zero * np.exp(log_scale)), as_result(one * np.exp(log_scale))


def gmm_cross_entropy_floor(
    alpha: ArrayLike, mean: ArrayLike = 1.0, variance: ArrayLike = 1.0, prior: ArrayLike = 0.5
) -> Result:
    r"""Exact floor :math:`E\,H(g^*(\tilde x))` of the mixup cross-entropy for two Gaussian classes on a line.

    At least the label entropy :math:`P(\text{classes differ})\,E H(\lambda)`, since different pairs reach the same
    point; at alpha = 0 the Bayes risk of clean data.

    Args:
        alpha: Beta concentration(s) in [0, inf].
        mean: Mean m > 0 of class +1, at most 20 standard deviations; class -1 has -m.
        variance: Common variance > 0.
        prior: Probability of class +1 in (0, 1); all four broadcast.

    Returns:
        The floor in nats, in [0, ln 2], of the broadcast shape.

    Raises:
        ValueError: If an argument is out of range.

    References:
        theory F.7.

    Example:
        >>> gmm_cross_entropy_floor([1.0, 4.0], 1.0, 0.25).round(6).tolist()
        [0.349734, 0.412768]
    """
    alpha, mean, variance, prior = np.broadcast_arrays(
        check_alpha(alpha),
        check_positive("mean", mean),
        check_positive("variance", variance),
        check_interval("prior", prior, 0, 1, closed="neither"),
    )
    separations = check_interval("mean / sqrt(variance)", mean / np.sqrt(variance), 0, MAX_SEPARATION)
    floors = []
    for a, separation, pi in zip(alpha.flat, separations.flat, prior.flat, strict=True):
        x = gmm_grid(separation)
        zero, one = gmm_label_densities(x, a, separation, 1.0, pi)
        small, large = np.minimum(zero, one), np.maximum(zero, one)
        large = np.where(large > 0, large, 1.0)  # both underflow at the ends of the grid
        entropy = large * np.log1p(small / large) - xlogy(small, small / (small + large))
        floors.append((x[1] - x[0]) * entropy.sum())
    return as_result(np.reshape(floors, alpha.shape))


def gmm_grid(separation: float) -> NDArray[np.float64]:
    """Equispaced points, in standard deviations, on which trapezoid sums over a mixed mixture converge spectrally.

    The step resolves the narrowest component (standard deviation over the root of 2) and the nearest pole of a
    posterior, pi / (2 D) off the axis.

    Args:
        separation: Class mean over standard deviation, D in (0, 20].

    Returns:
        Points from -D - 9.5 to D + 9.5, symmetric about 0.

    Raises:
        ValueError: If `separation` is out of range.

    Example:
        >>> len(gmm_grid(1.0))
        107
    """
    d = float(check_interval("separation", separation, 0, MAX_SEPARATION, closed="right"))
    step = min(0.2, 0.2 / d)
    half = int(np.ceil((d + 9.5) / step))
    return step * np.arange(-half, half + 1, dtype=np.float64)


def _scaled_label_densities(
    x: ArrayLike, alpha: ArrayLike, mean: ArrayLike, variance: ArrayLike, prior: ArrayLike
) -> Any:
    """Stack the two label-weighted densities divided by exp(log_scale), and log_scale: shape [3, ...]."""
    x, *parameters = np.broadcast_arrays(
        check_array("x", x, (0, 1, 2)),
        check_alpha(alpha),
        check_positive("mean", mean),
        check_positive("variance", variance),
        check_interval("prior", prior, 0, 1, closed="neither"),
    )
    sd = np.sqrt(parameters[2])
    check_interval("mean / sqrt(variance)", parameters[1] / sd, 0, MAX_SEPARATION)
    beyond = float(((np.abs(x) - parameters[1]) / sd).max())
    if beyond > 20:
        raise ValueError(
            f"`x` must be at most 20 standard deviations outside [-mean, mean], got {beyond:.4g}. "
            "Further out the posterior is that of the nearest class for every practical purpose."
        )
    rows, which = np.unique(np.stack([p.ravel() for p in parameters]), axis=1, return_inverse=True)
    result = np.empty((3, x.size))
    for number, row in enumerate(rows.T):
        chosen = which.ravel() == number
        blocks = np.array_split(x.ravel()[chosen], 1 + chosen.sum() // 1024)  # bounds the memory
        result[:, chosen] = np.concatenate([_one_mixture(block, *row) for block in blocks], axis=1)
    return result.reshape((3, *x.shape))


def _one_mixture(x: NDArray, alpha: float, centre: float, variance: float, pi: float) -> NDArray:
    """Label-weighted densities and their log_scale for one mixture at points of shape [n]."""
    sd = np.sqrt(variance)
    even = np.linspace(0, 0.5, 5 + int(np.ceil(centre / sd / 4)))
    left = np.concatenate([even, [1e-3, 3e-3, 0.01, 0.02, 0.03, 0.045]])
    knots = np.unique(np.concatenate([left, 1 - left]))

    def exponents(t: NDArray) -> NDArray:
        centres = np.stack([-np.ones_like(t), 2 * t - 1, np.ones_like(t)]) * centre
        return -0.5 * ((x - centres) / sd) ** 2 / (t**2 + (1 - t) ** 2)

    # Far out everything underflows: divide by the largest term. The density of lam is part of it where it is narrow,
    # and then its logarithm goes into the exponent, since as a weight it would underflow.
    def log_density(t: NDArray) -> NDArray:
        return np.zeros_like(t) if np.isinf(alpha) else xlogy(max(alpha - 1, 0), 4 * t * (1 - t))

    grid = np.array([0.5]) if np.isinf(alpha) else np.linspace(0, 1, 2 if alpha == 0 else 201)
    log_scale = (exponents(grid[:, None]).max(axis=0) + log_density(grid[:, None])).max(axis=0)
    narrow = 30 <= alpha < np.inf

    def integrand(lam: NDArray) -> NDArray:
        t = lam[:, None]
        terms = np.exp(exponents(t) + (log_density(t) if narrow else 0) - log_scale)
        lower, mixed, upper = terms / (sd * np.sqrt(2 * np.pi * (t**2 + (1 - t) ** 2)))
        mixed = 2 * pi * (1 - pi) * mixed
        return np.stack([(1 - pi) ** 2 * lower + (1 - t) * mixed, pi**2 * upper + t * mixed], axis=1)

    if alpha < 1 or np.isinf(alpha):
        means = np.asarray(expect_pieces(integrand, alpha, knots, 20))
    else:  # no peeling: a tail would cancel against the values at 0 and 1
        spread = np.array([0, 1, 2, 4, 8, 16]) / np.sqrt(4 * (2 * alpha + 1))
        cuts = np.unique(np.concatenate([knots, 0.5 - spread[spread < 0.5], 0.5 + spread[spread < 0.5]]))
        rules = [gauss_rule_between(low, high, 1.0 if narrow else alpha, 20) for low, high in pairwise(cuts)]
        nodes, weights = np.concatenate([rule[0] for rule in rules]), np.concatenate([rule[1] for rule in rules])
        means = np.tensordot(weights, integrand(nodes), axes=1)
        means *= density_at_half(alpha) if narrow else 1.0  # the density at 1/2
    return np.vstack([means, log_scale])
