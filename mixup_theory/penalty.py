r"""The interpolation penalty :math:`E\|f(\tilde x)-\tilde y\|^2` of a ReLU network on segments, in closed form."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import sympy as sp
from numpy.typing import ArrayLike, NDArray

from ._checks import check_alpha
from .derivation import Derivation, Step
from .layers import Network
from .moments import shrink_factor
from .path_moments import expected_product, expected_square
from .segments import SegmentPaths, iter_labelled_paths, segment_labels

__all__ = [
    "Decomposition",
    "decompose",
    "derive_relu_example",
    "deviation_path",
    "residual_path",
    "squared_penalty",
]


def residual_path(paths: SegmentPaths, yi: ArrayLike, yj: ArrayLike) -> SegmentPaths:
    r"""Residual :math:`R(t)=F(t)-ty_i-(1-t)y_j` against the mixed label.

    Args:
        paths: F on S segments.
        yi: Labels at t = 1: a number, [S] for one output, or [S, num_outputs].
        yj: Labels at t = 0.

    Returns:
        The residual, with the knots of `paths`.

    Raises:
        ValueError: If the labels do not have the shape of the outputs.

    References:
        theory D.3.

    Example:
        >>> line = SegmentPaths(np.array([0.0, 1.0]), np.array([[0.0], [2.0]]), np.array([0, 2]))
        >>> residual_path(line, 1.0, 0.0).values.ravel().tolist()
        [0.0, 1.0]
    """
    t = paths.knots[:, None]
    shape = len(paths), paths.values.shape[1]
    first, second = segment_labels("yi", yi, *shape), segment_labels("yj", yj, *shape)
    mixed = t * first[paths.owner] + (1 - t) * second[paths.owner]
    return SegmentPaths(paths.knots, paths.values - mixed, paths.offsets)


def deviation_path(paths: SegmentPaths) -> SegmentPaths:
    r"""Chord deviation :math:`\Delta(t)=F(t)-tF(1)-(1-t)F(0)`: the residual against the network's own ends.

    Args:
        paths: F on S segments.

    Returns:
        The deviation, with the knots of `paths`.

    References:
        theory D.1.

    Example:
        >>> relu = SegmentPaths(np.array([0, 0.5, 1]), np.array([[0.0], [0.0], [1.0]]), np.array([0, 3]))
        >>> deviation_path(relu).values.ravel().tolist()
        [0.0, -0.5, 0.0]
    """
    return residual_path(paths, *paths.ends)


@dataclass(frozen=True)
class Decomposition:
    """The three parts of the squared penalty, each of shape [S] or [A, S].

    Attributes:
        endpoint_fit: What a straight path between the same ends would pay; >= 0.
        cross: Endpoint errors times chord deviation; zero at interpolation, else of either sign.
        chord_deviation: Mean square of the deviation from the straight path; >= 0.
    """

    endpoint_fit: NDArray[np.float64]
    cross: NDArray[np.float64]
    chord_deviation: NDArray[np.float64]

    @property
    def penalty(self) -> NDArray[np.float64]:
        """Their sum."""
        return self.endpoint_fit + self.cross + self.chord_deviation


def decompose(paths: SegmentPaths, yi: ArrayLike, yj: ArrayLike, alpha: ArrayLike) -> Decomposition:
    r"""Split the squared penalty into endpoint fit, cross term and chord deviation, exactly.

    With :math:`e_1=F(1)-y_i`, :math:`e_0=F(0)-y_j`, :math:`s=s(a)`:

    .. math:: P=\tfrac s2(e_1^2+e_0^2)+(1-s)e_0e_1+2E[(\lambda e_1+(1-\lambda)e_0)\Delta(\lambda)]+E[\Delta^2].

    Args:
        paths: F on S segments; squares and products are summed over outputs.
        yi: Labels at t = 1: a number, [S] for one output, or [S, num_outputs].
        yj: Labels at t = 0.
        alpha: Concentration(s) in [0, inf], a number or shape [A].

    Returns:
        The three parts.

    Raises:
        ValueError: If the labels do not have the shape of the outputs or `alpha` is not >= 0.

    References:
        theory D.1.

    Example:
        >>> relu = SegmentPaths(np.array([0, 0.5, 1]), np.array([[0.0], [0.0], [1.0]]), np.array([0, 3]))
        >>> decompose(relu, 1.0, 0.0, 1.0).chord_deviation.round(6).tolist()
        [0.083333]
    """
    residual, deviation = residual_path(paths, yi, yj), deviation_path(paths)
    e1, e0 = residual.ends
    shrink = np.asarray(shrink_factor(alpha))[..., None]
    squares, product = (e1**2 + e0**2).sum(axis=1), (e1 * e0).sum(axis=1)
    line = SegmentPaths(paths.knots, residual.values - deviation.values, paths.offsets)
    return Decomposition(
        (shrink / 2 * squares + (1 - shrink) * product),
        2 * expected_product(line, deviation, alpha),
        expected_square(deviation, alpha),
    )


def squared_penalty(
    network: Network,
    xi: ArrayLike,
    xj: ArrayLike,
    yi: ArrayLike,
    yj: ArrayLike,
    alpha: ArrayLike,
    *,
    slope: float = 0.0,
) -> NDArray[np.float64]:
    r"""Exact squared mixup loss of a ReLU network on segments, :math:`P=E\|f(\tilde x)-\tilde y\|^2`.

    The knots of the network along each segment, then the closed form of `expected_square`; memory stays bounded
    whatever the number of segments.

    Args:
        network: A `torch.nn.Sequential` or a list of (W, b), see `network_layers`.
        xi: Inputs at lam = 1, shape [S, ...].
        xj: Inputs at lam = 0, same shape.
        yi: Labels at lam = 1: a number, [S] for one output, or [S, num_outputs].
        yj: Labels at lam = 0.
        alpha: Concentration(s) in [0, inf], a number or shape [A].
        slope: Negative slope of the activations of a list of (W, b).

    Returns:
        Shape [S] for one alpha, [A, S] for several.

    Raises:
        ValueError: If the network is not piecewise linear (use `smooth_penalty`), or shapes or alpha are wrong.

    References:
        theory D.1, D.3, D.4; Liu et al. 2023 on the chord deviation as label noise.

    Example:
        >>> relu = [([[1.0]], [0.0]), ([[1.0]], [0.0])]
        >>> squared_penalty(relu, [[1.0]], [[-1.0]], 1.0, 0.0, [1.0, 2.0]).round(6).tolist()
        [[0.083333], [0.1125]]
    """
    check_alpha(alpha)
    found = [
        expected_square(residual_path(paths, one, zero), alpha)
        for paths, one, zero in iter_labelled_paths(network, xi, xj, yi, yj, slope=slope)
    ]
    return np.concatenate(found, axis=-1)


def derive_relu_example() -> Derivation:
    r"""Derive the penalty of :math:`f(x)=\mathrm{relu}(x)` between (1, label 1) and (-1, label 0).

    Returns:
        The derivation of :math:`\tfrac14(1-2E|u|+\tfrac1{2\alpha+1})`; its end is `squared_penalty` there.

    References:
        theory D.3, worked example 1.

    Example:
        >>> derive_relu_example().verify().result.subs(sp.Symbol("alpha", positive=True), 1)
        1/12
    """
    alpha, x = sp.Symbol("alpha", positive=True), sp.Symbol("u", real=True)
    size, half = sp.Symbol("w", positive=True), sp.Rational(1, 2)
    density = sp.gamma(alpha + half) / (sp.sqrt(sp.pi) * sp.gamma(alpha)) * (1 - size**2) ** (alpha - 1)
    mean_abs = sp.gamma(alpha + half) / (sp.sqrt(sp.pi) * sp.gamma(alpha + 1))
    moment = [sp.beta(alpha + k, alpha) / sp.beta(alpha, alpha) for k in range(3)]
    integral = sp.Integral(2 * size * density, (size, 0, 1))
    closed = (1 - 2 * mean_abs + 1 / (2 * alpha + 1)) / 4
    larger = (1 + mean_abs) / 2, (1 + 2 * mean_abs + 1 / (2 * alpha + 1)) / 4
    steps = (
        Step(
            sp.Eq(((x + sp.Abs(x)) / 2 - (1 + x) / 2) ** 2, (1 - 2 * sp.Abs(x) + x**2) / 4, evaluate=False),
            "u = 2 lam - 1 is the mixed input, (1 + u)/2 the mixed label, relu(u) = (u + |u|)/2",
        ),
        Step(sp.Eq(integral, mean_abs, evaluate=False), "E|u| over the density of u"),
        Step(
            sp.Eq(1 - 4 * moment[1] + 4 * moment[2], 1 / (2 * alpha + 1), evaluate=False),
            "E u^2 from the moments of lam",
        ),
        Step(
            sp.Eq((1 - 2 * integral + 1 - 4 * moment[1] + 4 * moment[2]) / 4, closed, evaluate=False),
            "expectation of the first line",
        ),
        Step(1 - 2 * larger[0] + larger[1], "which is E(1 - max(lam, 1 - lam))^2"),
        Step(closed, "collect"),
    )
    return Derivation(
        "The ReLU kink between (1, 1) and (-1, 0) costs E(1 - max(lam, 1 - lam))^2.",
        ("f = relu", "lam ~ Beta(alpha, alpha)", "alpha > 0"),
        steps,
    )
