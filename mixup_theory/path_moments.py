r"""Exact second moments of piecewise-linear functions of lam, by centred incomplete Beta moments."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import betainc, gammaln, zeta

from ._checks import check_alpha
from .segments import SegmentPaths
from .weights import expected_abs_u

__all__ = ["expected_product", "expected_square", "large_alpha_slope", "small_alpha_slope"]


@dataclass(frozen=True)
class _Quadratic:
    r"""A piecewise quadratic :math:`g = c + b v + s v^2`, :math:`v=t-\tfrac12`, and its values at t = 0 and 1."""

    paths: SegmentPaths
    c: NDArray[np.float64]
    b: NDArray[np.float64]
    s: NDArray[np.float64]
    at_zero: NDArray[np.float64]
    at_one: NDArray[np.float64]

    @property
    def starts(self) -> NDArray[np.int64]:
        """Index of the first piece of every segment."""
        return self.paths.offsets[:-1] - np.arange(len(self.paths))

    def bulge(self) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        r"""Coefficients of g minus the chord of its ends, as :math:`A + B v - s\,t(1-t)`."""
        owner = np.repeat(np.arange(len(self.paths)), np.diff(self.paths.offsets) - 1)
        middle, rise = (self.at_zero + self.at_one) / 2, self.at_one - self.at_zero
        return self.c - middle[owner] + self.s / 4, self.b - rise[owner], self.s


def _product(paths: SegmentPaths, f: NDArray[np.float64], g: NDArray[np.float64]) -> _Quadratic:
    """Inner product, summed over outputs, of two functions that are linear between the knots of `paths`."""
    row = paths.piece_starts
    width = (paths.knots[row + 1] - paths.knots[row])[:, None]
    v = paths.knots[row][:, None] - 0.5
    f_slope, g_slope = (f[row + 1] - f[row]) / width, (g[row + 1] - g[row]) / width
    f_middle, g_middle = f[row] - f_slope * v, g[row] - g_slope * v
    first, last = paths.offsets[:-1], paths.offsets[1:] - 1
    return _Quadratic(
        paths,
        (f_middle * g_middle).sum(axis=1),
        (f_middle * g_slope + f_slope * g_middle).sum(axis=1),
        (f_slope * g_slope).sum(axis=1),
        (f[first] * g[first]).sum(axis=1),
        (f[last] * g[last]).sum(axis=1),
    )


def _expectation(g: _Quadratic, alpha: ArrayLike) -> NDArray[np.float64]:
    """Expectation of a piecewise quadratic, shape [S], or [A, S] for alpha of shape [A]."""
    alphas = check_alpha(alpha)
    if alphas.ndim > 1:
        raise ValueError(f"`alpha` must be a number or a 1-d array, got shape {alphas.shape}.")
    rows = [_at_one_alpha(g, a) for a in np.atleast_1d(alphas)]
    return np.stack(rows) if alphas.ndim else rows[0]


def _at_one_alpha(g: _Quadratic, alpha: float) -> NDArray[np.float64]:
    """Centred incomplete moments (alpha >= 1), or the same peeled at the ends (alpha < 1)."""
    t, row = g.paths.knots, g.paths.piece_starts
    if alpha == 0:
        return (g.at_zero + g.at_one) / 2
    if np.isinf(alpha):
        return np.add.reduceat(np.where((t[row] <= 0.5) & (t[row + 1] > 0.5), g.c, 0.0), g.starts)
    tail = betainc(alpha + 1, alpha, t)  # I_t(a + 1, a); the other two differ from it by multiples of k(t)
    if alpha >= 1:
        v = t - 0.5
        with np.errstate(divide="ignore"):  # log 0 at the ends, where k is 0
            k = expected_abs_u(alpha) / 4 * np.exp(alpha * np.log1p(-4 * v**2))
        second = (tail + 4 * t * k) / (4 * (2 * alpha + 1)) - v * k
        jumps = g.c * np.diff(tail + 2 * k)[row] - g.b * np.diff(k)[row] + g.s * np.diff(second)[row]
        return np.add.reduceat(jumps, g.starts)
    # Only the bulge over the chord is integrated, against functions of order alpha, so that nothing that
    # vanishes with alpha is lost. At 0 and 1 the bulge is 0 and the first two functions drop out.
    quarter = np.zeros_like(t)  # k(t) - 1/4
    inside = (t > 0) & (t < 1)
    log_p = np.log(t[inside]) + np.log1p(-t[inside])
    quarter[inside] = np.expm1(alpha * log_p + _log_ratio(alpha)) / 4
    centred = np.where(inside, tail + 2 * quarter, 0.0)  # I_t(a, a) - 1/2
    above = np.where(inside, tail + t + 4 * t * quarter, tail)  # I_t(a + 1, a + 1)
    parabola = alpha / (2 * (2 * alpha + 1)) * above  # E[lam (1 - lam); lam < t]
    return (g.at_zero + g.at_one) / 2 + _against(g, centred, quarter, parabola)


def _against(g: _Quadratic, mass: NDArray, minus_v: NDArray, parabola: NDArray) -> NDArray[np.float64]:
    """Sum the bulge of g against the differences of three functions of the knot."""
    row = g.paths.piece_starts
    a, b, s = g.bulge()
    jumps = a * np.diff(mass)[row] - b * np.diff(minus_v)[row] - s * np.diff(parabola)[row]
    return np.add.reduceat(jumps, g.starts)


def _log_ratio(alpha: float) -> float:
    r"""Evaluate :math:`\ln\Gamma(1+2a)-2\ln\Gamma(1+a)`, by its series where a is small."""
    if alpha > 0.05:
        return float(gammaln(1 + 2 * alpha) - 2 * gammaln(1 + alpha))
    k = np.arange(2, 22)
    return float(np.sum(zeta(k) * (-alpha) ** k * (2.0**k - 2) / k))


def expected_square(paths: SegmentPaths, alpha: ArrayLike) -> NDArray[np.float64]:
    r"""Exact :math:`E\|R(\lambda)\|^2` of piecewise-linear functions, by centred incomplete Beta moments.

    On a piece write :math:`R=c+Sv`, :math:`v=t-\tfrac12`. Then :math:`E R^2=\sum(c^2m_0+2cS\,m_1+S^2m_2)` with

    .. math:: m_0=[I_t(a,a)],\quad m_1=-[k],\quad m_2=-[(t-\tfrac12)k]+\tfrac1{4(2a+1)}[I_t(a+1,a+1)],\quad
              k(t)=\frac{(t(1-t))^a}{2aB(a,a)},

    brackets being differences between the ends of the piece. For alpha < 1 the chord of :math:`R^2` is taken out
    first, which is the same number and keeps its digits when R vanishes at both ends.

    Args:
        paths: R on S segments, any number of outputs; the square is summed over outputs.
        alpha: Concentration(s) in [0, inf], a number or shape [A]. At 0 the mean of the end values, at inf the
            value at 1/2.

    Returns:
        Shape [S] for one alpha, [A, S] for several.

    Raises:
        ValueError: If `alpha` is not >= 0 or has more than one axis.

    References:
        theory D.3, D.8.

    Example:
        >>> tent = SegmentPaths(np.array([0, 0.5, 1]), np.array([[0], [-0.5], [0]]), np.array([0, 3]))
        >>> expected_square(tent, 1.0).round(6).tolist()  # E min(lam, 1 - lam)**2 = 1/12
        [0.083333]
    """
    return _expectation(_product(paths, paths.values, paths.values), alpha)


def expected_product(first: SegmentPaths, second: SegmentPaths, alpha: ArrayLike) -> NDArray[np.float64]:
    r"""Exact :math:`E\langle F(\lambda), G(\lambda)\rangle` of two families of paths with the same knots.

    The bilinear form of `expected_square`.

    Args:
        first: F on S segments.
        second: G on the same segments with the same knots and number of outputs.
        alpha: Concentration(s) in [0, inf], a number or shape [A].

    Returns:
        Shape [S] for one alpha, [A, S] for several.

    Raises:
        ValueError: If the knots or outputs differ, or `alpha` is not >= 0.

    References:
        theory D.1, D.3.

    Example:
        >>> knots, offsets = np.array([0.0, 1.0]), np.array([0, 2])
        >>> up = SegmentPaths(knots, np.array([[0.0], [1.0]]), offsets)
        >>> down = SegmentPaths(knots, np.array([[1.0], [0.0]]), offsets)
        >>> expected_product(up, down, 1.0).round(6).tolist()  # E lam (1 - lam)
        [0.166667]
    """
    if not (np.array_equal(first.knots, second.knots) and first.values.shape == second.values.shape):
        raise ValueError(
            f"`second` must have the knots and outputs of first, {first.values.shape}, got {second.values.shape}."
        )
    return _expectation(_product(first, first.values, second.values), alpha)


def small_alpha_slope(paths: SegmentPaths) -> NDArray[np.float64]:
    r"""Derivative of :math:`E\|R(\lambda)\|^2` in alpha at alpha = 0, where lam is 0 or 1.

    .. math:: \tfrac12\int_0^1\frac{R^2-tR(1)^2-(1-t)R(0)^2}{t(1-t)}\,dt

    in closed form: on a piece the integrand is a constant plus multiples of 1/t and 1/(1 - t).

    Args:
        paths: R on S segments.

    Returns:
        Shape [S]: :math:`E R^2=\tfrac12(R(0)^2+R(1)^2)+\text{slope}\cdot\alpha+O(\alpha^2)`.

    References:
        theory D.8, A.1.

    Example:
        >>> tent = SegmentPaths(np.array([0, 0.5, 1]), np.array([[0], [-0.5], [0]]), np.array([0, 3]))
        >>> small_alpha_slope(tent).round(6).tolist()  # ln 2 - 1/2
        [0.193147]
    """
    t = paths.knots
    inside = (t > 0) & (t < 1)
    log_t, log_rest = np.zeros_like(t), np.zeros_like(t)
    log_t[inside], log_rest[inside] = np.log(t[inside]), np.log1p(-t[inside])
    return _against(_product(paths, paths.values, paths.values), (log_t - log_rest) / 2, (log_t + log_rest) / 4, t / 2)


def large_alpha_slope(paths: SegmentPaths) -> NDArray[np.float64]:
    r"""Coefficient of :math:`1/(2\alpha+1)` in :math:`E\|R(\lambda)\|^2` as alpha grows.

    .. math:: E\|R\|^2=\|R(\tfrac12)\|^2+\frac{\|S_-\|^2+\|S_+\|^2}{8(2\alpha+1)}+\dots

    with the slopes S left and right of 1/2. A kink at 1/2 itself where R is not zero makes the leading
    correction of order :math:`\alpha^{-1/2}`, and the coefficient infinite with its sign.

    Args:
        paths: R on S segments.

    Returns:
        Shape [S]; infinite where 1/2 is a kink with :math:`R(\tfrac12)\cdot(S_+-S_-)\ne0`.

    References:
        theory D.8, A.1.

    Example:
        >>> line = SegmentPaths(np.array([0.0, 1.0]), np.array([[0.0], [2.0]]), np.array([0, 2]))
        >>> large_alpha_slope(line).tolist()  # E (2 lam)^2 = 1 + 1 / (2 alpha + 1)
        [1.0]
    """
    t, row = paths.knots, paths.piece_starts
    g = _product(paths, paths.values, paths.values)
    left = np.add.reduceat(np.where((t[row] < 0.5) & (t[row + 1] >= 0.5), [g.b, g.s], 0.0), g.starts, axis=1)
    right = np.add.reduceat(np.where((t[row] <= 0.5) & (t[row + 1] > 0.5), [g.b, g.s], 0.0), g.starts, axis=1)
    bend = right[0] - left[0]
    return np.where(bend == 0, (left[1] + right[1]) / 8, np.copysign(np.inf, bend))
