r"""Least squares under mixup: the fit is OLS with an intercept, shrinks without one, and weight decay grows by 1/s."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._checks import as_result, check_alpha, check_array, check_choice, check_integer, check_positive
from .finite_batch import BATCH_PARTNERS, one_sample_factor, partner_correlation
from .moments import Result, shrink_factor
from .weights import expected_max_lam

__all__ = [
    "LinearFit",
    "effective_weight_decay",
    "mixup_ols",
    "mixup_ols_no_intercept",
    "mixup_ridge",
    "no_intercept_bias",
    "slope_factor",
]


@dataclass(frozen=True)
class LinearFit:
    """The minimiser of a mixup squared risk.

    Attributes:
        intercept: Shape of `alpha`; zero where no intercept is fitted.
        slope: Shape of `alpha` plus [d].
        training_mse: Mixup mean squared error at the minimiser (without the penalty), shape of `alpha`.
    """

    intercept: float | NDArray[np.float64]
    slope: NDArray[np.float64]
    training_mse: float | NDArray[np.float64]


def mixup_ols(x: ArrayLike, y: ArrayLike, alpha: ArrayLike, *, partner: str = "independent") -> LinearFit:
    r"""Least squares with an intercept on mixed pairs: the OLS solution, for every alpha.

    :math:`E\tilde r^2 = f\,\mathrm{Var}(r) + (\bar r)^2` with the scheme's factor f: the same minimiser, and a
    training error f times that of ERM, with no change of the fit.

    Assumptions:
        Inputs and labels are mixed with the same weight and the same partner.

    Args:
        x: Inputs, shape [n, d], with full column rank after centring.
        y: Targets, shape [n].
        alpha: Beta concentration(s) in [0, inf].
        partner: One of `finite_batch.BATCH_PARTNERS`.

    Returns:
        The fit; `training_mse` is f RSS / n.

    Raises:
        ValueError: If shapes disagree, the columns are dependent, or mixing leaves no variance.

    References:
        theory F.1.

    Example:
        >>> fit = mixup_ols([[0.0], [1.0], [2.0]], [0.0, 1.0, 3.0], [0.0, 1.0])
        >>> fit.slope.ravel().round(6).tolist(), fit.training_mse.round(6).tolist()
        ([1.5, 1.5], [0.055556, 0.037037])
    """
    return mixup_ridge(x, y, alpha, 0.0, partner=partner)


def mixup_ridge(
    x: ArrayLike, y: ArrayLike, alpha: ArrayLike, kappa: ArrayLike, *, partner: str = "independent"
) -> LinearFit:
    r"""Ridge on mixed pairs: mixup multiplies the effective weight decay by 1/s.

    The minimiser of :math:`\tfrac12E\tilde r^2+\tfrac\kappa2\|\beta\|^2` with an unpenalised intercept is
    :math:`\beta=(\hat\Sigma+\tfrac\kappa fI)^{-1}\hat c`, f the scheme's factor (s for independent pairs).

    Args:
        x: Inputs, shape [n, d].
        y: Targets, shape [n].
        alpha: Beta concentration(s) in [0, inf].
        kappa: Weight decay >= 0, broadcast with `alpha`; 0 needs full column rank after centring.
        partner: One of `finite_batch.BATCH_PARTNERS`.

    Returns:
        The fit.

    Raises:
        ValueError: If shapes disagree, the problem has no unique solution, or mixing leaves no variance.

    References:
        theory F.1.

    Example:
        >>> mixup_ridge([[0.0], [2.0]], [0.0, 2.0], [0.0, 1.0], 1.0).slope.ravel().round(6).tolist()
        [0.5, 0.4]
    """
    x, y = _regression_data(x, y)
    kappa = check_positive("kappa", kappa, zero=True)
    factor = _positive_factor(alpha, len(y), partner)
    factor, kappa = np.broadcast_arrays(factor, kappa)
    centred, target = x - x.mean(axis=0), y - y.mean()
    gram, cross = centred.T @ centred / len(y), centred.T @ target / len(y)
    if np.any(kappa == 0) and np.linalg.matrix_rank(centred) < x.shape[1]:
        raise ValueError("`x` must have full column rank after centring. Use `mixup_ridge` with kappa > 0.")
    penalty = (kappa / factor)[..., None, None] * np.eye(x.shape[1])
    slope = np.linalg.solve(gram + penalty, np.broadcast_to(cross, (*factor.shape, len(cross)))[..., None])[..., 0]
    residual = target - slope @ centred.T
    return LinearFit(
        as_result(y.mean() - slope @ x.mean(axis=0)), slope, as_result(factor * (residual**2).mean(axis=-1))
    )


def mixup_ols_no_intercept(x: ArrayLike, y: ArrayLike, alpha: ArrayLike, *, partner: str = "independent") -> LinearFit:
    r"""Least squares without an intercept on mixed pairs, where mixup does change the fit.

    :math:`\beta=(f\hat\Sigma+\bar x\bar x^\top)^{-1}(f\hat c+\bar x\bar y)`: the spread shrinks by the scheme's
    factor f, the means do not.

    Args:
        x: Inputs, shape [n, d], of full column rank.
        y: Targets, shape [n].
        alpha: Beta concentration(s) in [0, inf].
        partner: One of `finite_batch.BATCH_PARTNERS`.

    Returns:
        The fit, its intercept 0.

    Raises:
        ValueError: If shapes disagree or there is no unique solution.

    References:
        theory F.1.

    Example:
        >>> fit = mixup_ols_no_intercept([[1.0], [3.0]], [0.0, 2.0], [0.0, 1.0])
        >>> fit.slope.ravel().round(6).tolist()  # OLS 3/5 moves towards the ratio of the means
        [0.6, 0.571429]
    """
    x, y = _regression_data(x, y)
    factor = _positive_factor(alpha, len(y), partner)
    if np.linalg.matrix_rank(x) < x.shape[1]:
        raise ValueError("`x` must have full column rank. Drop the dependent columns or use `mixup_ridge`.")
    mean_x, mean_y = x.mean(axis=0), y.mean()
    centred, target = x - mean_x, y - mean_y
    gram, cross = centred.T @ centred / len(y), centred.T @ target / len(y)
    matrix = factor[..., None, None] * gram + np.outer(mean_x, mean_x)
    slope = np.linalg.solve(matrix, (factor[..., None] * cross + mean_x * mean_y)[..., None])[..., 0]
    residual = y - slope @ x.T
    mse = factor * residual.var(axis=-1) + residual.mean(axis=-1) ** 2
    return LinearFit(as_result(np.zeros(factor.shape)), slope, as_result(mse))


def no_intercept_bias(
    alpha: ArrayLike, mean_x: ArrayLike, mean_y: ArrayLike, variance: ArrayLike, covariance: ArrayLike
) -> Result:
    r"""Change of the scalar slope without an intercept, :math:`\theta_s-\theta_1`.

    .. math:: \theta_s-\theta_1=-\frac{(1-s)(c-v\theta_1)}{sv+\mu^2},\qquad
              \theta_1=\frac{c+\mu\bar y}{v+\mu^2}

    Args:
        alpha: Beta concentration(s) in [0, inf].
        mean_x: Mean :math:`\mu` of the input.
        mean_y: Mean of the target.
        variance: Variance v > 0 of the input (divisor n).
        covariance: Covariance c of input and target (divisor n).

    Returns:
        The change, elementwise over the broadcast arguments; zero where the true intercept is zero.

    Raises:
        ValueError: If an argument is not finite or out of range.

    References:
        theory F.1.

    Example:
        >>> round(no_intercept_bias(1.0, 2.0, 1.0, 1.0, 1.0), 6)  # 4/7 - 3/5
        -0.028571
    """
    s = np.asarray(shrink_factor(alpha))
    variance = check_positive("variance", variance)
    mean_x, mean_y, covariance = (
        check_array(name, value, (0, 1, 2))
        for name, value in (("mean_x", mean_x), ("mean_y", mean_y), ("covariance", covariance))
    )
    erm = (covariance + mean_x * mean_y) / (variance + mean_x**2)
    return as_result(-(1 - s) * (covariance - variance * erm) / (s * variance + mean_x**2))


def effective_weight_decay(alpha: ArrayLike, kappa: ArrayLike) -> Result:
    r"""Weight decay :math:`\kappa/s` of the plain ridge fit that equals the mixup ridge fit.

    Args:
        alpha: Beta concentration(s) in [0, inf].
        kappa: Weight decay >= 0, broadcast with `alpha`.

    Returns:
        The effective weight decay, in [kappa, 2 kappa].

    Raises:
        ValueError: If an argument is out of range.

    References:
        theory F.1.

    Example:
        >>> round(effective_weight_decay(1.0, 0.2), 12)
        0.3
    """
    return as_result(check_positive("kappa", kappa, zero=True) / np.asarray(shrink_factor(alpha)))


def slope_factor(
    alpha: ArrayLike,
    labels: str = "mixed",
    *,
    lam_max: bool = False,
    partner: str = "independent",
    num_samples: int | None = None,
) -> Result:
    r"""Multiplier of the OLS slope (intercept fitted) when the inputs are mixed and the label is treated so.

    `mixed` and `sampled` (the hard label :math:`y_i` with probability :math:`\lambda`, else :math:`y_j`): 1.
    `first` (label :math:`y_i` kept): :math:`E\lambda/s`, which is :math:`(2\alpha+1)/(2\alpha+2) < 1` for plain
    lam and above 1 for the larger weight; :math:`(nE\lambda-1)/(ns-1)` where self pairs are excluded.

    Args:
        alpha: Beta concentration(s) in [0, inf].
        labels: `mixed`, `first` or `sampled`.
        lam_max: Whether the weight of the first example is max(lam, 1 - lam).
        partner: One of `finite_batch.BATCH_PARTNERS`.
        num_samples: Number n of examples, >= 2; None for the population, where every scheme is the same.

    Returns:
        The multiplier, of the shape of `alpha`.

    Raises:
        ValueError: If an argument is out of range or mixing leaves no variance.

    References:
        theory F.1.

    Example:
        >>> round(slope_factor(0.4, "first"), 6), round(slope_factor(0.4, "first", lam_max=True), 6)
        (0.642857, 1.079688)
    """
    check_choice("labels", labels, ("mixed", "first", "sampled"))
    check_choice("partner", partner, BATCH_PARTNERS)
    n, partner = (2, "independent") if num_samples is None else (check_integer("num_samples", num_samples, 2), partner)
    factor = _positive_factor(alpha, n, partner)
    if labels != "first":
        return as_result(np.ones(factor.shape))
    weight = np.asarray(expected_max_lam(alpha)) if lam_max else np.full(factor.shape, 0.5)
    return as_result((weight + (1 - weight) * partner_correlation(n, partner)) / factor)


def _positive_factor(alpha: ArrayLike, num_samples: int, partner: str) -> NDArray[np.float64]:
    factor = np.asarray(one_sample_factor(num_samples, check_alpha(alpha), partner))
    if np.any(factor <= 0):
        raise ValueError(f"`alpha` must be finite for two examples and partner {partner!r}: all mixtures coincide.")
    return factor


def _regression_data(x: ArrayLike, y: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    x, y = check_array("x", x, 2), check_array("y", y, 1)
    if len(x) != len(y) or len(y) < 2:
        raise ValueError(f"`x` and `y` must have the same length >= 2, got {len(x)} and {len(y)}.")
    return x, y
