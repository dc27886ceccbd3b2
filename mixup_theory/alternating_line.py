r"""Labelled points on a line: where segments of different labels overlap, the mixup optimum leaves the data."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq
from scipy.special import betainc, ndtri, xlogy

from ._checks import as_result, check_alpha, check_array, check_interval, check_positive
from .moments import Result
from .weights import expected_abs_u

__all__ = [
    "check_line",
    "line_critical_alpha",
    "line_critical_alpha_asymptote",
    "line_label",
    "line_pairs",
    "line_window_label",
]

THREE_POINTS = ((0.0, 1.0, 2.0), (0.0, 1.0, 0.0))  # the smallest alternating line: points, labels


def line_label(
    x: ArrayLike,
    alpha: ArrayLike,
    points: ArrayLike = THREE_POINTS[0],
    labels: ArrayLike = THREE_POINTS[1],
    *,
    self_pairs: bool = True,
) -> Result:
    r"""Mixup optimum :math:`g^*(x)=E[\tilde y\mid\tilde x=x]` for labelled points on a line.

    A pair :math:`P_i<x<P_j` contributes the density :math:`f_\alpha(t)/|P_i-P_j|` at
    :math:`t=(x-P_j)/(P_i-P_j)` with label :math:`tL_i+(1-t)L_j`; a self pair is an atom. On a data point the atom
    wins: :math:`g^*(P_k)=L_k` for every alpha. Without self pairs the value there is the limit of averages over
    shrinking windows: :math:`L_k` for alpha < 1, only the pairs around :math:`P_k` for alpha > 1.

    Args:
        x: Query points within [min points, max points].
        alpha: Beta concentration(s) in [0, inf], broadcast with `x`. At the limits the value is the limit of
            :math:`g^*`, in which the pairs are compared as they vanish.
        points: Positions, shape [n], at least two distinct.
        labels: Labels in [0, 1], shape [n].
        self_pairs: Whether pairs are drawn with replacement.

    Returns:
        The mean label in [0, 1], of the broadcast shape.

    Raises:
        ValueError: If an argument is out of range.

    References:
        theory F.5; Chidambaram et al. 2022, Prop. 2.8.

    Example:
        >>> round(line_label(0.25, 1.0), 6), line_label(1.0, 4.0), line_label(1.0, 4.0, self_pairs=False)
        (0.166667, 1.0, 0.0)
    """
    points, labels = check_line(points, labels)
    x = check_interval("x", x, points[0], points[-1])
    x, alpha = np.broadcast_arrays(x, check_alpha(alpha))
    values = [_label_at(at, a, points, labels, self_pairs) for at, a in zip(x.flat, alpha.flat, strict=True)]
    return as_result(np.reshape(values, x.shape))


def line_window_label(
    x: ArrayLike,
    eps: ArrayLike,
    alpha: ArrayLike,
    points: ArrayLike = THREE_POINTS[0],
    labels: ArrayLike = THREE_POINTS[1],
    *,
    self_pairs: bool = True,
) -> Result:
    r"""Mean label of the mixed points within eps of x, what a predictor of finite smoothness sees.

    Exact, by incomplete beta functions: a pair puts mass :math:`I_{t_2}(\alpha,\alpha)-I_{t_1}(\alpha,\alpha)` into
    the window and :math:`E[\lambda;\text{window}]=\tfrac12\{I_{t_2}(\alpha+1,\alpha)-I_{t_1}(\alpha+1,\alpha)\}`.

    Args:
        x: Centres.
        eps: Half widths > 0, broadcast with `x`.
        alpha: Beta concentration(s) in [0, inf], broadcast with `x`.
        points: Positions, shape [n], at least two distinct.
        labels: Labels in [0, 1], shape [n].
        self_pairs: Whether pairs are drawn with replacement.

    Returns:
        The mean label in [0, 1], of the broadcast shape.

    Raises:
        ValueError: If an argument is out of range, or no mixed point falls into a window.

    References:
        theory F.5.

    Example:
        >>> round(line_window_label(1.0, 0.2, 4.0), 6), round(line_window_label(1.0, 0.2, 32.0), 6)
        (0.563549, 0.359036)
    """
    points, labels = check_line(points, labels)
    x, eps, alpha = np.broadcast_arrays(check_array("x", x, (0, 1, 2)), check_positive("eps", eps), check_alpha(alpha))
    near = np.abs(points - x[..., None]) < eps[..., None]
    mass = near.sum(axis=-1) / 2.0 if self_pairs else np.zeros(x.shape)  # in units of two ordered pairs
    label = near @ labels / 2.0 if self_pairs else np.zeros(x.shape)
    for p, r, first, last in zip(*line_pairs(points, labels), strict=True):
        if p == r:
            pair_mass = (np.abs(p - x) < eps) * 1.0
            upper = pair_mass / 2
        else:
            low, high = np.clip((x - eps - p) / (r - p), 0, 1), np.clip((x + eps - p) / (r - p), 0, 1)
            pair_mass, upper = _mass_between(low, high, alpha)
        mass = mass + pair_mass
        label = label + upper * last + (pair_mass - upper) * first
    if not np.all(mass > 0):
        raise ValueError("`eps` must be so large that some mixed point falls within eps of every `x`; widen it.")
    return as_result(np.clip(label / mass, 0, 1))


def line_critical_alpha(
    eps: ArrayLike, points: ArrayLike = THREE_POINTS[0], labels: ArrayLike = THREE_POINTS[1], x: float = 1.0
) -> Result:
    r"""Concentration at which the mean label within eps of x crosses 1/2, self pairs included.

    Above it a predictor that cannot tell points closer than eps apart misclassifies the training point x.

    Args:
        eps: Half widths > 0; below 1 on the three-point line.
        points: Positions, shape [n], at least two distinct.
        labels: Labels in [0, 1], shape [n].
        x: Centre, a training point.

    Returns:
        The critical alpha, of the shape of `eps`.

    Raises:
        ValueError: If the mean label is on one side of 1/2 at both limits of alpha, so that none is critical.

    References:
        theory F.5; Chidambaram et al. 2022, section 2.

    Example:
        >>> round(line_critical_alpha(0.1), 6)
        22.881307
    """
    eps = check_positive("eps", eps)

    def solve(width: float) -> float:
        def excess(log_alpha: float) -> float:
            return float(line_window_label(x, width, np.exp(log_alpha), points, labels)) - 0.5

        low, high = -20.0, 40.0
        if excess(low) * excess(high) > 0:
            raise ValueError(
                f"`eps` must be such that the mean label crosses 1/2 as alpha grows, got {width:g}: it goes from "
                f"{excess(low) + 0.5:.4g} to {excess(high) + 0.5:.4g}. On the three-point line take eps < 1."
            )
        return float(np.exp(brentq(excess, low, high, xtol=1e-14, rtol=1e-14)))

    return as_result(np.reshape([solve(width) for width in eps.flat], eps.shape))


def line_critical_alpha_asymptote(eps: ArrayLike) -> Result:
    r"""Leading order :math:`\Phi^{-1}(3/4)^2/(2\epsilon^2)` of the three-point line's critical alpha for small eps.

    Args:
        eps: Half widths > 0.

    Returns:
        The asymptote, of the shape of `eps`.

    Raises:
        ValueError: If `eps` is not > 0.

    References:
        theory F.5.

    Example:
        >>> round(line_critical_alpha_asymptote(0.1), 6)
        22.746821
    """
    return as_result(ndtri(0.75) ** 2 / (2 * check_positive("eps", eps) ** 2))


def line_pairs(points: ArrayLike, labels: ArrayLike) -> tuple[NDArray, NDArray, NDArray, NDArray]:
    """Unordered pairs of different examples on a line.

    Args:
        points: Positions, ascending, shape [n].
        labels: Labels, shape [n].

    Returns:
        Lower positions, upper positions, lower labels, upper labels, each of shape [n (n - 1) / 2].

    Example:
        >>> [column.tolist() for column in line_pairs([0.0, 1.0], [0.0, 1.0])]
        [[0.0], [1.0], [0.0], [1.0]]
    """
    points, labels = np.asarray(points, dtype=float), np.asarray(labels, dtype=float)
    i, j = np.triu_indices(len(points), 1)
    return points[i], points[j], labels[i], labels[j]


def check_line(points: ArrayLike, labels: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Check a labelled line and sort it by position.

    Args:
        points: Positions, shape [n], at least two distinct.
        labels: Labels in [0, 1], shape [n].

    Returns:
        Positions, ascending, and their labels.

    Raises:
        ValueError: If the lengths differ, fewer than two positions are distinct, or a label is outside [0, 1].
    """
    points = check_array("points", points, 1)
    labels = check_interval("labels", check_array("labels", labels, 1), 0, 1)
    if len(points) != len(labels) or len(np.unique(points)) < 2:
        raise ValueError(
            f"`points` must hold at least two distinct positions, one per label, got {points.tolist()} for "
            f"{len(labels)} labels."
        )
    order = np.argsort(points, kind="stable")
    return points[order], labels[order]


def _label_at(x: float, alpha: float, points: NDArray, labels: NDArray, self_pairs: bool) -> float:
    """Mean label at one point; only ratios of densities enter, so every alpha in [0, inf] has its limit."""
    here = points == x
    on_end = here[0] or here[-1]  # an end point is approached by its own pairs only
    if here.any() and (self_pairs or on_end or here.sum() > 1 or alpha < 1):
        return float(labels[here].mean())
    p, r, first, last = line_pairs(points, labels)
    around = (p < x) & (x < r)
    p, r, first, last = p[around], r[around], first[around], last[around]
    t = (x - p) / (r - p)
    if np.isinf(alpha):
        log_weight = np.where(t * (1 - t) > (t * (1 - t)).max() * (1 - 1e-12), 0.0, -np.inf)
    else:
        log_weight = (alpha - 1) * np.log(t * (1 - t))
    weight = np.exp(log_weight - log_weight.max()) / (r - p)
    mass, label = weight.sum(), weight @ (t * last + (1 - t) * first)
    if here.any() and alpha == 1:  # pairs that end here fill half of every window around the point
        ends = (0.5 / np.abs(points[~here] - x)).sum()
        mass, label = mass + ends, label + ends * labels[here][0]
    return float(label / mass)


def _mass_between(low: NDArray, high: NDArray, alpha: NDArray) -> tuple[NDArray, NDArray]:
    """P(low < lam < high) and E[lam; low < lam < high] without cancellation, in a tail and around 1/2."""
    finite = np.isfinite(alpha) & (alpha > 0)
    a = np.where(finite, alpha, 1.0)
    upper = low > 0.5
    start, stop = np.where(upper, 1 - high, low), np.where(upper, 1 - low, high)
    mass = betainc(a, a, stop) - betainc(a, a, start)
    first, second = np.where(upper, a, a + 1), np.where(upper, a + 1, a)
    mean = (betainc(first, second, stop) - betainc(first, second, start)) / 2

    u, w = 2 * low - 1, 2 * high - 1  # in u = 2 lam - 1, whose square is Beta(1/2, alpha)
    central = (np.sign(w) * betainc(0.5, a, w**2) - np.sign(u) * betainc(0.5, a, u**2)) / 2
    drift = np.asarray(expected_abs_u(a)) * (_power(1 - u**2, a) - _power(1 - w**2, a)) / 4
    tail = (high < 0.25) | (low > 0.75)
    mass, mean = np.where(tail, mass, central), np.where(tail, mean, central / 2 + drift)

    at_zero, at_one = (low == 0) & (high > 0), (high == 1) & (low < 1)
    middle = np.sign(w) / 2 - np.sign(u) / 2
    mass = np.where(finite, mass, np.where(alpha == 0, (at_zero + 0.0 + at_one) / 2, middle))
    return mass, np.where(finite, mean, np.where(alpha == 0, at_one / 2.0, middle / 2))


def _power(base: NDArray, exponent: NDArray) -> NDArray:
    return np.exp(xlogy(exponent, base))
