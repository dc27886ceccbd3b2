r"""Exact second moments of piecewise-linear functions of lam, by centred incomplete Beta moments."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._checks import check_alpha
from .incomplete_moments import piece_weights, small_alpha_weights
from .segments import SegmentPaths

__all__ = ["expected_product", "expected_square", "large_alpha_slope", "small_alpha_slope"]


@dataclass(frozen=True)
class _Pieces:
    """The pieces of some paths, seen from the nearer end of [0, 1], so that small distances to it keep digits."""

    first: NDArray[np.int64]  # rows of the piece ends; `first` is the one nearer to 0 or 1
    last: NDArray[np.int64]
    low: NDArray[np.float64]  # their distances from that end, low < high
    high: NDArray[np.float64]
    owner: NDArray[np.int64]


def _pieces(paths: SegmentPaths) -> _Pieces:
    row = paths.piece_starts
    left, right = paths.knots[row], paths.knots[row + 1]
    flipped = left > 1 - right
    return _Pieces(
        np.where(flipped, row + 1, row),
        np.where(flipped, row, row + 1),
        np.where(flipped, 1 - right, left),
        np.where(flipped, 1 - left, right),
        paths.owner[row],
    )


def _bernstein(
    paths: SegmentPaths, pieces: _Pieces, f: NDArray[np.float64], g: NDArray[np.float64], peeled: bool
) -> NDArray[np.float64]:
    """Coefficients [pieces, 3] of f g, summed over outputs, in (1 - z)^2, 2 z (1 - z), z^2 on every piece."""
    # peeled: of f g minus the chord of its values at t = 0 and t = 1
    one, zero = paths.offsets[1:] - 1, paths.offsets[:-1]
    first, last = pieces.first, pieces.last
    product = (f * g).sum(axis=1)
    crossed = ((f[first] * g[last]).sum(axis=1) + (f[last] * g[first]).sum(axis=1)) / 2
    found = np.stack([product[first], crossed, product[last]], axis=1)
    if peeled:
        chord = paths.knots * product[one][paths.owner] + (1 - paths.knots) * product[zero][paths.owner]
        found -= np.stack([chord[first], (chord[first] + chord[last]) / 2, chord[last]], axis=1)
        found[pieces.low == 0, 0] = 0.0  # exactly, where the weight of the end itself was taken out
        found[pieces.high == 1, 2] = 0.0
    return found


def _sum_over_pieces(paths: SegmentPaths, pieces: _Pieces, terms: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.bincount(pieces.owner, terms.sum(axis=1), minlength=len(paths)).astype(float)


def _expectation(
    paths: SegmentPaths, f: NDArray[np.float64], g: NDArray[np.float64], alpha: ArrayLike
) -> NDArray[np.float64]:
    """Mean of f g, summed over outputs: shape [S], or [A, S] for alpha of shape [A]."""
    alphas = check_alpha(alpha)
    if alphas.ndim > 1:
        raise ValueError(f"`alpha` must be a number or a 1-d array, got shape {alphas.shape}.")
    pieces = _pieces(paths)
    plain, peeled = (_bernstein(paths, pieces, f, g, peel) for peel in (False, True))
    one, zero = paths.offsets[1:] - 1, paths.offsets[:-1]
    ends = (np.sum(f[one] * g[one], axis=1) + np.sum(f[zero] * g[zero], axis=1)) / 2

    def at(a: float) -> NDArray[np.float64]:
        if a == 0:
            return ends
        if np.isinf(a):
            return np.sum(_halfway(paths, f) * _halfway(paths, g), axis=1)
        coefficients = peeled if a < 1 else plain
        inner = _sum_over_pieces(paths, pieces, coefficients * piece_weights(pieces.low, pieces.high, a))
        return ends + inner if a < 1 else inner

    rows = [at(a) for a in np.atleast_1d(alphas)]
    return np.stack(rows) if alphas.ndim else rows[0]


def _halfway(paths: SegmentPaths, values: NDArray[np.float64]) -> NDArray[np.float64]:
    return SegmentPaths(paths.knots, values, paths.offsets).at(0.5)[:, 0]


def expected_square(paths: SegmentPaths, alpha: ArrayLike) -> NDArray[np.float64]:
    r"""Exact :math:`E\|R(\lambda)\|^2` of piecewise-linear functions, by centred incomplete Beta moments.

    On a piece write :math:`R=c+Sv`, :math:`v=t-\tfrac12`. Then :math:`E R^2=\sum(c^2m_0+2cS\,m_1+S^2m_2)` with

    .. math:: m_0=[I_t(a,a)],\quad m_1=-[k],\quad m_2=-[(t-\tfrac12)k]+\tfrac1{4(2a+1)}[I_t(a+1,a+1)],\quad
              k(t)=\frac{(t(1-t))^a}{2aB(a,a)},

    brackets being differences between the ends of the piece. The moments come from `piece_weights`, which is exact
    to rounding also where those brackets cancel: on short pieces, and with the chord of :math:`R^2` taken out
    first for alpha < 1, when R vanishes at both ends.

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
    return _expectation(paths, paths.values, paths.values, alpha)


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
    return _expectation(first, first.values, second.values, alpha)


def small_alpha_slope(paths: SegmentPaths) -> NDArray[np.float64]:
    r"""Derivative of :math:`E\|R(\lambda)\|^2` in alpha at alpha = 0, where lam is 0 or 1.

    .. math:: \tfrac12\int_0^1\frac{R^2-tR(1)^2-(1-t)R(0)^2}{t(1-t)}\,dt

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
    pieces = _pieces(paths)
    coefficients = _bernstein(paths, pieces, paths.values, paths.values, peeled=True)
    return _sum_over_pieces(paths, pieces, coefficients * small_alpha_weights(pieces.low, pieces.high))


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
    start = paths.offsets[:-1]
    slopes = []
    for before in (paths.knots < 0.5, paths.knots <= 0.5):
        row = start + np.add.reduceat(before, start, dtype=int) - 1
        width = paths.knots[row + 1] - paths.knots[row]
        slopes.append((paths.values[row + 1] - paths.values[row]) / width[:, None])
    bend = np.sum(_halfway(paths, paths.values) * (slopes[1] - slopes[0]), axis=1)
    squares = np.sum(slopes[0] ** 2 + slopes[1] ** 2, axis=1)
    return np.where(bend == 0, squares / 8, np.copysign(np.inf, bend))
