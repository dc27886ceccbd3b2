"""Exact first and second moments of SGD on scalar regression with mixup, and what annealing does to them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._checks import as_result, check_alpha, check_array, check_choice, check_integer, check_positive
from .annealing import Schedule
from .weights import mean_q_squared, sample_lam, shrink_factor

__all__ = [
    "SgdMoments",
    "sgd_moment_recursion",
    "sgd_noise_ratio",
    "sgd_simulation",
    "sgd_stability_limit",
    "sgd_stationary_mse",
]

GRANULARITIES = ("sample", "batch")


@dataclass(frozen=True)
class SgdMoments:
    """Moments of the error e_k = theta_k - theta* before step k = 0 .. num_steps.

    Attributes:
        mean: E e_k, shape [num_steps + 1].
        variance: Var e_k, shape [num_steps + 1].
    """

    mean: NDArray[np.float64]
    variance: NDArray[np.float64]

    @property
    def second_moment(self) -> NDArray[np.float64]:
        """E e_k^2, shape [num_steps + 1]."""
        return self.variance + self.mean**2


def _quartic(shrink: ArrayLike, square: ArrayLike, batch_size: int, lam_per: str) -> NDArray[np.float64]:
    """E (mean of x~^2 over the batch)^2 / sigma^4; x~^2 has the mean q and, given lam, E x~^4 = 3 q^2."""
    shrink, square = np.asarray(shrink), np.asarray(square)
    if lam_per == "batch":
        return square * (1 + 2 / batch_size)
    return 3 * square / batch_size + shrink**2 * (1 - 1 / batch_size)


def sgd_moment_recursion(
    schedule: Schedule,
    num_steps: int,
    *,
    variance: float,
    noise: float,
    learning_rate: float,
    initial_error: float,
    batch_size: int = 1,
    lam_per: str = "sample",
) -> SgdMoments:
    r"""Exact moments of SGD on :math:`y = \theta^* x + r`, :math:`x\sim N(0,\sigma^2)`, :math:`r\sim N(0,\tau^2)`.

    With :math:`s, Eq^2` at :math:`\alpha(k)` and batch size 1,

    .. math:: E e_{k+1} = (1-\eta s\sigma^2)E e_k,\quad
              E e_{k+1}^2 = (1-2\eta s\sigma^2+3\eta^2 Eq^2\sigma^4)E e_k^2 + \eta^2 Eq^2\sigma^2\tau^2 .

    A batch of B replaces :math:`3Eq^2` by :math:`3Eq^2/B + s^2(1-1/B)` (one lam per sample) or
    :math:`Eq^2(1+2/B)` (one per batch: a floor that B does not remove), and divides the last term by B. A step
    that is mixed only with probability p averages its coefficients with those of alpha = 0.

    Assumptions: Gaussian x and r; fresh independent pairs at every step; constant learning rate.

    Args:
        schedule: Schedule of alpha, with t = k counted in steps.
        num_steps: Number of steps >= 0.
        variance: Input variance sigma^2 > 0.
        noise: Noise variance tau^2 >= 0.
        learning_rate: Step size eta > 0; divergence is allowed and shows.
        initial_error: e_0, not random.
        batch_size: Pairs per step, B >= 1.
        lam_per: "sample" or "batch"; the same for B = 1.

    Returns:
        The moments before every step and after the last.

    Raises:
        ValueError: If an argument is out of range.

    References:
        theory G.3 (B = 1); larger batches by the same conditioning on lam.

    Example:
        >>> schedule = Schedule("constant", 1.0, total=1)
        >>> moments = sgd_moment_recursion(
        ...     schedule, 25, variance=1.5, noise=0.4, learning_rate=0.05, initial_error=2.0)
        >>> round(float(moments.variance[25]), 4)  # 0.0423 for ERM: early on mixup is noisier
        0.0562
    """
    num_steps = check_integer("num_steps", num_steps, 0)
    batch_size = check_integer("batch_size", batch_size, 1)
    check_choice("lam_per", lam_per, GRANULARITIES)
    sigma2 = float(check_positive("variance", variance))
    tau2 = float(check_positive("noise", noise, zero=True))
    eta = float(check_positive("learning_rate", learning_rate))
    steps = np.arange(num_steps)
    alpha, mixed = np.asarray(schedule.alpha(steps)), np.asarray(schedule.probability(steps))
    s, square = np.asarray(shrink_factor(alpha)), np.asarray(mean_q_squared(alpha))
    quartic = mixed * _quartic(s, square, batch_size, lam_per) + (1 - mixed) * (1 + 2 / batch_size)
    s, square = mixed * s + 1 - mixed, mixed * square + 1 - mixed
    factor = 1 - eta * sigma2 * s
    spread = (eta * sigma2) ** 2 * (quartic - s**2)  # variance of one step's contraction, >= 0
    source = eta**2 * sigma2 * tau2 / batch_size * square
    means, variances = np.empty(num_steps + 1), np.zeros(num_steps + 1)
    means[0] = float(check_array("initial_error", initial_error, 0))
    for k in range(num_steps):
        means[k + 1] = factor[k] * means[k]
        variances[k + 1] = (factor[k] ** 2 + spread[k]) * variances[k] + spread[k] * means[k] ** 2 + source[k]
    return SgdMoments(means, variances)


def sgd_simulation(
    schedule: Schedule,
    num_steps: int,
    rng: np.random.Generator,
    *,
    num_runs: int,
    variance: float,
    noise: float,
    learning_rate: float,
    initial_error: float,
    batch_size: int = 1,
    lam_per: str = "sample",
) -> NDArray[np.float64]:
    r"""Run the SGD that `sgd_moment_recursion` describes, many independent runs at once.

    Every step draws fresh pairs, mixes them and takes :math:`e-\eta\,\overline{\tilde x(\tilde xe-\tilde r)}`.

    Args:
        schedule: Schedule of alpha, with t counted in steps; a step is mixed with its probability.
        num_steps: Number of steps >= 0.
        rng: Source of the data, lam, and which steps are mixed.
        num_runs: Independent runs, >= 1.
        variance: Input variance sigma^2 > 0.
        noise: Noise variance tau^2 >= 0.
        learning_rate: Step size eta > 0.
        initial_error: e_0 of every run.
        batch_size: Pairs per step, B >= 1.
        lam_per: "sample" or "batch".

    Returns:
        The errors e_k before every step and after the last, shape [num_steps + 1, num_runs].

    Raises:
        ValueError: If an argument is out of range.

    References:
        theory G.3.

    Example:
        >>> setting = {"variance": 1.5, "noise": 0.4, "learning_rate": 0.05, "initial_error": 2.0}
        >>> schedule, rng = Schedule("constant", 1.0, total=1), np.random.default_rng(0)
        >>> errors = sgd_simulation(schedule, 25, rng, num_runs=4000, **setting)
        >>> round(float(errors[-1].var()), 3)  # 0.0562 exactly
        0.056
    """
    num_steps, num_runs = check_integer("num_steps", num_steps, 0), check_integer("num_runs", num_runs, 1)
    batch_size = check_integer("batch_size", batch_size, 1)
    check_choice("lam_per", lam_per, GRANULARITIES)
    sigma = np.sqrt(float(check_positive("variance", variance)))
    tau = np.sqrt(float(check_positive("noise", noise, zero=True)))
    eta = float(check_positive("learning_rate", learning_rate))
    steps = np.arange(num_steps)
    alpha, mixed = np.asarray(schedule.alpha(steps)), np.asarray(schedule.probability(steps))
    errors = np.empty((num_steps + 1, num_runs))
    errors[0] = float(check_array("initial_error", initial_error, 0))
    for k in range(num_steps):
        x = sigma * rng.standard_normal((2, num_runs, batch_size))
        r = tau * rng.standard_normal((2, num_runs, batch_size))
        first, second = sample_lam(rng, (num_runs, batch_size if lam_per == "sample" else 1), float(alpha[k]))
        plain = rng.random((num_runs, 1)) >= mixed[k]
        first, second = np.where(plain, 1.0, first), np.where(plain, 0.0, second)
        x, r = (first * v[0] + second * v[1] for v in (x, r))
        errors[k + 1] = errors[k] - eta * np.mean(x * (x * errors[k][:, None] - r), axis=1)
    return errors


def sgd_stability_limit(alpha: ArrayLike, *, variance: ArrayLike, batch_size: int = 1, lam_per: str = "sample") -> Any:
    r"""Learning rate below which E e^2 stays bounded: :math:`\eta < 2s/(3Eq^2\sigma^2)` for batch size 1.

    Larger than ERM's by the factor :math:`s/Eq^2`; for a batch, 3Eq^2 as in `sgd_moment_recursion`.

    Args:
        alpha: Concentration(s) in [0, inf].
        variance: Input variance sigma^2 > 0, broadcast with `alpha`.
        batch_size: Pairs per step, >= 1.
        lam_per: "sample" or "batch".

    Returns:
        The limit, > 0.

    Raises:
        ValueError: If an argument is out of range.

    References:
        theory G.3.

    Example:
        >>> round(sgd_stability_limit(0.0, variance=1.0), 6)  # ERM
        0.666667
    """
    check_choice("lam_per", lam_per, GRANULARITIES)
    batch_size = check_integer("batch_size", batch_size, 1)
    sigma2 = check_positive("variance", variance)
    s = np.asarray(shrink_factor(alpha))
    return as_result(2 * s / (sigma2 * _quartic(s, mean_q_squared(alpha), batch_size, lam_per)))


def sgd_stationary_mse(
    alpha: ArrayLike,
    *,
    variance: ArrayLike,
    noise: ArrayLike,
    learning_rate: ArrayLike,
    batch_size: int = 1,
    lam_per: str = "sample",
) -> Any:
    r"""Stationary :math:`E e^2 = \eta Eq^2\tau^2/(2s-3\eta Eq^2\sigma^2)` of SGD with constant alpha.

    The fixed point of `sgd_moment_recursion`, whose batch form it takes for B > 1.

    Args:
        alpha: Concentration(s) in [0, inf].
        variance: Input variance sigma^2 > 0, broadcast with `alpha`.
        noise: Noise variance tau^2 >= 0, broadcast with `alpha`.
        learning_rate: Step size(s), below `sgd_stability_limit`, broadcast with `alpha`.
        batch_size: Pairs per step, >= 1.
        lam_per: "sample" or "batch".

    Returns:
        The stationary second moment of theta - theta*, >= 0.

    Raises:
        ValueError: If an argument is out of range; the step size must be below the stability limit.

    References:
        theory G.3.

    Example:
        >>> round(sgd_stationary_mse(1.0, variance=1.5, noise=0.4, learning_rate=0.05), 6)
        0.007598
    """
    check_choice("lam_per", lam_per, GRANULARITIES)
    eta, tau2 = check_positive("learning_rate", learning_rate), check_positive("noise", noise, zero=True)
    limit = np.asarray(sgd_stability_limit(alpha, variance=variance, batch_size=batch_size, lam_per=lam_per))
    if not np.all(eta < limit):
        raise ValueError(
            f"`learning_rate` must be below the stability limit {np.min(limit):g}, got {np.max(eta):g}. Beyond it "
            "E e^2 grows without bound."
        )
    s, square = np.asarray(shrink_factor(alpha)), np.asarray(mean_q_squared(alpha))
    quartic = _quartic(s, square, batch_size, lam_per)
    return as_result(eta * square * tau2 / batch_size / (2 * s - eta * quartic * np.asarray(variance)))


def sgd_noise_ratio(alpha: ArrayLike, *, matched_contraction: bool = False) -> Any:
    r"""Stationary variance over ERM's as the learning rate goes to 0: :math:`Eq^2/s`, or :math:`Eq^2/s^2` matched.

    At equal learning rate :math:`Eq^2/s = (\alpha^2+3\alpha+3)/((\alpha+1)(2\alpha+3)) < 1`. With the rate raised
    to :math:`\eta/s`, so that both contract equally fast, the ratio is :math:`1 + \mathrm{Var}\,q/s^2 \ge 1`:
    mixup has no variance advantage, it only takes smaller steps.

    Args:
        alpha: Concentration(s) in [0, inf].
        matched_contraction: Compare at equal contraction instead of equal learning rate.

    Returns:
        The ratio, of the shape of `alpha`; at most 1 at equal learning rate, at least 1 matched.

    Raises:
        ValueError: If `alpha` is not a number >= 0.

    References:
        theory G.3.

    Example:
        >>> [round(sgd_noise_ratio(1.0, matched_contraction=matched), 6) for matched in (False, True)]
        [0.7, 1.05]
    """
    alpha = check_alpha(alpha)
    power = 2 if matched_contraction else 1
    return as_result(np.asarray(mean_q_squared(alpha)) / np.asarray(shrink_factor(alpha)) ** power)
