r"""Expectations under Beta(alpha, alpha): Gauss rules, endpoint peeling, splitting at kinks."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import eigh_tridiagonal
from scipy.special import roots_jacobi, roots_legendre

from ._checks import as_result, check_array, check_integer, check_one_alpha
from .incomplete_moments import density_at_half

__all__ = ["expect", "expect_pieces", "gauss_rule", "gauss_rule_between"]

Function = Callable[[NDArray[np.float64]], ArrayLike]


def gauss_rule(num_nodes: int, alpha: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    r"""Nodes and weights of the Gauss rule for the probability measure Beta(alpha, alpha) on [0, 1].

    Golub-Welsch with :math:`\beta_1 = 1/(2\alpha+1)` and
    :math:`\beta_k = k(k+2\alpha-2) / ((2k+2\alpha-1)(2k+2\alpha-3))`: exact for polynomials of degree
    :math:`\le 2n-1`; no Beta function is evaluated, so the weights sum to 1 for every alpha.
    The limits have one exact rule each, whatever `num_nodes`: atoms at 0 and 1 for alpha = 0, one at 1/2 for inf.

    Args:
        num_nodes: Number of nodes n >= 1.
        alpha: Concentration in [0, inf].

    Returns:
        Nodes, ascending in [0, 1], and weights >= 0 that sum to 1, each of shape [n].

    Raises:
        ValueError: If `num_nodes` < 1 or `alpha` is not one number >= 0.

    References:
        theory A.2.

    Example:
        >>> nodes, weights = gauss_rule(4, 1.0)
        >>> round(float(weights @ nodes**4), 12)  # uniform law: 1/5
        0.2
    """
    nodes, weights = _gauss_rule(check_integer("num_nodes", num_nodes, 1), check_one_alpha(alpha))
    return nodes.copy(), weights.copy()


@lru_cache(maxsize=512)
def _gauss_rule(num_nodes: int, alpha: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    if alpha == 0:
        return np.array([0.0, 1.0]), np.array([0.5, 0.5])
    if np.isinf(alpha):
        return np.array([0.5]), np.array([1.0])
    if num_nodes == 1:
        return np.array([0.5]), np.array([1.0])
    k = np.arange(2, num_nodes)
    squares = k * (k + 2 * alpha - 2) / ((2 * k + 2 * alpha - 1) * (2 * k + 2 * alpha - 3))
    off_diagonal = np.sqrt(np.concatenate([[1 / (2 * alpha + 1)], squares]))
    u, vectors = eigh_tridiagonal(np.zeros(num_nodes), off_diagonal)
    u = (u - u[::-1]) / 2  # the rule is symmetric; make it so to the last bit
    weights = vectors[0] ** 2
    weights = (weights + weights[::-1]) / 2
    return (1 + u) / 2, weights / weights.sum()


def expect(g: Function, alpha: float, num_nodes: int = 64, peel: bool | None = None) -> float | NDArray:
    r"""Expectation :math:`E\,g(\lambda)`, :math:`\lambda\sim\mathrm{Beta}(\alpha,\alpha)`, of a smooth g.

    Gauss rule with `num_nodes` nodes, exact for polynomials of degree :math:`2n-1`. With peeling, by the
    identity (exact for every alpha, :math:`c(t)=t g(1)+(1-t)g(0)`)

    .. math:: E_{\alpha}[g] = \tfrac12\{g(0)+g(1)\} + \tfrac{\alpha}{2(2\alpha+1)}
              E_{\alpha+1}\left[\frac{g(\lambda)-c(\lambda)}{\lambda(1-\lambda)}\right],

    which keeps full relative accuracy in quantities that vanish with alpha. For a g with kinks use
    `expect_pieces`: Gauss rules then converge only as :math:`n^{-2}`.

    Args:
        g: Takes nodes of shape [n], returns shape [n, ...]; smooth on [0, 1].
        alpha: Concentration in [0, inf]; the limits are exact.
        num_nodes: Number of nodes.
        peel: Peel the endpoints (needs g(0), g(1) finite); by default where alpha < 1.

    Returns:
        The expectation, a float or an array of shape [...].

    Raises:
        ValueError: If an argument is out of range or g returns the wrong leading shape.

    References:
        theory A.2.

    Example:
        >>> round(expect(lambda t: t * (1 - t), 1e-6) / 1e-6, 6)  # alpha / (2 (2 alpha + 1))
        0.499999
    """
    alpha = check_one_alpha(alpha)
    num_nodes = check_integer("num_nodes", num_nodes, 1)
    peel = alpha < 1 if peel is None else peel
    if alpha == 0 or np.isinf(alpha) or not peel:
        nodes, weights = _gauss_rule(num_nodes, alpha)
        return as_result(np.tensordot(weights, _values(g, nodes), axes=1))
    return _peeled(g, alpha, *_gauss_rule(num_nodes, alpha + 1))


def _peeled(g: Function, alpha: float, nodes: NDArray[np.float64], weights: NDArray[np.float64]) -> float | NDArray:
    """Apply the peeling identity with a rule for Beta(alpha + 1, alpha + 1)."""
    ends = _values(g, np.array([0.0, 1.0]))
    t = nodes.reshape(-1, *[1] * (ends.ndim - 1))
    bulge = (_values(g, nodes) - t * ends[1] - (1 - t) * ends[0]) / (t * (1 - t))
    return as_result(ends.mean(axis=0) + alpha / (2 * (2 * alpha + 1)) * np.tensordot(weights, bulge, axes=1))


def _values(g: Function, nodes: NDArray[np.float64]) -> NDArray[np.float64]:
    values = np.asarray(g(nodes), dtype=float)
    if values.ndim == 0 or len(values) != len(nodes):
        raise ValueError(f"`g` must return one value per node, shape [{len(nodes)}, ...], got shape {values.shape}.")
    return values


def gauss_rule_between(
    low: float, high: float, alpha: float, num_nodes: int = 32
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    r"""Nodes and weights for :math:`\int_{low}^{high} g(t) f_\alpha(t)\,dt` with the Beta density :math:`f_\alpha`.

    The algebraic factor at an end of [0, 1] goes into a Gauss-Jacobi rule, the rest into the weights, so that
    the integrand may be evaluated as if it were smooth. A piece from 0 to 1 is cut at 1/2.

    Args:
        low: Left end in [0, 1).
        high: Right end in (low, 1].
        alpha: Concentration in (0, inf).
        num_nodes: Nodes per piece.

    Returns:
        Nodes and weights, each of shape [n] ([2n] for the whole interval).

    Raises:
        ValueError: If the ends are not ordered inside [0, 1] or `alpha` is not in (0, inf).

    References:
        theory A.2, D.3.

    Example:
        >>> nodes, weights = gauss_rule_between(0.0, 0.5, 0.3)
        >>> round(float(weights.sum()), 12)  # P(lam < 1/2)
        0.5
    """
    alpha = check_one_alpha(alpha)
    if not 0 < alpha < np.inf:
        raise ValueError(f"`alpha` must be in (0, inf), got {alpha:g}. The limits are point masses.")
    if not 0 <= low < high <= 1:
        raise ValueError(f"`low` and `high` must satisfy 0 <= low < high <= 1, got {low:g} and {high:g}.")
    if low == 0 and high == 1:
        left = gauss_rule_between(0.0, 0.5, alpha, num_nodes)
        right = gauss_rule_between(0.5, 1.0, alpha, num_nodes)
        return np.concatenate([left[0], right[0]]), np.concatenate([left[1], right[1]])
    half = (high - low) / 2
    height = density_at_half(alpha)  # no Beta function, whose digits large alpha eats
    if high == 1 and low > 0:
        nodes, weights = gauss_rule_between(0.0, 1 - low, alpha, num_nodes)
        return 1 - nodes[::-1], weights[::-1]
    if low == 0 and alpha < 30:  # beyond, t**(alpha - 1) is smooth enough for Legendre and Jacobi overflows
        u, w = roots_jacobi(num_nodes, 0, alpha - 1)
        nodes = half * (1 + u)
        density = (4 * half * (1 - nodes)) ** (alpha - 1)
    else:
        u, w = roots_legendre(num_nodes)
        nodes = low + half * (1 + u)
        density = np.exp((alpha - 1) * np.log1p(-((2 * nodes - 1) ** 2)))
    return nodes, w * half * height * density


def expect_pieces(g: Function, alpha: float, knots: ArrayLike, num_nodes: int = 32) -> float | NDArray:
    r"""Expectation :math:`E\,g(\lambda)` of a function that is smooth only between knots.

    One Gauss rule per piece: Jacobi where the piece touches 0 or 1, Legendre inside. The peeling identity of
    `expect` comes first, so that small alpha keeps its digits. Large alpha (the law then is narrower than a
    piece) adds knots at a few standard deviations around 1/2.

    Args:
        g: Takes nodes of shape [n], returns shape [n, ...]; smooth between consecutive knots, finite at 0 and 1.
        alpha: Concentration in [0, inf].
        knots: Increasing, from 0 to 1, shape [m + 1].
        num_nodes: Nodes per piece.

    Returns:
        The expectation, a float or an array of shape [...].

    Raises:
        ValueError: If the knots do not increase from 0 to 1 or `alpha` is out of range.

    References:
        theory A.2, D.3.

    Example:
        >>> round(expect_pieces(lambda t: abs(t - 0.5), 1.0, [0, 0.5, 1]), 12)
        0.25
    """
    alpha = check_one_alpha(alpha)
    cuts = check_array("knots", knots, 1)
    if len(cuts) < 2 or cuts[0] != 0 or cuts[-1] != 1 or np.any(np.diff(cuts) <= 0):
        raise ValueError(f"`knots` must increase strictly from 0 to 1, got {cuts.tolist()}.")
    if alpha == 0 or np.isinf(alpha):
        return expect(g, alpha)
    spread = np.array([1, 2, 4, 8, 16]) / np.sqrt(4 * (2 * alpha + 3))
    extra = np.concatenate([[0.5], 0.5 - spread, 0.5 + spread]) if alpha > 4 else np.array([0.5])
    extra = extra[(extra > 0) & (extra < 1)]
    cuts = np.unique(np.concatenate([cuts, extra]))
    pieces = [gauss_rule_between(a, b, alpha + 1, num_nodes) for a, b in pairwise(cuts)]
    nodes = np.concatenate([piece[0] for piece in pieces])
    weights = np.concatenate([piece[1] for piece in pieces])
    return _peeled(g, alpha, nodes, weights)
