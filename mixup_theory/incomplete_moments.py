r"""Moments of Beta(alpha, alpha) over pieces of [0, 1], to rounding for every alpha and every piece."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import betainc, gammaln, poch, roots_legendre, zeta

from ._checks import as_result

__all__ = ["density_at_half", "piece_weights", "small_alpha_weights"]

NUM_NODES = 10  # on a narrow piece the density is analytic far beyond it: exact to rounding
LARGE = 200.0  # above, lam stays within 14 standard deviations inside (0, 1) and the centred moments are used


def density_at_half(alpha: ArrayLike) -> Any:
    r"""Density of Beta(alpha, alpha) at 1/2: :math:`2\Gamma(\alpha+\tfrac12)/(\sqrt\pi\,\Gamma(\alpha))`.

    Args:
        alpha: Concentration(s) in (0, inf).

    Returns:
        The density, to a relative error near 1e-15, of the shape of `alpha`.

    Example:
        >>> round(density_at_half(2.0), 12)  # 6 t (1 - t)
        1.5
    """
    alpha = np.asarray(alpha, dtype=float)
    x = np.maximum(alpha, 50) - 0.25  # Stirling's series in inverse powers of x squared; `poch` loses digits here
    series = 1 + 1 / (64 * x**2) - 19 / (8192 * x**4) + 631 / (524288 * x**6) - 174317 / (134217728 * x**8)
    small = 2 * poch(np.minimum(alpha, 50), 0.5) / np.sqrt(np.pi)
    return as_result(np.where(alpha < 50, small, 2 * np.sqrt(x / np.pi) * series))


def _gauss_weights(low: NDArray, high: NDArray, density: Callable[[NDArray], NDArray]) -> NDArray[np.float64]:
    """Moments [pieces, 3] of the density against (1 - x)^2, 2 x (1 - x), x^2: sums of positive terms."""
    nodes, weights = roots_legendre(NUM_NODES)
    x = (1 + nodes) / 2
    basis = np.stack([(1 - x) ** 2, 2 * x * (1 - x), x**2], axis=1) * weights[:, None] / 2
    width = (high - low)[:, None]
    return (density(low[:, None] + width * x) * width) @ basis


def _weights_from_moments(ends: NDArray, moments: list[NDArray]) -> NDArray[np.float64]:
    """The same moments from those of 1, z, z^2 at the ends [2, P] of the pieces."""
    low, high = ends
    m0, m1, m2 = (moment[1] - moment[0] for moment in moments)
    first = m2 - 2 * high * m1 + high**2 * m0
    middle = 2 * ((low + high) * m1 - m2 - low * high * m0)
    return np.stack([first, middle, m2 - 2 * low * m1 + low**2 * m0], axis=1) / (high - low)[:, None] ** 2


def piece_weights(low: ArrayLike, high: ArrayLike, alpha: float) -> NDArray[np.float64]:
    r"""Moments of Beta(alpha, alpha) over pieces (low, high) against the quadratic Bernstein basis of each piece.

    With z the position inside the piece, from 0 to 1, the integrals of :math:`(1-z)^2, 2z(1-z), z^2` times the density:
    a function that is linear on the piece with end values r, s has the mean square :math:`(r^2, rs, s^2)\cdot w`.
    Wide pieces use the incomplete Beta moments, raw about 0 for moderate alpha and centred for large alpha.
    On a piece that is narrow (against its distance to 0 and against the standard deviation of lam) their
    differences cancel, and a 10-node Gauss rule is exact to rounding.

    For alpha < 1 mass piles up at 0 and 1, and all other moments are of order alpha. There the moment of
    :math:`(1-z)^2` on a piece from 0, and of :math:`z^2` on the piece (0, 1), is returned as 0: pair it with a function
    that vanishes at that end.

    Args:
        low: Left ends in [0, 1), shape [P]; by symmetry mirror a piece that is nearer to 1.
        high: Right ends in (low, 1], shape [P].
        alpha: Concentration in (0, inf).

    Returns:
        Shape [P, 3].

    References:
        theory D.3.

    Example:
        >>> piece_weights([0.5], [1.0], 1.0).round(6).tolist()  # uniform law: thirds of the mass
        [[0.166667, 0.166667, 0.166667]]
    """
    low, high = np.asarray(low, dtype=float), np.asarray(high, dtype=float)
    deviation = 0.5 / np.sqrt(2 * alpha + 1)
    height = float(density_at_half(alpha))
    narrow = high - low <= np.minimum(low / 2, 2 * deviation)
    found = np.zeros((len(low), 3))
    if alpha < LARGE:
        power = alpha - 1
        found[narrow] = _gauss_weights(low[narrow], high[narrow], lambda x: height * (4 * x * (1 - x)) ** power)
        wide = ~narrow
        ends = np.stack([low[wide], high[wide]])
        m1 = betainc(alpha + 1, alpha, ends) / 2
        m2 = (alpha + 1) / (2 * (2 * alpha + 1)) * betainc(alpha + 2, alpha, ends)
        moments = [betainc(alpha, alpha, ends) if alpha >= 1 else _mass(ends, alpha), m1, m2]
        offsets = ends
    else:
        near = (low < 0.5 + 14 * deviation) & (high > 0.5 - 14 * deviation)
        narrow, wide = narrow & near, ~narrow & near
        found[narrow] = _gauss_weights(
            low[narrow], high[narrow], lambda x: height * np.exp((alpha - 1) * np.log1p(-((2 * x - 1) ** 2)))
        )
        ends = np.stack([low[wide], high[wide]])
        v = ends - 0.5
        with np.errstate(divide="ignore"):  # log 0 at an end of [0, 1], where k is 0
            k = height / (8 * alpha) * np.exp(alpha * np.log1p(-4 * v**2))
        second = betainc(alpha + 1, alpha + 1, ends) / (4 * (2 * alpha + 1)) - v * k
        moments = [betainc(alpha, alpha, ends), -k, second]
        offsets = v
    found[wide] = _weights_from_moments(offsets, moments)
    found[(low == 0) & (high == 1), 1] = alpha / (2 * alpha + 1)  # E 2 lam (1 - lam)
    if alpha < 1:
        found[low == 0, 0] = 0.0
        found[(low == 0) & (high == 1), 2] = 0.0
    return found


def _mass(x: NDArray[np.float64], alpha: float) -> NDArray[np.float64]:
    """Distribution function at the ends [2, P] of pieces, alpha < 1, up to a constant per piece that drops out."""
    # I_x(a, a) - 1/2 = I_x(a + 1, a) + (r - 1) / 2 with r = (x (1 - x))^a Gamma(1 + 2a) / Gamma(1 + a)^2 keeps the
    # digits of a small alpha; close to 0, where I_x itself is small, it is the one to take
    inside = (x > 0) & (x < 1)
    if alpha > 0.05:
        ratio = gammaln(1 + 2 * alpha) - 2 * gammaln(1 + alpha)
    else:
        k = np.arange(2, 22)  # its series, which begins with alpha squared
        ratio = np.sum(zeta(k) * (-alpha) ** k * (2.0**k - 2) / k)
    log_p = np.log(np.where(inside, x, 0.5)) + np.log1p(-np.where(inside, x, 0.5))
    above_half = np.where(inside, betainc(alpha + 1, alpha, x) + np.expm1(alpha * log_p + ratio) / 2, 0.0)
    direct = betainc(alpha, alpha, x)
    return np.where(direct[1] < 0.25, direct, above_half)


def small_alpha_weights(low: ArrayLike, high: ArrayLike) -> NDArray[np.float64]:
    r"""Limit of `piece_weights` / alpha at alpha = 0: the same moments of :math:`1/(2t(1-t))`.

    Args:
        low: Left ends in [0, 1), shape [P].
        high: Right ends in (low, 1], shape [P].

    Returns:
        Shape [P, 3]; a moment that diverges at an end of [0, 1] is 0, to be paired with a function that vanishes there.

    References:
        theory D.8.

    Example:
        >>> small_alpha_weights([0.0], [1.0]).round(6).tolist()  # of 2 t (1 - t)
        [[0.0, 1.0, 0.0]]
    """
    low, high = np.asarray(low, dtype=float), np.asarray(high, dtype=float)
    narrow = high - low <= low / 2
    found = np.zeros((len(low), 3))
    found[narrow] = _gauss_weights(low[narrow], high[narrow], lambda x: 0.5 / (x * (1 - x)))
    ends = np.stack([low[~narrow], high[~narrow]])
    inside = np.where((ends > 0) & (ends < 1), ends, 0.5)
    log_rest = -np.log1p(-inside)
    series = sum(inside**k / k for k in range(2, 16))
    moments = [
        (np.log(inside) + log_rest) / 2,
        np.where(ends == 0, 0.0, log_rest / 2),
        np.where(ends == 0, 0.0, np.where(inside < 0.05, series, log_rest - inside) / 2),
    ]
    found[~narrow] = _weights_from_moments(ends, moments)
    found[low == 0, 0] = 0.0
    found[(low == 0) & (high == 1)] = 0.0, 1.0, 0.0
    return found
