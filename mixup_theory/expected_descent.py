"""Expected iterates of gradient descent on mixed least squares while alpha changes, in any number of dimensions."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._checks import check_alpha, check_array, check_integer, check_positive
from .annealing import Schedule
from .weights import mean_p, shrink_factor

__all__ = ["decayed_optimum", "displacement", "expected_descent"]


def decayed_optimum(x: ArrayLike, y: ArrayLike, alpha: float, *, kappa: float = 0.0) -> NDArray[np.float64]:
    r"""Minimise :math:`\tfrac12E\lVert\beta^\top\tilde x-\tilde y\rVert^2+\tfrac\kappa2\lVert\beta\rVert^2`.

    Mixing keeps the means m and multiplies both covariances by s, so that with :math:`S=\mathrm{Cov}(x)`,
    :math:`c=\mathrm{Cov}(x,y)`

    .. math:: \beta = (sS + mm^\top + \kappa I)^{-1}(sc + m\bar y^\top) .

    A column of ones in x is an intercept; here, unlike in `least_squares.mixup_ridge`, it is decayed as well, as
    in a network whose biases are.

    Assumptions: independent pairs, or partners by a uniform permutation of all the data.

    Args:
        x: Inputs, shape [n, d].
        y: Targets, shape [n, k].
        alpha: Concentration in [0, inf]; 0 is ERM.
        kappa: Weight decay >= 0; the matrix must be invertible.

    Returns:
        Coefficients, shape [d, k].

    Raises:
        ValueError: If an argument is out of range or the shapes disagree.

    References:
        theory F.1, G.2.

    Example:
        >>> [decayed_optimum([[0.0], [2.0]], [[0.0], [2.0]], a, kappa=1.0).round(6).item() for a in (0, np.inf)]
        [0.666667, 0.6]
    """
    spread, fixed, cross, target = _moments(x, y, kappa)
    s = shrink_factor(float(check_alpha(alpha)))
    return np.linalg.solve(s * spread + fixed, s * cross + target)


def expected_descent(
    x: ArrayLike,
    y: ArrayLike,
    schedule: Schedule,
    num_steps: int,
    *,
    learning_rate: float,
    kappa: float = 0.0,
    initial: ArrayLike | None = None,
) -> NDArray[np.float64]:
    r"""Exact mean of the iterates of gradient descent whose every step mixes all the data anew.

    .. math:: E\beta_{k+1} = E\beta_k - \eta\{(s_kS + mm^\top + \kappa I)\,E\beta_k - s_kc - m\bar y^\top\}

    with :math:`s_k = 1 - p(k)\{1 - s(\alpha(k))\}`: the discrete form of the flow of theory G.2, for several inputs
    and with weight decay. As the gradient is linear in beta and each step's mixing independent of the past, the
    mean obeys it exactly, at any learning rate. Its limit is `decayed_optimum` at the last alpha.

    Assumptions: half squared loss, plain gradient descent without momentum, as `decayed_optimum` for the pairs.

    Args:
        x: Inputs, shape [n, d].
        y: Targets, shape [n, k].
        schedule: Schedule of alpha, with t counted in steps.
        num_steps: Number of steps >= 0.
        learning_rate: Step size eta > 0.
        kappa: Weight decay >= 0.
        initial: First coefficients, shape [d, k]; zero by default.

    Returns:
        Expected coefficients before every step and after the last, shape [num_steps + 1, d, k].

    Raises:
        ValueError: If an argument is out of range or the shapes disagree.

    References:
        theory G.2, in discrete time.

    Example:
        >>> x, erm = [[0.0], [2.0]], Schedule("constant", 0.0, total=1)
        >>> expected_descent(x, x, erm, 2, learning_rate=0.1, kappa=1.0).ravel().round(9).tolist()  # to 2/3
        [0.0, 0.2, 0.34]
    """
    spread, fixed, cross, target = _moments(x, y, kappa)
    steps = check_integer("num_steps", num_steps, 0)
    eta = float(check_positive("learning_rate", learning_rate))
    times = np.arange(steps)
    lost = 2 * np.asarray(schedule.probability(times)) * np.asarray(mean_p(schedule.alpha(times)))  # 1 - s
    betas = np.zeros((steps + 1, *cross.shape))
    if initial is not None:
        betas[0] = check_array("initial", initial, 2)
        if np.shape(initial) != cross.shape:
            raise ValueError(f"`initial` must have the shape {cross.shape}, got {np.shape(initial)}.")
    for k, s in enumerate(1 - lost):
        gradient = s * (spread @ betas[k] - cross) + fixed @ betas[k] - target
        betas[k + 1] = betas[k] - eta * gradient
    return betas


def displacement(beta: ArrayLike, start: ArrayLike, end: ArrayLike) -> NDArray[np.float64]:
    r"""Place of coefficients on the way between two optima: :math:`\langle\beta-a, b-a\rangle/\lVert b-a\rVert^2`.

    0 at the first (ERM's), 1 at the second (constant mixup's). Linear in beta: noise around a mean does not bias it.

    Args:
        beta: One or many coefficient arrays, shape [..., d, k].
        start: The optimum a at 0, shape [d, k].
        end: The optimum b at 1, different from a, shape [d, k].

    Returns:
        The places, shape [...].

    Raises:
        ValueError: If the shapes disagree or the two optima are one.

    References:
        theory G.2.

    Example:
        >>> displacement([[[0.0]], [[1.0]], [[3.0]]], [[1.0]], [[5.0]]).tolist()
        [-0.25, 0.0, 0.5]
    """
    values, first, last = np.asarray(beta, dtype=np.float64), check_array("start", start, 2), check_array("end", end, 2)
    if first.shape != last.shape or values.shape[-2:] != first.shape:
        raise ValueError(f"`beta` must end in the shape {first.shape} of `start` and of `end`, got {values.shape}.")
    way = last - first
    length = float(np.sum(way**2))
    if length == 0:
        raise ValueError("`end` must differ from `start`, got the same coefficients.")
    return np.einsum("...dk,dk->...", values - first, way) / length


def _moments(x: ArrayLike, y: ArrayLike, kappa: float) -> tuple[NDArray[np.float64], ...]:
    """Return Cov(x), mm^T + kappa I, Cov(x, y) and m ybar^T."""
    inputs, targets = check_array("x", x, 2), check_array("y", y, 2)
    if len(inputs) != len(targets) or len(inputs) == 0:
        raise ValueError(f"`y` must have one row per row of `x`, {len(inputs)} >= 1, got {len(targets)}.")
    decay = float(check_positive("kappa", kappa, zero=True))
    mean, centred = inputs.mean(axis=0), inputs - inputs.mean(axis=0)
    spread, cross = centred.T @ centred / len(inputs), centred.T @ targets / len(inputs)
    fixed = np.outer(mean, mean) + decay * np.eye(len(mean))
    return spread, fixed, cross, np.outer(mean, targets.mean(axis=0))
