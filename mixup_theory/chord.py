r"""How much a function that bulges over its chord pays: sine and quadratic deviations, the curvature bound."""

from __future__ import annotations

import numpy as np
import sympy as sp
from numpy.typing import ArrayLike, NDArray

from ._checks import as_result, check_alpha, check_array, check_integer, check_positive
from .derivation import Derivation, Step
from .moments import Result, mean_p_squared
from .quadrature import expect, expect_pieces

__all__ = [
    "curvature_bound",
    "derive_quadratic_chord",
    "derive_sine_chord",
    "population_quadratic_deviation",
    "quadratic_chord_deviation",
    "sine_chord_deviation",
]


def sine_chord_deviation(amplitude: ArrayLike, frequency: int, alpha: ArrayLike) -> Result:
    r"""Mean squared chord deviation of :math:`F(t)=\text{chord}+A\sin(k\pi t)`.

    .. math:: E\Delta^2=\tfrac{A^2}2\left[1-(-1)^k\,{}_0F_1(;\alpha+\tfrac12;-\tfrac{k^2\pi^2}4)\right]

    Quadratic in the amplitude but not monotone in the frequency: at alpha = 3, k = 2 bends four times as much as
    k = 1 and pays less. Evaluated as :math:`A^2E\sin^2(k\pi\lambda)` by a quadrature of positive terms, since the
    bracket cancels for small alpha and for even k at large alpha; `derive_sine_chord` proves the two equal.

    Args:
        amplitude: A, finite; broadcasts with `alpha`.
        frequency: k, a whole number >= 1 (half waves between the ends).
        alpha: Beta concentration(s) in [0, inf].

    Returns:
        The deviation in [0, A^2]; 0 at alpha = 0, and at inf A^2 for odd k, 0 for even k.

    Raises:
        ValueError: If an argument is out of range.

    References:
        theory D.6.

    Example:
        >>> [round(sine_chord_deviation(1.0, k, 3.0), 6) for k in (1, 2)]
        [0.730985, 0.514437]
    """
    size = check_array("amplitude", amplitude, (0, 1, 2))
    k = check_integer("frequency", frequency, 1)
    alphas = check_alpha(alpha)
    shares = np.array([_mean_sine_square(k, a) for a in alphas.ravel()]).reshape(alphas.shape)
    return as_result(size**2 * shares)


def _mean_sine_square(k: int, alpha: float) -> float:
    """Mean of sin(k pi lam)^2."""
    if alpha == 0 or np.isinf(alpha):
        return float(k % 2) if alpha else 0.0
    wave = np.sin if k % 2 == 0 else np.cos  # from the middle of the segment, where large alpha puts its mass

    def square(t: NDArray) -> NDArray:
        return wave(k * np.pi * (t - 0.5)) ** 2

    if k <= 64:
        return float(expect(square, alpha, num_nodes=32 + 2 * k))
    return float(expect_pieces(square, alpha, np.linspace(0, 1, k // 4 + 2)))  # cost linear in k, not cubic


def quadratic_chord_deviation(second_derivative: ArrayLike, alpha: ArrayLike) -> Result:
    r"""Mean squared chord deviation of a quadratic F, :math:`\Delta=-\tfrac12F''t(1-t)`.

    .. math:: E\Delta^2=\tfrac14(F'')^2E[p^2]=\frac{\alpha(\alpha+1)}{16(2\alpha+1)(2\alpha+3)}(F'')^2

    Args:
        second_derivative: F'' along the segment, :math:`d^\top Hd` for a network with Hessian H; finite.
        alpha: Beta concentration(s) in [0, inf]; broadcasts.

    Returns:
        The deviation, >= 0.

    Raises:
        ValueError: If an argument is out of range.

    References:
        theory D.7.

    Example:
        >>> round(quadratic_chord_deviation(1.9, 1.0), 12)
        0.030083333333
    """
    bend = check_array("second_derivative", second_derivative, (0, 1, 2))
    return as_result(bend**2 / 4 * mean_p_squared(alpha))


def curvature_bound(max_second_derivative: ArrayLike, alpha: ArrayLike) -> Result:
    r"""Upper bound on the chord deviation of any twice differentiable F with :math:`|F''|\le M`.

    :math:`|\Delta(t)|\le\tfrac12t(1-t)M` by the Green's function of the segment, so
    :math:`E\Delta^2\le\frac{\alpha(\alpha+1)}{16(2\alpha+1)(2\alpha+3)}M^2`, with equality for a quadratic. The
    Green's function has one sign: if :math:`F_1''\ge F_2''\ge0` pointwise, F_1 pays at least as much as F_2.
    Without that sign condition more curvature can pay less (`sine_chord_deviation`).

    Args:
        max_second_derivative: M >= 0.
        alpha: Beta concentration(s) in [0, inf]; broadcasts.

    Returns:
        The bound, >= 0.

    Raises:
        ValueError: If an argument is out of range.

    References:
        theory D.7.

    Example:
        >>> curvature_bound(np.pi**2, 1.0) > sine_chord_deviation(1.0, 1, 1.0)
        True
    """
    bend = check_positive("max_second_derivative", max_second_derivative, zero=True)
    return as_result(bend**2 / 4 * mean_p_squared(alpha))


def population_quadratic_deviation(hessian: ArrayLike, covariance: ArrayLike, alpha: ArrayLike) -> Result:
    r"""Mean chord deviation of a quadratic f over independent Gaussian pairs.

    .. math:: \frac{\alpha(\alpha+1)}{4(2\alpha+1)(2\alpha+3)}
              \left[(\mathrm{tr}\,H\Sigma)^2+2\,\mathrm{tr}(H\Sigma H\Sigma)\right]

    For :math:`\Sigma=\sigma^2I` the bracket is the squared Laplacian plus twice the squared Frobenius norm of the
    Hessian, not the Laplacian alone.

    Assumptions:
        x_i, x_j independent, :math:`N(\mu,\Sigma)`.

    Args:
        hessian: H, symmetric, shape [d, d].
        covariance: Sigma, symmetric positive semi-definite, shape [d, d].
        alpha: Beta concentration(s) in [0, inf].

    Returns:
        The deviation, >= 0, of the shape of `alpha`.

    Raises:
        ValueError: If a matrix is not square and symmetric, the shapes differ, or Sigma has a negative eigenvalue.

    References:
        theory D.7.

    Example:
        >>> round(population_quadratic_deviation(np.eye(2), np.eye(2), 1.0), 12)  # (4 + 4) / 30
        0.266666666667
    """
    h, sigma = _symmetric("hessian", hessian), _symmetric("covariance", covariance)
    if h.shape != sigma.shape:
        raise ValueError(f"`covariance` must have the shape of hessian, {h.shape}, got {sigma.shape}.")
    eigenvalues = np.linalg.eigvalsh(sigma)
    if eigenvalues[0] < -1e-10 * max(1.0, eigenvalues[-1]):
        raise ValueError(f"`covariance` must have no negative eigenvalue, got {eigenvalues[0]:g}.")
    product = h @ sigma
    bracket = np.trace(product) ** 2 + 2 * np.sum(product * product.T)
    return as_result(bracket * mean_p_squared(alpha))


def _symmetric(name: str, matrix: ArrayLike) -> NDArray[np.float64]:
    array = check_array(name, matrix, 2)
    if array.shape[0] != array.shape[1]:
        raise ValueError(f"`{name}` must be square, got shape {array.shape}.")
    if not np.allclose(array, array.T, rtol=1e-10, atol=1e-12 * np.abs(array).max()):
        raise ValueError(f"`{name}` must be symmetric, got a largest gap of {np.abs(array - array.T).max():g}.")
    return array


def derive_sine_chord() -> Derivation:
    r"""Derive the chord deviation of :math:`A\sin(k\pi t)`.

    Returns:
        The derivation; its end is `sine_chord_deviation`.

    References:
        theory D.6, A.1.

    Example:
        >>> derive_sine_chord().verify().claim
        'A sine of k half waves over the chord costs A^2/2 (1 - (-1)^k E cos(k pi u)).'
    """
    alpha, size = sp.symbols("alpha A", positive=True)
    k = sp.Symbol("k", integer=True, positive=True)
    m = sp.Symbol("m", integer=True, nonnegative=True)
    u, half = sp.Symbol("u", real=True), sp.Rational(1, 2)
    angle = k * sp.pi
    moment = sp.rf(half, m) / sp.rf(alpha + half, m)
    term = (-(angle**2) / 4) ** m / (sp.factorial(m) * sp.rf(alpha + half, m))
    transform = sp.hyper([], [alpha + half], -(angle**2) / 4)
    steps = (
        Step(
            sp.Eq(
                size**2 * sp.sin(angle * (1 + u) / 2) ** 2,
                size**2 / 2 * (1 - (-1) ** k * sp.cos(angle * u)),
                evaluate=False,
            ),
            "half angle, and t = (1 + u)/2 turns the phase by k pi",
        ),
        Step(
            sp.Eq(sp.beta(m + half, alpha) / sp.beta(half, alpha), moment, evaluate=False),
            "E u^(2m), since u^2 has law Beta(1/2, alpha)",
        ),
        Step(
            sp.Eq((-1) ** m * angle ** (2 * m) / sp.factorial(2 * m) * moment, term, evaluate=False),
            "term m of the cosine series under the expectation",
        ),
        Step(
            sp.Eq(
                size**2 / 2 * (1 - (-1) ** k * sp.Sum(term, (m, 0, sp.oo))),
                size**2 / 2 * (1 - (-1) ** k * transform),
                evaluate=False,
            ),
            "expectation of the first line; the series is 0F1",
        ),
    )
    return Derivation(
        "A sine of k half waves over the chord costs A^2/2 (1 - (-1)^k E cos(k pi u)).",
        ("F(t) = chord + A sin(k pi t)", "k a whole number >= 1", "lam ~ Beta(alpha, alpha)", "alpha > 0"),
        steps,
    )


def derive_quadratic_chord() -> Derivation:
    r"""Derive the chord deviation of a quadratic.

    Returns:
        The derivation; its end is `quadratic_chord_deviation`.

    References:
        theory D.7.

    Example:
        >>> derive_quadratic_chord().verify().claim
        'A quadratic with second derivative c deviates from its chord by c^2/4 E[p^2] in mean square.'
    """
    alpha = sp.Symbol("alpha", positive=True)
    start, slope, bend, t = sp.symbols("F0 b c t", real=True)

    def value(at: sp.Expr) -> sp.Expr:
        return start + slope * at + bend * at**2 / 2

    zero, one = sp.Integer(0), sp.Integer(1)
    chord = t * value(one) + (1 - t) * value(zero)
    steps = (
        Step(
            sp.Eq((value(t) - chord) ** 2, bend**2 / 4 * (t * (1 - t)) ** 2, evaluate=False),
            "the deviation is -c t (1 - t)/2",
        ),
        Step(
            sp.Eq(
                bend**2 / 4 * sp.beta(alpha + 2, alpha + 2) / sp.beta(alpha, alpha),
                bend**2 * alpha * (alpha + 1) / (16 * (2 * alpha + 1) * (2 * alpha + 3)),
                evaluate=False,
            ),
            "expectation: a ratio of Beta functions",
        ),
    )
    return Derivation(
        "A quadratic with second derivative c deviates from its chord by c^2/4 E[p^2] in mean square.",
        ("F(t) = F0 + b t + c t^2/2", "lam ~ Beta(alpha, alpha)", "alpha > 0"),
        steps,
    )
