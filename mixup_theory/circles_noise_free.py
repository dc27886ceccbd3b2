r"""Mixup on noise-free concentric circles: the predictor between two rings and the critical alpha."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq

from ._checks import as_result, check_alpha, check_array, check_positive
from .circles import check_radii
from .incomplete_moments import density_at_half

__all__ = ["critical_alpha", "noise_free_circle_predictor", "noise_free_decision_radius"]

Array = NDArray[np.float64]

_STEPS = np.linspace(-6.1, 6.1, 769)
_SINH = np.pi / 2 * np.sinh(_STEPS)
# Tanh-sinh rule on (0, 1): nodes x, their complements 1 - x without cancellation, weights dx. It takes any
# algebraic or logarithmic singularity at either end.
_X = 1 / (1 + np.exp(-2 * _SINH))
_REST = _X[::-1]
_DX = np.pi * np.cosh(_STEPS) * _X * _REST * (_STEPS[1] - _STEPS[0])


def _check_alpha(alpha: float) -> float:
    a = float(check_alpha(alpha))
    if a == 0:
        raise ValueError("`alpha` must be > 0 without noise, got 0. At alpha = 0 all mass sits on the two circles.")
    return a


def _cross_pair(R: float, inner: float, outer: float, alpha: float) -> tuple[float, float]:
    r"""Density at R of a mixed pair of different classes, plain and weighted with :math:`1-\lambda`."""
    if np.isinf(alpha):
        S, D = (inner + outer) / 2, (outer - inner) / 2
        density = 2 * R / np.pi / np.sqrt((S**2 - R**2) * (R**2 - D**2)) if D < R < S else 0.0
        return density, density / 2
    width, total = outer - inner, outer + inner
    low = (outer - R) / total
    gap = 2 * outer * abs(R - inner) / (width * total)  # between the two upper singularities
    if inner >= R:
        high, above = (outer + R) / total, (inner - R) / total
    else:
        high, above = (outer - R) / width, (R - inner) / width
    cuts = [low, high]
    if alpha > 4:  # the density is then narrower than the interval
        spread = np.array([-9, -3, 0, 3, 9]) / np.sqrt(8 * alpha)
        cuts = sorted({low, high, *(c for c in 0.5 + spread if low < c < high)})
    plain = weighted = 0.0
    for left, right in pairwise(cuts):
        span = right - left
        from_low, to_high = (left - low) + span * _X, (high - right) + span * _REST
        lam, rest = low + from_low, above + to_high
        shape = np.exp((alpha - 1) * (np.log(4 * lam) + np.log(rest)))
        roots = np.sqrt(from_low) * np.sqrt(to_high) * np.sqrt(gap + to_high) * np.sqrt((outer + R) / width - lam)
        values = shape * (_DX * span) / roots
        plain += float(np.sum(values))
        weighted += float(np.sum(values * rest))
    factor = 2 * R / np.pi * density_at_half(alpha) / (width * total)
    return factor * plain, factor * weighted


def _same_circle(R: float, A: float, alpha: float) -> float:
    """Density at R of a mixed pair from the circle of radius A."""
    if R >= A:
        return 0.0
    if np.isinf(alpha):
        return 2 / (np.pi * np.sqrt(A**2 - R**2))
    ratio = R / A
    cuts = [0.0, np.pi / 2]  # in the angle psi from the end where the density may peak
    if alpha > 4:
        cuts += [np.pi / 2 - c for c in np.array([3.0, 9.0]) / np.sqrt(2 * alpha) if c < np.pi / 2]
    cuts = sorted(cuts)
    total = 0.0
    for left, right in pairwise(cuts):
        psi = left + (right - left) * _X
        one_minus_u2 = np.sin(psi) ** 2 + (1 - ratio) * (1 + ratio) * np.cos(psi) ** 2
        total += float(np.sum(_DX * (right - left) * np.exp((alpha - 1) * np.log(one_minus_u2))))
    return 2 * R / (np.pi * A * np.sqrt((A - R) * (A + R))) * density_at_half(alpha) * total


def noise_free_circle_predictor(
    radius: ArrayLike, inner_radius: float, outer_radius: float, alpha: float
) -> tuple[Any, Any]:
    r"""The mixup optimum :math:`g^*(R)` between two noise-free circles and the density of :math:`|\tilde x|`.

    Mixed pairs have density :math:`\frac{2R}\pi\int f(\lambda)\{(S^2-R^2)(R^2-\Delta_-^2)\}^{-1/2}d\lambda` with
    :math:`S=\lambda r_1+(1-\lambda)r_2`, :math:`\Delta_-=\lambda r_1-(1-\lambda)r_2`; pairs from one circle of radius A
    :math:`\frac{2R}{\pi A\sqrt{A^2-R^2}}\int f_U(\frac RA\sin\phi)d\phi`. Evaluated by a tanh-sinh rule that takes
    the singularities at the ends.

    Assumptions: balanced classes, uniform angles, independent pairs, infinite data; the atoms at the circles are
    left out.

    Args:
        radius: R in (0, outer_radius), not equal to inner_radius.
        inner_radius: Radius of class 0, > 0.
        outer_radius: Radius of class 1, larger.
        alpha: Beta concentration in (0, inf].

    Returns:
        The predictor in [0, 1] (nan where the density is 0, which happens at alpha = inf) and the density.

    Raises:
        ValueError: If radii are out of order or an argument is out of range.

    References:
        theory F.9.

    Example:
        >>> g, density = noise_free_circle_predictor(0.2, 0.5, 1.0, 0.3)
        >>> round(g, 6), round(density, 6)
        (0.243742, 0.230498)
    """
    inner, outer = check_radii(inner_radius, outer_radius)
    alpha = _check_alpha(alpha)
    R = check_positive("radius", check_array("radius", radius, (0, 1, 2)))
    if np.any(outer <= R) or np.any(inner == R):
        raise ValueError(
            f"`radius` must be < outer_radius = {outer:g} and differ from inner_radius = {inner:g}, where the density "
            f"is infinite or zero; got {float(R.max()):g}."
        )
    values = np.array([_predict(r, inner, outer, alpha) for r in R.ravel()])
    return as_result(values[:, 0].reshape(R.shape)), as_result(values[:, 1].reshape(R.shape))


def _predict(R: float, inner: float, outer: float, alpha: float) -> tuple[float, float]:
    mixed, labelled = _cross_pair(R, inner, outer, alpha)
    own_inner, own_outer = _same_circle(R, inner, alpha), _same_circle(R, outer, alpha)
    density = own_inner / 4 + own_outer / 4 + mixed / 2
    return ((own_outer / 4 + labelled / 2) / density if density > 0 else np.nan), density


def noise_free_decision_radius(inner_radius: float, outer_radius: float, alpha: float) -> float:
    r"""The smallest :math:`R > r_1` at which :math:`g^*(R) = 1/2`.

    Above `critical_alpha` it is the inner circle itself: the mixup optimum then has no margin there.

    Args:
        inner_radius: Radius of class 0, > 0.
        outer_radius: Radius of class 1, larger.
        alpha: Beta concentration in (0, inf].

    Returns:
        The radius, in [inner_radius, outer_radius).

    Raises:
        ValueError: If radii are out of order or `alpha` is out of range.

    References:
        theory F.9.

    Example:
        >>> round(noise_free_decision_radius(0.5, 1.0, 1.0), 8)
        0.57650736
    """
    inner, outer = check_radii(inner_radius, outer_radius)
    alpha = _check_alpha(alpha)
    if alpha > 1 and _just_outside(inner, outer, alpha) >= 0.5:
        return inner
    offsets = (outer - inner) * np.concatenate([np.geomspace(1e-12, 1e-2, 60), np.linspace(0.01, 0.999, 200)[1:]])
    previous = inner + offsets[0]
    for R in inner + offsets[1:]:
        if _predict(R, inner, outer, alpha)[0] >= 0.5:
            return float(brentq(lambda r: _predict(r, inner, outer, alpha)[0] - 0.5, previous, R, xtol=1e-14))
        previous = R
    raise ValueError(
        f"`alpha` must give a crossing of 1/2 below outer_radius, got {alpha:g} at {inner:g} and {outer:g}."
    )


def _just_outside(inner: float, outer: float, alpha: float) -> float:
    """Limit of g* as R falls to the inner radius; for alpha > 1, where it is a jump."""
    mixed, labelled = _cross_pair(inner, inner, outer, alpha)
    own_outer = _same_circle(inner, outer, alpha)
    return (own_outer / 4 + labelled / 2) / (own_outer / 4 + mixed / 2)


def critical_alpha(inner_radius: float, outer_radius: float) -> float:
    r"""The alpha above which the noise-free decision boundary sits exactly on the inner circle.

    Root of :math:`g^*(r_1^+) = 1/2`; it depends on the ratio of the radii alone.

    Args:
        inner_radius: Radius of class 0, > 0.
        outer_radius: Radius of class 1, larger.

    Returns:
        The critical concentration, > 1.

    Raises:
        ValueError: If radii are out of order, or so far apart that no alpha below 1e4 is critical.

    References:
        theory F.9.

    Example:
        >>> round(critical_alpha(0.5, 1.0), 6)
        2.068135
    """
    inner, outer = check_radii(inner_radius, outer_radius)
    ends = [_just_outside(inner, outer, a) - 0.5 for a in (1.1, 1e4)]
    if not ends[0] < 0 < ends[1]:
        raise ValueError(
            f"`inner_radius` / `outer_radius` must give a critical alpha in (1.1, 1e4), got {inner / outer:g}."
        )
    return float(brentq(lambda a: _just_outside(inner, outer, a) - 0.5, 1.1, 1e4, xtol=1e-12, rtol=1e-13))
