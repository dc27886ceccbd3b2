"""The mean of independent units: intervals, one-sided p-values, and how many units would decide."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special, stats

from mixup_theory._checks import check_array, check_choice, check_interval

__all__ = [
    "MAX_UNITS",
    "METHODS",
    "MIN_UNITS_BCA",
    "ConstantUnits",
    "MeanTest",
    "mean_test",
    "miss_probability",
    "smallest_n",
]

METHODS = ("t", "bca")
MIN_UNITS_BCA = 10  # with fewer units the bootstrap distribution is too coarse for its tails
MAX_UNITS = 100_000
_NUM_RESAMPLES = 9_999


class ConstantUnits(ValueError):
    """Units that do not vary at all, so that nothing is known of their spread."""


@dataclass(frozen=True)
class MeanTest:
    r"""What `n` independent units say about the mean of the law they come from.

    Both methods answer through one monotone function, the one-sided p-value of "the mean is at most x",

    .. math:: p(x) = F_{n-1}\big(-z(x)\big),

    with :math:`F_{n-1}` Student's distribution function. For `t`, :math:`z = (\bar v - x) / \mathrm{se}`. For
    `bca`, :math:`z(x)` inverts the bias-corrected accelerated bootstrap and is rescaled by
    :math:`\sqrt{(n-1)/n}`: the bootstrap takes the plug-in spread and normal quantiles for the true ones.

    Attributes:
        mean: The sample mean.
        standard_error: The sample standard deviation over sqrt(n).
        n: The number of units.
        bootstrap: The bootstrap result of `bca`, None for `t`.

    References:
        Efron 1987 (BCa); Hesterberg 2015, section 5.3 (the rescaling).
    """

    mean: float
    standard_error: float
    n: int
    bootstrap: tuple[NDArray[np.float64], float, float] | None = None

    @property
    def deviation(self) -> float:
        """The sample standard deviation of one unit."""
        return self.standard_error * math.sqrt(self.n)

    def p_greater(self, x: float) -> float:
        """Return the p-value of "the mean is at most `x`": small when the units say greater."""
        return self._p_value(x, 1)

    def p_less(self, x: float) -> float:
        """Return the p-value of "the mean is at least `x`": small when the units say less."""
        return self._p_value(x, -1)

    def _p_value(self, x: float, side: int) -> float:
        if math.isinf(x):
            return 0.0 if (x < 0) == (side > 0) else 1.0
        if self.bootstrap is None:
            return float(special.stdtr(self.n - 1, -side * (self.mean - x) / self.standard_error))
        means, bias, acceleration = self.bootstrap
        below = np.searchsorted(means, x, "left") + np.searchsorted(means, x, "right")
        floor = 1 / (len(means) + 1)  # no more than the resamples can show
        share = np.clip(below / (2 * len(means)), floor, 1 - floor)
        score = special.ndtri(share) - bias
        scale = 1 + acceleration * score
        z = score / scale - bias if scale > 0 else math.copysign(math.inf, score)
        p = float(special.stdtr(self.n - 1, side * z * math.sqrt((self.n - 1) / self.n)))
        return min(max(p, floor), 1.0)

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """Return the two-sided interval of the mean at a level in (0, 1).

        Args:
            level: The share of repetitions whose interval holds the true mean.

        Returns:
            The lower and the upper end.
        """
        check_interval("level", level, 0, 1, closed="neither")
        quantile = float(special.stdtrit(self.n - 1, 0.5 + level / 2))
        if self.bootstrap is None:
            half = quantile * self.standard_error
            return self.mean - half, self.mean + half
        means, bias, acceleration = self.bootstrap
        z = np.array([-1, 1]) * quantile * math.sqrt(self.n / (self.n - 1)) + bias
        # Past the pole of the acceleration the quantile is the end of the bootstrap distribution.
        scale = 1 - acceleration * z
        shares = np.where(scale > 0, special.ndtr(bias + z / np.where(scale > 0, scale, 1)), z > 0)
        low, high = np.quantile(means, shares)
        return float(low), float(high)


def mean_test(values: ArrayLike, method: str = "t") -> MeanTest:
    """Summarise one number per independent unit so that its mean can be judged.

    Args:
        values: One finite number per unit, shape [n], n >= 2 (10 for `bca`), not all equal.
        method: "t", exact for normal units, or "bca", for skewed ones.

    Returns:
        The test; the same values give the same test, the resampling included.

    Raises:
        ConstantUnits: If the units do not vary.
        ValueError: If there are too few units or one is not finite.

    Example:
        >>> test = mean_test([0.9, 1.1, 1.3])
        >>> [round(end, 4) for end in test.interval(0.95)], round(test.p_greater(0.5), 4)
        ([0.6032, 1.5968], 0.0175)
    """
    data = check_array("values", values, 1)
    check_choice("method", method, METHODS)
    least = MIN_UNITS_BCA if method == "bca" else 2
    if len(data) < least:
        raise ValueError(f"`values` must hold at least {least} units for method {method!r}, got {len(data)}.")
    # Exactly rounded sums: another machine's order of summation must not move a stored verdict.
    mean = math.fsum(data) / len(data)
    standard_error = math.sqrt(math.fsum((data - mean) ** 2) / (len(data) - 1) / len(data))
    if standard_error <= 4 * np.finfo(float).eps * np.abs(data).max():
        raise ConstantUnits(
            f"`values` must vary over the units, got {len(data)} times {data[0]:g}. "
            "Either the units are not independent runs, or the number is exact: use the rule Identity."
        )
    summary = MeanTest(mean, standard_error, len(data))
    if method == "t":
        return summary
    result = stats.bootstrap(
        (data,), np.mean, n_resamples=_NUM_RESAMPLES, method="percentile", rng=np.random.default_rng(0)
    )
    means = np.sort(result.bootstrap_distribution)
    below = np.searchsorted(means, data.mean(), "left") + np.searchsorted(means, data.mean(), "right")
    bias = float(special.ndtri(below / (2 * len(means))))
    centred = data - mean
    acceleration = float((centred**3).sum() / (6 * (centred**2).sum() ** 1.5))
    return MeanTest(summary.mean, standard_error, len(data), (means, bias, acceleration))


def miss_probability(test: MeanTest, x: float, n: int, error: float, side: int = 1) -> float:
    r"""Return the chance that `n` units fail to show the mean on one `side` of `x`.

    .. math:: P(T < t_{1-\epsilon}), \quad T \sim \text{noncentral } t_{n-1}(\sqrt{n}\,(\mu - x)/\sigma).

    Assumptions: normal units whose mean and spread are those seen in `test`.

    Args:
        test: The units seen.
        x: The bound to be passed; an infinite bound on the far side is never missed.
        n: The number of units planned, at least 2.
        error: The one-sided error allowed, in (0, 1/2).
        side: 1 to show the mean above `x`, -1 below.

    Returns:
        A probability.
    """
    if math.isinf(x):
        return 0.0 if (x < 0) == (side > 0) else 1.0
    critical = float(special.stdtrit(n - 1, 1 - error))
    effect = side * (test.mean - x) / test.deviation * math.sqrt(n)
    if effect < -30:  # certain, and the noncentral series fails out there
        return 1.0
    return float(special.nctdtr(n - 1, effect, critical))


def smallest_n(misses: Iterable[Callable[[int], float]], allowed: float = 0.2) -> int | None:
    """Return the smallest n in 2..MAX_UNITS at which the summed misses are allowed, None if there is none.

    Args:
        misses: Functions of n, each falling in n; their sum bounds the chance that any of them happens.
        allowed: The largest sum, one minus the power.

    Returns:
        The number of units, or None when MAX_UNITS is not enough.
    """
    each = tuple(misses)

    def enough(n: int) -> bool:
        return sum(miss(n) for miss in each) <= allowed

    low, high = 1, 2
    while not enough(high):
        if high >= MAX_UNITS:
            return None
        low, high = high, min(2 * high, MAX_UNITS)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high
