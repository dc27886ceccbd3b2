r"""The exact floor of the mixup cross-entropy for labelled points on a line, where segments of labels overlap."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import entr, roots_legendre

from ._checks import as_result, check_alpha
from .alternating_line import THREE_POINTS, check_line, line_pairs
from .incomplete_moments import density_at_half
from .moments import Result

__all__ = ["line_cross_entropy_floor"]


def line_cross_entropy_floor(
    alpha: ArrayLike,
    points: ArrayLike = THREE_POINTS[0],
    labels: ArrayLike = THREE_POINTS[1],
    *,
    self_pairs: bool = True,
) -> Result:
    r"""Exact floor :math:`E\,H(g^*(\tilde x))` of the mixup cross-entropy for labelled points on a line.

    The label entropy :math:`E\,H(\tilde y)` plus :math:`I=E\,KL(\tilde y\|g^*(\tilde x))`, what is lost because
    overlapping segments hide which pair was drawn. Self pairs are atoms that a predictor can tell apart.

    Args:
        alpha: Beta concentration(s) in [0, inf]. At inf the limit: pairs with one midpoint but different lengths
            stay partly distinguishable however narrow their common peak.
        points: Positions, shape [n], at least two distinct.
        labels: Labels in [0, 1], shape [n].
        self_pairs: Whether pairs are drawn with replacement.

    Returns:
        The floor in nats, in [0, ln 2], of the shape of `alpha`.

    Raises:
        ValueError: If an argument is out of range.

    References:
        theory F.7.

    Example:
        >>> line_cross_entropy_floor([0.5, 1.0, 3.0]).round(9).tolist()
        [0.28011183, 0.362402675, 0.402580609]
    """
    points, labels = check_line(points, labels)
    alpha = check_alpha(alpha)
    return as_result(np.reshape([_floor(float(a), points, labels, self_pairs) for a in alpha.flat], alpha.shape))


def _floor(alpha: float, points: NDArray, labels: NDArray, self_pairs: bool) -> float:
    n = len(points)
    sites, which, multiplicity = np.unique(points, return_inverse=True, return_counts=True)
    site_entropy = _entropy(np.bincount(which, labels) / multiplicity)
    if alpha == 0:
        return float(multiplicity @ site_entropy) / n
    p, r, first, last = line_pairs(points, labels)
    apart = p < r
    p, r, first, last = p[apart], r[apart], first[apart], last[apart]
    atoms = float((multiplicity * (multiplicity - (0 if self_pairs else 1))) @ site_entropy)
    if np.isinf(alpha):
        spread = _peaks((p + r) / 2, r - p, (first + last) / 2)
    else:
        # What the entropy is at the sites is taken out pair by pair: there small alpha has its mass.
        low, high = site_entropy[np.searchsorted(sites, p)], site_entropy[np.searchsorted(sites, r)]
        spread = float((low + high).sum() / 2)
        spread += sum(_between(gap, alpha, (p, r, first, last, low, high)) for gap in pairwise(sites))
    return (atoms + 2 * spread) / (n * n if self_pairs else n * (n - 1))


def _between(gap: tuple[float, float], alpha: float, pairs: tuple[NDArray, ...]) -> float:
    """Integrate density times entropy, less its interpolation between the sites, over one gap by tanh-sinh panels."""
    p, r, first, last, low, high = (column[(pairs[0] <= gap[0]) & (pairs[1] >= gap[1]), None, None] for column in pairs)
    length = (r - p).ravel()
    cuts = np.array(gap)
    if alpha > 4:
        steps = np.array([-16, -8, -4, -2, -1, 0, 1, 2, 4, 8, 16]) / np.sqrt(4 * (2 * alpha + 1))
        cuts = np.concatenate([cuts, ((p + r).ravel()[:, None] / 2 + length[:, None] * steps).ravel()])
        cuts = np.unique(cuts[(cuts >= gap[0]) & (cuts <= gap[1])])
    start, stop = cuts[:-1, None], cuts[1:, None]
    u = np.pi * np.sinh(np.arange(-72, 73) / 16)
    near, far = 1 / (1 + np.exp(-u)), 1 / (1 + np.exp(u))
    weights = (stop - start) * near * far * np.hypot(u, np.pi) / 16
    # Distances from both ends of the gap, each exact where it is small.
    left, right = (start - gap[0]) + (stop - start) * near, (gap[1] - stop) + (stop - start) * far
    t, rest = ((gap[0] - p) + left) / (r - p), ((r - gap[1]) + right) / (r - p)
    central = np.log1p(-(np.clip(t - rest, -0.5, 0.5) ** 2))
    bend = np.where(np.abs(t - rest) < 0.5, central, np.log(4) + np.log(t) + np.log(rest))  # ln 4t(1-t)
    density = np.exp((alpha - 1) * bend) * density_at_half(alpha) / (r - p)
    one = (density * (t * last + rest * first)).sum(axis=0)
    zero = (density * (t * (1 - last) + rest * (1 - first))).sum(axis=0)
    total = np.maximum(one + zero, np.finfo(float).tiny)
    inside = total * _entropy_of_parts(one / total, zero / total)
    return float(np.sum(weights * (inside - (density * (t * high + rest * low)).sum(axis=0))))


def _peaks(centre: NDArray, width: NDArray, label: NDArray) -> float:
    """Sum, over groups of pairs with one midpoint, of the entropy left in the limit of normal peaks of those widths."""
    total = 0.0
    order = np.argsort(centre, kind="stable")
    span = centre.max() - centre.min() + width.max()
    groups = np.split(order, np.flatnonzero(np.diff(centre[order]) > 1e-9 * span) + 1)
    nodes, weights = roots_legendre(32)
    for group in groups:
        w, y = width[group][:, None], label[group][:, None]
        knots = np.unique(np.concatenate([[0.0], (w * [1, 2, 4, 8, 10]).ravel()]))
        for low, high in pairwise(knots[knots <= 10 * w.max()]):
            z = low + (high - low) * (1 + nodes) / 2
            density = np.exp(-0.5 * (z / w) ** 2) / w * np.sqrt(2 / np.pi)  # both signs of z
            mass = density.sum(axis=0)
            entropy = _entropy((density * y).sum(axis=0) / np.maximum(mass, np.finfo(float).tiny))
            total += float((high - low) / 2 * weights @ (mass * entropy))
    return total


def _entropy(label: NDArray) -> NDArray:
    return entr(label) + entr(1 - label)


def _entropy_of_parts(one: NDArray, zero: NDArray) -> NDArray:
    """Binary entropy of two shares that sum to 1, each with its own digits."""
    small, large = np.minimum(one, zero), np.maximum(one, zero)
    return entr(small) + large * np.log1p(small / np.maximum(large, np.finfo(float).tiny))
