"""Schedules alpha(t): one object shared by theory and training, and the shrinkage each integrates to."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._checks import as_result, check_alpha, check_choice, check_positive
from .weights import mean_p, shrink_factor

__all__ = ["SCHEDULES", "Schedule", "equivalent_alpha", "integrated_shrink"]

SCHEDULES = ("constant", "linear", "cosine", "exponential", "step", "off-at-epoch", "rising", "hesitation")
HESITATION_STARTS, HESITATION_FADES = (3, 5), (9, 10)  # fractions of the run: 60 % and 90 %


@dataclass(frozen=True)
class Schedule:
    r"""The mixing strength over a run: alpha(t), and the probability with which a batch is mixed at all.

    With :math:`\tau = \min(t/T, 1)`:

    - constant: :math:`\alpha_0`;
    - linear: :math:`\alpha_0(1-\tau)`;
    - cosine: :math:`\tfrac{\alpha_0}{2}(1+\cos\pi\tau)`;
    - exponential: :math:`\alpha_0 e^{-kt}`;
    - step: :math:`\alpha_0` before :math:`t_1`, then 0 (every batch is still mixed, with lam 0 or 1);
    - off-at-epoch: :math:`\alpha_0` before the whole epoch :math:`t_1`, then no batch is mixed;
    - rising: :math:`\alpha_0\tau`, the linear one reversed;
    - hesitation: alpha constant; every epoch mixed up to 60 % of the run, every second one (the even
      numbers, counted from 0) up to 90 %, then with a probability falling linearly to 0 at T.

    A frozen dataclass without behaviour at construction except its checks: hashable, usable as a pydantic field.

    Attributes:
        kind: One of `SCHEDULES`.
        alpha0: Largest concentration, in [0, inf].
        total: Length T > 0, in the unit of t (epochs for off-at-epoch and hesitation).
        step: Change point :math:`t_1` in [0, T]; only for "step" and, a whole number, "off-at-epoch".
        rate: Decay rate k > 0; only for "exponential".

    Raises:
        ValueError: If a field is out of range, missing, or given to a kind that has no use for it.

    References:
        theory G.1; hesitation as in the public code of "Mixup without hesitation" (Yu et al. 2021).

    Example:
        >>> Schedule("linear", alpha0=1.0, total=10).alpha([0, 5, 12]).tolist()
        [1.0, 0.5, 0.0]
    """

    kind: str
    alpha0: float
    total: float
    step: float | None = None
    rate: float | None = None

    def __post_init__(self) -> None:
        check_choice("kind", self.kind, SCHEDULES)
        object.__setattr__(self, "alpha0", _number("alpha0", check_alpha(self.alpha0, "alpha0")))
        object.__setattr__(self, "total", _number("total", check_positive("total", self.total)))
        for name, kinds in (("step", ("step", "off-at-epoch")), ("rate", ("exponential",))):
            value = getattr(self, name)
            if (value is None) == (self.kind in kinds):
                raise ValueError(
                    f"`{name}` must be {'a number' if self.kind in kinds else 'None'} for a schedule of kind "
                    f"{self.kind!r}, got {value!r}. Only {' and '.join(kinds)} use it."
                )
            if value is not None:
                value = _number(name, check_positive(name, value, zero=name == "step"))
                object.__setattr__(self, name, value)
        if self.step is not None and self.step > self.total:
            raise ValueError(f"`step` must be <= total = {self.total:g}, got {self.step:g}.")
        if self.kind == "off-at-epoch" and self.step != int(self.step or 0):
            raise ValueError(f"`step` must be a whole epoch for kind 'off-at-epoch', got {self.step:g}.")

    def alpha(self, t: ArrayLike) -> Any:
        """Evaluate the concentration at time t.

        Args:
            t: Times >= 0, any shape.

        Returns:
            alpha(t) in [0, alpha0], of the shape of `t`.

        Raises:
            ValueError: If a time is negative or not finite.
        """
        time = check_positive("t", t, zero=True)
        fraction = np.minimum(time / self.total, 1.0)
        if self.kind == "linear":
            shape = 1 - fraction
        elif self.kind == "rising":
            shape = fraction
        elif self.kind == "cosine":
            shape = np.where(fraction < 1, np.cos(np.pi / 2 * fraction) ** 2, 0.0)
        elif self.kind == "exponential":
            # Never exactly 0, so that alpha0 = inf stays inf.
            shape = np.maximum(np.exp(-np.minimum(_value(self.rate) * time, 700.0)), np.finfo(float).tiny)
        elif self.kind in {"step", "off-at-epoch"}:
            shape = (time < _value(self.step)).astype(float)
        else:
            shape = np.ones_like(time)
        return as_result(np.where(shape > 0, self.alpha0, 0.0) * shape)

    def probability(self, t: ArrayLike) -> Any:
        """Evaluate the probability that the batch at time t is mixed (otherwise lam = 1).

        Inside a fading "hesitation" the value is continuous in t; the published code holds it for an epoch, which
        is this function at whole t.

        Args:
            t: Times >= 0, any shape.

        Returns:
            The probability in [0, 1], of the shape of `t`.

        Raises:
            ValueError: If a time is negative or not finite.
        """
        time = check_positive("t", t, zero=True)
        if self.kind == "off-at-epoch":
            return as_result((time < _value(self.step)).astype(float))
        if self.kind != "hesitation":
            return as_result(np.ones_like(time))
        starts, fades = self.phases
        even = np.floor(time) % 2 == 0
        fading = np.clip((self.total - time) / (self.total - fades), 0.0, 1.0)
        return as_result(np.where(time < starts, 1.0, np.where(time < fades, even, fading)))

    def shrink(self, t: ArrayLike) -> Any:
        r"""Evaluate the expected shrinkage :math:`1 - p(t)\{1 - s(\alpha(t))\}` at time t.

        Args:
            t: Times >= 0, any shape.

        Returns:
            The factor in [1/2, 1], of the shape of `t`.

        Raises:
            ValueError: If a time is negative or not finite.
        """
        loss = 2 * np.asarray(mean_p(self.alpha(t)))  # 1 - s
        return as_result(1 - np.asarray(self.probability(t)) * loss)

    @property
    def mean_shrink(self) -> float:
        """Mean of the expected shrinkage over [0, T]."""
        return float(integrated_shrink(self, self.total)) / self.total

    @property
    def mean_alpha(self) -> float:
        """Mean of probability times alpha over [0, T], the plain "amount of mixup" of a run."""
        if self.alpha0 == 0:
            return 0.0
        if self.kind == "exponential":
            decay = _value(self.rate) * self.total
            return self.alpha0 * -math.expm1(-decay) / decay
        share = {"constant": 1.0, "linear": 0.5, "rising": 0.5, "cosine": 0.5}.get(self.kind)
        if share is None:
            share = float(self._mixed_time(np.array(self.total))) / self.total
        return self.alpha0 * share if share else 0.0

    @property
    def phases(self) -> tuple[float, float]:
        """Ends of the first two phases of "hesitation", 60 % and 90 % of T, exact where they are whole."""
        (a, b), (c, d) = HESITATION_STARTS, HESITATION_FADES
        return self.total * a / b, self.total * c / d

    def _mixed_time(self, time: NDArray[np.float64]) -> NDArray[np.float64]:
        """Integral of the probability (for "step": of the time before the step) from 0 to each time."""
        if self.kind in {"step", "off-at-epoch"}:
            return np.minimum(time, _value(self.step))
        starts, fades = self.phases

        def even(x: NDArray[np.float64] | float) -> NDArray[np.float64]:  # time in even epochs before x
            return np.floor(np.asarray(x) / 2) + np.minimum(np.asarray(x) % 2, 1.0)

        alternating = even(np.clip(time, starts, fades)) - even(starts)
        gone = (np.clip(time, fades, self.total) - fades) / (self.total - fades)
        return np.minimum(time, starts) + alternating + (self.total - fades) * gone * (1 - gone / 2)


def _number(name: str, array: NDArray[np.float64]) -> float:
    if array.ndim:
        raise ValueError(f"`{name}` must be one number, got shape {array.shape}.")
    return float(array)


def _value(number: float | None) -> float:
    assert number is not None  # proved by Schedule.__post_init__
    return number


def integrated_shrink(schedule: Schedule, t: ArrayLike) -> Any:
    r"""Integral of the expected shrinkage :math:`\int_0^t [1 - p(1 - s(\alpha(\tau)))]\,d\tau`.

    Closed forms, with :math:`s = \tfrac12 + 1/(2(2\alpha+1))` and, for t <= T,

    - constant :math:`t\,s(\alpha_0)`; step and off-at-epoch :math:`t_1 s(\alpha_0) + t - t_1`;
    - linear :math:`\tfrac t2 + \tfrac{T}{4\alpha_0}\ln\frac{1+2\alpha_0}{1+2\alpha(t)}`; rising
      :math:`\tfrac t2 + \tfrac{T}{4\alpha_0}\ln(1+2\alpha(t))`;
    - cosine :math:`\tfrac t2 + \tfrac{T}{\pi r}\arctan\{\tan(\pi t/2T)/r\}`, :math:`r=\sqrt{1+2\alpha_0}`;
    - exponential :math:`\tfrac t2 + \tfrac{1}{2k}\ln\frac{e^{kt}+2\alpha_0}{1+2\alpha_0}`;
    - hesitation :math:`t - (1-s(\alpha_0))\int_0^t p`.

    Multiplied by a variance it is the exponent of the exact flow, see `flows`.

    Args:
        schedule: The schedule; alpha0 = 0 and inf give the limits.
        t: Times >= 0, any shape; after T the schedule's last value goes on.

    Returns:
        The integral, in [t/2, t], of the shape of `t`.

    Raises:
        ValueError: If a time is negative or not finite.

    References:
        theory G.1.

    Example:
        >>> round(integrated_shrink(Schedule("linear", 1.0, total=10), 10), 9)  # 10 (1/2 + ln(3) / 4)
        7.746530722
    """
    time = check_positive("t", t, zero=True)
    inside = np.minimum(time, schedule.total)
    after = time - inside
    # s(1e300) is 1/2 to the last bit; a finite stand-in for inf keeps inf * 0 out of the formulas.
    alpha0 = min(schedule.alpha0, 1e300)
    if schedule.kind == "constant":
        return as_result(time * shrink_factor(alpha0))
    if schedule.kind in {"step", "off-at-epoch", "hesitation"}:
        return as_result(time - 2 * mean_p(alpha0) * schedule._mixed_time(time))
    if schedule.kind == "linear":
        left = 1 + 2 * alpha0 * (1 - inside / schedule.total)  # 1 + 2 alpha(t)
        ratio = 2 * alpha0 * (inside / schedule.total) / left
        return as_result(inside / 2 * (1 + _log1p_ratio(ratio) / left) + after)
    if schedule.kind == "rising":
        ratio = 2 * alpha0 * (inside / schedule.total)
        return as_result(inside / 2 * (1 + _log1p_ratio(ratio)) + after * shrink_factor(alpha0))
    if schedule.kind == "cosine":
        root, angle = math.sqrt(1 + 2 * alpha0), np.pi / 2 * (inside / schedule.total)
        turned = np.arctan2(np.sin(angle), root * np.cos(angle))
        return as_result(inside / 2 + schedule.total / (np.pi * root) * turned + after)
    if math.isinf(schedule.alpha0):
        return as_result(time / 2)
    decay = _value(schedule.rate) * time
    small = np.log1p(np.expm1(np.minimum(decay, 30.0)) / (1 + 2 * alpha0))
    large = np.log1p(2 * alpha0 * np.exp(-decay)) - np.log1p(2 * alpha0) + decay
    logarithm = np.where(decay < 30, small, large)
    return as_result(time / 2 + logarithm / (2 * _value(schedule.rate)))


def _log1p_ratio(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Evaluate log(1 + x) / x, with its limit 1 at 0."""
    safe = np.where(x > 0, x, 1.0)
    return np.where(x > 0, np.log1p(safe) / safe, 1.0)


def equivalent_alpha(schedule: Schedule) -> float:
    r"""The constant alpha with the same mean shrinkage: :math:`\alpha = (1-m)/(2m-1)`, m the mean of s.

    Compares a schedule with constant mixup of equal total shrinkage, not only with the constant alpha0.

    Args:
        schedule: The schedule, over its [0, T].

    Returns:
        The concentration, in [0, alpha0] (inf if m = 1/2).

    References:
        theory G.1.

    Example:
        >>> round(equivalent_alpha(Schedule("cosine", 4.0, total=100)), 9)  # (sqrt(1 + 2 alpha0) - 1) / 2
        1.0
    """
    mean = schedule.mean_shrink
    return (1 - mean) / (2 * mean - 1) if mean > 0.5 else math.inf
