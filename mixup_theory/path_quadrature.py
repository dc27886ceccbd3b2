r"""Expectations over lam of smooth functions of piecewise-linear paths: quadrature split at the knots."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.special import roots_jacobi, roots_legendre

from ._checks import check_one_alpha
from .incomplete_moments import density_at_half
from .segments import CHUNK_ENTRIES, SegmentPaths

__all__ = ["expect_on_paths"]

Integrand = Callable[[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]], NDArray[np.float64]]

NUM_NODES = 16  # per piece; the pieces are cut so that the integrand is analytic in an ellipse with rho > 3.4
SWING = 4.0  # largest change of a difference of logits within a piece


def _subdivide(paths: SegmentPaths, alpha: float) -> tuple[NDArray, NDArray, NDArray]:
    """Cut the pieces of the paths until a Gauss rule with `NUM_NODES` nodes is exact to rounding on each."""
    # A piece may not let two logits (or one and 0) move apart by more than SWING: a softmax has its poles at half
    # turns. Nor may it be longer than twice its distance to 0 and 1, or than four standard deviations of lam.
    # Pieces more than 14 standard deviations from 1/2 carry no mass.
    row = paths.piece_starts
    low, high = paths.knots[row], paths.knots[row + 1]
    slopes = (paths.values[row + 1] - paths.values[row]) / (high - low)[:, None]
    swing = np.maximum(slopes.max(axis=1), 0) - np.minimum(slopes.min(axis=1), 0)
    deviation = 0.5 / np.sqrt(2 * alpha + 3)
    while True:
        core = (low < 0.5 + 14 * deviation) & (high > 0.5 - 14 * deviation)
        low, high, row, swing = low[core], high[core], row[core], swing[core]
        length = high - low
        from_zero = np.where(low > 0, 2 * low, 0.5)
        from_one = np.where(high < 1, 2 * (1 - high), 0.5)
        longest = np.minimum(np.minimum(from_zero, from_one), 4 * deviation)
        longest = np.minimum(longest, SWING / np.maximum(swing, 1e-300))
        cut = (length > longest) & (length > 1e-14)
        if not cut.any():
            return low, high, row
        middle = (low[cut] + high[cut]) / 2
        low, high = np.concatenate([low[~cut], low[cut], middle]), np.concatenate([high[~cut], middle, high[cut]])
        row = np.concatenate([row[~cut], row[cut], row[cut]])
        swing = np.concatenate([swing[~cut], swing[cut], swing[cut]])


def _piece_rules(low: NDArray, high: NDArray, alpha: float) -> tuple[NDArray, NDArray]:
    """Nodes and weights [pieces, NUM_NODES] for the Beta(alpha + 1) law, alpha > 0, divided by lam (1 - lam)."""
    u, w = roots_legendre(NUM_NODES)
    half = (high - low)[:, None] / 2
    t = low[:, None] + half * (1 + u)
    power = alpha  # the density of Beta(alpha + 1) is height * (4 p)**alpha
    weights = half * w * np.exp(power * np.log1p(-((2 * t - 1) ** 2)))
    if power < 30:  # the algebraic end goes into a Jacobi rule; beyond, it is smooth enough
        u, w = roots_jacobi(NUM_NODES, 0, power)
        first, last = low == 0, high == 1
        for end, width in ((first, half[first]), (last, half[last])):
            distance = width * (1 + u)
            t[end] = distance if end is first else 1 - distance
            weights[end] = width * w * (4 * width * (1 - distance)) ** power
    return t, density_at_half(alpha + 1) * weights / (t * (1 - t))


def expect_on_paths(paths: SegmentPaths, integrand: Integrand, alpha: float) -> NDArray[np.float64]:
    r"""Expectation over lam of a smooth function of a piecewise-linear path, for many segments at once.

    The quadrature is split at the knots and further until every piece is as smooth as a softmax of logits that
    move by at most 4, so that 16 nodes per piece are exact to about 1e-13. The ends are peeled, so that small
    alpha keeps its digits.

    Args:
        paths: Paths of S segments.
        integrand: Takes points t [n], path values [n, num_outputs] and segment numbers [n], returns [n]; as smooth in
            the path values as a log-softmax.
        alpha: Concentration in [0, inf]; at the limits the exact values at 0 and 1, or at 1/2.

    Returns:
        The expectations, shape [S].

    Raises:
        ValueError: If `alpha` is not one number >= 0.

    References:
        theory D.2, A.2.

    Example:
        >>> relu = SegmentPaths(np.array([0, 0.5, 1]), np.array([[0.0], [0.0], [1.0]]), np.array([0, 3]))
        >>> expect_on_paths(relu, lambda t, z, segment: z[:, 0], 1.0).round(12).tolist()
        [0.25]
    """
    alpha = check_one_alpha(alpha)
    segments = np.arange(len(paths))
    if np.isinf(alpha):
        return integrand(np.full(len(paths), 0.5), paths.at(0.5)[:, 0], segments)
    at_one, at_zero = paths.ends
    one = integrand(np.ones(len(paths)), at_one, segments)
    zero = integrand(np.zeros(len(paths)), at_zero, segments)
    total = (one + zero) / 2
    if alpha == 0:
        return total
    low, high, row = _subdivide(paths, alpha)
    owner = paths.owner[row]
    group = max(1, CHUNK_ENTRIES // (4 * NUM_NODES * paths.values.shape[1]))
    for start in range(0, len(low), group):
        piece = slice(start, start + group)
        t, weights = _piece_rules(low[piece], high[piece], alpha)
        left, right = paths.knots[row[piece]][:, None], paths.knots[row[piece] + 1][:, None]
        share = ((t - left) / (right - left))[..., None]
        values = (1 - share) * paths.values[row[piece], None] + share * paths.values[row[piece] + 1, None]
        segment = np.repeat(owner[piece], NUM_NODES)
        g = integrand(t.ravel(), values.reshape(-1, values.shape[2]), segment).reshape(t.shape)
        bulge = g - t * one[owner[piece], None] - (1 - t) * zero[owner[piece], None]
        sums = alpha / (2 * (2 * alpha + 1)) * (weights * bulge).sum(axis=1)
        total += np.bincount(owner[piece], sums, minlength=len(paths))
    return total
