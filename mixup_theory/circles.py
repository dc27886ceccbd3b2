r"""Mixup on noisy concentric circles: the optimal radial predictor, its decision radius, and the error it implies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq
from scipy.special import i0e, j0, roots_legendre
from scipy.stats import rice

from ._checks import as_result, check_alpha, check_array, check_positive
from .moments import mean_p
from .quadrature import gauss_rule

__all__ = ["CircleBoundary", "check_radii", "circle_boundary", "noisy_circle_predictor", "rice_density"]

Array = NDArray[np.float64]


def check_radii(inner_radius: float, outer_radius: float) -> tuple[float, float]:
    """Return two radii in order.

    Args:
        inner_radius: Radius of the class labelled 0, > 0.
        outer_radius: Radius of the class labelled 1, larger.

    Returns:
        Both as floats.

    Raises:
        ValueError: If they are not finite, positive and in this order.

    Example:
        >>> check_radii(0.5, 1)
        (0.5, 1.0)
    """
    inner = float(check_positive("inner_radius", inner_radius))
    outer = float(check_positive("outer_radius", outer_radius))
    if not inner < outer:
        raise ValueError(
            f"`inner_radius` must be < `outer_radius`, got {inner:g} and {outer:g}. "
            "Swap them: the outer class has label 1."
        )
    return inner, outer


def rice_density(radius: ArrayLike, amplitude: ArrayLike, variance: ArrayLike) -> Array:
    r"""Rice density :math:`\frac R\tau e^{-(R-\rho)^2/2\tau}i_0(R\rho/\tau)` of a point at radius rho with noise.

    Args:
        radius: R >= 0.
        amplitude: :math:`\rho` >= 0.
        variance: :math:`\tau` > 0, per coordinate.

    Returns:
        The density, broadcast; :math:`i_0(z)=e^{-z}I_0(z)` keeps it from overflowing.

    References:
        theory F.9.

    Example:
        >>> round(float(rice_density(1.0, 0.0, 1.0)), 6)  # Rayleigh: exp(-1/2)
        0.606531
    """
    radius, amplitude, variance = np.asarray(radius), np.asarray(amplitude), np.asarray(variance)
    return (
        radius / variance * np.exp(-((radius - amplitude) ** 2) / (2 * variance)) * i0e(radius * amplitude / variance)
    )


def _transform(lam: Array, k: Array, left: float, right: float, sigma: float) -> Array:
    """Hankel transform of the radius density given lam, shape [lam, k]; the angle is averaged exactly."""
    lam = lam[:, None]
    q = lam**2 + (1 - lam) ** 2
    return j0(lam * k * left) * j0((1 - lam) * k * right) * np.exp(-(k**2) * q * sigma**2 / 2)


def noisy_circle_predictor(
    radius: ArrayLike, inner_radius: float, outer_radius: float, sigma: float, alpha: float
) -> tuple[Any, Any]:
    r"""The mixup optimum :math:`g^*(R) = E[\tilde y \mid |\tilde x| = R]` and the density of :math:`|\tilde x|`.

    Given lam the mixed radius has the density
    :math:`R\int_0^\infty kJ_0(kR)J_0(\lambda kA)J_0((1-\lambda)kB)e^{-k^2q\sigma^2/2}dk`, averaged over lam by a
    Gauss rule and over the four ordered class pairs. For alpha < 1 the endpoints lam = 0, 1 are peeled off: their
    share is a Rice density in closed form, so that the part of order alpha keeps its digits.

    Assumptions: balanced classes, uniform angles, isotropic Gaussian noise, independent pairs, infinite data.

    Args:
        radius: R > 0, any shape up to two axes.
        inner_radius: Radius of class 0, > 0.
        outer_radius: Radius of class 1, larger.
        sigma: Noise per coordinate, > 0 (`noise_free_circle_predictor` has the limit 0).
        alpha: Beta concentration in [0, inf]; 0 gives the Bayes posterior.

    Returns:
        The predictor in [0, 1] and the density, of the shape of `radius`. Absolute accuracy about 1e-12 of the
        largest density; beyond six sigma outside the circles the predictor has no digits left and is nan.

    Raises:
        ValueError: If radii are out of order or an argument is out of range.

    References:
        theory F.9.

    Example:
        >>> g, density = noisy_circle_predictor(0.5, 0.5, 1.0, 0.2, 1.0)
        >>> round(g, 6), round(density, 6)
        (0.30089, 1.304939)
    """
    inner, outer = check_radii(inner_radius, outer_radius)
    sigma = float(check_positive("sigma", sigma))
    alpha = float(check_alpha(alpha))
    shape = np.shape(radius)
    R = check_positive("radius", check_array("radius", radius, (0, 1, 2))).ravel()
    reach = np.sqrt(64.0) * 2 / sigma  # exp(-k^2 sigma^2 / 4) is 1e-28 there: q >= 1/2
    u, w = roots_legendre(int(reach * (R.max() + 2 * outer) / 4) + 80)
    k, weight = reach * (1 + u) / 2, reach * w / 2
    num_nodes = int(reach * (inner + outer) / 4) + 48
    total, labelled = np.zeros_like(R), np.zeros_like(R)
    for left, right in ((inner, inner), (outer, outer), (inner, outer)):  # the fourth pair is the third swapped
        share = 0.5 if left != right else 0.25
        y_left, y_right = float(left == outer), float(right == outer)
        density, label = _pair_density(R, k, weight, num_nodes, alpha, sigma, (left, right), (y_left, y_right))
        total += share * density
        labelled += share * label
    with np.errstate(invalid="ignore", divide="ignore"):
        g = np.where(total > 1e-13 * max(total.max(), 1e-300), np.clip(labelled / total, 0, 1), np.nan)
    return as_result(g.reshape(shape)), as_result(np.maximum(total, 0).reshape(shape))


def _pair_density(
    R: Array,
    k: Array,
    weight: Array,
    num_nodes: int,
    alpha: float,
    sigma: float,
    radii: tuple[float, float],
    labels: tuple[float, float],
) -> tuple[Array, Array]:
    """Density of the mixed radius for one ordered class pair, and the same weighted with the mixed label."""
    back = R[:, None] * j0(R[:, None] * k) * (k * weight)  # inverse Hankel transform

    def label(lam: Array) -> Array:
        return lam * labels[0] + (1 - lam) * labels[1]

    if not 0 <= alpha < 1:
        nodes, rule = gauss_rule(num_nodes, alpha)
        h = _transform(nodes, k, *radii, sigma)
        return back @ (rule @ h), back @ ((rule * label(nodes)) @ h)
    ends = np.array([rice_density(R, radii[1], sigma**2), rice_density(R, radii[0], sigma**2)])  # lam = 0, 1
    plain, labelled = ends.mean(axis=0), (ends * label(np.array([0.0, 1.0]))[:, None]).mean(axis=0)
    if alpha == 0:
        return plain, labelled
    nodes, rule = gauss_rule(num_nodes, alpha + 1)
    h = _transform(nodes, k, *radii, sigma)
    h0, h1 = _transform(np.array([0.0, 1.0]), k, *radii, sigma)
    t, scale = nodes[:, None], float(mean_p(alpha))
    bulge = (rule / (nodes * (1 - nodes))) @ (h - t * h1 - (1 - t) * h0)
    y = label(t)
    bulge_label = (rule / (nodes * (1 - nodes))) @ (y * h - t * labels[0] * h1 - (1 - t) * labels[1] * h0)
    return plain + scale * (back @ bulge), labelled + scale * (back @ bulge_label)


@dataclass(frozen=True)
class CircleBoundary:
    """Where the mixup optimum decides, and how often that is wrong on clean data.

    Attributes:
        radii: Every radius at which g* crosses 1/2, increasing.
        error: Error of the induced classifier on unmixed data.
        bayes_error: Error of the best classifier (alpha = 0).
    """

    radii: tuple[float, ...]
    error: float
    bayes_error: float

    @property
    def radius(self) -> float:
        """The only crossing; nan where there is not exactly one."""
        return self.radii[0] if len(self.radii) == 1 else float("nan")


def circle_boundary(inner_radius: float, outer_radius: float, sigma: float, alpha: float) -> CircleBoundary:
    r"""Decision radii of the mixup optimum and the error of the classifier :math:`1[g^*(R) > 1/2]` on clean data.

    Assumptions: those of `noisy_circle_predictor`. Crossings are bracketed on a grid of 400 radii and refined; the
    error follows from the Rice distribution functions between them.

    Args:
        inner_radius: Radius of class 0, > 0.
        outer_radius: Radius of class 1, larger.
        sigma: Noise per coordinate, > 0.
        alpha: Beta concentration in [0, inf].

    Returns:
        The boundary; in every case computed so far it has one radius.

    Raises:
        ValueError: If radii are out of order or an argument is out of range.

    References:
        theory F.9.

    Example:
        >>> boundary = circle_boundary(0.5, 1.0, 0.1, 1.0)
        >>> round(boundary.radius, 5), round(boundary.error, 6), round(boundary.bayes_error, 6)
        (0.63679, 0.050272, 0.00642)
    """
    inner, outer = check_radii(inner_radius, outer_radius)
    radii = _crossings(inner, outer, sigma, alpha)
    bayes = radii if alpha == 0 else _crossings(inner, outer, sigma, 0.0)
    return CircleBoundary(radii, _clean_error(radii, inner, outer, sigma), _clean_error(bayes, inner, outer, sigma))


def _crossings(inner: float, outer: float, sigma: float, alpha: float) -> tuple[float, ...]:
    """Radii at which g* = 1/2."""
    grid = np.linspace(1e-3 * inner, outer + 4 * sigma, 400)
    g, _ = noisy_circle_predictor(grid, inner, outer, sigma, alpha)
    grid, g = grid[np.isfinite(g)], g[np.isfinite(g)]
    found = []
    for i in np.flatnonzero(np.diff(np.sign(g - 0.5))):
        found.append(
            brentq(
                lambda r: noisy_circle_predictor(r, inner, outer, sigma, alpha)[0] - 0.5,
                grid[i],
                grid[i + 1],
                xtol=1e-12,
            )
        )
    return tuple(found)


def _clean_error(radii: tuple[float, ...], inner: float, outer: float, sigma: float) -> float:
    """Error when the decision starts with the inner class at the centre and switches at each radius."""
    edges = np.concatenate([[0.0], radii, [np.inf]])
    mass = {r: np.diff(rice.cdf(edges, r / sigma, scale=sigma)) for r in (inner, outer)}
    tail = rice.sf(edges[-2], inner / sigma, scale=sigma)  # the last interval without cancellation
    mass[inner][-1] = tail
    decided_outer = np.arange(len(edges) - 1) % 2 == 1
    return float(0.5 * mass[inner][decided_outer].sum() + 0.5 * mass[outer][~decided_outer].sum())
