"""Exact gradient flows on a quadratic loss while alpha changes: what annealing does to the mean."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import hyp2f1

from ._checks import as_result, check_alpha, check_array, check_positive
from .annealing import Schedule, integrated_shrink
from .weights import mean_p, shrink_factor

__all__ = [
    "ScalarRegression",
    "annealed_flow_error",
    "centred_flow_error",
    "exponential_flow_tail",
    "flow_limit",
]


@dataclass(frozen=True)
class ScalarRegression:
    r"""Least squares of y on theta x without an intercept, by the moments that matter.

    Mixup of independent pairs keeps the means and multiplies variance and covariance by s, so the expected
    gradient is :math:`h(s)\,(\theta-\theta_1) + (1-s)K` with :math:`h(s) = sv + \mu^2`,
    :math:`\theta_1 = (c+\mu\bar y)/(v+\mu^2)` and :math:`K = c - v\theta_1`.

    Attributes:
        mean: Mean :math:`\mu` of x.
        variance: Variance v > 0 of x.
        covariance: Covariance c of x and y.
        mean_label: Mean :math:`\bar y` of y.

    Raises:
        ValueError: If a moment is not one finite number or `variance` is not > 0.

    References:
        theory G.2, F.1.

    Example:
        >>> ScalarRegression(mean=0.0, variance=2.0, covariance=1.0, mean_label=3.0).erm_slope
        0.5
    """

    mean: float
    variance: float
    covariance: float
    mean_label: float

    def __post_init__(self) -> None:
        for name in ("mean", "variance", "covariance", "mean_label"):
            object.__setattr__(self, name, float(check_array(name, getattr(self, name), 0)))
        check_positive("variance", self.variance)

    @property
    def erm_slope(self) -> float:
        r"""The least-squares slope :math:`\theta_1` on clean data."""
        return (self.covariance + self.mean * self.mean_label) / (self.variance + self.mean**2)

    @property
    def pull(self) -> float:
        r"""The constant :math:`K = c - v\theta_1`; zero for centred x, where mixup biases nothing."""
        return self.covariance - self.variance * self.erm_slope

    def rate(self, shrink: ArrayLike) -> Any:
        r"""Evaluate the contraction rate :math:`h(s) = sv + \mu^2`.

        Args:
            shrink: Shrinkage factor(s) s, finite.

        Returns:
            The rate, of the shape of `shrink`.
        """
        return as_result(np.asarray(shrink) * self.variance + self.mean**2)


def centred_flow_error(
    schedule: Schedule, t: ArrayLike, covariance: ArrayLike, initial_error: ArrayLike
) -> NDArray[np.float64]:
    r"""Flow with an intercept (or centred x): :math:`\theta(t)-\theta^* = e^{-\Sigma\int_0^t s}(\theta_0-\theta^*)`.

    Mixup is only a change of clock: the learning rate is multiplied by s. No schedule changes the limit, and
    every schedule follows the same path.

    Assumptions: squared loss, independent pairs, fitted intercept (or mean zero), gradient flow on the
    population loss.

    Args:
        schedule: Schedule of alpha.
        t: Times >= 0, a number or shape [m].
        covariance: Covariance of the inputs, symmetric positive semidefinite, shape [d, d].
        initial_error: theta_0 - theta*, shape [d].

    Returns:
        The error, shape [d] for one time, else [m, d].

    Raises:
        ValueError: If a shape, the symmetry or the sign of `covariance` is wrong, or a time is negative.

    References:
        theory G.2.

    Example:
        >>> erm = Schedule("constant", 0.0, total=1.0)
        >>> centred_flow_error(erm, 1.0, [[2.0]], [1.0]).round(6).tolist()  # exp(-2)
        [0.135335]
    """
    matrix = check_array("covariance", covariance, 2)
    error = check_array("initial_error", initial_error, 1)
    if matrix.shape != (len(error), len(error)) or not np.allclose(matrix, matrix.T, rtol=1e-12, atol=0):
        raise ValueError(
            f"`covariance` must be symmetric with shape [{len(error)}, {len(error)}] as `initial_error` has "
            f"{len(error)} entries, got shape {matrix.shape}."
        )
    values, vectors = np.linalg.eigh(matrix)
    if values[0] < -1e-12 * max(1.0, values[-1]):
        raise ValueError(f"`covariance` must be positive semidefinite, got the eigenvalue {values[0]:g}.")
    clock = np.asarray(integrated_shrink(schedule, t))
    return np.exp(-clock[..., None] * values) * (vectors.T @ error) @ vectors.T


def flow_limit(alpha: ArrayLike, problem: ScalarRegression) -> Any:
    r"""Bias that constant mixup keeps without an intercept: :math:`e_\infty = -(1-s)K/(sv+\mu^2)`.

    Args:
        alpha: Concentration(s) in [0, inf].
        problem: The regression.

    Returns:
        Limit of theta(t) - theta_1, of the shape of `alpha`; 0 for alpha = 0.

    Raises:
        ValueError: If `alpha` is not a number >= 0.

    References:
        theory G.2, F.1.

    Example:
        >>> round(flow_limit(4.0, ScalarRegression(1.2, 0.8, 0.5, 2.0)), 9)
        0.126347709
    """
    loss = 2 * np.asarray(mean_p(check_alpha(alpha)))  # 1 - s without cancellation
    return as_result(0.0 - loss * problem.pull / problem.rate(shrink_factor(alpha)))


def annealed_flow_error(schedule: Schedule, t: ArrayLike, problem: ScalarRegression, initial_error: float) -> Any:
    r"""Error :math:`e(t) = \theta(t)-\theta_1` of the annealed flow without an intercept.

    Solves :math:`\dot e = -h(s(t))e - (1-s(t))K` from :math:`e(0) = e_0`:

    .. math:: e(t) = e^{-\Phi(t)}e_0 - K\int_0^t e^{-(\Phi(t)-\Phi(\tau))}(1-s(\tau))\,d\tau,
              \quad \Phi(t) = \mu^2 t + v\int_0^t s .

    Closed form for "constant"; for "exponential", with :math:`P=(\mu^2+v/2)/k`, :math:`Q=v/2k`,
    :math:`w(t) = 1/(1+2\alpha(t))`, :math:`H = {}_2F_1(1, 1-Q; P+1; w)`,

    .. math:: e(t) = e^{-\Phi}e_0 - \frac{K}{kP}\left[(1-s_t)H(w_t) - e^{-\Phi}(1-s_0)H(w_0)\right],

    which is the form of theory G.2 after a Pfaff transformation, free of overflow. The others, and exponential
    schedules so steep that w rounds to 1 where H is not smooth, by composite Gauss quadrature of the integral
    (relative accuracy about 1e-13).

    Assumptions: squared loss, independent pairs, gradient flow on the population loss.

    Args:
        schedule: Schedule of alpha; its probability counts through the expected shrinkage.
        t: Times >= 0, any shape.
        problem: The regression.
        initial_error: :math:`e_0`, finite.

    Returns:
        The error, of the shape of `t`.

    Raises:
        ValueError: If a time is negative or `initial_error` is not one finite number.

    References:
        theory G.2.

    Example:
        >>> problem = ScalarRegression(mean=1.2, variance=0.8, covariance=0.5, mean_label=2.0)
        >>> round(annealed_flow_error(Schedule("exponential", 4.0, total=10, rate=0.3), 12, problem, 1.0), 7)
        0.0250312
    """
    time = check_positive("t", t, zero=True)
    error = float(check_array("initial_error", initial_error, 0))
    exponent = problem.mean**2 * time + problem.variance * np.asarray(integrated_shrink(schedule, time))
    if schedule.kind == "constant":
        limit = flow_limit(schedule.alpha0, problem)
        return as_result(error * np.exp(-exponent) - limit * np.expm1(-exponent))
    flat = time.reshape(-1)
    forced = np.array([_forced(schedule, moment, problem) for moment in flat]).reshape(time.shape)
    return as_result(error * np.exp(-exponent) - problem.pull * forced)


def _forced(schedule: Schedule, t: float, problem: ScalarRegression) -> float:
    r"""Evaluate :math:`\int_0^t e^{-(\Phi(t)-\Phi(\tau))}(1-s(\tau))\,d\tau`."""
    if t == 0 or schedule.alpha0 == 0:
        return 0.0
    if schedule.rate is not None:
        p = (problem.mean**2 + problem.variance / 2) / schedule.rate
        q = problem.variance / (2 * schedule.rate)
        # H behaves as (1 - w)^(p + q - 1) at w = 1: for small p + q the rounding of w would be seen.
        if p + q > 2.5 or schedule.alpha(t) > 0.05:
            alpha = np.array([schedule.alpha0, schedule.alpha(t)])
            start, end = 2 * mean_p(alpha) * hyp2f1(1, 1 - q, p + 1, 1 / (1 + 2 * alpha))
            exponent = problem.mean**2 * t + problem.variance * integrated_shrink(schedule, t)
            return float(end - np.exp(-exponent) * start) / (schedule.rate * p)
    edges = _panels(schedule, t, problem.rate(1.0))
    u, w = np.polynomial.legendre.leggauss(20)
    half = np.diff(edges)[:, None] / 2
    tau = edges[:-1, None] + half * (1 + u)
    gap = problem.mean**2 * (t - tau) + problem.variance * (
        integrated_shrink(schedule, t) - integrated_shrink(schedule, tau)
    )
    loss = 2 * schedule.probability(tau) * mean_p(schedule.alpha(tau))  # 1 - s without cancellation
    return float(np.sum(half * w * np.exp(-gap) * loss))


def _panels(schedule: Schedule, t: float, rate: float) -> NDArray[np.float64]:
    """Cut [0, t] so that the integrand is smooth and well resolved on every panel."""
    # Doubling widths away from t resolve the exponential; halving widths towards T (and 0) resolve
    # 1 - s = alpha / (2 alpha + 1), whose poles lie only T / (2 alpha0) beyond the end.
    powers = 2.0 ** np.arange(-60, 61)
    edges = [np.array([0.0, t, schedule.total]), t - powers / rate]
    if schedule.kind == "rising":
        edges.append(schedule.total * powers)
    if schedule.kind in {"linear", "cosine"}:
        edges.append(schedule.total * (1 - powers))
    if schedule.step is not None:
        edges.append(np.array([schedule.step]))
    if schedule.rate is not None:
        edges.append(np.arange(0.0, min(t * schedule.rate, 1500.0)) / schedule.rate)
    if schedule.kind == "hesitation":
        starts, fades = schedule.phases
        edges.append(np.concatenate([[starts, fades], np.arange(np.ceil(starts), fades)]))
    points = np.unique(np.concatenate(edges))
    return points[(points >= 0) & (points <= t)]


def exponential_flow_tail(schedule: Schedule, t: ArrayLike, problem: ScalarRegression) -> Any:
    r"""Late error under an exponential schedule: :math:`e(t) \simeq -K\alpha_0 e^{-kt}/(h(1)-k)` for k < h(1).

    The bias decays only as fast as alpha(t), not at the rate h(1) of plain gradient flow.

    Args:
        schedule: An exponential schedule with rate k < h(1).
        t: Times >= 0, any shape; the relative error of the tail vanishes as they grow.
        problem: The regression.

    Returns:
        The leading term, of the shape of `t`.

    Raises:
        ValueError: If the schedule is not exponential or its rate is not below h(1).

    References:
        theory G.2.

    Example:
        >>> problem = ScalarRegression(mean=1.2, variance=0.8, covariance=0.5, mean_label=2.0)
        >>> schedule = Schedule("exponential", 4.0, total=10, rate=0.3)
        >>> round(exponential_flow_tail(schedule, 60.0, problem) / annealed_flow_error(schedule, 60.0, problem, 1.0), 6)
        1.0
    """
    if schedule.rate is None:
        raise ValueError(f"`schedule` must be of kind 'exponential', got {schedule.kind!r}.")
    if not schedule.rate < problem.rate(1.0):
        raise ValueError(
            f"`schedule` must have a rate < h(1) = {problem.rate(1.0):g}, got {schedule.rate:g}. A faster schedule "
            "leaves the plain decay exp(-h(1) t)."
        )
    return as_result(-problem.pull * np.asarray(schedule.alpha(t)) / (problem.rate(1.0) - schedule.rate))
